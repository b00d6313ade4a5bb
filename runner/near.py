"""A server as whoever reaches Temporal itself finds it: the way of every command that names no gateway.

Gathers what `runner.runs`, `runner.following`, `runner.people`, `runner.pausing` and `runner.switch` do; whoever
sits at the keyboard is whose word it is.
"""

import getpass
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from runner import people, runs, switch
from runner.apply import ReadError
from runner.catalog import configured
from runner.following import follow
from runner.lines import Line
from runner.pausing import pause_schedule, resume_schedule
from runner.schedules import TemporalSchedules, find_task, request_of, said
from runner.settings import Settings
from runner.show import in_a_line, one_line
from runner.ways import Changed, Open, Run, Scheduled, off_in_file, settled, unknown_task
from schemas import wire
from schemas.catalog import Catalog
from schemas.run import RunRequest, RunResult, Source
from schemas.stop import Stopped
from schemas.task import Task


class Near:
    """A `Way` through a Temporal client."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client, self._settings = client, settings

    def catalog(self, path: Path) -> Catalog | None:
        """What the server's configuration beside the tasks admits: nobody else would say so."""
        return configured(self._settings, path)

    async def start_task(self, name: str, given: Mapping[str, str]) -> str:
        """As `Way` says."""
        found = await find_task(self._client, name)
        if found is None:
            raise unknown_task(name, await self.task_names())
        return await self.start_goal(found.task, found.source, given)

    async def start_goal(self, task: Task, source: Source, given: Mapping[str, str]) -> str:
        """As `Way` says."""
        request = RunRequest(task=task, inputs=settled(task, given), source=source, trigger="cli")
        return await runs.start_run(self._client, request, self._settings.queue)

    async def runs(self, limit: int, task: str = "") -> Sequence[Run]:
        """As `Way` says."""
        return await runs.list_runs(self._client, limit, task)

    async def find(self, given: str) -> Run:
        """As `Way` says."""
        return await runs.find_run(self._client, given)

    async def follow(self, run: Run, *, wait: bool) -> AsyncGenerator[Line]:
        """As `Way` says. It is read from the run's history."""
        async for line in follow(self._client, run, wait=wait):
            yield line

    async def result(self, run: Run) -> RunResult | None:
        """As `Way` says."""
        return await runs.result_of(self._client, run)

    async def cancel(self, run: Run) -> None:
        """As `Way` says."""
        await runs.cancel_run(self._client, run)

    async def retry(self, run: Run) -> str:
        """As `Way` says."""
        request = (await runs.request_of(self._client, run)).model_copy(update={"trigger": "cli", "carried": None})
        return await runs.start_run(self._client, request, self._settings.queue)

    async def questions(self, task: str = "") -> list[Open]:
        """As `Way` says."""
        return await people.open_questions(self._client, task)

    async def decide(self, question: Open, *, approve: bool, note: str, within: float) -> None:
        """As `Way` says."""
        now = datetime.now(UTC)
        decision = people.decision_on(question, approve=approve, by=_this_user(), note=note, now=now)
        await people.decide(self._client, question, decision, within)

    async def recheck(self, run: Run) -> None:
        """As `Way` says."""
        await people.recheck(self._client, run.id)

    async def task_names(self) -> Sequence[str]:
        """As `Way` says."""
        try:
            return sorted(schedule.name for schedule in await TemporalSchedules(self._client, "").list())
        except ReadError:  # a server that nothing was synced to yet
            return ()

    async def scheduled(self, name: str) -> Scheduled | None:
        """As `Way` says. A schedule of that name which carries no mark of ours is nobody's task."""
        try:
            described = await self._client.get_schedule_handle(wire.schedule_id(name)).describe()
        except RPCError as error:
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            return None
        marks = said(described.typed_search_attributes)
        if marks.get(wire.TASK) != name or not marks.get(wire.OWNER):
            return None
        state, request = described.schedule.state, await request_of(self._client, described)
        note, path = state.note or "", request.source.path if request else ""
        off = off_in_file(name, request.task if request else None, path, paused=state.paused, note=note)
        return Scheduled(name, state.paused, note, off)

    async def pause(self, found: Scheduled, reason: str) -> Changed:
        """As `Way` says."""
        why = one_line(in_a_line(reason), 500)
        note = f"paused by {_this_user()}{f': {why}' if why else ''}"
        if found.paused or not await pause_schedule(self._client, found.name, note):
            return Changed(found.name, "already paused", found.note)
        return Changed(found.name, "paused", note)

    async def resume(self, found: Scheduled) -> Changed:
        """As `Way` says."""
        if not found.paused or not await resume_schedule(self._client, found.name, f"resumed by {_this_user()}"):
            return Changed(found.name, "not paused")
        return Changed(found.name, "resumed", found.note)

    async def stop(self, reason: str) -> tuple[Stopped, bool]:
        """As `Way` says."""
        return await switch.stop(self._client, _this_user(), reason)

    async def release(self) -> Stopped | None:
        """As `Way` says."""
        return await switch.release(self._client)


def _this_user() -> str:
    """Who sits at the keyboard, as the system calls them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user often has no name
        return "somebody"
