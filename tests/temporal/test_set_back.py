"""A run that somebody resets makes none of its writes again, however the model words them then."""

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle

from runner.made import effects
from runner.ports import Reply
from schemas.run import RunResult, Usage
from tests.temporal.doubles import Box, Thinker, begin, results_in, says, wants, working

pytestmark = pytest.mark.temporal


async def set_back(
    client: Client, handle: WorkflowHandle[object, RunResult], to: int = 0
) -> WorkflowHandle[object, RunResult]:
    """Reset a run to one of its workflow tasks, as an operator does it; the first one without `to`."""
    described = await handle.describe()
    first = [
        e.event_id
        async for e in handle.fetch_history_events()
        if e.HasField("workflow_task_completed_event_attributes")
    ]
    said = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=described.run_id),
            workflow_task_finish_event_id=first[to],
            reason="test",
            request_id="r",
        )
    )
    return client.get_workflow_handle(handle.id, run_id=said.run_id, result_type=RunResult)


async def test_the_same_writes_are_not_made_again(client: Client, unique: str) -> None:
    script = (wants("WRITE"), says("Sent."))
    box = Box("sent")
    async with working(client, unique, Thinker(*script), box):
        handle = await begin(client, unique)
        assert (await handle.result()).status == "succeeded"
    again = Thinker(*script)
    async with working(client, unique, again, box):
        result = await (await set_back(client, handle)).result()
    assert (result.status, len(box.calls)) == ("succeeded", 1)
    (told,) = (block["content"] for block in results_in(again))
    assert "already made" in told


async def test_a_write_worded_anew_is_refused_and_told_what_was_made_instead(client: Client, unique: str) -> None:
    box = Box("sent")
    async with working(client, unique, Thinker(wants("WRITE"), says("Sent.")), box):
        handle = await begin(client, unique)
        await handle.result()
    other = {"type": "tool_use", "id": "c0", "name": "WRITE", "input": {"worded": "anew"}}
    same = {"type": "tool_use", "id": "d0", "name": "WRITE", "input": {"n": 0}}
    again = Thinker(Reply((other,), "tool_use", Usage()), Reply((same,), "tool_use", Usage()), says("It was sent."))
    async with working(client, unique, again, box):
        await (await set_back(client, handle)).result()
    assert len(box.calls) == 1
    first, second = (block["content"] for block in results_in(again))
    assert "This run was set back" in first
    assert "already made" in second
    assert [effect.state async for effect in effects(client, run=handle.id)] == ["done"]


async def test_a_write_made_elsewhere_in_the_new_course_is_not_made_again(client: Client, unique: str) -> None:
    box = Box("sent", "seen")
    async with working(client, unique, Thinker(wants("WRITE"), says("Sent.")), box):
        handle = await begin(client, unique)
        await handle.result()
    again = Thinker(wants("READ", prefix="r"), wants("WRITE", prefix="d"), says("It was sent."))
    async with working(client, unique, again, box):
        await (await set_back(client, handle)).result()
    assert [call.tool for call in box.calls] == ["WRITE", "READ"]
    assert "already made" in results_in(again)[-1]["content"]


async def test_so_it_is_if_only_the_end_of_the_run_is_set_back(client: Client, unique: str) -> None:
    box = Box("seen", "sent", "seen")
    first = (wants("READ", prefix="r"), wants("WRITE", prefix="d"), says("Sent."))
    async with working(client, unique, Thinker(*first), box):
        handle = await begin(client, unique)
        await handle.result()
    again = Thinker(wants("IDEMPOTENT", prefix="e"), wants("WRITE", prefix="f"), says("It was sent."))
    async with working(client, unique, again, box):
        await (await set_back(client, handle, to=2)).result()  # after the first reply, before the write
    assert [call.tool for call in box.calls].count("WRITE") == 1
    assert "already made" in results_in(again)[-1]["content"]
