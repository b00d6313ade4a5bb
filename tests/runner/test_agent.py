"""The agent value: what it does after every kind of reply, and laws that hold for any model."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.agent import RECORDED, Agent
from runner.effects import is_approved
from runner.moves import Ask, Calls, Finish, Person
from runner.ports import Message, Reply, Tool, ToolCall, ToolResult
from schemas.run import Usage
from schemas.task import Limits, Task, Tools

SCHEMA: dict[str, Any] = {"type": "object"}
TOOLS = (
    Tool("LOOK", "box", "look", SCHEMA, "read"),
    Tool("SET", "box", "set", SCHEMA, "idempotent"),
    Tool("SEND", "box", "send", SCHEMA, "write"),
    Tool("DROP", "box", "drop", SCHEMA, "destructive"),
)
NOW = timedelta(seconds=1)


def agent(**task: Any) -> Agent:
    goal = Message("user", ({"type": "text", "text": "do it"},))
    return Agent(Task(goal="do it", **task), "rules", TOOLS, "seed", (goal,))


def says(text: str, stop: str = "end_turn") -> Reply:
    return Reply(({"type": "text", "text": text},), stop, Usage(input_tokens=10, output_tokens=5))


def wants(*calls: tuple[str, Any], stop: str = "tool_use", prefix: str = "c") -> Reply:
    uses = tuple(
        {"type": "tool_use", "id": f"{prefix}{i}", "name": name, "input": arguments}
        for i, (name, arguments) in enumerate(calls)
    )
    return Reply(uses, stop, Usage(input_tokens=10))


def after(start: Agent, *replies: Reply) -> Agent:
    """The agent once it heard these replies and every call it made was done."""
    for reply in replies:
        start = until_ask(start)
        ask = start.next(NOW)
        assert isinstance(ask, Ask)
        start = start.heard(ask, reply)
    return until_ask(start)


def until_ask(start: Agent) -> Agent:
    while isinstance(calls := start.next(NOW), Calls):
        start = start.observed(*(ToolResult(call.id, "done", "ok") for call in calls.calls))
    return start


def answers(start: Agent) -> dict[str, dict[str, Any]]:
    return {b["tool_use_id"]: b for m in start.new for b in m.content if "tool_use_id" in b}


def test_an_answer_ends_the_run_as_succeeded() -> None:
    assert after(agent(), says("done")).next(NOW) == Finish("succeeded", "", "done")


def test_reads_of_one_reply_run_together_and_writes_alone_in_order() -> None:
    start = agent()
    ask = start.next(NOW)
    assert isinstance(ask, Ask)
    start = start.heard(
        ask, wants(("LOOK", {"a": 1}), ("SET", {}), ("SEND", {"n": 1}), ("SEND", {"n": 2}), ("LOOK", {}))
    )
    batches: list[list[str]] = []
    while isinstance(calls := start.next(NOW), Calls):
        batches.append([call.id for call in calls.calls])
        start = start.observed(*(ToolResult(call.id, "done", "ok") for call in calls.calls))
    assert batches == [["c0", "c1"], ["c2"], ["c3"], ["c4"]]


def test_a_result_that_history_holds_is_only_referred_to() -> None:
    start = after(agent(), wants(("LOOK", {})))
    assert answers(start)["c0"] == {"type": RECORDED, "tool_use_id": "c0"}


def test_a_lost_write_is_told_as_unknown_with_tools_to_verify_by() -> None:
    start = agent()
    ask = start.next(NOW)
    assert isinstance(ask, Ask)
    start = start.heard(ask, wants(("SEND", {}))).told(ToolResult("c0", "unknown", "the worker was lost"))
    block = answers(start)["c0"]
    assert block["is_error"]
    assert '"status": "outcome_unknown"' in block["content"]
    assert '"how_to_verify": ["LOOK"]' in block["content"]


@pytest.mark.parametrize("state", ["done", "unknown"])
def test_a_write_that_happened_or_may_have_is_not_made_again(state: Any) -> None:
    start = agent()
    ask = start.next(NOW)
    assert isinstance(ask, Ask)
    start = start.heard(ask, wants(("SEND", {"to": "x"}))).observed(ToolResult("c0", state, "?"))
    start = after(start, wants(("SEND", {"to": "x"}), prefix="d"))
    assert start.calls == 1
    assert answers(start)["d0"]["is_error"]


def test_a_write_that_provably_did_not_happen_may_be_made_again() -> None:
    start = agent()
    ask = start.next(NOW)
    assert isinstance(ask, Ask)
    start = start.heard(ask, wants(("SEND", {}))).observed(ToolResult("c0", "not_run", "busy"))
    start = after(start, wants(("SEND", {}), prefix="d"))
    assert start.calls == 2


def test_the_same_write_twice_in_one_reply_is_made_once() -> None:
    start = after(agent(), wants(("SEND", {"to": "x"}), ("SEND", {"to": "x"})))
    assert start.calls == 1
    assert "already made" in answers(start)["c1"]["content"]


def test_a_destructive_call_of_a_run_that_can_ask_nobody_is_denied() -> None:
    start = after(replace(agent(), people=False), wants(("DROP", {})))
    assert start.calls == 0
    assert "approval" in answers(start)["c0"]["content"]


def test_a_tool_that_the_task_asks_about_waits_for_a_person() -> None:
    step = after(agent(tools=Tools(ask=("SE*",))), wants(("SEND", {}))).next(NOW)
    assert isinstance(step, Person)
    assert [call.tool for call in step.calls] == ["SEND"]


def test_an_unknown_tool_and_arguments_that_are_no_object_are_refused() -> None:
    start = after(agent(), wants(("NOPE", {}), ("LOOK", "text")))
    assert "LOOK" in answers(start)["c0"]["content"]
    assert "JSON object" in answers(start)["c1"]["content"]


def test_the_third_identical_call_is_told_so_and_the_fifth_stops_the_run() -> None:
    replies = [wants(("LOOK", {"q": 1}), prefix=f"r{i}-") for i in range(4)]
    start = after(agent(), *replies)
    assert start.calls == 2
    end = after(start, wants(("LOOK", {"q": 1}), prefix="z")).next(NOW)
    assert isinstance(end, Finish)
    assert (end.outcome, end.reason) == ("stopped", "limit reached: the same call 5 times, LOOK")


@pytest.mark.parametrize(
    ("limits", "elapsed", "reason"),
    [
        (Limits(turns=1), NOW, "limit reached: 1 turns"),
        (Limits(tokens=5), NOW, "limit reached: 5 tokens"),
        (Limits(timeout=timedelta(minutes=5)), timedelta(minutes=5), "limit reached: 5m"),
    ],
)
def test_at_a_limit_the_model_is_asked_once_more_and_the_run_is_stopped(
    limits: Limits, elapsed: timedelta, reason: str
) -> None:
    start = after(agent(limits=limits), wants(("LOOK", {})))
    last = start.next(elapsed)
    assert isinstance(last, Ask)
    assert last.last == reason
    assert last.new[-1].content[-1]["text"].startswith(f"Stop here: {reason}")
    assert start.heard(last, wants(("SEND", {}))).next(elapsed) == Finish("stopped", reason, "")


def test_calls_of_an_answer_that_was_cut_off_are_not_made() -> None:
    start = after(agent(), wants(("SEND", {}), stop="max_tokens"))
    assert start.calls == 0
    assert answers(start)["c0"]["is_error"]
    end = after(start, says("a", "max_tokens"), says("b", "max_tokens")).next(NOW)
    assert isinstance(end, Finish)
    assert end.outcome == "failed"


def test_an_empty_answer_is_asked_about_once() -> None:
    empty = Reply((), "end_turn")
    start = after(agent(), empty)
    assert isinstance(start.next(NOW), Ask)
    assert after(start, empty).next(NOW) == Finish("failed", "the model ended twice without an answer")


def test_a_paused_turn_goes_on_without_a_word_from_us() -> None:
    ask = after(agent(), says("searching", "pause_turn")).next(NOW)
    assert isinstance(ask, Ask)
    assert ask.new == ()


@pytest.mark.parametrize(
    ("stop", "outcome"),
    [("refusal", "failed"), ("model_context_window_exceeded", "stopped"), ("something_new", "failed")],
)
def test_every_other_stop_reason_has_its_move(stop: str, outcome: str) -> None:
    end = after(agent(), says("hm", stop)).next(NOW)
    assert isinstance(end, Finish)
    assert end.outcome == outcome


def test_effect_ids_differ_by_call_and_are_the_same_on_replay() -> None:
    def ids() -> list[str]:
        start = agent()
        ask = start.next(NOW)
        assert isinstance(ask, Ask)
        return [call.effect_id for call in start.heard(ask, wants(("SEND", {"n": 1}), ("SEND", {"n": 2}))).todo]

    assert ids() == ids()
    assert len(set(ids())) == 2
    assert len({replace(agent(), seed=seed).seed for seed in "ab"}) == 2


ARGUMENTS = st.one_of(st.just({}), st.dictionaries(st.sampled_from("xy"), st.integers(0, 2)), st.just("no object"))
USES = st.lists(st.tuples(st.sampled_from(["LOOK", "SET", "SEND", "DROP", "NOPE"]), ARGUMENTS), max_size=4)
STOPS = st.sampled_from(["tool_use", "end_turn", "max_tokens", "pause_turn", "refusal", "stop_sequence", "new"])
STATES = st.sampled_from(["done", "refused", "unknown", "not_run"])


@given(data=st.data(), turns=st.integers(1, 6))
def test_whatever_a_model_says_the_run_ends_within_its_limits_and_answers_every_call(
    data: st.DataObject, turns: int
) -> None:
    start = agent(limits=Limits(turns=turns))
    made: list[ToolCall] = []
    happened: set[tuple[str, str]] = set()
    unanswered: set[str] = set()
    approved: set[str] = set()
    for turn in range(200):
        step = start.next(NOW)
        if isinstance(step, Finish):
            break
        if isinstance(step, Ask):
            told = {b["tool_use_id"] for m in step.new for b in m.content if "tool_use_id" in b}
            assert told == unanswered, "every tool use is answered in the very next message"
            uses = data.draw(USES)
            reply = wants(*uses, stop=data.draw(STOPS), prefix=f"t{turn}-")
            text = data.draw(st.sampled_from(["", "words"]))
            reply = replace(reply, content=({"type": "text", "text": text}, *reply.content) if text else reply.content)
            start = start.heard(step, reply)
            unanswered = {str(use["id"]) for use in reply.uses}
        elif isinstance(step, Person):
            for call in step.calls:
                approve = data.draw(st.sampled_from([True, False, None]))
                approved |= {call.effect_id} if approve else set()
                start = start.decided(call.effect_id, approve=approve)
        else:
            assert isinstance(step, Calls)
            assert len(step.calls) == 1 or all(call.effect in ("read", "idempotent") for call in step.calls)
            for call in step.calls:
                assert call.effect != "destructive" or (call.effect_id in approved and is_approved(call))
                key = (call.tool, str(sorted(call.arguments.items())))
                assert key not in happened, "a write that happened or may have is never made again"
                state = data.draw(STATES)
                if call.effect in ("write", "destructive") and state in ("done", "unknown"):
                    happened.add(key)
                made.append(call)
                result = ToolResult(call.id, state, "text")
                start = start.observed(result) if data.draw(st.booleans()) else start.told(result)
    else:
        pytest.fail("the run did not end")
    assert start.turns <= turns + 1
    assert len({call.effect_id for call in made}) == len(made)
