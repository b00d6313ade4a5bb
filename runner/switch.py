"""The one switch that stops everything: no new write and no new model turn begins while it is set.

It is a schedule on the Temporal server that starts nothing: that it is there is the switch. So it needs no
second store, outlives every process, and is set and released by one write each. A worker that cannot learn
for a while whether it is set begins nothing either.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import ResourceExhaustedCause
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, ResourceExhaustedFailure
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.service import RPCError, RPCStatusCode

from runner.ports import TransientError
from schemas.sealing import CannotOpen
from schemas.stop import MOST_REASON, Stopped
from schemas.wire import STOP_SWITCH

LOOK_WITHIN = timedelta(seconds=2)
"""A look that takes longer than this has failed."""
BELIEVED = 10.0
"""Seconds that an answer is believed when later looks fail; then nothing is begun."""
AGAIN_AFTER = 5.0
"""Seconds after which what was not begun may ask again."""

_NOTE = "Goalfile begins nothing new while this is here; `goalfile resume --all` removes it"


class Switch:
    """A `StopSwitch`: the switch as one process sees it.

    What it answers from is at most `every` seconds old, and one look serves all who wait.
    """

    def __init__(self, client: Client, every: float = 2.0, believed: float = BELIEVED) -> None:
        self._client = client
        self._every = every
        self._believed = believed
        self._known: Stopped | None = None
        self._known_from = float("-inf")
        self._next_look = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    async def stopped(self) -> Stopped | None:
        """The stop that is on, or None. Raises TransientError if no look has succeeded for too long."""
        if time.monotonic() >= self._next_look:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            # Shielded: one caller that is cancelled must not take the answer from the others.
            await asyncio.shield(self._looking)
        if time.monotonic() - self._known_from > self._believed:
            raise TransientError(
                f"nobody knows whether everything was stopped: Temporal has not said so for {self._believed:g} seconds,"
                " and nothing is begun until it does",
                retry_after=AGAIN_AFTER,
                sent=False,
            )
        return self._known

    async def _look(self) -> None:
        """Look once. Never raises: what it learnt, or did not, is kept for all who wait."""
        began = time.monotonic()
        try:
            found = await look(self._client)
        except (RPCError, RuntimeError):  # the latter from a client that never got a connection
            self._next_look = time.monotonic() + self._every / 4
            return
        if found and not found.by and self._known:
            found = self._known  # it is there and was too busy to tell more: who set it was read before
        # What is true at the begin of a look may have changed by its end, so its age counts from there.
        self._known, self._known_from, self._next_look = found, began, began + self._every


async def look(client: Client, *, patient: bool = False) -> Stopped | None:
    """The stop that is on, as the server has it now, or None. Raises RPCError.

    A `patient` look is repeated until it is known who set it, as far as the SDK repeats.
    """
    try:
        described = await client.workflow_service.describe_schedule(
            DescribeScheduleRequest(namespace=client.namespace, schedule_id=STOP_SWITCH),
            retry=patient,
            timeout=LOOK_WITHIN,
        )
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND and not _tells(error, NamespaceNotFoundFailure()):
            return None
        if _is_busy(error):
            return Stopped(at=datetime.now(UTC))
        raise
    unread = Stopped(at=described.info.create_time.ToDatetime(UTC))
    payloads = described.schedule.action.start_workflow.input.payloads
    try:
        read: list[Stopped] = await client.data_converter.decode(payloads, [Stopped])
    except (CannotOpen, ValueError, RuntimeError, LookupError, AttributeError):
        return unread  # whatever a hand has put there, or whichever key is missing here
    return read[0] if read else unread


async def stop(client: Client, by: str, reason: str = "") -> tuple[Stopped, bool]:
    """Set the switch: the stop that is on now, and whether it is this one. Raises RPCError."""
    wanted = Stopped(by=by, at=datetime.now(UTC), reason=reason[:MOST_REASON])
    schedule = Schedule(
        action=ScheduleActionStartWorkflow("goalfile-stop", wanted, id="never-started", task_queue="nobody"),
        spec=ScheduleSpec(),
        state=ScheduleState(paused=True, note=_NOTE),
    )
    while True:
        try:
            await client.create_schedule(STOP_SWITCH, schedule)
        except ScheduleAlreadyRunningError:
            if found := await look(client, patient=True):
                return found, False
            continue  # it was released in between
        return wanted, True


async def release(client: Client) -> Stopped | None:
    """Release the switch: the stop that was on, or None if there was none. Raises RPCError."""
    found = await look(client, patient=True)
    if found is None:
        return None
    try:
        await client.get_schedule_handle(STOP_SWITCH).delete()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return None  # another hand was quicker
    return found


def _is_busy(error: RPCError) -> bool:
    """True for what the server only says of a schedule that is there: it was just made, or is asked too often."""
    if error.status == RPCStatusCode.FAILED_PRECONDITION:
        return True
    exhausted = ResourceExhaustedFailure()
    busy = ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_BUSY_WORKFLOW
    return _tells(error, exhausted) and exhausted.cause == busy


def _tells(error: RPCError, detail: NamespaceNotFoundFailure | ResourceExhaustedFailure) -> bool:
    """True if the error carries a detail of this kind, which is then filled in."""
    return any(each.Unpack(detail) for each in error.grpc_status.details)
