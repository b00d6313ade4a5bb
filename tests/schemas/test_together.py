"""What a task says and inherits, held against what models cost and what the server allows."""

from datetime import timedelta

import pytest

from schemas.catalog import Catalog, Maxima
from schemas.config import load_config
from schemas.load import load_defaults, load_task
from schemas.prices import PRICES
from schemas.problem import Problem

KNOWN = min(PRICES)
COSTLY = "goal: x\nlimits: {cost_usd: 2}\n"


def problems(text: str, defaults: str = "", catalog: Catalog | None = None) -> tuple[Problem, ...]:
    above = [load_defaults(defaults.encode(), "_defaults.yaml", catalog)] if defaults else []
    loaded = load_task(text.encode(), "a.yaml", above, catalog)
    assert (loaded.task is None) == bool(loaded.problems)
    return loaded.problems


def told(text: str, defaults: str = "", catalog: Catalog | None = None) -> list[tuple[str, str]]:
    """Code and place of each."""
    found = problems(text, defaults, catalog)
    return [(each.code, f"{each.file}:{each.span.line}:{each.span.column}") for each in found]


def catalog_of(config: str) -> Catalog:
    loaded = load_config(config.encode(), "goalfile.config.yaml")
    assert loaded.config is not None, loaded.problems
    return loaded.config.catalog()


class TestPrices:
    def test_a_limit_of_dollars_needs_a_model_whose_price_is_known(self) -> None:
        assert told(f"{COSTLY}model: acme-1\n") == [("unknown-price", "a.yaml:3:8")]
        assert told(f"{COSTLY}model: {KNOWN}\n") == []

    def test_without_a_limit_of_dollars_no_price_is_needed(self) -> None:
        assert told("goal: x\nmodel: acme-1\nlimits: {turns: 3}\n") == []

    def test_it_says_both_ways_out(self) -> None:
        [problem] = problems(f"{COSTLY}model: acme-1\n")
        assert "goalfile.config.yaml under model.prices" in problem.help
        assert "take cost_usd out" in problem.help

    def test_the_server_s_own_prices_count(self) -> None:
        server = catalog_of("model: {prices: {acme-1: {input: 1, output: 2}}}\n")
        assert told(f"{COSTLY}model: acme-1\n", catalog=server) == []
        assert told(f"{COSTLY}model: {KNOWN}\n", catalog=server) == []
        assert told(f"{COSTLY}model: acme-2\n", catalog=server) == [("unknown-price", "a.yaml:3:8")]

    def test_a_server_that_does_not_tell_its_prices_leaves_it_to_the_table(self) -> None:
        assert told(f"{COSTLY}model: {KNOWN}\n", catalog=Catalog()) == []
        assert told(f"{COSTLY}model: acme-1\n", catalog=Catalog()) == [("unknown-price", "a.yaml:3:8")]

    def test_a_task_that_names_no_model_has_the_server_s(self) -> None:
        assert told(COSTLY) == []
        assert told(COSTLY, catalog=catalog_of(f"model: {{default: {KNOWN}}}\n")) == []
        assert told(COSTLY, catalog=catalog_of("model: {default: acme-1}\n")) == [("unknown-price", "a.yaml:2:20")]

    def test_either_may_come_from_the_defaults_of_the_folder(self) -> None:
        assert told(COSTLY, "model: acme-1\n") == [("unknown-price", "_defaults.yaml:1:8")]
        assert told("goal: x\nmodel: acme-1\n", "limits: {cost_usd: 2}\n") == [("unknown-price", "a.yaml:2:8")]
        assert told(f"{COSTLY}model: {KNOWN}\n", "model: acme-1\n") == []

    @pytest.mark.parametrize("wrong", ["limits: {cost_usd: two}\nmodel: acme-1\n", "limits: 5\n", "model: [a]\n"])
    def test_what_is_misshapen_makes_nothing_raise(self, wrong: str) -> None:
        assert "invalid-value" in {
            code for code, _ in told(f"goal: x\n{wrong}", catalog=Catalog(limits=Maxima(turns=1)))
        }


