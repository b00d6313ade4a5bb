"""The agent loop as a value: `next()` says what to do; `heard`, `observed`, `decided` say what came of it.

It decides and does nothing else: no clock, no network, no Temporal. It is workflow code all the same:
change what it decides and you change history, so recorded histories are replayed in CI.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

from runner import budget, prompt
from runner.effects import REPEATABLE, effect_id, fingerprint, for_model, needs_approval
from runner.ledger import MADE_ALREADY, SAME_CALL_STOPS, Ledger
from runner.moves import Ask, Calls, Finish, Move, NewChapter, Person
from runner.ports import Block, Message, Reply, Tool, ToolCall, ToolResult
from schemas.prices import Price
from schemas.run import Effect, Usage
from schemas.task import Task

RECORDED = "recorded"
"""Type of a block that stands for a tool result which history already holds, by its tool_use_id."""

CUT_SHORT_AT_MOST = 2
PAUSES_AT_MOST = 10


@dataclass(frozen=True)
class Agent:
    """Where a run stands between two steps."""

    task: Task
    system: str
    tools: tuple[Tool, ...]
    seed: str
    """What makes this run's effect ids unlike any other's: the id of its first execution, and the try."""
    new: tuple[Message, ...]
    goal: Message | None = None
    people: bool = True
    """False for runs of a release that could not ask anybody: then what needs approval is denied."""
    price: Price | None = None
    sum_up_at: int | None = None
    """Prompt tokens from which on the conversation is summed up and begun anew."""
    turns: int = 0
    calls: int = 0
    usage: Usage = Usage()
    cost: float = 0.0
    """Dollars, settled; what a lost try may have cost is in it."""
    prompt_tokens: int = 0
    cached: bool = False
    unread: int = 0
    """Characters that the model has not read yet."""
    todo: tuple[ToolCall, ...] = ()
    """Calls of the last reply that still have to be made, in its order."""
    doubtful: tuple[ToolCall, ...] = ()
    """Calls of unknown outcome that a person is asked about before the run goes on."""
    asked: tuple[ToolCall, ...] = ()
    """All tool uses of the last reply, made or not, in its order: each needs an answer."""
    answers: dict[str, Block] = field(default_factory=dict[str, Block])
    ledger: Ledger = field(default_factory=Ledger)
    note: str = ""
    """What the next run of the task is given, if it keeps notes."""
    cut_short: int = 0
    pauses: int = 0
    repairs: int = 0
    nudged: bool = False
    chapter_turns: int = 0
    ended_chapter: bool = False
    late: bool = False
    """The time was up while the model thought."""
    end: Finish | None = None

    def next(self, elapsed: timedelta, *, long: bool = False) -> Move:
        """What to do now. `elapsed` is the run's time without waiting; `long`: history wants to end."""
        if self.end:
            return self.end
        if self.doubtful:
            return Person("unknown", self.doubtful, "nobody knows whether it took effect; approve to make it again")
        if self.todo and (undecided := self._undecided()):
            return Person("approval", undecided)
        if self.todo:
            return Calls(self._batch())
        if self.ended_chapter:
            return NewChapter()
        last, tokens = self._limit(max(elapsed, self.task.limits.timeout) if self.late else elapsed)
        if last and not tokens:
            return Finish("stopped", f"{last}; nothing is left for a report")
        tries = self._tries(tokens)
        ask = Ask(self.turns + 1, self.system, self.new, self.task.model, last, max_tokens=tokens, tries=tries)
        if last:
            return replace(ask, new=self._with_note(prompt.ANSWER_NOW.format(limit=last)))
        if self.people and self.chapter_turns > 1 and (long or self.prompt_tokens >= (self.sum_up_at or 10**9)):
            return replace(ask, new=self._with_note(prompt.SUM_UP), sum_up=True)
        return ask

    def heard(self, ask: Ask, reply: Reply) -> "Agent":
        """The model answered."""
        cost = self.cost
        if self.price:
            cost += self.price.cost(reply.usage) + reply.lost * self._prompt().cost(self.price, ask.max_tokens)
        agent = replace(
            self,
            turns=self.turns + 1,
            chapter_turns=self.chapter_turns + 1,
            usage=self.usage + reply.usage,
            cost=cost,
            prompt_tokens=reply.usage.total,
            cached=bool(reply.usage.cache_read_tokens or reply.usage.cache_write_tokens),
            unread=0,
            new=(),
            answers={},
            asked=(),
        )
        if ask.last:
            return replace(agent, end=Finish("stopped", ask.last, reply.text, reply.output))
        if ask.sum_up:
            return agent._turned_over(reply.text)
        return agent._after(reply)

    def unheard(self, ask: Ask, tries: int) -> "Agent":
        """None of the tries of a question was heard, and so many may be billed. A report is all that is left."""
        cost = self.cost + tries * self._prompt().cost(self.price, ask.max_tokens) if self.price else self.cost
        agent = replace(self, cost=cost)
        if ask.tries is not None and tries >= ask.tries:
            cap = self.task.limits.cost_usd or 0
            return agent.stopped(f"limit reached: ${cap:g}; answers of the model were lost on the way")
        return replace(agent, late=True)

    def observed(self, *results: ToolResult) -> "Agent":
        """Calls came back, and their results stand in history."""
        return self._answered(results, recorded=True)

    def told(self, *results: ToolResult) -> "Agent":
        """Calls were lost, and these results were made up by us to say so."""
        return self._answered(results, recorded=False)

    def decided(self, effect: str, *, approve: bool | None, said: str = "") -> "Agent":
        """A person's word on one call; None: nobody gave one in time."""
        if approve is None and self.task.approval.otherwise == "fail":
            return self.failed(said)
        waiting = next(call for call in (*self.doubtful, *self.todo) if call.effect_id == effect)
        again = waiting in self.doubtful
        agent = replace(self, doubtful=tuple(call for call in self.doubtful if call is not waiting))
        if approve:
            allowed = replace(waiting, approved=fingerprint(waiting.tool, waiting.arguments))
            if again:
                place, _, count = waiting.effect_id.partition("-r")
                allowed = replace(allowed, effect_id=f"{place}-r{int(count or 0) + 1}")
                return replace(agent, todo=(allowed, *agent.todo))
            return replace(agent, todo=tuple(allowed if call is waiting else call for call in agent.todo))
        if again:
            return agent._answer(waiting, ToolResult(waiting.id, "unknown", said or "a person was asked about it"))
        whose = "Not allowed" if approve is None else "Denied by a person"
        denied = f"{whose}{f': {said}' if said else ''}. It was not made; go on without it."
        return agent._answered((ToolResult(waiting.id, "denied", denied),), recorded=False)

    def remembering(self, earlier: tuple[Effect, ...]) -> "Agent":
        """The run was set back: these writes were made in the course that was taken back."""
        ledger = self.ledger
        for effect in earlier:
            ledger = ledger.wrote(effect.tool, effect.arguments, effect.state, effect.fingerprint)
        return replace(self, ledger=ledger)._without_what_was_made()

    def begun_again(self, why: str) -> "Agent":
        """Another try, from the goal on. What was spent stays spent, and what was made is not made again."""
        # What it saw is forgotten with the conversation, so it may look again.
        ledger = replace(self.ledger, seen={})
        agent = replace(self, todo=(), doubtful=(), asked=(), answers={}, end=None, ledger=ledger)
        return replace(agent, nudged=False, repairs=0, cut_short=0, pauses=0)._turned_over(f"({why})")

    def failed(self, reason: str, *, hopeless: bool = False) -> "Agent":
        """The run cannot go on."""
        return replace(self, end=Finish("failed", reason, hopeless=hopeless))

    def stopped(self, reason: str) -> "Agent":
        """The run may not go on."""
        return replace(self, end=Finish("stopped", reason))

    # --- deciding ---

    def _limit(self, elapsed: timedelta) -> tuple[str, int]:
        """The limit that is reached, and how long the next answer may be (0: it cannot be paid)."""
        last = budget.reached(self.task.limits, self.turns, self.usage, elapsed)
        cap = self.task.limits.cost_usd
        if cap is None or self.price is None:
            return last, budget.ANSWER_TOKENS
        left = cap - self.cost
        tokens = budget.affordable(self._prompt(), self.price, left)
        if tokens:
            return last, tokens
        report = budget.SHORT_ANSWER_TOKENS
        return last or f"limit reached: ${cap:g}", report if self._prompt().cost(self.price, report) <= left else 0

    def _tries(self, tokens: int) -> int | None:
        cap = self.task.limits.cost_usd
        if cap is None or self.price is None:
            return None
        return budget.tries(self._prompt(), self.price, cap - self.cost, tokens)

    def _prompt(self) -> budget.Prompt:
        unread = self.unread
        if not self.turns:
            unread += budget.characters(self.system, self.tools, self.new)
        return budget.Prompt(self.prompt_tokens, unread, self.cached)

    def _undecided(self) -> tuple[ToolCall, ...]:
        """Calls that wait for a person, once the first of them is next in line."""
        if not self.people or not self._needs_word(self.todo[0]):
            return ()
        return tuple(call for call in self.todo if self._needs_word(call))

    def _needs_word(self, call: ToolCall) -> bool:
        tool = next((tool for tool in self.tools if tool.name == call.tool), None)
        return tool is not None and not call.approved and needs_approval(tool, self.task.tools)

    def _batch(self) -> tuple[ToolCall, ...]:
        """Calls that only read run together; whatever changes something runs alone, in order."""
        alone = next((i for i, call in enumerate(self.todo) if self._goes_alone(call)), len(self.todo))
        return self.todo[: max(alone, 1)]

    def _goes_alone(self, call: ToolCall) -> bool:
        return call.effect not in REPEATABLE or self._needs_word(call)

    def _after(self, reply: Reply) -> "Agent":
        match reply.stop_reason:
            case "max_tokens":
                return self._cut_short(reply)
            case "tool_use" | "end_turn" | "stop_sequence" | "pause_turn" if reply.uses:
                return replace(self, cut_short=0, pauses=0)._plan_calls(reply)
            case "tool_use" | "end_turn" | "stop_sequence" if reply.output_fault:
                return self._not_the_output(reply)
            case "tool_use" | "end_turn" | "stop_sequence" if reply.text.strip():
                return replace(self, end=Finish("succeeded", "", reply.text, reply.output))
            case "tool_use" | "end_turn" | "stop_sequence" if not self.nudged:
                return replace(self, nudged=True, new=(prompt.user(prompt.NO_ANSWER),))
            case "tool_use" | "end_turn" | "stop_sequence":
                return self.failed("the model ended twice without an answer")
            case "pause_turn" if self.pauses < PAUSES_AT_MOST:
                return replace(self, pauses=self.pauses + 1)
            case "pause_turn":
                return self.failed(f"the model paused {PAUSES_AT_MOST + 1} times in a row and did not go on")
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
            return replace(agent, new=(prompt.user(prompt.CUT_OFF),))
        asked = tuple(agent._call(use, i, None) for i, use in enumerate(reply.uses))
        answers = {call.id: _result(call.id, prompt.CUT_OFF, is_error=True) for call in asked}
        return replace(agent, asked=asked, answers=answers)._when_all_answered()

    def _not_the_output(self, reply: Reply) -> "Agent":
        """One more try to give the structured result that the task wants."""
        if self.repairs:
            reason = f"the answer does not fit `output`: {reply.output_fault}"
            return replace(self, end=Finish("failed", reason, reply.text))
        said = prompt.NOT_THE_OUTPUT.format(fault=reply.output_fault)
        return replace(self, repairs=1, new=(prompt.user(said),))

    def _turned_over(self, summary: str) -> "Agent":
        """The conversation begins anew; what was done stays done."""
        goal = self.goal or prompt.user(self.task.goal)
        begin = prompt.next_chapter(goal, summary, self.ledger.writes[-200:])
        unread = budget.characters(self.system, self.tools, (begin,))
        return replace(
            self, new=(begin,), prompt_tokens=0, cached=False, unread=unread, chapter_turns=0, ended_chapter=True
        )

    def _plan_calls(self, reply: Reply) -> "Agent":
        by_name = {tool.name: tool for tool in self.tools}
        asked: list[ToolCall] = []
        todo: list[ToolCall] = []
        answers: dict[str, Block] = {}
        ledger, note = self.ledger, self.note
        for index, use in enumerate(reply.uses):
            tool = by_name.get(str(use.get("name")))
            call = self._call(use, index, tool)
            ledger = ledger.wanted(call)
            asked.append(call)
            if ledger.is_looping(call):
                reason = f"limit reached: the same call {SAME_CALL_STOPS} times, {call.tool}"
                return replace(self, end=Finish("stopped", reason, reply.text))
            if no := self._refusal(call, tool, use, todo) or ledger.refusal(call, self.tools):
                answers[call.id] = _result(call.id, no, is_error=True)
            elif tool == prompt.KEEP_NOTE:
                note = str(call.arguments.get("text", ""))[: prompt.NOTE_LIMIT]
                answers[call.id] = _result(call.id, "Kept.", is_error=False)
            else:
                todo.append(call)
        agent = replace(self, asked=tuple(asked), todo=tuple(todo), answers=answers, ledger=ledger, note=note)
        return agent._when_all_answered()

    def _refusal(self, call: ToolCall, tool: Tool | None, use: Block, todo: list[ToolCall]) -> str:
        """Why a call is not made, or nothing."""
        if tool is None:
            return f"There is no tool named {call.tool!r}. Tools: {', '.join(t.name for t in self.tools) or 'none'}."
        if not isinstance(use.get("input"), dict):
            return "The arguments must be a JSON object."
        if not self.people and needs_approval(tool, self.task.tools):
            return "Denied: this call needs a person's approval, and nobody approved it. Go on without it."
        same = {fingerprint(other.tool, other.arguments) for other in todo if other.effect not in REPEATABLE}
        return MADE_ALREADY if fingerprint(call.tool, call.arguments) in same else ""

    def _call(self, use: Block, index: int, tool: Tool | None) -> ToolCall:
        said: Any = use.get("input")
        arguments = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        return ToolCall(
            id=str(use.get("id")),
            tool=str(use.get("name")),
            toolkit=tool.toolkit if tool else "",
            effect=tool.effect if tool else "write",
            arguments=arguments,
            effect_id=effect_id(self.seed, self.turns, index),
            run_as=self.task.run_as,
        )

    # --- bookkeeping ---

    def _answered(self, results: tuple[ToolResult, ...], *, recorded: bool) -> "Agent":
        agent = self
        for result in results:
            call = next(call for call in agent.todo if call.id == result.call_id)
            rest = tuple(other for other in agent.todo if other is not call)
            agent = replace(agent, todo=rest, calls=agent.calls + (result.state != "denied"))
            if call.effect not in REPEATABLE and result.state == "unknown" and agent.people:
                if self.task.on_unknown == "stop":
                    wrote = agent._settle(call, result)
                    return wrote.stopped(f"nobody knows whether {call.tool} took effect: {result.content}")
                if self.task.on_unknown == "ask":
                    doubt = agent.ledger.wrote(call.tool, call.arguments, "unknown")
                    agent = replace(agent, doubtful=(*agent.doubtful, call), ledger=doubt)
                    continue
            agent = agent._settle(call, result, recorded=recorded)
        return agent

    def _without_what_was_made(self) -> "Agent":
        """Drop writes that turned out to be made already, and say so to the model."""
        agent = self
        for call in self.todo:
            if call.effect in REPEATABLE or not agent.ledger.is_settled(call):
                continue
            said = _result(call.id, agent.ledger.refusal(call, agent.tools), is_error=True)
            rest = tuple(other for other in agent.todo if other is not call)
            agent = replace(agent, todo=rest, answers={**agent.answers, call.id: said})._when_all_answered()
        return agent

    def _settle(self, call: ToolCall, result: ToolResult, *, recorded: bool = False) -> "Agent":
        """One call has its answer; a write is not forgotten."""
        agent = self
        if call.effect not in REPEATABLE or result.state == "denied":
            agent = replace(agent, ledger=agent.ledger.wrote(call.tool, call.arguments, result.state))
        return agent._answer(call, result, recorded=recorded)

    def _answer(self, call: ToolCall, result: ToolResult, *, recorded: bool = False) -> "Agent":
        """Tell the model what came of a call."""
        agent = self
        if recorded and result.state in ("done", "refused"):
            block: Block = {"type": RECORDED, "tool_use_id": call.id}
            unread = len(result.content)
        else:
            text = for_model(result, call, agent.tools)
            block, unread = _result(call.id, text, is_error=result.state != "done"), len(text)
        answers = {**agent.answers, call.id: block}
        return replace(agent, answers=answers, unread=agent.unread + unread)._when_all_answered()

    def _when_all_answered(self) -> "Agent":
        if self.todo or self.doubtful or any(call.id not in self.answers for call in self.asked):
            return self
        return replace(self, new=(Message("user", tuple(self.answers[call.id] for call in self.asked)),))

    def _with_note(self, note: str) -> tuple[Message, ...]:
        if self.new and self.new[-1].role == "user":
            said = self.new[-1]
            return (*self.new[:-1], replace(said, content=(*said.content, prompt.text(note))))
        return (*self.new, prompt.user(note))


def _result(call_id: str, text: str, *, is_error: bool) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
    return {**block, "is_error": True} if is_error else block


def recorded_result(result: ToolResult) -> Block:
    """The block that a RECORDED one stands for."""
    return _result(result.call_id, result.content, is_error=result.state != "done")
