"""A plan carried out on the schedules of a server: creates and updates side by side, deletes after all of them.

It decides nothing about what to write. Every write is safe to repeat, so that a round which ends anywhere,
also by kill -9, is mended by the next one.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from runner.plan import Action, Existing, Plan
from schemas.cron import parse_cron
from schemas.run import RunRequest
from schemas.slots import next_slots

AT_ONCE = 32
"""Writes in flight; more do not make a server faster (measured: tests/bench/sync.py)."""


class WriteError(Exception):
    """The server did not take a write, or it would have touched what is not ours."""


class ReadError(Exception):
    """The server could not be asked: nothing may be concluded."""


class NeverSynced(ReadError):  # noqa: N818 - it reads as a state of the namespace
    """The namespace does not know our search attributes: no sync has ever been here."""


class Schedules(Protocol):
    """The schedules of one namespace. What lists or describes may raise ReadError, what writes WriteError."""

    async def list(self) -> tuple[Existing, ...]:
        """Every owned schedule, as a listing tells it: it may lag behind."""
        ...

    async def describe(self, name: str, request: RunRequest | None = None) -> Existing | None:
        """One schedule as it is now, with its path, and what differs by hand from what `request` made of it."""
        ...

    async def create(self, name: str, request: RunRequest, owner: str) -> bool:
        """Make it; False if there is one of that name."""
        ...

    async def update(self, name: str, request: RunRequest, owner: str, was_owned_by: str) -> None:
        """Write it again. A person's pause stays; another owner's schedule raises WriteError."""
        ...

    async def delete(self, name: str, owner: str) -> None:
        """Remove it; that it is gone already is no error, that it is another owner's is."""
        ...


@dataclass(frozen=True)
class Failure:
    """A write that was not done."""

    action: Action
    error: str


@dataclass(frozen=True)
class Applied:
    """What came of a plan."""

    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    """Slots that passed while their schedule was being written."""


async def apply(schedules: Schedules, plan: Plan, owner: str, seen_at: datetime) -> Applied:
    """Do what the plan says. `seen_at` is when its files were seen (UTC): slots since then are accounted for."""
    limit = asyncio.Semaphore(AT_ONCE)
    passed: list[str] = []

    async def do(action: Action) -> Failure | None:
        async with limit:
            try:
                await _do(schedules, action, owner)
            except WriteError as error:
                return Failure(action, str(error))
        passed.extend(_passed(action, seen_at, datetime.now(UTC)))
        return None

    async def do_all(pick: Callable[[Action], bool]) -> list[Failure]:
        done = await asyncio.gather(*(do(action) for action in plan.actions if pick(action)))
        return [failure for failure in done if failure]

    failed = await do_all(lambda action: action.verb != "delete")
    if not failed:  # deletes wait for a round in which everything else went well
        failed = await do_all(lambda action: action.verb == "delete")
    return Applied(tuple(failed), tuple(sorted(passed)))


async def _do(schedules: Schedules, action: Action, owner: str) -> None:
    if action.request is None:
        await schedules.delete(action.name, owner)
    elif action.verb == "update":
        await schedules.update(action.name, action.request, owner, action.owner)
    elif not await schedules.create(action.name, action.request, owner):
        # A listing lags behind: it may be ours since a moment ago, or somebody else's for long.
        await schedules.update(action.name, action.request, owner, owner)


def _passed(action: Action, seen_at: datetime, written_at: datetime) -> Sequence[str]:
    """The slot that a new schedule has missed, if one was due between the file's scan and the write."""
    task = action.request.task if action.request else None
    if task is None or action.verb != "create" or not task.cron or not task.enabled:
        return ()
    calendars = [parse_cron(text) for text in task.cron]
    due = [slot for slot in next_slots(calendars, task.timezone, seen_at, 1) if slot <= written_at]
    return [f"{action.name}: its slot {slot:%H:%M:%S} UTC passed while its schedule was being made" for slot in due]
