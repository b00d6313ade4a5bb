"""Before a run is started: whether every toolkit of its task is connected for its user, asked of Composio.

By plain HTTPS, as the worker asks with Composio's client: a session of the toolkits, how each stands in it, and a
link for what is missing. Only a plain "not connected" stops a run. Whatever else Composio does, late or wrong, the
run is started: it looks again itself, and waits for a person if it must. This module refuses to follow Composio
to another address, which would take the key along, and repeats nothing of its answers but such a link.
"""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, Field

from gateway.catalog import COMPOSIO, why_not
from gateway.problems import NotConnected, Unconnected
from schemas.task import Task

LOG = logging.getLogger("gateway")
_SESSIONS = "/api/v3.1/tool_router/session"
_PAGE_BYTES, _PAGES = 1024 * 1024, 20
_KEPT = 4_096  # answers, and sessions, that are kept at most
_OF_THIS_QUESTION = (400, 404, 409, 422)  # an unknown toolkit, say: the run will tell, and others can be asked about

Asked = tuple[str, tuple[str, ...]]
"""A user, and toolkits in lower case and in order."""


class _Session(BaseModel):
    session_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")  # it becomes a part of a path


class _Account(BaseModel):
    status: str


class _Item(BaseModel):
    slug: str
    is_no_auth: bool
    connected_account: _Account | None = None

    @property
    def is_connected(self) -> bool:
        """It needs no account at all, or has an active one."""
        return self.is_no_auth or (self.connected_account is not None and self.connected_account.status == "ACTIVE")


class _Page(BaseModel):
    items: list[_Item]
    next_cursor: str | None = None


class _Link(BaseModel):
    redirect_url: str


_Answer = TypeVar("_Answer", bound=BaseModel)


