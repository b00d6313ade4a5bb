"""Record the histories that tests/temporal/test_replay.py replays: `python -m tests.temporal.record_histories`.

Add a history when the workflow learns something new. Never record one again because replay fails:
a failing replay means that runs in flight would break on the next deploy.
"""

import asyncio
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from runner.devserver import find_binary
from runner.people import decide, decision_on, open_questions
from runner.ports import PermanentError, TransientError
from runner.server import register_search_attributes
from schemas.task import Limits, Task
from tests.temporal.doubles import Box, Thinker, begin, says, wants, working

HISTORIES = Path(__file__).parent / "histories"


def task(**limits: object) -> Task:
    return Task(goal="Do it, {{ run.id }}.", toolkit=("box",), name="recorded", limits=Limits.model_validate(limits))


STORIES = {
    "an-answer-at-once": (task(), Thinker(says("Done.")), Box()),
    "reads-side-by-side-then-a-write": (task(), Thinker(wants("READ", "IDEMPOTENT", "WRITE"), says("Done.")), Box()),
    "a-refused-and-an-unknown-write": (
        task(),
        Thinker(wants("WRITE"), wants("WRITE", "DESTRUCTIVE", prefix="d"), says("Unknown.")),
        Box(TransientError("the connection broke")),
    ),
    "a-retried-turn-and-read": (
        task(),
        Thinker(TransientError("overloaded", retry_after=0.1), wants("READ"), says("Done.")),
        Box(TransientError("flaky", retry_after=0.1)),
    ),
    "a-bad-key": (task(), Thinker(PermanentError("the key is not valid")), Box()),
    "the-turn-limit": (task(turns=1), Thinker(wants("READ"), says("So far.")), Box()),
    "the-time-limit": (
        task(timeout=timedelta(seconds=1)),
        Thinker(*(TransientError("overloaded", retry_after=0.4) for _ in range(9))),
        Box(),
    ),
    "cancelled-during-a-write": (task(), Thinker(wants("WRITE")), Box()),
    # From here on writes are workflows of their own, and people can be asked.
    "a-write-in-the-ledger": (task(), Thinker(wants("READ", "WRITE"), says("Done.")), Box()),
    "an-approved-call": (task(), Thinker(wants("READ", "DESTRUCTIVE"), says("Done.")), Box()),
    "a-lost-write-in-the-ledger": (
        task(),
        Thinker(wants("WRITE"), wants("WRITE", prefix="d"), says("Unknown.")),
        Box(TransientError("the connection broke")),
    ),
    "an-output-that-is-repaired": (
        task().model_copy(update={"output": {"type": "object"}}),
        Thinker(says("no JSON"), says("{}")),
        Box(),
    ),
    "cancelled-during-a-write-in-the-ledger": (task(), Thinker(wants("WRITE")), Box()),
}


async def record(client: Client, name: str) -> None:
    request, model, box = STORIES[name]
    async with working(client, name, model, box):
        if name.startswith("cancelled"):
            box.leave.clear()
        handle = await begin(client, name, request)
        if name.startswith("cancelled"):
            await box.entered.wait()
            await handle.cancel()
            box.leave.set()
        if name.startswith("an-approved"):
            while not (asked := await open_questions(client, "recorded")):
                await asyncio.sleep(0.1)
            decision = decision_on(asked[0], approve=True, by="ada", note="", now=datetime.now(UTC))
            await decide(client, asked[0], decision, within=10)
        await handle.result()
    said = anonymous(json.loads((await handle.fetch_history()).to_json()))
    (HISTORIES / f"{name}.json").write_text(json.dumps(said, indent=1) + "\n")


def anonymous(said: Any) -> Any:
    """The history without what names the machine that recorded it: process, host, paths."""
    if isinstance(said, dict):
        return {key: "" if key == "stackTrace" else anonymous(value) for key, value in said.items()}
    if isinstance(said, list):
        return [anonymous(item) for item in said]
    return "recorder" if isinstance(said, str) and re.match(r"\d+@", said) else said


async def main(names: list[str]) -> None:
    server = await WorkflowEnvironment.start_local(
        dev_server_existing_path=find_binary(), data_converter=pydantic_data_converter
    )
    async with server:
        await register_search_attributes(server.client)
        for name in names or STORIES:
            if names or not (HISTORIES / f"{name}.json").exists():
                await record(server.client, name)
                print(f"recorded {name}")
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
