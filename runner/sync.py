"""Files become schedules, once or for ever: the composition root of the sync process.

One round is: scan the folder completely, read every file, list the server's schedules, plan, apply.
Events only make a round come sooner. A round that cannot see everything changes nothing.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType]

from runner.files import Scan, SourceUnavailable, scan
from runner.plan import Existing, Plan, make_plan
from runner.schedules import Failure, apply, list_existing
from runner.wanted import Wanted, read_wanted
from schemas import wire
from schemas.catalog import Catalog
from schemas.load import has_errors
from schemas.problem import Problem

RESCAN_EVERY = 30.0
"""Seconds between rounds when nothing seems to change: events get lost, and drift makes none."""
SOON = 1.0
"""Seconds to the second look at a file that seems to be gone."""
DEBOUNCE_MS = 400


@dataclass(frozen=True)
class Round:
    """What one round saw and did."""

    wanted: Wanted = field(default_factory=lambda: Wanted({}))
    plan: Plan = field(default_factory=lambda: Plan(()))
    failures: tuple[Failure, ...] = ()
    problems: tuple[Problem, ...] = ()
    error: str = ""
    """Why nothing could be done at all, in words."""

    @property
    def ok(self) -> bool:
        """True when the server is now equal to the files, and no file is wrong."""
        return not (self.error or has_errors(self.problems) or self.failures or self.plan.notes)

    @property
    def unsettled(self) -> bool:
        """True when another round should come soon."""
        return bool(self.plan.waiting or self.failures)


class Sync:
    """One folder, one owner, one namespace."""

    def __init__(self, client: Client, root: Path, owner: str, queue: str, catalog: Catalog | None = None) -> None:
        self._client = client
        self._root = root
        self._owner = owner
        self._queue = queue
        self._catalog = catalog
        self._missing: frozenset[str] = frozenset()

    async def round(self, confirmed: str = "") -> Round:
        """Make the server equal to the files, as far as that is safe. Never raises for the outside's sake."""
        try:
            seen, wanted, existing = await self._see()
            plan = make_plan(wanted, existing, self._owner, missing_before=self._missing, confirmed=confirmed)
            failures = await apply(self._client, plan, self._owner, self._queue)
        except SourceUnavailable as error:
            return Round(error=f"{error}; no schedule was changed")
        except RPCError as error:
            return Round(error=f"the Temporal server refused or did not answer: {error.message}")
        self._missing = plan.missing
        return Round(wanted, plan, failures, (*seen.problems, *wanted.problems))

    async def look(self) -> Round:
        """The round that would be, with every deletion that a second look would allow; nothing is changed."""
        try:
            seen, wanted, existing = await self._see(unknown_is_empty=True)
        except SourceUnavailable as error:
            return Round(error=f"{error}; no schedule would be changed")
        gone = {each.name for each in existing} - set(wanted.requests)
        plan = make_plan(wanted, existing, self._owner, missing_before=gone)
        return Round(wanted, plan, (), (*seen.problems, *wanted.problems))

    async def _see(self, *, unknown_is_empty: bool = False) -> tuple[Scan, Wanted, tuple[Existing, ...]]:
        seen = await asyncio.to_thread(scan, self._root)
        wanted = await asyncio.to_thread(read_wanted, seen.files, self._catalog)
        try:
            return seen, wanted, await list_existing(self._client)
        except RPCError as error:
            # A namespace that no sync has been in does not know our search attributes, and has nothing of ours.
            # Who would write must find out otherwise: there, an error is not absence.
            if unknown_is_empty and error.status == RPCStatusCode.INVALID_ARGUMENT and wire.OWNER in error.message:
                return seen, wanted, ()
            raise

    async def settle(self, confirmed: str = "") -> Round:
        """Rounds until nothing waits for a second look."""
        done = await self.round(confirmed)
        if done.plan.waiting:
            await asyncio.sleep(SOON)
            again = await self.round(confirmed)
            actions = (*done.plan.actions, *again.plan.actions)
            plan = Plan(actions, again.plan.notes, again.plan.missing, again.plan.waiting, again.plan.hash)
            done = Round(again.wanted, plan, again.failures, again.problems, again.error)
        return done

    async def watch(self, tell: Callable[[Round], None]) -> None:
        """Rounds for ever: after a change, soon after an unsettled round, and every 30 seconds."""
        changed = asyncio.Event()
        watching = asyncio.create_task(self._notice(changed))
        await asyncio.sleep(0)  # the watch stands before the first look: nothing falls between the two
        try:
            while True:
                changed.clear()
                done = await self.round()
                tell(done)
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), SOON if done.unsettled else RESCAN_EVERY)
        finally:
            watching.cancel()

    async def _notice(self, changed: asyncio.Event) -> None:
        while True:
            # A missing folder ends the watch; the rounds go on and say so.
            with suppress(FileNotFoundError, RuntimeError):
                async for _ in awatch(self._root, debounce=DEBOUNCE_MS, step=50):
                    changed.set()
            await asyncio.sleep(SOON)
