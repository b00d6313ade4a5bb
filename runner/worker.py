"""The worker process: the one place where ports meet their vendors.

It executes steps until it is told to stop; then it takes no new step, finishes the ones in flight
within its grace, and exits 0. It decides nothing about tasks or schedules.
"""

import asyncio
import os
import signal
import sys
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from runner.activities import Activities
from runner.ports import Model, PermanentError, Tool, ToolCall, Toolkits, ToolResult
from runner.settings import Settings
from runner.workflow import RunTask


class NoModel(Exception):  # noqa: N818 - it reads as a state
    """There is no key for a model, and nobody asked for a scripted one."""


class NoToolkits:
    """What a worker without a key for tools has: every toolkit is a permanent error that says so."""

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:  # noqa: ARG002
        """Refuse."""
        raise PermanentError(f"this worker cannot use {', '.join(toolkits)}: set COMPOSIO_API_KEY where it runs")

    async def call(self, call: ToolCall) -> ToolResult:
        """Refuse."""
        raise PermanentError(f"this worker cannot use {call.toolkit}: set COMPOSIO_API_KEY where it runs")


def choose_model(settings: Settings, *, scripted: bool) -> Model:
    """The model that the settings allow. Only who says `scripted` gets a pretended one: raises NoModel."""
    if settings.scripted_model:
        if not scripted:
            raise NoModel("no model to think with: set ANTHROPIC_API_KEY, or say --scripted for pretended thinking")
        from runner.adapters.scripted import ScriptedModel  # noqa: PLC0415 - only what is used is loaded

        return ScriptedModel(pause=settings.scripted_pause)
    from runner.adapters.anthropic import AnthropicModel  # noqa: PLC0415

    return AnthropicModel(settings.anthropic_key or "", settings.anthropic_base_url, settings.model)


def choose_toolkits(settings: Settings, *, scripted: bool) -> Toolkits:
    """Composio with a key and a real model; folders only for who says `scripted`."""
    if settings.scripted_toolkits and not scripted:
        return NoToolkits()
    if settings.scripted_toolkits:
        from runner.adapters.scripted import ScriptedToolkits  # noqa: PLC0415

        return ScriptedToolkits(settings.workspace, pause=settings.scripted_pause)
    from runner.adapters.composio import ComposioToolkits  # noqa: PLC0415

    return ComposioToolkits(settings.composio_key or "", settings.composio_base_url, settings.run_as)


def sandbox() -> SandboxedWorkflowRunner:
    """The workflow sandbox, with our own code passed through: it is pure, and loading it anew is slow."""
    passed = SandboxRestrictions.default.with_passthrough_modules("schemas", "runner", "pydantic")
    return SandboxedWorkflowRunner(restrictions=passed)


def make_worker(client: Client, activities: Activities, *, queue: str, grace: timedelta) -> Worker:
    """A worker for runs, on the ports it is given."""
    return Worker(
        client,
        task_queue=queue,
        workflows=[RunTask],
        activities=[activities.list_tools, activities.ask_model, activities.call_tool],
        workflow_runner=sandbox(),
        # A dead worker's cached runs go to another one after this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=grace,
        # Runs wait for networks, not for processors; many fit into one process.
        max_concurrent_activities=100,
        # Without one the SDK hashes every loaded module at start-up to make its own.
        build_id="goalfile",
    )


async def serve(client: Client, settings: Settings, activities: Activities, *, exit_with_stdin: bool = False) -> None:
    """Work until SIGTERM or SIGINT, or until a parent that holds our standard input is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    if exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 1024) else stop.set())
    async with make_worker(client, activities, queue=settings.queue, grace=timedelta(seconds=settings.grace)):
        await stop.wait()
