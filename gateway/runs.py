"""Runs as Temporal keeps them: start, look, wait, cancel, retry.

Workflow types, queries and ids are used by name; no code of a run is loaded here, and nothing is kept
between two requests: a restart loses nothing. Whose run it is, is stored with it at its start.
"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
)
from temporalio.client import WorkflowExecutionDescription as Description
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from gateway.listing import Wanted, cursor_of, token_of
from gateway.problems import BadCursor, OtherRequest, Refusal, RunEnded, RunGoesOn, TaskUnreadable
from gateway.temporal import CALL, UNREADABLE, Connection, is_missing
from gateway.views import (
    NOBODY_ANSWERS,
    Closed,
    Execution,
    RunList,
    RunView,
    each_once,
    newest_first,
    view_at_the_end,
    view_from_outside,
    view_while_alive,
)
from schemas import wire
from schemas.run import ENDED, Progress, RunRequest, RunResult, Waiting
from schemas.sealing import CannotOpen

_QUERY = 2.0  # seconds; without a worker a query hangs until its deadline
_TASK, _STATUS, _MARK, _SCHEDULED_BY = (
    SearchAttributeKey.for_keyword(name) for name in (wire.TASK, wire.STATUS, wire.OWNER, "TemporalScheduledById")
)
_CLOSED: dict[WorkflowExecutionStatus | None, Closed] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed out",
}


class Runs:
    """What can be asked about runs. Methods raise `gateway.problems.Refusal`."""

    def __init__(self, temporal: Connection, queue: str = wire.QUEUE) -> None:
        self._temporal, self._queue = temporal, queue

    async def check_ready(self) -> None:
        """Return if Temporal answers and has our namespace."""
        async with self._temporal.ask() as client:
            request = DescribeNamespaceRequest(namespace=client.namespace)
            await client.workflow_service.describe_namespace(request, timeout=CALL)

    async def start(self, request: RunRequest, mark: str = "", key: str = "", asked: str = "") -> tuple[RunView, bool]:
        """Start this run, once, for the principal of this mark. What is returned is certain: it is queued.

        With an idempotency `key`, `asked` is a digest of the request: if the key was used before, by the same
        mark, the run of then is returned and True; OtherRequest if it stood for another request.
        """
        now = datetime.now(UTC)
        run_id = wire.keyed_run_id(mark, key) if key else wire.run_id(request.task.name, now, secrets.token_hex(4))
        said = wire.search_attributes(request) | ({wire.OWNER: mark} if mark else {})
        attributes = [SearchAttributePair(SearchAttributeKey.for_keyword(k), v) for k, v in said.items()]
        again = "ask again with the same Idempotency-Key." if key else f"look at /v1/runs/{run_id} before asking again."
        async with self._temporal.ask(f"Nobody knows whether run {run_id} was started: {again}") as client:
            try:
                await client.start_workflow(
                    wire.RUN_TASK,
                    request,
                    id=run_id,
                    task_queue=self._queue,
                    id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                    search_attributes=TypedSearchAttributes(attributes),
                    memo={wire.ASKED: asked} if key else None,
                    static_summary=(request.task.description or request.task.name or "ad hoc")[:100],
                    rpc_timeout=CALL,
                )
            except WorkflowAlreadyStartedError:
                return await _started_before(client, run_id, asked), True
        execution = Execution(run_id, said[wire.TASK], said[wire.STATUS], started_at=now)
        return view_from_outside(execution), False

    async def started_before(self, mark: str, key: str, asked: str) -> RunView | None:
        """The run that this key stands for, if there is one. Raises OtherRequest as `start` does."""
        async with self._temporal.ask() as client:
            try:
                return await _started_before(client, wire.keyed_run_id(mark, key), asked)
            except RPCError as error:
                if is_missing(error):
                    return None
                raise

    async def look(self, run_id: str) -> Execution | None:
        """What Temporal knows of a run, whosever it is; None for what is no run of ours."""
        async with self._temporal.ask() as client:
            try:
                wire.quoted(run_id)
                found = await client.get_workflow_handle(run_id).describe(rpc_timeout=CALL)
            except ValueError:
                return None
            except RPCError as error:
                if is_missing(error):
                    return None
                raise
            return await _execution(found) if found.workflow_type == wire.RUN_TASK else None

    async def view(self, execution: Execution) -> RunView:
        """One run, as fresh as it can be had."""
        if execution.closed is None and execution.said != "queued":  # no worker has a queued run: none to ask
            progress = await self._progress(execution.id)
            if progress is None:
                return view_from_outside(execution, NOBODY_ANSWERS)
            if progress.status in ENDED:  # it may have closed between the two questions
                execution = await self.look(execution.id) or execution
            if execution.closed is None:
                return view_while_alive(execution, progress)
        if execution.closed != "completed":
            return view_from_outside(execution)
        async with self._temporal.ask() as client:
            return await _ended(client, execution)

    async def wait(self, view: RunView, seconds: float) -> RunView | None:
        """The run once it has ended, or None if it takes longer than that, or nobody can tell."""
        try:
            async with asyncio.timeout(seconds):
                async with self._temporal.ask(patience=seconds + 1) as client:
                    with suppress(WorkflowFailureError):  # it has ended: how, is told below
                        await client.get_workflow_handle(view.id).result()
                execution = await self.look(view.id)
                return await self.view(execution) if execution else None
        except (TimeoutError, Refusal):  # it was started, whatever came after
            return None

    async def cancel(self, execution: Execution) -> RunView:
        """Ask a living run to stop. It ends on its own terms, as soon as a worker has heard."""
        ended = RunEnded(f"Run {execution.id} has ended already: there is nothing left to cancel.")
        if execution.closed:
            raise ended
        async with self._temporal.ask() as client:
            try:
                await client.get_workflow_handle(execution.id).cancel(rpc_timeout=CALL)
            except RPCError as error:
                raise (ended if error.status == RPCStatusCode.NOT_FOUND else error) from None
        return view_from_outside(execution, "asked to cancel")

    async def request_of(self, execution: Execution) -> RunRequest:
        """What an ended run was asked, to be asked again over HTTP. Raises RunGoesOn, TaskUnreadable."""
        if not execution.closed:
            raise RunGoesOn(f"Run {execution.id} has not ended; cancel it first.")
        async with self._temporal.ask() as client:
            events = client.get_workflow_handle(execution.id).fetch_history_events(page_size=1, rpc_timeout=CALL)
            first = (await anext(events)).workflow_execution_started_event_attributes
            try:
                (said,) = await client.data_converter.decode(first.input.payloads[:1], [RunRequest])
                request = RunRequest.model_validate(said)
            except UNREADABLE:
                raise TaskUnreadable(f"What run {execution.id} was asked cannot be read here.") from None
        return request.model_copy(update={"trigger": "http", "carried": None})

    async def part(self, wanted: Wanted, limit: int, cursor: str | None = None) -> RunList:
        """At most `limit` runs: those still going, by start; then those that ended, the latest end first."""
        query = wanted.query
        which = replace(wanted, since=None).query  # "a day ago" moves on between two parts
        token = token_of(cursor, which)
        async with self._temporal.ask() as client:
            listed = client.list_workflows(query, page_size=limit, next_page_token=token, rpc_timeout=CALL)
            try:
                await listed.fetch_next_page()
            except RPCError as error:
                # What it cannot read in a token, Temporal calls by either name.
                if token and error.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.UNKNOWN):
                    raise BadCursor("Temporal does not go on from this cursor; leave it out to begin anew.") from None
                raise
            page = [view_from_outside(await _execution(entry)) for entry in listed.current_page or ()]
        return RunList(data=each_once(page), next_cursor=cursor_of(listed.next_page_token, which))

    async def waiting(self, wanted: Wanted, most: int) -> tuple[list[Execution], bool]:
        """At most so many of these runs as Temporal knows them, and whether these are all."""
        async with self._temporal.ask() as client:
            listed = client.list_workflows(wanted.query, page_size=most, rpc_timeout=CALL)
            await listed.fetch_next_page()
            found = [await _execution(entry) for entry in listed.current_page or ()]
        return found, not listed.next_page_token

    async def recent(self, limit: int) -> tuple[RunView, ...]:
        """At most `limit` of everybody's runs, newest first."""
        return newest_first((await self.part(Wanted(), limit)).data)

    async def open_runs(self, mark: str) -> int:
        """How many runs of this principal have not ended."""
        async with self._temporal.ask() as client:
            query = f"{Wanted(mark=mark).query} AND ExecutionStatus = 'Running'"
            return (await client.count_workflows(query, rpc_timeout=CALL)).count

    async def _progress(self, run_id: str) -> Progress | None:
        """What the run itself says, or None if nobody answers in time or not in words we know."""
        async with self._temporal.ask() as client:
            handle = client.get_workflow_handle(run_id)
            try:
                async with asyncio.timeout(_QUERY):
                    return await handle.query(wire.PROGRESS, result_type=Progress)
            except (RPCError, WorkflowQueryFailedError, TimeoutError, *UNREADABLE):
                return None


