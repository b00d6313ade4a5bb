"""The ledger of one run: what is not made again, what is told of it, and when a loop ends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.effects import fingerprint
from runner.ledger import MADE_ALREADY, SAME_CALL_STOPS, SAME_CALL_TOLD, Ledger
from runner.ports import Tool, ToolCall

LOOK = Tool("LOOK", "box", "", {}, "read")
STATES = ("done", "refused", "unknown", "not_run", "denied", "running")


def call(arguments: dict[str, Any] | None = None, tool: str = "SEND") -> ToolCall:
    return ToolCall("c0", tool, "box", "write", arguments or {}, "e")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("done", MADE_ALREADY),
        ("running", MADE_ALREADY),
        ("unknown", '"status": "outcome_unknown"'),
        ("denied", "did not allow it"),
    ],
)
def test_what_happened_or_may_have_or_was_denied_is_refused(state: str, words: str) -> None:
    assert words in Ledger().wrote("SEND", {}, state).refusal(call(), (LOOK,))


@pytest.mark.parametrize("state", ["refused", "not_run"])
def test_what_provably_changed_nothing_may_be_made_again(state: str) -> None:
    assert Ledger().wrote("SEND", {}, state).refusal(call(), (LOOK,)) == ""


def test_an_unknown_call_is_refused_with_the_tools_that_can_look_it_up() -> None:
    assert '"how_to_verify": ["LOOK"]' in Ledger().wrote("SEND", {}, "unknown").refusal(call(), (LOOK,))


def test_a_call_made_under_a_fingerprint_of_its_own_is_known_by_it() -> None:
    """What Temporal keeps may be shown redacted; the fingerprint is of what was really called."""
    ledger = Ledger().wrote("SEND", {"to": "[hidden]"}, "done", fingerprint("SEND", {"to": "ada"}))
    assert ledger.refusal(call({"to": "ada"}), ()) == MADE_ALREADY
    assert ledger.refusal(call({"to": "[hidden]"}), ()) == ""


def test_a_write_that_was_refused_after_it_had_been_lost_is_still_not_made_again() -> None:
    ledger = Ledger().wrote("SEND", {}, "unknown").wrote("SEND", {}, "refused").wrote("SEND", {}, "not_run")
    assert "outcome_unknown" in ledger.refusal(call(), ())


@given(st.integers(0, 12))
def test_the_third_time_is_told_so_and_the_fifth_ends_it(times: int) -> None:
    ledger = Ledger()
    for _ in range(times):
        ledger = ledger.wanted(call({"n": 1}, "LOOK"))
    assert bool(ledger.refusal(call({"n": 1}, "LOOK"), ())) == (times >= SAME_CALL_TOLD)
    assert ledger.is_looping(call({"n": 1}, "LOOK")) == (times >= SAME_CALL_STOPS)
    assert not ledger.is_looping(call({"n": 2}, "LOOK"))
    assert ledger.refusal(call({"n": 2}, "LOOK"), ()) == ""


def test_what_is_told_names_how_often() -> None:
    ledger = Ledger().wanted(call()).wanted(call()).wanted(call())
    assert "asked for 3 times" in ledger.refusal(call(), ())


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(STATES)), max_size=8))
def test_what_may_have_happened_is_never_forgotten(said: list[tuple[str, str]]) -> None:
    ledger, happened = Ledger(), set[str]()
    for tool, state in said:
        ledger = ledger.wrote(tool, {}, state)
        happened |= {tool} if state in ("done", "unknown", "running") else set()
        assert all(ledger.refusal(call({}, each), ()) for each in happened)
    assert set(ledger.unknown) == {tool for tool, state in said if state in ("unknown", "running")}
    assert set(ledger.writes) == {f"{tool} {{}}: {state}" for tool, state in said}


def test_one_write_of_which_is_told_twice_is_one_line() -> None:
    """A run that was set back hears of a write from the ledger, and again as the answer to its call."""
    ledger = Ledger().wrote("SEND", {"n": 1}, "unknown").wrote("SEND", {"n": 1}, "unknown")
    assert ledger.writes == ('SEND {"n": 1}: unknown',)
    assert ledger.unknown == ("SEND",)


def test_a_line_of_a_write_holds_no_more_of_its_arguments_than_people_read() -> None:
    (line,) = Ledger().wrote("SEND", {"text": "x" * 100_000}, "done").writes
    assert len(line) < 320
    assert line.startswith('SEND {"text": "xxx')
    assert line.endswith(": done")


def test_a_ledger_is_a_value() -> None:
    first = Ledger()
    first.wrote("SEND", {}, "done").wanted(call())
    assert first == Ledger()
