"""What every sync source last told, as Temporal keeps it: the argument of a schedule that starts nothing.

Which sources there are is what Temporal's list says; what each of them told is asked for anew, so it is fresh.
"""

import asyncio

from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleListDescription
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from gateway.temporal import CALL, SIDE_BY_SIDE, UNREADABLE, is_missing
from schemas import wire
from schemas.sync_status import SyncStatus

_OWNER = SearchAttributeKey.for_keyword(wire.OWNER)
_STATUSES = f"ScheduleId STARTS_WITH '{wire.status_id('')}'"


async def sync_statuses(client: Client) -> tuple[SyncStatus, ...]:
    """Every status that is ours and can be read, by owner."""
    turn = asyncio.Semaphore(SIDE_BY_SIDE)
    listed = await client.list_schedules(_STATUSES, page_size=200, rpc_timeout=CALL)
    owners = [owner async for entry in listed if (owner := _owner(entry))]
    found = await asyncio.gather(*(_status_of(client, owner, turn) for owner in owners))
    return tuple(sorted((status for status in found if status), key=lambda status: status.owner))


def _owner(entry: ScheduleListDescription) -> str:
    """Whose status this is, or nothing if it is somebody else's schedule."""
    owner = entry.typed_search_attributes.get(_OWNER, "")
    return owner if entry.id == wire.status_id(owner) else ""


async def _status_of(client: Client, owner: str, turn: asyncio.Semaphore) -> SyncStatus | None:
    async with turn:
        try:
            found = await client.get_schedule_handle(wire.status_id(owner)).describe(rpc_timeout=CALL)
        except RPCError as error:
            if is_missing(error):  # a list lags behind
                return None
            raise
    action = found.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow):
        return None
    try:
        (stored,) = await found.data_converter.decode(action.args, [SyncStatus])
        status = SyncStatus.model_validate(stored)  # bytes, say, come as they are whatever was asked for
    except UNREADABLE:
        return None
    return status if status.owner == owner else None
