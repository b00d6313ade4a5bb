"""The worker process.

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
from runner.making import MakeEffect
from runner.settings import Settings
from runner.telling import TellPeople
from runner.workflow import RunTask
from schemas.config import Config, references
from schemas.redaction import quiet_secrets


def sandbox() -> SandboxedWorkflowRunner:
    """The workflow sandbox, with our own code passed through: it is pure, and loading it anew is slow."""
    passed = SandboxRestrictions.default.with_passthrough_modules("schemas", "runner", "pydantic")
    return SandboxedWorkflowRunner(restrictions=passed)


def make_worker(client: Client, activities: Activities, *, queue: str, grace: timedelta) -> Worker:
    """A worker for runs, on the ports it is given."""
    return Worker(
        client,
        task_queue=queue,
        workflows=[RunTask, MakeEffect, TellPeople],
        activities=[
            activities.open_run,
            activities.list_tools,
            activities.ask_model,
            activities.call_tool,
            activities.earlier_effects,
            activities.effects_so_far,
            activities.notify,
            activities.pause_schedule,
        ],
        workflow_runner=sandbox(),
        # A dead worker's cached runs go to another one after this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=grace,
        # Runs wait for networks, not for processors; many fit into one process.
        max_concurrent_activities=100,
        # Without one the SDK hashes every loaded module at start-up to make its own.
        build_id="goalfile",
    )


def keep_secrets(settings: Settings, config: Config) -> None:
    """From now on no log line of this process holds one of its secrets."""
    named = (settings.environ.get(name) for name in references(config))
    keys = (settings.anthropic_key, settings.composio_key, settings.token, settings.temporal.get("TEMPORAL_API_KEY"))
    quiet_secrets([each for each in (*keys, *named) if each])


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
