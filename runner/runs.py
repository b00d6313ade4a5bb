"""Runs on the Temporal server: start, find, list, cancel.

The words are ours (status, outcome); this is where Temporal's are translated. What happened in a run is
`runner.following`'s to tell.
"""

from datetime import UTC, datetime
from secrets import token_hex

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from runner.schedules import keywords, said
from runner.ways import NoSuchRun, Run, meant
from schemas import wire
from schemas.run import ENDED, RunRequest, RunResult

CLOSED_BY_TEMPORAL = {
    WorkflowExecutionStatus.TERMINATED: "terminated in Temporal",
    WorkflowExecutionStatus.TIMED_OUT: "timed out in Temporal",
    WorkflowExecutionStatus.FAILED: "failed in Temporal",
    WorkflowExecutionStatus.CANCELED: "cancelled before a worker took it",
}


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
    query = wire.LISTED_RUNS + (f" AND {wire.TASK} = {wire.quoted(task)}" if task else "")
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
        query = f"{wire.LISTED_RUNS} AND WorkflowId STARTS_WITH {wire.quoted(given)}"
    except ValueError as error:
        raise NoSuchRun(f"`{given}` is no run id") from error
    return meant(given, [_run(entry) async for entry in client.list_workflows(query, limit=3)])


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


async def request_of(client: Client, run: Run) -> RunRequest:
    """What a run was asked, whole."""
    first = await anext(aiter(client.get_workflow_handle(run.id).fetch_history_events(page_size=1)))
    given = first.workflow_execution_started_event_attributes.input.payloads
    return (await client.data_converter.decode(given[:1], [RunRequest]))[0]


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
