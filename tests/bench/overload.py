"""Starts at 50, 100 and 200 % of what the gateway can take: what it accepts runs, the rest it refuses in words.

The runs themselves end at once (a bare worker under the runner's name), so that starting them is all there is.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from typing import Any

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from runner.server import register_search_attributes
from schemas import wire
from tests.bench.http_load import Ask, Load, closed_loop, gateway, lines, open_loop
from tests.bench.ratio import Count, Ratio
from tests.bench.server import server, worker

_CONNECTIONS, _SECONDS = 200, 8.0
_GOAL = Ask("POST", "/v1/runs", json.dumps({"goal": "Say hello"}).encode())
_REFUSED = {429, 503}


@workflow.defn(name=wire.RUN_TASK)
class AtOnce:
    """A run that ends as soon as it begins."""

    @workflow.run
    async def run(self, request: Any) -> None:
        """Nothing."""


async def _finished(client: Client, loads: list[Load]) -> int:
    """How many of the accepted runs have ended, once all have or nothing changes for a while."""
    ids = {json.loads(said)["id"] for load in loads for said in load.accepted}
    done = -1
    while True:
        query = f"{wire.ALL_RUNS} AND ExecutionStatus = 'Completed'"
        count = (await client.count_workflows(query)).count
        if count >= len(ids) or count == done:
            return count
        done = count
        await asyncio.sleep(3)


async def _measure() -> list[Ratio]:
    async with server() as (client, folder):
        await register_search_attributes(client)
        with (
            gateway(client, folder, GOALFILE_QUEUE="bench") as url,
            worker(client, folder, "tests.bench.overload", "bench"),
        ):
            async with lines(url, 8) as few:
                capacity = await closed_loop(few, _SECONDS, _GOAL)
            most = capacity.statuses[202] / capacity.seconds
            loads = {}
            for share in (0.5, 1.0, 2.0):
                async with lines(url, _CONNECTIONS) as many:
                    loads[share] = await open_loop(many, most * share, _SECONDS, _GOAL)
            all_of_them = [capacity, *loads.values()]
            accepted = sum(len(load.accepted) for load in all_of_them)
            finished = await _finished(client, all_of_them)
    statuses = sum((load.statuses for load in all_of_them), Counter[int]())
    other = sum(count for status, count in statuses.items() if status not in {202, *_REFUSED})
    good = {share: len(load.accepted) / load.seconds for share, load in loads.items()}
    print(f"  capacity {most:.0f}/s; " + "; ".join(f"{s:.0%}: {dict(load.statuses)}" for s, load in loads.items()))
    return [
        Count("accepted and not finished", (accepted - finished,), (0,), 0, "runs"),
        Count("answered neither 202 nor 429 nor 503", (other,), (0,), 0, "answers"),
        Ratio("seconds for each good answer, 200 % over 100 %", (1 / good[2.0],), (1 / good[1.0],), 1.25),
    ]


def measure() -> list[Ratio]:
    """8 seconds each; 1.25x the seconds is 0.8x the goodput."""
    return asyncio.run(_measure())


async def _serve(queue: str) -> None:
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"])
    async with Worker(client, task_queue=queue, workflows=[AtOnce], workflow_runner=UnsandboxedWorkflowRunner()):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
