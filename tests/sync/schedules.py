"""Schedules in memory with the habits of a server: listings that lag, calls that fail, a caller that dies."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from runner.apply import ReadError, Schedules, WriteError
from runner.plan import Existing
from schemas.run import RunRequest
from schemas.wire import DISABLED


class Killed(BaseException):
    """The process of the caller is gone: it says and does nothing any more."""


@dataclass(frozen=True)
class Kept:
    """One schedule as the server keeps it."""

    owner: str
    digest: str
    request: RunRequest
    paused: bool
    note: str
    by_hand: str = ""


@dataclass
class Memory:
    """All schedules of a namespace. Implements `runner.apply.Schedules` without any fault."""

    kept: dict[str, Kept] = field(default_factory=dict[str, Kept])
    lag: int = 0
    """How many writes a listing lags behind."""
    past: list[dict[str, Kept]] = field(default_factory=list[dict[str, Kept]])
    writes: list[tuple[str, str, str, str]] = field(default_factory=list[tuple[str, str, str, str]])
    """Every write: verb, name, owner before, who wrote."""

    @property
    def shown(self) -> dict[str, Kept]:
        """What a listing shows now."""
        return self.past[-self.lag] if self.lag and len(self.past) >= self.lag else self.kept

    async def list(self) -> tuple[Existing, ...]:
        return tuple(
            Existing(name, each.owner, each.digest, each.paused, each.note) for name, each in sorted(self.shown.items())
        )

    async def describe(self, name: str, request: RunRequest | None = None) -> Existing | None:
        each = self.kept.get(name)
        if each is None:
            return None
        path = each.request.source.path
        drifted = each.by_hand or ("what it starts" if request and each.request != request else "")
        return Existing(name, each.owner, each.digest, each.paused, each.note, path, drifted if request else "")

    async def create(self, name: str, request: RunRequest, owner: str) -> bool:
        if name in self.kept:
            return False
        self._write("create", name, owner, _kept(request, owner))
        return True

    async def update(self, name: str, request: RunRequest, owner: str, was_owned_by: str) -> None:
        now = self.kept.get(name)
        if now is None:
            raise WriteError("there is no such schedule")
        if now.owner != was_owned_by:
            raise WriteError(f"it belongs to `{now.owner}` by now; it was left alone")
        new = _kept(request, owner)
        if now.paused and now.note != DISABLED:
            new = replace(new, paused=True, note=now.note)
        self._write("update", name, owner, new)

    async def delete(self, name: str, owner: str) -> None:
        now = self.kept.get(name)
        if now is None:
            return
        if now.owner != owner:
            raise WriteError(f"it belongs to `{now.owner}` by now; it was left alone")
        self._write("delete", name, owner, None)

    def person(self, name: str, **change: object) -> None:
        """Somebody changes a schedule by hand."""
        self.kept = {**self.kept, name: replace(self.kept[name], **change)}  # type: ignore[arg-type]

    def others(self, name: str, kept: Kept) -> None:
        """Another owner makes a schedule."""
        self.kept = {**self.kept, name: kept}

    def caught_up(self) -> None:
        """Wait until a listing shows what was written."""
        self.lag = 0

    def _write(self, verb: str, name: str, by: str, new: Kept | None) -> None:
        before = self.kept.get(name)
        self.past.append(dict(self.kept))
        self.writes.append((verb, name, before.owner if before else "", by))
        rest = {each: value for each, value in self.kept.items() if each != name}
        self.kept = {**rest, name: new} if new else rest


def _kept(request: RunRequest, owner: str) -> Kept:
    paused = not request.task.enabled or not request.task.cron
    return Kept(owner, request.source.digest, request, paused, DISABLED if paused else "")


class Line:
    """One process's line to the schedules: calls fail as told, and none comes through once it is killed."""

    def __init__(self, schedules: Schedules, fails: Iterator[bool], kill_after: int | None = None) -> None:
        self._schedules = schedules
        self._fails = fails
        self._left = kill_after

    async def _call(self, error: type[Exception]) -> None:
        await asyncio.sleep(0)  # others come in between
        if self._left is not None:
            if self._left <= 0:
                raise Killed
            self._left -= 1
        if next(self._fails, False):
            raise error("the server is busy")

    async def list(self) -> tuple[Existing, ...]:
        await self._call(ReadError)
        return await self._schedules.list()

    async def describe(self, name: str, request: RunRequest | None = None) -> Existing | None:
        await self._call(ReadError)
        return await self._schedules.describe(name, request)

    async def create(self, name: str, request: RunRequest, owner: str) -> bool:
        await self._call(WriteError)
        return await self._schedules.create(name, request, owner)

    async def update(self, name: str, request: RunRequest, owner: str, was_owned_by: str) -> None:
        await self._call(WriteError)
        await self._schedules.update(name, request, owner, was_owned_by)

    async def delete(self, name: str, owner: str) -> None:
        await self._call(WriteError)
        await self._schedules.delete(name, owner)
