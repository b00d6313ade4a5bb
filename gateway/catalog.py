"""What task files may name here: the configuration's channels and users, and the toolkits that Composio has.

Composio is asked for names only, and its answer is kept for a while. Whatever it does, the catalog is
answered: what it did not tell is said instead. This module refuses to follow Composio to another address,
which would take the key along, and to repeat anything from an answer but names.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field

import httpx
from pydantic import BaseModel

from schemas.catalog import Catalog
from schemas.config import Config

LOG = logging.getLogger("gateway")
COMPOSIO = "https://backend.composio.dev"

_STEP = httpx.Timeout(10.0, connect=5.0)
_PAGES, _PAGE_BYTES = 20, 16 * 1024 * 1024
# All: a project's own toolkits may be named as well, and a deprecated one is no misspelling.
_QUERY = {"limit": "1000", "type": "all", "include_deprecated": "true"}
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError)  # a proxy's settings raise the last


class _Item(BaseModel):
    slug: str


class _Page(BaseModel):
    items: list[_Item]
    next_cursor: str | None = None


@dataclass
class Toolkits:
    """The slugs of every toolkit that a Composio project may use, asked once for everybody who waits."""

    key: str = field(repr=False)
    base_url: str | None = None
    within: float = 12.0  # seconds for a whole list: less than those who ask for a catalog wait
    keep: float = 600.0  # seconds that a list is believed
    retry: float = 10.0  # seconds that a failure is believed

    def __post_init__(self) -> None:
        self._asking = asyncio.Lock()
        self._said: tuple[tuple[str, ...] | None, str] = (None, "")
        self._until = float("-inf")

    async def known(self) -> tuple[tuple[str, ...] | None, str]:
        """The slugs, sorted; or None and why there are none, in one line. Never raises."""
        async with self._asking:
            if time.monotonic() >= self._until:
                try:
                    async with asyncio.timeout(self.within):
                        self._said, believed = (await self._ask(), ""), self.keep
                except _FAILURES as error:
                    self._said, believed = (None, why_not(error)), self.retry
                    LOG.warning("toolkits: %s", self._said[1])
                self._until = time.monotonic() + believed
            return self._said

    async def _ask(self) -> tuple[str, ...]:
        slugs: set[str] = set()
        query, key = dict(_QUERY), {"x-api-key": self.key}
        async with httpx.AsyncClient(headers=key, timeout=_STEP, follow_redirects=False) as composio:
            for _ in range(_PAGES):
                page = await self._page(composio, query)
                slugs.update(item.slug.lower() for item in page.items)  # as task files spell them
                if not page.next_cursor:
                    return tuple(sorted(slugs))
                query["cursor"] = page.next_cursor
        raise ValueError("the list does not end")  # half of it would make mistakes of the other half

    async def _page(self, composio: httpx.AsyncClient, query: dict[str, str]) -> _Page:
        body = bytearray()
        url = f"{(self.base_url or COMPOSIO).rstrip('/')}/api/v3.1/toolkits"
        async with composio.stream("GET", url, params=query) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _PAGE_BYTES:
                    raise ValueError("the page is too large")
        return _Page.model_validate_json(bytes(body))


def why_not(error: BaseException) -> str:
    """Why Composio did not tell, in our words: an error's own could hold an address, the key or a piece of it."""
    match error:
        case httpx.TimeoutException() | TimeoutError():
            return "Composio did not answer (time-out)"
        case httpx.HTTPStatusError(response=httpx.Response(status_code=401 | 403 as status)):
            return f"Composio refused the key ({status}): set COMPOSIO_API_KEY to a valid project key"
        case httpx.HTTPStatusError(response=httpx.Response(status_code=status)):
            return f"Composio did not answer (HTTP status {status})"
        case ValueError():
            return "Composio's answer is not understood"
        case _:
            return f"Composio did not answer ({type(error).__name__})"


@dataclass(frozen=True)
class Names:
    """Everything that task files may name here. Without `toolkits` they are scripted, and any name is taken."""

    config: Config = field(default_factory=Config)
    toolkits: Toolkits | None = None

    async def catalog(self) -> Catalog:
        """The catalog as it is now."""
        known, why = await self.toolkits.known() if self.toolkits else (None, "")
        unchecked = (f"toolkits: {why}",) if why else ()
        return self.config.catalog().model_copy(update={"toolkits": known, "unchecked": unchecked})
