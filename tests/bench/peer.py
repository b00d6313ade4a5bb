"""The peer: the same work written by hand on the bare Temporal SDK. `python -m tests.bench.peer` is its worker.

`ByHand` makes each step an activity, as we do; `OneBig` puts the whole loop into one activity, as many
agents on Temporal do.
"""

import asyncio
import os
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

RETRY = RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=1))
ALIVE = timedelta(seconds=10)


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(2)


@activity.defn
async def step(text: str) -> str:
    """One step that returns what it is given, with the heartbeat that ours has."""
    beating = asyncio.create_task(_beat())
    try:
        return text
    finally:
        beating.cancel()


@activity.defn
async def all_steps(journal: str, count: int, pause: float) -> int:
    """Every step in one activity; a line in the journal for each one that is done."""
    beating = asyncio.create_task(_beat())
    try:
        for number in range(count):
            await asyncio.sleep(pause)
            with Path(journal).open("a") as file:
                file.write(f"{number}\n")
    finally:
        beating.cancel()
    return count


@workflow.defn
class ByHand:
    """A loop of activities."""

    @workflow.run
    async def run(self, count: int, text: str, attempts: int = 0) -> int:
        """`attempts=1`: as a write, every second step is never tried again; 0 tries without end."""
        for number in range(count):
            await workflow.execute_activity(
                step,
                text,
                start_to_close_timeout=timedelta(minutes=5),
                heartbeat_timeout=ALIVE,
                retry_policy=replace(RETRY, maximum_attempts=attempts if number % 2 else 0),
            )
        return count


@workflow.defn
class OneBig:
    """One activity around the whole loop."""

    @workflow.run
    async def run(self, journal: str, count: int, pause: float) -> int:
        return await workflow.execute_activity(
            all_steps,
            args=[journal, count, pause],
            start_to_close_timeout=timedelta(minutes=30),
            heartbeat_timeout=ALIVE,
            retry_policy=RETRY,
        )


@workflow.defn
class Waits:
    """Waits until somebody says that it may end, and holds nothing."""

    def __init__(self) -> None:
        self.done = False

    @workflow.signal
    def end(self) -> None:
        self.done = True

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.done)


def worker(client: Client, queue: str) -> Worker:
    """A worker of the same shape as ours."""
    return Worker(
        client,
        task_queue=queue,
        workflows=[ByHand, OneBig, Waits],
        activities=[step, all_steps],
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        build_id="peer",
    )


async def _serve() -> None:
    client = await Client.connect(os.environ["TEMPORAL_ADDRESS"], data_converter=pydantic_data_converter)
    async with worker(client, sys.argv[1]):
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve())
