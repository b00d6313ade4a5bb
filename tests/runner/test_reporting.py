"""What a run has to say to people: equal failures counted, what it waits for, and who hears of it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import reporting
from runner.moves import Finish
from runner.reporting import in_a_row
from schemas.run import RunResult, Waiting
from schemas.task import Notify, Task

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
TASK = Task(goal="g", name="hello", notify=(Notify(to="ops"), Notify(to="boss", when="success"), Notify(to="ops")))
OUTCOMES = st.sampled_from(["succeeded", "failed", "stopped", "cancelled"])


def result(status: Any = "failed", reason: str = "boom", row: int = 1, **said: Any) -> RunResult:
    return RunResult(status=status, reason=reason, in_a_row=row, started_at=AT, ended_at=AT, **said)


def asked(kind: Any, tool: str, toolkit: str = "box") -> Waiting:
    return Waiting(kind=kind, id=f"id-{tool}", tool=tool, toolkit=toolkit, since=AT, until=AT)


def test_the_first_failure_is_one() -> None:
    assert in_a_row(Finish("failed", "boom"), None) == 1
    assert in_a_row(Finish("failed", "boom"), result("succeeded", "", 0)) == 1


def test_an_equal_failure_is_one_more_and_another_begins_anew() -> None:
    assert in_a_row(Finish("failed", "boom at 09:00"), result(reason="boom at 10:00", row=4)) == 5
    assert in_a_row(Finish("failed", "bang"), result(reason="boom", row=4)) == 1


def test_a_failed_run_and_a_stopped_one_of_the_same_reason_are_equal() -> None:
    assert in_a_row(Finish("stopped", "boom"), result(row=2)) == 3


def test_a_success_ends_the_row() -> None:
    assert in_a_row(Finish("succeeded"), result(row=9)) == 0


def test_a_cancelled_run_neither_adds_to_a_row_nor_ends_it() -> None:
    before, row = result(row=3), in_a_row(Finish("cancelled", "by ada"), result(row=3))
    assert row == 3
    cancelled = before.model_copy(update={"status": "cancelled", "reason": "by ada", "in_a_row": row})
    assert in_a_row(Finish("succeeded"), cancelled) == 0
    told = reporting.ended(TASK, "r", result("succeeded", "", 0), cancelled, unknown=(), link="")
    assert [notice.type for _, notice in told] == ["run.recovered", "run.succeeded"]


def test_a_failure_after_a_cancelled_run_is_told_anew() -> None:
    """Nobody can hold it against the failures before: a cancelled run tells its own reason."""
    assert in_a_row(Finish("failed", "boom"), result("cancelled", "by ada", 3)) == 1


@given(st.lists(st.tuples(OUTCOMES, st.sampled_from(["boom", "bang"])), max_size=12))
def test_a_row_is_never_longer_than_the_failures_since_the_last_success(ends: list[tuple[Any, str]]) -> None:
    before: RunResult | None = None
    failures = 0
    for outcome, reason in ends:
        end = Finish(outcome, reason)
        row = in_a_row(end, before)
        failures = 0 if outcome == "succeeded" else failures + (outcome != "cancelled")
        assert 0 <= row <= failures
        assert (row > 0) == (failures > 0)
        before = result(outcome, reason, row)


def test_what_a_run_waits_for_is_one_line_with_each_tool_once() -> None:
    twice = (asked("approval", "DROP"), asked("approval", "DROP"), asked("approval", "SEND"))
    assert reporting.why_it_waits(twice) == "approval of DROP, SEND"
    assert reporting.why_it_waits((asked("unknown", "SEND"),)) == "word on an unknown outcome of SEND"
    assert reporting.why_it_waits((asked("connection", "", "gmail"),)) == "connection of gmail"


def test_a_run_that_waits_tells_everybody_who_hears_of_failures_once() -> None:
    questions = (asked("approval", "DROP"), asked("approval", "SEND"))
    ((channel, notice),) = reporting.waiting(TASK, "run-1", questions, AT, "http://here")
    assert channel == "ops"
    assert (notice.type, notice.waiting, notice.link) == ("run.waiting", questions, "http://here")
    assert notice.id == "run-1-waiting-id-DROP"


def test_two_questions_of_one_run_are_two_notices() -> None:
    ids = {reporting.waiting(TASK, "r", (asked("approval", each),), AT, "")[0][1].id for each in ("DROP", "SEND")}
    assert len(ids) == 2


def test_how_a_run_ended_is_told_with_what_it_found_and_cost() -> None:
    good = result("succeeded", "", 0, summary="done", output={"n": 1}, cost_usd=0.5)
    told = reporting.ended(TASK, "run-1", good, None, unknown=("SEND",), link="http://here")
    assert [(channel, notice.type) for channel, notice in told] == [("ops", "run.succeeded"), ("boss", "run.succeeded")]
    notice = told[0][1]
    assert (notice.summary, notice.output, notice.cost_usd, notice.unknown) == ("done", {"n": 1}, 0.5, ("SEND",))
    assert {each.id for _, each in told} == {"run-1-ended"}


def test_the_first_success_after_failures_is_a_recovery_to_who_heard_of_them() -> None:
    told = reporting.ended(TASK, "r", result("succeeded", "", 0), result(row=3), unknown=(), link="")
    assert [(channel, notice.type) for channel, notice in told] == [("ops", "run.recovered"), ("boss", "run.succeeded")]


@pytest.mark.parametrize(("row", "heard"), [(1, True), (2, False), (4, False), (5, True), (6, False), (100, True)])
def test_an_equal_failure_is_not_told_every_time(row: int, heard: bool) -> None:
    told = reporting.ended(TASK, "r", result(row=row), result(row=row - 1), unknown=(), link="")
    assert bool(told) == heard
    assert all(notice.in_a_row == row for _, notice in told)


def test_a_paused_schedule_is_told_once_to_who_hears_of_failures() -> None:
    ((channel, notice),) = reporting.paused(TASK, "r", "10 equal failures", result(row=10), "http://here")
    assert channel == "ops"
    assert (notice.type, notice.reason, notice.in_a_row) == ("schedule.paused", "10 equal failures", 10)


def test_a_task_that_notifies_nobody_tells_nobody() -> None:
    quiet = Task(goal="g")
    assert reporting.waiting(quiet, "r", (asked("approval", "DROP"),), AT, "") == []
    assert reporting.ended(quiet, "r", result(), None, unknown=(), link="") == []
    assert reporting.paused(quiet, "r", "said", result(), "") == []
