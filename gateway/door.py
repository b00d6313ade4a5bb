"""Who may come in: every request but a health check's is some principal's, or it gets nothing.

Without authentication the gateway serves this machine only, and whoever asks is LOCAL.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.principals import LOCAL


class Door:
    """ASGI middleware: puts the principal into the request's state."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["principal"] = LOCAL
        await self._app(scope, receive, send)
