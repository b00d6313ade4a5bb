"""Tasks as Temporal schedules: list them, describe them, write them.

It decides nothing about what to write (`runner.plan`) or in which order (`runner.apply`). A schedule's
action carries the whole task, so that the server itself is the registry of tasks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
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

from runner.apply import NeverSynced, ReadError, WriteError
from runner.plan import Existing
from schemas import wire
from schemas.cron import Range, parse_cron
from schemas.run import RunRequest
from schemas.sealing import CannotOpen

T = TypeVar("T")

_OVERLAP = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "queue": ScheduleOverlapPolicy.BUFFER_ONE,
    "cancel": ScheduleOverlapPolicy.CANCEL_OTHER,
    "allow": ScheduleOverlapPolicy.ALLOW_ALL,
}


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
        state=ScheduleState(paused=paused, note=wire.DISABLED if paused else ""),
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


class TemporalSchedules:
    """The schedules of one namespace, of which the tasks' are those that carry an owner."""

    def __init__(self, client: Client, queue: str) -> None:
        self._client = client
        self._queue = queue

    async def list(self) -> tuple[Existing, ...]:
        """Every schedule that some sync source owns; what a listing does not tell is left empty."""
        found: list[Existing] = []
        try:
            async for entry in await self._client.list_schedules(f"{wire.OWNER} IS NOT NULL", page_size=1000):
                marks = said(entry.typed_search_attributes)
                if entry.id == wire.schedule_id(marks.get(wire.TASK, "")) and entry.schedule:
                    state = entry.schedule.state
                    found.append(_existing(marks, paused=state.paused, note=state.note or ""))
        except RPCError as error:
            never = error.status == RPCStatusCode.INVALID_ARGUMENT and wire.OWNER in error.message
            raise (NeverSynced if never else ReadError)(error.message) from error
        return tuple(found)

    async def describe(self, name: str, request: RunRequest | None = None) -> Existing | None:
        """One schedule as it is now, or None; with `request`, what somebody changed by hand is told."""
        try:
            described = await self._handle(name).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise ReadError(error.message) from error
        try:
            now, made = described.schedule, await request_of(self._client, described)
        except CannotOpen as error:
            raise ReadError(str(error)) from error
        return _existing(
            said(described.typed_search_attributes),
            paused=now.state.paused,
            note=now.state.note or "",
            path=made.source.path if made else "",
            drifted=", ".join(_differences(now, made, request, self._queue)) if request else "",
        )

    async def create(self, name: str, request: RunRequest, owner: str) -> bool:
        """Make it; False if there is one of that name."""
        schedule, marks = to_schedule(request, self._queue), keywords(_marks(name, request, owner))
        try:
            await _written(
                lambda: self._client.create_schedule(wire.schedule_id(name), schedule, search_attributes=marks)
            )
        except ScheduleAlreadyRunningError:
            return False
        return True

    async def update(self, name: str, request: RunRequest, owner: str, was_owned_by: str) -> None:
        """Write it again, with a person's pause kept, unless it is another owner's by now."""
        wanted, marks = to_schedule(request, self._queue), keywords(_marks(name, request, owner))

        def updated(now: ScheduleUpdateInput) -> ScheduleUpdate:
            _check_owner(now.description, was_owned_by)
            state = now.description.schedule.state
            if state.paused and state.note != wire.DISABLED:
                wanted.state = state
            return ScheduleUpdate(wanted, search_attributes=marks)

        await _written(lambda: self._handle(name).update(updated))

    async def delete(self, name: str, owner: str) -> None:
        """Remove it, unless it is another owner's by now; that it is gone is no error."""
        handle = self._handle(name)

        async def delete() -> None:
            try:
                _check_owner(await handle.describe(), owner)
                await handle.delete()
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise

        await _written(delete)

    def _handle(self, name: str) -> ScheduleHandle:
        return self._client.get_schedule_handle(wire.schedule_id(name))


def _marks(name: str, request: RunRequest, owner: str) -> dict[str, str]:
    return {wire.OWNER: owner, wire.TASK: name, wire.DIGEST: request.source.digest}


def _existing(marks: dict[str, str], **more: Any) -> Existing:
    return Existing(marks.get(wire.TASK, ""), marks.get(wire.OWNER, ""), marks.get(wire.DIGEST, ""), **more)


def _check_owner(described: ScheduleDescription, owner: str) -> None:
    found = said(described.typed_search_attributes).get(wire.OWNER, "")
    if found != owner:
        raise WriteError(f"it belongs to `{found or 'nobody'}` by now; it was left alone")


async def _written(write: Callable[[], Awaitable[T]]) -> T:
    """Write, and try again what the server was only too busy for. The SDK itself waits out rate limits."""
    for pause in (0.5, 1.0, 2.0, None):
        try:
            return await write()
        except RPCError as error:
            # A scheduler that was just started is not polled yet, and then says so with this status.
            busy = error.status in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.RESOURCE_EXHAUSTED)
            if pause is None or not busy:
                raise WriteError(error.message) from error
        await asyncio.sleep(pause)
    raise AssertionError  # the last try returned or raised


async def find_task(client: Client, name: str) -> RunRequest | None:
    """The task of that name as the server knows it, or None."""
    try:
        described = await client.get_schedule_handle(wire.schedule_id(name)).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    return await request_of(client, described)


async def request_of(client: Client, described: ScheduleDescription) -> RunRequest | None:
    """What a schedule starts, or None if that is no run of ours, or nothing that can be read."""
    action = described.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or action.workflow != wire.RUN_TASK:
        return None
    return await first_argument(client, action, RunRequest)


async def first_argument(client: Client, action: ScheduleActionStartWorkflow, kind: type[T]) -> T | None:
    """What an action is handed, or None if a hand has put something else there."""
    try:
        return (await client.data_converter.decode(list(action.args), [kind]))[0]
    except (ValueError, RuntimeError, LookupError, AttributeError):  # the last: the SDK's word for no argument
        return None


def _differences(now: Schedule, made: RunRequest | None, request: RunRequest, queue: str) -> Iterator[str]:
    """What of a schedule is not as `request` made it. Its pause is not looked at: that is the plan's."""
    wanted = to_schedule(request, queue)
    action = now.action
    if made != request or not isinstance(action, ScheduleActionStartWorkflow) or action.task_queue != queue:
        yield "what it starts"
    if _slots(now.spec) != _slots(wanted.spec):
        yield "its times"
    policy, ours = now.policy, wanted.policy
    if (policy.overlap, policy.catchup_window) != (ours.overlap, ours.catchup_window):
        yield "its overlap or catch-up"


def _slots(spec: ScheduleSpec) -> object:
    """When a spec is due, however the server has written it down."""

    def numbers(ranges: Sequence[ScheduleRange]) -> frozenset[int]:
        return frozenset(n for r in ranges for n in range(r.start, max(r.end, r.start) + 1, r.step or 1))

    calendars = {
        tuple(numbers(each) for each in (c.minute, c.hour, c.day_of_month, c.month, c.day_of_week, c.year))
        for c in spec.calendars
    }
    others = (len(spec.intervals), len(spec.skip), spec.start_at, spec.end_at)
    return calendars, spec.time_zone_name or "UTC", spec.jitter or timedelta(), others
