"""A sync's status on the server, and who writes for an owner.

The claim to write is kept in the status itself. It keeps two watchers apart, no more: a person's one-shot
`sync` goes ahead, for every write is safe to repeat.
"""

import socket
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from runner.apply import ReadError, WriteError
from runner.schedules import first_argument, keywords
from schemas import wire
from schemas.sealing import CannotOpen
from schemas.sync_status import MOST_PROBLEMS, SyncStatus

TOLD_EVERY = timedelta(minutes=1)
"""A status that only its time would change is told this often."""
CLAIM = timedelta(seconds=150)
"""A writer that was not heard of for this long is taken to be gone."""


def this_instance(root: Path) -> str:
    """Who we are to other writers: the same again after a crash, so that nobody waits for a dead self."""
    return f"{socket.gethostname()}:{root.absolute()}"


@dataclass
class Status:
    """One owner's status on one server."""

    client: Client
    owner: str
    instance: str = ""
    _last: SyncStatus | None = field(default=None, repr=False)

    async def read(self) -> SyncStatus | None:
        """The status as it is kept, or None before the first round. Raises ReadError."""
        try:
            described = await self.client.get_schedule_handle(wire.status_id(self.owner)).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise ReadError(error.message) from error
        action = described.schedule.action
        if not isinstance(action, ScheduleActionStartWorkflow):
            return None
        try:
            self._last = await first_argument(self.client, action, SyncStatus)
        except CannotOpen as error:
            raise ReadError(str(error)) from error
        return self._last

    async def other_writer(self, now: datetime) -> str:
        """Who else writes for this owner just now, or nothing. Raises ReadError."""
        kept = await self.read()
        if kept is None or kept.instance in ("", self.instance) or now - kept.seen_at > CLAIM:
            return ""
        return kept.instance

    async def write(self, status: SyncStatus) -> None:
        """Keep a status, if it says something new. Raises WriteError."""
        status = status.model_copy(update={"problems": status.problems[:MOST_PROBLEMS]})
        last = self._last
        if last and status.wrote_at is None:
            status = status.model_copy(update={"wrote_at": last.wrote_at, "wrote": last.wrote})
        if last and not _is_news(status, last):
            return
        schedule, id_ = _schedule(status), wire.status_id(self.owner)
        marks = keywords({wire.OWNER: self.owner})

        def updated(_now: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(schedule, search_attributes=marks)

        try:
            if last is None:
                with suppress(ScheduleAlreadyRunningError):  # then it holds another's status, or nothing readable
                    await self.client.create_schedule(id_, schedule, search_attributes=marks)
                    self._last = status
                    return
            await self.client.get_schedule_handle(id_).update(updated)
        except RPCError as error:
            raise WriteError(error.message) from error
        self._last = status

    async def leave(self) -> None:
        """Give up the claim: whoever waits may write at once."""
        if self._last and self._last.instance == self.instance:
            now = datetime.now(UTC)
            await self.write(self._last.model_copy(update={"instance": "", "seen_at": now}))


def _is_news(status: SyncStatus, last: SyncStatus) -> bool:
    same = status.model_copy(update={"seen_at": last.seen_at}) == last
    return not same or status.seen_at - last.seen_at >= TOLD_EVERY


def _schedule(status: SyncStatus) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow("goalfile-sync-status", status, id="never-started", task_queue="nobody"),
        spec=ScheduleSpec(),
        state=ScheduleState(paused=True, note="the status of a sync; it starts nothing"),
    )
