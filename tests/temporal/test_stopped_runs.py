"""The stop switch under load (P22): no new effect begins within five seconds, and nothing is lost or made twice."""

import asyncio
import time
from collections import Counter
from datetime import timedelta

import pytest
from temporalio.client import Client

from runner.activities import Activities
from runner.ports import Question, Reply, ToolCall, ToolResult
from runner.switch import Switch, release, stop
from runner.worker import make_worker
from schemas.run import Usage
from tests.temporal.doubles import Box, begin, says

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

RUNS, WRITES = 5, 12


class Busy:
    """A model that wants one write after the other; what it wants follows from the question alone."""

    async def ask(self, question: Question) -> Reply:
        turn = sum(message.role == "assistant" for message in question.messages)
        if turn == WRITES:
            return says("Done.")
        use = {"type": "tool_use", "id": f"w{turn}", "name": "WRITE", "input": {"n": turn}}
        return Reply((use,), "tool_use", Usage())


class Clocked(Box):
    """Notes when each call began."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[float] = []

    async def call(self, call: ToolCall) -> ToolResult:
        self.began.append(time.monotonic())
        await asyncio.sleep(0.1)  # a call takes its time
        return await super().call(call)


async def test_within_five_seconds_nothing_new_begins_and_released_runs_go_on(client: Client, unique: str) -> None:
    box = Clocked()
    activities = Activities(Busy(), box, switch=Switch(client))
    async with make_worker(client, activities, queue=unique, grace=timedelta(seconds=5)):
        handles = [await begin(client, unique) for _ in range(RUNS)]
        while len(box.began) < RUNS * 2:
            await asyncio.sleep(0.05)
        await stop(client, "tests", "a test")
        stopped = time.monotonic()
        try:
            await asyncio.sleep(8)  # long enough to see one that begins too late
            assert max(box.began) - stopped < 5
            assert len(box.began) < RUNS * WRITES, "the switch was set while there was something left to stop"
        finally:
            await release(client)
        results = await asyncio.gather(*(handle.result() for handle in handles))
    assert [result.status for result in results] == ["succeeded"] * RUNS
    assert set(Counter(call.effect_id for call in box.calls).values()) == {1}
