"""Tasks as Temporal schedules: list them, describe them, apply a plan to them.

The shell around `runner.plan`: it decides nothing about what to write. A schedule's action carries the
whole task, so that the server itself is the registry of tasks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from runner.plan import Action, Existing, Plan
from schemas import wire
from schemas.cron import Range, parse_cron
from schemas.run import RunRequest

AT_ONCE = 16
"""Writes in flight; more do not make a server faster."""

DISABLED = "disabled in the task file"
"""The note on a schedule that the file pauses; any other pause is a person's and is kept."""

_OVERLAP = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "queue": ScheduleOverlapPolicy.BUFFER_ONE,
    "cancel": ScheduleOverlapPolicy.CANCEL_OTHER,
    "allow": ScheduleOverlapPolicy.ALLOW_ALL,
}


@dataclass(frozen=True)
class Failure:
    """A write that the server did not take."""

    action: Action
    error: str


def keywords(values: dict[str, str]) -> TypedSearchAttributes:
    """Our search attributes in the SDK's type."""
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()]
    )


def said(attributes: TypedSearchAttributes) -> dict[str, str]:
    """The other way round: search attributes by name."""
    pairs: Sequence[Any] = attributes.search_attributes  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return {str(pair.key.name): str(pair.value) for pair in pairs}


def to_schedule(request: RunRequest, queue: str) -> Schedule:
    """The schedule that a task wants. Without cron it is paused and has no slots: a registry entry."""
    task = request.task
    paused = not task.enabled or not task.cron
    return Schedule(
        action=ScheduleActionStartWorkflow(
            wire.RUN_TASK,
            request,
            id=task.name,
            task_queue=queue,
            typed_search_attributes=keywords(wire.search_attributes(request)),
            static_summary=(task.description or task.name)[:100],
        ),
        spec=ScheduleSpec(
            calendars=[_calendar(text) for text in task.cron],
            time_zone_name=task.timezone,
            jitter=task.jitter,
        ),
        policy=SchedulePolicy(overlap=_OVERLAP[task.overlap], catchup_window=task.catchup),
        state=ScheduleState(paused=paused, note=DISABLED if paused else ""),
    )


def _calendar(text: str) -> ScheduleCalendarSpec:
    calendar = parse_cron(text)

    def ranges(field: tuple[Range, ...]) -> list[ScheduleRange]:
        return [ScheduleRange(r.start, r.end, r.step) for r in field]

    return ScheduleCalendarSpec(
        minute=ranges(calendar.minute),
        hour=ranges(calendar.hour),
        day_of_month=ranges(calendar.day_of_month),
        month=ranges(calendar.month),
        day_of_week=ranges(calendar.day_of_week),
        comment=text,
    )


async def list_existing(client: Client) -> tuple[Existing, ...]:
    """Every schedule in the namespace that some sync source owns."""
    found: list[Existing] = []
    async for entry in await client.list_schedules(f"{wire.OWNER} IS NOT NULL", page_size=1000):
        marks = said(entry.typed_search_attributes)
        if entry.id == wire.schedule_id(marks.get(wire.TASK, "")):
            found.append(Existing(marks[wire.TASK], marks[wire.OWNER], marks.get(wire.DIGEST, "")))
    return tuple(found)


async def find_task(client: Client, name: str) -> RunRequest | None:
    """The task of that name as the server knows it, or None."""
    try:
        described = await client.get_schedule_handle(wire.schedule_id(name)).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return await _request(client, described)


async def _request(client: Client, described: ScheduleDescription) -> RunRequest | None:
    action = described.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != wire.RUN_TASK:
        return None
    return (await client.data_converter.decode(list(action.args), [RunRequest]))[0]


async def apply(client: Client, plan: Plan, owner: str, queue: str) -> tuple[Failure, ...]:
    """Do what the plan says: creates and updates side by side, deletes after all of them."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def do(action: Action) -> Failure | None:
        async with limit:
            try:
                await _do(client, action, owner, queue)
            except (RPCError, ScheduleAlreadyRunningError) as error:
                return Failure(action, str(error) or type(error).__name__)
        return None

    async def do_all(pick: Callable[[Action], bool]) -> list[Failure]:
        done = await asyncio.gather(*(do(action) for action in plan.actions if pick(action)))
        return [failure for failure in done if failure]

    failed = await do_all(lambda action: action.verb != "delete")
    if failed:
        return tuple(failed)  # deletes wait for a round in which everything else went well
    return tuple(await do_all(lambda action: action.verb == "delete"))


async def _do(client: Client, action: Action, owner: str, queue: str) -> None:
    handle = client.get_schedule_handle(wire.schedule_id(action.name))
    if action.request is None:
        await _gone(handle.delete())
        return
    marks = {wire.OWNER: owner, wire.TASK: action.name, wire.DIGEST: action.request.source.digest}
    wanted = to_schedule(action.request, queue)
    if action.verb == "create":
        try:
            await client.create_schedule(handle.id, wanted, search_attributes=keywords(marks))
        except ScheduleAlreadyRunningError:
            # A listing lags behind: it may be ours since a moment ago, or somebody else's for long.
            described = await handle.describe()
            if said(described.typed_search_attributes).get(wire.OWNER) != owner:
                raise
        else:
            return

    def updated(now: ScheduleUpdateInput) -> ScheduleUpdate:
        state = now.description.schedule.state
        by_a_person = state.paused and state.note != DISABLED
        if by_a_person:
            wanted.state = state
        return ScheduleUpdate(wanted, search_attributes=keywords(marks))

    await handle.update(updated)


async def _gone(deleting: Awaitable[None]) -> None:
    try:
        await deleting
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
