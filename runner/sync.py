"""Files become schedules, once or for ever: the composition root of the sync process.

One round is: scan the folder completely, read every file, list the server's schedules, plan, apply.
Events only make a round come sooner. A round that cannot see everything changes nothing.
"""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from runner.apply import Applied, Failure, NeverSynced, ReadError, Schedules, WriteError, apply
from runner.files import Scan, SourceUnavailable, scan
from runner.plan import Existing, Plan, make_plan, missing_of
from runner.status import Status
from runner.wanted import Wanted, read_wanted
from runner.watch import changes
from schemas.catalog import Catalog
from schemas.load import has_errors
from schemas.problem import Problem
from schemas.sync_status import SyncStatus

RESCAN_EVERY = 30.0
"""Seconds between rounds when nothing seems to change: events get lost, and drift makes none."""
SOON = 1.0
"""Seconds to the second look at a file that seems to be gone."""
CHECKED_AT_ONCE = 32
"""Schedules that a round looks at for changes by hand; a listing does not tell them."""


@dataclass(frozen=True)
class Round:
    """What one round saw and did."""

    seen: Scan = field(default_factory=lambda: Scan(Path(), ()))
    wanted: Wanted = field(default_factory=lambda: Wanted({}))
    plan: Plan = field(default_factory=lambda: Plan(()))
    done: Applied = field(default_factory=Applied)
    error: str = ""
    """Why nothing could be done at all, in words."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with the files."""
        return (*self.seen.problems, *self.wanted.problems)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The writes that were not done."""
        return self.done.failures

    def status(self, owner: str, instance: str) -> SyncStatus:
        """What is told of this round."""
        now = datetime.now(UTC)
        failed = {failure.action.name for failure in self.failures}
        refused = (f"{failure.action.name}: {failure.error}" for failure in self.failures)
        wrote = tuple(f"{each.verb} {each.name}" for each in self.plan.actions if each.name not in failed)
        return SyncStatus(
            owner=owner,
            instance=instance,
            seen_at=now,
            revision=self.seen.revision,
            tasks=len(self.wanted.requests),
            problems=self.problems,
            notes=(*self.plan.notes, *self.done.notes, *refused),
            blocked=self.plan.blocked,
            confirm=self.plan.hash if self.plan.blocked else "",
            error=self.error,
            wrote_at=now if wrote else None,
            wrote=wrote[:20],
        )

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

    def __init__(self, schedules: Schedules, root: Path, owner: str, catalog: Catalog | None = None) -> None:
        self._schedules = schedules
        self._root = root
        self._owner = owner
        self._catalog = catalog
        self._missing: frozenset[str] = frozenset()
        self._was_empty = False
        self._checked = ""
        """The last name that was looked at for changes by hand; the next round goes on behind it."""

    async def round(self, confirmed: str = "", adopt: AbstractSet[str] = frozenset()) -> Round:
        """Make the server equal to the files, as far as that is safe. Never raises for the outside's sake."""
        seen_at = datetime.now(UTC)
        try:
            seen, wanted = await self._read()
            existing = await self._schedules.list()
            existing = await self._closer(existing, wanted)
        except SourceUnavailable as error:
            return Round(error=f"{error}; no schedule was changed")
        except ReadError as error:
            return Round(error=f"the Temporal server refused or did not answer: {error}")
        # What an empty folder does not hold was not seen to be gone from a full one.
        before = self._missing if wanted.empty == self._was_empty else frozenset[str]()
        plan = make_plan(wanted, existing, self._owner, missing_before=before, confirmed=confirmed, adopt=adopt)
        done = await apply(self._schedules, plan, self._owner, seen_at)
        self._missing, self._was_empty = plan.missing, wanted.empty
        return Round(seen, wanted, plan, done)

    async def look(self) -> Round:
        """The round that would be, with every deletion that a second look would allow; nothing is changed."""
        try:
            seen, wanted = await self._read()
            try:
                existing = await self._schedules.list()
            except NeverSynced:  # who would write must find out otherwise: there, an error is not absence
                existing = ()
            self._missing = frozenset(missing_of(wanted, existing, self._owner))
            existing = await self._closer(existing, wanted)
        except SourceUnavailable as error:
            return Round(error=f"{error}; no schedule would be changed")
        except ReadError as error:
            return Round(error=f"the Temporal server refused or did not answer: {error}")
        return Round(seen, wanted, make_plan(wanted, existing, self._owner, missing_before=self._missing))

    async def _read(self) -> tuple[Scan, Wanted]:
        seen = await asyncio.to_thread(scan, self._root)
        return seen, await asyncio.to_thread(read_wanted, seen.files, self._catalog)

    async def _closer(self, existing: tuple[Existing, ...], wanted: Wanted) -> tuple[Existing, ...]:
        """The listing, with a closer look at what may be deleted, and at some others for changes by hand."""
        gone = () if wanted.empty else missing_of(wanted, existing, self._owner)
        digests = {each.name: each.digest for each in existing if each.owner == self._owner}
        same = sorted(name for name, each in wanted.requests.items() if digests.get(name) == each.source.digest)
        behind = [name for name in same if name > self._checked]
        checked = (behind or same)[:CHECKED_AT_ONCE]
        self._checked = checked[-1] if checked else ""
        names = [*gone, *checked]
        limit = asyncio.Semaphore(CHECKED_AT_ONCE)

        async def describe(name: str) -> Existing | None:
            async with limit:
                return await self._schedules.describe(name, wanted.requests.get(name))

        found = await asyncio.gather(*map(describe, names))
        closer = dict(zip(names, found, strict=True))
        looked = (closer.get(each.name, each) if each.owner == self._owner else each for each in existing)
        return tuple(each for each in looked if each is not None)

    async def settle(self, confirmed: str = "", adopt: AbstractSet[str] = frozenset()) -> Round:
        """Rounds until nothing waits for a second look."""
        done = await self.round(confirmed, adopt)
        if done.plan.waiting:
            await asyncio.sleep(SOON)
            again = await self.round(confirmed, adopt)
            actions = (*done.plan.actions, *again.plan.actions)
            plan = replace(again.plan, actions=actions)
            notes = (*done.done.notes, *again.done.notes)
            done = replace(again, plan=plan, done=replace(again.done, notes=notes))
        return done

    async def watch(self, tell: Callable[[Round], None], status: Status | None = None) -> None:
        """Rounds for ever: after a change, soon after an unsettled round, and every 30 seconds.

        With a `status`, only while nobody else writes for this owner, and each round is told there.
        """
        changed = asyncio.Event()
        watching = asyncio.create_task(self._notice(changed))
        await changed.wait()  # the watch stands before the first look: nothing falls between the two
        try:
            while True:
                changed.clear()
                done = await self._in_turn(status)
                tell(done)
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), SOON if done.unsettled else RESCAN_EVERY)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            if status:
                with suppress(WriteError):
                    await status.leave()

    async def _in_turn(self, status: Status | None) -> Round:
        if status is None:
            return await self.round()
        try:
            if other := await status.other_writer(datetime.now(UTC)):
                return Round(error=f"another sync writes for `{self._owner}`: {other}; this one stands by")
        except ReadError as error:
            return Round(error=f"the Temporal server refused or did not answer: {error}")
        done = await self.round()
        with suppress(WriteError):  # the next round tells it
            await status.write(done.status(self._owner, status.instance))
        return done

    async def _notice(self, changed: asyncio.Event) -> None:
        async for _ in changes(self._root):
            changed.set()
