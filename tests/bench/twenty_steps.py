"""A run of twenty steps over the same twenty activities written by hand on the bare SDK."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

from runner.activities import Activities
from runner.ports import Reply
from runner.runs import start_run
from runner.worker import make_worker
from schemas.run import RunRequest
from schemas.task import Task
from tests.bench import peer
from tests.bench.ratio import Ratio, in_turn
from tests.bench.server import server
from tests.temporal.doubles import Box, Thinker, says

TEXT = "x" * 500


def _turn(number: int) -> Reply:
    use = {"type": "tool_use", "id": f"c{number}", "name": "READ", "input": {"n": number}}
    return Reply(({"type": "text", "text": TEXT}, use), "tool_use")


async def _measure() -> list[Ratio]:
    async with server() as (client, _):

        async def ours() -> float:
            # Ten turns, nine calls, and the listing of the tools: twenty activities.
            model, box = Thinker(*(_turn(n) for n in range(9)), says("Done.")), Box(*[TEXT] * 9)
            queue = uuid4().hex
            async with make_worker(client, Activities(model, box), queue=queue, grace=timedelta(seconds=1)):
                request = RunRequest(task=Task(goal="Do it.", toolkit=("box",), name="t"))
                begun = time.perf_counter()
                await client.get_workflow_handle(await start_run(client, request, queue)).result()
                return time.perf_counter() - begun

        async def theirs() -> float:
            queue = uuid4().hex
            async with peer.worker(client, queue):
                begun = time.perf_counter()
                await client.execute_workflow(peer.ByHand.run, args=[20, TEXT], id=queue, task_queue=queue)
                return time.perf_counter() - begun

        return [Ratio("twenty steps", *await in_turn(ours, theirs, 9), target=1.3)]


def measure() -> list[Ratio]:
    """One server, one process, 9 pairs."""
    return asyncio.run(_measure())
