"""Runs on the Temporal server: start, find, list, cancel, and read what is happening in one.

The words are ours (status, step, outcome); this is where Temporal's are translated. What a run did is
read from its history, so it can be told without a worker, and long after the run is over.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from runner.agent import Ask
from runner.ports import Reply, ToolCall, ToolResult
from runner.schedules import keywords, said
from runner.transcript import ASK_MODEL, CALL_TOOL, LIST_TOOLS
from schemas import wire
from schemas.run import ENDED, RunRequest, RunResult

CLOSED_BY_TEMPORAL = {
    WorkflowExecutionStatus.TERMINATED: "terminated in Temporal",
    WorkflowExecutionStatus.TIMED_OUT: "timed out in Temporal",
    WorkflowExecutionStatus.FAILED: "failed in Temporal",
    WorkflowExecutionStatus.CANCELED: "cancelled before a worker took it",
}


@dataclass(frozen=True)
class Run:
    """One run in a list."""

    id: str
    task: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True)
class Line:
    """One thing that happened in a run. `kind`: started, said, call, result, trouble, ended."""

    at: datetime
    kind: str
    text: str
    detail: str = ""


class NoSuchRun(Exception):  # noqa: N818 - it reads as an answer
    """No run has that id, or more than one begins with it."""


async def start_run(client: Client, request: RunRequest, queue: str) -> str:
    """Start a run now and return its id."""
    run_id = wire.run_id(request.task.name, datetime.now(UTC), token_hex(2))
    await client.start_workflow(
        wire.RUN_TASK,
        request,
        id=run_id,
        task_queue=queue,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        search_attributes=keywords(wire.search_attributes(request)),
        static_summary=(request.task.description or request.task.name or "ad hoc")[:100],
    )
    return run_id


async def list_runs(client: Client, limit: int = 20, task: str = "") -> list[Run]:
    """The newest runs first."""
    query = wire.ALL_RUNS + (f" AND {wire.TASK} = {wire.quoted(task)}" if task else "")
    found = [_run(entry) async for entry in client.list_workflows(query, limit=limit)]
    return sorted(found, key=lambda run: run.started_at, reverse=True)


async def find_run(client: Client, given: str) -> Run:
    """The run with this id, or the only one that begins with it. Raises NoSuchRun."""
    try:
        described = await client.get_workflow_handle(given).describe()
        if described.workflow_type == wire.RUN_TASK:
            return _run(described)
    except RPCError as error:
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            raise
    try:
        query = f"{wire.ALL_RUNS} AND WorkflowId STARTS_WITH {wire.quoted(given)}"
    except ValueError as error:
        raise NoSuchRun(f"`{given}` is no run id") from error
    found = [_run(entry) async for entry in client.list_workflows(query, limit=3)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchRun(f"more than one run begins with `{given}`, such as {found[0].id} and {found[1].id}")
    raise NoSuchRun(f"there is no run `{given}`; `goalfile ps` lists the latest")


async def result_of(client: Client, run: Run) -> RunResult | None:
    """How an ended run ended; None while it lives."""
    described = await client.get_workflow_handle(run.id).describe()
    if described.status == WorkflowExecutionStatus.RUNNING:
        return None
    if described.status == WorkflowExecutionStatus.COMPLETED:
        handle = client.get_workflow_handle(run.id, run_id=described.run_id, result_type=RunResult)
        return await handle.result()
    ended = described.close_time or datetime.now(UTC)
    gone = _run(described)
    status = "cancelled" if gone.status == "cancelled" else "failed"
    return RunResult(status=status, reason=gone.reason, started_at=described.start_time, ended_at=ended)


async def cancel_run(client: Client, run: Run) -> None:
    """Ask a run to stop; a write in flight is finished first."""
    await client.get_workflow_handle(run.id).cancel()


def _run(entry: WorkflowExecution) -> Run:
    marks = said(entry.typed_search_attributes)
    status, reason = marks.get(wire.STATUS, "queued"), ""
    if entry.status and entry.status in CLOSED_BY_TEMPORAL and status not in ENDED:
        status = "cancelled" if entry.status == WorkflowExecutionStatus.CANCELED else "failed"
        reason = CLOSED_BY_TEMPORAL[entry.status]
    return Run(entry.id, marks.get(wire.TASK, ""), status, entry.start_time, entry.close_time, reason)


async def follow(client: Client, run: Run, *, wait: bool) -> AsyncIterator[Line]:
    """What happened in a run, in order; with `wait`, also what happens until it ends."""
    teller = _Teller(client)
    handle = client.get_workflow_handle(run.id)
    async for event in handle.fetch_history_events(wait_new_event=wait):
        async for line in teller.tell(event):
            yield line


class _Teller:
    """Turns history events into lines."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scheduled: dict[int, tuple[str, Any]] = {}
        self._attempts: dict[int, int] = {}
        self._last_said = ""

    async def tell(self, event: HistoryEvent) -> AsyncIterator[Line]:
        at = event.event_time.ToDatetime(UTC)
        match event.WhichOneof("attributes"):
            case "workflow_execution_started_event_attributes":
                begun = event.workflow_execution_started_event_attributes
                request: RunRequest = await self._read(begun.input, RunRequest)
                source = f" from {request.source.path}" if request.source.path else ""
                yield Line(at, "started", f"{request.task.name or 'ad hoc'}{source}, by {request.trigger}")
            case "activity_task_scheduled_event_attributes":
                scheduled = event.activity_task_scheduled_event_attributes
                name = scheduled.activity_type.name
                given: Any = None
                if name == CALL_TOOL:
                    given = await self._read(scheduled.input, ToolCall)
                    yield Line(at, "call", given.tool, _shown(given.arguments))
                elif name == ASK_MODEL:
                    given = await self._read(scheduled.input, Ask)
                self._scheduled[event.event_id] = (name, given)
            case "activity_task_started_event_attributes":
                started = event.activity_task_started_event_attributes
                self._attempts[started.scheduled_event_id] = started.attempt
            case "activity_task_completed_event_attributes":
                done = event.activity_task_completed_event_attributes
                async for line in self._done(at, done.scheduled_event_id, done.result):
                    yield line
            case "activity_task_failed_event_attributes":
                failed = event.activity_task_failed_event_attributes
                yield self._trouble(at, failed.scheduled_event_id, failed.failure.message)
            case "activity_task_timed_out_event_attributes":
                timed_out = event.activity_task_timed_out_event_attributes
                failure = timed_out.failure
                said = failure.cause.message or failure.message
                yield self._trouble(at, timed_out.scheduled_event_id, f"worker lost or too slow: {said}")
            case "workflow_execution_cancel_requested_event_attributes":
                yield Line(at, "trouble", "cancel requested")
            case "workflow_execution_completed_event_attributes":
                result = event.workflow_execution_completed_event_attributes.result
                end: RunResult = await self._read(result, RunResult)
                reason = f": {end.reason}" if end.reason else ""
                summary = "" if end.summary == self._last_said else end.summary  # it was just told
                yield Line(at, "ended", f"{end.status}{reason}", summary)
            case "workflow_execution_terminated_event_attributes":
                yield Line(at, "ended", "failed: terminated in Temporal")
            case "workflow_execution_timed_out_event_attributes":
                yield Line(at, "ended", "failed: timed out in Temporal")
            case "workflow_execution_failed_event_attributes":
                yield Line(at, "ended", "failed: failed in Temporal")
            case _:
                pass

    async def _done(self, at: datetime, scheduled_id: int, payloads: Any) -> AsyncIterator[Line]:
        name, given = self._scheduled.pop(scheduled_id, ("", None))
        attempt = self._attempts.pop(scheduled_id, 1)
        again = f" (attempt {attempt})" if attempt > 1 else ""
        if name == ASK_MODEL:
            reply: Reply = await self._read(payloads, Reply)
            self._last_said = reply.text
            yield Line(at, "said", f"turn {given.turn}{again}", reply.text)
        elif name == CALL_TOOL:
            result: ToolResult = await self._read(payloads, ToolResult)
            yield Line(at, "result", f"{given.tool} {result.state}{again}", result.content)

    def _trouble(self, at: datetime, scheduled_id: int, said: str) -> Line:
        name, given = self._scheduled.pop(scheduled_id, ("", None))
        what = {LIST_TOOLS: "listing the tools", CALL_TOOL: getattr(given, "tool", "")}.get(name, "")
        turn = f"turn {given.turn}" if name == ASK_MODEL else ""
        return Line(at, "trouble", f"{what or turn or name}: {said}")

    async def _read(self, payloads: Any, kind: type) -> Any:
        return (await self._client.data_converter.decode(payloads.payloads, [kind]))[0]


def _shown(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())
