"""RunTask: the durable shell around the agent value.

It performs what `agent.next()` says, one activity or one write a step, and hands back what came of it.
It holds no rule of its own about tools or limits; those are the agent's. Loads no vendor.
"""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from runner import desk, prompt, reporting, steps
    from runner.agent import Agent
    from runner.effects import REPEATABLE, lost
    from runner.making import make, why
    from runner.metrics import count_cost, count_run, count_tokens, count_unknown, count_waiting
    from runner.moves import Ask, Calls, Finish, NewChapter, Person
    from runner.opening import Carried, Opening
    from runner.ports import Message, Reply, ToolCall, ToolResult
    from runner.telling import tell
    from schemas import wire
    from schemas.duration import format_duration
    from schemas.run import Decision, Progress, RunRequest, RunResult, Status, Step, Usage, Waiting
    from schemas.task import Task

LOOK_AGAIN_AT_LEAST, LOOK_AGAIN_AT_MOST = timedelta(seconds=15), timedelta(minutes=10)
"""How often a run looks whether its toolkits are connected by now."""

_STATUS = SearchAttributeKey.for_keyword(wire.STATUS)
_SLOT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
_CARRIED = TypeAdapter(Carried)
_SCHEDULE = SearchAttributeKey.for_keyword("TemporalScheduledById")


