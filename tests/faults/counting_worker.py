"""A worker as a process of its own, on the counting vendor: `python -m tests.faults.counting_worker`.

Its model thinks nothing: the goal is a JSON list of what to write, one write a turn, and the last word
is the list of what it was told about each. It decides by the question alone, so that any worker may go
on where another was killed.

Environment: TEMPORAL_ADDRESS, GOALFILE_QUEUE and GOALFILE_GRACE as every worker has them; VENDOR, DEADLINE,
LAG, FAULT_AT and FAULT_FLAG for its tools (also `after_completion`: the result is kept, and the model is asked
next); WORDING puts other words into every write; PONDER is how many seconds a turn takes.
"""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from runner.activities import Activities
from runner.ports import Question, Reply
from runner.settings import read_settings
from runner.switch import Switch
from runner.worker import serve
from schemas.leaving import leave
from schemas.run import Usage
from tests.standins.counting_tools import ADD, CountingTools

NOT_MADE = "Not carried out, provably"
"""How a result begins after which the same write is made again, as a sensible model would."""


class Writer:
    """A `Model` that makes the writes of its goal in order, and reports what it was told."""

    def __init__(self, tools: CountingTools, wording: str, ponder: float) -> None:
        self._tools = tools
        self._wording = wording
        self._ponder = ponder

    async def ask(self, question: Question) -> Reply:
        """The next write, or the report."""
        await asyncio.sleep(self._ponder)
        told = [b["content"] for m in question.messages for b in m.content if b.get("type") == "tool_result"]
        if told:
            self._tools.die_at("after_completion")
        goal: str = question.messages[0].content[0]["text"]
        writes: list[dict[str, Any]] = json.loads(goal.partition("\n\n(It is ")[0])
        index = sum(not str(each).startswith(NOT_MADE) for each in told)
        usage = Usage(input_tokens=5, output_tokens=5)
        if index >= len(writes) or not question.may_call:
            return Reply(({"type": "text", "text": json.dumps(told)},), "end_turn", usage)
        wanted = {**writes[index], **({"wording": self._wording} if self._wording else {})}
        block = {"type": "tool_use", "id": f"toolu_{len(told)}", "name": ADD, "input": wanted}
        return Reply((block,), "tool_use", usage)


async def work(env: Mapping[str, str]) -> None:
    """Work until SIGTERM."""
    settings = read_settings(env)
    client = await Client.connect(settings.temporal["TEMPORAL_ADDRESS"], data_converter=pydantic_data_converter)
    flag = Path(env["FAULT_FLAG"]) if "FAULT_FLAG" in env else None
    deadline = float(env.get("DEADLINE", "60"))
    lag = float(env.get("LAG", "0"))
    tools = CountingTools(env["VENDOR"], deadline=deadline, lag=lag, fault=env.get("FAULT_AT", ""), flag=flag)
    model = Writer(tools, env.get("WORDING", ""), float(env.get("PONDER", "0")))
    await serve(client, settings, Activities(model, tools, switch=Switch(client)))


if __name__ == "__main__":
    leave(lambda: asyncio.run(work(os.environ)))
