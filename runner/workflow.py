"""RunTask: the durable shell around the agent value.

It performs what `agent.next()` says, one activity a step, and hands back what came of it. It holds no
rule of its own about tools or limits; those are the agent's. Loads no vendor.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception
from temporalio.exceptions import TimeoutError as StepTimeoutError

with workflow.unsafe.imports_passed_through():
    from runner.activities import PERMANENT, Activities
    from runner.agent import Agent, Ask, Calls, Finish
    from runner.effects import REPEATABLE, lost
    from runner.ports import Reply, ToolCall, ToolResult
    from runner.prompt import RULES, first_message
    from schemas.run import Progress, RunRequest, RunResult, Status, Step, StepState, Usage
    from schemas.wire import PROGRESS, RUN_TASK, STATUS

LOST_AFTER = timedelta(seconds=10)
"""A step whose worker has been silent for this long is lost."""

CALL_AT_MOST = timedelta(minutes=5)
ASK_AT_MOST = timedelta(minutes=10)
LAST_WORD = timedelta(minutes=5)
"""How long a run that reached a limit may still wait for its report."""

_PATIENT = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
_FIVE_TIMES = replace(_PATIENT, maximum_attempts=5)
_ONCE = RetryPolicy(maximum_attempts=1)
_STATUS = SearchAttributeKey.for_keyword(STATUS)
_SLOT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")


@workflow.defn(name=RUN_TASK)
class RunTask:
    """One run of one task."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.status: Status = "running"
        self.reason = ""
        self.steps: list[Step] = []
        self.agent: Agent | None = None

    @workflow.query(name=PROGRESS)
    def progress(self) -> Progress:
        """How far the run is."""
        agent = self.agent
        return Progress(
            status=self.status,
            reason=self.reason,
            turns=agent.turns if agent else 0,
            calls=agent.calls if agent else 0,
            usage=agent.usage if agent else Usage(),
            steps=tuple(self.steps),
        )

    @workflow.run
    async def run(self, request: RunRequest) -> RunResult:
        """Drive the agent to its end. Always returns a result, also for a run that failed."""
        started = workflow.now()  # the time it waited for a worker is not its own
        self._say("running")
        try:
            end = await self._drive(request, started)
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise
            end = Finish("cancelled", workflow.cancellation_reason() or "cancelled")
        self.reason = end.reason
        self._say(end.outcome)
        return RunResult(
            status=end.outcome,
            reason=end.reason,
            summary=end.summary,
            steps=tuple(self.steps),
            usage=self.agent.usage if self.agent else Usage(),
            started_at=started,
            ended_at=workflow.now(),
        )

    async def _drive(self, request: RunRequest, started: datetime) -> Finish:
        opened = await self._open(request, started)
        if isinstance(opened, Finish):
            return opened
        self.agent = opened
        while True:
            if workflow.cancellation_reason() is not None:
                return Finish("cancelled", workflow.cancellation_reason() or "cancelled")
            elapsed = workflow.now() - started
            match self.agent.next(elapsed):
                case Finish() as end:
                    return end
                case Ask() as ask:
                    self.agent = await self._ask(self.agent, ask, request.task.limits.timeout - elapsed)
                case Calls(calls):
                    results = await asyncio.gather(*(self._call(call) for call in calls))
                    for result, recorded in results:
                        self.agent = self.agent.observed(result) if recorded else self.agent.told(result)

    async def _open(self, request: RunRequest, started: datetime) -> Agent | Finish:
        info = workflow.info()
        slot = info.typed_search_attributes.get(_SLOT) or started
        before = workflow.get_last_completion_result(RunResult) if workflow.has_last_completion_result() else None
        try:
            tools = await workflow.execute_activity_method(
                Activities.list_tools,
                request.task,
                start_to_close_timeout=ASK_AT_MOST,
                schedule_to_close_timeout=request.task.limits.timeout,
                heartbeat_timeout=LOST_AFTER,
                retry_policy=_PATIENT,
                summary=", ".join(request.task.toolkit) or "no toolkit",
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return Finish("failed", f"the tools could not be listed: {_why(error)}")
        return Agent(
            task=request.task,
            system=RULES,
            tools=tuple(tools),
            seed=info.first_execution_run_id,
            new=(first_message(request, info.workflow_id, slot, before.started_at if before else None),),
        )

    async def _ask(self, agent: Agent, ask: Ask, left: timedelta) -> Agent:
        try:
            reply: Reply = await self._step(
                Step(kind="turn", name=f"turn {ask.turn}", started_at=workflow.now()),
                "not_run",
                workflow.execute_activity_method(
                    Activities.ask_model,
                    ask,
                    start_to_close_timeout=ASK_AT_MOST,
                    schedule_to_close_timeout=LAST_WORD if ask.last else max(left, timedelta(seconds=1)),
                    heartbeat_timeout=LOST_AFTER,
                    retry_policy=_PATIENT,
                    summary=f"turn {ask.turn}",
                ),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            if ask.last:
                return agent.stopped(f"{ask.last}; the model gave no report: {_why(error)}")
            if _permanent(error):
                return agent.failed(_why(error))
            return agent.stopped(f"limit reached: no answer from the model in time; {_why(error)}")
        return agent.heard(ask, reply)

    async def _call(self, call: ToolCall) -> tuple[ToolResult, bool]:
        """The result of a call, and whether history holds it as one."""
        repeatable = call.effect in REPEATABLE
        try:
            result: ToolResult = await self._step(
                Step(kind="call", name=call.tool, started_at=workflow.now()),
                "refused" if repeatable else "unknown",
                workflow.execute_activity_method(
                    Activities.call_tool,
                    call,
                    start_to_close_timeout=CALL_AT_MOST,
                    heartbeat_timeout=LOST_AFTER,
                    retry_policy=_FIVE_TIMES if repeatable else _ONCE,
                    # A write in flight is waited for, so that its outcome is known.
                    cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL
                    if repeatable
                    else workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                    summary=call.tool,
                ),
            )
        except ActivityError as error:
            if is_cancelled_exception(error) and repeatable:
                raise
            return lost(call, _why(error)), False
        return result, True

    async def _step(self, step: Step, if_lost: StepState, doing: Coroutine[Any, Any, Any]) -> Any:
        """Do one step and keep its place in the list that people follow."""
        index = len(self.steps)
        self.steps.append(step)

        def ended(state: StepState) -> None:
            self.steps[index] = step.model_copy(update={"state": state, "ended_at": workflow.now()})

        # Not `finally`: an evicted run is closed outside of any workflow, where there is no time.
        try:
            done = await doing
        except (ActivityError, asyncio.CancelledError):
            ended(if_lost)
            raise
        ended(done.state if isinstance(done, ToolResult) else "done")
        return done

    def _say(self, status: Status) -> None:
        self.status = status
        mark = _STATUS.value_set(status)
        workflow.upsert_search_attributes([mark])  # pyright: ignore[reportUnknownMemberType]


def _permanent(error: ActivityError) -> bool:
    return isinstance(error.cause, ApplicationError) and error.cause.type == PERMANENT


def _why(error: ActivityError) -> str:
    """The reason in a person's words. A time-out says what failed before it, when something did."""
    cause = error.cause
    if isinstance(cause, StepTimeoutError):
        last = cause.cause or cause.__cause__
        kind = cause.type.name.lower().replace("_", " ") if cause.type else ""
        said = "the worker was lost in the middle of it" if kind == "heartbeat" else f"it timed out ({kind})"
        return f"{said}; before that: {last}" if last else said
    if isinstance(cause, ApplicationError):
        return "the worker was stopped in the middle of it" if cause.type == "WorkerShutdown" else cause.message
    return str(cause or error)
