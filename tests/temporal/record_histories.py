"""Record the histories that tests/temporal/test_replay.py replays: `python -m tests.temporal.record_histories`.

Add a history when the workflow learns something new. Never record one again because replay fails:
a failing replay means that runs in flight would break on the next deploy.
"""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

from runner.activities import Activities
from runner.adapters.notify import Outbox
from runner.devserver import find_binary
from runner.opening import Terms
from runner.people import decide, decision_on, open_questions, recheck
from runner.ports import Missing, PermanentError, Reply, TransientError
from runner.server import register_search_attributes
from runner.worker import make_worker
from schemas.run import RunResult, Usage
from schemas.task import Limits, Notify, Task
from tests.temporal.doubles import Box, Thinker, begin, calls, says, waits, wants
from tests.temporal.test_set_back import set_back

HISTORIES = Path(__file__).parent / "histories"


def task(**limits: object) -> Task:
    return Task(goal="Do it, {{ run.id }}.", toolkit=("box",), name="recorded", limits=Limits.model_validate(limits))


Handle = WorkflowHandle[Any, RunResult]


@dataclass(frozen=True)
class Story:
    """One run to record: what it is given, and what else happens to it `meanwhile`; of a set of runs the last."""

    task: Task
    model: Thinker
    box: Box
    terms: Terms = field(default_factory=lambda: Terms(model="m"))
    meanwhile: Callable[[Client, Handle, "Story"], Awaitable[Handle]] | None = None
    """Returns the run that is recorded: another one than the first if that was reset."""


async def cancelled(_: Client, handle: Handle, story: Story) -> Handle:
    await story.box.entered.wait()
    await handle.cancel()
    story.box.leave.set()
    return handle


async def approved(client: Client, handle: Handle, _: Story) -> Handle:
    while not (asked := await open_questions(client, "recorded")):
        await asyncio.sleep(0.1)
    for each in asked:
        decision = decision_on(each, approve=True, by="ada", note="", now=datetime.now(UTC))
        await decide(client, each, decision, within=10)
    return handle


async def connected(client: Client, handle: Handle, story: Story) -> Handle:
    await waits(client, handle.id)
    story.box.unconnected = ()
    await recheck(client, handle.id)
    return handle


async def reset(client: Client, handle: Handle, _: Story) -> Handle:
    await handle.result()
    return await set_back(client, handle)


def closed(*outcomes: str | Exception) -> Box:
    """A toolkit whose calls do not end before somebody lets them."""
    box = Box(*outcomes)
    box.leave.clear()
    return box


def unconnected() -> Box:
    """A toolkit that nobody has connected yet."""
    box = Box()
    box.unconnected = (Missing("box"),)
    return box


def grown(reply: Reply) -> Reply:
    """A reply after which the conversation is longer than `sum_up_at` below."""
    return replace(reply, usage=Usage(input_tokens=2000, output_tokens=10))


NOTE = Reply(({"type": "tool_use", "id": "n", "name": "KEEP_NOTE", "input": {"text": "seen 17"}},), "tool_use", Usage())

