"""Pausing and resuming over HTTP: it keeps, it says who and why, and no task file is overruled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from temporalio.client import (
    Client,
    CreateScheduleInput,
    Interceptor,
    OutboundInterceptor,
    PauseScheduleInput,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleSpec,
)

from gateway.app import create_app
from gateway.principals import LOCAL, Principal, mark_of
from runner.switch import look, release, stop
from schemas import wire
from schemas.access import SCOPES
from schemas.task import Task
from tests.gateway.conftest import House, http_to, keywords
from tests.gateway.test_ownership import to

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]
ADA = Principal("ada@acme.example", mark_of("x", "ada"), frozenset(SCOPES) - {"admin"})
CRON = ("0 9 * * *",)


@pytest_asyncio.fixture(loop_scope="session")
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with to(house, ADA) as client:
        yield client


async def kept(house: House, **more: Any) -> str:
    name = f"t-{uuid4().hex[:8]}"
    said: dict[str, Any] = {"goal": "x", "name": name, "cron": CRON, **more}
    task = Task(**said)
    await house.keep(task, slots=task.cron, paused=not task.enabled)
    return name


async def state(client: Client, name: str) -> tuple[bool, str | None]:
    found = (await client.get_schedule_handle(wire.schedule_id(name)).describe()).schedule.state
    return found.paused, found.note


async def test_one_task_is_shown_whole(house: House, http: httpx.AsyncClient) -> None:
    name = await kept(house, description="Every morning", inputs={"days": 3}, labels={"team": "ops"})
    shown = (await http.get(f"/v1/tasks/{name}")).json()
    assert (shown["name"], shown["paused"], shown["description"]) == (name, False, "Every morning")
    assert shown["task"]["inputs"] == {"days": 3}
    assert shown["task"]["limits"]["turns"] > 0
    assert shown["source"]["path"] == f"{name}.yaml"
    assert len(shown["next_slots"]) == 10


async def test_a_pause_says_who_and_why_and_a_resume_ends_it(house: House, http: httpx.AsyncClient) -> None:
    name = await kept(house)
    paused = await http.post(f"/v1/tasks/{name}/pause", json={"reason": "the vendor\n is  down"})
    note = "paused by ada@acme.example: the vendor is down"
    assert (paused.status_code, paused.json()["paused"], paused.json()["note"]) == (200, True, note)
    assert paused.json()["next_slots"] == []
    assert await state(house.client, name) == (True, note)
    again = await http.post(f"/v1/tasks/{name}/pause", json={"reason": "another"})
    assert (again.status_code, again.json()["note"]) == (200, note)
    resumed = await http.post(f"/v1/tasks/{name}/resume")
    assert (resumed.status_code, resumed.json()["paused"]) == (200, False)
    assert await state(house.client, name) == (False, "resumed by ada@acme.example")


async def test_a_pause_keeps_although_the_schedule_is_triggered_at_that_moment(
    house: House, http: httpx.AsyncClient
) -> None:
    for _ in range(3):
        name = await kept(house)
        handle = house.client.get_schedule_handle(wire.schedule_id(name))
        answers = await asyncio.gather(
            http.post(f"/v1/tasks/{name}/pause"), handle.trigger(), handle.trigger(), return_exceptions=True
        )
        assert isinstance(answers[0], httpx.Response)
        assert answers[0].status_code == 200
        assert (await state(house.client, name))[0]


async def test_what_its_file_decides_is_not_overruled(house: House, http: httpx.AsyncClient) -> None:
    off, manual = await kept(house, enabled=False), await kept(house, cron=())
    for name in (off, manual):
        for verb in ("pause", "resume"):
            answer = await http.post(f"/v1/tasks/{name}/{verb}")
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:goalfile:problem:off-in-file"), name
    assert "no cron" in answer.json()["detail"]
    assert (await state(house.client, off))[0]


async def test_a_name_that_no_task_has_is_told_with_those_that_look_alike(
    house: House, http: httpx.AsyncClient
) -> None:
    name = await kept(house)
    async with asyncio.timeout(10):
        while name not in str((await http.get("/v1/tasks")).json()):
            await asyncio.sleep(0.05)
    for path in (f"/v1/tasks/{name}x", f"/v1/tasks/{name}x/pause", f"/v1/tasks/{name}x/resume"):
        answer = await (http.get(path) if path.endswith("x") else http.post(path))
        assert (answer.status_code, answer.json()["names"][0]) == (404, name)
    for odd in ("%27", "%22", "a%20b", "%D0%B0", "A", "%00", "a%0A", "x" * 300):
        assert (await http.get(f"/v1/tasks/{odd}")).status_code == 404
        assert (await http.post(f"/v1/tasks/{odd}/pause")).status_code == 404
        assert (await http.post(f"/v1/tasks/{odd}/resume")).status_code == 404


async def test_a_reason_has_an_end(house: House, http: httpx.AsyncClient) -> None:
    name = await kept(house)
    assert (await http.post(f"/v1/tasks/{name}/pause", json={"reason": "x" * 501})).status_code == 422
    assert (await http.post(f"/v1/tasks/{name}/pause", json={"why": "x"})).status_code == 422
    half, form = b'{"reason": "\\ud800"}', {"content-type": "application/json"}
    assert (await http.post(f"/v1/tasks/{name}/pause", content=half, headers=form)).status_code == 422
    assert await state(house.client, name) == (False, None)
    async with to(house, LOCAL) as admin:
        assert (await admin.put("/v1/stop", json={"reason": "x" * 501})).status_code == 422
        assert (await admin.get("/v1/stop")).json()["stopped"] is None


async def test_everything_is_stopped_and_released_by_an_admin_alone(house: House, http: httpx.AsyncClient) -> None:
    async with to(house, LOCAL) as admin:
        try:
            assert (await http.get("/v1/stop")).json() == {"stopped": None, "changed": False}
            assert (await http.put("/v1/stop", json={"reason": "x"})).status_code == 403
            first = (await admin.put("/v1/stop", json={"reason": "broken into"})).json()
            assert (first["changed"], first["stopped"]["reason"]) == (True, "broken into")
            seen = await look(house.client, patient=True)
            assert seen is not None
            assert seen.reason == "broken into"
            second = (await admin.put("/v1/stop", json={"reason": "another"})).json()
            assert (second["changed"], second["stopped"]["reason"]) == (False, "broken into")
            assert (await http.get("/v1/stop")).json()["stopped"]["reason"] == "broken into"
            assert (await http.delete("/v1/stop")).status_code == 403
        finally:
            released = (await admin.delete("/v1/stop")).json()
        assert released["changed"]
        assert await look(house.client, patient=True) is None
        assert not (await admin.delete("/v1/stop")).json()["changed"]


async def schedule(client: Client, name: str, workflow: str, stored: object, **marks: str) -> None:
    await client.create_schedule(
        wire.schedule_id(name),
        Schedule(
            ScheduleActionStartWorkflow(workflow, stored, id=name, task_queue="nobody"),
            ScheduleSpec(cron_expressions=list(CRON)),
        ),
        search_attributes=keywords(marks),
    )


async def test_a_task_that_another_version_stored_can_be_paused_and_resumed_all_the_same(
    house: House, http: httpx.AsyncClient
) -> None:
    name = f"t-{uuid4().hex[:8]}"
    await schedule(house.client, name, wire.RUN_TASK, {"task": 3}, **{wire.OWNER: "test", wire.TASK: name})
    unread = await http.get(f"/v1/tasks/{name}")
    assert (unread.status_code, unread.json()["type"]) == (409, "urn:goalfile:problem:unreadable-task")
    paused = await http.post(f"/v1/tasks/{name}/pause")
    assert (paused.status_code, paused.json()["paused"], paused.json()["task"]) == (200, True, {})
    assert "another version" in paused.json()["description"]
    assert (await state(house.client, name))[0]
    assert (await http.post(f"/v1/tasks/{name}/resume")).json()["paused"] is False
    assert not (await state(house.client, name))[0]


async def test_a_schedule_that_is_no_task_of_ours_is_left_alone(house: House, http: httpx.AsyncClient) -> None:
    strangers, unmarked, renamed = (f"t-{uuid4().hex[:8]}" for _ in range(3))
    await schedule(house.client, strangers, "x", 1, **{wire.OWNER: "test", wire.TASK: strangers})
    await schedule(house.client, unmarked, wire.RUN_TASK, {"task": 3})
    await schedule(house.client, renamed, wire.RUN_TASK, {"task": 3}, **{wire.OWNER: "test", wire.TASK: "other"})
    assert (await http.get(f"/v1/tasks/{strangers}")).status_code == 404
    for name in (strangers, unmarked, renamed):
        for verb in ("pause", "resume"):
            assert (await http.post(f"/v1/tasks/{name}/{verb}")).status_code == 404, name
        assert await state(house.client, name) == (False, None)


class Fate(Interceptor, OutboundInterceptor):
    """A client to which something happens that happens seldom."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        OutboundInterceptor.__init__(self, next)
        return self


