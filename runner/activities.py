"""One method per side effect of a run: list the tools, ask the model, make a call.

A method translates between Temporal and a port and decides nothing else. It knows protocols, never a
vendor, so that workflow code may name it without loading one. Nothing here retries: Temporal does.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from runner.agent import Ask
from runner.effects import REPEATABLE, clip, offered
from runner.ports import Model, PermanentError, Question, Reply, Tool, ToolCall, Toolkits, ToolResult, TransientError
from runner.transcript import ASK_MODEL, CALL_TOOL, LIST_TOOLS, Transcripts
from schemas.task import Task

PERMANENT = "PermanentError"
"""Type of an activity failure that no retry can mend; its message is written for people."""

HEARTBEAT_EVERY = 2.0


@dataclass(frozen=True)
class Activities:
    """The side effects of a run, on the ports that a worker was given."""

    model: Model
    toolkits: Toolkits
    transcripts: Transcripts = field(default_factory=Transcripts)

    @activity.defn(name=LIST_TOOLS)
    async def list_tools(self, task: Task) -> list[Tool]:
        """The tools that this task may use, in the order in which the model is shown them."""
        async with _alive():
            with _as_temporal_errors():
                found = await self.toolkits.tools(task.toolkit, task.run_as) if task.toolkit else ()
        tools = offered(found, task.tools)
        self.transcripts.opened(tools)
        return list(tools)

    @activity.defn(name=ASK_MODEL)
    async def ask_model(self, ask: Ask) -> Reply:
        """One model turn."""
        async with _alive():
            tools, messages = await self.transcripts.before(ask, activity.client())
            question = Question(ask.system, messages, tools, may_call=not ask.last, model=ask.model)
            with _as_temporal_errors():
                reply = await self.model.ask(question)
        self.transcripts.replied(ask, reply)
        return reply

    @activity.defn(name=CALL_TOOL)
    async def call_tool(self, call: ToolCall) -> ToolResult:
        """One tool call. A write is finished even if the run is cancelled meanwhile."""
        async with _alive():
            result = await self._call(call)
        result = replace(result, content=clip(result.content))
        self.transcripts.returned(result)
        return result

    async def _call(self, call: ToolCall) -> ToolResult:
        repeatable = call.effect in REPEATABLE
        try:
            running = self.toolkits.call(call)
            return await (running if repeatable else _to_its_end(running))
        except PermanentError as error:
            return ToolResult(call.id, "refused", str(error))
        except TransientError as error:
            if repeatable:
                raise _failure(error, "TransientError", error.retry_after) from None
            return ToolResult(call.id, "unknown" if error.sent else "not_run", str(error))


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


@asynccontextmanager
async def _alive() -> AsyncGenerator[None]:
    """Tell the server every two seconds that this step is alive: a dead worker is noticed soon."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_EVERY)

    beating = asyncio.create_task(beat())
    try:
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
    activity.logger.warning("%s: %s", kind, error)
    return ApplicationError(
        str(error),
        type=kind,
        non_retryable=kind == PERMANENT,
        next_retry_delay=None if retry_after is None else timedelta(seconds=retry_after),
        # Foreseen, and logged in one line above: the SDK need not print a traceback.
        category=ApplicationErrorCategory.BENIGN,
    )
