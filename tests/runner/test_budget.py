"""Limits and dollars: what is reached, what may be asked, and that no more is set aside than is there."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.budget import ANSWER_TOKENS, SHORT_ANSWER_TOKENS, Prompt, affordable, characters, reached
from runner.ports import Message, Tool
from schemas.prices import PRICES, Price
from schemas.run import Usage
from schemas.task import Limits

DOLLARS = st.floats(0, 100, allow_nan=False)
PRICE = st.builds(Price, input=DOLLARS, output=DOLLARS)
PROMPT = st.builds(Prompt, st.integers(0, 2_000_000), st.integers(0, 6_000_000), st.booleans())
NO_TIME = timedelta()


@pytest.mark.parametrize(
    ("limits", "turns", "tokens", "elapsed", "said"),
    [
        (Limits(turns=3), 2, 0, NO_TIME, ""),
        (Limits(turns=3), 3, 0, NO_TIME, "limit reached: 3 turns"),
        (Limits(tokens=400_000), 0, 399_999, NO_TIME, ""),
        (Limits(tokens=400_000), 0, 400_000, NO_TIME, "limit reached: 400,000 tokens"),
        (Limits(timeout=timedelta(minutes=90)), 0, 0, timedelta(minutes=90), "limit reached: 1h30m"),
        (Limits(timeout=timedelta(minutes=90)), 0, 0, timedelta(minutes=89, seconds=59), ""),
        (Limits(), 0, 10**9, NO_TIME, ""),
    ],
)
def test_a_limit_is_reached_when_it_is_used_up(
    limits: Limits, turns: int, tokens: int, elapsed: timedelta, said: str
) -> None:
    assert reached(limits, turns, Usage(input_tokens=tokens), elapsed) == said


def test_every_kind_of_token_counts() -> None:
    usage = Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4)
    assert reached(Limits(tokens=10), 0, usage, NO_TIME)
    assert not reached(Limits(tokens=11), 0, usage, NO_TIME)


@given(PROMPT, PRICE, DOLLARS)
def test_what_is_set_aside_for_a_question_and_a_report_is_there(prompt: Prompt, price: Price, left: float) -> None:
    tokens = affordable(prompt, price, left)
    assert tokens in (0, *(ANSWER_TOKENS // n for n in (1, 2, 4, 8)))
    if tokens:
        assert prompt.cost(price, tokens) + prompt.cost(price, SHORT_ANSWER_TOKENS) <= left
    else:
        assert 2 * prompt.cost(price, SHORT_ANSWER_TOKENS) > left


@given(PROMPT, PRICE, DOLLARS, DOLLARS)
def test_more_dollars_never_pay_for_a_shorter_answer(prompt: Prompt, price: Price, a: float, b: float) -> None:
    assert affordable(prompt, price, min(a, b)) <= affordable(prompt, price, max(a, b))


@given(PROMPT, PRICE, DOLLARS, st.integers(0, 1_000_000))
def test_a_longer_question_never_leaves_a_longer_answer(prompt: Prompt, price: Price, left: float, more: int) -> None:
    longer = Prompt(prompt.known_tokens + more, prompt.new_characters + more, prompt.cached)
    assert affordable(longer, price, left) <= affordable(prompt, price, left)
    assert longer.cost(price, 100) >= prompt.cost(price, 100)


@given(PROMPT, st.integers(0, 10_000), st.integers(0, 10_000))
def test_a_longer_answer_never_costs_less(prompt: Prompt, a: int, b: int) -> None:
    price = PRICES["claude-haiku-5-5"]
    assert prompt.cost(price, min(a, b)) <= prompt.cost(price, max(a, b))


def test_nothing_is_affordable_when_too_much_was_spent() -> None:
    assert affordable(Prompt(0, 3, cached=False), Price(input=1, output=1), -0.5) == 0


def test_what_costs_nothing_is_always_affordable() -> None:
    assert affordable(Prompt(10**7, 10**7, cached=False), Price(input=0, output=0), 0) == ANSWER_TOKENS


def test_more_is_set_aside_than_the_text_will_be_in_tokens() -> None:
    price = Price(input=1_000_000, output=0)
    assert Prompt(100, 400, cached=False).cost(price, 0) == pytest.approx(233)


def test_a_cached_conversation_is_read_at_its_price_and_what_is_new_is_written() -> None:
    price = Price(input=1_000_000, output=2_000_000, cache_read=100_000, cache_write=1_250_000)
    assert Prompt(100, 30, cached=True).cost(price, 5) == pytest.approx(100 * 0.1 + 10 * 1.25 + 5 * 2)
    assert Prompt(100, 30, cached=False).cost(price, 5) == pytest.approx(100 + 10 + 5 * 2)


def test_the_size_of_the_first_question_is_that_of_everything_in_it() -> None:
    tools = (Tool("NAME", "kit", "says", {"type": "object"}),)
    said = Message("user", ({"type": "text", "text": "hello"},))
    alone = characters("rules", (), ())
    assert alone == 5
    assert characters("rules", tools, ()) == 5 + 4 + 4 + len('{"type": "object"}')
    assert characters("rules", (), (said, said)) == 5 + 2 * len('{"type": "text", "text": "hello"}')
