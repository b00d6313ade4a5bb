"""kill -9 in the middle of eight steps: completed steps repeated, against one activity around the loop."""

import asyncio
import json
import time
from collections import Counter
from uuid import uuid4

from runner.runs import start_run
from schemas.run import RunRequest
from schemas.task import Task
from tests.bench.peer import OneBig
from tests.bench.ratio import Count, Ratio
from tests.bench.server import lines, server, worker

STEPS, KILL_AFTER, PAUSE = 8, 5, 0.4
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight"]


async def _measure() -> list[Ratio]:
    async with server() as (client, folder):
        queue = uuid4().hex
        journal = folder / "workspace" / "journal.jsonl"
        goal = " ".join(f"Write {word} to box." for word in NUMBERS)
        words = ("runner", "worker", "--scripted")
        env = {"GOALFILE_QUEUE": queue, "GOALFILE_SCRIPTED_PAUSE": str(PAUSE)}
        with worker(client, folder, *words, **env) as process:
            run = await start_run(client, RunRequest(task=Task(goal=goal, toolkit=("box",), name="t")), queue)
            await lines(journal, KILL_AFTER)
            process.kill()
            killed = time.perf_counter()
        before = len(journal.read_text().splitlines())
        with worker(client, folder, *words, **env):
            await lines(journal, before + 1)
            ours_next = time.perf_counter() - killed
            await client.get_workflow_handle(run).result()
        done = Counter(json.loads(line)["effect_id"] for line in journal.read_text().splitlines())
        ours = sum(count - 1 for count in done.values())

        big = folder / "big"
        with worker(client, folder, "tests.bench.peer", queue + "b") as process:
            handle = await client.start_workflow(
                OneBig.run, args=[str(big), STEPS, PAUSE], id=queue, task_queue=queue + "b"
            )
            await lines(big, KILL_AFTER)
            process.kill()
            killed = time.perf_counter()
        before = len(big.read_text().splitlines())
        with worker(client, folder, "tests.bench.peer", queue + "b"):
            await lines(big, before + 1)
            theirs_next = time.perf_counter() - killed
            await handle.result()
        theirs = sum(count - 1 for count in Counter(big.read_text().splitlines()).values())
        return [
            Count("completed steps repeated", (ours,), (theirs,), target=0, unit="steps"),
            Ratio("kill to next step", (ours_next,), (theirs_next,), target=None),
        ]


def measure() -> list[Ratio]:
    """Both sides lose a worker process after five of eight steps."""
    return asyncio.run(_measure())
