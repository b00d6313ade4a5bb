"""Pausing and resuming tasks by their schedules, and the one switch that stops everything, over HTTP.

A task file is never overruled: what a file disables, the file enables. The server keeps one pending change of a
schedule, and a pause that meets another is lost now and then without an error: each is looked at afterwards and made
again, a bounded number of times. The command line does the same by itself: the two know nothing of each other.
"""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import Field, JsonValue
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from gateway.api import Known, OfTasks, Strict
from gateway.principals import Principal, needs
from gateway.problems import RESPONSES, NotKept, OffInFile, TaskUnreadable
from gateway.tasks import described, stored_request
from gateway.temporal import CALL, UNREADABLE, Connection, is_missing
from gateway.views import TaskView, view_of_task
from schemas import wire
from schemas.run import RunRequest, Source
from schemas.stop import MOST_REASON, Stopped
from schemas.value import Value

_WAITS = (0.0, 0.1, 0.3, 1.0)
"""Seconds before each try."""
_OWNER, _TASK = (SearchAttributeKey.for_keyword(name) for name in (wire.OWNER, wire.TASK))

router = APIRouter(prefix="/v1", responses=RESPONSES, tags=["tasks"])
Pauser = Annotated[Principal, needs("tasks:write")]
Admin = Annotated[Principal, needs("admin")]


class WholeTask(TaskView):
    """One task, whole: as it runs, where it is from, and who paused it."""

    task: dict[str, JsonValue]
    source: Source
    note: str = ""
    """Who paused or resumed it, and why."""


class Reason(Strict):
    """Why, for whoever finds it so."""

    reason: Annotated[str, Field(max_length=MOST_REASON)] = ""


class Stop(Value):
    """Whether everything is stopped: by whom, when and why."""

    stopped: Stopped | None = None
    changed: bool = False
    """Whether it was this request that did it."""


@router.get("/tasks/{name}", operation_id="tasks_get")
async def get_task(_: OfTasks, name: str, request: Request, tasks: Known) -> WholeTask:
    """One task: as it runs, with every default, its next slots, and where it is from."""
    temporal: Connection = request.app.state.temporal
    async with temporal.ask() as client:
        found = await described(client, name)
        if found and (asked := await stored_request(name, found)):
            return _whole(name, found, asked)
    raise await tasks.unknown(name)


@router.post("/tasks/{name}/pause", operation_id="tasks_pause")
async def pause_task(who: Pauser, name: str, request: Request, tasks: Known, why: Reason | None = None) -> WholeTask:
    """Pause a task: no slot starts it until it is resumed. Runs in flight go on. Pausing twice changes nothing."""
    reason = " ".join((why or Reason()).reason.split())
    note = f"paused by {who.name or 'somebody here'}{f': {reason}' if reason else ''}"
    return await _set(request, name, tasks, note, paused=True)


@router.post("/tasks/{name}/resume", operation_id="tasks_resume")
async def resume_task(who: Pauser, name: str, request: Request, tasks: Known) -> WholeTask:
    """Resume a task that somebody paused. What its file disables, its file enables."""
    return await _set(request, name, tasks, f"resumed by {who.name or 'somebody here'}", paused=False)


@router.get("/stop", operation_id="stop_get")
async def get_stop(_: OfTasks, request: Request) -> Stop:
    """Whether somebody has stopped everything."""
    temporal: Connection = request.app.state.temporal
    async with temporal.ask() as client:
        return Stop(stopped=await _stopped(client))


@router.put("/stop", operation_id="stop_set")
async def set_stop(who: Admin, request: Request, why: Reason | None = None) -> Stop:
    """Stop everything: within 5 seconds no new write and no new model turn begins. Runs wait until it is released."""
    wanted = Stopped(by=who.name or "somebody here", at=datetime.now(UTC), reason=(why or Reason()).reason)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(wire.STOP_SWITCH, wanted, id="never-started", task_queue="nobody"),
        spec=ScheduleSpec(),
        state=ScheduleState(paused=True, note="Goalfile begins nothing new while this is here"),
    )
    temporal: Connection = request.app.state.temporal
    async with temporal.ask("Nobody knows whether it was stopped; ask again.") as client:
        while True:
            try:
                await client.create_schedule(wire.STOP_SWITCH, schedule, rpc_timeout=CALL)
            except ScheduleAlreadyRunningError:
                if found := await _stopped(client):
                    return Stop(stopped=found)
                continue  # it was released in between
            return Stop(stopped=wanted, changed=True)


