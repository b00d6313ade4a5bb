"""What happened in a run, told from its history: without a worker, and long after the run is over."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from runner import lines
from runner.lines import Line
from runner.moves import Ask
from runner.ports import Reply, ToolCall, ToolResult
from runner.transcript import ASK_MODEL, CALL_TOOL, LIST_TOOLS, OPEN_RUN
from runner.ways import Run
from schemas import wire
from schemas.run import Decision, RunRequest, RunResult, Waiting


async def follow(client: Client, run: Run, *, wait: bool) -> AsyncIterator[Line]:
    """What happened in a run, in order; with `wait`, also what happens until it ends."""
    teller = _Teller(client)
    described = await client.get_workflow_handle(run.id).describe()
    part = described.raw_info.first_run_id or described.run_id  # a long run has its history in parts
    while part:
        handle = client.get_workflow_handle(run.id, run_id=part)
        part = ""
        async for event in handle.fetch_history_events(wait_new_event=wait):
            async for line in teller.tell(event):
                yield line
            if event.HasField("workflow_execution_continued_as_new_event_attributes"):
                part = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id


class _Teller:
    """Turns history events into lines."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._scheduled: dict[int, tuple[str, Any]] = {}
        self._attempts: dict[int, int] = {}
        self._asked: list[Waiting] = []
        self._last_said = ""

    async def tell(self, event: HistoryEvent) -> AsyncIterator[Line]:
        at = event.event_time.ToDatetime(UTC)
        match event.WhichOneof("attributes"):
            case "workflow_execution_started_event_attributes":
                begun = event.workflow_execution_started_event_attributes
                if begun.continued_execution_run_id:
                    return
                request: RunRequest = await self._read(begun.input, RunRequest)
                yield lines.started(at, request.task.name, request.source.path, request.trigger)
            case "activity_task_scheduled_event_attributes":
                scheduled = event.activity_task_scheduled_event_attributes
                name = scheduled.activity_type.name
                given: Any = None
                if name == CALL_TOOL:
                    given = await self._read(scheduled.input, ToolCall)
                    yield Line(at, "call", given.tool, lines.shown(given.arguments))
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
                yield self._trouble(at, failed.scheduled_event_id, await self._words(failed.failure))
            case "activity_task_timed_out_event_attributes":
                timed_out = event.activity_task_timed_out_event_attributes
                failure = timed_out.failure
                why = await self._words(failure.cause if failure.HasField("cause") else failure)
                yield self._trouble(at, timed_out.scheduled_event_id, f"worker lost or too slow: {why}")
            case "start_child_workflow_execution_initiated_event_attributes":
                begins = event.start_child_workflow_execution_initiated_event_attributes
                if begins.workflow_type.name == wire.EFFECT:
                    write: ToolCall = await self._read(begins.input, ToolCall)
                    self._scheduled[event.event_id] = (CALL_TOOL, write)
                    yield Line(at, "call", write.tool, lines.shown(write.arguments))
            case "start_child_workflow_execution_failed_event_attributes":
                again = event.start_child_workflow_execution_failed_event_attributes.initiated_event_id
                if again in self._scheduled:
                    yield self._trouble(at, again, "made before this run was set back; not made again")
            case "child_workflow_execution_completed_event_attributes":
                made = event.child_workflow_execution_completed_event_attributes
                async for line in self._done(at, made.initiated_event_id, made.result):
                    yield line
            case _:
                async for line in self._from_outside(at, event):
                    yield line

    async def _from_outside(self, at: datetime, event: HistoryEvent) -> AsyncIterator[Line]:
        """What people and Temporal do to a run, and how it ends."""
        match event.WhichOneof("attributes"):
            case "workflow_properties_modified_event_attributes":
                memo = event.workflow_properties_modified_event_attributes.upserted_memo.fields
                if wire.WAITING in memo:
                    (asked,) = await self._client.data_converter.decode([memo[wire.WAITING]], [list[Waiting]])
                    for each in asked:
                        if each not in self._asked:  # the others are only listed with it
                            yield lines.asked(at, each)
                    self._asked = asked
            case "workflow_execution_update_accepted_event_attributes":
                given = event.workflow_execution_update_accepted_event_attributes.accepted_request.input
                if given.name == wire.DECIDE:
                    said: Decision = await self._read(given.args, Decision)
                    yield lines.decided(at, approve=said.approve, by=said.by, note=said.note)
            case "workflow_execution_cancel_requested_event_attributes":
                yield Line(at, "trouble", "cancel requested")
            case "workflow_execution_completed_event_attributes":
                result = event.workflow_execution_completed_event_attributes.result
                end: RunResult = await self._read(result, RunResult)
                summary = "" if end.summary == self._last_said else end.summary  # it was just told
                yield lines.ended(at, end.status, end.reason, summary)
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
        again = lines.again(attempt)
        if name == ASK_MODEL:
            reply: Reply = await self._read(payloads, Reply)
            self._last_said = reply.text
            yield Line(at, "said", f"turn {given.turn}{again}", reply.text)
        elif name == CALL_TOOL:
            result: ToolResult = await self._read(payloads, ToolResult)
            yield Line(at, "result", f"{given.tool} {result.state}{again}", result.content)

    def _trouble(self, at: datetime, scheduled_id: int, said: str) -> Line:
        name, given = self._scheduled.pop(scheduled_id, ("", None))
        opening = "opening the run"
        what = {OPEN_RUN: opening, LIST_TOOLS: opening, CALL_TOOL: getattr(given, "tool", "")}.get(name, "")
        turn = f"turn {given.turn}" if name == ASK_MODEL else ""
        return Line(at, "trouble", f"{what or turn or name}: {said}")

    async def _words(self, failure: Failure) -> str:
        """What a failure says. Where there are keys, its own message only says that it is encoded."""
        error = await self._client.data_converter.decode_failure(failure)
        return str(getattr(error, "message", error))

    async def _read(self, payloads: Any, kind: type) -> Any:
        return (await self._client.data_converter.decode(payloads.payloads, [kind]))[0]
