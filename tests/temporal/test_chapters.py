"""A run that grows long goes on in a new history; one that failed is tried again: nothing is lost or made twice."""

from dataclasses import replace
from datetime import timedelta

import pytest
from temporalio.client import Client

from runner.activities import Activities
from runner.following import follow
from runner.opening import Terms
from runner.ports import Reply
from runner.runs import find_run, list_runs
from runner.worker import make_worker
from schemas.run import Usage
from schemas.task import Task
from tests.temporal.doubles import Box, Thinker, begin, results_in, says, wants

pytestmark = pytest.mark.temporal


def grown(reply: Reply) -> Reply:
    return replace(reply, usage=Usage(input_tokens=2000, output_tokens=10))


async def test_a_long_conversation_is_summed_up_and_goes_on_in_a_new_history(client: Client, unique: str) -> None:
    script = (
        wants("WRITE"),
        grown(wants("READ", prefix="d")),
        says("I sent one."),
        wants("WRITE", prefix="e"),
        says("Done."),
    )
    model, box = Thinker(*script), Box("sent", "seen")
    activities = Activities(model, box, terms=Terms(model="m", sum_up_at=1000))
    async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
        handle = await begin(client, unique)
        result = await handle.result()
    assert (result.status, result.summary) == ("succeeded", "Done.")
    assert [call.tool for call in box.calls] == ["WRITE", "READ"]
    assert "already made" in results_in(model)[-1]["content"]
    assert [step.kind for step in result.steps] == ["turn", "call", "turn", "call", "turn", "turn", "turn"]
    assert result.usage.total == 2050
    begins = model.questions[3].messages
    assert len(begins) == 1
    assert "I sent one." in str(begins)
    assert "WRITE" in str(begins)
    described = await handle.describe()
    assert described.raw_info.first_run_id != described.run_id
    run = await find_run(client, handle.id)
    assert (run.task, run.status) == (f"t-{unique}", "succeeded")
    assert [each.id for each in await list_runs(client, task=f"t-{unique}")] == [handle.id]
    lines = [line async for line in follow(client, run, wait=True)]
    assert [line.kind for line in lines].count("started") == 1
    assert [line.text for line in lines if line.kind == "said"] == [f"turn {n}" for n in range(1, 6)]
    assert lines[-1].text == "succeeded"


@pytest.mark.slow
async def test_a_failed_run_is_tried_again_and_its_writes_are_not_made_again(client: Client, unique: str) -> None:
    refusal = Reply((), "refusal", Usage())
    model = Thinker(wants("WRITE"), refusal, wants("WRITE", prefix="d"), says("Done."))
    box = Box("sent")
    task = Task(goal="Do it.", toolkit=("box",), name=f"t-{unique}", retries=1)
    async with make_worker(client, Activities(model, box), queue=unique, grace=timedelta(seconds=5)):
        result = await (await begin(client, unique, task)).result()
    assert (result.status, result.summary, len(box.calls)) == ("succeeded", "Done.", 1)
    assert "already made" in results_in(model)[-1]["content"]
