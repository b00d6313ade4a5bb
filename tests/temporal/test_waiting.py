"""Runs that wait for a connection, remember the run before, tell people, and are paused when they keep failing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from temporalio.client import Client

from runner.activities import Activities
from runner.adapters.notify import Outbox
from runner.opening import Terms
from runner.pausing import pause_schedule
from runner.people import open_questions, recheck
from runner.ports import Missing, Reply, TransientError
from runner.schedules import TemporalSchedules
from runner.worker import make_worker
from schemas import wire
from schemas.run import Notice, RunRequest, RunResult, Source, Usage
from schemas.task import Approval, Notify, Task
from tests.temporal.doubles import Box, Thinker, begin, says, working

pytestmark = pytest.mark.temporal


class Told(Outbox):
    """One channel, `ops`, that says when it was told; `troubles` come first, one a try."""

    def __init__(self, *troubles: Exception) -> None:
        super().__init__(["ops"], troubles)
        self.news = asyncio.Event()

    async def send(self, channel: str, notice: Notice) -> None:
        await super().send(channel, notice)
        self.news.set()


async def soon(there: Callable[[], Awaitable[object]]) -> object:
    """What a listing tells once it has caught up."""
    for _ in range(100):
        if found := await there():
            return found
        await asyncio.sleep(0.1)  # visibility lags: there is nothing to wait on
    raise AssertionError("it never came")


async def test_a_run_waits_for_a_connection_without_asking_the_model_and_goes_on_with_it(
    client: Client, unique: str
) -> None:
    model, box, outbox = Thinker(says("Done.")), Box(), Told()
    box.unconnected = (Missing("box", "https://connect.example/1"),)
    task = Task(goal="x", toolkit=("box",), name=f"t-{unique}", notify=(Notify(to="ops"),))
    activities = Activities(model, box, notifier=outbox, terms=Terms(url="https://goalfile.example"))
    async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
        handle = await begin(client, unique, task)
        await outbox.news.wait()
        (question,) = await soon(lambda: open_questions(client, f"t-{unique}"))  # type: ignore[misc]
        assert (question.waiting.kind, question.waiting.link) == ("connection", "https://connect.example/1")
        assert model.questions == []
        box.unconnected = ()
        await recheck(client, handle.id)
        result = await handle.result()
        await soon(lambda: asyncio.sleep(0, len(outbox.sent) > 1))
    assert (result.status, len(model.questions)) == ("succeeded", 1)
    assert [notice.type for _, notice in outbox.sent] == ["run.waiting", "run.succeeded"]
    assert outbox.sent[0][1].link == f"https://goalfile.example/runs/{handle.id}"


async def test_a_connection_that_nobody_makes_fails_the_run_at_its_deadline(client: Client, unique: str) -> None:
    box = Box()
    box.unconnected = (Missing("box"),)
    task = Task(goal="x", toolkit=("box",), name="t", approval=Approval(timeout=timedelta(seconds=1)))
    async with working(client, unique, Thinker(), box):
        result = await (await begin(client, unique, task)).result()
    assert (result.status, result.reason) == ("failed", "nobody connected box within 1s")


async def test_a_note_is_given_to_the_next_run(client: Client, unique: str) -> None:
    use = {"type": "tool_use", "id": "n", "name": "KEEP_NOTE", "input": {"text": "seen up to 17"}}
    model = Thinker(Reply((use,), "tool_use", Usage()), says("First."), says("Second."))
    task = Task(goal="Go on.", toolkit=("box",), name=f"t-{unique}", memory="notes")
    async with working(client, unique, model, Box()):
        assert (await (await begin(client, unique, task)).result()).note == "seen up to 17"
        query = f"{wire.TASK} = 't-{unique}' AND ExecutionStatus = 'Completed'"
        await soon(lambda: _at_least(client, query, 1))
        assert (await (await begin(client, unique, task)).result()).note == "seen up to 17"
    assert "seen up to 17" in str(model.questions[-1].messages[0])


async def test_a_channel_that_is_down_neither_delays_nor_fails_the_run(client: Client, unique: str) -> None:
    outbox = Told(TransientError("down", retry_after=0.2), TransientError("down", retry_after=0.2))
    task = Task(goal="x", name=f"t-{unique}", notify=(Notify(to="ops"),))
    activities = Activities(Thinker(says("Done.")), Box(), notifier=outbox)
    async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
        assert (await (await begin(client, unique, task)).result()).status == "succeeded"
        await outbox.news.wait()
    assert [(channel, notice.summary) for channel, notice in outbox.sent] == [("ops", "Done.")]


async def test_a_schedule_that_fails_the_same_way_again_and_again_is_paused_and_said_once(
    client: Client, unique: str
) -> None:
    refusal = Reply((), "refusal", Usage())
    outbox, name = Told(), f"t-{unique}"
    task = Task(goal="x", name=name, cron=("0 0 1 1 *",), notify=(Notify(to="ops"),), overlap="queue")
    schedules = TemporalSchedules(client, unique)
    await schedules.create(name, RunRequest(task=task, source=Source(path="t.yaml", digest="d")), "tests")
    handle = client.get_schedule_handle(wire.schedule_id(name))
    activities = Activities(
        Thinker(refusal, refusal), Box(), notifier=outbox, terms=Terms(pause_after=2), pause=pause_schedule
    )
    try:
        async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
            for number in (1, 2):
                await handle.trigger()
                query = f"{wire.TASK} = '{name}' AND ExecutionStatus = 'Completed' AND WorkflowType = '{wire.RUN_TASK}'"
                await soon(lambda query=query, number=number: _at_least(client, query, number))
                await asyncio.sleep(1.1)  # the scheduler drops a second trigger of one second
            state = (await handle.describe()).schedule.state
            assert state.paused
            assert state.note is not None
            assert "2 equal failures in a row" in state.note
            await soon(lambda: asyncio.sleep(0, len(outbox.sent) > 1))
    finally:
        await handle.delete()
    assert [notice.type for _, notice in outbox.sent] == ["run.failed", "schedule.paused"]


async def _at_least(client: Client, query: str, number: int) -> bool:
    return (await client.count_workflows(query)).count >= number


def test_a_result_of_yesterday_without_the_new_fields_is_read() -> None:
    old = '{"status": "succeeded", "started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:01Z"}'
    read = RunResult.model_validate_json(old)
    assert (read.in_a_row, read.note, read.cost_usd) == (0, "", None)
