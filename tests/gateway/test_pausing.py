"""Pausing and resuming over HTTP: it keeps, it says who and why, and no task file is overruled."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from gateway.principals import LOCAL, Principal, mark_of
from runner.switch import look
from schemas import wire
from schemas.access import SCOPES
from schemas.task import Task
from tests.gateway.conftest import House
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
    task = Task(**{"goal": "x", "name": name, "cron": CRON, **more})
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
    for odd in ("%27", "a%20b", "%D0%B0", "A", "x" * 300):
        assert (await http.post(f"/v1/tasks/{odd}/pause")).status_code == 404


async def test_a_reason_has_an_end(house: House, http: httpx.AsyncClient) -> None:
    name = await kept(house)
    assert (await http.post(f"/v1/tasks/{name}/pause", json={"reason": "x" * 501})).status_code == 422
    assert (await http.post(f"/v1/tasks/{name}/pause", json={"why": "x"})).status_code == 422


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
