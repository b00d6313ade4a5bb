"""Ports for tests of runs: a model that follows a script and tools that do what they are told."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from runner.activities import Activities
from runner.adapters.scripted import ScriptedModel
from runner.following import follow
from runner.people import Open, open_questions
from runner.ports import Block, Effect, Missing, Question, Reply, Tool, ToolCall, ToolResult
from runner.runs import find_run, start_run
from runner.worker import make_worker
from schemas.run import RunRequest, RunResult, Usage
from schemas.task import Task
from schemas.wire import notice_workflow_id

Outcome = str | Exception


class Thinker(ScriptedModel):
    """Answers from a script and remembers what it was asked."""

    def __init__(self, *script: Reply | Exception) -> None:
        super().__init__(script)
        self.questions: list[Question] = []

    async def ask(self, question: Question) -> Reply:
        self.questions.append(question)
        return await super().ask(question)


class Box:
    """One toolkit, `box`, with a tool for each effect. `outcomes` are what its calls come to, in order."""

    def __init__(self, *outcomes: Outcome, during: Callable[[ToolCall], object] | None = None) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[ToolCall] = []
        self.finished = 0
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.leave.set()
        self.unconnected: tuple[Missing, ...] = ()
        self._during = during

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:
        effects: tuple[Effect, ...] = ("read", "idempotent", "write", "destructive")
        return tuple(Tool(effect.upper(), "box", f"{effect}s", {"type": "object"}, effect) for effect in effects)

    async def missing(
        self, toolkits: tuple[str, ...], run_as: str | None, *, links: bool = True
    ) -> tuple[Missing, ...]:
        return self.unconnected

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls.append(call)
        self.entered.set()
        await self.leave.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if isinstance(outcome, Exception):
            raise outcome
        self.finished += 1
        return ToolResult(call.id, "done", outcome)


def says(text: str) -> Reply:
    return Reply(({"type": "text", "text": text},), "end_turn", Usage(input_tokens=7, output_tokens=3))


def wants(*names: str, prefix: str = "c") -> Reply:
    uses = [{"type": "tool_use", "id": f"{prefix}{i}", "name": name, "input": {"n": i}} for i, name in enumerate(names)]
    thought = {"type": "thinking", "thinking": "hm", "signature": "s1gn3d"}
    return Reply((thought, *uses), "tool_use", Usage(input_tokens=5, output_tokens=5))


def calls(name: str, id_: str = "c0", **arguments: Any) -> Reply:
    """Wants one tool with exactly these arguments."""
    use = {"type": "tool_use", "id": id_, "name": name, "input": arguments}
    return Reply((use,), "tool_use", Usage(input_tokens=5, output_tokens=5))


def working(client: Client, queue: str, model: Thinker, box: Box, **ports: Any) -> AbstractAsyncContextManager[Worker]:
    """A worker with these ports; `ports` are any others of `Activities`."""
    return make_worker(client, Activities(model, box, **ports), queue=queue, grace=timedelta(seconds=5))


async def begin(client: Client, queue: str, task: Task | None = None) -> WorkflowHandle[object, RunResult]:
    request = RunRequest(task=task or Task(goal="Do it.", toolkit=("box",), name=f"t-{queue}"), trigger="cli")
    return client.get_workflow_handle(await start_run(client, request, queue), result_type=RunResult)


def said(questions: Sequence[Question]) -> list[list[str]]:
    """The roles of each question's messages."""
    return [[message.role for message in question.messages] for question in questions]


def results_in(model: Thinker) -> list[Block]:
    """The tool results that the model was last shown."""
    blocks = [block for message in model.questions[-1].messages for block in message.content]
    return [block for block in blocks if block.get("type") == "tool_result"]


async def waits(client: Client, run: str) -> None:
    """Return once this run has said that it waits for a person; its history tells."""
    async for line in follow(client, await find_run(client, run), wait=True):
        if line.kind == "waiting":
            return
    raise AssertionError(f"{run} ended and never waited")


async def questions_of(client: Client, handle: WorkflowHandle[Any, Any], task: str, how_many: int = 1) -> list[Open]:
    """The open questions of a run's task, once the server lists so many: a list follows history a moment later."""
    if how_many:
        await waits(client, handle.id)
    async with asyncio.timeout(10):
        while len(asked := await open_questions(client, task)) != how_many:
            await asyncio.sleep(0.02)
    return asked


async def told(client: Client, notice: str) -> list[str]:
    """Wait until a notice was told to its channels; those that could not be told, with why."""
    return await client.get_workflow_handle(notice_workflow_id(notice), result_type=list[str]).result()
