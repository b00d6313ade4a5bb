"""How a run is started over HTTP: once for an idempotency key, within the caller's share, if it can begin.

It is answered at once, or when it has ended if the caller would rather wait.

What is answered with 202 was started: whatever goes wrong after that does not turn it into an error.
"""

import hashlib
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from gateway.principals import principal_of
from gateway.problems import Busy, NotConnected, TooMuch
from gateway.runs import Runs
from gateway.views import RunView
from schemas.run import RunRequest

LONGEST_WAIT = 60
"""Seconds that `Prefer: wait` may ask for; more is cut down, and `Preference-Applied` says to what."""
STARTS_AT_ONCE = 32
"""Starts that are on their way to Temporal at once, everybody's together."""
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)


def seconds_to_wait(preferences: str) -> int:
    """What a `Prefer` header asks for (RFC 7240); 0 if it asks for nothing we know. The first one counts."""
    found = _WAIT.search(preferences)
    return min(int(found[1]), LONGEST_WAIT) if found else 0


def digest_of(path: str, said: bytes) -> str:
    """What a request asks for, so that a repeated one can be told from another: JSON by what it means."""
    with suppress(ValueError, RecursionError):  # YAML is told by its bytes
        said = json.dumps(json.loads(said), sort_keys=True).encode() if said else b""
    return hashlib.sha256(path.encode() + b"\n" + said).hexdigest()


class Starts:
    """How many starts are on their way to Temporal. More than it can take are refused, while that is certain.

    A queue would only make all of them late, and then nobody knows which were made.
    """

    def __init__(self, most: int = STARTS_AT_ONCE) -> None:
        self._most, self._now = most, 0

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """A place for one start. Raises Busy if there is none."""
        if self._now >= self._most:
            raise Busy("Too many runs are being started right now; this one was not. Ask again in a second.")
        self._now += 1
        try:
            yield
        finally:
            self._now -= 1


@dataclass
class Dispatch:
    """Starts the runs of one request."""

    request: Request
    response: Response
    prefer: str = ""
    idempotency_key: str = ""

    async def start(self, wanted: RunRequest, status: int = 202) -> RunView:
        """Start this run and answer with it. Raises every Refusal there is before, none after."""
        state, who = self.request.app.state, principal_of(self.request)
        runs: Runs = state.runs
        key, asked = self.idempotency_key, digest_of(self.request.url.path, await self.request.body())
        try:
            if state.preflight:
                await state.preflight.check(wanted.task)
            await state.open_runs.admit(who, runs.open_runs)
            async with state.starts.one():
                view, replayed = await runs.start(wanted, who.mark, key, asked)
        except (NotConnected, Busy, TooMuch):
            before = await runs.started_before(who.mark, key, asked) if key else None
            if before is None:
                raise
            view, replayed = before, True  # it was asked for before there was a reason to refuse it
        self.response.status_code = status
        self.response.headers["Location"] = f"/v1/runs/{view.id}"
        if replayed:
            self.response.headers["Idempotency-Replayed"] = "true"
        seconds = seconds_to_wait(self.prefer)
        if not seconds:
            return view
        try:
            with state.long_answers.held(who):
                ended = await runs.wait(view, seconds)
        except TooMuch:
            return view  # it was started: only the waiting is refused
        self.response.headers["Preference-Applied"] = f"wait={seconds}"
        if ended is None:
            return view
        self.response.status_code = 200
        return ended


async def dispatch_of(
    request: Request,
    response: Response,
    prefer: Annotated[
        str | None, Header(description=f"`wait=N`: wait up to N seconds ({LONGEST_WAIT} at most) for the end")
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(
            description="The same key with the same request starts one run, however often it is sent",
            pattern=r"^[\x21-\x7e]+$",
            max_length=255,
        ),
    ] = None,
) -> Dispatch:
    """What a request's headers ask for."""
    return Dispatch(request, response, prefer or "", idempotency_key or "")


Dispatching = Annotated[Dispatch, Depends(dispatch_of)]
