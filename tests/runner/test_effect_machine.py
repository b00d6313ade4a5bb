"""The promise of the ledger, held against any course: what is made at most once is made at most once.

The world here counts what really happened. Temporal is what it is to a run: ids that are used once, a row
for each, and a history that a person may set back to any point. Between them stands the real agent.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runner.agent import Agent
from runner.effects import REPEATABLE, fingerprint, is_approved
from runner.moves import Ask, Calls, Finish, NewChapter, Person
from runner.ports import Message, Reply, Tool, ToolCall, ToolResult
from schemas.run import Effect
from schemas.task import Approval, Limits, Task, Tools

SCHEMA: dict[str, Any] = {"type": "object"}
TOOLS = (
    Tool("LOOK", "box", "", SCHEMA, "read"),
    Tool("SEND", "box", "", SCHEMA, "write"),
    Tool("DROP", "box", "", SCHEMA, "destructive"),
)
NOW, AT = timedelta(seconds=1), datetime(2026, 1, 1, tzinfo=UTC)

COMES_TO: dict[str, tuple[int, Any]] = {
    "done": (1, "done"),
    "the tool says no": (0, "refused"),
    "provably not sent": (0, "not_run"),
    "worker lost before it was sent": (0, "unknown"),
    "worker lost after it was sent": (1, "unknown"),
    "worker lost after the response": (1, "unknown"),
}
"""How often the world saw the call, and what the row says."""

OUTCOMES = st.sampled_from([*COMES_TO, "done", "done"])
WANTS = st.lists(
    st.tuples(st.sampled_from(["SEND", "SEND", "DROP", "LOOK"]), st.sampled_from([{}, {"n": 1}])),
    min_size=1,
    max_size=3,
)


@dataclass
class World:
    """What happened, and the rows that Temporal keeps of it."""

    happened: Counter[str] = field(default_factory=Counter[str])
    calls: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    rows: dict[str, str] = field(default_factory=dict[str, str])

    def begin(self, call: ToolCall) -> None:
        """A child workflow: refused by the server if the id was ever used."""
        assert call.effect_id not in self.rows
        self.calls[call.effect_id], self.rows[call.effect_id] = call, "running"

    def end(self, effect: str, outcome: str) -> None:
        seen, state = COMES_TO[outcome]
        self.happened[effect] += seen
        self.rows[effect] = state

    def ledger(self) -> tuple[Effect, ...]:
        """The rows as they are listed, the newest first."""
        return tuple(
            Effect(
                id=each,
                run="r",
                task="t",
                tool=call.tool,
                fingerprint=fingerprint(call.tool, call.arguments),
                arguments=call.arguments,
                state=cast("Any", self.rows[each]),
                at=AT,
            )
            for each, call in reversed(self.calls.items())
        )


def name(call: ToolCall) -> str:
    return fingerprint(call.tool, call.arguments)


class Effects(RuleBasedStateMachine):
    """One run, set back, tried again and begun anew as people and workers like."""

    world: World
    agent: Agent
    flying: ToolCall | None = None
    steps: int = 0
    """Since something went wrong last: what goes wrong all the time gets nowhere, and proves nothing."""

    @initialize(
        on_unknown=st.sampled_from(["verify", "ask", "ask", "stop"]),
        otherwise=st.sampled_from(["deny", "fail"]),
        ask=st.sampled_from([(), ("SEND",)]),
    )
    def begin(self, on_unknown: Any, otherwise: Any, ask: tuple[str, ...]) -> None:
        task = Task(
            goal="g",
            tools=Tools(ask=ask),
            approval=Approval(otherwise=otherwise),
            on_unknown=on_unknown,
            limits=Limits(turns=500),
            retries=5,
        )
        self.world = World()
        self.agent = Agent(task, "rules", TOOLS, "seed", (Message("user", ({"type": "text", "text": "go"},)),))
        self.known: set[str] = set()
        """Writes that this course of the run knows to have happened, or to may have."""
        self.points = [(self.agent, frozenset(self.known))]
        self.allowed: set[tuple[str, str]] = set()
        self.repeats: set[tuple[str, str]] = set()
        self.uses = 0

    def is_next(self, kind: Any) -> bool:
        return self.flying is None and isinstance(self.agent.next(NOW), kind)

    @precondition(lambda self: self.is_next(Ask))
    @rule(calls=WANTS, stop=st.sampled_from(["tool_use"] * 5 + ["max_tokens", "refusal"]))
    def the_model_wants(self, calls: list[tuple[str, dict[str, Any]]], stop: str) -> None:
        ask = self.agent.next(NOW)
        assert isinstance(ask, Ask)
        self.points.append((self.agent, frozenset(self.known)))
        self.uses += 1
        self.steps += 1
        uses = tuple(
            {"type": "tool_use", "id": f"u{self.uses}-{i}", "name": tool, "input": arguments}
            for i, (tool, arguments) in enumerate(calls)
        )
        self.agent = self.agent.heard(ask, Reply(uses, stop))

    @precondition(lambda self: self.is_next(Calls))
    @rule(late=OUTCOMES)
    def what_is_next_is_made(self, late: str) -> None:
        """As `runner.making` does: the id is used once, and a run that was set back is told what came of it."""
        calls = self.agent.next(NOW)
        assert isinstance(calls, Calls)
        self.steps += 1
        call = calls.calls[0]
        self.points.append((self.agent, frozenset(self.known)))
        if call.effect in REPEATABLE:
            self.agent = self.agent.observed(*(ToolResult(each.id, "done", "ok") for each in calls.calls))
            return
        assert len(calls.calls) == 1
        if call.effect == "destructive":
            assert is_approved(call)
        if call.effect_id not in self.world.rows:
            assert name(call) not in self.known or (call.effect_id, name(call)) in self.repeats
            self.world.begin(call)
            self.flying = call
            return
        if self.world.rows[call.effect_id] == "running":
            self.world.end(call.effect_id, late)
        earlier, rows = self.world.calls[call.effect_id], self.world.ledger()
        same = (earlier.tool, earlier.arguments) == (call.tool, call.arguments)
        state: Any = self.world.rows[call.effect_id] if same else "refused"
        self.known |= {each.fingerprint for each in rows if each.state in ("done", "unknown", "running")}
        self.agent = self.agent.told(ToolResult(call.id, state, "before")).remembering(rows)

    @precondition(lambda self: self.flying is not None)
    @rule(outcome=OUTCOMES, recorded=st.booleans())
    def it_comes_to_its_end(self, outcome: str, recorded: bool) -> None:
        call = self.flying
        assert call is not None
        self.world.end(call.effect_id, outcome)
        result = ToolResult(call.id, cast("Any", self.world.rows[call.effect_id]), outcome)
        self.known |= {name(call)} if result.state in ("done", "unknown") else set()
        self.agent = self.agent.observed(result) if recorded else self.agent.told(result)
        self.flying = None

    @precondition(lambda self: self.is_next(Person))
    @rule(words=st.lists(st.sampled_from([True, True, False, None]), min_size=3, max_size=3))
    def people_answer(self, words: list[bool | None]) -> None:
        person = self.agent.next(NOW)
        assert isinstance(person, Person)
        self.steps += 1
        self.points.append((self.agent, frozenset(self.known)))
        for call, word in zip(person.calls, words, strict=False):
            self.agent = self.agent.decided(call.effect_id, approve=word, said="so")
            if word and person.kind == "approval":
                self.allowed.add((call.effect_id, name(call)))
            elif word:
                again = next(each for each in self.agent.todo if each.id == call.id)
                assert again.effect_id != call.effect_id
                self.allowed.add((again.effect_id, name(call)))
                self.repeats.add((again.effect_id, name(call)))

    @precondition(lambda self: self.is_next(Finish) and self.agent.next(NOW).outcome == "failed")
    @rule()
    def it_is_tried_again(self) -> None:
        self.try_again("failed")

    @precondition(lambda self: self.steps > 2 and self.is_next((Ask, Calls, Person)))
    @rule()
    def it_breaks_and_is_tried_again(self) -> None:
        self.agent = self.agent.failed("broken")
        self.try_again("broken")

    def try_again(self, why: str) -> None:
        self.agent, self.steps = self.agent.begun_again(why), 0
        assert isinstance(self.agent.next(NOW), NewChapter)
        self.agent = replace(self.agent, ended_chapter=False)

    @precondition(lambda self: self.steps > 2 or self.is_next(Finish))
    @rule(data=st.data())
    def it_is_set_back(self, data: st.DataObject) -> None:
        """To any point; what is in flight flies on without it."""
        self.agent, known = data.draw(st.sampled_from(self.points))
        self.known, self.flying, self.steps = set(known), None, 0

    @invariant()
    def nothing_happens_twice_under_one_id(self) -> None:
        assert not [each for each, times in self.world.happened.items() if times > 1]

    @invariant()
    def what_is_said_to_be_done_happened(self) -> None:
        assert all(self.world.happened[each] == 1 for each, state in self.world.rows.items() if state == "done")

    @invariant()
    def what_happened_is_never_said_not_to_have(self) -> None:
        for each, times in self.world.happened.items():
            assert not times or self.world.rows[each] in ("done", "unknown")

    @invariant()
    def nothing_destructive_happens_without_a_word_on_exactly_it(self) -> None:
        for each, call in self.world.calls.items():
            assert call.effect != "destructive" or not self.world.happened[each] or (each, name(call)) in self.allowed


TestEffects = Effects.TestCase
TestEffects.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
