"""How each step of a run is carried out by a worker: how long it may take, and how often it is tried.

Whatever only reads is tried again; a write never is. Nothing here knows what a step is for.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, cast

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as StepTimeoutError

with workflow.unsafe.imports_passed_through():
    from runner.activities import PERMANENT, SPENT, Activities
    from runner.effects import REPEATABLE
    from runner.making import CALL_AT_MOST, LOST_AFTER, ONCE
    from runner.metrics import count_step
    from runner.moves import Ask
    from runner.opening import Opening
    from runner.ports import Reply, Tool, ToolCall, ToolResult
    from schemas.run import Effect, Step, StepState
    from schemas.task import Task

T = TypeVar("T")

ASK_AT_MOST = timedelta(minutes=10)
LAST_WORD = timedelta(minutes=5)
"""How long a run that reached a limit may still wait for its report."""

PATIENT = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
_FIVE_TIMES = replace(PATIENT, maximum_attempts=5)


class Steps(list[Step]):
    """The steps of a run, as people follow them."""

    async def follow(self, step: Step, if_lost: StepState, doing: Coroutine[Any, Any, T]) -> T:
        """Do one step and keep its place in the list; `if_lost` is its state if its end is not heard of."""
        index = len(self)
        self.append(step)

        def ended(state: StepState) -> None:
            count_step(workflow.metric_meter(), step.kind, state)
            self[index] = step.model_copy(update={"state": state, "ended_at": workflow.now()})

        # Not `finally`: an evicted run is closed outside of any workflow, where there is no time.
        try:
            done = await doing
        except (ActivityError, asyncio.CancelledError):
            ended(if_lost)
            raise
        first = cast("Any", done[0] if isinstance(done, tuple) else done)
        ended(first.state if isinstance(first, ToolResult) else "done")
        return cast("T", done)


async def open_run(task: Task, *, links: bool) -> Opening:
    """What a run begins with; `links` are made for what is not connected."""
    return await workflow.execute_activity_method(
        Activities.open_run,
        args=[task, links],
        start_to_close_timeout=ASK_AT_MOST,
        schedule_to_close_timeout=task.limits.timeout,
        heartbeat_timeout=LOST_AFTER,
        retry_policy=PATIENT,
        summary=", ".join(task.toolkit) or "no toolkit",
    )


async def list_tools(task: Task) -> list[Tool]:
    """What a run of the first release begins with."""
    return await workflow.execute_activity_method(
        Activities.list_tools,
        task,
        start_to_close_timeout=ASK_AT_MOST,
        schedule_to_close_timeout=task.limits.timeout,
        heartbeat_timeout=LOST_AFTER,
        retry_policy=PATIENT,
        summary=", ".join(task.toolkit) or "no toolkit",
    )


async def ask_model(ask: Ask, left: timedelta) -> Reply:
    """One model turn, within what is left of the run's time."""
    return await workflow.execute_activity_method(
        Activities.ask_model,
        ask,
        start_to_close_timeout=ASK_AT_MOST,
        schedule_to_close_timeout=LAST_WORD if ask.last else max(left, timedelta(seconds=1)),
        heartbeat_timeout=LOST_AFTER,
        retry_policy=PATIENT,
        summary=f"turn {ask.turn}",
    )


async def call_tool(call: ToolCall) -> ToolResult:
    """One call that is made within the run itself: all that read, and the writes of the first release."""
    repeatable = call.effect in REPEATABLE
    return await workflow.execute_activity_method(
        Activities.call_tool,
        call,
        start_to_close_timeout=CALL_AT_MOST,
        heartbeat_timeout=LOST_AFTER,
        retry_policy=_FIVE_TIMES if repeatable else ONCE,
        # A write in flight is waited for, so that its outcome is known.
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL
        if repeatable
        else workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=call.tool,
    )


async def effects_so_far(seed: str) -> list[Effect]:
    """All writes that a run has made."""
    return await workflow.execute_activity_method(
        Activities.effects_so_far,
        seed,
        start_to_close_timeout=CALL_AT_MOST,
        heartbeat_timeout=LOST_AFTER,
        retry_policy=PATIENT,
        summary="what was made before",
    )


async def pause_schedule(task: str, why: str) -> bool:
    """Pause the task's schedule; False if it was paused already."""
    return await workflow.execute_activity_method(
        Activities.pause_schedule,
        args=[task, why],
        start_to_close_timeout=timedelta(minutes=1),
        schedule_to_close_timeout=timedelta(minutes=10),
        retry_policy=PATIENT,
    )


def lost_tries(error: ActivityError, ask: Ask) -> int:
    """How many tries of a question may be billed although nobody heard an answer."""
    if isinstance(error.cause, StepTimeoutError) and error.cause.last_heartbeat_details:
        return int(error.cause.last_heartbeat_details[0])  # what `ask-model` says while it tries
    return ask.tries or 0 if is_spent(error) else 1


def is_spent(error: ActivityError) -> bool:
    """Whether nothing is left to ask the model again with."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == SPENT


def is_permanent(error: ActivityError) -> bool:
    """Whether no other try could mend it."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == PERMANENT
