"""Encryption on a real server: what stands there in plain, and who can still read what."""

import base64

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeScheduleRequest, DescribeWorkflowExecutionRequest
from temporalio.client import Client

from runner.apply import ReadError
from runner.following import follow
from runner.ports import PermanentError, Reply, TransientError
from runner.runs import find_run, list_runs, result_of, start_run
from runner.schedules import TemporalSchedules, find_task
from runner.server import connect
from runner.settings import Settings
from schemas import wire
from schemas.run import RunRequest, RunResult, Source
from schemas.sealing import CannotOpen, Keyring, keyring
from schemas.task import Task
from tests.temporal.doubles import Box, Thinker, begin, results_in, says, working

pytestmark = pytest.mark.temporal

OLD, NEW = (("old-2025", base64.b64encode(b"1" * 32).decode()), ("new", base64.b64encode(b"2" * 32).decode()))
BEFORE, ROTATED, AFTER = keyring([OLD]), keyring([NEW, OLD]), keyring([NEW])

CANARIES = ("goal", "description", "input", "instruction", "argument", "result", "thought", "again", "refused")
"""What a run is told, does and hears: each a word of its own, `canary-goal`."""


def canary(of: str) -> str:
    assert of in CANARIES
    return f"canary-{of}"


def secretive(name: str) -> RunRequest:
    """A request with a canary wherever a person may write what they like."""
    task = Task(
        name=name,
        goal=f"{canary('goal')} {{{{ topic }}}}",
        description=canary("description"),
        toolkit=("box",),
        inputs={"topic": canary("instruction")},
    )
    return RunRequest(task=task, inputs={"topic": canary("input")}, source=Source(path="a.yaml"), trigger="cli")


def calls(tool: str) -> Reply:
    use = {"type": "tool_use", "id": "c0", "name": tool, "input": {"to": canary("argument")}}
    return Reply(({"type": "text", "text": canary("thought")}, use), "tool_use")


async def connected(address: str, keys: Keyring | None) -> Client:
    return await connect(Settings(temporal={"TEMPORAL_ADDRESS": address}), keys=keys)


async def stored(client: Client, run_id: str) -> bytes:
    """All that the server keeps of a run and of its writes, as it keeps it."""
    execution = WorkflowExecution(workflow_id=run_id)
    asked = DescribeWorkflowExecutionRequest(namespace=client.namespace, execution=execution)
    described = await client.workflow_service.describe_workflow_execution(asked)
    history = await client.get_workflow_handle(run_id).fetch_history()
    begun = (event.start_child_workflow_execution_initiated_event_attributes.workflow_id for event in history.events)
    writes = [await stored(client, child) for child in begun if child]
    return b"\n".join((*writes, *(each.SerializeToString() for each in (described, *history.events))))


async def stored_schedule(client: Client, name: str) -> bytes:
    asked = DescribeScheduleRequest(namespace=client.namespace, schedule_id=wire.schedule_id(name))
    return (await client.workflow_service.describe_schedule(asked)).SerializeToString()


def seen(raw: bytes) -> set[str]:
    return {each for each in CANARIES if canary(each).encode() in raw}


@pytest.mark.parametrize("keys", [BEFORE, None], ids=["with keys", "without, to prove that one would see it"])
async def test_the_server_never_sees_what_a_run_is_about(
    temporal_address: str, client: Client, unique: str, keys: Keyring | None
) -> None:
    mine = await connected(temporal_address, keys)
    model = Thinker(
        calls("WRITE"),
        TransientError(canary("again"), retry_after=0.01),
        PermanentError(canary("refused")),
    )
    async with working(mine, unique, model, Box(canary("result"))):
        run_id = await start_run(mine, secretive(f"t-{unique}"), unique)
        result = await mine.get_workflow_handle(run_id, result_type=RunResult).result()
    assert (result.status, result.reason) == ("failed", canary("refused"))
    assert canary("result") in str(results_in(model))
    raw = await stored(client, run_id)
    assert seen(raw) == (set() if keys else set(CANARIES))
    assert (b"old-2025" in raw) == (keys is not None)


@pytest.mark.parametrize("keys", [BEFORE, None], ids=["with keys", "without"])
async def test_a_schedule_holds_its_task_encrypted_and_its_name_plain(
    temporal_address: str, client: Client, unique: str, keys: Keyring | None
) -> None:
    name, request = f"t-{unique}", secretive(f"t-{unique}")
    mine = await connected(temporal_address, keys)
    await TemporalSchedules(mine, unique).create(name, request, "somebody")
    raw = await stored_schedule(client, name)
    assert seen(raw) == (set() if keys else {"goal", "description", "input", "instruction"})
    assert name.encode() in raw
    assert await find_task(mine, name) == request
    found = await TemporalSchedules(mine, unique).describe(name, request)
    assert found
    assert (found.owner, found.drifted) == ("somebody", "")


