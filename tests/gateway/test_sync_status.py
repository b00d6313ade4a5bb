"""GET /v1/sync, over a real server. Every test makes what it needs under an owner of its own."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.common import TypedSearchAttributes

from gateway.app import create_app
from gateway.temporal import connector
from schemas import wire
from schemas.problem import Problem, Span
from schemas.run import RunRequest
from schemas.sync_status import SyncStatus
from schemas.task import Task
from tests.gateway.conftest import House, http_to, keywords, start_temporal
from tests.gateway.test_api import unique, until

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def schedule(stored: Sequence[Any], workflow: str = "goalfile-sync-status") -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(workflow, args=stored, id="never-started", task_queue="nobody"),
        spec=ScheduleSpec(),
        state=ScheduleState(paused=True),
    )


def mark(owner: str) -> TypedSearchAttributes:
    return keywords({wire.OWNER: owner})


async def tell(client: Client, status: SyncStatus) -> None:
    """Keep a status the way sync does."""
    await client.create_schedule(wire.status_id(status.owner), schedule([status]), search_attributes=mark(status.owner))


async def told(house: House) -> dict[str, Any]:
    answer = await house.http.get("/v1/sync")
    assert answer.status_code == 200
    return {status["owner"]: status for status in answer.json()["data"]}


async def is_listed(house: House, schedule_id: str) -> None:
    async def look() -> list[str]:
        return [entry.id async for entry in await house.client.list_schedules()]

    await until(look, lambda ids: schedule_id in ids)


async def test_before_any_sync_there_is_nothing_on_a_namespace_that_is_not_prepared_either() -> None:
    environment = await start_temporal(prepared=False)
    try:
        app = create_app(connector({"target_host": environment.client.service_client.config.target_host}))
        async with http_to(app) as http:
            answer = await http.get("/v1/sync")
        assert (answer.status_code, answer.json()) == (200, {"data": []})
    finally:
        await environment.shutdown()


async def test_every_source_says_all_it_told_by_owner(house: House) -> None:
    word = unique("all")
    wrong = Problem(code="unknown-key", message="unknown key `zork`", file="a.yaml", span=Span(line=2, column=3))
    full = SyncStatus(
        owner=f"{word}-b",
        instance="host:/tasks",
        seen_at=NOON,
        revision="4f1c2aa",
        tasks=3,
        problems=(wrong,),
        notes=("report: two files",),
        blocked=("task-report",),
        confirm="0a1b2c",
        error="it is too much at once",
        wrote_at=NOON - timedelta(hours=1),
        wrote=("create report",),
    )
    statuses = {status.owner: status for status in (full, SyncStatus(owner=f"{word}-a", seen_at=NOON))}
    for status in statuses.values():
        await tell(house.client, status)
    found = await until(lambda: told(house), lambda found: found.keys() >= statuses.keys())
    assert list(found) == sorted(found)
    assert {owner: SyncStatus.model_validate(found[owner]) for owner in statuses} == statuses


async def test_what_is_told_and_what_is_gone_shows_at_once(house: House) -> None:
    owner = unique("news")
    await tell(house.client, SyncStatus(owner=owner, seen_at=NOON, tasks=1))
    await until(lambda: told(house), lambda found: owner in found)
    kept = house.client.get_schedule_handle(wire.status_id(owner))
    news = ScheduleUpdate(schedule([SyncStatus(owner=owner, seen_at=NOON, tasks=2)]), search_attributes=mark(owner))
    await kept.update(lambda _: news)
    assert (await told(house))[owner]["tasks"] == 2
    await kept.delete()
    assert owner not in await told(house)


async def test_more_sources_than_are_looked_at_side_by_side(house: House) -> None:
    owners = {unique("many") for _ in range(20)}
    await asyncio.gather(*(tell(house.client, SyncStatus(owner=owner, seen_at=NOON)) for owner in owners))
    await until(lambda: told(house), lambda found: found.keys() >= owners)


@pytest.mark.parametrize(
    "stored",
    [
        [],
        ["a", "b"],
        [{"owner": 3}],
        [b"encrypted elsewhere"],
        [SyncStatus(owner="another", seen_at=NOON)],
    ],
    ids=["nothing", "too-much", "another-version", "encrypted", "another-owner"],
)
async def test_what_cannot_be_read_is_left_out(house: House, stored: Sequence[Any]) -> None:
    owner = unique("odd")
    await house.client.create_schedule(wire.status_id(owner), schedule(stored), search_attributes=mark(owner))
    await is_listed(house, wire.status_id(owner))
    assert not {owner, "another"} & (await told(house)).keys()


async def test_what_does_not_bear_its_owners_mark_is_left_out(house: House) -> None:
    owner = unique("else")
    stored = schedule([SyncStatus(owner=owner, seen_at=NOON)])
    await house.client.create_schedule(wire.status_id(owner), stored)
    await is_listed(house, wire.status_id(owner))
    assert owner not in await told(house)


async def test_a_status_is_no_task_and_a_task_no_status(house: House) -> None:
    owner, disguised, name = unique("apart"), unique("disguised"), unique("sync-apart")
    await tell(house.client, SyncStatus(owner=owner, seen_at=NOON))
    request = RunRequest(task=Task(goal="x", name=disguised))
    await house.client.create_schedule(
        wire.status_id(disguised), schedule([request], wire.RUN_TASK), search_attributes=mark(disguised)
    )
    await house.keep(Task(goal="x", name=name))
    for schedule_id in (wire.status_id(owner), wire.status_id(disguised), wire.schedule_id(name)):
        await is_listed(house, schedule_id)
    tasks = [task["name"] for task in (await house.http.get("/v1/tasks")).json()["data"]]
    assert name in tasks
    assert not [task for task in tasks if owner in task or disguised in task]
    statuses = await told(house)
    assert owner in statuses
    assert not {disguised, name, "test"} & statuses.keys()
    for task in (owner, wire.status_id(owner), disguised):
        assert (await house.http.post(f"/v1/tasks/{task}/runs")).status_code == 404
