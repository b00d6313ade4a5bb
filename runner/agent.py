"""The agent loop as a value: `next()` says what to do, `heard` and `observed` say what came of it.

It decides and does nothing else: no clock, no network, no Temporal. It is workflow code all the same:
change what it decides and you change history, so recorded histories are replayed in CI.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

from runner.effects import REPEATABLE, effect_id, fingerprint, for_model, needs_approval
from runner.ports import Block, Message, Reply, Tool, ToolCall, ToolResult
from schemas.duration import format_duration
from schemas.run import Outcome, Usage
from schemas.task import Task

RECORDED = "recorded"
"""Type of a block that stands for a tool result which history already holds, by its tool_use_id."""

SAME_CALL_TOLD = 3
SAME_CALL_STOPS = 5
CUT_SHORT_AT_MOST = 2
PAUSES_AT_MOST = 10


@dataclass(frozen=True)
class Ask:
    """Ask the model. `new` are only the messages since its last reply: the rest is in history.

    `last` names the limit that was reached: then no tool may be called and the run stops after it.
    """

    turn: int
    system: str
    new: tuple[Message, ...]
    model: str | None = None
    last: str = ""


@dataclass(frozen=True)
class Calls:
    """Make these calls; they may run side by side."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True)
class Finish:
    """The run is over."""

    outcome: Outcome
    reason: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Agent:
    """Where a run stands between two steps."""

    task: Task
    system: str
    tools: tuple[Tool, ...]
    seed: str
    """What makes this run's effect ids unlike any other's: the id of its first execution."""
    new: tuple[Message, ...]
    turns: int = 0
    calls: int = 0
    usage: Usage = Usage()
    todo: tuple[ToolCall, ...] = ()
    """Calls of the last reply that still have to be made, in its order."""
    asked: tuple[ToolCall, ...] = ()
    """All tool uses of the last reply, made or not, in its order: each needs an answer."""
    answers: dict[str, Block] = field(default_factory=dict[str, Block])
    seen: dict[str, int] = field(default_factory=dict[str, int])
    """How often each call was wanted, by fingerprint."""
    settled: dict[str, str] = field(default_factory=dict[str, str])
    """Writes that took effect or may have, by fingerprint: they are not made again."""
    cut_short: int = 0
    pauses: int = 0
    nudged: bool = False
    end: Finish | None = None

    def next(self, elapsed: timedelta) -> Ask | Calls | Finish:
        """What to do now. `elapsed` is the run's time so far, without waiting for people."""
        if self.end:
            return self.end
        if self.todo:
            return Calls(self._batch())
        last = self._limit(elapsed)
        new = self._with_note(_ANSWER_NOW.format(limit=last)) if last else self.new
        return Ask(self.turns + 1, self.system, new, self.task.model, last)

    def heard(self, ask: Ask, reply: Reply) -> "Agent":
        """The model answered."""
        agent = replace(self, turns=self.turns + 1, usage=self.usage + reply.usage, new=(), answers={}, asked=())
        if ask.last:
            return replace(agent, end=Finish("stopped", ask.last, reply.text))
        return agent._after(reply)

    def observed(self, *results: ToolResult) -> "Agent":
        """Calls came back, and their results stand in history."""
        return self._answered(results, recorded=True)

    def told(self, *results: ToolResult) -> "Agent":
        """Calls were lost, and these results were made up by us to say so."""
        return self._answered(results, recorded=False)

    def failed(self, reason: str) -> "Agent":
        """The run cannot go on."""
        return replace(self, end=Finish("failed", reason))

    def stopped(self, reason: str) -> "Agent":
        """The run may not go on."""
        return replace(self, end=Finish("stopped", reason))

    # --- deciding ---

    def _limit(self, elapsed: timedelta) -> str:
        limits = self.task.limits
        if self.turns >= limits.turns:
            return f"limit reached: {limits.turns} turns"
        if limits.tokens is not None and self.usage.total >= limits.tokens:
            return f"limit reached: {limits.tokens:,} tokens"
        if elapsed >= limits.timeout:
            return f"limit reached: {format_duration(limits.timeout)}"
        return ""

    def _batch(self) -> tuple[ToolCall, ...]:
        """Calls that only read run together; whatever changes something runs alone, in order."""
        count = next((i for i, call in enumerate(self.todo) if call.effect not in REPEATABLE), len(self.todo))
        return self.todo[: max(count, 1)]

    def _after(self, reply: Reply) -> "Agent":
        match reply.stop_reason:
            case "max_tokens":
                return self._cut_short(reply)
            case "tool_use" | "end_turn" | "stop_sequence" | "pause_turn" if reply.uses:
                return replace(self, cut_short=0, pauses=0)._plan_calls(reply)
            case "tool_use" | "end_turn" | "stop_sequence" if reply.text.strip():
                return replace(self, end=Finish("succeeded", "", reply.text))
            case "tool_use" | "end_turn" | "stop_sequence" if not self.nudged:
                return replace(self, nudged=True, new=(_user(_NO_ANSWER),))
            case "tool_use" | "end_turn" | "stop_sequence":
                return self.failed("the model ended twice without an answer")
            case "pause_turn" if self.pauses < PAUSES_AT_MOST:
                return replace(self, pauses=self.pauses + 1)
            case "refusal":
                why = f": {reply.explanation}" if reply.explanation else ""
                return replace(self, end=Finish("failed", f"the model refused{why}", reply.text))
            case "model_context_window_exceeded":
                reason = "limit reached: the conversation no longer fits the model"
                return replace(self, end=Finish("stopped", reason, reply.text))
            case other:
                return self.failed(f"the model stopped for a reason this release does not know: {other!r}")

    def _cut_short(self, reply: Reply) -> "Agent":
        """Its calls may be cut too, so none is made."""
        if self.cut_short >= CUT_SHORT_AT_MOST:
            return replace(self, end=Finish("failed", "the model's answer was cut off three times", reply.text))
        agent = replace(self, cut_short=self.cut_short + 1)
        if not reply.uses:
            return replace(agent, new=(_user(_CUT_OFF),))
        asked = tuple(agent._call(use, i, None) for i, use in enumerate(reply.uses))
        answers = {call.id: _result(call.id, _CUT_OFF, is_error=True) for call in asked}
        return replace(agent, asked=asked, answers=answers)._when_all_answered()

    def _plan_calls(self, reply: Reply) -> "Agent":
        by_name = {tool.name: tool for tool in self.tools}
        asked: list[ToolCall] = []
        todo: list[ToolCall] = []
        answers: dict[str, Block] = {}
        seen = dict(self.seen)
        for index, use in enumerate(reply.uses):
            tool = by_name.get(str(use.get("name")))
            call = self._call(use, index, tool)
            print_ = fingerprint(call.tool, call.arguments)
            seen[print_] = seen.get(print_, 0) + 1
            asked.append(call)
            if seen[print_] >= SAME_CALL_STOPS:
                reason = f"limit reached: the same call {SAME_CALL_STOPS} times, {call.tool}"
                return replace(self, end=Finish("stopped", reason, reply.text))
            waiting = {fingerprint(c.tool, c.arguments) for c in todo if c.effect not in REPEATABLE}
            no = self._refusal(call, tool, use, seen[print_], twice=print_ in waiting)
            if no:
                answers[call.id] = _result(call.id, no, is_error=True)
            else:
                todo.append(call)
        agent = replace(self, asked=tuple(asked), todo=tuple(todo), answers=answers, seen=seen)
        return agent._when_all_answered()

    def _refusal(self, call: ToolCall, tool: Tool | None, use: Block, times: int, *, twice: bool) -> str:
        """Why a call is not made, or nothing."""
        state = self.settled.get(fingerprint(call.tool, call.arguments))
        if tool is None:
            return f"There is no tool named {call.tool!r}. Tools: {', '.join(t.name for t in self.tools) or 'none'}."
        if not isinstance(use.get("input"), dict):
            return "The arguments must be a JSON object."
        if needs_approval(tool, self.task.tools):
            return "Denied: this call needs a person's approval, and nobody approved it. Go on without it."
        if twice or state == "done":
            return "Denied: this very call was already made in this run. It is not made twice."
        if state == "unknown":
            return for_model(ToolResult(call.id, "unknown", "made before in this run"), call, self.tools)
        if times >= SAME_CALL_TOLD:
            return f"This is the same call for the {times}th time; its answer will not change. Do something else."
        return ""

    def _call(self, use: Block, index: int, tool: Tool | None) -> ToolCall:
        said: Any = use.get("input")
        arguments = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        name = str(use.get("name"))
        return ToolCall(
            id=str(use.get("id")),
            tool=name,
            toolkit=tool.toolkit if tool else "",
            effect=tool.effect if tool else "write",
            arguments=arguments,
            effect_id=effect_id(self.seed, self.turns, index, fingerprint(name, arguments)),
            run_as=self.task.run_as,
        )

    # --- bookkeeping ---

    def _answered(self, results: tuple[ToolResult, ...], *, recorded: bool) -> "Agent":
        answers, settled = dict(self.answers), dict(self.settled)
        calls = {call.id: call for call in self.todo}
        for result in results:
            call = calls.pop(result.call_id)
            if call.effect not in REPEATABLE and result.state in ("done", "unknown"):
                settled[fingerprint(call.tool, call.arguments)] = result.state
            if recorded and result.state in ("done", "refused"):
                answers[call.id] = {"type": RECORDED, "tool_use_id": call.id}
            else:
                text = for_model(result, call, self.tools)
                answers[call.id] = _result(call.id, text, is_error=result.state != "done")
        todo = tuple(call for call in self.todo if call.id in calls)
        made = self.calls + len(results)
        return replace(self, answers=answers, settled=settled, todo=todo, calls=made)._when_all_answered()

    def _when_all_answered(self) -> "Agent":
        if self.todo:
            return self
        return replace(self, new=(Message("user", tuple(self.answers[call.id] for call in self.asked)),))

    def _with_note(self, note: str) -> tuple[Message, ...]:
        if self.new and self.new[-1].role == "user":
            said = self.new[-1]
            return (*self.new[:-1], replace(said, content=(*said.content, {"type": "text", "text": note})))
        return (*self.new, _user(note))


_ANSWER_NOW = (
    "Stop here: {limit}. No tool can be called any more. Report now what was done, what was found, "
    "and what is left undone."
)
_NO_ANSWER = "You ended without an answer. Go on with the goal, or write the report if it is done."
_CUT_OFF = "Your answer was cut off at its length limit, and no call in it was made. Go on, in fewer words."


def _user(text: str) -> Message:
    return Message("user", ({"type": "text", "text": text},))


def _result(call_id: str, text: str, *, is_error: bool) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
    return {**block, "is_error": True} if is_error else block


def recorded_result(result: ToolResult) -> Block:
    """The block that a RECORDED one stands for."""
    return _result(result.call_id, result.content, is_error=result.state != "done")
