"""A run that is reset in Temporal makes nothing again. P2 and P4 of the promises.

Against vendors and workers in processes of their own; what the loop decides is tested beside it.
"""

import signal
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client

from schemas.run import RunResult
from tests.faults.crew import Handle, Workers, begin, calls_of, ends, rows, told, writes
from tests.standins.counting_tools import CountingVendor

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


async def set_back(client: Client, handle: Handle) -> None:
    """Reset a run to its first decision, as `temporal workflow reset` does."""
    described = await client.get_workflow_handle(handle.id).describe()
    first = 0
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_completed_event_attributes"):
            first = event.event_id
            break
    await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=described.run_id),
            reason="a test",
            workflow_task_finish_event_id=first,
            request_id=uuid4().hex,
        )
    )


async def test_a_finished_run_that_is_set_back_makes_no_write_again_and_its_model_hears_what_was_made(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        workers.start()
        handle = await begin(client, unique, writes(2))
        before = await ends(handle)
        await set_back(client, handle)
        after = await ends(client.get_workflow_handle(handle.id, result_type=RunResult))
        assert sorted(vendor.count().values()) == [1, 1]
        assert len(await rows(client, run=handle.id, at_least=2)) == 2
    assert (before.status, after.status) == ("succeeded", "succeeded")
    assert [each.strip() for each in told(before)] == ["added", "added"]
    assert all("already made in this run" in each for each in told(after))


async def test_other_words_after_it_was_set_back_are_no_new_intention(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """P2: the place in the run is what is made once, however the model words it the second time."""
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        first = workers.start()
        handle = await begin(client, unique, writes(2))
        await ends(handle)
        first.kill()
        workers.start(WORDING="put differently")
        await set_back(client, handle)
        after = await ends(client.get_workflow_handle(handle.id, result_type=RunResult))
        assert sorted(vendor.count().values()) == [1, 1]
        assert vendor.count(wording="put differently") == {}
    assert (after.status, calls_of(after)) == ("succeeded", ["refused", "refused"])
    for number, said in enumerate(told(after)):
        assert said.startswith("Not made. This run was set back")
        assert f"line {number}" in said
        assert "ended as done" in said


@pytest.mark.parametrize("wording", ["", "put differently"])
async def test_a_run_that_is_set_back_in_the_middle_of_a_write_waits_for_it_and_makes_none_again(
    client: Client, temporal_address: str, tmp_path: Path, unique: str, wording: str
) -> None:
    """P2: one write is done, one is in flight, one is still to come; the last is made once as well."""
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        workers.start()
        handle = await begin(client, unique, [*writes(1), {"text": "slow", "seconds": 4}, {"text": "last"}])
        await vendor.until(lambda made: len(made) == 2)
        if wording:
            workers.processes[0].send_signal(signal.SIGTERM)  # it finishes the call in flight, and takes no new step
            workers.start(WORDING=wording)
        await set_back(client, handle)
        result = await ends(client.get_workflow_handle(handle.id, result_type=RunResult))
        ledger = await rows(client, run=handle.id, at_least=3)
        assert [row.state for row in ledger] == ["done"] * 3
        assert sorted(vendor.count().values()) == [1, 1, 1]
        assert max(vendor.intentions().values()) == 1
    assert result.status == "succeeded"
