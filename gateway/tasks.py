"""Tasks as sync keeps them: one schedule each. Read here, written by sync alone.

A copy of a task is kept as long as its digest proves it fresh, so that a list of many costs few calls.
"""

import asyncio
import difflib
import re

from temporalio.client import (
    Client,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleListActionStartWorkflow,
    ScheduleListDescription,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from gateway.problems import TaskNotFound, TaskUnreadable
from gateway.temporal import CALL, SIDE_BY_SIDE, UNREADABLE, Connection, is_missing
from gateway.views import TaskView, view_of_task
from schemas import wire
from schemas.run import RunRequest
from schemas.sealing import CannotOpen
from schemas.spelling import NAME_PATTERN
from schemas.task import Task

_PREFIX = wire.schedule_id("")
_DIGEST = SearchAttributeKey.for_keyword(wire.DIGEST)


class Tasks:
    """What can be asked about tasks. Methods raise `gateway.problems.Refusal`."""

    def __init__(self, temporal: Connection) -> None:
        self._temporal = temporal
        self._read: dict[str, tuple[str, Task]] = {}  # schedule id -> digest, the task that has it

    async def all(self) -> tuple[TaskView, ...]:
        """Every task the server knows, by name."""
        return tuple(view for view, _ in await self._all())

    async def labelled(self, label: str, value: str) -> tuple[str, ...]:
        """The names of the tasks that carry a label with this value."""
        return tuple(view.name for view, task in await self._all() if task and task.labels.get(label) == value)

    async def known(self, name: str) -> RunRequest:
        """What a run of this task is asked now. Raises TaskNotFound, with names that look alike."""
        async with self._temporal.ask() as client:
            found = await request_of(client, name)
            if found is not None:
                return found
        raise await self.unknown(name)

    async def unknown(self, name: str) -> TaskNotFound:
        """What is said of a name that no task has."""
        async with self._temporal.ask() as client:
            names = [_name(entry) for entry in await _listed(client)]
        near = difflib.get_close_matches(name[:64], names, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else "/v1/tasks lists those there are."
        return TaskNotFound(f"There is no task {name[:80]!r}; {hint}", names=near)

    async def _all(self) -> list[tuple[TaskView, Task | None]]:
        turn = asyncio.Semaphore(SIDE_BY_SIDE)
        async with self._temporal.ask() as client:
            listed = await _listed(client)
            tasks = await asyncio.gather(*(self._task(client, entry, turn) for entry in listed))
        self._read = {entry.id: self._read[entry.id] for entry in listed if entry.id in self._read}
        both = [(_view(entry, task), task) for entry, task in zip(listed, tasks, strict=True)]
        return sorted(both, key=lambda each: each[0].name)

    async def _task(self, client: Client, entry: ScheduleListDescription, turn: asyncio.Semaphore) -> Task | None:
        digest = entry.typed_search_attributes.get(_DIGEST)
        if digest and self._read.get(entry.id, ("",))[0] == digest:
            return self._read[entry.id][1]
        async with turn:
            try:
                request = await request_of(client, _name(entry))
            except TaskUnreadable:
                return None
        # A list lags behind: what it calls old may be described as new already.
        if request and digest and digest == request.source.digest:
            self._read[entry.id] = (digest, request.task)
        return request.task if request else None


async def _listed(client: Client) -> list[ScheduleListDescription]:
    listed = await client.list_schedules(f"ScheduleId STARTS_WITH '{_PREFIX}'", page_size=200, rpc_timeout=CALL)
    return [entry async for entry in listed if _is_ours(entry)]


def _is_ours(entry: ScheduleListDescription) -> bool:
    action = entry.schedule and entry.schedule.action
    return isinstance(action, ScheduleListActionStartWorkflow) and action.workflow == wire.RUN_TASK


def _name(entry: ScheduleListDescription) -> str:
    return entry.id.removeprefix(_PREFIX)


def _view(entry: ScheduleListDescription, task: Task | None) -> TaskView:
    paused = entry.schedule is not None and entry.schedule.state.paused
    return view_of_task(_name(entry), task, paused=paused, slots=entry.info.next_action_times if entry.info else ())


async def described(client: Client, name: str) -> ScheduleDescription | None:
    """A task's schedule, or None if there is none of that name."""
    if not re.fullmatch(NAME_PATTERN, name):
        return None
    try:
        return await client.get_schedule_handle(wire.schedule_id(name)).describe(rpc_timeout=CALL)
    except RPCError as error:
        if is_missing(error):
            return None
        raise


async def request_of(client: Client, name: str) -> RunRequest | None:
    """What a schedule of this task would start, or None if there is no such task."""
    found = await described(client, name)
    return await stored_request(name, found) if found else None


async def stored_request(name: str, found: ScheduleDescription) -> RunRequest | None:
    """What this schedule would start; None if that is no run of ours. Raises TaskUnreadable."""
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
