"""Bytes of history for fifty turns with results of 20 kB, over the bytes of the transcript itself.

History is the only store of a conversation, so each message should stand in it once. The transcript is what
the model is shown at last, as JSON: rules, tools, all messages, and its last answer. A history that hands
each turn the whole conversation grows with the square of the turns; flat means that the last ten turns of it
are no larger than the first ten.

Reads stand in the run's own history. A write's result stands in the history of its own workflow as well:
what the ledger costs in bytes is printed, over the same transcript, without a target.
"""

import asyncio
import json
import random
import string
from collections.abc import Sequence
from uuid import uuid4

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from runner.ports import Question, Reply
from runner.runs import start_run
from runner.transcript import ASK_MODEL
from schemas.run import RunRequest, RunResult, Usage
from schemas.task import Limits, Task
from schemas.wire import EFFECT
from tests.bench.ratio import Ratio
from tests.bench.server import server
from tests.temporal.doubles import Box, Thinker, says, working

TURNS = 50
RESULT = 20_000
SAID = "I look at the next one, compare it with what I know, and note what has changed since. " * 5


def _turn(number: int, tool: str) -> Reply:
    use = {"type": "tool_use", "id": f"toolu_{number:024}", "name": tool, "input": {"page": number, "of": "the list"}}
    return Reply(({"type": "text", "text": SAID}, use), "tool_use", Usage(input_tokens=9, output_tokens=9), "a-model")


async def _histories(client: Client, run: str) -> tuple[list[HistoryEvent], int]:
    """The run's own events, and the bytes of the workflows that its writes are."""
    own = [event async for event in client.get_workflow_handle(run).fetch_history_events()]
    begun = [event.child_workflow_execution_started_event_attributes for event in own]
    writes = [each.workflow_execution.workflow_id for each in begun if each.workflow_type.name == EFFECT]
    theirs = 0
    for write in writes:
        theirs += sum([event.ByteSize() async for event in client.get_workflow_handle(write).fetch_history_events()])
    return own, theirs


async def _run(client: Client, tool: str) -> tuple[list[HistoryEvent], int, Question]:
    letters = random.Random(7)  # noqa: S311 - the same letters in every run
    results = ["".join(letters.choices(string.ascii_letters + " ", k=RESULT)) for _ in range(TURNS - 1)]
    model, box, queue = Thinker(*(_turn(n, tool) for n in range(TURNS - 1)), says("Done.")), Box(*results), uuid4().hex
    async with working(client, queue, model, box):
        task = Task(goal="Go through all pages.", toolkit=("box",), name="t", limits=Limits(turns=TURNS + 1))
        run = await start_run(client, RunRequest(task=task), queue)
        result = await client.get_workflow_handle(run, result_type=RunResult).result()
    assert result.status == "succeeded", result.reason
    assert box.finished == TURNS - 1
    return *await _histories(client, run), model.questions[-1]


def _transcript(last: Question) -> int:
    tools = [[tool.name, tool.description, tool.input_schema] for tool in last.tools]
    messages = [{"role": m.role, "content": m.content} for m in last.messages]
    said = json.dumps([last.system, tools, messages, "Done."], separators=(",", ":"), ensure_ascii=False)
    return len(said.encode())


def _each_turn(events: Sequence[HistoryEvent]) -> list[int]:
    """Bytes of each turn: from its question to the next one."""
    turns: list[int] = []
    for event in events:
        if event.activity_task_scheduled_event_attributes.activity_type.name == ASK_MODEL:
            turns.append(0)
        if turns:
            turns[-1] += event.ByteSize()
    return turns


async def _measure() -> list[Ratio]:
    async with server() as (client, _):
        events, _, last = await _run(client, "READ")
        writing, aside, last_of_writes = await _run(client, "WRITE")
    # The very last turn calls nothing and ends the run: it is no turn like the others.
    turns = [size / 1000 for size in _each_turn(events)[:-1]]
    whole, beside = sum(event.ByteSize() for event in events), sum(event.ByteSize() for event in writing) + aside
    return [
        Ratio("history, reads", (whole / 1000,), (_transcript(last) / 1000,), target=1.5, unit="kB"),
        Ratio("a turn, last ten over first ten", tuple(turns[-10:]), tuple(turns[:10]), target=1.1, unit="kB"),
        Ratio("histories, writes", (beside / 1000,), (_transcript(last_of_writes) / 1000,), target=None, unit="kB"),
    ]


def measure() -> list[Ratio]:
    """Counted, not timed: one run of each kind."""
    return asyncio.run(_measure())
