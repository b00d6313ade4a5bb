"""Worker process start to first completed step, over a bare SDK worker with one trivial activity."""

import asyncio
import time
from uuid import uuid4

from runner.runs import start_run
from schemas.run import RunRequest
from schemas.task import Task
from tests.bench.peer import ByHand
from tests.bench.ratio import Ratio, in_turn
from tests.bench.server import first_completed_step, server, worker


async def _measure() -> list[Ratio]:
    async with server() as (client, folder):

        async def ours() -> float:
            queue = uuid4().hex
            run = await start_run(client, RunRequest(task=Task(goal="Say hello", name="hello")), queue)
            begun = time.perf_counter()
            with worker(client, folder, "runner", "worker", "--scripted", GOALFILE_QUEUE=queue):
                await first_completed_step(client.get_workflow_handle(run))
                return time.perf_counter() - begun

        async def theirs() -> float:
            queue = uuid4().hex
            handle = await client.start_workflow(ByHand.run, args=[1, "hello"], id=queue, task_queue=queue)
            begun = time.perf_counter()
            with worker(client, folder, "tests.bench.peer", queue):
                await first_completed_step(handle)
                return time.perf_counter() - begun

        return [Ratio("start to first step", *await in_turn(ours, theirs, 7), target=1.5)]


def measure() -> list[Ratio]:
    """Whole processes, 7 pairs."""
    return asyncio.run(_measure())