async def _started_before(client: Client, run_id: str, asked: str) -> RunView:
    found = await client.get_workflow_handle(run_id).describe(rpc_timeout=CALL)
    if await found.memo_value(wire.ASKED, "", type_hint=str) != asked:
        raise OtherRequest("This Idempotency-Key was used for another request; use a new one for each.")
    return view_from_outside(await _execution(found))


async def _execution(found: WorkflowExecution | Description) -> Execution:
    said = found.typed_search_attributes
    try:
        waiting = await found.memo_value(wire.WAITING, (), type_hint=tuple[Waiting, ...])
    except UNREADABLE:
        waiting = ()
    return Execution(
        id=found.id,
        task=said.get(_TASK, ""),
        said=said.get(_STATUS),
        started_at=found.start_time,
        ended_at=found.close_time,
        closed=_CLOSED.get(found.status),
        scheduled=_SCHEDULED_BY in said,
        mark=said.get(_MARK, ""),
        waiting=waiting,
    )


async def _ended(client: Client, execution: Execution) -> RunView:
    handle = client.get_workflow_handle(execution.id, result_type=RunResult)
    try:
        return view_at_the_end(execution, await handle.result(follow_runs=False, rpc_timeout=CALL))
    except CannotOpen as error:
        return view_from_outside(execution, f"its result cannot be read: {error}")
    except UNREADABLE:
        return view_from_outside(execution, "its result was written by another version of Goalfile")