class Deaf(Fate):
    """The server takes so many pauses and does nothing."""

    def __init__(self, client: Client, how_many: int) -> None:
        super().__init__(client)
        self.left = how_many

    async def pause_schedule(self, input: PauseScheduleInput) -> None:  # noqa: A002 - the SDK's name
        if self.left:
            self.left -= 1
        else:
            await super().pause_schedule(input)


class DeletedFirst(Fate):
    """The schedule is deleted just before it is paused."""

    async def pause_schedule(self, input: PauseScheduleInput) -> None:  # noqa: A002 - the SDK's name
        await self.client.get_schedule_handle(input.id).delete()
        await super().pause_schedule(input)


class ReleasedMeanwhile(Fate):
    """Somebody else has stopped everything, and releases it as soon as the next one finds that out."""

    async def create_schedule(self, input: CreateScheduleInput) -> ScheduleHandle:  # noqa: A002 - the SDK's name
        try:
            return await super().create_schedule(input)
        except ScheduleAlreadyRunningError:
            await release(self.client)
            raise


def through(house: House, fate: Fate) -> httpx.AsyncClient:
    there = house.client
    client = Client(there.service_client, data_converter=there.data_converter, interceptors=[fate])
    return http_to(create_app(lambda: asyncio.sleep(0, client)))


