"""The agent value: what it does after every kind of reply, and laws that hold for any model."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import budget
from runner.agent import PAUSES_AT_MOST, RECORDED, Agent
from runner.effects import fingerprint, is_approved, needs_approval
from runner.moves import Ask, Calls, Finish, NewChapter, Person
from runner.ports import Message, Reply, Tool, ToolCall, ToolResult
from schemas.prices import Price
from schemas.run import Effect, Usage
from schemas.task import Approval, Limits, Task, Tools

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


def heard(start: Agent, reply: Reply) -> Agent:
    """The agent right after this reply, nothing of it made yet."""
    ask = start.next(NOW)
    assert isinstance(ask, Ask)
    return start.heard(ask, reply)


def called(start: Agent) -> ToolCall:
    """The one call that is made now."""
    calls = start.next(NOW)
    assert isinstance(calls, Calls)
    (call,) = calls.calls
    return call


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


def test_the_same_destructive_call_twice_in_one_reply_is_asked_about_once() -> None:
    question = after(agent(), wants(("DROP", {"n": 1}), ("DROP", {"n": 1}))).next(NOW)
    assert isinstance(question, Person)
    assert [call.id for call in question.calls] == ["c0"]


def test_the_same_read_twice_in_one_reply_is_made_twice() -> None:
    assert after(agent(), wants(("LOOK", {"q": 1}), ("LOOK", {"q": 1}))).calls == 2


def test_a_read_that_the_task_asks_about_does_not_run_along_with_others() -> None:
    start = heard(agent(tools=Tools(ask=("LOOK",))), wants(("SET", {}), ("LOOK", {})))
    assert called(start).tool == "SET"
    assert isinstance(until_ask(start).next(NOW), Person)


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


def test_a_model_that_only_pauses_is_not_asked_for_ever() -> None:
    paused = agent()
    for _ in range(PAUSES_AT_MOST):
        paused = after(paused, says("searching", "pause_turn"))
        assert isinstance(paused.next(NOW), Ask)
    end = after(paused, says("searching", "pause_turn")).next(NOW)
    assert isinstance(end, Finish)
    assert (end.outcome, "paused" in end.reason) == ("failed", True)


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


@pytest.mark.parametrize(("state", "told"), [("done", "already made"), ("unknown", "outcome_unknown")])
def test_a_run_set_back_does_not_make_a_write_that_it_had_planned_before_it_was_reminded(state: Any, told: str) -> None:
    """In its earlier course SEND 1 stood where SEND 2 stands now: the ledger says so once SEND 2 is tried."""
    start = heard(agent(), wants(("SEND", {"n": 2}), ("SEND", {"n": 1}), ("SEND", {"n": 3})))
    first = called(start)
    made = Effect(id="e", run="r", task="t", tool="SEND", arguments={"n": 1}, state=state, at=datetime.now(UTC))
    start = start.told(ToolResult(first.id, "refused", "Not made: SEND 1 was made here.")).remembering((made,))
    assert called(start).arguments == {"n": 3}
    start = until_ask(start)
    assert told in answers(start)["c1"]["content"]
    assert start.calls == 2


def test_an_approval_given_before_the_run_was_reminded_makes_nothing_twice() -> None:
    """The person allowed it to be done; it had been done, and neither of them knew."""
    start = heard(agent(), wants(("DROP", {"n": 2}), ("DROP", {"n": 1})))
    question = start.next(NOW)
    assert isinstance(question, Person)
    for call in question.calls:
        start = start.decided(call.effect_id, approve=True)
    first = called(start)
    made = Effect(id="e", run="r", task="t", tool="DROP", arguments={"n": 1}, state="done", at=datetime.now(UTC))
    start = start.told(ToolResult(first.id, "refused", "Not made: DROP 1 was made here.")).remembering((made,))
    assert isinstance(start.next(NOW), Ask)
    assert "already made" in answers(start)["c1"]["content"]


def test_another_try_knows_of_a_write_that_nobody_could_tell_about() -> None:
    start = heard(agent(on_unknown="ask", approval=Approval(otherwise="fail"), retries=1), wants(("SEND", {})))
    lost = called(start)
    start = start.told(ToolResult("c0", "unknown", "the worker was lost"))
    assert start.ledger.unknown == ("SEND",), "a run that is cancelled while it asks still reports it"
    start = start.decided(lost.effect_id, approve=None, said="nobody answered")
    start = replace(start.begun_again("nobody answered"), ended_chapter=False)
    assert "SEND {}: unknown" in str(start.new)
    start = heard(start, wants(("SEND", {}), prefix="d"))
    assert "outcome_unknown" in answers(start)["d0"]["content"]


def test_a_repeat_that_was_not_made_leaves_the_first_call_unknown() -> None:
    start = heard(agent(on_unknown="ask"), wants(("SEND", {})))
    lost = called(start)
    start = start.told(ToolResult("c0", "unknown", "the worker was lost")).decided(lost.effect_id, approve=True)
    assert called(start).effect_id == f"{lost.effect_id}-r1"
    start = start.observed(ToolResult("c0", "not_run", "busy"))
    start = heard(start, wants(("SEND", {}), prefix="d"))
    assert "outcome_unknown" in answers(start)["d0"]["content"]


def test_another_try_may_look_again_at_what_the_tries_before_looked_at() -> None:
    start = agent(retries=5)
    for _ in range(6):
        start = heard(start, wants(("LOOK", {"q": 1})))
        assert called(start).tool == "LOOK"
        start = start.observed(ToolResult("c0", "done", "ok"))
        start = replace(start.failed("broken").begun_again("broken"), ended_chapter=False)


def test_a_report_is_not_kept_short_where_dollars_are_plenty() -> None:
    start = replace(agent(limits=Limits(turns=1, cost_usd=1000)), price=PRICE)
    ask = after(start, wants(("LOOK", {}))).next(NOW)
    assert isinstance(ask, Ask)
    assert (ask.last, ask.max_tokens) == ("limit reached: 1 turns", budget.ANSWER_TOKENS)


def test_a_limit_is_kept_while_another_try_goes_on() -> None:
    start = after(agent(limits=Limits(turns=1), retries=1), wants(("LOOK", {}))).failed("broken").begun_again("broken")
    ask = replace(start, ended_chapter=False).next(NOW)
    assert isinstance(ask, Ask)
    assert ask.last == "limit reached: 1 turns"


PRICE = Price(input=1, output=10)
ARGUMENTS: st.SearchStrategy[Any] = st.sampled_from([{}, {}, {}, {"x": 1}, {"x": 1, "y": 2}, "no object"])
USES = st.lists(st.tuples(st.sampled_from(["LOOK", "SET", "SEND", "SEND", "DROP", "NOPE"]), ARGUMENTS), max_size=4)
STOPS = st.sampled_from(["tool_use"] * 4 + ["end_turn", "max_tokens", "pause_turn", "refusal", "stop_sequence", "new"])
STATES = st.sampled_from(["done", "refused", "unknown", "not_run"])
WORDS = st.sampled_from([True, False, None])
TASKS = st.builds(
    Task,
    goal=st.just("do it"),
    tools=st.sampled_from([Tools(), Tools(ask=("SE*",)), Tools(ask=("*",))]),
    approval=st.sampled_from([Approval(), Approval(otherwise="fail")]),
    on_unknown=st.sampled_from(["verify", "ask", "stop"]),
    limits=st.builds(Limits, turns=st.integers(1, 8), cost_usd=st.sampled_from([None, None, 0.03, 0.2])),
    output=st.sampled_from([None, {"type": "object"}]),
)
AGENTS = st.builds(
    replace,
    st.builds(Agent, TASKS, st.just("rules"), st.just(TOOLS), st.just("seed"), st.just(agent().new)),
    people=st.sampled_from([True, True, True, False]),
    price=st.sampled_from([None, PRICE]),
    sum_up_at=st.sampled_from([None, 20]),
)


@dataclass
class Course:
    """One run with any model, any tools and any people: what it does is held against what it may do."""

    data: st.DataObject
    agent: Agent
    unanswered: Counter[str] = field(default_factory=Counter[str])
    made: list[str] = field(default_factory=list[str])
    settled: set[str] = field(default_factory=set[str])
    """Fingerprints of writes that took effect or may have."""
    approved: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    repeats: Counter[str] = field(default_factory=Counter[str])
    dearest: float = 0
    summed_up: bool = False
    tries: int = 0

    def go(self) -> None:
        for _ in range(300):
            match self.agent.next(NOW, long=self.data.draw(st.integers(0, 9)) == 0):
                case Ask() as ask:
                    self.ask(ask)
                case Calls(calls):
                    self.call(calls)
                case Person() as person:
                    self.decide(person)
                case NewChapter():
                    assert self.agent.people
                    self.agent, self.unanswered = replace(self.agent, ended_chapter=False), Counter()
                case Finish() as end:
                    if end.outcome != "failed" or self.tries == 2:
                        return
                    self.tries += 1
                    self.agent = self.agent.begun_again(end.reason)
                    self.agent, self.unanswered = replace(self.agent, ended_chapter=False), Counter()
        pytest.fail("the run did not end")

    def ask(self, ask: Ask) -> None:
        told = [[b["tool_use_id"] for b in m.content if "tool_use_id" in b] for m in ask.new]
        assert Counter(use for one in told for use in one) == self.unanswered, "each tool use is answered, once"
        assert len([one for one in told if one]) <= 1, "and all of them in one message"
        assert not (ask.sum_up and self.summed_up), "it is not summed up twice in a row"
        agent, cap = self.agent, self.agent.task.limits.cost_usd
        if agent.price and cap is not None:
            assert agent.cost + agent._prompt().cost(agent.price, ask.max_tokens) <= cap, "what it may cost is there"
        self.summed_up = ask.sum_up
        uses = self.data.draw(USES)
        reply = wants(*uses, stop=self.data.draw(STOPS), prefix=f"t{ask.turn}-")
        text = self.data.draw(st.sampled_from(["", "words"]))
        fault = self.data.draw(st.sampled_from(["", "no JSON"])) if agent.task.output and not uses else ""
        usage = Usage(input_tokens=self.data.draw(st.integers(0, 30_000)), output_tokens=self.data.draw(st.just(9)))
        content = ({"type": "text", "text": text}, *reply.content) if text else reply.content
        lost = self.data.draw(st.sampled_from([0, 0, 1]))
        self.agent = agent.heard(ask, replace(reply, content=content, output_fault=fault, usage=usage, lost=lost))
        self.dearest = self.agent.cost - agent.cost
        self.unanswered = Counter(str(use["id"]) for use in reply.uses)

    def call(self, calls: tuple[ToolCall, ...]) -> None:
        assert len(calls) == 1 or all(call.effect in ("read", "idempotent") for call in calls)
        for call in calls:
            print_ = fingerprint(call.tool, call.arguments)
            (tool,) = (tool for tool in TOOLS if tool.name == call.tool)
            if needs_approval(tool, self.agent.task.tools):
                assert is_approved(call), "nothing that needs a person's word is made without one"
                assert (call.effect_id, print_) in self.approved
            if call.effect in ("write", "destructive"):
                assert print_ not in self.settled or self.repeats[print_], "what may have happened is not made again"
                self.repeats[print_] = 0
            self.made.append(call.effect_id)
            result = ToolResult(call.id, self.data.draw(STATES), "text")
            if call.effect in ("write", "destructive") and result.state in ("done", "unknown"):
                self.settled.add(print_)
            self.agent = self.agent.observed(result) if self.data.draw(st.booleans()) else self.agent.told(result)

    def decide(self, person: Person) -> None:
        assert self.agent.people
        for call in person.calls:
            print_, word = fingerprint(call.tool, call.arguments), self.data.draw(WORDS)
            if word:
                self.repeats[print_] += person.kind == "unknown"
                later = {f"{call.effect_id.partition('-r')[0]}-r{n}" for n in range(1, 9)}
                self.approved |= {(each, print_) for each in ({call.effect_id} if person.kind == "approval" else later)}
            self.agent = self.agent.decided(call.effect_id, approve=word, said="so")


@given(data=st.data(), start=AGENTS)
def test_whatever_models_tools_and_people_do_a_run_keeps_its_promises(data: st.DataObject, start: Agent) -> None:
    course = Course(data, start)
    course.go()
    limits = start.task.limits
    assert course.agent.turns <= limits.turns + 1
    assert len(set(course.made)) == len(course.made), "no effect has the id of another"
    if start.price and limits.cost_usd is not None:
        assert course.agent.cost <= limits.cost_usd + course.dearest, "it is over by one question at most"
    assert start.price or course.agent.cost == 0
