"""Runs and tasks as Temporal keeps them: start, look, cancel. Only this module and `syncs` make its calls.

Workflow types, queries and ids are used by name; no code of a run is loaded here. What is kept between
two requests is a connection, and copies of tasks that their digest proves fresh: a restart loses nothing.
"""

import asyncio
import difflib
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    ScheduleActionStartWorkflow,
    ScheduleListActionStartWorkflow,
    ScheduleListDescription,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError

from gateway.problems import BadInputs, RunEnded, RunNotFound, TaskNotFound, TaskUnreadable
from gateway.syncs import sync_statuses
from gateway.temporal import CALL, SIDE_BY_SIDE, UNREADABLE, Connection, is_missing
from gateway.views import (
    NOBODY_ANSWERS,
    Closed,
    Execution,
    RunView,
    TaskView,
    newest_first,
    view_at_the_end,
    view_from_outside,
    view_of_task,
    view_while_alive,
)
from schemas import wire
from schemas.inputs import settle_inputs
from schemas.run import ENDED, Progress, RunRequest, RunResult
from schemas.sealing import CannotOpen
from schemas.spelling import NAME_PATTERN
from schemas.sync_status import SyncStatus
from schemas.task import Task

_QUERY = 2.0  # seconds; without a worker a query hangs until its deadline
_PREFIX = wire.schedule_id("")
_TASK, _STATUS, _DIGEST, _SCHEDULED_BY = (
    SearchAttributeKey.for_keyword(name) for name in (wire.TASK, wire.STATUS, wire.DIGEST, "TemporalScheduledById")
)
_CLOSED: dict[WorkflowExecutionStatus | None, Closed] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed out",
}


class Runs:
    """What can be asked about runs, tasks and their sync. Methods raise `gateway.problems.Refusal`."""

    def __init__(self, temporal: Connection, queue: str = wire.QUEUE) -> None:
        self._temporal, self._queue = temporal, queue
        self._read: dict[str, tuple[str, Task]] = {}  # schedule id -> digest, the task that has it

    async def check_ready(self) -> None:
        """Return if Temporal answers and has our namespace."""
        async with self._temporal.ask() as client:
            request = DescribeNamespaceRequest(namespace=client.namespace)
            await client.workflow_service.describe_namespace(request, timeout=CALL)

    async def start_task(self, name: str, given: Mapping[str, Any]) -> RunView:
        """Start a run of a known task with these inputs."""
        async with self._temporal.ask() as client:
            known = await _request_of(client, name)
            if known is None:
                names = [_name(entry) for entry in await _listed(client)]
                near = difflib.get_close_matches(name[:64], names, cutoff=0.5)
                hint = f"did you mean {' or '.join(near)}?" if near else "/v1/tasks lists those there are."
                raise TaskNotFound(f"There is no task {name[:80]!r}; {hint}", names=near)
        try:
            inputs = settle_inputs(known.task, given)
        except RecursionError:
            raise BadInputs("an input is nested too deeply") from None
        except ValueError as error:
            raise BadInputs(str(error)) from None
        return await self.start(known.model_copy(update={"inputs": inputs, "trigger": "http"}))

    async def start(self, request: RunRequest) -> RunView:
        """Start this run, once. What is returned is what is certain: it is queued."""
        now = datetime.now(UTC)
        run_id = wire.run_id(request.task.name, now, secrets.token_hex(4))
        said = wire.search_attributes(request)
        attributes = [SearchAttributePair(SearchAttributeKey.for_keyword(k), v) for k, v in said.items()]
        doubt = f"Nobody knows whether run {run_id} was started: look at /v1/runs/{run_id} before asking again."
        async with self._temporal.ask(doubt) as client:
            await client.start_workflow(
                wire.RUN_TASK,
                request,
                id=run_id,
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=TypedSearchAttributes(attributes),
                rpc_timeout=CALL,
            )
        return view_from_outside(Execution(run_id, said[wire.TASK], said[wire.STATUS], started_at=now))

    async def get(self, run_id: str) -> RunView:
        """One run, as fresh as it can be had."""
        execution = await self._look(run_id)
        if execution.closed is None and execution.said != "queued":  # no worker has a queued run: none to ask
            progress = await self._progress(run_id)
            if progress is None:
                return view_from_outside(execution, NOBODY_ANSWERS)
            if progress.status in ENDED:  # it may have closed between the two questions
                execution = await self._look(run_id)
            if execution.closed is None:
                return view_while_alive(execution, progress)
        if execution.closed != "completed":
            return view_from_outside(execution)
        async with self._temporal.ask() as client:
            return await _ended(client, execution)

    async def cancel(self, run_id: str) -> RunView:
        """Ask a living run to stop. It ends on its own terms, as soon as a worker has heard."""
        async with self._temporal.ask() as client:
            execution = await _load(client, run_id)
            if execution.closed:
                raise RunEnded(f"Run {run_id} has ended already: there is nothing left to cancel.")
            await client.get_workflow_handle(run_id).cancel(rpc_timeout=CALL)
        return view_from_outside(execution, "asked to cancel")

    async def recent(self, limit: int) -> tuple[RunView, ...]:
        """At most `limit` runs, newest first: those still going, then those that ended last."""
        async with self._temporal.ask() as client:
            listed = client.list_workflows(wire.LISTED_RUNS, limit=limit, page_size=limit, rpc_timeout=CALL)
            return newest_first([view_from_outside(_execution(entry)) async for entry in listed])

    async def tasks(self) -> tuple[TaskView, ...]:
        """Every task the server knows, by name."""
        turn = asyncio.Semaphore(SIDE_BY_SIDE)
        async with self._temporal.ask() as client:
            listed = await _listed(client)
            tasks = await asyncio.gather(*(self._task(client, entry, turn) for entry in listed))
        self._read = {entry.id: self._read[entry.id] for entry in listed if entry.id in self._read}
        views = [_task_view(entry, task) for entry, task in zip(listed, tasks, strict=True)]
        return tuple(sorted(views, key=lambda view: view.name))

    async def syncs(self) -> tuple[SyncStatus, ...]:
        """What every sync source last told, by owner."""
        async with self._temporal.ask() as client:
            return await sync_statuses(client)

    async def _task(self, client: Client, entry: ScheduleListDescription, turn: asyncio.Semaphore) -> Task | None:
        digest = entry.typed_search_attributes.get(_DIGEST)
        if digest and self._read.get(entry.id, ("",))[0] == digest:
            return self._read[entry.id][1]
        async with turn:
            try:
                request = await _request_of(client, _name(entry))
            except TaskUnreadable:
                return None
        # A list lags behind: what it calls old may be described as new already.
        if request and digest and digest == request.source.digest:
            self._read[entry.id] = (digest, request.task)
        return request.task if request else None

    async def _look(self, run_id: str) -> Execution:
        async with self._temporal.ask() as client:
            return await _load(client, run_id)

    async def _progress(self, run_id: str) -> Progress | None:
        """What the run itself says, or None if nobody answers in time or not in words we know."""
        async with self._temporal.ask() as client:
            handle = client.get_workflow_handle(run_id)
            try:
                async with asyncio.timeout(_QUERY):
                    return await handle.query(wire.PROGRESS, result_type=Progress)
            except (RPCError, WorkflowQueryFailedError, TimeoutError, *UNREADABLE):
                return None


