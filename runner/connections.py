"""Which toolkits a task's user is connected to: asked of Composio when a plan is made, by plain HTTPS.

It only looks. What Composio did not tell is said to be unknown, and never taken for a missing connection.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import httpx
from pydantic import BaseModel

from runner.settings import Settings
from schemas.task import Task

_COMPOSIO = "https://backend.composio.dev"
_WITHIN = httpx.Timeout(15.0, connect=5.0)
_PAGES = 20


class _Toolkit(BaseModel):
    slug: str
    no_auth: bool | None = None


class _Account(BaseModel):
    user_id: str
    toolkit: _Toolkit


def connections(settings: Settings, tasks: Iterable[Task]) -> tuple[Mapping[str, frozenset[str]] | None, str]:
    """The toolkits that need nothing more, by user; or None, and why if that is a failure.

    Without a Composio key nothing is asked: toolkits are scripted then.
    """
    users = sorted({task.run_as or settings.run_as for task in tasks if task.toolkit})
    if not settings.composio_key or not users:
        return None, ""
    try:
        with httpx.Client(
            base_url=settings.composio_base_url or _COMPOSIO,
            headers={"x-api-key": settings.composio_key},
            timeout=_WITHIN,
            follow_redirects=False,  # the key goes to nobody else
        ) as composio:
            asked = {"user_ids": ",".join(users), "statuses": "ACTIVE", "limit": "1000"}
            accounts = [_Account.model_validate(each) for each in _items(composio, "connected_accounts", asked)]
            listed = _items(composio, "toolkits", {"limit": "1000", "type": "all", "include_deprecated": "true"})
            free = {each.slug.lower() for each in map(_Toolkit.model_validate, listed) if each.no_auth}
    except httpx.HTTPStatusError as error:
        return None, f"Composio answered {error.response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return None, f"Composio did not answer as it should ({type(error).__name__})"
    mine = {user: {each.toolkit.slug.lower() for each in accounts if each.user_id == user} for user in users}
    return {user: frozenset(slugs | free) for user, slugs in mine.items()}, ""


def _items(composio: httpx.Client, what: str, query: dict[str, str]) -> Iterator[Any]:
    for _ in range(_PAGES):
        page = composio.get(f"/api/v3.1/{what}", params=query).raise_for_status().json()
        yield from page["items"]
        if not page.get("next_cursor"):
            return
        query = {**query, "cursor": str(page["next_cursor"])}
    raise ValueError("the list does not end")
