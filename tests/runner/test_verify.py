"""Which fate each slot has: told by example, by properties, and against a small model of Temporal's scheduler."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from runner import cli_verify
from runner.verify import GRACE, Fate, ScheduleFacts, SlotFate, SlotRun, Verdict, judge
from schemas.cron import parse_cron
from schemas.slots import next_slots
from schemas.task import Task

START = datetime(2027, 3, 1, 8, 30, tzinfo=UTC)
NOW = datetime(2027, 3, 1, 16, 30, tzinfo=UTC)
HOURLY = tuple(datetime(2027, 3, 1, hour, tzinfo=UTC) for hour in range(9, 17))
FACTS = ScheduleFacts(created_at=START)
Overlap = Literal["skip", "queue", "cancel", "allow"]
OVERLAPS: tuple[Overlap, ...] = ("skip", "queue", "cancel", "allow")


def task(cron: str = "@hourly", **more: Any) -> Task:
    return Task(goal="Do it.", name="t", cron=(cron,), **more)


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2027, 3, 1, hour, minute, tzinfo=UTC)


def run(
    slot: datetime, started: datetime | None = None, ended: datetime | None = None, *, going: bool = False
) -> SlotRun:
    started = started or slot
    ended = None if going else ended or started + timedelta(minutes=1)
    return SlotRun(f"t-{slot:%Y-%m-%dT%H:%M:%SZ}", slot, started, ended, "running" if going else "succeeded")


def all_but(*hours: int) -> list[SlotRun]:
    return [run(slot) for slot in HOURLY if slot.hour not in hours]


def fates(verdict: Verdict) -> dict[int, tuple[str, str]]:
    """Hour -> fate and reason, of the slots that did not run."""
    return {fate.at.hour: (fate.fate, fate.why) for fate in verdict.fates if fate.fate != "ran"}


def judged(given_task: Task, facts: ScheduleFacts, runs: Sequence[SlotRun], now: datetime = NOW) -> Verdict:
    return judge(given_task, facts, runs, since=START, now=now)


def test_a_slot_with_a_run_ran_however_the_run_ended() -> None:
    failed = SlotRun("t-x", at(9), at(9), at(9, 1), "failed")
    verdict = judged(task(), FACTS, [failed, *all_but(9)])
    assert verdict.fates[0] == SlotFate(at(9), "ran", "failed", "t-x")
    assert (verdict.counts, verdict.gaps, verdict.expected) == ({"ran": 8}, 0, 8)


def test_of_several_executions_of_one_run_the_latest_tells() -> None:
    first = SlotRun("t-x", at(9), at(9), at(9, 5), "running")
    second = SlotRun("t-x", at(9), at(9, 5), at(9, 9), "succeeded")
    assert judged(task(), FACTS, [second, first, *all_but(9)]).fates[0].why == "succeeded"


def test_jitter_does_not_move_a_slot() -> None:
    late = run(at(12), started=at(12, 20))
    assert judged(task(jitter=timedelta(minutes=30)), FACTS, [late, *all_but(12)]).gaps == 0


@pytest.mark.parametrize(
    ("run_id", "slot"),
    [
        ("t-2027-03-01T09:00:00Z", at(9)),
        ("t-20270301T090000Z-ab12", None),
        ("t", None),
        ("t-2027-99-01T09:00:00Z", None),
    ],
)
def test_a_scheduled_run_names_its_slot_in_its_id(run_id: str, slot: datetime | None) -> None:
    assert cli_verify._slot_in(run_id) == slot


def test_a_slot_without_a_run_or_a_reason_is_in_doubt() -> None:
    verdict = judged(task(), FACTS, all_but(12))
    assert fates(verdict) == {12: ("in doubt", "no run, and no trace of why")}
    assert verdict.gaps == 1


def test_a_slot_is_missed_if_its_schedule_counts_one() -> None:
    verdict = judged(task(), replace(FACTS, missed=1), all_but(12))
    assert fates(verdict) == {12: ("missed", "its schedule came too late for it")}
    assert verdict.gaps == 1


def test_nobody_picks_which_of_three_slots_are_the_two_that_were_missed() -> None:
    verdict = judged(task(), replace(FACTS, missed=2), all_but(10, 12, 14))
    assert set(fates(verdict).values()) == {("in doubt", "no run; at most 2 of 3 such slots were missed")}


def test_a_slot_was_not_missed_if_its_schedule_was_at_work_in_time() -> None:
    verdict = judged(task(catchup=timedelta(hours=2)), replace(FACTS, missed=9), all_but(12))
    assert fates(verdict)[12][0] == "in doubt"


def test_a_late_slot_is_in_doubt_until_its_catch_up_window_is_over() -> None:
    verdict = judged(task(catchup=timedelta(hours=1)), replace(FACTS, missed=9), all_but(16))
    assert fates(verdict) == {16: ("in doubt", "no run yet; it may still start within the catch-up window")}


@pytest.mark.parametrize(("minutes", "jitter", "due"), [(1, 0, True), (3, 0, False), (3, 5, True), (8, 5, False)])
def test_a_slot_is_not_judged_before_it_could_have_run(minutes: int, jitter: int, due: bool) -> None:
    spread = timedelta(minutes=jitter) if jitter else None
    verdict = judged(task(jitter=spread), FACTS, all_but(16), at(16) + timedelta(minutes=minutes))
    assert verdict.due == ((at(16),) if due else ())
    assert verdict.gaps == (not due)
    assert verdict.expected == 8


def test_what_came_before_the_last_update_is_not_expected_and_that_is_said() -> None:
    verdict = judged(task(), replace(FACTS, updated_at=at(12)), [run(at(14))])
    assert (verdict.judged_from, verdict.because) == (at(12), "its schedule was last updated then")
    assert [fate.at.hour for fate in verdict.fates] == [13, 14, 15, 16]


def test_what_is_older_than_the_retention_is_not_judged_and_that_is_said() -> None:
    verdict = judge(task(), FACTS, [run(at(16))], since=START, now=NOW, kept_since=at(15))
    assert (verdict.judged_from, verdict.because) == (at(15), "older runs are not kept")
    assert verdict.counts == {"ran": 1}


def test_a_task_without_cron_is_expected_to_do_nothing() -> None:
    assert judged(Task(goal="x", name="t"), FACTS, []).expected == 0


def test_more_slots_than_are_asked_for_at_once_are_all_found() -> None:
    verdict = judge(task("* * * * *"), FACTS, [], since=START, now=START + timedelta(minutes=1201))
    assert verdict.expected == 1201


PAUSED = replace(FACTS, paused=True, note="the vendor is down")


def test_what_came_after_the_last_run_of_a_paused_schedule_is_skipped_and_what_came_before_is_in_doubt() -> None:
    verdict = judged(task(), PAUSED, all_but(10, 14, 15, 16))
    assert fates(verdict) == {
        10: ("in doubt", "no run, and no trace of why"),
        **dict.fromkeys((14, 15, 16), ("skipped", "paused: the vendor is down")),
    }


def test_a_start_by_hand_says_nothing_about_a_pause() -> None:
    by_hand = run(at(15, 17))
    assert judged(task(), PAUSED, [*all_but(14, 15, 16), by_hand]).gaps == 0


def test_a_schedule_that_never_ran_because_its_file_disables_it_has_no_gap() -> None:
    disabled = replace(FACTS, paused=True, note="disabled in the task file")
    verdict = judged(task(enabled=False), disabled, [])
    assert set(fates(verdict).values()) == {("skipped", "paused: disabled in the task file")}


def test_a_schedule_without_starts_left_skips_the_rest() -> None:
    verdict = judged(task(), replace(FACTS, starts_left=0), all_but(15, 16))
    assert fates(verdict) == dict.fromkeys((15, 16), ("skipped", "no starts are left"))


def test_a_paused_schedule_with_a_run_going_names_both_reasons() -> None:
    verdict = judged(task(), replace(PAUSED, overlapped=1), [*all_but(13, 14, 15, 16), run(at(13), going=True)])
    assert fates(verdict)[15] == ("skipped", "paused: the vendor is down; or the run before it was still going")


LONG = run(at(10), ended=at(13, 30))


@pytest.mark.parametrize(
    ("overlap", "counted", "runs", "told"),
    [
        ("skip", 3, [LONG], dict.fromkeys((11, 12, 13), ("skipped", "the run before it was still going"))),
        ("skip", 2, [LONG], dict.fromkeys((11, 12, 13), ("in doubt", "at most 2 of 3 such slots were skipped"))),
        (
            "queue",
            2,
            [LONG, run(at(11), started=at(13, 30))],
            dict.fromkeys((12, 13), ("skipped", "one was already waiting for the run before it")),
        ),
        ("skip", 0, [LONG], dict.fromkeys((11, 12, 13), ("in doubt", "no trace of why"))),
        ("queue", 3, [LONG], dict.fromkeys((11, 12, 13), ("in doubt", "no trace of why"))),
        (
            "cancel",
            0,
            [LONG, run(at(13), started=at(13, 30))],
            dict.fromkeys((11, 12), ("skipped", "a later one took its place")),
        ),
        ("allow", 9, [LONG], dict.fromkeys((11, 12, 13), ("in doubt", "no trace of why"))),
    ],
)
def test_a_slot_during_a_run_goes_by_the_overlap_and_by_what_the_schedule_counts(
    overlap: Overlap, counted: int, runs: list[SlotRun], told: dict[int, tuple[str, str]]
) -> None:
    verdict = judged(task(overlap=overlap), replace(FACTS, overlapped=counted), [*runs, *all_but(10, 11, 12, 13)])
    assert fates(verdict).keys() == told.keys()
    for hour, (fate, why) in told.items():
        assert fates(verdict)[hour][0] == fate
        assert why in fates(verdict)[hour][1]


@pytest.mark.parametrize(
    ("missed", "told"),
    [
        (0, ("skipped", "a later one took its place")),
        (1, ("in doubt", "no run; a later one took its place, or its schedule came too late for it")),
    ],
)
def test_where_a_run_takes_long_to_cancel_a_count_of_missed_slots_leaves_a_doubt(
    missed: int, told: tuple[str, str]
) -> None:
    runs = [LONG, run(at(13), started=at(13, 30)), *all_but(10, 11, 12, 13)]
    verdict = judged(task(overlap="cancel"), replace(FACTS, missed=missed), runs)
    assert fates(verdict) == dict.fromkeys((11, 12), told)


@pytest.mark.parametrize("late", [timedelta(seconds=30), timedelta(minutes=50)])
def test_of_slots_that_came_to_one_late_start_the_last_takes_the_place_of_the_others(late: timedelta) -> None:
    runs = [*all_but(11, 12, 13), run(at(13), started=at(13) + late)]
    verdict = judged(task(overlap="cancel", catchup=timedelta(hours=4)), FACTS, runs)
    told = "in doubt" if late < timedelta(minutes=1) else "skipped"
    assert {hour: fate for hour, (fate, _) in fates(verdict).items()} == {11: told, 12: told}


@pytest.mark.parametrize(("overlap", "due", "dropped"), [("queue", 14, {15, 16}), ("cancel", 16, {14, 15})])
def test_a_slot_that_waits_for_the_run_before_it_is_still_due(overlap: Overlap, due: int, dropped: set[int]) -> None:
    waiting = replace(FACTS, waiting=1, overlapped=2)
    verdict = judged(task(overlap=overlap), waiting, [*all_but(13, 14, 15, 16), run(at(13), going=True)])
    assert verdict.due == (at(due),)
    assert {hour for hour, (fate, _) in fates(verdict).items() if fate == "skipped"} == dropped
    assert verdict.gaps == 0


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_backfill_long_after_explains_only_its_own_slot(overlap: Overlap) -> None:
    backfill = run(at(9), started=at(15, 30))
    verdict = judged(task(overlap=overlap), replace(FACTS, overlapped=9), [backfill, *all_but(9, 11, 12)])
    assert {hour: fate for hour, (fate, _) in fates(verdict).items()} == {11: "in doubt", 12: "in doubt"}


@st.composite
def cases(draw: st.DrawFn) -> tuple[Task, ScheduleFacts, list[SlotRun], datetime]:
    """Anything, sensible or not."""
    every = draw(st.sampled_from([1, 5, 7, 20]))
    given_task = task(
        f"*/{every} * * * *",
        overlap=draw(st.sampled_from(OVERLAPS)),
        catchup=timedelta(minutes=draw(st.sampled_from([1, 10, 90]))),
        jitter=draw(st.sampled_from([None, timedelta(minutes=3)])),
    )
    now = START + timedelta(minutes=draw(st.integers(0, 120)), seconds=draw(st.integers(0, 59)))
    moments = st.integers(-10, 130).map(lambda minutes: START + timedelta(minutes=minutes))
    runs = [
        run(slot, slot + late, slot + late + took, going=going)
        for slot, late, took, going in draw(
            st.lists(
                st.tuples(
                    moments,
                    st.integers(0, 3000).map(lambda seconds: timedelta(seconds=seconds)),
                    st.integers(0, 3000).map(lambda seconds: timedelta(seconds=seconds)),
                    st.booleans(),
                ),
                max_size=12,
            )
        )
    ]
    facts = ScheduleFacts(
        created_at=draw(moments),
        updated_at=draw(st.none() | moments),
        paused=draw(st.booleans()),
        note=draw(st.sampled_from(["", "why"])),
        missed=draw(st.integers(0, 9)),
        overlapped=draw(st.integers(0, 9)),
        waiting=draw(st.integers(0, 2)),
        starts_left=draw(st.sampled_from([None, 0, 3])),
    )
    return given_task, facts, runs, now


def expected(given_task: Task, verdict: Verdict, now: datetime) -> list[datetime]:
    calendar = parse_cron(given_task.cron[0])
    return [slot for slot in next_slots([calendar], "UTC", verdict.judged_from, 200) if slot <= now]


@given(cases())
def test_every_slot_has_exactly_one_fate_and_only_a_run_makes_it_ran(
    case: tuple[Task, ScheduleFacts, list[SlotRun], datetime],
) -> None:
    given_task, facts, runs, now = case
    verdict = judged(given_task, facts, runs, now)
    told = [fate.at for fate in verdict.fates]
    assert told == sorted(told)
    assert sorted([*told, *verdict.due]) == expected(given_task, verdict, now)
    with_run = {one.slot for one in runs}
    assert [fate.at in with_run for fate in verdict.fates] == [fate.fate == "ran" for fate in verdict.fates]
    assert all(slot not in with_run for slot in verdict.due)
    assert sum(verdict.counts.values()) + len(verdict.due) == verdict.expected


@given(cases())
def test_a_total_is_never_exceeded(case: tuple[Task, ScheduleFacts, list[SlotRun], datetime]) -> None:
    given_task, facts, runs, now = case
    verdict = judged(given_task, facts, runs, now)
    assert verdict.counts["missed"] <= facts.missed
    if given_task.overlap in ("skip", "queue") and not facts.stopped:
        assert verdict.counts["skipped"] <= facts.overlapped


@given(cases(), st.integers(0, 200))
def test_one_more_run_makes_its_slot_ran_and_no_other(
    case: tuple[Task, ScheduleFacts, list[SlotRun], datetime], which: int
) -> None:
    given_task, facts, runs, now = case
    before = judged(given_task, facts, runs, now)
    slots = expected(given_task, before, now)
    assume(slots)
    slot = slots[which % len(slots)]
    after = judged(given_task, facts, [*runs, run(slot)], now)

    def ran(verdict: Verdict) -> set[datetime]:
        return {fate.at for fate in verdict.fates if fate.fate == "ran"}

    assert ran(after) == ran(before) | {slot}


@given(cases())
def test_without_a_run_or_an_excuse_every_slot_is_in_doubt(
    case: tuple[Task, ScheduleFacts, list[SlotRun], datetime],
) -> None:
    given_task, facts, _, now = case
    bare = ScheduleFacts(facts.created_at, facts.updated_at)
    assert {fate.fate for fate in judged(given_task, bare, [], now).fates} <= {"in doubt"}


@dataclass
class World:
    """Temporal's scheduler in small, as read in its source and seen on a server: what is true, and what it tells.

    It wakes when a slot is due, when a run ends that another waits for, and when it is up again. Every
    time it looks at all slots since the last one that it took: those it is too late for are counted
    again, and again.
    """

    task: Task
    slots: Sequence[datetime]
    jitters: Sequence[timedelta]
    lengths: Sequence[timedelta]
    outages: Sequence[tuple[datetime, datetime]]
    cancel_takes: timedelta
    paused_at: datetime | None
    now: datetime
    truth: dict[datetime, Fate | None] = field(default_factory=dict[datetime, Fate | None])
    runs: list[SlotRun] = field(default_factory=list[SlotRun])
    buffer: list[datetime] = field(default_factory=list[datetime])
    missed: int = 0
    skipped: int = 0
    paused: bool = False

    def live(self) -> None:
        self._taken = START
        moment = START
        while (moment := self._wakes(moment)) <= self.now:
            self._look(moment)
            if self.paused_at and moment >= self._up(self.paused_at):
                self.paused = True
            while self._drain(moment):
                pass
        self.runs = [one if one.ended_at <= self.now else replace(one, ended_at=None) for one in self.runs]

    def _due(self, slot: datetime) -> datetime:
        return slot + self.jitters[self.slots.index(slot)]

    def _up(self, moment: datetime) -> datetime:
        return next((end for start, end in self.outages if start <= moment < end), moment)

    def _wakes(self, last: datetime) -> datetime:
        reasons = [self._due(slot) for slot in self.slots]
        reasons += [one.ended_at for one in self.runs if self.buffer]
        reasons += [self.paused_at] if self.paused_at else []
        return min(
            (self._up(reason) for reason in reasons if self._up(reason) > last),
            default=datetime.max.replace(tzinfo=UTC),
        )

    def _look(self, moment: datetime) -> None:
        if self.paused:
            self._taken = moment
            return
        for slot in [slot for slot in self.slots if self._taken < self._due(slot) <= moment]:
            if moment - self._due(slot) > self.task.catchup:
                self.missed += 1
                self.truth[slot] = "missed"
            else:
                self.buffer.append(slot)
                self._taken = self._due(slot)

    def _drain(self, moment: datetime) -> bool:
        going = any(one.ended_at > moment for one in self.runs)
        starts, first, kept, cancels = list[datetime](), None, list[datetime](), False
        for slot in self.buffer:
            if self.task.overlap == "allow":
                starts.append(slot)
            elif not going and first is None:
                first = slot
            elif self.task.overlap == "skip" or (self.task.overlap == "queue" and kept):
                self.skipped += 1
                self.truth[slot] = "skipped"
            elif self.task.overlap == "queue":
                kept.append(slot)
            elif going:
                cancels = True
                kept.append(slot)
            else:
                self.truth[first] = "skipped"
                first = slot
        self.buffer, starts = kept, [*starts, *([first] if first else [])]
        for slot in starts:
            self.truth[slot] = "skipped" if self.paused else "ran"
            if not self.paused:
                self.runs.append(run(slot, moment, moment + self.lengths[self.slots.index(slot)]))
        if cancels:
            end = moment + self.cancel_takes
            self.runs = [
                replace(one, ended_at=min(one.ended_at, max(end, moment))) if one.ended_at > moment else one
                for one in self.runs
            ]
        return self.paused and bool(starts)

    @property
    def facts(self) -> ScheduleFacts:
        return ScheduleFacts(START, None, self.paused, "", self.missed, self.skipped, len(self.buffer))


@st.composite
def worlds(draw: st.DrawFn, *, pauses: bool = False, outages: bool = True, longest: int = 2000) -> World:
    every = draw(st.sampled_from([2, 5, 15]))
    jitter = draw(st.sampled_from([None, timedelta(minutes=1)]))
    given_task = task(
        f"*/{every} * * * *",
        overlap=draw(st.sampled_from(OVERLAPS)),
        catchup=timedelta(minutes=draw(st.sampled_from([1, 10, 60]))),
        jitter=jitter,
    )
    now = START + timedelta(minutes=draw(st.integers(1, 150)))
    slots = [slot for slot in next_slots([parse_cron(given_task.cron[0])], "UTC", START, 100) if slot <= now]
    lengths = [number for number in (1, 20, 100, 290, 700, 2000) if number <= longest]
    seconds = st.sampled_from(lengths).map(lambda number: timedelta(seconds=number))
    spread = st.integers(0, 59 if jitter else 0).map(lambda number: timedelta(seconds=number))

    def for_each_slot(values: st.SearchStrategy[timedelta]) -> list[timedelta]:
        few = draw(st.lists(values, min_size=1, max_size=7))
        return [few[number % len(few)] for number in range(len(slots))]

    minutes = st.integers(0, 150)
    down, last = list[tuple[datetime, datetime]](), -1
    for begin, length in sorted(draw(st.lists(st.tuples(minutes, st.integers(1, 90)), max_size=2 * outages))):
        if begin > last:
            last = begin + length
            ends = min(START + timedelta(minutes=last, seconds=11), now)  # a server that is down tells nothing
            down.append((START + timedelta(minutes=begin, seconds=-7), ends))
    world = World(
        given_task,
        slots,
        for_each_slot(spread),
        for_each_slot(seconds),
        down,
        draw(seconds),
        START + timedelta(minutes=draw(minutes), seconds=5) if pauses else None,
        now,
    )
    world.live()
    return world


@given(worlds())
def test_a_skip_is_true_or_the_server_was_down_while_it_would_have_been_one(world: World) -> None:
    verdict = judged(world.task, world.facts, world.runs, world.now)
    for fate in verdict.fates:
        if fate.fate == "skipped" and world.truth.get(fate.at) != "skipped":
            assert any(one.slot < fate.at < (one.ended_at or world.now) for one in world.runs), fate
            assert world.task.overlap in ("skip", "queue") or fate.at in world.buffer, fate


@given(worlds(longest=20))
def test_where_nobody_paused_and_runs_are_short_a_fate_is_the_true_one_or_in_doubt(world: World) -> None:
    verdict = judged(world.task, world.facts, world.runs, world.now)
    assert [fate for fate in verdict.fates if fate.fate not in ("in doubt", world.truth.get(fate.at))] == []


@given(worlds(pauses=True))
def test_a_pause_explains_only_what_came_after_the_last_run(world: World) -> None:
    verdict = judged(world.task, world.facts, world.runs, world.now)
    alive = max((slot for slot in world.slots if world.truth.get(slot) == "ran"), default=START)
    for fate in verdict.fates:
        if fate.fate == "skipped" and fate.why.startswith("paused"):
            assert world.paused
            assert fate.at > alive


@given(worlds(outages=False) | worlds(longest=20))
def test_where_nobody_paused_and_the_server_is_up_again_nothing_is_in_doubt(world: World) -> None:
    settled = world.now - world.task.catchup - (world.task.jitter or timedelta()) - GRACE
    assume(all(end < settled for _, end in world.outages))
    assume(not world.outages or world.task.overlap != "cancel")  # a start that is late by seconds proves no outage
    verdict = judged(world.task, world.facts, world.runs, world.now)
    assert [fate for fate in verdict.fates if fate.fate == "in doubt"] == []