async def test_a_pause_that_is_lost_is_made_again_and_one_that_never_keeps_is_said(house: House) -> None:
    lost, never = await kept(house), await kept(house)
    async with through(house, Deaf(house.client, 2)) as http:
        assert (await http.post(f"/v1/tasks/{lost}/pause")).status_code == 200
    assert (await state(house.client, lost))[0]
    async with through(house, Deaf(house.client, 100)) as http:
        answer = await http.post(f"/v1/tasks/{never}/pause")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:goalfile:problem:not-kept")
    assert not (await state(house.client, never))[0]


async def test_a_task_that_is_deleted_meanwhile_is_no_task(house: House) -> None:
    name = await kept(house)
    async with through(house, DeletedFirst(house.client)) as http:
        assert (await http.post(f"/v1/tasks/{name}/pause")).status_code == 404


async def test_what_is_said_to_be_stopped_is_stopped_even_if_another_stop_was_just_released(house: House) -> None:
    await stop(house.client, "bob", "another")
    try:
        async with through(house, ReleasedMeanwhile(house.client)) as http:
            said = (await http.put("/v1/stop", json={"reason": "mine"})).json()
        found = await look(house.client, patient=True)
        assert found is not None
        assert (said["changed"], said["stopped"]["reason"], found.reason) == (True, "mine", "mine")
    finally:
        await release(house.client)


async def test_a_crowd_that_asks_at_once_is_told_of_a_stop_that_was_just_set(house: House) -> None:
    async with to(house, LOCAL) as http:
        try:
            await http.put("/v1/stop", json={"reason": "x"})
            said = await asyncio.gather(*(http.get("/v1/stop") for _ in range(30)))
        finally:
            await http.delete("/v1/stop")
    assert {answer.status_code for answer in said} == {200}
    assert all(answer.json()["stopped"] for answer in said)
