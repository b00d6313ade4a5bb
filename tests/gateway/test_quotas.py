"""Shares: nobody gets more than theirs, whatever they do, and nobody's is touched by another's flood."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import combinations
from math import inf

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.principals import LOCAL, Principal
from gateway.problems import TooMuch
from gateway.quotas import FRESH, LAG, REMEMBERED, Bucket, LongAnswers, OpenRuns, Requests, taken
from schemas.access import Shares

ADA, BOB = Principal("ada", "by-ada"), Principal("bob", "by-bob")
PAUSES = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 30)), max_size=120)
RATES = st.floats(1 / 60, 100)


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


# -- requests


@given(PAUSES, RATES, st.integers(1, 20))
def test_in_no_stretch_of_time_does_one_get_more_than_the_burst_and_what_came_since(
    pauses: list[float], rate: float, burst: int
) -> None:
    bucket, now, let_in = None, 0.0, list[float]()
    for pause in pauses:
        now += pause
        bucket, wait = taken(bucket, now, rate, burst)
        if not wait:
            let_in.append(now)
    for first, last in combinations(range(len(let_in)), 2):
        assert last - first + 1 <= burst + rate * (let_in[last] - let_in[first]) + 1e-6


@given(PAUSES, RATES, st.integers(1, 20))
def test_whoever_waits_as_told_is_let_in(pauses: list[float], rate: float, burst: int) -> None:
    bucket, now = None, 0.0
    for pause in pauses:
        now += pause
        bucket, wait = taken(bucket, now, rate, burst)
        assert wait == 0 or 0 < wait <= 1 / rate + 1e-6
        if wait:
            now += wait
            bucket, wait = taken(bucket, now, rate, burst)
            assert wait == 0


@given(st.floats(0, 10), st.floats(0, 10))
def test_a_clock_that_goes_back_gives_nothing_away(at: float, now: float) -> None:
    bucket, _ = taken(Bucket(0.5, at), now, 1, 10)
    assert bucket.at >= at
    assert bucket.left <= 0.5 + max(0.0, now - at)


async def nothing() -> Message:
    return {"type": "http.request"}


async def unheard(message: Message) -> None:
    """Nobody listens."""


@dataclass
class Served:
    """An app that says who asks, as the door would, and a caller of it; counts what got through."""

    shares: Shares = field(default_factory=lambda: Shares(requests=600))
    clock: Clock = field(default_factory=Clock)
    got_through: list[str] = field(default_factory=list[str])
    who: Principal | None = ADA

    def __post_init__(self) -> None:
        async def route(scope: Scope, receive: Receive, send: Send) -> None:
            self.got_through.append(self.who.name if self.who else "")
            await PlainTextResponse("ok")(scope, receive, send)

        self.requests = Requests(route, self.shares, self.clock)

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            if self.who:
                scope["state"] = {"principal": self.who}
            await self.requests(scope, receive, send)

        self.app: ASGIApp = door

    async def ask(self, who: Principal | None = ADA) -> httpx.Response:
        self.who = who
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost") as http:
            return await http.get("/v1/runs")


async def test_more_than_the_burst_is_429_and_says_when_to_come_back() -> None:
    served = Served()
    for _ in range(100):
        assert (await served.ask()).status_code == 200
    refused = await served.ask()
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit-policy"] == '"requests";q=100;w=10'
    assert refused.headers["ratelimit"] == '"requests";r=0;t=1'
    assert refused.json()["type"].endswith("too-much")
    assert len(served.got_through) == 100
    served.clock.now += 1
    assert (await served.ask()).status_code == 200


@settings(max_examples=30)
@given(st.integers(1, 100_000))
def test_every_share_is_told_in_whole_numbers_that_agree(requests: int) -> None:
    async def exhaust() -> None:
        served = Served(Shares(requests=requests))
        policy = f'"requests";q={max(10, requests // 6)};w='
        answers = [await served.ask() for _ in range(12)]
        for answer in answers:
            said = dict(part.split("=") for part in answer.headers["ratelimit"].split(";")[1:])
            assert answer.headers["ratelimit-policy"].startswith(policy)
            assert int(answer.headers["ratelimit-policy"].removeprefix(policy)) >= 1
            assert int(said["t"]) >= 1
            if answer.status_code == 429:
                assert said["r"] == "0"
                assert int(answer.headers["retry-after"]) >= int(said["t"])
                served.clock.now += int(answer.headers["retry-after"])
                assert (await served.ask()).status_code == 200

    asyncio.run(exhaust())


async def test_an_answer_says_what_is_left_before_it_is_too_late() -> None:
    served = Served()
    said = [(await served.ask()).headers["ratelimit"] for _ in range(3)]
    assert [each.partition("r=")[2].partition(";")[0] for each in said] == ["99", "98", "97"]


async def test_ones_flood_leaves_anothers_share_whole() -> None:
    served = Served()
    flood = [(await served.ask(ADA)).status_code for _ in range(300)]
    assert flood.count(200) == 100
    quiet = await served.ask(BOB)
    assert quiet.status_code == 200
    assert quiet.headers["ratelimit"].startswith('"requests";r=99;')


@pytest.mark.parametrize("who", [LOCAL, None], ids=["without authentication", "a health check"])
async def test_whoever_is_nobody_in_particular_is_not_counted(who: Principal | None) -> None:
    served = Served(Shares(requests=1))
    answers = [await served.ask(who) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[-1].headers


async def test_a_crowd_does_not_fill_the_memory_and_whoever_was_idle_is_forgotten() -> None:
    served = Served()
    for number in range(REMEMBERED + 200):
        await served.requests(
            {"type": "http", "state": {"principal": Principal("", f"by-{number}")}, "path": "/"}, nothing, unheard
        )
    assert len(served.requests._buckets) == REMEMBERED
    served.clock.now += 11  # by now each bucket is full
    await served.ask(BOB)
    assert list(served.requests._buckets) == [BOB.mark]


# -- long answers


def test_answers_that_stay_open_are_counted_until_they_end() -> None:
    answers = LongAnswers(2)
    with ExitStack() as open_ones:
        open_ones.enter_context(answers.held(ADA))
        open_ones.enter_context(answers.held(ADA))
        with pytest.raises(TooMuch) as refused, answers.held(ADA):
            pass
        assert int(refused.value.head()["Retry-After"]) >= 1
        with answers.held(BOB):
            pass
    with answers.held(ADA), answers.held(ADA):
        pass
    assert not answers._open


def test_an_answer_that_breaks_gives_its_place_back() -> None:
    answers = LongAnswers(1)
    for _ in range(3):
        with pytest.raises(ConnectionError), answers.held(ADA):
            raise ConnectionError
    assert not answers._open


def test_whoever_sits_at_this_machine_may_keep_as_many_as_they_like() -> None:
    answers = LongAnswers(1)
    with ExitStack() as open_ones:
        for _ in range(50):
            open_ones.enter_context(answers.held(LOCAL))


# -- open runs


@dataclass
class Temporal:
    """Counts runs as its lists do: each is in them only some time after it began, and a count takes its time."""

    clock: Clock
    runs: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """When each is seen, and when it ends."""
    asked: int = 0
    gate: asyncio.Event | None = None
    broken: bool = False

    async def count(self, mark: str) -> int:
        self.asked += 1
        now = self.clock()
        if self.gate:
            await self.gate.wait()
        if self.broken:
            raise ConnectionError
        return sum(seen <= now < ends for seen, ends in self.runs)

    def really_open(self) -> int:
        return sum(self.clock() < ends for _, ends in self.runs)


OPEN = (0.0, inf)


async def admitted(open_runs: OpenRuns, who: Principal, count: Callable[[str], Awaitable[int]]) -> bool:
    try:
        await open_runs.admit(who, count)
    except TooMuch:
        return False
    return True


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 9.0, 30.0]),  # until the next is asked for
            st.one_of(st.just(0.0), st.floats(0, LAG)),  # until it is seen
            st.sampled_from([0.0, 0.7, 2.0, 40.0, inf]),  # until it ends
        ),
        max_size=80,
    )
)
def test_never_more_runs_than_the_share_however_late_they_are_seen(asks: list[tuple[float, float, float]]) -> None:
    async def flood() -> None:
        clock = Clock()
        temporal, open_runs = Temporal(clock), OpenRuns(5, clock)
        for pause, unseen_for, lasts in asks:
            clock.now += pause
            if await admitted(open_runs, ADA, temporal.count):
                temporal.runs.append((clock.now + unseen_for, clock.now + lasts))
            assert temporal.really_open() <= 5

    asyncio.run(flood())


async def test_runs_that_are_seen_are_not_counted_twice() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock), OpenRuns(5, clock)
    for _ in range(5):
        assert await admitted(open_runs, ADA, temporal.count)
        temporal.runs.append((clock.now + 0.5, inf))
        clock.now += FRESH
    assert not await admitted(open_runs, ADA, temporal.count)


async def test_many_at_once_wait_for_one_count_and_none_gets_past_it() -> None:
    """As after a restart: nothing is known yet, and all of the share is used."""
    clock = Clock()
    temporal, open_runs = Temporal(clock, [OPEN] * 47, gate=asyncio.Event()), OpenRuns(50, clock)
    asks = [asyncio.create_task(admitted(open_runs, ADA, temporal.count)) for _ in range(200)]
    await asyncio.sleep(0)
    assert temporal.gate
    temporal.gate.set()
    assert sum(await asyncio.gather(*asks)) == 3
    assert temporal.asked == 1


async def test_whoever_hangs_up_while_it_counts_takes_the_count_from_nobody() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock, gate=asyncio.Event()), OpenRuns(50, clock)
    first, second = (asyncio.create_task(admitted(open_runs, ADA, temporal.count)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert temporal.gate
    temporal.gate.set()
    assert await second
    assert temporal.asked == 1


async def test_it_counts_once_a_second_at_most() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock), OpenRuns(1_000, clock)
    for _ in range(100):
        await open_runs.admit(ADA, temporal.count)
        clock.now += FRESH / 10
    assert 10 <= temporal.asked <= 11


async def test_runs_that_ended_make_room_again() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock, [OPEN] * 5), OpenRuns(5, clock)
    assert not await admitted(open_runs, ADA, temporal.count)
    temporal.runs.clear()
    assert not await admitted(open_runs, ADA, temporal.count)  # the count of before still holds
    clock.now += FRESH
    assert await admitted(open_runs, ADA, temporal.count)


async def test_an_admission_whose_run_never_began_is_forgotten_after_a_while() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock), OpenRuns(1, clock)
    assert await admitted(open_runs, ADA, temporal.count)
    clock.now += LAG - 0.1
    assert not await admitted(open_runs, ADA, temporal.count)
    clock.now += FRESH
    assert await admitted(open_runs, ADA, temporal.count)


async def test_when_nobody_can_count_nobody_is_let_in_on_an_old_number() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock, broken=True), OpenRuns(5, clock)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await open_runs.admit(ADA, temporal.count)
    temporal.broken = False
    assert await admitted(open_runs, ADA, temporal.count)


async def test_ones_runs_are_not_anothers() -> None:
    clock = Clock()
    full, free, open_runs = Temporal(clock, [OPEN] * 5), Temporal(clock), OpenRuns(5, clock)
    assert not await admitted(open_runs, ADA, full.count)
    assert await admitted(open_runs, BOB, free.count)


async def test_nobody_counts_the_runs_of_whoever_sits_at_this_machine() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock, [OPEN] * 5), OpenRuns(1, clock)
    for _ in range(10):
        await open_runs.admit(LOCAL, temporal.count)
    assert temporal.asked == 0


async def test_a_crowd_of_starters_does_not_fill_the_memory_either() -> None:
    clock = Clock()
    temporal, open_runs = Temporal(clock), OpenRuns(5, clock)
    for number in range(REMEMBERED + 200):
        await open_runs.admit(Principal("", f"by-{number}"), temporal.count)
    assert len(open_runs._of) == REMEMBERED
    clock.now += LAG
    await open_runs.admit(BOB, temporal.count)
    assert list(open_runs._of) == [BOB.mark]