async def test_a_memo_is_encrypted_and_its_key_is_not(temporal_address: str, client: Client, unique: str) -> None:
    mine = await connected(temporal_address, BEFORE)
    handle = await mine.start_workflow(
        wire.RUN_TASK, id=unique, task_queue=unique, memo={wire.WAITING: [canary("argument")]}
    )
    raw = await stored(client, unique)
    assert await (await handle.describe()).memo_value(wire.WAITING) == [canary("argument")]
    await handle.terminate()
    assert not seen(raw)
    assert wire.WAITING.encode() in raw


async def test_an_encrypted_run_is_found_followed_and_read_as_any_other(temporal_address: str, unique: str) -> None:
    mine = await connected(temporal_address, BEFORE)
    async with working(mine, unique, Thinker(calls("WRITE"), says("Done.")), Box(canary("result"))):
        run_id = await start_run(mine, secretive(f"t-{unique}"), unique)
        await mine.get_workflow_handle(run_id).result()
    found = await find_run(mine, run_id)
    assert (found.task, found.status) == (f"t-{unique}", "succeeded")
    told = [(line.kind, line.text, line.detail) async for line in follow(mine, found, wait=False)]
    assert ("said", "turn 1", canary("thought")) in told
    assert ("call", "WRITE", f"to='{canary('argument')}'") in told
    assert ("result", "WRITE done", canary("result")) in told
    result = await result_of(mine, found)
    assert result
    assert result.summary == "Done."


@pytest.mark.parametrize(
    ("first", "then"), [(None, BEFORE), (BEFORE, ROTATED)], ids=["keys turned on", "a new key put first"]
)
async def test_a_run_in_flight_goes_on_when_the_keys_change(
    temporal_address: str, unique: str, first: Keyring | None, then: Keyring
) -> None:
    one, other = [await connected(temporal_address, keys) for keys in (first, then)]
    box = Box(canary("result"))
    box.leave.clear()
    async with working(one, unique, Thinker(calls("READ")), box):
        run_id = (await begin(one, unique)).id
        await box.entered.wait()
        box.leave.set()
    model = Thinker(says("Went on."))
    async with working(other, unique, model, Box()):
        result = await other.get_workflow_handle(run_id, result_type=RunResult).result()
    assert (result.status, result.summary) == ("succeeded", "Went on.")
    assert [block["content"] for block in results_in(model)] == [canary("result")]


async def test_a_schedule_of_before_there_were_keys_is_not_taken_for_changed(
    temporal_address: str, client: Client, unique: str
) -> None:
    name, request = f"t-{unique}", secretive(f"t-{unique}")
    await TemporalSchedules(client, unique).create(name, request, "somebody")
    found = await TemporalSchedules(await connected(temporal_address, BEFORE), unique).describe(name, request)
    assert found
    assert found.drifted == ""


@pytest.mark.parametrize("keys", [AFTER, None], ids=["the key is gone", "no key at all"])
async def test_who_lacks_the_key_is_told_its_name_and_changes_nothing(
    temporal_address: str, unique: str, keys: Keyring | None
) -> None:
    mine, theirs = await connected(temporal_address, BEFORE), await connected(temporal_address, keys)
    name, request = f"t-{unique}", secretive(f"t-{unique}")
    await TemporalSchedules(mine, unique).create(name, request, "somebody")
    async with working(mine, unique, Thinker(says("Done.")), Box()):
        run_id = (await begin(mine, unique)).id
        await mine.get_workflow_handle(run_id).result()
    found = await find_run(theirs, run_id)  # its name and status are no secret
    missing = "no key named old-2025 is configured"
    with pytest.raises(CannotOpen, match=missing):
        await result_of(theirs, found)
    with pytest.raises(CannotOpen, match=missing):
        _ = [line async for line in follow(theirs, found, wait=False)]
    with pytest.raises(CannotOpen, match=missing):
        await find_task(theirs, name)
    with pytest.raises((CannotOpen, ReadError), match=missing):  # or a sync would write it anew, in plain
        await TemporalSchedules(theirs, unique).describe(name, request)
    assert [run.status for run in await list_runs(theirs, task=f"t-{unique}")] == ["succeeded"]


async def test_a_worker_without_the_key_fails_no_run(temporal_address: str, client: Client, unique: str) -> None:
    mine, theirs = await connected(temporal_address, BEFORE), await connected(temporal_address, None)
    handle = await begin(mine, unique)
    async with working(theirs, unique, Thinker(says("Not mine to say.")), Box()):
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("workflow_task_failed_event_attributes"):
                break
    async with working(mine, unique, Thinker(says("Done.")), Box()):
        assert (await handle.result()).summary == "Done."
