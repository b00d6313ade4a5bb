"""Runs on a real Temporal server: what is retried, what is told, what is never done twice."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from runner.following import follow
from runner.ports import PermanentError, TransientError
from runner.runs import find_run, result_of
from schemas import wire
from schemas.run import Progress
from schemas.task import Limits, Task
from tests.temporal.doubles import Box, Thinker, begin, results_in, said, says, wants, working

pytestmark = pytest.mark.temporal


async def test_a_run_ends_with_a_result_and_every_step(client: Client, unique: str) -> None:
    model, box = Thinker(wants("READ", "WRITE"), says("All done.")), Box("seen", "sent")
    async with working(client, unique, model, box):
        handle = await begin(client, unique)
        result = await handle.result()
        progress = await handle.query(wire.PROGRESS, result_type=Progress)
    assert (result.status, result.summary) == ("succeeded", "All done.")
    assert [(s.kind, s.name, s.state) for s in result.steps] == [
        ("turn", "turn 1", "done"),
        ("call", "READ", "done"),
        ("call", "WRITE", "done"),
        ("turn", "turn 2", "done"),
    ]
    assert result.usage.total == 20
    assert (progress.status, progress.turns, progress.calls) == ("succeeded", 2, 2)
    assert said(model.questions) == [["user"], ["user", "assistant", "user"]]


async def test_history_holds_every_message_once_and_the_assistant_verbatim(client: Client, unique: str) -> None:
    model = Thinker(wants("READ"), wants("READ", prefix="d"), says("end-of-it"))
    box = Box("a-long-result " * 200, "another")
    async with working(client, unique, model, box):
        handle = await begin(client, unique)
        await handle.result()
    bodies = [
        payload.data.decode()
        for event in (await handle.fetch_history()).events
        for kind in ("activity_task_scheduled", "activity_task_completed")
        if event.HasField(f"{kind}_event_attributes")  # type: ignore[arg-type]
        for payload in getattr(
            getattr(event, f"{kind}_event_attributes"), "input" if kind.endswith("scheduled") else "result"
        ).payloads
    ]
    assert sum("a-long-result" in body for body in bodies) == 1
    assert sum("s1gn3d" in body for body in bodies) == 2
    last = model.questions[-1].messages
    assert last[1].content == wants("READ").content
    assert last[2].content == ({"type": "tool_result", "tool_use_id": "c0", "content": "a-long-result " * 200},)


async def test_another_worker_goes_on_with_the_same_conversation(client: Client, unique: str) -> None:
    first, box = Thinker(wants("READ")), Box("seen")
    box.leave.clear()
    async with working(client, unique, first, box):
        handle = await begin(client, unique)
        await box.entered.wait()
        box.leave.set()
    second = Thinker(says("Went on."))
    async with working(client, unique, second, box):
        assert (await handle.result()).summary == "Went on."
    assert [call.tool for call in box.calls] == ["READ"]
    assert second.questions[0].messages[:1] == first.questions[0].messages
    assert second.questions[0].messages[2].content[0]["content"] == "seen"
    assert second.questions[0].tools == first.questions[0].tools


async def test_a_bad_key_fails_the_run_at_once_and_says_why(client: Client, unique: str) -> None:
    model = Thinker(PermanentError("the key is not valid; set ANTHROPIC_API_KEY"))
    async with working(client, unique, model, Box()):
        result = await (await begin(client, unique)).result()
    assert (result.status, result.reason) == ("failed", "the key is not valid; set ANTHROPIC_API_KEY")
    assert len(model.questions) == 1


async def test_an_overloaded_model_is_asked_again_after_the_time_it_names(client: Client, unique: str) -> None:
    model = Thinker(TransientError("overloaded", retry_after=0.2), TransientError("still", retry_after=0.1), says("ok"))
    async with working(client, unique, model, Box()):
        handle = await begin(client, unique)
        assert (await handle.result()).status == "succeeded"
    assert len(model.questions) == 3
    lines = [line async for line in follow(client, await find_run(client, handle.id), wait=False)]
    assert [line.text for line in lines if line.kind == "said"] == ["turn 1 (attempt 3)"]


async def test_a_model_that_never_answers_stops_the_run_at_its_time_limit(client: Client, unique: str) -> None:
    model = Thinker(*(TransientError("overloaded", retry_after=0.3) for _ in range(50)))
    task = Task(goal="x", name="t", limits=Limits(timeout=timedelta(seconds=1)))
    async with working(client, unique, model, Box()):
        result = await (await begin(client, unique, task)).result()
    assert result.status == "stopped"
    assert "overloaded" in result.reason


async def test_a_read_is_tried_again_and_a_refusal_is_told_to_the_model(client: Client, unique: str) -> None:
    model = Thinker(wants("READ"), wants("WRITE", prefix="d"), says("ok"))
    box = Box(TransientError("flaky", retry_after=0.1), "fine", PermanentError("not connected"))
    async with working(client, unique, model, box):
        result = await (await begin(client, unique)).result()
    assert [call.tool for call in box.calls] == ["READ", "READ", "WRITE"]
    told = results_in(model)
    assert [(block["content"], block.get("is_error", False)) for block in told] == [
        ("fine", False),
        ("not connected", True),
    ]
    assert [step.state for step in result.steps if step.kind == "call"] == ["done", "refused"]


async def test_a_write_nobody_saw_the_end_of_is_unknown_and_not_made_again(client: Client, unique: str) -> None:
    model = Thinker(wants("WRITE"), wants("WRITE", prefix="d"), says("I do not know"))
    box = Box(TransientError("the connection broke", sent=True))
    async with working(client, unique, model, box):
        result = await (await begin(client, unique)).result()
    assert len(box.calls) == 1
    told = [block["content"] for block in results_in(model)]
    assert all("outcome_unknown" in text for text in told)
    assert [step.state for step in result.steps if step.kind == "call"] == ["unknown"]


async def test_a_write_that_was_never_sent_may_be_made_again(client: Client, unique: str) -> None:
    model = Thinker(wants("WRITE"), wants("WRITE", prefix="d"), says("ok"))
    box = Box(TransientError("busy", sent=False), "sent")
    async with working(client, unique, model, box):
        assert (await (await begin(client, unique)).result()).status == "succeeded"
    assert len(box.calls) == 2


async def test_cancelling_stops_a_read_at_once(client: Client, unique: str) -> None:
    box = Box()
    box.leave.clear()
    async with working(client, unique, Thinker(wants("READ")), box):
        handle = await begin(client, unique)
        await box.entered.wait()
        await handle.cancel()
        result = await handle.result()
        box.leave.set()
    assert result.status == "cancelled"


async def test_cancelling_lets_a_write_in_flight_finish(client: Client, unique: str) -> None:
    model, box = Thinker(wants("WRITE")), Box("sent")
    box.leave.clear()
    async with working(client, unique, model, box):
        handle = await begin(client, unique)
        await box.entered.wait()
        await handle.cancel()
        waiting = asyncio.create_task(handle.result())
        assert (await handle.query(wire.PROGRESS, result_type=Progress)).status == "running"
        box.leave.set()
        result = await waiting
    assert (result.status, box.finished) == ("cancelled", 1)
    assert [step.state for step in result.steps if step.kind == "call"] == ["done"]


async def test_a_toolkit_that_does_not_exist_fails_the_run_before_the_model_is_asked(
    client: Client, unique: str
) -> None:
    class NoBox(Box):
        async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[()]:
            raise PermanentError(f"there is no toolkit named {toolkits[0]}")

    model = Thinker()
    async with working(client, unique, model, NoBox()):
        result = await (await begin(client, unique)).result()
    assert result.status == "failed"
    assert "there is no toolkit named box" in result.reason
    assert model.questions == []


async def test_at_the_turn_limit_the_model_reports_without_tools(client: Client, unique: str) -> None:
    model = Thinker(wants("READ"), says("So far: one."))
    task = Task(goal="x", toolkit=("box",), name="t", limits=Limits(turns=1))
    async with working(client, unique, model, Box()):
        result = await (await begin(client, unique, task)).result()
    assert (result.status, result.reason, result.summary) == ("stopped", "limit reached: 1 turns", "So far: one.")
    assert [question.may_call for question in model.questions] == [True, False]
    assert model.questions[-1].tools == model.questions[0].tools


async def test_a_result_too_large_for_history_is_clipped_and_the_call_made_once(client: Client, unique: str) -> None:
    model, box = Thinker(wants("WRITE"), says("ok")), Box("x" * 3_000_000)
    async with working(client, unique, model, box):
        assert (await (await begin(client, unique)).result()).status == "succeeded"
    assert len(box.calls) == 1
    assert "left out" in model.questions[-1].messages[-1].content[0]["content"]


async def test_a_run_that_somebody_terminated_is_reported_as_failed(client: Client, unique: str) -> None:
    handle = await begin(client, unique)
    assert (await find_run(client, handle.id)).status == "queued"
    await handle.terminate()
    run = await find_run(client, handle.id)
    result = await result_of(client, run)
    assert result is not None
    assert (run.status, result.status, result.reason) == ("failed", "failed", "terminated in Temporal")


async def test_the_logs_tell_a_run_without_a_worker(client: Client, unique: str) -> None:
    model = Thinker(wants("READ", "WRITE"), says("Report."))
    async with working(client, unique, model, Box("seen", "sent")):
        handle = await begin(client, unique)
        await handle.result()
    lines = [line async for line in follow(client, await find_run(client, handle.id[:-2]), wait=True)]
    assert [(line.kind, line.text) for line in lines] == [
        ("started", f"t-{unique}, by cli"),
        ("said", "turn 1"),
        ("call", "READ"),
        ("result", "READ done"),
        ("call", "WRITE"),
        ("result", "WRITE done"),
        ("said", "turn 2"),
        ("ended", "succeeded"),
    ]
