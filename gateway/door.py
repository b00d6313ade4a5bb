"""Who may come in: every request but a health check's is some principal's, or it gets nothing.

Whatever is wrong with a token, the answer is the same; what was wrong is in the log, without the token. Without
authentication the gateway serves this machine only, and whoever asks is LOCAL.
"""

import logging
import re

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api_keys import ApiKeys
from gateway.oidc import Provider
from gateway.principals import LOCAL, Principal
from gateway.problems import Refusal, Unproven, refusal_response
from schemas.access import Auth

LOG = logging.getLogger("gateway")
OPEN = frozenset({"/healthz", "/readyz"})
"""Paths that answer whoever looks: a kubelet has no token, and they tell nothing of anybody's."""
LONGEST = 8 * 1024
"""Characters of a token; real ones have one or two thousand."""
_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{1,{LONGEST}}}")
"""What a token can be made of (RFC 6750): looked at before anything is done with it."""


class Door:
    """ASGI middleware: finds out who asks, and puts the principal into the request's state."""

    def __init__(self, app: ASGIApp, auth: Auth) -> None:
        self._app, self._is_open = app, auth.is_open
        self._keys = ApiKeys(auth.keys)
        self._provider = Provider(auth.oidc) if auth.oidc else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["path"] in OPEN and scope["method"] in {"GET", "HEAD"}):
            await self._app(scope, receive, send)
            return
        try:
            who = LOCAL if self._is_open else await self._prove(Headers(scope=scope).getlist("authorization"))
        except Refusal as refusal:
            await refusal_response(scope["path"], refusal)(scope, receive, send)
            return
        scope.setdefault("state", {})["principal"] = who
        await self._app(scope, receive, send)

    async def _prove(self, said: list[str]) -> Principal:
        """Who has the one token that was sent. Raises Unproven, or Refusal if nobody can tell right now."""
        scheme, _, token = (said[0] if len(said) == 1 else "").partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer":
            who, why = None, "no bearer token, or more than one"
        elif not _TOKEN.fullmatch(token):
            who, why = None, "no token looks like this"
        elif ApiKeys.is_one(token):
            who, why = self._keys.holder(token), "no such key"
        elif self._provider:
            who, why = await self._provider.holder(token)
        else:
            who, why = None, "no key, and there is no identity provider"
        if who is None:
            LOG.debug("not let in: %s", why)
            raise Unproven
        return who
