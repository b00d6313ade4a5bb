"""How much of the gateway one principal may have, so that one who floods it takes nothing from the others.

Three shares: requests a minute, answers that stay open, runs that have not ended. More is refused with 429 and
when to ask again; nothing queues. Whoever sits at a gateway without authentication has no share: it is theirs.
The decisions are pure; what is remembered of a principal is forgotten when it has been idle.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.principals import Principal
from gateway.problems import TooMuch, refusal_response
from schemas.access import Shares

REMEMBERED = 4_096
"""Principals that are remembered at most: those that asked last."""
FRESH = 1.0
"""Seconds that a count of open runs is believed."""
LAG = 10.0
"""Seconds after which a run that was admitted is in the count: Temporal's lists lag a second or two behind, and more
when it is busy."""
_HARDLY = 1e-9  # what floating point may lose of a request: whoever waited as told is let in


@dataclass(frozen=True)
class Bucket:
    """What is left of a principal's requests, and when that was so."""

    left: float
    at: float

    def filled(self, now: float, rate: float, burst: float) -> "Bucket":
        """The same a while later: it fills at `rate` a second, up to `burst`."""
        return Bucket(min(burst, self.left + max(0.0, now - self.at) * rate), max(now, self.at))


def taken(bucket: Bucket | None, now: float, rate: float, burst: float) -> tuple[Bucket, float]:
    """Take one request: what is left, and 0; or, if nothing is left to take, in how many seconds there is."""
    full = bucket.filled(now, rate, burst) if bucket else Bucket(burst, now)
    if full.left >= 1 - _HARDLY:
        return Bucket(max(0.0, full.left - 1), full.at), 0.0
    return full, (1 - full.left) / rate


class Requests:
    """ASGI middleware: counts each principal's requests, and tells in every answer what is left.

    It tells so in the words of draft-ietf-httpapi-ratelimit-headers-10, of a bucket that fills in `w` seconds.
    """

    def __init__(self, app: ASGIApp, shares: Shares, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._clock = app, clock
        self._rate, self._burst = shares.requests / 60, max(10, shares.requests // 6)
        self._fills_in = self._burst / self._rate
        self._policy = f'"requests";q={self._burst};w={ceil(self._fills_in)}'
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        who: Principal | None = scope.get("state", {}).get("principal")
        if who is None or not who.mark:
            await self._app(scope, receive, send)
            return
        bucket, wait = taken(self._buckets.pop(who.mark, None), self._clock(), self._rate, self._burst)
        self._buckets[who.mark] = bucket
        self._forget(bucket.at)
        more_in = ceil((1 - bucket.left % 1) / self._rate - _HARDLY)
        left = f'"requests";r={int(bucket.left)};t={max(1, more_in)}'

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"], headers["RateLimit"] = self._policy, left
            await send(message)

        if wait:
            refusal = TooMuch("You ask too often; ask again as Retry-After says.", wait)
            await refusal_response(scope["path"], refusal)(scope, receive, send_told)
        else:
            await self._app(scope, receive, send_told)

    def _forget(self, now: float) -> None:
        """Forget whose bucket is full again: there is nothing to remember. The first asked longest ago."""
        while len(self._buckets) > REMEMBERED or next(iter(self._buckets.values())).at + self._fills_in <= now:
            self._buckets.popitem(last=False)


@dataclass
class LongAnswers:
    """How many answers each principal keeps open: events that it follows, ends of runs that it waits for."""

    most: int
    _open: Counter[str] = field(default_factory=Counter[str])

    @contextmanager
    def held(self, who: Principal) -> Generator[None]:
        """A place for one. Raises TooMuch if there is none."""
        if who.mark and self._open[who.mark] >= self.most:
            raise TooMuch(f"You keep {self.most} answers open already; close one, or ask without waiting.", 5)
        self._open[who.mark] += 1
        try:
            yield
        finally:
            self._open[who.mark] -= 1
            if not self._open[who.mark]:
                del self._open[who.mark]


@dataclass
class _Known:
    count: int = 0
    counted_at: float = float("-inf")
    admitted: list[float] = field(default_factory=list[float])
    counting: asyncio.Task[None] | None = None
    asking: int = 0
    """Requests that are in `admit` just now."""

    def is_idle(self, now: float) -> bool:
        """Whether a count is due, and nothing is to be added to it."""
        is_stale = now - self.counted_at >= FRESH
        return is_stale and not self.asking and (not self.admitted or self.admitted[-1] <= now - LAG)


class OpenRuns:
    """How many of each principal's runs have not ended: those that Temporal counts, and those it may not count yet.

    For a moment some are counted twice, and one is refused that might have begun; never the other way around, but
    for what another gateway admits meanwhile.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._of: OrderedDict[str, _Known] = OrderedDict()

    async def admit(self, who: Principal, count: Callable[[str], Awaitable[int]]) -> None:
        """Let one more run begin. `count` asks Temporal, at most once a second. Raises TooMuch.

        Whoever asks while it counts waits for that count: none gets past on the one before.
        """
        if not who.mark:
            return
        self._forget()
        known = self._of.setdefault(who.mark, _Known())
        self._of.move_to_end(who.mark)
        known.asking += 1
        try:
            if self._clock() - known.counted_at >= FRESH:
                known.counting = known.counting or asyncio.create_task(self._count(who.mark, known, count))
                await asyncio.shield(known.counting)  # a caller that goes takes it from nobody else
            if known.count + len(known.admitted) >= self._most:
                raise TooMuch(f"{self._most} of your runs have not ended yet; wait for one, or cancel one.", 5)
            known.admitted.append(self._clock())
        finally:
            known.asking -= 1

    async def _count(self, mark: str, known: _Known, count: Callable[[str], Awaitable[int]]) -> None:
        began = self._clock()
        try:
            counted = await count(mark)
            grown = max(0, counted - known.count)  # so many, at least, are seen by now
            known.admitted = [at for at in known.admitted[grown:] if at > began - LAG]
            known.count, known.counted_at = counted, began
        finally:
            known.counting = None

    def _forget(self) -> None:
        """Forget whoever is idle, and make room for one more. The first asked longest ago."""
        while self._of and (len(self._of) >= REMEMBERED or next(iter(self._of.values())).is_idle(self._clock())):
            self._of.popitem(last=False)