MOST = Catalog(limits=Maxima(turns=50, timeout=timedelta(hours=1), tokens=5000, cost_usd=2))
WITHIN = "goal: x\nlimits: {turns: 50, timeout: 60m, tokens: 5000, cost_usd: 2}\n"


class TestMaxima:
    def test_a_task_may_ask_for_the_maximum_and_for_less(self) -> None:
        assert told(WITHIN, catalog=MOST) == []
        assert told("goal: x\nlimits: {turns: 1, timeout: 1s, tokens: 1000, cost_usd: 0.5}\n", catalog=MOST) == []

    @pytest.mark.parametrize(
        ("asked", "says"),
        [
            ("turns: 51", "`limits.turns` is 51, and the server allows 50"),
            ("timeout: 1h1s", "`limits.timeout` is 1h1s, and the server allows 1h"),
            ("tokens: 5001", "`limits.tokens` is 5001, and the server allows 5000"),
            ("cost_usd: 2.01", "`limits.cost_usd` is 2.01, and the server allows 2"),
        ],
    )
    def test_what_is_above_it_is_told_with_the_most_that_is_allowed(self, asked: str, says: str) -> None:
        name = asked.partition(":")[0]
        [problem] = problems(f"goal: x\nlimits:\n  {asked}\n", WITHIN.partition("\n")[2], MOST)
        assert (problem.code, problem.file, problem.span.line) == ("above-maximum", "a.yaml", 3)
        assert problem.message == says
        assert problem.help.startswith(f"write `{name}: ")

    def test_nothing_is_above_a_maximum_that_is_not_set(self) -> None:
        assert told("goal: x\nlimits: {turns: 500, timeout: 9d}\n", catalog=Catalog(limits=Maxima(tokens=None))) == []
        assert told("goal: x\nlimits: {turns: 500, timeout: 9d}\n", catalog=Catalog()) == []
        assert told("goal: x\nlimits: {turns: 500, timeout: 9d}\n") == []

    def test_it_is_told_in_the_file_that_asks_for_it(self) -> None:
        server = Catalog(limits=Maxima(turns=50))
        assert told("goal: x\n", "limits: {turns: 60}\n", server) == [("above-maximum", "_defaults.yaml:1:17")]
        assert told("goal: x\nlimits: {turns: 40}\n", "limits: {turns: 60}\n", server) == []

    def test_a_default_above_it_must_be_lowered_in_the_file(self) -> None:
        [problem] = problems("goal: x\n", catalog=Catalog(limits=Maxima(turns=20)))
        assert problem.message == "`limits.turns` is left out, which means 30, and the server allows 20"
        assert "write `limits: {turns: 20}` or less" in problem.help
        assert told("goal: x\n", catalog=Catalog(limits=Maxima(turns=30, timeout=timedelta(minutes=30)))) == []
        assert told("goal: x\n", catalog=Catalog(limits=Maxima(timeout=timedelta(minutes=29))))

    def test_no_limit_is_above_any(self) -> None:
        [problem] = problems("goal: x\n", catalog=Catalog(limits=Maxima(tokens=5000)))
        assert "means no limit, and the server allows 5000" in problem.message
        assert told("goal: x\n", "limits: {tokens: 5000}\n", Catalog(limits=Maxima(tokens=5000))) == []

    @pytest.mark.parametrize("wrong", ["turns: 5m", "timeout: 90", "timeout: soon", "tokens: true", "cost_usd: ~"])
    def test_what_is_misshapen_is_told_as_that_only(self, wrong: str) -> None:
        found = told(f"goal: x\nlimits: {{{wrong}}}\n", WITHIN.partition("\n")[2], MOST)
        assert {code for code, _ in found} == {"invalid-value"}
