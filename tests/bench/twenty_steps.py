"""A run of twenty steps over the same twenty activities written by hand on the bare SDK.

Two shapes. Turns and reads: ten turns, nine calls that read, and the opening; each is one activity on both
sides. Turns and writes: the nine calls write. By hand a write is one activity that is never tried again
(`maximum_attempts=1`): it loses no crash, but a run that is reset makes it once more. Ours is a workflow of
its own whose id is used once, and that is the price of the ledger: a second workflow to start, two more
workflow tasks for it, and one more for the run. It has no target, for the peer does not do what it buys.

Where this was written, a workflow task reaches its worker 40 ms late once a server has served some forty
steps, the bare SDK's just as ours. That floor flatters a ratio of times, so each shape is also measured in
processor time of the process, server excluded, where there is no such floor.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client

from runner.activities import Activities
from runner.codec import data_converter
from runner.ports import Reply
from runner.runs import start_run
from runner.switch import Switch
from runner.worker import make_worker
from schemas.run import RunRequest, RunResult
from schemas.task import Task
from tests.bench import peer
from tests.bench.ratio import Ratio
from tests.bench.server import server
from tests.temporal.doubles import Box, Thinker, says

TEXT = "x" * 500
PAIRS = 9


@dataclass(frozen=True)
class Spent:
    """What one run of twenty steps took: seconds on the wall, and of this process's processors."""

    wall: float
    cpu: float


def _turn(number: int, tool: str) -> Reply:
    use = {"type": "tool_use", "id": f"c{number}", "name": tool, "input": {"n": number}}
    return Reply(({"type": "text", "text": TEXT}, use), "tool_use")


async def _ours(client: Client, tool: str) -> Spent:
    # Ten turns, nine calls, and the opening: twenty activities.
    model, box = Thinker(*(_turn(n, tool) for n in range(9)), says("Done.")), Box(*[TEXT] * 9)
    config = client.config()
    config["data_converter"] = data_converter()  # as the runner connects
    client = Client(**config)
    queue, activities = uuid4().hex, Activities(model, box, switch=Switch(client))
    async with make_worker(client, activities, queue=queue, grace=timedelta(seconds=1)):
        request = RunRequest(task=Task(goal="Do it.", toolkit=("box",), name="t"))
        wall, cpu = time.perf_counter(), time.process_time()
        run = await start_run(client, request, queue)
        result = await client.get_workflow_handle(run, result_type=RunResult).result()
        spent = Spent(time.perf_counter() - wall, time.process_time() - cpu)
    assert result.status == "succeeded", result.reason
    assert box.finished == 9
    return spent


async def _theirs(client: Client, attempts: int) -> Spent:
    queue = uuid4().hex
    async with peer.worker(client, queue):
        wall, cpu = time.perf_counter(), time.process_time()
        await client.execute_workflow(peer.ByHand.run, args=[20, TEXT, attempts], id=queue, task_queue=queue)
        return Spent(time.perf_counter() - wall, time.process_time() - cpu)


async def _pairs(client: Client, what: str, tool: str, attempts: int, target: float | None) -> list[Ratio]:
    await _ours(client, tool)
    await _theirs(client, attempts)  # one of each that does not count
    both = [(await _ours(client, tool), await _theirs(client, attempts)) for _ in range(PAIRS)]
    ours, theirs = tuple(a for a, _ in both), tuple(b for _, b in both)
    return [
        Ratio(what, tuple(a.wall for a in ours), tuple(b.wall for b in theirs), target),
        Ratio(f"{what}, processor", tuple(a.cpu for a in ours), tuple(b.cpu for b in theirs), None),
    ]


async def _measure() -> list[Ratio]:
    async with server() as (client, _):
        reads = await _pairs(client, "turns and reads", "READ", 0, target=1.3)
        return [*reads, *await _pairs(client, "turns and writes", "WRITE", 1, target=None)]


def measure() -> list[Ratio]:
    """One server, one process, 9 pairs of each shape."""
    return asyncio.run(_measure())
