"""Sync against a real Temporal server: files become schedules, and only ours."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from runner.schedules import TemporalSchedules, find_task
from runner.status import CLAIM, Status
from runner.sync import Round, Sync
from schemas import wire

pytestmark = pytest.mark.temporal


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    return folder


def write(root: Path, name: str, goal: str = "Do it.", more: str = "") -> Path:
    path = root / f"{name}.yaml"
    path.write_text(f"goal: {goal}\n{more}")
    return path


def syncing(client: Client, root: Path, owner: str) -> Sync:
    return Sync(TemporalSchedules(client, "q"), root, owner)


async def owned(client: Client, owner: str) -> set[str]:
    return {schedule.name for schedule in await TemporalSchedules(client, "q").list() if schedule.owner == owner}


async def settled(sync: Sync, client: Client, owner: str, names: set[str]) -> Round:
    """Rounds until the server's (eventually consistent) listing shows these names."""
    done = await sync.settle()
    for _ in range(100):
        if await owned(client, owner) == names:
            return done
        await asyncio.sleep(0.05)
    pytest.fail(f"{await owned(client, owner)} instead of {names}")


async def test_files_become_schedules_and_a_second_sync_has_nothing_to_do(
    client: Client, root: Path, unique: str
) -> None:
    cron = f"a{unique}"
    write(root, cron, more="cron: ['0 9 * * 1-5', '@daily']\ntimezone: Europe/Berlin\noverlap: queue\njitter: 5m\n")
    write(root, f"b{unique}")
    sync = syncing(client, root, unique)
    done = await settled(sync, client, unique, {cron, f"b{unique}"})
    assert [(action.verb, action.name) for action in done.plan.actions] == [("create", cron), ("create", f"b{unique}")]
    assert done.ok
    assert (await sync.round()).plan.actions == ()

    described = (await client.get_schedule_handle(wire.schedule_id(cron)).describe()).schedule
    assert described.policy.overlap == ScheduleOverlapPolicy.BUFFER_ONE
    assert described.policy.catchup_window.total_seconds() == 600
    assert (described.spec.time_zone_name, described.spec.jitter and described.spec.jitter.seconds) == (
        "Europe/Berlin",
        300,
    )
    assert not described.state.paused
    asked = (await client.get_schedule_handle(wire.schedule_id(f"b{unique}")).describe()).schedule
    assert asked.state.paused
    found = await find_task(client, f"b{unique}")
    assert found is not None
    assert found.task.goal == "Do it."


async def test_a_change_is_an_update_and_a_removal_a_delete(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}")
    gone = write(root, f"b{unique}", more="cron: '@hourly'\n")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}", f"b{unique}"})
    write(root, f"a{unique}", "Do it well.")
    gone.unlink()
    done = await settled(sync, client, unique, {f"a{unique}"})
    assert [(action.verb, action.name) for action in done.plan.actions] == [
        ("update", f"a{unique}"),
        ("delete", f"b{unique}"),
    ]
    found = await find_task(client, f"a{unique}")
    assert found is not None
    assert found.task.goal == "Do it well."


async def test_a_person_s_pause_survives_an_update(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}", more="cron: '@daily'\n")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}"})
    handle = client.get_schedule_handle(wire.schedule_id(f"a{unique}"))
    await handle.pause(note="the vendor is down")
    write(root, f"a{unique}", "New words.", more="cron: '@daily'\n")
    assert (await sync.round()).ok
    state = (await handle.describe()).schedule.state
    assert (state.paused, state.note) == (True, "the vendor is down")


async def test_a_file_that_pauses_and_resumes_is_followed(client: Client, root: Path, unique: str) -> None:
    sync = syncing(client, root, unique)
    handle = client.get_schedule_handle(wire.schedule_id(f"a{unique}"))
    for enabled in ("true", "false", "true"):
        write(root, f"a{unique}", more=f"cron: '@daily'\nenabled: {enabled}\n")
        assert (await sync.round()).ok
        assert (await handle.describe()).schedule.state.paused is (enabled == "false")


async def test_two_sources_of_one_name_do_not_touch_each_other(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}")
    await settled(syncing(client, root, f"one{unique}"), client, f"one{unique}", {f"a{unique}"})
    write(root, f"a{unique}", "Mine now.")
    done = await syncing(client, root, f"two{unique}").settle()
    assert not done.ok
    assert f"belongs to `one{unique}`" in done.plan.notes[0]
    found = await find_task(client, f"a{unique}")
    assert found is not None
    assert found.task.goal == "Do it."


async def test_a_folder_that_is_gone_deletes_nothing(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}"})
    root.rename(root.with_name("elsewhere"))
    done = await sync.settle()
    assert "no schedule was changed" in done.error
    assert await owned(client, unique) == {f"a{unique}"}


async def test_an_empty_folder_deletes_only_on_a_person_s_word(client: Client, root: Path, unique: str) -> None:
    path = write(root, f"a{unique}")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}"})
    path.unlink()
    done = await sync.settle()
    assert done.plan.hash
    assert await owned(client, unique) == {f"a{unique}"}
    released = await sync.round(done.plan.hash)
    assert [action.verb for action in released.plan.actions] == ["delete"]


async def test_watching_sees_a_new_file_soon(client: Client, root: Path, unique: str) -> None:
    rounds: asyncio.Queue[Round] = asyncio.Queue()
    watching = asyncio.create_task(syncing(client, root, unique).watch(rounds.put_nowait))

    async def created(name: str) -> None:
        async with asyncio.timeout(40):
            while not any(action.name == name for action in (await rounds.get()).plan.actions):
                pass

    try:
        await rounds.get()
        write(root, f"a{unique}")
        await created(f"a{unique}")
    finally:
        watching.cancel()


