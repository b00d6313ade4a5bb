"""Input tokens that a run of twenty turns is billed for, over the same run without a prompt cache.

The real adapter asks a stand-in for the Messages API over loopback, which counts as the vendor does: what
stands before the last mark is read from the cache as far as it is known there, and written to it from there
on; marks below 1,024 tokens do nothing. A token written costs 1.25 of one that is merely read in, a token
from the cache 0.1 (list prices; the newest models ask for 0.05). Both runs end with the same conversation.
"""

import asyncio
from datetime import timedelta
from uuid import uuid4

from temporalio.client import Client

from runner.activities import Activities
from runner.adapters.anthropic import AnthropicModel
from runner.runs import start_run
from runner.worker import make_worker
from schemas.run import RunRequest, RunResult, Usage
from schemas.task import Task
from tests.bench.ratio import Ratio
from tests.bench.server import server
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.temporal.doubles import Box

TURNS = 20
RESULT = "A message from somebody about something, with a subject, a date and a body of some length.\n" * 22
WRITTEN, READ = 1.25, 0.1
LEAST = 1024
"""Tokens below which the vendor caches nothing."""


def _billed(usage: Usage) -> float:
    return usage.input_tokens + WRITTEN * usage.cache_write_tokens + READ * usage.cache_read_tokens


async def _run(client: Client, *, cache: bool) -> Usage:
    script = [
        Say([{"type": "text", "text": f"Page {n}."}, use("READ", {"page": n}, f"c{n}")]) for n in range(TURNS - 1)
    ]
    queue, box = uuid4().hex, Box(*[RESULT] * (TURNS - 1))
    with AnthropicApi(script, cache_minimum=LEAST) as api:
        model = AnthropicModel(api.key, api.url, "a-model", cache=cache)
        async with make_worker(client, Activities(model, box), queue=queue, grace=timedelta(seconds=1)):
            request = RunRequest(task=Task(goal="Go through all pages.", toolkit=("box",), name="t"))
            run = await start_run(client, request, queue)
            result = await client.get_workflow_handle(run, result_type=RunResult).result()
        await model.close()
        assert result.status == "succeeded", result.reason
        assert len(api.requests) == TURNS
    return result.usage


async def _measure() -> list[Ratio]:
    async with server() as (client, _):
        cached, plain = await _run(client, cache=True), await _run(client, cache=False)
    read = cached.input_tokens + cached.cache_read_tokens + cached.cache_write_tokens
    # Rules with a mark on them are a block instead of a string, which the stand-in counts as some tokens more.
    assert abs(read / plain.input_tokens - 1) < 0.01
    assert plain.input_tokens == plain.total - plain.output_tokens
    return [Ratio("billed input", (_billed(cached) / 1000,), (_billed(plain) / 1000,), target=0.3, unit="k tokens")]


def measure() -> list[Ratio]:
    """Counted, not timed: one run each."""
    return asyncio.run(_measure())
