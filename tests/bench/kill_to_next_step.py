"""Seconds from kill -9 in the middle of a step to the next completed step, over what a heartbeat allows.

The bound is the heartbeat's time-out (10 s) and two seconds. Another worker is there at once; what takes
time is to notice that the first one is gone. Three runs lose their worker at the same moment of their own:
in a model turn, in a call that reads, and in a write. The first two are done again, so the next step is the
same one. The write is not: the next step is the turn that is told that nobody knows what came of it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowHandle

from runner.making import LOST_AFTER
from runner.runs import start_run
from runner.transcript import ASK_MODEL, CALL_TOOL
from schemas.run import RunRequest, RunResult
from schemas.task import Task
from tests.bench.ratio import Ratio
from tests.bench.server import server, worker

BOUND = LOST_AFTER.total_seconds() + 2
PAUSE = 1.5
"""Seconds that each step takes in the worker that is killed; in the one after it, none."""

Handle = WorkflowHandle[Any, Any]


async def _running(handle: Handle, kind: str) -> bool:
    """Whether a worker has an activity of this kind in hand."""
    pending = (await handle.describe()).raw_description.pending_activities
    started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    return any(each.activity_type.name == kind and each.state == started for each in pending)


async def _writing(client: Client, handle: Handle) -> bool:
    """Whether a worker has a write in hand."""
    children = (await handle.describe()).raw_description.pending_children
    return any([await _running(client.get_workflow_handle(each.workflow_id), CALL_TOOL) for each in children])


async def _completed(handle: Handle) -> int:
    """Completed activities of the run itself."""
    history = await handle.fetch_history()
    return sum(event.HasField("activity_task_completed_event_attributes") for event in history.events)


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.02)


async def _lost(client: Client, folder: Path, situation: str) -> float:
    """Seconds from the kill to the next completed step."""
    queue = uuid4().hex
    words, env = ("runner", "worker", "--scripted"), {"GOALFILE_QUEUE": queue}
    # The script reads first, then writes.
    task = Task(goal="Write one to box. Write two to box.", toolkit=("box",), name=situation)
    handle: Handle = client.get_workflow_handle(
        await start_run(client, RunRequest(task=task), queue), result_type=RunResult
    )
    caught: dict[str, Callable[[], Awaitable[bool]]] = {
        "turn": lambda: _running(handle, ASK_MODEL),
        "read": lambda: _running(handle, CALL_TOOL),
        "write": lambda: _writing(client, handle),
    }
    with worker(client, folder, *words, **env, GOALFILE_SCRIPTED_PAUSE=str(PAUSE)) as process:
        await _until(caught[situation])
        process.kill()
        killed = time.perf_counter()
    before = await _completed(handle)
    with worker(client, folder, *words, **env):

        async def goes_on() -> bool:
            return await _completed(handle) > before

        await _until(goes_on)
        seconds = time.perf_counter() - killed
        result = await handle.result()
    states = [step.state for step in result.steps]
    assert result.status == "succeeded", result
    assert ("unknown" in states) == (situation == "write"), result
    return seconds


async def _measure() -> list[Ratio]:
    situations = ("turn", "read", "write")
    async with server() as (client, folder):
        took = await asyncio.gather(*(_lost(client, folder, each) for each in situations))
    return [Ratio(f"killed in a {each}", (s,), (BOUND,), 1.0) for each, s in zip(situations, took, strict=True)]


def measure() -> list[Ratio]:
    """Three worker processes lost, one in each kind of step."""
    return asyncio.run(_measure())
