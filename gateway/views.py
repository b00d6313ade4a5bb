"""What a caller sees of a run and of a task, and how that follows from what Temporal and the run say.

Pure: Temporal's words come in as an `Execution` and leave as the product's. A number that is not known
right now is null, never zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast, get_args

from pydantic import JsonValue

from schemas.run import ENDED, Progress, RunResult, Status, Step, Usage, Waiting
from schemas.sync_status import SyncStatus
from schemas.task import Task
from schemas.value import Value

Closed = Literal["completed", "failed", "cancelled", "terminated", "timed out"]
"""How Temporal closed a workflow. Only `completed` carries a result of ours."""

NOBODY_ANSWERS = "no worker answers right now"


@dataclass(frozen=True)
class Execution:
    """What Temporal itself knows of a run. `said` is the status the run last wrote, if any."""

    id: str
    task: str
    said: str | None
    started_at: datetime
    ended_at: datetime | None = None
    closed: Closed | None = None
    scheduled: bool = False
    mark: str = ""
    """Of the principal who started it over HTTP; empty: a schedule, or somebody at the command line."""
    waiting: tuple[Waiting, ...] = ()


class RunView(Value):
    """One run. Times are UTC; null means not known: not yet, or not in a list.

    `trigger` is known only for runs that a schedule started.
    """

    id: str
    task: str
    status: Status
    reason: str = ""
    trigger: Literal["schedule", "cli", "http"] | None = None
    started_at: datetime
    ended_at: datetime | None = None
    turns: int | None = None
    calls: int | None = None
    usage: Usage | None = None
    steps: tuple[Step, ...] | None = None
    summary: str = ""
    output: JsonValue = None
    cost_usd: float | None = None
    waiting: tuple[Waiting, ...] = ()
    """What it waits for a person to do."""


class TaskView(Value):
    """One task. `next_slots` is empty for a task that is paused or has no cron."""

    name: str
    description: str | None = None
    cron: tuple[str, ...] = ()
    paused: bool = False
    next_slots: tuple[datetime, ...] = ()


class RunList(Value):
    """A part of the list of runs; without `next_cursor` it is the last part."""

    data: tuple[RunView, ...]
    next_cursor: str | None = None


class TaskList(Value):
    """A list of tasks, by name."""

    data: tuple[TaskView, ...]


class SyncList(Value):
    """A list of sync sources, by owner."""

    data: tuple[SyncStatus, ...]


def view_from_outside(execution: Execution, reason: str = "") -> RunView:
    """A run as Temporal knows it, when the run itself was not asked or did not answer."""
    said = cast("Status", execution.said) if execution.said in get_args(Status) else None
    match execution.closed:
        case None:
            status: Status = said or "queued"
        case "completed":
            # Every run writes how it ended before it completes; one that did not is no success.
            status = said if said is not None and said in ENDED else "failed"
            reason = reason or ("" if status == said else "it ended without saying how")
        case "cancelled":
            status, reason = "cancelled", "cancelled in Temporal"
        case "failed":
            status, reason = "failed", "failed in Temporal before it could report; the worker's log says why"
        case how:
            status, reason = "failed", f"{how} in Temporal"
    return RunView(
        id=execution.id,
        task=execution.task,
        status=status,
        reason=reason,
        trigger="schedule" if execution.scheduled else None,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
        waiting=execution.waiting if status == "waiting" else (),
    )


def view_while_alive(execution: Execution, progress: Progress) -> RunView:
    """A living run, by its own account."""
    return _updated(
        view_from_outside(execution),
        status=progress.status,
        reason=progress.reason,
        turns=progress.turns,
        calls=progress.calls,
        usage=progress.usage,
        steps=progress.steps,
        cost_usd=progress.cost_usd,
        waiting=progress.waiting,
    )


def view_at_the_end(execution: Execution, result: RunResult) -> RunView:
    """An ended run, by its result."""
    return _updated(
        view_from_outside(execution),
        status=result.status,
        reason=result.reason,
        started_at=result.started_at,
        ended_at=result.ended_at,
        turns=sum(step.kind == "turn" for step in result.steps),
        calls=sum(step.kind == "call" for step in result.steps),
        usage=result.usage,
        steps=result.steps,
        summary=result.summary,
        output=result.output,
        cost_usd=result.cost_usd,
    )


def view_of_task(name: str, task: Task | None, *, paused: bool, slots: Sequence[datetime]) -> TaskView:
    """A task as a caller sees it; `task` is None when it cannot be read.

    Without cron a schedule is only kept, paused, to know the task: nobody paused that task.
    """
    cron = task.cron if task else ()
    paused = paused and (task is None or bool(cron))
    return TaskView(
        name=name,
        description=task.description if task else "stored by another version of Goalfile: sync it again",
        cron=cron,
        paused=paused,
        next_slots=() if paused else tuple(slots),
    )


def each_once(views: Sequence[RunView]) -> tuple[RunView, ...]:
    """Runs in their order; of two with one id (a run that was reset) the first, which is the living or later one."""
    kept: dict[str, RunView] = {}
    for view in views:
        kept.setdefault(view.id, view)
    return tuple(kept.values())


def newest_first(views: Sequence[RunView]) -> tuple[RunView, ...]:
    """Runs by start, newest first; of two with one id the newer one."""
    return each_once(sorted(views, key=lambda view: (view.started_at, view.id), reverse=True))


def _updated(view: RunView, **said: object) -> RunView:
    return view.model_copy(update=said)
