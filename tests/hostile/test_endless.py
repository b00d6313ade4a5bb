"""A model that never ends is ended: by turns, tokens, dollars or time, and with a report."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from runner.activities import Activities
from runner.adapters.anthropic import AnthropicModel
from runner.opening import Terms
from runner.ports import Question, Reply, ToolCall, ToolResult, TransientError
from runner.runs import start_run
from runner.worker import make_worker
from schemas.prices import Price
from schemas.run import RunRequest, RunResult, Usage
from schemas.task import Limits, Task
from tests.e2e.house import House
from tests.hostile.endless import MODEL, PRICE, REPORT, EndlessApi
from tests.hostile.mailbox import LOOK, Mailbox
from tests.standins.composio_api import Act, ComposioApi
from tests.standins.obedient_model import Obedient
from tests.temporal.doubles import Thinker, says

pytestmark = pytest.mark.temporal

TERMS = Terms(model=MODEL, prices={MODEL: PRICE})


class Slow(Mailbox):
    """A mailbox in which a look takes a moment."""

    async def call(self, call: ToolCall) -> ToolResult:
        await asyncio.sleep(0.2)  # a part of the run's time, which is what is limited
        return await super().call(call)


@asynccontextmanager
async def at_work(client: Client, queue: str, api: EndlessApi, box: Mailbox) -> AsyncIterator[None]:
    model = AnthropicModel(api.key, api.url, MODEL)
    async with make_worker(client, Activities(model, box, terms=TERMS), queue=queue, grace=timedelta(seconds=5)):
        yield
    await model.close()


async def run_it(client: Client, queue: str, number: int = 0, **limits: Any) -> RunResult:
    task = Task(
        goal=f"Look at number {number}.",
        name=f"{queue}-{number}",
        toolkit=("mail",),
        run_as="me",
        limits=Limits.model_validate({"turns": 500, **limits}),
    )
    run = await start_run(client, RunRequest(task=task, trigger="cli"), queue)
    return await client.get_workflow_handle(run, result_type=RunResult).result()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"turns": 4}, "limit reached: 4 turns"),
        ({"tokens": 40_000}, "limit reached: 40,000 tokens"),
        ({"cost_usd": 0.6}, "limit reached: $0.6"),
        ({"timeout": timedelta(seconds=3)}, "limit reached: 3s"),
    ],
    ids=["turns", "tokens", "dollars", "time"],
)
async def test_every_limit_ends_it_with_a_report(
    client: Client, unique: str, limits: dict[str, Any], reason: str
) -> None:
    box = Slow({"me": "more " * 200})
    with EndlessApi() as api:
        async with at_work(client, unique, api, box):
            result = await run_it(client, unique, **limits)
    assert (result.status, result.reason, result.summary) == ("stopped", reason, REPORT)
    assert {call.tool for call in box.calls} == {LOOK}
    assert len({str(call.arguments) for call in box.calls}) == len(box.calls) >= 2


class LongWinded(Obedient):
    """Takes its time over each answer."""

    async def ask(self, question: Question) -> Reply:
        await asyncio.sleep(1.3)
        if not question.may_call:
            return says(REPORT)
        use = {"type": "tool_use", "id": f"c{len(self.questions)}", "name": LOOK, "input": {"n": len(self.questions)}}
        self.questions.append(question)
        return Reply((use,), "tool_use", Usage(output_tokens=10))


async def test_time_that_is_up_while_the_model_thinks_does_not_cost_the_report(client: Client, unique: str) -> None:
    model, box = LongWinded(), Mailbox({"me": "more"})
    async with make_worker(client, Activities(model, box, terms=TERMS), queue=unique, grace=timedelta(seconds=1)):
        result = await run_it(client, unique, timeout=timedelta(seconds=2))
    assert (result.status, result.summary) == ("stopped", REPORT), result.reason
    assert result.reason == "limit reached: 2s"


@pytest.mark.slow
async def test_fifty_endless_runs_at_once_spend_what_they_may_and_all_report(
    client: Client, temporal_address: str, unique: str
) -> None:
    cap, workers = 0.8, 2
    another = await Client.connect(temporal_address, data_converter=pydantic_data_converter)
    box = Mailbox({"me": "more " * 300})
    with EndlessApi() as api:
        async with at_work(client, unique, api, box), at_work(another, unique, api, box):
            results = await asyncio.gather(*(run_it(client, unique, i, cost_usd=cap) for i in range(50)))
    assert {(result.status, result.reason, result.summary) for result in results} == {
        ("stopped", f"limit reached: ${cap:g}", REPORT)
    }
    spent = {goal: sum(each) for goal, each in api.billed.items()}
    assert len(spent) == 50
    assert max(spent.values()) <= cap + api.dearest
    assert sum(spent.values()) <= 50 * cap + workers * api.dearest
    assert min(spent.values()) > cap / 2, "it was stopped long before its money was spent"
    assert sum(result.cost_usd or 0 for result in results) == pytest.approx(sum(spent.values()), rel=1e-4)


@pytest.mark.parametrize(
    ("tries", "lost"),
    [
        ([TransientError("overloaded", sent=False)] * 2, 0),
        ([TransientError("the connection was lost")] * 2, 2),
        ([TransientError("the connection was lost"), TransientError("overloaded", sent=False)], 1),
    ],
    ids=["never billed", "billed and lost", "one of each"],
)
async def test_a_lost_try_is_charged_if_it_may_be_billed(
    client: Client, unique: str, tries: list[TransientError], lost: int
) -> None:
    heard = Reply(says("Done.").content, "end_turn", Usage(input_tokens=1000, output_tokens=100))
    price = Price(input=0, output=10)
    terms = Terms(model=MODEL, prices={MODEL: price})
    model, box = Thinker(*tries, heard), Mailbox({"me": ""})
    async with make_worker(client, Activities(model, box, terms=terms), queue=unique, grace=timedelta(seconds=1)):
        result = await run_it(client, unique, cost_usd=5)
    assert result.status == "succeeded"
    asked = model.questions[-1].max_tokens
    assert result.cost_usd == pytest.approx(price.cost(Usage(output_tokens=100 + lost * asked)))


CONFIG = f"""
model:
  default: {MODEL}
  prices:
    {MODEL}: {{input: 3, output: 15, cache_read: 0.3, cache_write: 3.75, source: "the stand-in's"}}