async def _load(client: Client, run_id: str) -> Execution:
    """The one way to a run by its id. What is no run of ours does not exist."""
    missing = RunNotFound(f"There is no run {run_id[:80]!r}; /v1/runs lists those there are.")
    try:
        wire.quoted(run_id)
        found = await client.get_workflow_handle(run_id).describe(rpc_timeout=CALL)
    except ValueError:
        raise missing from None
    except RPCError as error:
        raise (missing if is_missing(error) else error) from None
    if found.workflow_type != wire.RUN_TASK:
        raise missing
    return _execution(found)


def _execution(found: WorkflowExecution) -> Execution:
    said = found.typed_search_attributes
    return Execution(
        id=found.id,
        task=said.get(_TASK, ""),
        said=said.get(_STATUS),
        started_at=found.start_time,
        ended_at=found.close_time,
        closed=_CLOSED.get(found.status),
        scheduled=_SCHEDULED_BY in said,
    )


async def _ended(client: Client, execution: Execution) -> RunView:
    handle = client.get_workflow_handle(execution.id, result_type=RunResult)
    try:
        return view_at_the_end(execution, await handle.result(follow_runs=False, rpc_timeout=CALL))
    except CannotOpen as error:
        return view_from_outside(execution, f"its result cannot be read: {error}")
    except UNREADABLE:
        return view_from_outside(execution, "its result was written by another version of Goalfile")


async def _listed(client: Client) -> list[ScheduleListDescription]:
    listed = await client.list_schedules(f"ScheduleId STARTS_WITH '{_PREFIX}'", page_size=200, rpc_timeout=CALL)
    return [entry async for entry in listed if _is_ours(entry)]


def _is_ours(entry: ScheduleListDescription) -> bool:
    action = entry.schedule and entry.schedule.action
    return isinstance(action, ScheduleListActionStartWorkflow) and action.workflow == wire.RUN_TASK


def _name(entry: ScheduleListDescription) -> str:
    return entry.id.removeprefix(_PREFIX)


def _task_view(entry: ScheduleListDescription, task: Task | None) -> TaskView:
    paused = entry.schedule is not None and entry.schedule.state.paused
    return view_of_task(_name(entry), task, paused=paused, slots=entry.info.next_action_times if entry.info else ())


async def _request_of(client: Client, name: str) -> RunRequest | None:
    """What a schedule of this task would start, or None if there is no such task."""
    if not re.fullmatch(NAME_PATTERN, name):
        return None
    try:
        found = await client.get_schedule_handle(wire.schedule_id(name)).describe(rpc_timeout=CALL)
    except RPCError as error:
        if is_missing(error):
            return None
        raise
    action = found.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != wire.RUN_TASK:
        return None
    try:
        (stored,) = await found.data_converter.decode(action.args, [RunRequest])
        return RunRequest.model_validate(stored)  # bytes, say, come as they are whatever was asked for
    except CannotOpen as error:
        raise TaskUnreadable(f"Task {name} cannot be read: {error}") from None
    except UNREADABLE:
        raise TaskUnreadable(f"Task {name} was stored by another version of Goalfile; sync it again.") from None