async def test_a_schedule_is_taken_over_only_on_a_person_s_word(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}")
    await settled(syncing(client, root, f"one{unique}"), client, f"one{unique}", {f"a{unique}"})
    write(root, f"a{unique}", "Mine now.")
    two = syncing(client, root, f"two{unique}")
    assert not (await two.round()).ok
    assert [action.verb for action in (await two.round(adopt={f"a{unique}"})).plan.actions] == ["update"]
    await settled(two, client, f"two{unique}", {f"a{unique}"})
    assert (await two.round()).ok
    assert not (await syncing(client, root, f"one{unique}").round()).ok


@pytest.mark.parametrize("change", ["its times", "its overlap or catch-up", "what it starts"])
async def test_a_change_by_hand_is_seen_and_put_right(client: Client, root: Path, unique: str, change: str) -> None:
    write(root, f"a{unique}", more="cron: '0 9 * * 1-5'\ntimezone: Europe/Berlin\njitter: 5m\n")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}"})
    assert (await sync.round()).plan.actions == ()
    handle = client.get_schedule_handle(wire.schedule_id(f"a{unique}"))

    def by_hand(now: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = now.description.schedule
        if change == "its times":
            schedule.spec.calendars = schedule.spec.calendars[:0]
            schedule.spec.intervals = [ScheduleIntervalSpec(every=timedelta(hours=1))]
        elif change == "what it starts":
            assert isinstance(schedule.action, ScheduleActionStartWorkflow)
            schedule.action.task_queue = "elsewhere"
        else:
            schedule.policy.overlap = ScheduleOverlapPolicy.ALLOW_ALL
        return ScheduleUpdate(schedule)

    await handle.update(by_hand)
    done = await sync.round()
    assert [action.reason for action in done.plan.actions] == [f"somebody changed {change} by hand"]
    assert (await sync.round()).plan.actions == ()


async def test_a_disabled_task_that_somebody_resumed_is_paused_again(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}", more="cron: '@daily'\nenabled: false\n")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}"})
    handle = client.get_schedule_handle(wire.schedule_id(f"a{unique}"))
    await handle.unpause()
    for _ in range(50):
        done = await sync.round()
        if done.plan.actions:
            break
        await asyncio.sleep(0.05)
    assert "somebody resumed it" in done.plan.actions[0].reason
    assert (await handle.describe()).schedule.state.paused


async def test_a_watching_sync_tells_its_status_and_leaves_it(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}", more="cron: '@daily'\n")
    (root / "b.yaml").write_text("goall: x\n")
    status = Status(client, unique, "here")
    rounds: asyncio.Queue[Round] = asyncio.Queue()
    watching = asyncio.create_task(syncing(client, root, unique).watch(rounds.put_nowait, status))
    await rounds.get()
    kept = None
    while kept is None:
        kept = await Status(client, unique).read()
    assert (kept.instance, kept.tasks, kept.wrote) == ("here", 1, (f"create a{unique}",))
    assert [problem.code for problem in kept.problems] == ["unknown-key"]
    other = Status(client, unique, "there")
    assert await other.other_writer(datetime.now(UTC)) == "here"
    assert await other.other_writer(datetime.now(UTC) + CLAIM + timedelta(seconds=5)) == ""
    second: asyncio.Queue[Round] = asyncio.Queue()
    standing_by = asyncio.create_task(syncing(client, root, unique).watch(second.put_nowait, other))
    assert "another sync writes" in (await second.get()).error
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert await other.other_writer(datetime.now(UTC)) == ""
    standing_by.cancel()
    await asyncio.gather(standing_by, return_exceptions=True)


@pytest.mark.parametrize("args", [[], ["something else"]])
async def test_an_action_that_holds_nothing_of_ours_is_put_right(
    client: Client, root: Path, unique: str, args: list[str]
) -> None:
    write(root, f"a{unique}", more="cron: '@daily'\n")
    sync = syncing(client, root, unique)
    await settled(sync, client, unique, {f"a{unique}"})
    handle = client.get_schedule_handle(wire.schedule_id(f"a{unique}"))

    def by_hand(now: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = now.description.schedule
        schedule.action = ScheduleActionStartWorkflow(wire.RUN_TASK, args=args, id="x", task_queue="q")
        return ScheduleUpdate(schedule)

    await handle.update(by_hand)
    assert await find_task(client, f"a{unique}") is None
    assert [action.reason for action in (await sync.round()).plan.actions] == [
        "somebody changed what it starts by hand"
    ]
    assert await find_task(client, f"a{unique}") is not None


async def test_a_status_that_cannot_be_read_is_written_anew(client: Client, root: Path, unique: str) -> None:
    write(root, f"a{unique}")
    await syncing(client, root, unique).round()
    action = ScheduleActionStartWorkflow("goalfile-sync-status", "rubbish", id="x", task_queue="q")
    schedule = Schedule(action=action, spec=ScheduleSpec(), state=ScheduleState(paused=True))
    await client.create_schedule(wire.status_id(unique), schedule)
    status = Status(client, unique, "here")
    assert await status.other_writer(datetime.now(UTC)) == ""
    await status.write((await syncing(client, root, unique).round()).status(unique, "here"))
    kept = await Status(client, unique).read()
    assert kept is not None
    assert kept.instance == "here"