@workflow.defn(name=wire.RUN_TASK)
class RunTask:
    """One run of one task."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        self.request = request
        self.carried = carried = _CARRIED.validate_python(request.carried or {})
        self.status: Status = "running"
        self.reason = carried.reason
        self.steps = steps.Steps(carried.steps)
        self.agent: Agent | None = None
        self.opening = Opening()
        self.desk = desk.Desk()
        self.started = carried.started_at or workflow.now()  # its wait for a worker is not its own
        self.waited = carried.waited
        self.look_again = False
        self.reminded = False

    @workflow.query(name=wire.PROGRESS)
    def progress(self) -> Progress:
        """How far the run is."""
        agent = self.agent
        return Progress(
            status=self.status,
            reason=self.reason,
            turns=agent.turns if agent else 0,
            calls=agent.calls if agent else 0,
            usage=agent.usage if agent else Usage(),
            cost_usd=_dollars(agent),
            steps=tuple(self.steps),
            waiting=self.desk.unanswered,
        )

    @workflow.update(name=wire.DECIDE)
    def decide(self, decision: Decision) -> None:
        """A person's word on something that waits for one."""
        self.desk.take(decision)
        if (rest := self.desk.unanswered) and workflow.patched("answered-one-by-one"):
            workflow.upsert_memo({wire.WAITING: list(rest)})

    @decide.validator
    def check_decision(self, decision: Decision) -> None:
        """Refuse a word that nothing waits for; the refusal leaves no trace in history."""
        self.desk.check(decision, workflow.now())

    @workflow.signal(name=wire.RECHECK)
    def recheck(self) -> None:
        """Somebody connected something."""
        self.look_again = True

    @workflow.run
    async def run(self, request: RunRequest) -> RunResult:
        """Drive the agent to its end. Always returns a result, also for a run that failed."""
        # Runs of the first release could ask nobody, and made their writes themselves.
        people = workflow.patched("people-and-ledger")
        self._say("running")
        try:
            end = await self._drive(request, people=people)
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise
            end = Finish("cancelled", workflow.cancellation_reason() or "cancelled")
        if end.outcome == "failed" and not end.hopeless and self.carried.tries <= request.task.retries:
            self._try_again(end)
        return await self._end(end)

    async def _drive(self, request: RunRequest, *, people: bool) -> Finish:
        opened = await (self._open(request) if people else self._open_first_release(request))
        if isinstance(opened, Finish):
            return opened
        self.agent = opened
        while True:
            if workflow.cancellation_reason() is not None:
                return Finish("cancelled", workflow.cancellation_reason() or "cancelled")
            elapsed = workflow.now() - self.started - self.waited
            match self.agent.next(elapsed, long=people and workflow.info().is_continue_as_new_suggested()):
                case Finish() as end:
                    return end
                case Ask() as ask:
                    self.agent = await self._ask(self.agent, ask, request.task.limits.timeout - elapsed)
                case Person() as person:
                    self.agent = await self._ask_people(self.agent, person)
                case NewChapter():
                    workflow.continue_as_new(self._continued(self.agent))
                case Calls((ToolCall() as call,)) if people and call.effect not in REPEATABLE:
                    if self._was_set_back(call):
                        self.agent = await self._reminded(self.agent)
                    else:
                        self.agent = await self._make(self.agent, call)
                case Calls(calls):
                    for result, recorded in await asyncio.gather(*(self._call(call) for call in calls)):
                        self.agent = self.agent.observed(result) if recorded else self.agent.told(result)

    # --- beginning and going on ---

    async def _open(self, request: RunRequest) -> Agent | Finish:
        until = workflow.now() + request.task.approval.timeout
        pause = LOOK_AGAIN_AT_LEAST
        while True:
            try:
                links = self.look_again or not self.desk.waiting
                opening = await steps.open_run(request.task, links=links)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                return Finish(
                    "failed", f"the tools could not be listed: {why(error)}", hopeless=steps.is_permanent(error)
                )
            self.opening = opening
            if not opening.missing:
                break
            if workflow.now() >= until:
                names = ", ".join(each.toolkit for each in opening.missing)
                return Finish(
                    "failed", f"nobody connected {names} within {format_duration(request.task.approval.timeout)}"
                )
            self.look_again = False
            await self._wait_for(self.desk.still_missing(opening.missing, workflow.now(), until))
            await self._pause(min(pause, until - workflow.now()))
            pause = min(pause * 2, LOOK_AGAIN_AT_MOST)
        self._no_longer_waiting()
        task = request.task.model_copy(update={"limits": opening.limits})
        agent = self._begun(request, task, opening)
        # Another history than the first is a new part of a long run, or one that was reset to its beginning.
        again = opening.run_id not in ("", workflow.info().first_execution_run_id)
        return await self._reminded(agent) if again else agent

    def _begun(self, request: RunRequest, task: Task, opening: Opening) -> Agent:
        if self.carried.agent:
            return replace(self.carried.agent, task=task, tools=opening.tools, ended_chapter=False)
        goal = self._goal(request)
        return Agent(
            task=task,
            system=prompt.system(task),
            tools=opening.tools,
            seed=workflow.info().first_execution_run_id,
            new=(goal,),
            goal=goal,
            price=opening.price,
            sum_up_at=opening.sum_up_at,
            note=before.note if (before := self._before()) else "",
        )

    async def _open_first_release(self, request: RunRequest) -> Agent | Finish:
        try:
            tools = await steps.list_tools(request.task)
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return Finish("failed", f"the tools could not be listed: {why(error)}")
        goal, seed = self._goal(request), workflow.info().first_execution_run_id
        return Agent(request.task, prompt.RULES, tuple(tools), seed, (goal,), people=False)

    def _goal(self, request: RunRequest) -> Message:
        info, last = workflow.info(), _last_scheduled()
        slot = info.typed_search_attributes.get(_SLOT) or self.started
        memory = prompt.remembered(request.task, self._before())
        return prompt.first_message(request, info.workflow_id, slot, last.started_at if last else None, memory)

    def _before(self) -> RunResult | None:
        """The run whose memory this one is given: the later of the schedule's last and the task's last."""
        known = [each for each in (_last_scheduled(), self.opening.before) if each]
        return max(known, key=lambda each: each.ended_at, default=None)

    def _try_again(self, end: Finish) -> NoReturn:
        """Once more from the goal on, with what was spent and made in mind."""
        tries = self.carried.tries + 1
        self.reason = f"try {tries} of {self.request.task.retries + 1}, after: {end.reason}"
        again = self._continued(self.agent.begun_again(self.reason) if self.agent else None, tries)
        later = min(timedelta(seconds=15) * 2 ** (tries - 2), timedelta(minutes=10))
        workflow.continue_as_new(again, backoff_start_interval=later)

    def _continued(self, agent: Agent | None, tries: int = 0) -> RunRequest:
        """The request of this run's next history."""
        tries = tries or self.carried.tries
        along = Carried(agent, tuple(self.steps), self.started, self.waited, tries, self.reason)
        return self.request.model_copy(update={"carried": _CARRIED.dump_python(along, mode="json")})

    # --- steps ---

    async def _ask(self, agent: Agent, ask: Ask, left: timedelta) -> Agent:
        try:
            reply: Reply = await self.steps.follow(
                Step(kind="turn", name=f"turn {ask.turn}", started_at=workflow.now()),
                "not_run",
                steps.ask_model(ask, left),
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            if steps.is_spent(error):
                return agent.unheard(ask, steps.lost_tries(error, ask))
            if ask.last:
                return agent.stopped(f"{ask.last}; the model gave no report: {why(error)}")
            if steps.is_permanent(error):
                return agent.failed(why(error), hopeless=True)
            if agent.turns and workflow.patched("report-when-late"):
                return agent.unheard(ask, steps.lost_tries(error, ask))
            return agent.stopped(f"limit reached: no answer from the model in time; {why(error)}")
        heard = agent.heard(ask, reply)
        count_tokens(workflow.metric_meter(), reply.usage, reply.model)
        count_cost(workflow.metric_meter(), heard.cost - agent.cost)
        return heard

    async def _make(self, agent: Agent, call: ToolCall) -> Agent:
        """Make one write, if its place in the run was not used before."""
        step = Step(kind="call", name=call.tool, started_at=workflow.now())
        name = self.request.task.name or wire.AD_HOC
        result, recorded, earlier = await self.steps.follow(step, "unknown", make(call, name))
        if result.state == "unknown":
            count_unknown(workflow.metric_meter(), call.toolkit)
        agent = agent.observed(result) if recorded else agent.told(result)
        return agent.remembering(earlier) if earlier else agent

    def _was_set_back(self, call: ToolCall) -> bool:
        """Whether an operator has reset this run since it began, and it was not told so yet."""
        now = workflow.info().run_id
        if self.reminded or self.opening.run_id in ("", now):
            return False
        # What was kept of the old course is replayed in the new one, and was decided before the reset.
        return workflow.patched(f"set-back-{call.effect_id}")

    async def _reminded(self, agent: Agent) -> Agent:
        """With all that the run made, in a course that was taken back or in an earlier history."""
        self.reminded = True
        return agent.remembering(tuple(await steps.effects_so_far(agent.seed)))

    async def _call(self, call: ToolCall) -> tuple[ToolResult, bool]:
        repeatable = call.effect in REPEATABLE
        try:
            result: ToolResult = await self.steps.follow(
                Step(kind="call", name=call.tool, started_at=workflow.now()),
                "refused" if repeatable else "unknown",
                steps.call_tool(call),
            )
        except ActivityError as error:
            if is_cancelled_exception(error) and repeatable:
                raise
            return lost(call, why(error)), False
        return result, True

    # --- people ---

    async def _ask_people(self, agent: Agent, person: Person) -> Agent:
        """Wait until every question has its answer, or its time is over. No worker is needed meanwhile."""
        since, span = workflow.now(), agent.task.approval.timeout
        asked = desk.questions(person, since, since + span, self._link())
        await self._wait_for(asked)
        await self._until(lambda: all(each.id in self.desk.decisions for each in asked), span)
        for question, call in zip(asked, person.calls, strict=True):
            said = self.desk.decisions.get(question.id)
            if said is None:
                agent = agent.decided(
                    call.effect_id, approve=None, said=f"nobody answered within {format_duration(span)}"
                )
            else:
                agent = agent.decided(call.effect_id, approve=said.approve, said=said.note)
            if not (said and said.approve):
                step = Step(kind="call", name=call.tool, state="denied", started_at=since, ended_at=workflow.now())
                self.steps.append(step)
        self._no_longer_waiting()
        return agent

    async def _wait_for(self, asked: tuple[Waiting, ...]) -> None:
        new = [each for each in asked if each.id not in self.desk.asked]
        self.desk.open(asked)
        self.reason = reporting.why_it_waits(asked)
        self._say("waiting")
        workflow.upsert_memo({wire.WAITING: list(self.desk.waiting.values())})
        for each in new:
            count_waiting(workflow.metric_meter(), each.kind)
        if new:
            run, now = workflow.info().workflow_id, workflow.now()
            await tell(reporting.waiting(self.request.task, run, asked, now, self._link()))

    async def _until(self, answered: Any, at_most: timedelta) -> None:
        since = workflow.now()
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(answered, timeout=at_most)
        self.waited += workflow.now() - since

    async def _pause(self, at_most: timedelta) -> None:
        await self._until(lambda: self.look_again, max(at_most, timedelta(seconds=1)))

    def _no_longer_waiting(self) -> None:
        if self.desk.waiting:
            self.desk.close(self.desk.waiting)
            self.reason = ""
            self._say("running")
            workflow.upsert_memo({wire.WAITING: []})

    # --- the end ---

    async def _end(self, end: Finish) -> RunResult:
        agent, last = self.agent, _last_scheduled()
        result = RunResult(
            status=end.outcome,
            reason=end.reason,
            summary=end.summary,
            output=end.output,
            steps=tuple(self.steps),
            usage=agent.usage if agent else Usage(),
            cost_usd=_dollars(agent),
            in_a_row=reporting.in_a_row(end, last),
            note=agent.note if agent else before.note if (before := self._before()) else "",
            started_at=self.started,
            ended_at=workflow.now(),
        )
        count_run(workflow.metric_meter(), end.outcome, self.request.task.name if self.request.source.path else "")
        self.reason = end.reason
        self.desk.close(self.desk.waiting)
        self._say(end.outcome)
        info = workflow.info()
        unknown = agent.ledger.unknown if agent else ()
        run = info.workflow_id
        notices = reporting.ended(self.request.task, run, result, last, unknown=unknown, link=self._link())
        if info.typed_search_attributes.get(_SCHEDULE) and result.in_a_row == self.opening.pause_after:
            notices += await self._pause_schedule(result)
        await tell(notices)
        return result

    async def _pause_schedule(self, result: RunResult) -> list[tuple[str, Any]]:
        """It fails the same way again and again: stop it until a person has looked, and say so once."""
        run = workflow.info().workflow_id
        # A note is never encrypted, and a reason may hold anything.
        said = f"{result.in_a_row} equal failures in a row; the last is {run}"
        try:
            paused = await steps.pause_schedule(self.request.task.name, said)
        except ActivityError as error:
            workflow.logger.warning("the schedule could not be paused: %s", why(error))
            return []
        if not paused:
            return []
        return reporting.paused(self.request.task, run, said, result, self._link())

    def _link(self) -> str:
        return f"{self.opening.url}/runs/{workflow.info().workflow_id}" if self.opening.url else ""

    def _say(self, status: Status) -> None:
        self.status = status
        mark = _STATUS.value_set(status)
        workflow.upsert_search_attributes([mark])  # pyright: ignore[reportUnknownMemberType]


def _last_scheduled() -> RunResult | None:
    """How the schedule's run before this one ended, if a schedule started it."""
    return workflow.get_last_completion_result(RunResult) if workflow.has_last_completion_result() else None


def _dollars(agent: Agent | None) -> float | None:
    return round(agent.cost, 6) if agent and agent.price else None
