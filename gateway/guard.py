"""What is checked before any route sees a request: who may ask, from where, and how much.

The gateway has no authentication yet, so a browser on this machine must not be talked into using it: not
by a name that resolves to loopback (Host), not by a page from elsewhere (Origin, content type). It
decides nothing about runs.
"""

import ipaddress
from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.problems import problem_response

MAX_BODY = 256 * 1024
"""Bytes of a request body."""

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# A page from elsewhere cannot send one of these without asking first, and is not answered then.
_BODIES = frozenset({"application/json", "application/yaml", "text/yaml"})
_TOO_LARGE = f"A request body may have {MAX_BODY // 1024} KiB."

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


def refusal(method: str, scheme: str, headers: Headers) -> tuple[HTTPStatus, str] | None:
    """Why this request is not served, judged by its head alone, or None."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not is_this_machine(_without_port(hosts[0])):
        return (
            HTTPStatus.MISDIRECTED_REQUEST,
            "Ask for 127.0.0.1, localhost or [::1]: without authentication the gateway serves this machine only.",
        )
    if method in _READING:
        return None
    own = f"{scheme}://{hosts[0]}".lower()
    if any(origin.lower() != own for origin in headers.getlist("origin")):
        return HTTPStatus.FORBIDDEN, "Another site's page may not change anything here."
    length = headers.get("content-length", "0")
    # A length that is no number never gets here: the server in front refuses it.
    if length.isdecimal() and int(length[:20]) > MAX_BODY:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE
    has_body = length != "0" or "transfer-encoding" in headers
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

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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

        refused = refusal(scope["method"], scope["scheme"], Headers(scope=scope))
        if refused:
            status, detail = refused
            word = status.phrase.lower().replace(" ", "-")
            # The rest of the body is not read, so this connection is of no further use.
            head = {"Connection": "close"} if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE else None
            answer = problem_response(scope["path"], status, word, status.phrase, detail, headers=head)
            await answer(scope, receive, send_with_headers)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                raise HTTPException(status, _TOO_LARGE, headers={"Connection": "close"})
            return message

        await self._app(scope, receive_counted, send_with_headers)
