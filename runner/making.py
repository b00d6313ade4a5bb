"""One write as a workflow of its own: Temporal itself is the ledger of what was made.

The id of an effect is used once, so a run that is reset, retried or handed to another worker cannot make
the same write twice: it is told what came of the first. A write is waited for, never cut and never retried.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import (
    RetryPolicy,
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
)
from temporalio.exceptions import TimeoutError as StepTimeoutError

with workflow.unsafe.imports_passed_through():
    from runner.activities import Activities
    from runner.effects import fingerprint, lost
    from runner.ports import ToolCall, ToolResult
    from schemas import wire
    from schemas.run import Effect

T = TypeVar("T")

LOST_AFTER = timedelta(seconds=10)
"""A step whose worker has been silent for this long is lost."""

CALL_AT_MOST = timedelta(minutes=5)
ONCE = RetryPolicy(maximum_attempts=1)
_STATUS = SearchAttributeKey.for_keyword(wire.STATUS)
_TASK = SearchAttributeKey.for_keyword(wire.TASK)


@workflow.defn(name=wire.EFFECT)
class MakeEffect:
    """One write, made at most once. Always ends with what is known about it."""

    @workflow.run
    async def run(self, call: ToolCall) -> ToolResult:
        """Make the call. Its state is kept where effects are listed by it."""
        try:
            result = await _through_cancellation(
                workflow.start_activity_method(
                    Activities.call_tool,
                    call,
                    start_to_close_timeout=CALL_AT_MOST,
                    heartbeat_timeout=LOST_AFTER,
                    retry_policy=ONCE,
                    cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    summary=call.tool,
                )
            )
        except (ActivityError, asyncio.CancelledError) as error:
            # A call that has begun is not cut by a cancellation, so one that was cut had not begun.
            cancelled = isinstance(error, ActivityError) and isinstance(error.cause, CancelledError)
            result = ToolResult(call.id, "not_run", "it was cancelled") if cancelled else lost(call, why(error))
        mark = _STATUS.value_set(result.state)
        workflow.upsert_search_attributes([mark])  # pyright: ignore[reportUnknownMemberType]
        return result


async def make(call: ToolCall, task: str) -> tuple[ToolResult, bool, tuple[Effect, ...]]:
    """Make one write: its result, whether this run's history holds it, and what an earlier course had made."""
    info = workflow.info()
    row = Effect(
        id=call.effect_id,
        run=info.workflow_id,
        task=task,
        tool=call.tool,
        toolkit=call.toolkit,
        fingerprint=fingerprint(call.tool, call.arguments),
        arguments=call.arguments,
        at=workflow.now(),
    )
    marks = [SearchAttributePair(_STATUS, "running"), SearchAttributePair(_TASK, task)]
    try:
        starting = workflow.start_child_workflow(
            MakeEffect.run,
            replace(call, of=(info.workflow_id, info.run_id)),
            id=wire.effect_workflow_id(call.effect_id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            # Whatever becomes of the run, what came of the write is kept.
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            memo={wire.EFFECT: row},
            search_attributes=TypedSearchAttributes(marks),
            static_summary=call.tool,
        )
        handle = await _through_cancellation(asyncio.create_task(starting), stop=False)
        if workflow.cancellation_reason() is not None:
            handle.cancel()
        made = await _through_cancellation(handle)
    except ChildWorkflowError as error:
        if isinstance(error.cause, WorkflowAlreadyStartedError):
            return await _made_before(call)
        return lost(call, why(error)), False, ()
    except WorkflowAlreadyStartedError:
        return await _made_before(call)
    return made, True, ()


async def _through_cancellation(doing: "asyncio.Task[T]", *, stop: bool = True) -> T:
    """Wait for it to its end: with `stop` it is asked to stop when we are, and what came of it is never lost.

    Left alone, the SDK drops a result that arrives together with a cancellation.
    """
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        # A run that a worker merely forgets is closed by the same exception, outside of any workflow.
        if not workflow.in_workflow() or workflow.cancellation_reason() is None:
            raise
    await asyncio.sleep(0)  # what has arrived already is let in
    if stop and not doing.done():
        doing.cancel()
    return await doing


async def _made_before(call: ToolCall) -> tuple[ToolResult, bool, tuple[Effect, ...]]:
    """The run was set back to before this write. What was made then is not made again, however it is worded now."""
    earlier = await workflow.execute_activity_method(
        Activities.earlier_effects,
        call.effect_id,
        start_to_close_timeout=CALL_AT_MOST,
        heartbeat_timeout=LOST_AFTER,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1)),
        summary="what was made before",
    )
    if earlier.call.tool == call.tool and earlier.call.arguments == call.arguments:
        return ToolResult(call.id, earlier.result.state, earlier.result.content), False, earlier.effects
    said = (
        "Not made. This run was set back, and in its earlier course this was called here instead: "
        f"{earlier.call.tool} with {earlier.call.arguments}, which ended as {earlier.result.state}. "
        "If it served the same end, do not do it again."
    )
    return ToolResult(call.id, "refused", said), False, earlier.effects


def why(error: Any) -> str:
    """The reason of a lost step in a person's words. A time-out says what failed before it, when something did."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ActivityError | ChildWorkflowError):
        return why(cause)
    if isinstance(cause, StepTimeoutError):
        last = cause.cause or cause.__cause__
        kind = cause.type.name.lower().replace("_", " ") if cause.type else ""
        said = "the worker was lost in the middle of it" if kind == "heartbeat" else f"it timed out ({kind})"
        return f"{said}; before that: {last}" if last else said
    if isinstance(cause, ApplicationError):
        return "the worker was stopped in the middle of it" if cause.type == "WorkerShutdown" else cause.message
    return str(cause or error) or "it was cancelled"
