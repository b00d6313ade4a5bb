"""`goalfile verify` against a real Temporal server: what it reads, prints and exits with."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, ScheduleBackfill, ScheduleOverlapPolicy, ScheduleUpdate, ScheduleUpdateInput
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from runner.cli_verify import Known, read, report, retention, verify
from runner.devserver import free_port, start_server
from runner.exits import Failed
from runner.schedules import TemporalSchedules
from runner.settings import Settings
from runner.verify import Verdict
from schemas import wire
from schemas.run import RunRequest
from schemas.task import Task
from tests.gateway.standin import StandIn

pytestmark = pytest.mark.temporal

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
LAST = NOW.replace(minute=0, second=0, microsecond=0)
FIRST = LAST - 9 * HOUR
"""Of ten hourly slots, all in the past; the eleventh comes only tomorrow, or a run of its own would disturb."""
CRON = f"0 {','.join(str((FIRST.hour + number) % 24) for number in range(9, 19))} * * *"  # on the clock of Tokyo


@dataclass(frozen=True)
class House:
    client: Client
    settings: Settings

    async def create(self, name: str, **more: Any) -> None:
        task = Task(**{"goal": "Do it.", "cron": (CRON,), "timezone": "Asia/Tokyo", "name": name, **more})
        owner = self.settings.owner
        await TemporalSchedules(self.client, self.settings.queue).create(name, RunRequest(task=task), owner)

    async def backfill(self, name: str, *slots: datetime, overlap: ScheduleOverlapPolicy | None = None) -> None:
        overlap = overlap or ScheduleOverlapPolicy.ALLOW_ALL
        fills = [ScheduleBackfill(slot, slot, overlap) for slot in slots]
        await self.client.get_schedule_handle(wire.schedule_id(name)).backfill(*fills)

    async def known(self, name: str, runs: int) -> Known:
        """What is read of a task, once the (eventually consistent) listing has all its runs, and their ends."""
        for _ in range(200):
            known = (await read(self.client, self.settings, [name], NOW - 10 * HOUR))[0]
            if len(known.runs) == runs and all(run.status == "succeeded" for run in known.runs):
                return known
            await asyncio.sleep(0.05)
        pytest.fail(f"{known.runs} instead of {runs}")


def judged(known: Known) -> Verdict:
    """As if its schedule had been there for ten hours: a server has no past that a test could wait for."""
    old = replace(known, facts=replace(known.facts, created_at=FIRST - HOUR / 2))
    return old.judge(FIRST - HOUR / 2, LAST + HOUR / 2, None)


@pytest.fixture
async def house(client: Client, unique: str) -> AsyncIterator[House]:
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=unique, workflows=[StandIn], workflow_runner=runner):
        yield House(client, Settings(owner=unique, queue=unique))


async def test_a_run_is_found_by_its_slot_and_a_hole_is_a_gap_with_exit_code_1(
    house: House, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"a{unique}"
    await house.create(name)
    slots = [FIRST + number * HOUR for number in range(10)]
    await house.backfill(name, *slots[:3], *slots[4:])
    known = await house.known(name, 9)
    verdict = judged(known)
    assert [fate.fate for fate in verdict.fates] == ["ran"] * 3 + ["in doubt"] + ["ran"] * 6
    assert verdict.fates[0].run_id == f"{name}-{FIRST:%Y-%m-%dT%H:%M:%SZ}"
    assert verdict.fates[0].why == "succeeded"

    with pytest.raises(SystemExit) as ended:
        report([(known.task, verdict)], FIRST - HOUR / 2, NOW, as_json=False)
    out, err = capsys.readouterr()
    assert ended.value.code == 1
    assert f"{slots[3] + 9 * HOUR:%a %d %b %Y %H:%M} JST" in out
    assert f"{slots[3]:%H:%M} UTC" in out
    assert "? in doubt" in out
    assert out.count("no run, and no trace of why") == 1
    assert err == "1 missed or in doubt\n"

    with pytest.raises(SystemExit):
        report([(known.task, verdict)], FIRST - HOUR / 2, NOW, as_json=True)
    out, err = capsys.readouterr()
    said = json.loads(out)
    task = said["tasks"][0]
    assert (said["gaps"], task["expected"], task["ran"], task["in_doubt"], err) == (1, 10, 9, 1, "")
    assert task["slots"][3] == {
        "at": slots[3].isoformat(),
        "local": (slots[3] + 9 * HOUR).isoformat().replace("+00:00", "+09:00"),
        "fate": "in doubt",
        "why": "no run, and no trace of why",
        "run": None,
    }


async def test_a_paused_schedule_has_no_gap_after_its_last_run(
    house: House, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"a{unique}"
    await house.create(name)
    handle = house.client.get_schedule_handle(wire.schedule_id(name))
    await handle.pause(note="the vendor is down")
    while not (await handle.describe()).schedule.state.paused:  # the next request would push this one out
        await asyncio.sleep(0.05)
    await house.backfill(name, *(FIRST + number * HOUR for number in range(8)))
    known = await house.known(name, 8)
    verdict = judged(known)
    report([(known.task, verdict)], FIRST - HOUR / 2, NOW, as_json=False)
    out, err = capsys.readouterr()
    assert verdict.counts == {"ran": 8, "skipped": 2}
    assert out.count("paused: the vendor is down") == 2
    assert err == "no gap\n"


async def test_what_a_schedule_says_of_itself_is_read_from_the_server(house: House, unique: str) -> None:
    name, handle = f"a{unique}", house.client.get_schedule_handle(wire.schedule_id(f"a{unique}"))
    await house.create(name, goal="wait", overlap="queue")
    fresh = (await read(house.client, house.settings, [name], NOW))[0].facts
    assert fresh == replace(fresh, updated_at=None, paused=False, note="", missed=0, overlapped=0, waiting=0)
    assert fresh.starts_left is None
    assert abs(fresh.created_at - datetime.now(UTC)) < timedelta(minutes=1)

    # The first of four runs and never ends, the second waits for it, the others are dropped.
    await house.backfill(
        name, *(FIRST + number * HOUR for number in range(4)), overlap=ScheduleOverlapPolicy.BUFFER_ONE
    )
    for _ in range(200):
        full = (await read(house.client, house.settings, [name], NOW))[0]
        if full.runs and full.runs[0].status == "waiting" and full.facts.overlapped:
            break
        await asyncio.sleep(0.05)
    assert (full.facts.waiting, full.facts.overlapped, full.facts.updated_at) == (1, 2, None)
    assert [(run.slot, run.ended_at) for run in full.runs] == [(FIRST, None)]

    def use_up(now: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = now.description.schedule
        schedule.state.limited_actions, schedule.state.remaining_actions = True, 0
        return ScheduleUpdate(schedule)

    await handle.update(use_up)
    used_up = (await read(house.client, house.settings, [name], NOW))[0].facts
    assert used_up.stopped == "no starts are left"
    assert used_up.updated_at is not None
    assert used_up.updated_at > fresh.created_at


async def test_all_tasks_of_one_owner_are_verified_from_when_their_schedule_was_made(
    house: House, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.create(f"a{unique}", cron=("0 0 1 1 *",))
    await house.create(f"b{unique}", cron=("0 0 1 1 *",), enabled=False)
    await house.create(f"c{unique}", cron=())
    for _ in range(200):
        await verify(house.client, house.settings, timedelta(days=7), (), as_json=True)
        said = json.loads(capsys.readouterr().out)
        if len(said["tasks"]) == 3:
            break
        await asyncio.sleep(0.05)
    assert [task["name"] for task in said["tasks"]] == [f"{letter}{unique}" for letter in "abc"]
    assert {(task["expected"], task["because"]) for task in said["tasks"]} == {(0, "its schedule was created then")}
    assert datetime.fromisoformat(said["now"]) - datetime.fromisoformat(said["since"]) == timedelta(days=7)

    await verify(house.client, house.settings, timedelta(days=7), (), as_json=False)
    out, err = capsys.readouterr()
    assert f"a{unique}" in out
    assert f"c{unique}" not in out
    assert err == "1 without cron: no slot is expected\nno gap\n"


async def test_an_owner_without_tasks_has_no_gap(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    await verify(house.client, house.settings, HOUR, (), as_json=False)
    assert capsys.readouterr() == ("", "no gap\n")


async def test_a_name_that_is_not_ours_is_refused_and_the_right_one_offered(house: House, unique: str) -> None:
    await house.create(f"report-{unique}")
    for _ in range(200):
        with pytest.raises(Failed) as wrong:
            await verify(house.client, house.settings, HOUR, (f"repotr-{unique}",), as_json=False)
        if "mean" in wrong.value.message:
            break
        await asyncio.sleep(0.05)
    assert f"did you mean `report-{unique}`?" in wrong.value.message
    stranger = replace(house.settings, owner=f"x{unique}")
    with pytest.raises(Failed, match=f"belongs to `{unique}`, not to `x{unique}`"):
        await verify(house.client, stranger, HOUR, (f"report-{unique}",), as_json=False)


async def test_the_dev_server_keeps_runs_for_a_day_and_slots_before_are_not_judged(house: House, unique: str) -> None:
    kept = await retention(house.client)
    assert kept == timedelta(days=1)
    await house.create(f"a{unique}")
    known = (await read(house.client, house.settings, [f"a{unique}"], NOW))[0]
    old = replace(known, facts=replace(known.facts, created_at=NOW - timedelta(days=30)))
    verdict = old.judge(NOW - timedelta(days=7), NOW, NOW - kept)
    assert (verdict.judged_from, verdict.because) == (NOW - kept, "older runs are not kept")


@pytest.mark.slow
async def test_a_slot_that_really_came_is_found_with_its_run(
    house: House, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.create(f"a{unique}", cron=("* * * * *",), jitter=timedelta(seconds=5))
    async with asyncio.timeout(90):
        while True:
            await verify(house.client, house.settings, HOUR, (f"a{unique}",), as_json=True)
            task = json.loads(capsys.readouterr().out)["tasks"][0]
            if task["ran"] and task["slots"][0]["why"] == "succeeded":
                break
            await asyncio.sleep(0.5)
    assert task["expected"] == len(task["slots"]) + len(task["due"])
    assert datetime.fromisoformat(task["slots"][0]["at"]).second == 0


@pytest.mark.slow
async def test_a_slot_that_a_server_slept_through_is_missed_though_it_counts_it_more_than_once(
    tmp_path: Path, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def start() -> Client:
        nonlocal server
        server = await start_server(tmp_path, free_port(), free_port(), os.environ)
        return await Client.connect(server.address, data_converter=pydantic_data_converter)

    server = None
    house = House(await start(), Settings(owner=unique, queue=unique))
    try:
        await house.create("a", cron=("* * * * *",), catchup=timedelta(seconds=10))
        created = (await read(house.client, house.settings, ["a"], NOW))[0].facts.created_at
        await server.child.stop(20)
        slot = created.replace(second=0, microsecond=0) + timedelta(minutes=1)
        await asyncio.sleep((slot + timedelta(seconds=15) - datetime.now(UTC)).total_seconds())

        house = replace(house, client=await start())
        once = (await read(house.client, house.settings, ["a"], NOW))[0]
        await house.client.get_schedule_handle(wire.schedule_id("a")).unpause()  # it looks again, and changes nothing
        for _ in range(100):
            twice = (await read(house.client, house.settings, ["a"], NOW))[0]
            if twice.facts.missed > once.facts.missed:
                break
            await asyncio.sleep(0.05)
    finally:
        await server.child.stop(20)
    assert once.facts.missed >= 1
    assert twice.facts.missed > once.facts.missed

    in_two_minutes = slot + timedelta(minutes=2, seconds=1)
    verdict = twice.judge(created, in_two_minutes, None)
    with pytest.raises(SystemExit):
        report([(twice.task, verdict)], created, in_two_minutes, as_json=False)
    assert [(fate.at, fate.fate) for fate in verdict.fates] == [(slot, "missed")]
    assert "✗ missed  a" in capsys.readouterr().out
