"""Memory of a run that waits for a person, over a bare SDK workflow that waits on a condition.

Three hundred runs wait for an approval in one worker process of each kind, started twenty at a time after
forty that do not count: they pay for what every worker needs. What has grown is resident memory, so freed
pages that the allocator keeps are in it. The bare workflow holds one flag; ours holds its task, its tools,
its conversation so far and the open question.

A run needs no memory to wait: a worker forgets the least recently used beyond the SDK's 1000, and reads them
back from their histories. The second line is the same with a worker that keeps twenty. `python -m
tests.bench.waiting SIDE QUEUE KEPT` is such a worker.
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHandle
from temporalio.worker import Worker

from runner.equipment import equip
from runner.runs import start_run
from runner.schedules import said
from runner.server import connect
from runner.settings import read_settings
from runner.worker import make_worker
from schemas.config import Config
from schemas.run import RunRequest
from schemas.task import Task, Tools
from schemas.wire import STATUS
from tests.bench import peer
from tests.bench.ratio import Count, Ratio
from tests.bench.server import server, worker

RUNS, WARM, AT_ONCE, KEPT = 300, 40, 20, 20
ALL = 1000
"""What the SDK keeps unless it is told otherwise."""

Handle = WorkflowHandle[Any, Any]
TASK = Task(goal="Write one to box.", toolkit=("box",), name="t", tools=Tools(ask=("*_WRITE_*",)))


async def _ours(client: Client, queue: str) -> None:
    """Start one run and return when it waits."""
    run = client.get_workflow_handle(await start_run(client, RunRequest(task=TASK), queue))
    await _until(run, lambda now: said(now.typed_search_attributes).get(STATUS) == "waiting")


async def _theirs(client: Client, queue: str) -> None:
    """Start one and return when it waits: its first workflow task is done."""
    waits = await client.start_workflow(peer.Waits.run, id=uuid4().hex, task_queue=queue)
    await _until(waits, lambda now: now.history_length > 3)


async def _until(handle: Handle, waits: Callable[[WorkflowExecutionDescription], bool]) -> None:
    async with asyncio.timeout(60):
        while not waits(await handle.describe()):
            await asyncio.sleep(0.1)


def _resident(process: int) -> int:
    """KiB of a process that are in memory."""
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(process)], capture_output=True, check=True).stdout)


async def _grown(client: Client, folder: Path, side: str, kept: int) -> float:
    """KiB by which a worker process has grown for each run that waits."""
    queue, start = uuid4().hex, _ours if side == "ours" else _theirs

    async def begin(how_many: int) -> None:
        for _ in range(how_many // AT_ONCE):
            await asyncio.gather(*(start(client, queue) for _ in range(AT_ONCE)))

    with worker(client, folder, "tests.bench.waiting", side, queue, str(kept)) as process:
        await begin(WARM)
        before = _resident(process.pid)
        await begin(RUNS)
        return (_resident(process.pid) - before) / RUNS


async def _measure() -> list[Ratio]:
    async with server() as (client, folder):
        ours, theirs = [(await _grown(client, folder, side, ALL),) for side in ("ours", "theirs")]
        ours_gone, theirs_gone = [(await _grown(client, folder, side, KEPT),) for side in ("ours", "theirs")]
    print(f"  runs in `waiting` for each MiB of a worker: {1024 / ours[0]:.0f} (bare: {1024 / theirs[0]:.0f})")
    return [
        Ratio("a run that waits", ours, theirs, target=2, unit="KiB"),
        Count("one that its worker has forgotten", ours_gone, theirs_gone, target=None, unit="KiB"),
    ]


def measure() -> list[Ratio]:
    """Four worker processes, one after the other."""
    return asyncio.run(_measure())


async def _serve(side: str, queue: str, kept: int) -> None:
    settings = read_settings()
    client = await connect(settings)
    aside = f"{queue}-aside"  # its parts are taken from a worker that is made and never runs
    if side == "ours":
        activities = equip(client, settings, Config(), scripted=True)
        made = make_worker(client, activities, queue=aside, grace=timedelta(seconds=1))
    else:
        made = peer.worker(client, aside)
    config = made.config()
    config["task_queue"], config["max_cached_workflows"] = queue, kept
    async with Worker(**config):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
