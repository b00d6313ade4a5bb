"""One method per side effect of a run: open it, ask the model, make a call, tell people.

A method translates between Temporal and a port and decides nothing else. It knows protocols, never a
vendor, so that workflow code may name it without loading one. Nothing here retries: Temporal does.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from runner.effects import REPEATABLE, clip, effects_of, is_approved, offered
from runner.made import Earlier, earlier_effects, effects_so_far
from runner.memory import last_result
from runner.moves import Ask
from runner.opening import Opening, Terms
from runner.ports import (
    Model,
    Notifier,
    PermanentError,
    Question,
    Reply,
    Shelf,
    StopSwitch,
    Tool,
    ToolCall,
    Toolkits,
    ToolResult,
    TransientError,
)
from runner.prompt import KEEP_NOTE
from runner.structured import read_output
from runner.transcript import ASK_MODEL, CALL_TOOL, LIST_TOOLS, OPEN_RUN, Transcripts
from schemas.run import Effect, Notice
from schemas.task import Task

PERMANENT = "PermanentError"
"""Type of an activity failure that no retry can mend; its message is written for people."""

SPENT = "Spent"
"""Type of a model turn's failure: what is left of the run's dollars pays for no other try."""

HEARTBEAT_EVERY = 2.0


@dataclass(frozen=True)
class Activities:
    """The side effects of a run, on the ports that a worker was given."""

    model: Model
    toolkits: Toolkits
    notifier: Notifier | None = None
    terms: Terms = field(default_factory=Terms)
    shelf: Shelf | None = None
    """Where texts are kept that are too long for history; without one they are only clipped."""
    switch: StopSwitch | None = None
    pause: Callable[[Client, str, str], Awaitable[bool]] | None = None
    """Pauses the schedule of a task, with a reason; False if it was paused already."""
    transcripts: Transcripts = field(default_factory=Transcripts)

    @activity.defn(name=OPEN_RUN)
    async def open_run(self, task: Task, links: bool) -> Opening:  # noqa: FBT001 - Temporal hands it over by place
        """What a run begins with: its tools, or what is not connected (with `links`), and the server's terms."""
        terms = self.terms
        opening = Opening(
            limits=terms.limits(task),
            price=terms.price(task),
            sum_up_at=terms.sum_up_at,
            pause_after=terms.pause_after,
            url=terms.url,
            run_id=activity.info().workflow_run_id or "",
        )
        async with _alive():
            with _as_temporal_errors():
                if above := terms.above(opening.limits):
                    raise PermanentError(above)
                if opening.limits.cost_usd is not None and opening.price is None:
                    model = task.model or terms.model
                    raise PermanentError(
                        f"nobody knows what {model!r} costs, so `limits.cost_usd` cannot be kept: "
                        "name its price in goalfile.config.yaml under model.prices, or take the limit out"
                    )
                await self._check_switch()
                missing = await self.toolkits.missing(task.toolkit, task.run_as, links=links) if task.toolkit else ()
                if missing:
                    return replace(opening, missing=missing)
                found = await self.toolkits.tools(task.toolkit, task.run_as) if task.toolkit else ()
            before = await last_result(activity.client(), task.name) if task.memory != "none" else None
        own = (KEEP_NOTE,) if task.memory == "notes" else ()
        opening = replace(opening, tools=(*offered(found, task.tools), *own), before=before)
        self.transcripts.opened(opening.tools, task)
        return opening

    @activity.defn(name=LIST_TOOLS)
    async def list_tools(self, task: Task) -> list[Tool]:
        """The tools of a task, for runs that the first release began."""
        async with _alive():
            with _as_temporal_errors():
                found = await self.toolkits.tools(task.toolkit, task.run_as) if task.toolkit else ()
        tools = offered(found, task.tools)
        self.transcripts.opened(tools, task)
        return list(tools)

    @activity.defn(name=ASK_MODEL)
    async def ask_model(self, ask: Ask) -> Reply:
        """One model turn."""
        said = activity.info().heartbeat_details
        lost = int(said[0]) if said else 0  # tries before this one that may be billed
        if ask.tries is not None and lost >= ask.tries:
            raise ApplicationError("its tries are used up", type=SPENT, non_retryable=True)
        async with _alive(lost + 1):
            tools, messages, task = await self.transcripts.before(ask, activity.client())
            quiet = bool(ask.last or ask.sum_up)
            question = Question(ask.system, messages, tools, not quiet, ask.model, ask.max_tokens)
            with _as_temporal_errors():
                try:
                    await self._check_switch()
                    reply = await self.model.ask(question)
                except TransientError as error:
                    activity.heartbeat(lost + error.sent)
                    raise
        reply = replace(reply, lost=lost)
        if task is not None and task.output is not None and not (reply.uses or ask.sum_up):
            output, fault = read_output(reply.text, task.output)
            reply = replace(reply, output=output, output_fault=fault)
        self.transcripts.replied(ask, reply)
        return reply

    @activity.defn(name=CALL_TOOL)
    async def call_tool(self, call: ToolCall) -> ToolResult:
        """One tool call. A write is finished even if the run is cancelled meanwhile."""
        async with _alive():
            return await (self._called(call) if call.effect in REPEATABLE else _to_its_end(self._called(call)))

    async def _called(self, call: ToolCall) -> ToolResult:
        """The result as history keeps it."""
        result = await self._call(call)
        kept = ""
        if self.shelf and len(result.content) > len(clip(result.content)):
            kept = await self.shelf.keep(_run_of(call), call.id, result.content)
        result = replace(result, content=clip(result.content, kept=f"the whole is kept as {kept}" if kept else ""))
        self.transcripts.returned(call, result)
        return result

    @activity.defn(name="earlier-effects")
    async def earlier_effects(self, effect: str) -> Earlier:
        """What was made under this id, and all that this run had made, before it was set back."""
        async with _alive():
            return await earlier_effects(activity.client(), effect)

    @activity.defn(name="effects-so-far")
    async def effects_so_far(self, seed: str) -> list[Effect]:
        """All that a run has made, in whatever course or history."""
        async with _alive():
            return await effects_so_far(activity.client(), effects_of(seed))

    @activity.defn(name="notify")
    async def notify(self, channel: str, notice: Notice) -> None:
        """Tell one channel."""
        with _as_temporal_errors():
            if self.notifier is None:
                raise PermanentError(f"this worker has no channel {channel}: name it in goalfile.config.yaml")
            await self.notifier.send(channel, notice)

    @activity.defn(name="pause-schedule")
    async def pause_schedule(self, task: str, reason: str) -> bool:
        """Pause a task's schedule; False if it was paused already."""
        return await self.pause(activity.client(), task, reason) if self.pause else False

    async def _call(self, call: ToolCall) -> ToolResult:
        repeatable = call.effect in REPEATABLE
        # The run has asked a person before it came to this; nothing destructive depends on that alone.
        if call.effect == "destructive" and not is_approved(call):
            return ToolResult(call.id, "refused", "a person must approve exactly this call first, and nobody did")
        try:
            await self._check_switch()
            return await self.toolkits.call(call)
        except PermanentError as error:
            return ToolResult(call.id, "refused", str(error))
        except TransientError as error:
            if repeatable:
                raise _failure(error, "TransientError", error.retry_after) from None
            return ToolResult(call.id, "unknown" if error.sent else "not_run", str(error))

    async def _check_switch(self) -> None:
        """Raise TransientError while a person has stopped everything."""
        if self.switch and (stopped := await self.switch.stopped()) is not None:
            raise TransientError(f"everything is stopped: {stopped}", retry_after=5.0, sent=False)


