"""What is checked before any route sees a request: who may ask, from where, and how much.

A browser must not be talked into using the gateway: not by a name that resolves to this machine (Host), not by a
page from elsewhere (Origin, content type). A body is bounded in size and time before a route has any of it, and is
for those who change something: a GET has none. It decides nothing about runs, and does not know who asks.
"""

import asyncio
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic

import httpx
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import problem_response
from schemas.config import Config

MAX_BODY = 256 * 1024
"""Bytes of a request body."""

BODY_WITHIN = 15.0
"""Seconds for all of it, from when a route begins to read it."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# A page from elsewhere cannot send one of these without asking first, and is not answered then.
_BODIES = frozenset({"application/json", "application/yaml", "application/x-yaml", "text/yaml"})
_ONLY_HERE = "Ask for 127.0.0.1, localhost or [::1]: without authentication the gateway serves this machine only."
_ONLY_BY_ITS_NAME = "The gateway is not known by this name."
_TOO_SLOW = "The body did not arrive in time."
_TOO_LARGE = f"A request body may have {MAX_BODY // 1024} KiB."
_NONE_HERE = "Only a request that changes something may have a body."

_ALWAYS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Set on every answer that does not say otherwise itself."""


def is_this_machine(host: str) -> bool:
    """Whether a host, without its port, names this machine and cannot name another one.

    `localhost` and loopback addresses only: any other name is for its DNS to decide.
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host[1:-1] if host[:1] + host[-1:] == "[]" else host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Hosts:
    """The names by which the gateway may be asked for: those of this machine always, `more` too; None is any."""

    more: frozenset[str] | None = frozenset()

    def serves(self, host: str) -> bool:
        """Whether this is one of them; `host` as a request says it, with or without a port."""
        name = _without_port(host)
        return is_this_machine(name) or (bool(name) if self.more is None else name.lower() in self.more)


_HERE = Hosts()


def hosts_of(config: Config) -> Hosts:
    """What a configuration makes of it: without authentication a foreign name is somebody else's to resolve."""
    if config.auth.is_open:
        return Hosts()
    host = httpx.URL(config.url).host if config.url else None
    return Hosts(frozenset({host.lower()}) if host else None)


def refusal(method: str, scheme: str, headers: Headers, served: Hosts = _HERE) -> tuple[HTTPStatus, str] | None:
    """Why this request is not served, judged by its head alone, or None."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not served.serves(hosts[0]):
        return HTTPStatus.MISDIRECTED_REQUEST, _ONLY_HERE if served == _HERE else _ONLY_BY_ITS_NAME
    length = headers.get("content-length", "0")
    # A length that is no number never gets here: the server in front refuses it.
    has_body = length.strip("0") != "" or "transfer-encoding" in headers
    if method in _READING:
        return (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _NONE_HERE) if has_body else None
    own = f"{scheme}://{hosts[0]}".lower()
    if any(origin.lower() != own for origin in headers.getlist("origin")):
        return HTTPStatus.FORBIDDEN, "Another site's page may not change anything here."
    if length.isdecimal() and int(length.lstrip("0")[:20] or "0") > MAX_BODY:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind not in _BODIES:
        return (
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send JSON or YAML, and say which: `Content-Type: application/json`, or `application/yaml`.",
        )
    return None


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() and not name.endswith(":") else host


class Guard:
    """ASGI middleware: refuses by the head first, then counts the body as it comes in."""

    def __init__(self, app: ASGIApp, hosts: Hosts = _HERE, body_within: float = BODY_WITHIN) -> None:
        self._app, self._hosts, self._body_within = app, hosts, body_within

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ALWAYS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = refusal(scope["method"], scope["scheme"], Headers(scope=scope), self._hosts)
        if refused:
            status, detail = refused
            word = status.phrase.lower().replace(" ", "-")
            # The rest of the body is not read, so this connection is of no further use.
            head = {"Connection": "close"} if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
            answer = problem_response(scope["path"], status, word, status.phrase, detail, headers=head)
            await answer(scope, receive, send_with_headers)
            return
        received, due, is_whole = 0, 0.0, False

        async def receive_bounded() -> Message:
            nonlocal received, due, is_whole
            due = due or monotonic() + self._body_within
            try:
                # After the body a route may wait for its caller to go, for as long as it likes.
                async with asyncio.timeout(None if is_whole else due - monotonic()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, _TOO_SLOW, headers={"Connection": "close"}) from None
            received += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if received > MAX_BODY:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                raise HTTPException(status, _TOO_LARGE, headers={"Connection": "close"})
            return message

        with suppress(ClientDisconnect):  # whoever hangs up within a body is no fault of ours
            await self._app(scope, receive_bounded, send_with_headers)