class Preflight:
    """One Composio project's connections. Without a key there are none to ask for, and every task may start."""

    def __init__(
        self,
        key: str | None,
        base_url: str | None,
        default_user: str,
        *,
        within: float = 3.0,
        keep: float = 60.0,
        rest: float = 5.0,
    ) -> None:
        """`default_user` has the connections of tasks without `run_as`, as on the workers.

        In seconds: `within` bounds a question, and once more the making of links; `keep` is how long a connection
        is believed in, `rest` how long a Composio that did not answer is not asked again.
        """
        self._key, self._url, self._default_user = key, (base_url or COMPOSIO).rstrip("/"), default_user
        self._within, self._keep, self._rest = within, keep, rest
        self._connected: dict[tuple[str, str], float] = {}  # user, toolkit -> until when it is believed
        self._sessions: dict[Asked, str] = {}  # Composio keeps them forever, so each is used again
        self._asking: dict[Asked, asyncio.Task[tuple[Unconnected, ...]]] = {}
        self._resting = float("-inf")
        self._tls: ssl.SSLContext | None = None

    async def check(self, task: Task) -> None:
        """Return if the task may start. Raises NotConnected, with links, if Composio says that it could not."""
        user, now = task.run_as or self._default_user, time.monotonic()
        toolkits = tuple(sorted({toolkit.lower() for toolkit in task.toolkit}))
        open_question = any(self._connected.get((user, toolkit), now) <= now for toolkit in toolkits)
        if not self._key or not open_question or now < self._resting:
            return
        asked = (user, toolkits)
        if asked not in self._asking:  # one answer for all who wait for it
            self._asking[asked] = asyncio.create_task(self._missing(asked))
            self._asking[asked].add_done_callback(lambda _: self._asking.pop(asked, None))
        order = [toolkit.lower() for toolkit in task.toolkit]
        missing = sorted(await asyncio.shield(self._asking[asked]), key=lambda each: order.index(each.toolkit))
        if missing:
            names = ", ".join(each.toolkit for each in missing)
            verb, it = ("is", "it") if len(missing) == 1 else ("are", "them")
            where = "by its link" if all(each.connect_url for each in missing) else "in Composio"
            remedy = f"connect {it} {where}, then ask again."
            raise NotConnected(f"{names} {verb} not connected for {user!r}, so nothing was started: {remedy}", missing)

    async def _missing(self, asked: Asked) -> tuple[Unconnected, ...]:
        """What Composio says is not connected; nothing if it cannot be asked. Never raises."""
        try:
            self._tls = self._tls or await asyncio.to_thread(httpx.create_ssl_context)
            async with httpx.AsyncClient(
                base_url=self._url,
                headers={"x-api-key": self._key or ""},
                timeout=self._within,
                verify=self._tls,
                follow_redirects=False,
            ) as composio:
                async with asyncio.timeout(self._within):
                    session, items = await self._look(composio, asked)
                user, toolkits = asked
                until = time.monotonic() + self._keep
                stand = {item.slug.lower(): item.is_connected for item in items}
                _keep(self._connected, {(user, each): until for each in toolkits if stand.get(each)})
                missing = [each for each in toolkits if stand.get(each) is False]
                for each in missing:
                    self._connected.pop((user, each), None)
                return await self._linked(composio, session, missing)
        except Exception as error:  # noqa: BLE001 - whatever a client throws: no run is refused for it
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else 0
            if status not in _OF_THIS_QUESTION:
                self._resting = time.monotonic() + self._rest
            LOG.warning("connections are not checked before runs start: %s", why_not(error))
            return ()

    async def _look(self, composio: httpx.AsyncClient, asked: Asked) -> tuple[str, list[_Item]]:
        """A session of these toolkits, and how each stands in it."""
        known = self._sessions.get(asked)
        if known is not None:
            try:
                return known, await self._items(composio, known, asked[1])
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 404:
                    raise
                self._sessions.pop(asked, None)  # it was deleted at Composio
        user, toolkits = asked
        wanted: dict[str, Any] = {
            "user_id": user,
            "toolkits": {"enable": list(toolkits)},
            "preload": {"tools": "all"},
            "manage_connections": {"enable": False},
            "workbench": {"enable": False},
            "search": {"enable": False},
            "execute": {"enable_multi_execute": False},
            "instant": False,  # left out, Composio charges for instant use and hides the charges
        }
        session = (await _ask(composio, _Session, "POST", _SESSIONS, json=wanted)).session_id
        _keep(self._sessions, {asked: session})
        return session, await self._items(composio, session, toolkits)

    async def _items(self, composio: httpx.AsyncClient, session: str, toolkits: tuple[str, ...]) -> list[_Item]:
        items: list[_Item] = []
        query: dict[str, Any] = {"limit": "50", "toolkits": ",".join(toolkits)}
        for _ in range(_PAGES):
            page = await _ask(composio, _Page, "GET", f"{_SESSIONS}/{session}/toolkits", params=query)
            items += page.items
            if not page.next_cursor:
                return items
            query["cursor"] = page.next_cursor
        raise ValueError("the list does not end")

    async def _linked(self, composio: httpx.AsyncClient, session: str, toolkits: list[str]) -> tuple[Unconnected, ...]:
        """Each with a link that a person may be sent to, or none: what is missing is known all the same."""

        async def link(toolkit: str) -> str:
            try:
                async with asyncio.timeout(self._within):
                    path = f"{_SESSIONS}/{session}/link"
                    url = (await _ask(composio, _Link, "POST", path, json={"toolkit": toolkit})).redirect_url
            except Exception as error:  # noqa: BLE001 - as above
                LOG.warning("there is no link to connect %s: %s", toolkit, why_not(error))
                return ""
            is_address = re.fullmatch(r"https?://[\x21-\x7e]{1,2000}", url) and (self._key or "") not in url
            return url if is_address else ""

        urls = await asyncio.gather(*map(link, toolkits))
        return tuple(Unconnected(toolkit=each, connect_url=url) for each, url in zip(toolkits, urls, strict=True))


async def _ask(composio: httpx.AsyncClient, kind: type[_Answer], method: str, path: str, **said: Any) -> _Answer:
    body = bytearray()
    async with composio.stream(method, path, **said) as answer:
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > _PAGE_BYTES:
                raise ValueError("the answer is too large")
    return kind.model_validate_json(bytes(body))


def _keep(there: dict[Any, Any], more: Mapping[Any, Any]) -> None:
    """Keep these too, and of all of them the latest."""
    for key, value in more.items():
        there.pop(key, None)
        there[key] = value
    while len(there) > _KEPT:
        del there[next(iter(there))]