@router.delete("/stop", operation_id="stop_release")
async def release_stop(_: Admin, request: Request) -> Stop:
    """Release what was stopped; tasks that were paused by name stay paused."""
    temporal: Connection = request.app.state.temporal
    async with temporal.ask("Nobody knows whether it was released; ask again.") as client:
        try:
            await client.get_schedule_handle(wire.STOP_SWITCH).delete(rpc_timeout=CALL)
        except RPCError as error:
            if is_missing(error):
                return Stop()
            raise
    return Stop(changed=True)


async def _set(request: Request, name: str, tasks: Known, note: str, *, paused: bool) -> WholeTask:
    temporal: Connection = request.app.state.temporal
    async with temporal.ask("Nobody knows whether it was changed; ask for the task.", patience=10) as client:
        found, asked = await _known(client, name, tasks)
        # What carries no owner's mark is nobody's task of ours.
        marks = found.typed_search_attributes
        if not marks.get(_OWNER) or marks.get(_TASK) != name:
            raise await tasks.unknown(name)
        if off := _off(name, asked, found.schedule.state):
            raise OffInFile(off)
        handle = client.get_schedule_handle(wire.schedule_id(name))
        for wait in _WAITS:
            if found.schedule.state.paused == paused:
                return _whole(name, found, asked)
            await asyncio.sleep(wait)
            try:
                await (handle.pause if paused else handle.unpause)(note=note, rpc_timeout=CALL)
            except RPCError as error:
                if not is_missing(error):
                    raise
            found, asked = await _known(client, name, tasks)
        if found.schedule.state.paused == paused:
            return _whole(name, found, asked)
    verb = "pause" if paused else "resume"
    raise NotKept(f"Task {name} did not {verb}: something else changes its schedule all the time; ask again.")


async def _known(client: Client, name: str, tasks: Known) -> tuple[ScheduleDescription, RunRequest | None]:
    """A task's schedule and what it starts; None if that cannot be read here, for it can be paused all the same.

    Raises TaskNotFound.
    """
    found = await described(client, name)
    try:
        asked = await stored_request(name, found) if found else None
    except TaskUnreadable:
        asked = None
    else:
        found = found if asked else None  # what starts no run of ours is no task
    if found is None:
        raise await tasks.unknown(name)
    return found, asked


def _off(name: str, asked: RunRequest | None, state: ScheduleState) -> str:
    """Why a task does not run by itself whatever anybody says here; empty if it does."""
    if asked and not asked.task.cron:
        return f"Task {name} has no cron: it runs only when asked."
    if (asked and not asked.task.enabled) or (state.paused and state.note == wire.DISABLED):
        path = (asked and asked.source.path) or "its file"
        return f"Task {name} is {wire.DISABLED}: change `enabled` in {path}, and sync."
    return ""


def _whole(name: str, found: ScheduleDescription, asked: RunRequest | None) -> WholeTask:
    """The task as it is told; one that cannot be read, as a list tells it."""
    state, task = found.schedule.state, asked.task if asked else None
    view = view_of_task(name, task, paused=state.paused, slots=found.info.next_action_times[:10])
    said = task.model_dump(mode="json") if task else {}
    return WholeTask(**dict(view), task=said, source=asked.source if asked else Source(), note=state.note or "")


async def _stopped(client: Client) -> Stopped | None:
    """The stop that is on, or None. That it is there is the stop, whatever can be read of it."""
    question = DescribeScheduleRequest(namespace=client.namespace, schedule_id=wire.STOP_SWITCH)
    try:
        found = await client.workflow_service.describe_schedule(question, retry=True, timeout=CALL)
    except RPCError as error:
        if is_missing(error):
            return None
        raise
    unread = Stopped(at=found.info.create_time.ToDatetime(UTC))
    try:
        payloads = found.schedule.action.start_workflow.input.payloads
        read: list[Stopped] = await client.data_converter.decode(payloads, [Stopped])
    except UNREADABLE:
        return unread
    return read[0] if read else unread
