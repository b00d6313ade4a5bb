"""Who asks, and what they may do: decided once for a request, asked everywhere by the same two functions.

Pure but for the dependency that a route declares. It knows nothing of tokens; how a principal is proven is
`gateway.door`'s. Ownership is equality of a stored mark, never a part of an id.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, cast

from fastapi import Depends, Request

from gateway.problems import NotAllowed
from schemas.access import SCOPES, Scope


@dataclass(frozen=True)
class Principal:
    """One who asks. `name` is for people and logs, `mark` for comparison."""

    name: str
    mark: str
    """What is stored with a run that it starts; empty only for whoever sits at a gateway without authentication."""
    scopes: frozenset[str] = frozenset()
    """What it may do. `admin` is all of it, for everybody's runs: without it a principal has its own runs only."""
    run_as: tuple[str, ...] | None = None
    """Composio users that its own goals may name; None means any."""

    def may(self, scope: Scope) -> bool:
        """Whether it may do this at all."""
        return scope in self.scopes or "admin" in self.scopes

    def require(self, scope: Scope) -> None:
        """Raise NotAllowed unless it may."""
        if not self.may(scope):
            raise NotAllowed(f"This needs the scope `{scope}`, which you do not have.")

    def owns(self, mark: str) -> bool:
        """Whether a run that carries this mark (empty: nobody's, such as a schedule's) is its to see and touch."""
        return "admin" in self.scopes or (bool(mark) and mark == self.mark)


LOCAL = Principal("", "", frozenset(SCOPES))
"""Whoever asks a gateway that serves this machine only and asks nobody who they are."""


def mark_of(issuer: str, subject: str) -> str:
    """What is stored of a principal: tells it from every other, and does not tell who it is.

    Lengths are part of it, so that no two pairs run together.
    """
    said = f"{len(issuer)}:{issuer}{len(subject)}:{subject}"
    return "by-" + hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def principal_of(request: Request) -> Principal:
    """Who asks, as the door found out. A request that came around the door is a fault of ours."""
    return cast("Principal", request.scope["state"]["principal"])


def needs(scope: Scope) -> Any:
    """A dependency: the principal, if it may do this; NotAllowed otherwise.

    It is asynchronous, like all of ours: FastAPI would run another kind in a thread, and a thread costs a
    request more than all else that is done here.
    """

    async def allowed(request: Request) -> Principal:
        principal = principal_of(request)
        principal.require(scope)
        return principal

    allowed.scope = scope  # type: ignore[attr-defined]  # what a test reads of each route
    return Depends(allowed)
