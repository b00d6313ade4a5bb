"""Dispatch over HTTP, over the bare SDK's `start_workflow`: the median of one after another, in turn.

Also with an API key; and of a task by its name, where the SDK alone would have to ask for its schedule first, too.
"""

import asyncio
import json
import time
from statistics import median
from uuid import uuid4

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from runner.server import register_search_attributes
from schemas import wire
from schemas.run import RunRequest, Source
from schemas.task import Task
from tests.bench.http_load import KEY, Line, gateway, with_a_key
from tests.bench.ratio import Ratio, in_turn
from tests.bench.server import server

_ONE_AFTER_ANOTHER = 40
_OF_A_KEY = json.dumps({"goal": "Say hello", "toolkit": ["notes"], "run_as": "bench"}).encode()
_GOAL = json.dumps({"goal": "Say hello", "toolkit": ["notes"]}).encode()


async def _bare(client: Client, schedule: str = "") -> float:
    """Seconds of one start, with the same argument and search attributes as the gateway's; `schedule` first."""
    request = RunRequest(task=Task(goal="Say hello", toolkit=("notes",)), trigger="http")
    said = wire.search_attributes(request)
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in said.items()]
    taken = []
    for _ in range(_ONE_AFTER_ANOTHER):
        begun = time.perf_counter()
        if schedule:
            await client.get_schedule_handle(schedule).describe()
        await client.start_workflow(
            wire.RUN_TASK,
            request,
            id=uuid4().hex,
            task_queue="nobody",
            search_attributes=TypedSearchAttributes(pairs),
        )
        taken.append(time.perf_counter() - begun)
    return median(taken)


async def _over_http(line: Line, path: str, body: bytes, **headers: str) -> float:
    taken = []
    for _ in range(_ONE_AFTER_ANOTHER):
        begun = time.perf_counter()
        status, said = await line.ask("POST", path, body, **headers)
        taken.append(time.perf_counter() - begun)
        assert status == 202, said
    return median(taken)


async def _measure() -> list[Ratio]:
    found = []
    async with server() as (client, folder):
        await register_search_attributes(client)
        task = Task(goal="Say hello", toolkit=("notes",), name="hello")
        request = RunRequest(task=task, source=Source(path="hello.yaml", digest=wire.digest(task, "hello.yaml")))
        await client.create_schedule(
            wire.schedule_id("hello"),
            Schedule(
                action=ScheduleActionStartWorkflow(wire.RUN_TASK, request, id="hello", task_queue="nobody"),
                spec=ScheduleSpec(),
                state=ScheduleState(paused=True),
            ),
        )
        key = with_a_key("admin", open_runs=100_000, requests=100_000)
        for what, config, token, path, body, schedule in (
            ("a goal", "", "", "/v1/runs", _GOAL, ""),
            ("a goal, with a key", key, KEY, "/v1/runs", _OF_A_KEY, ""),
            ("a task by its name", "", "", "/v1/tasks/hello/runs", b"{}", wire.schedule_id("hello")),
        ):
            with gateway(client, folder, config, GOALFILE_QUEUE="nobody") as url:
                line = Line(url, token)

                async def ours(line: Line = line, path: str = path, body: bytes = body) -> float:
                    return await _over_http(line, path, body)

                async def theirs(schedule: str = schedule) -> float:
                    return await _bare(client, schedule)

                found.append(Ratio(what, *await in_turn(ours, theirs, 9), target=1.5))
                await line.close()
    return found


def measure() -> list[Ratio]:
    """9 pairs of medians of 40."""
    return asyncio.run(_measure())
