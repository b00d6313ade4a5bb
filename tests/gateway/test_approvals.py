"""Approvals over HTTP, of real runs by a real worker: the first word wins, once, for exactly what was shown."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from gateway.app import create_app
from gateway.principals import Principal, mark_of
from runner.ports import Missing
from schemas.access import SCOPES
from schemas.task import Approval, Task
from tests.gateway.conftest import House, http_to
from tests.gateway.test_ownership import to
from tests.temporal.doubles import Box, Thinker, begin, calls, results_in, says, waits, working

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    async with http_to(create_app(lambda: asyncio.sleep(0, house.client))) as client:
        yield client


def name() -> str:
    return f"t-{uuid4().hex[:8]}"


def task(name: str, **more: Any) -> Task:
    return Task(goal="Do it.", toolkit=("box",), name=name, **more)


async def questions(http: httpx.AsyncClient, task: str, how_many: int = 1) -> list[dict[str, Any]]:
    async with asyncio.timeout(15):
        while True:
            answer = await http.get("/v1/approvals", params={"task": task})
            assert answer.status_code == 200, answer.text
            if len(found := answer.json()["data"]) == how_many:
                return found
            await asyncio.sleep(0.05)


def word(asked: dict[str, Any], *, approve: bool, **more: Any) -> dict[str, Any]:
    return {**{key: asked[key] for key in ("run", "id", "fingerprint")}, "approve": approve, **more}


async def test_what_waits_is_shown_whole_and_made_once_when_it_is_approved(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, model, box = name(), Thinker(calls("DESTRUCTIVE", path="some/x", n=1), says("Gone.")), Box("removed")
    async with working(house.client, queue, model, box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        assert (asked["run"], asked["kind"], asked["tool"]) == (handle.id, "approval", "DESTRUCTIVE")
        assert asked["arguments"] == {"path": "some/x", "n": 1}
        assert box.calls == []
        view = (await http.get(f"/v1/runs/{handle.id}")).json()
        assert (view["status"], [each["id"] for each in view["waiting"]]) == ("waiting", [asked["id"]])
        answer = await http.post("/v1/approvals", json=word(asked, approve=True))
        assert (answer.status_code, answer.json()["taken"]) == (200, True)
        result = await handle.result()
        again = await http.post("/v1/approvals", json=word(asked, approve=True))
        other = await http.post("/v1/approvals", json=word(asked, approve=False))
    assert (result.status, [call.arguments for call in box.calls]) == ("succeeded", [{"path": "some/x", "n": 1}])
    assert (again.status_code, again.json()["taken"]) == (200, True)
    assert (other.status_code, other.json()["type"]) == (409, "urn:goalfile:problem:nothing-waits")
    assert await questions(http, queue, 0) == []


async def test_a_denial_is_told_to_the_model_with_its_note(house: House, http: httpx.AsyncClient) -> None:
    queue, model, box = name(), Thinker(calls("DESTRUCTIVE"), says("I left it.")), Box()
    async with working(house.client, queue, model, box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        answer = await http.post("/v1/approvals", json=word(asked, approve=False, note="we need it"))
        assert answer.status_code == 200
        await handle.result()
    assert box.calls == []
    assert "we need it" in results_in(model)[0]["content"]


async def test_opposite_words_at_once_are_one_taken_and_one_refused(house: House, http: httpx.AsyncClient) -> None:
    queue, box = name(), Box()
    async with working(house.client, queue, Thinker(calls("DESTRUCTIVE"), says("ok")), box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        said = await asyncio.gather(
            *(http.post("/v1/approvals", json=word(asked, approve=approve)) for approve in (True, False))
        )
        await handle.result()
    assert sorted(answer.status_code for answer in said) == [200, 409]
    assert len(box.calls) == (said[0].status_code == 200)


async def test_a_word_on_other_arguments_is_refused_and_the_run_waits_on(house: House, http: httpx.AsyncClient) -> None:
    queue, box = name(), Box()
    async with working(house.client, queue, Thinker(calls("DESTRUCTIVE", n=1), says("ok")), box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        wrong = await http.post("/v1/approvals", json={**word(asked, approve=True), "fingerprint": "other"})
        made_up = await http.post("/v1/approvals", json={**word(asked, approve=True), "id": "made-up"})
        assert (wrong.status_code, made_up.status_code) == (409, 409)
        assert "other arguments" in wrong.json()["detail"]
        assert box.calls == []
        await http.post("/v1/approvals", json=word(asked, approve=True))
        await handle.result()
    assert len(box.calls) == 1


async def test_without_a_worker_it_says_that_nobody_knows_and_the_word_counts_once(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, model, box = name(), Thinker(calls("DESTRUCTIVE"), says("Gone.")), Box()
    async with working(house.client, queue, model, box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
    said = [
        await http.post("/v1/approvals", json=word(asked, approve=True), headers={"Prefer": "wait=1"}) for _ in range(2)
    ]
    assert [(answer.status_code, answer.json()["taken"]) for answer in said] == [(202, False)] * 2
    assert "say the same again" in said[0].json()["detail"]
    async with working(house.client, queue, model, box):
        taken = await http.post("/v1/approvals", json=word(asked, approve=True))
        await handle.result()
    assert (taken.status_code, taken.json()["taken"]) == (200, True)
    assert len(box.calls) == 1


async def test_whose_time_is_over_and_who_has_ended_is_asked_no_more(house: House, http: httpx.AsyncClient) -> None:
    queue, box = name(), Box()
    short = Approval(timeout=timedelta(seconds=1), otherwise="deny")
    async with working(house.client, queue, Thinker(calls("DESTRUCTIVE"), says("ok")), box):
        handle = await begin(house.client, queue, task(queue, approval=short))
        await waits(house.client, handle.id)
        (asked,) = (await http.get(f"/v1/runs/{handle.id}")).json()["waiting"]
        await handle.result()
        late = await http.post("/v1/approvals", json=word({**asked, "run": handle.id}, approve=True))
    assert (late.status_code, late.json()["type"]) == (409, "urn:goalfile:problem:nothing-waits")
    assert box.calls == []


async def test_what_somebody_elses_run_asks_is_neither_seen_nor_answered(house: House) -> None:
    queue, box = name(), Box()
    everything = frozenset(SCOPES) - {"admin"}
    ada = Principal("ada", mark_of("https://login.example", "ada"), everything)
    bob = Principal("bob", mark_of("https://login.example", "bob"), everything)
    async with working(house.client, queue, Thinker(calls("DESTRUCTIVE"), says("ok")), box), to(house, ada) as hers:
        handle = await begin(house.client, queue, task(queue))
        await waits(house.client, handle.id)
        (asked,) = await questions_as_admin(house, queue)
        for who in (hers, to(house, bob)):
            assert (await who.get("/v1/approvals", params={"task": queue})).json()["data"] == []
            answer = await who.post("/v1/approvals", json=word(asked, approve=True))
            nobody = await who.post("/v1/approvals", json={**word(asked, approve=True), "run": "no-such"})
            assert (answer.status_code, nobody.status_code) == (404, 404)
            assert answer.text.replace(handle.id, "no-such") == nobody.text
        assert box.calls == []
        await handle.cancel()
        await handle.result()


async def questions_as_admin(house: House, task: str) -> list[dict[str, Any]]:
    async with http_to(create_app(lambda: asyncio.sleep(0, house.client))) as admin:
        return await questions(admin, task)


async def test_a_run_that_waits_for_a_connection_looks_again_when_it_is_told(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, box = name(), Box()
    box.unconnected = (Missing("box", "https://connect.example/1"),)
    async with working(house.client, queue, Thinker(says("Done.")), box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        assert (asked["kind"], asked["toolkit"], asked["link"]) == ("connection", "box", "https://connect.example/1")
        assert (await http.post("/v1/approvals", json=word(asked, approve=True))).status_code == 409
        box.unconnected = ()
        assert (await http.post(f"/v1/runs/{handle.id}/recheck")).status_code == 202
        assert (await handle.result()).status == "succeeded"
        assert (await http.post(f"/v1/runs/{handle.id}/recheck")).status_code == 409


async def test_what_is_no_word_is_refused(http: httpx.AsyncClient) -> None:
    fine = {"run": "r", "id": "i", "fingerprint": "f", "approve": True}
    for wrong in (
        {},
        {**fine, "approve": "maybe"},
        {**fine, "note": "x" * 501},
        {**fine, "more": 1},
        {**fine, "run": 1},
    ):
        assert (await http.post("/v1/approvals", json=wrong)).status_code == 422
    assert (await http.post("/v1/approvals", json=fine)).status_code == 404
    assert (await http.get("/v1/approvals", params={"task": "' OR 1=1"})).status_code == 400