async def _to_its_end(call: Coroutine[Any, Any, ToolResult]) -> ToolResult:
    """Wait for a write through a cancellation: cutting it would leave its outcome unknown."""
    running = asyncio.ensure_future(call)
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError:
            if activity.is_worker_shutdown():
                running.cancel()
                raise
    return running.result()


def _run_of(call: ToolCall) -> str:
    """The id of the run that makes a call, also where a write is a workflow of its own."""
    return call.of[0] if call.of else activity.info().workflow_id or ""


@asynccontextmanager
async def _alive(said: int | None = None) -> AsyncGenerator[None]:
    """Tell the server every two seconds that this step is alive: a dead worker is noticed soon."""
    details = () if said is None else (said,)

    async def beat() -> None:
        while True:
            activity.heartbeat(*details)
            await asyncio.sleep(HEARTBEAT_EVERY)

    beating = asyncio.create_task(beat())
    try:
        await asyncio.sleep(0)  # the first beat goes out before anything else does
        yield
    finally:
        beating.cancel()


@contextmanager
def _as_temporal_errors() -> Generator[None]:
    try:
        yield
    except PermanentError as error:
        raise _failure(error, PERMANENT, None) from None
    except TransientError as error:
        raise _failure(error, "TransientError", error.retry_after) from None


def _failure(error: Exception, kind: str, retry_after: float | None) -> ApplicationError:
    # Not its words: a tool's or a vendor's may hold what histories are encrypted for. `goalfile logs` tells them.
    activity.logger.warning("%s in %s: see the logs of the run", kind, activity.info().activity_type)
    return ApplicationError(
        str(error),
        type=kind,
        non_retryable=kind == PERMANENT,
        next_retry_delay=None if retry_after is None else timedelta(seconds=retry_after),
        # Foreseen, and logged in one line above: the SDK need not print a traceback.
        category=ApplicationErrorCategory.BENIGN,
    )
