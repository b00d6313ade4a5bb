"""Pausing a task's schedule so that it stays paused, and resuming it.

The server keeps one pending change of a schedule: a pause that meets another change is lost now and then,
and no error tells. So each is looked at afterwards and made again, a bounded number of times.
"""

import asyncio

from temporalio.client import Client, ScheduleHandle, ScheduleState
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from runner.ways import NotKept
from schemas import wire

_WAITS = (0.0, 0.1, 0.3, 1.0, 2.0)
"""Seconds before each try."""


async def pause_schedule(client: Client, name: str, note: str) -> bool:
    """Pause a task's schedule with a note; False if it was paused already, or is no schedule of ours.

    Raises NotKept, or RPCError if the server refuses or does not answer.
    """
    return await _set(client, name, note, paused=True)


async def resume_schedule(client: Client, name: str, note: str) -> bool:
    """Resume a task's schedule; False if it was not paused, or is no schedule of ours. Raises as `pause_schedule`."""
    return await _set(client, name, note, paused=False)


async def _set(client: Client, name: str, note: str, *, paused: bool) -> bool:
    handle = client.get_schedule_handle(wire.schedule_id(name))
    state = await _state(handle, name)
    if state is None or state.paused == paused:
        return False
    for wait in _WAITS:
        await asyncio.sleep(wait)
        await (handle.pause(note=note) if paused else handle.unpause(note=note))
        state = await _state(handle, name)
        if state is None:
            return False  # it was deleted meanwhile
        if state.paused == paused:
            return state.note == note  # or somebody else did the same at the same moment
    verb = "pause" if paused else "resume"
    raise NotKept(
        f"`{name}` did not {verb}: the server took it {len(_WAITS)} times and did nothing, for something else"
        f" changes this schedule all the time; try again, or look at {wire.schedule_id(name)} in the Temporal UI"
    )


async def _state(handle: ScheduleHandle, name: str) -> ScheduleState | None:
    """How it stands, or None if there is none or a stranger's."""
    try:
        described = await handle.describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    marks = described.typed_search_attributes
    ours = marks.get(SearchAttributeKey.for_keyword(wire.OWNER)) is not None
    if not ours or marks.get(SearchAttributeKey.for_keyword(wire.TASK)) != name:
        return None
    return described.schedule.state
