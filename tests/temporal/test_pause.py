"""Pausing and resuming tasks on a real server: it keeps, it touches only ours, and it never overrules a file."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState

from runner.cli_operate import pause, resume
from runner.pausing import NotKept, pause_schedule, resume_schedule
from runner.schedules import TemporalSchedules
from runner.sync import Sync
from schemas import wire
from schemas.run import RunRequest, Source
from schemas.task import Task
from schemas.wire import DISABLED

pytestmark = pytest.mark.temporal

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(temporal_address: str) -> Run:
    env = {"TEMPORAL_ADDRESS": temporal_address, "LOGNAME": "ada"}

    async def run(*words: str) -> Result:
        command = {"pause": pause, "resume": resume}[words[0]]
        return await asyncio.to_thread(CliRunner(env=env).invoke, command, words[1:])

    return run


@pytest.fixture
async def task(client: Client, unique: str) -> str:
    """A task that runs daily."""
    return await scheduled(client, unique)


async def scheduled(client: Client, name: str, **more: Any) -> str:
    made = Task(goal="x", name=name, **{"cron": ("@daily",), **more})
    request = RunRequest(task=made, source=Source(path=f"tasks/{name}.yaml"))
    assert await TemporalSchedules(client, "q").create(name, request, "us")
    return name


async def state(client: Client, name: str) -> tuple[bool, str]:
    described = await client.get_schedule_handle(wire.schedule_id(name)).describe()
    return described.schedule.state.paused, described.schedule.state.note or ""


async def test_a_pause_says_who_and_why_and_a_resume_ends_it(client: Client, run: Run, task: str) -> None:
    said = await run("pause", task, "--reason", "the vendor is down")
    assert (said.exit_code, said.stdout) == (0, f"paused {task}  (paused by ada: the vendor is down)\n")
    assert await state(client, task) == (True, "paused by ada: the vendor is down")
    again = await run("pause", task, "--reason", "another")
    assert again.stdout == f"already paused {task}  (paused by ada: the vendor is down)\n"
    assert (await run("resume", task)).stdout == f"resumed {task}  (paused by ada: the vendor is down)\n"
    assert await state(client, task) == (False, "resumed by ada")
    assert (await run("resume", task)).stdout == f"not paused {task}\n"


async def test_several_are_told_as_json_in_their_order(client: Client, run: Run, task: str) -> None:
    other = await scheduled(client, f"{task}-b")
    said = await run("pause", other, task, other, "--json")
    note = "paused by ada"
    assert json.loads(said.stdout) == [
        {"name": other, "state": "paused", "note": note},
        {"name": task, "state": "paused", "note": note},
    ]
    assert [each["state"] for each in json.loads((await run("resume", task, other, "--json")).stdout)] == [
        "resumed"
    ] * 2


class Crowded:
    """A client whose first change of a schedule meets others that somebody else makes at that moment."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._alone = False

    def get_schedule_handle(self, id_: str) -> "Crowded":
        self._handle = self._client.get_schedule_handle(id_)
        self.describe = self._handle.describe
        return self

    async def pause(self, *, note: str) -> None:
        await self._among(self._handle.pause(note=note))

    async def unpause(self, *, note: str) -> None:
        await self._among(self._handle.unpause(note=note))

    async def _among(self, change: Awaitable[None]) -> None:
        others = [] if self._alone else [self._handle.trigger(), self._handle.trigger()]
        self._alone = True
        await asyncio.gather(*others[:1], change, *others[1:])


async def test_a_pause_keeps_although_something_else_happens_at_that_moment(client: Client, task: str) -> None:
    """The server keeps one pending change: sent just once, every second of these is lost without an error."""
    for _ in range(10):
        assert await pause_schedule(cast("Client", Crowded(client)), task, "n")
        assert await state(client, task) == (True, "n")
        assert await resume_schedule(cast("Client", Crowded(client)), task, "m")
        assert await state(client, task) == (False, "m")


