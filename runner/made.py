"""The ledger read back: every write of every run, as Temporal keeps it.

A row is a workflow of type `goalfile-effect`: its memo says what was meant, its status what came of it.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from runner.ports import ToolCall, ToolResult
from schemas import wire
from schemas.run import Effect, StepState

_STATUS = SearchAttributeKey.for_keyword(wire.STATUS)
_ALL = f"WorkflowType = '{wire.EFFECT}'"
_STATES: dict[str, StepState] = {
    state: state  # type: ignore[misc]
    for state in ("running", "done", "refused", "unknown", "not_run")
}


@dataclass(frozen=True)
class Earlier:
    """What an id was used for before, and all effects of the run that used it."""

    call: ToolCall
    result: ToolResult
    effects: tuple[Effect, ...]


async def effects(
    client: Client, *, task: str = "", run: str = "", since: datetime | None = None, limit: int | None = None
) -> AsyncIterator[Effect]:
    """The writes that match, the newest first."""
    query = _ALL
    if task:
        query += f" AND {wire.TASK} = {wire.quoted(task)}"
    if since:
        query += f" AND StartTime >= '{since.astimezone(UTC).isoformat(timespec='seconds')}'"
    if run:
        query += f" AND ParentWorkflowId = {wire.quoted(run)}"
    async for entry in client.list_workflows(query, limit=limit):
        if effect := await _row(entry):
            yield effect


async def earlier_effects(client: Client, effect_id: str) -> Earlier:
    """What came of the write with this id; waits for its end if it is still being made."""
    handle = client.get_workflow_handle(wire.effect_workflow_id(effect_id), result_type=ToolResult)
    result: ToolResult = await handle.result()
    first = await anext(aiter(handle.fetch_history_events(page_size=1)))
    given = first.workflow_execution_started_event_attributes.input.payloads
    call: ToolCall = (await client.data_converter.decode(given, [ToolCall]))[0]
    place, _, _ = effect_id.partition("-")
    return Earlier(call, result, tuple(await effects_so_far(client, f"{place}-")))


async def effects_so_far(client: Client, ids: str) -> list[Effect]:
    """All writes whose ids begin so: those of one run."""
    query = f"{_ALL} AND WorkflowId STARTS_WITH {wire.quoted(wire.effect_workflow_id(ids))}"
    rows = [await _row(entry) async for entry in client.list_workflows(query)]
    return [row for row in rows if row]


async def _row(entry: WorkflowExecution) -> Effect | None:
    said = await entry.memo_value(wire.EFFECT, None, type_hint=Effect)
    if said is None:
        return None
    state = _STATES.get(entry.typed_search_attributes.get(_STATUS) or "", "unknown")
    if state == "running" and entry.status != WorkflowExecutionStatus.RUNNING:
        state = "unknown"  # somebody ended it in Temporal: nobody saw what came of it
    return said.model_copy(update={"state": state, "at": entry.start_time, "ended_at": entry.close_time})
