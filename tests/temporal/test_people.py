"""Approvals on a real server: asked once, answered once, for exactly one call, and no worker is needed to wait."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from runner.effects import fingerprint
from runner.people import decide, decision_on, open_questions
from runner.ports import TransientError
from runner.runs import find_run, list_runs
from runner.ways import NobodyThere, NoSuchQuestion, Open, Refused, find_question
from schemas import wire
from schemas.run import Decision, Progress
from schemas.task import Approval, Limits, Task, Tools
from tests.temporal.doubles import Box, Thinker, begin, calls, questions_of, results_in, says, waits, wants, working

pytestmark = pytest.mark.temporal


def task(unique: str, **more: Any) -> Task:
    return Task(**{"goal": "Do it.", "toolkit": ("box",), "name": f"t-{unique}", **more})


def expiring(unique: str, otherwise: str, **more: Any) -> Task:
    return task(unique, approval=Approval(timeout=timedelta(seconds=1), otherwise=otherwise), **more)  # type: ignore[arg-type]


async def say(client: Client, asked: Open, *, approve: bool, by: str = "ada", note: str = "") -> None:
    word = decision_on(asked, approve=approve, by=by, note=note, now=datetime.now(UTC))
    await decide(client, asked, word, within=10)


async def test_a_destructive_call_waits_and_is_made_once_with_exactly_what_was_approved(
    client: Client, unique: str
) -> None:
    model, box = Thinker(calls("DESTRUCTIVE", path="some/x", n=1), says("Gone.")), Box("removed")
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        run = await find_run(client, handle.id)
        progress = await handle.query(wire.PROGRESS, result_type=Progress)
        assert (run.status, progress.status, progress.reason) == ("waiting", "waiting", "approval of DESTRUCTIVE")
        assert progress.waiting == (asked.waiting,)
        assert (asked.run, asked.task) == (handle.id, f"t-{unique}")
        assert (asked.waiting.tool, asked.waiting.arguments) == ("DESTRUCTIVE", {"path": "some/x", "n": 1})
        assert box.calls == []
        await say(client, asked, approve=True)
        result = await handle.result()
    (made,) = box.calls
    assert (result.status, made.arguments) == ("succeeded", {"path": "some/x", "n": 1})
    assert made.approved == fingerprint("DESTRUCTIVE", {"path": "some/x", "n": 1})
    assert [step.state for step in result.steps if step.kind == "call"] == ["done"]
    assert await questions_of(client, handle, f"t-{unique}", 0) == []


async def test_what_is_denied_is_not_made_and_the_model_hears_why(client: Client, unique: str) -> None:
    model, box = Thinker(calls("DESTRUCTIVE"), says("I left it.")), Box()
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        await say(client, asked, approve=False, note="we need that folder")
        result = await handle.result()
    (told,) = results_in(model)
    assert (result.status, box.calls) == ("succeeded", [])
    assert "Denied by a person: we need that folder" in told["content"]
    assert told["is_error"]
    assert [step.state for step in result.steps if step.kind == "call"] == ["denied"]


async def test_the_first_word_wins_and_the_other_is_told_so(client: Client, unique: str) -> None:
    model, box = Thinker(calls("DESTRUCTIVE"), says("ok")), Box()
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        said = await asyncio.gather(
            say(client, asked, approve=True, by="ada"),
            say(client, asked, approve=False, by="bob"),
            return_exceptions=True,
        )
        result = await handle.result()
    (refused,) = [each for each in said if each is not None]
    assert isinstance(refused, Refused)
    first = ("approved by ada", "done") if said[0] is None else ("denied by bob", "denied")
    assert first[0] in str(refused) or "already ended" in str(refused)
    assert [step.state for step in result.steps if step.kind == "call"] == [first[1]]
    assert len(box.calls) == (said[0] is None)


async def test_a_word_on_other_arguments_than_those_that_wait_is_refused(client: Client, unique: str) -> None:
    async with working(client, unique, Thinker(calls("DESTRUCTIVE", n=1), says("ok")), box := Box()):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        other = fingerprint("DESTRUCTIVE", {"n": 2})
        with pytest.raises(Refused, match="other arguments"):
            await decide(client, asked, Decision(id=asked.waiting.id, fingerprint=other, approve=True), within=10)
        with pytest.raises(Refused, match="nothing of that id"):
            await decide(client, asked, Decision(id="made-up", fingerprint=other, approve=True), within=10)
        assert (await find_run(client, handle.id)).status == "waiting"
        assert box.calls == []
        await say(client, asked, approve=True)
        await handle.result()
    assert len(box.calls) == 1
    history = await handle.fetch_history()
    accepted = [e for e in history.events if e.HasField("workflow_execution_update_accepted_event_attributes")]
    assert len(accepted) == 1  # what was refused left no trace


async def test_several_calls_are_asked_about_together_and_each_gets_its_own_word(client: Client, unique: str) -> None:
    model, box = Thinker(wants("DESTRUCTIVE", "READ", "DESTRUCTIVE"), says("ok")), Box()
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique))
        asked = await questions_of(client, handle, f"t-{unique}", 2)
        by_number = {each.waiting.arguments["n"]: each for each in asked}
        await say(client, by_number[2], approve=True)
        assert await questions_of(client, handle, f"t-{unique}") == [by_number[0]]
        assert (await handle.query(wire.PROGRESS, result_type=Progress)).waiting == (by_number[0].waiting,)
        await say(client, by_number[0], approve=False)
        await handle.result()
    assert [(call.tool, call.arguments) for call in box.calls] == [("READ", {"n": 1}), ("DESTRUCTIVE", {"n": 2})]
    assert [block["tool_use_id"] for block in results_in(model)] == ["c0", "c1", "c2"]


async def test_a_task_can_have_a_plain_write_asked_about_too(client: Client, unique: str) -> None:
    async with working(client, unique, Thinker(wants("WRITE"), says("ok")), box := Box()):
        handle = await begin(client, unique, task(unique, tools=Tools(ask=("write",))))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        assert box.calls == []
        await say(client, asked, approve=True)
        assert (await handle.result()).status == "succeeded"
    assert [call.tool for call in box.calls] == ["WRITE"]


async def test_nobody_s_word_in_time_is_a_no_and_the_run_goes_on(client: Client, unique: str) -> None:
    model, box = Thinker(calls("DESTRUCTIVE"), says("Nobody answered.")), Box()
    async with working(client, unique, model, box):
        handle = await begin(client, unique, expiring(unique, "deny"))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        result = await handle.result()
        with pytest.raises(Refused, match="has ended"):
            await decide(
                client,
                asked,
                Decision(id=asked.waiting.id, fingerprint=asked.waiting.fingerprint, approve=True),
                within=10,
            )
    assert (result.status, result.summary, box.calls) == ("succeeded", "Nobody answered.", [])
    assert "nobody answered within 1s" in results_in(model)[0]["content"]
    with pytest.raises(NoSuchQuestion, match="is over"):
        decision_on(asked, approve=True, by="", note="", now=datetime.now(UTC))


async def test_nobody_s_word_in_time_can_fail_the_run(client: Client, unique: str) -> None:
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), box := Box()):
        handle = await begin(client, unique, expiring(unique, "fail"))
        result = await handle.result()
    assert (result.status, result.reason, box.calls) == ("failed", "nobody answered within 1s", [])
    assert (await find_run(client, handle.id)).status == "failed"


async def test_a_run_that_waits_can_be_cancelled(client: Client, unique: str) -> None:
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), box := Box()):
        handle = await begin(client, unique, task(unique))
        await waits(client, handle.id)
        await handle.cancel()
        result = await handle.result()
    assert (result.status, box.calls) == ("cancelled", [])
    assert (await find_run(client, handle.id)).status == "cancelled"
    assert await questions_of(client, handle, f"t-{unique}", 0) == []


async def test_waiting_needs_no_worker_and_a_word_that_none_heard_counts_once(client: Client, unique: str) -> None:
    box = Box("removed")
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), box):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
    assert await open_questions(client, f"t-{unique}") == [asked]
    assert (await find_run(client, handle.id)).status == "waiting"
    with pytest.raises(NobodyThere, match="may still be taken"):
        await decide(client, asked, decision_on(asked, approve=True, by="", note="", now=datetime.now(UTC)), within=0.5)
    async with working(client, unique, Thinker(says("Went on.")), box):
        with suppress(Refused):  # the first one may have been taken by now
            await say(client, asked, approve=True)
        assert (await handle.result()).summary == "Went on."
    assert len(box.calls) == 1


async def test_another_worker_keeps_what_waits_what_was_said_and_what_was_decided(client: Client, unique: str) -> None:
    box, first = Box(), Thinker(wants("DESTRUCTIVE", "DESTRUCTIVE"))
    async with working(client, unique, first, box):
        handle = await begin(client, unique, task(unique))
        asked = await questions_of(client, handle, f"t-{unique}", 2)
        await say(client, asked[0], approve=False, note="not this one")
    second = Thinker(says("Went on."))
    async with working(client, unique, second, box):
        progress = await handle.query(wire.PROGRESS, result_type=Progress)
        assert (progress.status, progress.turns, len(progress.steps)) == ("waiting", 1, 1)
        with pytest.raises(Refused, match="already denied by ada"):
            await say(client, asked[0], approve=True)
        await say(client, asked[1], approve=True)
        result = await handle.result()
    assert (result.summary, len(box.calls)) == ("Went on.", 1)
    said = {block["tool_use_id"]: block["content"] for block in results_in(second)}
    assert "not this one" in said["c0"] or "not this one" in said["c1"]
    assert second.questions[0].messages[:1] == first.questions[0].messages


@pytest.mark.slow
async def test_time_that_is_over_while_no_worker_runs_is_noticed_by_the_next_one(client: Client, unique: str) -> None:
    box = Box()
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), box):
        handle = await begin(client, unique, expiring(unique, "deny"))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
    await asyncio.sleep((asked.waiting.until - datetime.now(UTC)).total_seconds() + 0.2)  # its time must be over
    assert (await find_run(client, handle.id)).status == "waiting"
    async with working(client, unique, Thinker(says("Nobody came.")), box):
        assert (await handle.result()).summary == "Nobody came."
    assert box.calls == []


async def test_time_that_a_person_takes_is_none_of_the_run_s_own(client: Client, unique: str) -> None:
    limits = Limits(timeout=timedelta(seconds=1))
    async with working(client, unique, Thinker(calls("DESTRUCTIVE"), wants("READ"), says("ok")), box := Box()):
        handle = await begin(client, unique, task(unique, limits=limits))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        await asyncio.sleep(1.2)  # longer than the run may take
        await say(client, asked, approve=True)
        result = await handle.result()
    assert (result.status, result.reason) == ("succeeded", "")
    assert [call.tool for call in box.calls] == ["DESTRUCTIVE", "READ"]


async def test_a_call_that_was_denied_is_not_asked_about_again(client: Client, unique: str) -> None:
    model, box = Thinker(calls("DESTRUCTIVE", n=1), calls("DESTRUCTIVE", "d0", n=1), says("ok")), Box()
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        await say(client, asked, approve=False)
        assert (await handle.result()).status == "succeeded"
    assert "did not allow it" in results_in(model)[-1]["content"]
    assert box.calls == []


async def test_questions_of_all_runs_are_listed_by_how_long_they_wait_and_found_by_their_beginning(
    client: Client, unique: str
) -> None:
    model = Thinker(calls("DESTRUCTIVE", n=1), calls("DESTRUCTIVE", n=2))
    async with working(client, unique, model, Box()):
        first = await begin(client, unique, task(unique))
        await waits(client, first.id)
        second = await begin(client, unique, task(unique))
        asked = await questions_of(client, second, f"t-{unique}", 2)
        assert [each.run for each in asked] == [first.id, second.id]
        assert find_question(asked[1].waiting.id[:12], asked) == asked[1]
        assert find_question(second.id, asked) == asked[1]
        with pytest.raises(NoSuchQuestion, match="more than one"):
            find_question(f"t-{unique}", asked)
        for handle in (first, second):
            await handle.cancel()
            await handle.result()
    with pytest.raises(ValueError, match="not a name"):
        await open_questions(client, "a' OR 'b")


async def test_a_terminated_run_waits_for_nobody(client: Client, unique: str) -> None:
    async with working(client, unique, Thinker(calls("DESTRUCTIVE")), Box()):
        handle = await begin(client, unique, task(unique))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
    await handle.terminate()
    assert await questions_of(client, handle, f"t-{unique}", 0) == []
    with pytest.raises(Refused, match="has ended"):
        await say(client, asked, approve=True)
    assert [run.status for run in await list_runs(client, task=f"t-{unique}")] == ["failed"]
    assert (await handle.describe()).status == WorkflowExecutionStatus.TERMINATED


# --- a write of which nobody knows ---


async def test_verify_leaves_an_unknown_write_to_the_model(client: Client, unique: str) -> None:
    model = Thinker(wants("WRITE"), wants("READ", prefix="d"), says("It is there."))
    async with working(client, unique, model, box := Box(TransientError("broke", sent=True))):
        result = await (await begin(client, unique, task(unique, on_unknown="verify"))).result()
    assert (result.status, [call.tool for call in box.calls]) == ("succeeded", ["WRITE", "READ"])
    assert "outcome_unknown" in model.questions[1].messages[-1].content[0]["content"]


async def test_stop_ends_the_run_at_an_unknown_write(client: Client, unique: str) -> None:
    async with working(client, unique, Thinker(wants("WRITE", "WRITE")), box := Box(TransientError("broke"))):
        result = await (await begin(client, unique, task(unique, on_unknown="stop"))).result()
    assert (result.status, result.reason) == ("stopped", "nobody knows whether WRITE took effect: broke")
    assert len(box.calls) == 1


async def test_ask_has_an_unknown_write_made_again_if_a_person_says_so(client: Client, unique: str) -> None:
    model, box = Thinker(wants("WRITE"), says("ok")), Box(TransientError("broke", sent=True), "sent")
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique, on_unknown="ask"))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        assert (asked.waiting.kind, asked.waiting.tool) == ("unknown", "WRITE")
        assert len(box.calls) == 1
        await say(client, asked, approve=True)
        result = await handle.result()
    assert result.status == "succeeded"
    assert [step.state for step in result.steps if step.kind == "call"] == ["unknown", "done"]
    assert [call.arguments for call in box.calls] == [{"n": 0}, {"n": 0}]
    assert len({call.effect_id for call in box.calls}) == 2
    assert results_in(model)[0]["content"] == "sent"


async def test_ask_leaves_an_unknown_write_unknown_if_a_person_says_no(client: Client, unique: str) -> None:
    model, box = Thinker(wants("WRITE"), says("Unknown.")), Box(TransientError("broke", sent=True))
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique, on_unknown="ask"))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        await say(client, asked, approve=False, note="I looked: it is there")
        assert (await handle.result()).status == "succeeded"
    assert len(box.calls) == 1
    assert "I looked: it is there" in results_in(model)[0]["content"]


async def test_a_destructive_call_of_which_nobody_knows_is_asked_about_twice(client: Client, unique: str) -> None:
    """Once whether to make it, once whether to make it again; the second yes is not asked for a third time."""
    model, box = Thinker(calls("DESTRUCTIVE"), says("ok")), Box(TransientError("broke", sent=True), "gone")
    async with working(client, unique, model, box):
        handle = await begin(client, unique, task(unique, on_unknown="ask"))
        (asked,) = await questions_of(client, handle, f"t-{unique}")
        await say(client, asked, approve=True)
        async with asyncio.timeout(10):
            while [each.waiting.kind for each in await open_questions(client, f"t-{unique}")] != ["unknown"]:
                await asyncio.sleep(0.02)  # a list follows history a moment later
        (again,) = await open_questions(client, f"t-{unique}")
        await say(client, again, approve=True)
        assert (await handle.result()).status == "succeeded"
    assert len(box.calls) == 2
    assert again.waiting.id != asked.waiting.id
