"""What became of every slot: exactly one of ran, skipped (and why), missed, in doubt.

It decides and reads nothing: no clock, no server. It refuses to guess. A run proves that its slot ran;
for the absence of one Temporal keeps totals, never a list, so every other fate follows from what the
schedule says of itself, and from how it works (read in its source, and measured):

    judged from     The schedule's creation or last update, whichever is later: what it said before is
                    not known, so those slots are not expected of it. Nor are those from before the
                    namespace's retention, whose runs are gone. `judged_from` and `because` say so.
    due             A slot without a run is not judged until its jitter and two minutes are over, and
                    not while it waits in the schedule for the run before it to end.
    ran             A run carries the slot's nominal time: jitter, a late start and a later backfill do
                    not change it. How the run ended is another question.
    skipped         While the schedule is paused, or has no starts left: what came after the last slot
                    that ran. When a pause began is not told: a slot that was lost just before it counts
                    as paused, and a pause that is over explains nothing.
                    overlap skip: due after another run's slot and before that run's end, whether the
                    server was up then or not.
                    overlap queue: the same, while one slot was waiting already.
                    The schedule counts these skips. If it counts none, there were none; if it counts
                    fewer than look so, all of these are in doubt: nobody can say which it was.
                    overlap cancel: the same, and a later slot was due before that run had ended; or
                    several slots came to one start that was over a minute late. The last takes the
                    place of the others, uncounted: in doubt where it may have been missed as well.
    missed          No run, nothing above, and the schedule counts at least as many slots that it came
                    too late for. Not where it started a later slot within the catch-up window, nor
                    before the window is over. This is consistent rather than proven: the count is
                    a total since creation, and the server counts one slot again each time it wakes up
                    before its next start. Too low a count does prove that not all were missed.
    in doubt        The rest: a pause that is over, a start that the server refused, a deleted run, a
                    slot that is late and may yet start.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from operator import attrgetter, itemgetter
from typing import Literal

from schemas.cron import parse_cron
from schemas.slots import next_slots
from schemas.task import Task

GRACE = timedelta(minutes=2)
"""How late a start may be, on top of its jitter, before its absence means anything."""

Fate = Literal["ran", "skipped", "missed", "in doubt"]

_LAG = timedelta(minutes=1)  # a start that is later than this was held up
_AT_ONCE = 500


@dataclass(frozen=True)
class ScheduleFacts:
    """What a schedule says of itself. Counts are totals since its creation; times are aware."""

    created_at: datetime
    updated_at: datetime | None = None
    """The last update of what it says. Pausing and resuming are none."""
    paused: bool = False
    note: str = ""
    missed: int = 0
    """Slots that it came too late for by more than the catch-up window, some counted more than once."""
    overlapped: int = 0
    """Slots that it dropped because of another run."""
    waiting: int = 0
    """Slots that it holds until the run before them has ended."""
    starts_left: int | None = None
    """How often it may still start; None is without end."""

    @property
    def stopped(self) -> str:
        """Why it starts nothing at present; empty while it does."""
        if self.paused:
            return f"paused: {self.note}" if self.note else "paused"
        return "no starts are left" if self.starts_left == 0 else ""


@dataclass(frozen=True)
class SlotRun:
    """A workflow execution that the schedule started; a run that continued as new has several."""

    id: str
    slot: datetime
    """When it was due, without jitter; for a start by hand, when that was."""
    started_at: datetime
    ended_at: datetime | None
    """None while it is still going."""
    status: str


@dataclass(frozen=True)
class SlotFate:
    """What became of one slot. `why` is a run's status, or the reason that there is none."""

    at: datetime
    fate: Fate
    why: str
    run_id: str | None = None


