"""The model answers with errors for a while, through the real adapter. P1 and P15 of the promises.

Nobody but Temporal tries again, so what goes upstream is counted: a run asks at once, then after 1, 2, 4, 8
seconds and so on. A storm of S seconds costs a run at most log2(S + 1) + 1 failed questions, and one more.
"""

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from temporalio.client import Client

from runner.activities import Activities
from runner.adapters.anthropic import AnthropicModel
from runner.opening import Terms
from runner.worker import make_worker
from schemas.prices import Price
from schemas.run import RunResult, Usage
from schemas.task import Limits, Task
from tests.faults.crew import ends
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.loopback import Answer, Drop, Fail, Request
from tests.temporal.doubles import Box, begin

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

RUNS = 10


class Stormy(AnthropicApi):
    """A model behind a door: `closed` says what is answered instead, by what was asked so far of the same run."""

    def __init__(self, closed: Callable[[list[float]], Fail | None], **more: Any) -> None:
        super().__init__(**more)
        self._closed = closed
        self.asked: dict[str, list[float]] = {}
        """When each run asked, by its goal."""

    def gate(self, request: Request) -> Fail | None:
        goal = request.body["messages"][0]["content"][0]["text"].partition("\n")[0]
        times = self.asked.setdefault(goal, [])
        times.append(time.monotonic())
        return super().gate(request) or self._closed(times)


@asynccontextmanager
async def working(client: Client, queue: str, api: AnthropicApi, box: Box, **terms: Any) -> AsyncGenerator[None]:
    """A worker on the real adapter."""
    model = AnthropicModel(api.key, api.url, "some-model")
    activities = Activities(model, box, terms=Terms(**terms))
    try:
        async with make_worker(client, activities, queue=queue, grace=timedelta(seconds=5)):
            yield
    finally:
        await model.close()


async def run_all(client: Client, queue: str, count: int = RUNS, **more: Any) -> list[RunResult]:
    """So many runs side by side, each with a goal of its own."""
    tasks = [Task(goal=f"Goal {number}.", name=f"t-{queue}", **more) for number in range(count)]
    handles = [await begin(client, queue, task) for task in tasks]
    return await asyncio.gather(*(ends(handle) for handle in handles))


@pytest.mark.parametrize("status", [429, 529])
async def test_every_run_outlives_a_storm_of_errors_with_few_questions(
    client: Client, unique: str, status: int
) -> None:
    """P1: nothing but errors for twelve seconds; all runs finish, and the vendor is asked five times a run."""
    seconds = 12
    over = time.monotonic() + seconds
    at_most = math.floor(math.log2(seconds + 1)) + 2
    with Stormy(lambda _: Fail(status) if time.monotonic() < over else None) as api:
        async with working(client, unique, api, Box()):
            results = await run_all(client, unique)
        asked = {goal: len(times) for goal, times in api.asked.items()}
    print(f"\n{status} for {seconds} s: {sum(asked.values())} questions of {RUNS} runs, {max(asked.values())} at most")
    assert Counter(result.status for result in results) == {"succeeded": RUNS}
    assert len(asked) == RUNS
    assert min(asked.values()) > 1
    assert max(asked.values()) <= at_most == 5


async def test_the_wait_that_the_vendor_asks_for_is_kept(client: Client, unique: str) -> None:
    wait = 4
    with Stormy(lambda times: Fail(429, headers={"retry-after": str(wait)}) if len(times) <= 2 else None) as api:
        async with working(client, unique, api, Box()):
            results = await run_all(client, unique, 3)
        gaps = [b - a for times in api.asked.values() for a, b in pairwise(times)]
    assert Counter(result.status for result in results) == {"succeeded": 3}
    assert len(gaps) == 6
    assert min(gaps) >= wait - 0.1  # two clocks: the server's and ours


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
async def test_an_account_that_is_spent_is_asked_once_and_no_more(client: Client, unique: str, code: str) -> None:
    """P15: no other try could mend it, and it says what to do."""
    with Stormy(lambda _: Fail(429, "limit reached", code=code)) as api:
        async with working(client, unique, api, Box()):
            results = await run_all(client, unique, 3, retries=2)
        assert [len(times) for times in api.asked.values()] == [1, 1, 1]
    for result in results:
        assert result.status == "failed"
        assert result.reason.startswith("the spend limit of this account is reached: raise it, or wait")


PRICE = Price(input=3, output=15)
CAP = 0.05


class Billed(AnthropicApi):
    """It never comes to an end, bills every answer, and loses every `nth` on the way."""

    def __init__(self, nth: int, output_tokens: int) -> None:
        super().__init__()
        self._nth = nth
        self._output_tokens = output_tokens
        self.bill: defaultdict[str, float] = defaultdict(float)
        """Dollars for each run, by its goal."""
        self.lost = 0

    def answer(self, request: Request) -> Answer:
        number = len(self.requests)
        length = min(self._output_tokens, request.body["max_tokens"])
        self.script.append(Say([use("WRITE", {"n": number}, f"toolu_{number}")], output_tokens=length))
        answer = super().answer(request)
        assert isinstance(answer, tuple)
        status, _, body = answer
        assert status == 200, body
        said = body["usage"]
        prompt = said["input_tokens"] + said["cache_creation_input_tokens"] + said["cache_read_input_tokens"]
        goal = request.body["messages"][0]["content"][0]["text"].partition("\n")[0]
        self.bill[goal] += PRICE.cost(Usage(input_tokens=prompt, output_tokens=said["output_tokens"]))
        if number % self._nth:
            return answer
        self.lost += 1
        return Drop()


async def spend(client: Client, queue: str, api: Billed, limits: Limits) -> list[RunResult]:
    """Five runs with a cap, whose model would go on for ever."""
    async with working(client, queue, api, Box(), prices={"some-model": PRICE}, model="some-model"):
        results = await run_all(client, queue, 5, toolkit=("box",), limits=limits)
    print(f"\nbilled at most ${max(api.bill.values()):.4f} a run of ${CAP}; {api.lost} answers were lost")
    return results


async def test_the_vendors_bill_stays_below_the_cap_with_lost_answers_in_it(client: Client, unique: str) -> None:
    """P15: every fifth answer is billed and never heard; what a run says it cost is never less than the bill."""
    with Billed(nth=5, output_tokens=300) as api:
        results = await spend(client, unique, api, Limits(cost_usd=CAP, turns=300))
        assert api.lost > 0
    assert {(each.status, each.reason.partition(";")[0]) for each in results} == {("stopped", f"limit reached: ${CAP}")}
    assert len(api.bill) == 5
    assert max(api.bill.values()) <= CAP
    assert sum(api.bill.values()) <= sum(each.cost_usd or 0 for each in results)


async def test_answers_that_are_never_heard_cannot_pass_the_cap(client: Client, unique: str) -> None:
    """P15: every answer is billed in full length and lost, so no more tries are made than the cap pays for."""
    with Billed(nth=1, output_tokens=8192) as api:
        results = await spend(client, unique, api, Limits(cost_usd=CAP, timeout=timedelta(seconds=12)))
    assert {each.status for each in results} == {"stopped"}
    assert max(api.bill.values()) <= CAP
    assert sum(api.bill.values()) <= sum(each.cost_usd or 0 for each in results)
