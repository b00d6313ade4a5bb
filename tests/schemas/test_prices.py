"""What a run's tokens come to, and that a price nobody knows stays unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.prices import PRICES, Price, price_of
from schemas.run import Usage

MILLION = 1_000_000
TOKENS = st.integers(0, 3 * MILLION)
USAGE = st.builds(Usage, input_tokens=TOKENS, output_tokens=TOKENS, cache_read_tokens=TOKENS, cache_write_tokens=TOKENS)


def test_each_kind_of_token_has_its_price() -> None:
    price = Price(input=4, output=20, cache_read=0.2, cache_write=5)
    assert price.cost(Usage(input_tokens=MILLION)) == pytest.approx(4)
    assert price.cost(Usage(output_tokens=MILLION)) == pytest.approx(20)
    assert price.cost(Usage(cache_read_tokens=MILLION)) == pytest.approx(0.2)
    assert price.cost(Usage(cache_write_tokens=MILLION)) == pytest.approx(5)
    assert price.cost(Usage()) == 0


def test_without_a_price_of_its_own_what_is_cached_costs_as_much_as_what_is_read() -> None:
    price = Price(input=3, output=0)
    assert price.cost(Usage(cache_read_tokens=MILLION, cache_write_tokens=MILLION)) == pytest.approx(6)


def test_a_price_of_nothing_is_nothing_and_not_the_price_of_input() -> None:
    price = Price(input=3, output=0, cache_read=0, cache_write=0)
    assert price.cost(Usage(cache_read_tokens=MILLION, cache_write_tokens=MILLION)) == 0


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(input_tokens=100_000, output_tokens=MILLION), 0.01 + 0.5),
        (Usage(input_tokens=100_001, output_tokens=MILLION), 0.0500005 + 2.5),
        (Usage(input_tokens=1, cache_read_tokens=60_000, cache_write_tokens=40_000), 0.0000005 + 0.003 + 0.025),
        (Usage(input_tokens=1, output_tokens=MILLION), 0.0000001 + 0.5),
    ],
)
def test_a_long_prompt_has_the_long_price_and_its_answer_too(usage: Usage, dollars: float) -> None:
    """What was cached is part of the prompt's length; the answer is not."""
    assert PRICES["claude-haiku-5-5"].cost(usage) == pytest.approx(dollars)


@given(st.sampled_from(sorted(PRICES)), USAGE, USAGE)
def test_more_tokens_never_cost_less(model: str, usage: Usage, more: Usage) -> None:
    price = PRICES[model]
    assert 0 <= price.cost(usage) <= price.cost(usage + more)


@given(st.lists(st.builds(Usage, input_tokens=st.integers(0, 9999), output_tokens=TOKENS), max_size=5))
def test_turns_cost_together_what_each_costs(turns: list[Usage]) -> None:
    price = PRICES["claude-opus-5-5"]
    assert price.cost(sum(turns, Usage())) == pytest.approx(sum(price.cost(turn) for turn in turns))


def test_the_servers_own_word_comes_first() -> None:
    own = Price(input=1, output=1)
    assert price_of("claude-opus-5-5", {"claude-opus-5-5": own}) == own
    assert price_of("local", {"local": own}) == own
    assert price_of("claude-opus-5-5") == PRICES["claude-opus-5-5"]


@pytest.mark.parametrize("model", ["", "claude-opus", "claude-opus-5-5-x", "CLAUDE-OPUS-5-5"])
def test_a_model_that_nobody_named_has_no_price(model: str) -> None:
    assert price_of(model, {"local": Price(input=1, output=1)}) is None


@pytest.mark.parametrize("model", sorted(PRICES))
def test_every_listed_price_says_where_it_is_from(model: str) -> None:
    price = PRICES[model]
    assert "2026" in price.source
    assert 0 < price.input < price.output
    assert (price.cache_read or 0) < price.input < (price.cache_write or 0)
