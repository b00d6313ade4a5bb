"""The agent value where people, money, memory and length come in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runner.agent import Agent
from runner.effects import fingerprint, is_approved
from runner.moves import Ask, Calls, Finish, NewChapter, Person
from runner.ports import Reply, ToolCall, ToolResult
from runner.prompt import KEEP_NOTE
from schemas.prices import Price
from schemas.run import Effect, Usage
from schemas.task import Approval, Limits
from tests.runner.test_agent import NOW, TOOLS, after, agent, answers, says, wants

PRICE = Price(input=1, output=10)


def heard(start: Agent, reply: Reply) -> Agent:
    ask = start.next(NOW)
    assert isinstance(ask, Ask)
    return start.heard(ask, reply)


def asked(start: Agent) -> tuple[ToolCall, ...]:
    step = start.next(NOW)
    assert isinstance(step, Person), step
    return step.calls


def made(start: Agent) -> tuple[ToolCall, ...]:
    step = start.next(NOW)
    assert isinstance(step, Calls), step
    return step.calls


class TestApprovals:
    def test_an_approved_call_is_made_once_with_exactly_its_arguments(self) -> None:
        start = heard(agent(), wants(("DROP", {"n": 1})))
        (call,) = asked(start)
        (going,) = made(start.decided(call.effect_id, approve=True))
        assert is_approved(going)
        assert going.approved == fingerprint("DROP", {"n": 1})
        assert not is_approved(replace(going, arguments={"n": 2}))

    def test_what_only_reads_goes_first_and_all_questions_are_put_at_once(self) -> None:
        start = heard(agent(), wants(("LOOK", {}), ("DROP", {"n": 1}), ("SEND", {}), ("DROP", {"n": 2})))
        assert [call.tool for call in made(start)] == ["LOOK"]
        start = start.observed(ToolResult("c0", "done", "ok"))
        first, second = asked(start)
        start = start.decided(first.effect_id, approve=True).decided(second.effect_id, approve=False, said="no")
        assert [call.id for call in made(start)] == ["c1"]
        start = start.observed(ToolResult("c1", "done", "ok")).observed(ToolResult("c2", "done", "ok"))
        assert "Denied by a person: no" in answers(start)["c3"]["content"]

    def test_a_denied_call_is_not_asked_about_again(self) -> None:
        start = heard(agent(), wants(("DROP", {})))
        (call,) = asked(start)
        start = heard(start.decided(call.effect_id, approve=False), wants(("DROP", {}), prefix="d"))
        assert isinstance(start.next(NOW), Ask)
        assert "did not allow it" in answers(start)["d0"]["content"]
        assert start.calls == 0

    @pytest.mark.parametrize(("otherwise", "ends"), [("deny", False), ("fail", True)])
    def test_nobody_answers(self, otherwise: Any, ends: bool) -> None:
        start = heard(agent(approval=Approval(otherwise=otherwise)), wants(("DROP", {})))
        (call,) = asked(start)
        start = start.decided(call.effect_id, approve=None, said="nobody answered within 24h")
        step = start.next(NOW)
        assert isinstance(step, Finish) == ends
        if not ends:
            assert answers(start)["c0"]["content"].startswith("Not allowed: nobody answered within 24h")


class TestUnknownOutcomes:
    def lost(self, **task: Any) -> Agent:
        start = heard(agent(**task), wants(("SEND", {"to": "x"})))
        return start.told(ToolResult("c0", "unknown", "the worker was lost"))

    def test_stop_ends_the_run(self) -> None:
        step = self.lost(on_unknown="stop").next(NOW)
        assert isinstance(step, Finish)
        assert (step.outcome, "nobody knows whether SEND took effect" in step.reason) == ("stopped", True)

    def test_ask_puts_it_to_a_person_who_may_have_it_made_again_under_a_new_id(self) -> None:
        start = self.lost(on_unknown="ask")
        (call,) = asked(start)
        (again,) = made(start.decided(call.effect_id, approve=True))
        assert (again.effect_id, again.arguments) == (f"{call.effect_id}-r1", call.arguments)

    def test_a_person_who_says_no_leaves_it_unknown(self) -> None:
        start = self.lost(on_unknown="ask")
        (call,) = asked(start)
        start = start.decided(call.effect_id, approve=False)
        assert "outcome_unknown" in answers(start)["c0"]["content"]
        assert start.ledger.unknown == ("SEND",)
        assert heard(start, wants(("SEND", {"to": "x"}), prefix="d")).calls == 1


class TestDollars:
    def start(self, cap: float) -> Agent:
        return replace(agent(limits=Limits(cost_usd=cap)), price=PRICE)

    def test_a_question_is_asked_only_if_it_and_a_report_can_be_paid(self) -> None:
        ask = self.start(1.0).next(NOW)
        assert isinstance(ask, Ask)
        assert (ask.last, ask.max_tokens) == ("", 8192)
        short = self.start(0.03).next(NOW)
        assert isinstance(short, Ask)
        assert (short.last, short.max_tokens) == ("", 1024)

    def test_at_the_limit_the_report_is_still_paid_for(self) -> None:
        ask = self.start(0.015).next(NOW)
        assert isinstance(ask, Ask)
        assert (ask.last, ask.max_tokens) == ("limit reached: $0.015", 1024)

    def test_nothing_left_ends_the_run_without_a_question(self) -> None:
        step = self.start(0.0001).next(NOW)
        assert isinstance(step, Finish)
        assert step.outcome == "stopped"
        assert "nothing is left for a report" in step.reason

    def test_what_a_turn_cost_is_settled_and_a_lost_try_is_charged(self) -> None:
        start = self.start(5)
        ask = start.next(NOW)
        assert isinstance(ask, Ask)
        reply = replace(wants(("LOOK", {})), usage=Usage(input_tokens=1_000_000))
        assert start.heard(ask, reply).cost == pytest.approx(1.0)
        assert start.heard(ask, replace(reply, lost=1)).cost > 1.08

    def test_an_unknown_price_keeps_no_limit(self) -> None:
        start = agent(limits=Limits(cost_usd=0.0001))
        assert isinstance(start.next(NOW), Ask)
        assert after(start, wants(("LOOK", {}))).cost == 0


class TestStructuredOutput:
    def test_one_repair_is_asked_for_and_a_second_fault_fails_the_run(self) -> None:
        bad = replace(says("nope"), output_fault="it is not JSON")
        start = heard(agent(output={"type": "object"}), bad)
        ask = start.next(NOW)
        assert isinstance(ask, Ask)
        assert "it is not JSON" in str(ask.new)
        good = heard(start, replace(says("{}"), output={"a": 1})).next(NOW)
        assert good == Finish("succeeded", "", "{}", {"a": 1})
        step = heard(start, bad).next(NOW)
        assert isinstance(step, Finish)
        assert step.outcome == "failed"


def test_a_note_is_kept_without_a_call() -> None:
    start = replace(agent(), tools=(*TOOLS, KEEP_NOTE))
    start = heard(start, wants(("KEEP_NOTE", {"text": "x" * 9000})))
    assert (len(start.note), start.calls) == (8192, 0)
    assert answers(start)["c0"]["content"] == "Kept."


class TestChapters:
    def grown(self) -> Agent:
        start = replace(agent(), sum_up_at=1000)
        start = heard(start, wants(("SEND", {"n": 1}))).observed(ToolResult("c0", "done", "ok"))
        big = replace(wants(("LOOK", {"n": 2}), prefix="d"), usage=Usage(input_tokens=2000))
        return heard(start, big).observed(ToolResult("d0", "done", "ok"))

    def test_a_conversation_grown_long_is_summed_up_and_begun_anew(self) -> None:
        start = self.grown()
        ask = start.next(NOW)
        assert isinstance(ask, Ask)
        assert ask.sum_up
        start = start.heard(ask, says("I sent one."))
        assert isinstance(start.next(NOW), NewChapter)
        again = replace(start, ended_chapter=False)
        ask = again.next(NOW)
        assert isinstance(ask, Ask)
        assert not ask.sum_up
        assert "I sent one." in str(ask.new)
        assert "SEND" in str(ask.new)
        assert "do it" in str(ask.new)

    def test_what_was_made_before_is_not_made_again(self) -> None:
        start = self.grown()
        ask = start.next(NOW)
        assert isinstance(ask, Ask)
        start = replace(start.heard(ask, says("summary")), ended_chapter=False)
        start = heard(start, wants(("SEND", {"n": 1}), prefix="e"))
        assert start.calls == 2
        assert "already made" in answers(start)["e0"]["content"]

    def test_history_that_wants_to_end_is_reason_enough(self) -> None:
        start = replace(self.grown(), sum_up_at=None)
        ask = start.next(NOW, long=True)
        assert isinstance(ask, Ask)
        assert ask.sum_up
        fresh = agent().next(timedelta(), long=True)
        assert isinstance(fresh, Ask)
        assert not fresh.sum_up

    def test_another_try_begins_at_the_goal_and_keeps_what_was_spent_and_made(self) -> None:
        start = self.grown().failed("broken").begun_again("try 2 of 2, after: broken")
        assert isinstance(start.next(NOW), NewChapter)
        assert start.turns == 2
        assert start.ledger.settled
        assert replace(start, ended_chapter=False).end is None


def test_a_write_that_an_earlier_course_made_is_not_made_again() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    earlier = Effect(id="e", run="r", task="t", tool="SEND", arguments={"n": 1}, state="done", at=at)
    start = agent().remembering((earlier,))
    start = heard(start, wants(("SEND", {"n": 1})))
    assert start.calls == 0
    assert "already made" in answers(start)["c0"]["content"]