@dataclass(frozen=True)
class Verdict:
    """Every slot of a task in (judged_from, now]: each stands once, in `fates` or in `due`."""

    judged_from: datetime
    because: str
    """Why not since the time that was asked for; empty if it is."""
    fates: tuple[SlotFate, ...]
    due: tuple[datetime, ...]
    """Slots that may still run in good order, and are not judged."""

    @property
    def expected(self) -> int:
        """How many slots there were, the due ones included."""
        return len(self.fates) + len(self.due)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many slots met each fate."""
        return Counter(fate.fate for fate in self.fates)

    @property
    def gaps(self) -> int:
        """How many slots did not run without a known reason."""
        return self.counts["missed"] + self.counts["in doubt"]


def judge(
    task: Task,
    facts: ScheduleFacts,
    runs: Iterable[SlotRun],
    *,
    since: datetime,
    now: datetime,
    kept_since: datetime | None = None,
) -> Verdict:
    """Decide every slot in (since, now] as the module says.

    `runs` are all runs of the schedule that ended after `since` or are still going, in any order. Runs
    that ended before `kept_since` may be gone; None if none ever are. All times are aware. Raises
    CronError or TimezoneError for a task that no schedule can have.
    """
    start, because = _judged_from(facts, since, kept_since)
    case = _Case(task, facts, sorted(runs, key=attrgetter("started_at")), _slots(task, start, now), now)
    return case.verdict(start, because)


def _judged_from(facts: ScheduleFacts, since: datetime, kept_since: datetime | None) -> tuple[datetime, str]:
    limits = [(since, ""), (facts.created_at, "its schedule was created then")]
    if facts.updated_at:
        limits.append((facts.updated_at, "its schedule was last updated then"))
    if kept_since:
        limits.append((kept_since, "older runs are not kept"))
    return max(limits, key=lambda limit: limit[0])


def _slots(task: Task, start: datetime, now: datetime) -> list[datetime]:
    calendars, slots, last = [parse_cron(text) for text in task.cron], list[datetime](), start
    while calendars and last < now:
        found = next_slots(calendars, task.timezone, last, _AT_ONCE)
        slots += [slot for slot in found if slot <= now]
        if len(found) < _AT_ONCE:
            break
        last = found[-1]
    return slots


class _Spans:
    """Stretches of time that are asked which of them go on after an instant."""

    def __init__(self, spans: Iterable[tuple[datetime, datetime]]) -> None:
        ordered = sorted(spans)
        self._starts = [start for start, _ in ordered]
        self._ends = list(accumulate((end for _, end in ordered), max))

    def until(self, at: datetime) -> datetime:
        """The last end of those that began before `at`; not after `at` if all are over."""
        found = bisect_left(self._starts, at)
        return max(self._ends[found - 1], at) if found else at


class _Case:
    """One task's slots, and everything known about them."""

    def __init__(
        self, task: Task, facts: ScheduleFacts, runs: Sequence[SlotRun], expected: Sequence[datetime], now: datetime
    ) -> None:
        self._task, self._facts, self._expected, self._now = task, facts, expected, now
        self._jitter = task.jitter or timedelta()
        self._ran = {run.slot: run for run in runs}  # of several executions, the one that started last
        self._by_slot = sorted(runs, key=attrgetter("slot"))
        self._run_slots = [run.slot for run in self._by_slot]
        self._open = max([now, *(run.ended_at for run in runs if run.ended_at)]) + timedelta(days=1)
        held = self._held(runs)
        self._going = _Spans((since, run.ended_at or self._open) for since, run in held)
        self._queued = _Spans((since, run.started_at) for since, run in held)

    def _held(self, runs: Sequence[SlotRun]) -> list[tuple[datetime, SlotRun]]:
        """Since when each run kept others out: from its slot, unless a person asked for it long after."""
        held, ended = list[tuple[datetime, SlotRun]](), list[tuple[datetime, datetime]]()
        for run in runs:
            late = run.started_at - run.slot > self._task.catchup + self._jitter + _LAG
            since = run.started_at if late and not self._in_turn(run, ended) else run.slot
            held.append((since, run))
            if run.ended_at:
                insort(ended, (run.ended_at, since))
        return held

    def _in_turn(self, run: SlotRun, ended: Sequence[tuple[datetime, datetime]]) -> bool:
        """Whether a late run had waited for another: that was going when it was due, and ended when it began."""
        if self._task.overlap not in ("queue", "cancel"):
            return False
        just_before = ended[bisect_left(ended, run.started_at - _LAG, key=itemgetter(0)) :]
        return any(since < run.slot < end <= run.started_at for end, since in just_before)

    def verdict(self, start: datetime, because: str) -> Verdict:
        """Every slot, once."""
        quiet = [slot for slot in self._expected if slot not in self._ran]
        waiting = self._waiting(quiet)
        young = self._now - self._jitter - GRACE
        due = [slot for slot in quiet if slot > young or slot == waiting]
        told = self._tell([slot for slot in quiet if slot <= young and slot != waiting], waiting)
        told |= {slot: SlotFate(slot, "ran", run.status, run.id) for slot, run in self._ran.items()}
        return Verdict(start, because, tuple(told[slot] for slot in self._expected if slot in told), tuple(due))

    def _waiting(self, quiet: Sequence[datetime]) -> datetime | None:
        """The slot that waits for a run that is still going: the first that came, or with `cancel` the last."""
        covered = [slot for slot in quiet if self._going.until(slot) == self._open]
        if not self._facts.waiting or not covered or self._task.overlap not in ("queue", "cancel"):
            return None
        return covered[0 if self._task.overlap == "queue" else -1]

    def _tell(self, quiet: Sequence[datetime], waiting: datetime | None) -> dict[datetime, SlotFate]:
        """The fate of slots without a run."""
        alive = max((slot for slot in self._expected if slot in self._ran), default=None)
        told, stopped = dict[datetime, SlotFate](), self._facts.stopped
        kept_out, unexplained = list[tuple[datetime, str]](), list[datetime]()
        for slot in quiet:
            why = self._kept_out(slot, waiting)
            if stopped and (alive is None or slot > alive):
                told[slot] = SlotFate(slot, "skipped", f"{stopped}; or {why}" if why else stopped)
            elif why:
                kept_out.append((slot, why))
            else:
                unexplained.append(slot)
        for slot, why in kept_out:
            doubt = self._doubt(slot, len(kept_out))
            doubtful = SlotFate(slot, "in doubt", f"no run; {why}, {doubt}")
            told[slot] = doubtful if doubt else SlotFate(slot, "skipped", why)
        return told | self._unexplained(unexplained)

    def _kept_out(self, slot: datetime, waiting: datetime | None) -> str:
        """Which other run a slot gave way to, or nothing."""
        if not self._facts.overlapped and self._task.overlap != "cancel":
            return ""
        until = self._going.until(slot)
        match self._task.overlap:
            case "skip" if until > slot:
                return "the run before it was still going"
            case "queue" if self._queued.until(slot) > slot or (waiting and waiting < slot < until):
                return "one was already waiting for the run before it"
            case "cancel" if self._replaced(slot, until, waiting):
                return "a later one took its place"
            case _:
                return ""

    def _replaced(self, slot: datetime, until: datetime, waiting: datetime | None) -> bool:
        later = self._next_run(slot)
        if later is None:
            return waiting is not None and slot < waiting < until
        held_up = later.started_at - later.slot > self._jitter + _LAG
        return until >= later.slot or (held_up and self._in_time(slot))

    def _doubt(self, slot: datetime, alike: int) -> str:
        """What else may have become of a slot that looks as if it gave way to another run; empty if nothing."""
        counted = self._facts.overlapped
        if self._task.overlap == "cancel":
            sure = not self._facts.missed or self._in_time(slot)
            return "" if sure else "or its schedule came too late for it"
        return "" if counted >= alike else f"but at most {counted} of {alike} such slots were skipped for that"

    def _in_time(self, slot: datetime) -> bool:
        """Whether the schedule is known to have looked at a slot within the catch-up window."""
        later = self._next_run(slot)
        return (later.started_at if later else self._now) - slot <= self._task.catchup

    def _next_run(self, slot: datetime) -> SlotRun | None:
        found = bisect_right(self._run_slots, slot)
        return self._by_slot[found] if found < len(self._by_slot) else None

    def _unexplained(self, slots: Sequence[datetime]) -> dict[datetime, SlotFate]:
        told, left, count = dict[datetime, SlotFate](), list[datetime](), self._facts.missed
        for slot in slots:
            if self._next_run(slot) and self._in_time(slot):
                why = "no run, though its schedule was at work within the catch-up window"
                told[slot] = SlotFate(slot, "in doubt", why)
            elif self._now - slot <= self._task.catchup + self._jitter:
                told[slot] = SlotFate(slot, "in doubt", "no run yet; it may still start within the catch-up window")
            else:
                left.append(slot)
        if count >= len(left):
            return told | {slot: SlotFate(slot, "missed", "its schedule came too late for it") for slot in left}
        some = f"no run; at most {count} of {len(left)} such slots were missed"
        why = some if count else "no run, and no trace of why"
        return told | {slot: SlotFate(slot, "in doubt", why) for slot in left}