STORIES = {
    "an-answer-at-once": Story(task(), Thinker(says("Done.")), Box()),
    "reads-side-by-side-then-a-write": Story(
        task(), Thinker(wants("READ", "IDEMPOTENT", "WRITE"), says("Done.")), Box()
    ),
    "a-refused-and-an-unknown-write": Story(
        task(),
        Thinker(wants("WRITE"), wants("WRITE", "DESTRUCTIVE", prefix="d"), says("Unknown.")),
        Box(TransientError("the connection broke")),
    ),
    "a-retried-turn-and-read": Story(
        task(),
        Thinker(TransientError("overloaded", retry_after=0.1), wants("READ"), says("Done.")),
        Box(TransientError("flaky", retry_after=0.1)),
    ),
    "a-bad-key": Story(task(), Thinker(PermanentError("the key is not valid")), Box()),
    "the-turn-limit": Story(task(turns=1), Thinker(wants("READ"), says("So far.")), Box()),
    "the-time-limit": Story(
        task(timeout=timedelta(seconds=1)),
        Thinker(*(TransientError("overloaded", retry_after=0.4) for _ in range(9))),
        Box(),
    ),
    "cancelled-during-a-write": Story(task(), Thinker(wants("WRITE")), closed(), meanwhile=cancelled),
    # From here on writes are workflows of their own, and people can be asked.
    "a-write-in-the-ledger": Story(task(), Thinker(wants("READ", "WRITE"), says("Done.")), Box()),
    "an-approved-call": Story(task(), Thinker(wants("READ", "DESTRUCTIVE"), says("Done.")), Box(), meanwhile=approved),
    "a-lost-write-in-the-ledger": Story(
        task(),
        Thinker(wants("WRITE"), wants("WRITE", prefix="d"), says("Unknown.")),
        Box(TransientError("the connection broke")),
    ),
    "an-output-that-is-repaired": Story(
        task().model_copy(update={"output": {"type": "object"}}), Thinker(says("no JSON"), says("{}")), Box()
    ),
    "cancelled-during-a-write-in-the-ledger": Story(task(), Thinker(wants("WRITE")), closed(), meanwhile=cancelled),
    # From here on a run remembers, sums itself up, and knows when it was set back.
    "a-connection-that-was-waited-for": Story(task(), Thinker(says("Done.")), unconnected(), meanwhile=connected),
    "a-note-for-the-next-run": Story(
        task().model_copy(update={"memory": "notes"}), Thinker(NOTE, says("Noted.")), Box()
    ),
    "summed-up": Story(
        task(),
        Thinker(wants("WRITE"), grown(wants("READ", prefix="d")), says("I sent one."), says("Done.")),
        Box(),
        Terms(model="m", sum_up_at=1000),
    ),
    "set-back-before-a-write": Story(
        task(),
        Thinker(wants("WRITE"), says("Sent."), calls("WRITE", other="words"), says("It was sent.")),
        Box(),
        meanwhile=reset,
    ),
    "two-calls-approved-one-by-one": Story(
        task(), Thinker(wants("DESTRUCTIVE", "DESTRUCTIVE"), says("Done.")), Box(), meanwhile=approved
    ),
    # From here on the workflows that a run starts are recorded as well: a write's, and a notice's.
    "told-of-a-lost-write": Story(
        task().model_copy(update={"notify": (Notify(to="ops"),)}),
        Thinker(wants("WRITE", "WRITE"), says("One of them, perhaps.")),
        Box(TransientError("the connection broke")),
    ),
}


async def record(client: Client, name: str) -> None:
    story = STORIES[name]
    activities = Activities(story.model, story.box, notifier=Outbox(["ops"]), terms=story.terms)
    async with make_worker(client, activities, queue=name, grace=timedelta(seconds=5)):
        handle = await begin(client, name, story.task)
        if story.meanwhile:
            handle = await story.meanwhile(client, handle, story)
        await handle.result()
        described = await client.get_workflow_handle(handle.id).describe()
        await keep(client, name, handle.id, described.run_id)
        if name == "summed-up":
            await keep(client, f"{name}-first-chapter", handle.id, described.raw_info.first_run_id)
        if name.startswith("told"):
            started = [e.child_workflow_execution_started_event_attributes async for e in handle.fetch_history_events()]
            for number, child in enumerate(each for each in started if each.workflow_execution.workflow_id):
                await client.get_workflow_handle(child.workflow_execution.workflow_id).result()
                kind = f"{name}-{number}-{child.workflow_type.name}"
                await keep(client, kind, child.workflow_execution.workflow_id, child.workflow_execution.run_id)


async def keep(client: Client, name: str, workflow_id: str, run_id: str | None) -> None:
    history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
    said = anonymous(json.loads(history.to_json()))
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
