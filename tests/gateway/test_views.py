from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.views import Execution, newest_first, view_from_outside, view_of_task, view_while_alive
from schemas.run import ENDED, Progress
from schemas.task import Task

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def execution(**said: object) -> Execution:
    return Execution(**{"id": "hello-1", "task": "hello", "said": "running", "started_at": NOON, **said})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("closed", "said", "status", "reason"),
    [
        (None, None, "queued", ""),
        (None, "waiting", "waiting", ""),
        (None, "from-a-later-version", "queued", ""),
        ("completed", "stopped", "stopped", ""),
        ("completed", "running", "failed", "it ended without saying how"),
        ("terminated", "running", "failed", "terminated in Temporal"),
        ("timed out", "waiting", "failed", "timed out in Temporal"),
        ("cancelled", "running", "cancelled", "cancelled in Temporal"),
    ],
)
def test_status_from_outside(closed: str | None, said: str | None, status: str, reason: str) -> None:
    view = view_from_outside(execution(closed=closed, said=said))
    assert (view.status, view.reason) == (status, reason)


@given(st.sampled_from(["completed", "failed", "cancelled", "terminated", "timed out"]), st.text())
def test_what_temporal_closed_has_ended_whatever_the_run_last_said(closed: str, said: str) -> None:
    assert view_from_outside(execution(closed=closed, said=said)).status in ENDED


def test_what_is_not_known_is_null_and_not_zero() -> None:
    view = view_from_outside(execution())
    assert (view.turns, view.calls, view.usage, view.steps, view.cost_usd) == (None,) * 5


def test_a_living_run_is_seen_by_its_own_account() -> None:
    view = view_while_alive(execution(), Progress(status="waiting", reason="approval", turns=3))
    assert (view.status, view.reason, view.turns) == ("waiting", "approval", 3)


def test_only_a_schedules_runs_say_what_triggered_them() -> None:
    assert view_from_outside(execution(scheduled=True)).trigger == "schedule"
    assert view_from_outside(execution()).trigger is None


def test_newest_first_shows_a_reset_run_once() -> None:
    older, newer = (view_from_outside(execution(started_at=NOON + timedelta(hours=h))) for h in (0, 1))
    other = view_from_outside(execution(id="hello-2", started_at=NOON + timedelta(minutes=30)))
    assert newest_first([older, other, newer]) == (newer, other)


def test_a_task_without_cron_is_kept_paused_but_nobody_paused_it() -> None:
    assert not view_of_task("a", Task(goal="x"), paused=True, slots=()).paused


def test_a_paused_task_has_no_next_slot() -> None:
    view = view_of_task("a", Task(goal="x", cron=("@daily",)), paused=True, slots=[NOON])
    assert view.paused
    assert view.next_slots == ()
