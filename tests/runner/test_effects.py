"""What a call does to the world: who must allow it, what names it, what is said of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.effects import (
    REPEATABLE,
    clip,
    effect_id,
    effects_of,
    fingerprint,
    for_model,
    is_approved,
    lost,
    needs_approval,
    offered,
)
from runner.ports import Tool, ToolCall, ToolResult
from schemas.task import Tools

SEND = Tool("GMAIL_SEND_EMAIL", "gmail", "", {}, "write")
DELETE = Tool("GMAIL_DELETE_EMAIL", "gmail", "", {}, "destructive")
FETCH = Tool("GMAIL_FETCH_EMAILS", "gmail", "", {}, "read")


def test_deny_beats_allow() -> None:
    rule = Tools(allow=("GMAIL_*",), deny=("*_DELETE_*",))
    assert offered((SEND, DELETE, FETCH), rule) == (SEND, FETCH)


def test_globs_do_not_care_about_case() -> None:
    assert offered((SEND, FETCH), Tools(allow=("gmail_fetch_*",))) == (FETCH,)


def test_destructive_tools_need_a_person_even_if_the_task_does_not_say_so() -> None:
    assert needs_approval(DELETE, Tools())
    assert not needs_approval(SEND, Tools())
    assert needs_approval(SEND, Tools(ask=("*_SEND_*",)))


def test_a_lost_read_is_a_failure_and_a_lost_write_is_unknown() -> None:
    def call(effect: str) -> ToolCall:
        return ToolCall("c", "T", "t", effect, {}, "e")  # type: ignore[arg-type]

    assert [lost(call(e), "gone").state for e in ("read", "idempotent", "write", "destructive")] == [
        "refused",
        "refused",
        "unknown",
        "unknown",
    ]


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_arguments(arguments: dict[str, object], random: object) -> None:
    items = list(arguments.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert fingerprint("T", arguments) == fingerprint("T", dict(items))
    assert fingerprint("T", arguments) != fingerprint("U", arguments)


@given(st.text(max_size=400), st.integers(100, 300))
def test_clipped_text_is_never_longer_than_its_limit_and_keeps_both_ends(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    assert clipped == text or (text.startswith(clipped[:10]) and text.endswith(clipped[-10:]))


def test_half_a_character_in_a_result_does_not_lose_the_result() -> None:
    assert clip("sent \ud800 ok") == "sent ? ok"


def call(tool: str = "T", toolkit: str = "gmail", **arguments: Any) -> ToolCall:
    return ToolCall("c", tool, toolkit, "write", arguments, "e")


def test_a_tool_that_the_task_asks_about_is_offered_even_if_it_is_not_among_the_allowed() -> None:
    assert offered((SEND, FETCH), Tools(allow=("GMAIL_FETCH_*",), ask=("GMAIL_SEND_*",))) == (SEND, FETCH)
    assert offered((SEND, FETCH), Tools(allow=("*",), ask=("*",), deny=("*_SEND_*",))) == (FETCH,)


@pytest.mark.parametrize("effect", ["read", "idempotent", "write", "destructive"])
def test_only_what_changes_nothing_twice_is_repeatable(effect: Any) -> None:
    assert (effect in REPEATABLE) == (effect in ("read", "idempotent"))
    assert needs_approval(replace(SEND, effect=effect), Tools()) == (effect == "destructive")


def test_an_approval_is_for_exactly_this_tool_with_exactly_these_arguments() -> None:
    allowed = replace(call("SEND", to="ada"), approved=fingerprint("SEND", {"to": "ada"}))
    assert is_approved(allowed)
    assert not is_approved(replace(allowed, arguments={"to": "bob"}))
    assert not is_approved(replace(allowed, arguments={"to": "ada", "cc": None}))
    assert not is_approved(replace(allowed, tool="SEND_ALL"))
    assert not is_approved(replace(allowed, approved=""))


@given(a=st.integers(0, 99), b=st.integers(0, 99), c=st.integers(0, 99), d=st.integers(0, 99))
def test_two_places_of_a_run_are_two_effects(a: int, b: int, c: int, d: int) -> None:
    assert (effect_id("run", a, b) == effect_id("run", c, d)) == ((a, b) == (c, d))
    assert effect_id("run", a, b) != effect_id("other run", a, b)
    assert effect_id("run", a, b).startswith(effects_of("run"))
    assert not effect_id("other run", a, b).startswith(effects_of("run"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": None}, {}),
        ({"a": [1, 2]}, {"a": [2, 1]}),
        ({}, {"": {}}),
    ],
)
def test_other_arguments_have_another_fingerprint(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert fingerprint("T", one) != fingerprint("T", other)


def test_the_name_of_a_tool_does_not_run_into_its_arguments() -> None:
    assert fingerprint("T\n{}", {}) != fingerprint("T", {"x": 1})
    assert fingerprint("T", {"half": "\ud800"})


@pytest.mark.parametrize("state", ["done", "refused", "denied"])
def test_what_is_known_is_told_as_it_is(state: Any) -> None:
    assert for_model(ToolResult("c", state, "said"), call(), (FETCH,)) == "said"


def test_an_unknown_outcome_names_the_reads_of_its_own_toolkit_only() -> None:
    others = (FETCH, SEND, Tool("SLACK_LIST", "slack", "", {}, "read"))
    told = json.loads(for_model(ToolResult("c", "unknown", "it timed out"), call(), others))
    assert told == {
        "status": "outcome_unknown",
        "why": "it timed out",
        "do_not_repeat": True,
        "how_to_verify": ["GMAIL_FETCH_EMAILS"],
    }
    told = json.loads(for_model(ToolResult("c", "unknown", "?"), call(toolkit="none"), others))
    assert told["how_to_verify"] == "no tool of this toolkit reads"


def test_what_never_happened_may_be_called_again() -> None:
    told = for_model(ToolResult("c", "not_run", "busy"), call(), ())
    assert told == "Not carried out, provably: busy. You may call it again."


@given(st.integers(0, 100_000), st.sampled_from(["", "the whole is kept as run/call.txt"]))
def test_a_clipped_text_says_how_much_is_missing_and_where_the_whole_is(length: int, kept: str) -> None:
    clipped = clip("x" * length, 1000, kept)
    assert len(clipped) <= 1000
    if length > 1000:
        assert f"{length - clipped.split('[')[0].count('x') - clipped.split(']')[1].count('x'):,} of" in clipped
        assert kept in clipped
    else:
        assert clipped == "x" * length