class Deaf:
    """A client of a server that takes every change and makes none."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.asked = 0

    def get_schedule_handle(self, id_: str) -> "Deaf":
        self.describe = self._client.get_schedule_handle(id_).describe
        return self

    async def pause(self, *, note: str) -> None:
        self.asked += 1


async def test_a_pause_that_does_not_keep_is_said(client: Client, task: str) -> None:
    deaf = Deaf(client)
    with pytest.raises(NotKept, match=f"`{task}` did not pause: the server took it 5 times and did nothing"):
        await pause_schedule(cast("Client", deaf), task, "n")
    assert deaf.asked == 5


async def test_a_worker_is_told_whether_it_was_the_one_that_paused(client: Client, task: str) -> None:
    assert await pause_schedule(client, task, "3 failures in a row")
    assert not await pause_schedule(client, task, "4 failures in a row")
    assert await state(client, task) == (True, "3 failures in a row")
    assert not await pause_schedule(client, f"{task}-nowhere", "n")


async def test_a_stranger_s_schedule_is_left_alone(client: Client, run: Run, unique: str) -> None:
    action = ScheduleActionStartWorkflow("x", id=unique, task_queue="q")
    theirs = Schedule(action, ScheduleSpec(cron_expressions=["@yearly"]), state=ScheduleState(note="theirs"))
    await client.create_schedule(wire.schedule_id(unique), theirs)
    assert not await pause_schedule(client, unique, "n")
    said = await run("pause", unique)
    assert said.exit_code == 1
    assert f"knows no task named `{unique}`" in said.stderr
    assert await state(client, unique) == (False, "theirs")


async def test_an_unknown_name_changes_nothing_and_names_the_one_that_was_meant(
    client: Client, run: Run, task: str
) -> None:
    await listed(client, task)
    for words in (("pause", task, f"{task}x"), ("resume", f"{task}x")):
        said = await run(*words)
        assert (said.exit_code, said.stdout) == (1, "")
        assert f"nothing was changed; did you mean `{task}`?" in said.stderr
    assert await state(client, task) == (False, "")


@pytest.mark.parametrize("name", ["", "a b", "x" * 2000, "\x1b[31m"])
async def test_what_is_no_name_is_refused_in_one_line(client: Client, run: Run, task: str, name: str) -> None:
    said = await run("pause", task, "--", name)
    assert said.exit_code == 1
    assert said.stderr.count("\n") == 1
    assert "\x1b[31m`" not in said.stderr
    assert await state(client, task) == (False, "")


async def test_what_its_file_disables_only_its_file_enables(client: Client, run: Run, unique: str) -> None:
    off = await scheduled(client, unique, enabled=False)
    why = f"{DISABLED}: change `enabled` in tasks/{off}.yaml, and sync"
    said = await run("resume", off)
    assert (said.exit_code, said.stdout) == (1, f"off {off}  ({why})\n")
    said = await run("pause", off)
    assert (said.exit_code, said.stdout) == (0, f"off {off}  ({why})\n")
    assert await state(client, off) == (True, DISABLED)


async def test_a_person_s_pause_of_what_is_disabled_since_is_not_resumed(client: Client, run: Run, task: str) -> None:
    await run("pause", task)
    off = RunRequest(task=Task(goal="x", name=task, cron=("@daily",), enabled=False), source=Source(path="a.yaml"))
    await TemporalSchedules(client, "q").update(task, off, "us", "us")
    said = await run("resume", task)
    assert (said.exit_code, said.stdout) == (1, f"off {task}  ({DISABLED}: change `enabled` in a.yaml, and sync)\n")
    assert await state(client, task) == (True, "paused by ada")


async def test_a_task_without_cron_has_nothing_to_resume(client: Client, run: Run, unique: str) -> None:
    name = await scheduled(client, unique, cron=())
    said = await run("resume", name)
    assert (said.exit_code, said.stdout) == (
        1,
        f"off {name}  (it has no cron: it runs only when asked, with `goalfile run {name}`)\n",
    )


async def test_one_that_is_off_keeps_no_other_from_being_resumed(client: Client, run: Run, task: str) -> None:
    off = await scheduled(client, f"{task}-off", enabled=False)
    await run("pause", task)
    said = await run("resume", off, task)
    assert said.exit_code == 1
    assert not (await state(client, task))[0]


async def test_a_sync_keeps_the_pause(client: Client, run: Run, tmp_path: Path, unique: str) -> None:
    (tmp_path / f"{unique}.yaml").write_text("goal: one\ncron: '@daily'\n")
    sync = Sync(TemporalSchedules(client, "q"), tmp_path, unique)
    assert (await sync.round()).ok
    await run("pause", unique, "--reason", "r")
    await listed(client, unique)
    (tmp_path / f"{unique}.yaml").write_text("goal: two\ncron: '@daily'\n")
    assert (await sync.round()).plan.actions
    assert await state(client, unique) == (True, "paused by ada: r")


async def test_a_reason_drives_no_terminal(client: Client, run: Run, task: str) -> None:
    said = await run("pause", task, "--reason", "red \x1b[31m\nalert")
    assert "\x1b" not in said.stdout
    assert said.stdout.count("\n") == 1
    assert await state(client, task) == (True, "paused by ada: red \N{REPLACEMENT CHARACTER}[31m alert")


async def listed(client: Client, name: str) -> None:
    """Wait until the server's (eventually consistent) list holds it."""
    async with asyncio.timeout(10):
        while name not in {each.name for each in await TemporalSchedules(client, "q").list()}:
            await asyncio.sleep(0.05)