"""
TASK = """
goal: Look at everything.
toolkit: mail
limits: {turns: 500, cost_usd: 0.8}
"""


@pytest.mark.slow
def test_a_question_that_a_killed_worker_asked_is_charged(tmp_path: Path) -> None:
    query = {"type": "object", "properties": {"query": {"type": "string"}}}
    look = Act("MAIL_LOOK", "mail", lambda api, arguments: {"mail": "more " * 200}, ("readOnlyHint",), query)
    (tmp_path / "goalfile.config.yaml").write_text(CONFIG)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "look.yaml").write_text(TASK)
    with EndlessApi(hang_at=3) as api, ComposioApi([look]) as composio:
        keys = {"ANTHROPIC_API_KEY": api.key, "ANTHROPIC_BASE_URL": api.url}
        keys |= {"COMPOSIO_API_KEY": composio.key, "COMPOSIO_BASE_URL": composio.url}
        house = House(tmp_path, env=keys).up()
        try:
            run = house.goalfile("run", "look").stdout.strip()
            until = time.monotonic() + 60
            while not api.hung:
                assert time.monotonic() < until
                time.sleep(0.05)  # another process: nothing to wait on but its questions
            os.kill(house.worker(), signal.SIGKILL)
            house.goalfile("logs", "-f", run)
            page = house.addresses()["gateway"]
            said = httpx.get(f"{page}/v1/runs/{run}").json()
        finally:
            house.stop()
    heard, lost = sum(sum(each) for each in api.billed.values()), sum(api.hung)
    assert lost > 0.1
    assert (said["status"], said["reason"], said["summary"]) == ("stopped", "limit reached: $0.8", REPORT)
    charged = said["cost_usd"]
    assert charged >= heard + lost * 0.9, "what was lost was not charged"
    assert heard + lost <= 0.8 + api.dearest
