"""Approvals over HTTP, of real runs by a real worker: the first word wins, once, for exactly what was shown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from starlette.middleware import Middleware
from temporalio.client import Client, Interceptor, OutboundInterceptor, SignalWorkflowInput

from gateway.app import create_app
from gateway.door import Door
from gateway.principals import Principal, mark_of
from runner.ports import Missing
from schemas import wire
from schemas.access import SCOPES
from schemas.run import RunRequest, Waiting
from schemas.task import Approval, Task
from tests.gateway.conftest import House, http_to, keywords, start_temporal
from tests.gateway.test_ownership import Says, to
from tests.temporal.doubles import Box, Thinker, begin, calls, results_in, says, waits, wants, working
from tests.temporal.test_set_back import set_back

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]
EVERYTHING = frozenset(SCOPES) - {"admin"}
ROOT = Principal("root", "by-root", frozenset({"admin"}))
ADA, BOB = (Principal(who, mark_of("https://login.example", who), EVERYTHING) for who in ("ada", "bob"))


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
    assert "it was approved" in other.json()["detail"]
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
        assert "never asked" in made_up.json()["detail"]
        for odd in ("x" * 200, "'\0", "\u0430"):
            answer = await http.post("/v1/approvals", json={**word(asked, approve=True), "id": odd, "fingerprint": odd})
            assert answer.status_code == 409
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


async def test_a_run_is_answered_by_its_owner_and_neither_seen_nor_answered_by_another(house: House) -> None:
    queue, box = name(), Box()
    asks = Thinker(calls("DESTRUCTIVE"), calls("DESTRUCTIVE"), says("ok"), says("ok"))
    async with working(house.client, queue, asks, box), to(house, ADA) as hers, to(house, BOB) as his:
        scheduled = await begin(house.client, queue, task(queue))
        await waits(house.client, scheduled.id)
        run = f"{queue}-hers"
        request = RunRequest(task=task(queue))
        said = wire.search_attributes(request) | {wire.OWNER: ADA.mark}
        started = await house.client.start_workflow(
            wire.RUN_TASK, request, id=run, task_queue=queue, search_attributes=keywords(said)
        )
        (asked,) = await questions(hers, queue)
        assert asked["run"] == run
        for who, ids in ((his, (run, scheduled.id)), (hers, (scheduled.id,))):
            for theirs in ids:
                answer = await who.post("/v1/approvals", json={**word(asked, approve=True), "run": theirs})
                nobody = await who.post("/v1/approvals", json={**word(asked, approve=True), "run": "no-such"})
                assert (answer.status_code, nobody.status_code) == (404, 404)
                assert answer.text.replace(theirs, "no-such") == nobody.text
        assert await questions(his, queue, 0) == []
        assert box.calls == []
        assert (await hers.post("/v1/approvals", json=word(asked, approve=True))).status_code == 200
        await started.result()
        await scheduled.cancel()
        await scheduled.result()
    assert len(box.calls) == 1


async def test_a_run_that_waits_for_a_connection_looks_again_when_it_is_told(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, box = name(), Box()
    box.unconnected = (Missing("box", "https://connect.example/1"),)
    async with working(house.client, queue, Thinker(says("Done.")), box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        assert (asked["kind"], asked["toolkit"], asked["link"]) == ("connection", "box", "https://connect.example/1")
        no_word = await http.post("/v1/approvals", json=word(asked, approve=True))
        assert no_word.status_code == 409
        assert "connection of box" in no_word.json()["detail"]
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
        {key: value for key, value in fine.items() if key != "fingerprint"},
    ):
        assert (await http.post("/v1/approvals", json=wrong)).status_code == 422
    half = b'{"run": "r", "id": "i", "fingerprint": "f", "approve": true, "note": "\\ud800"}'
    json = {"content-type": "application/json"}
    assert (await http.post("/v1/approvals", content=half, headers=json)).status_code == 422
    for odd in ("r' OR 1=1", "\u0430", "r\0", "../r"):
        assert (await http.post("/v1/approvals", json={**fine, "run": odd})).status_code == 404
    assert (await http.post("/v1/approvals", json=fine)).status_code == 404
    assert (await http.get("/v1/approvals", params={"task": "' OR 1=1"})).status_code == 400


async def test_of_two_calls_each_gets_its_own_word_and_a_second_word_on_one_is_told_of_the_first(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, box = name(), Box()
    async with (
        working(house.client, queue, Thinker(wants("DESTRUCTIVE", "DESTRUCTIVE"), says("ok")), box),
        to(house, ROOT) as root,
    ):
        handle = await begin(house.client, queue, task(queue))
        one, other = await questions(http, queue, 2)
        assert (await root.post("/v1/approvals", json=word(one, approve=False))).status_code == 200
        late = await http.post("/v1/approvals", json=word(one, approve=True))
        assert late.status_code == 409
        assert late.json()["detail"] == f"Run {handle.id} was told otherwise before: it was denied."
        assert [each["id"] for each in await questions(http, queue)] == [other["id"]]
        assert (await http.post("/v1/approvals", json=word(other, approve=True))).status_code == 200
        await handle.result()
    assert [call.arguments for call in box.calls] == [other["arguments"]]


async def test_a_word_on_other_arguments_is_refused_even_when_no_worker_could_refuse_it(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, model, box = name(), Thinker(calls("DESTRUCTIVE"), says("ok")), Box()
    async with working(house.client, queue, model, box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
    wrong = await http.post("/v1/approvals", json={**word(asked, approve=True), "fingerprint": "other"})
    assert (wrong.status_code, wrong.json()["type"]) == (409, "urn:goalfile:problem:nothing-waits")
    async with working(house.client, queue, model, box):
        assert (await http.post("/v1/approvals", json=word(asked, approve=False))).status_code == 200
        await handle.result()
    assert box.calls == []


async def test_after_a_reset_the_same_word_on_the_same_call_is_taken_anew(
    house: House, http: httpx.AsyncClient
) -> None:
    queue, box = name(), Box()
    async with working(house.client, queue, Thinker(calls("DESTRUCTIVE"), says("ok")), box):
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        assert (await http.post("/v1/approvals", json=word(asked, approve=False))).status_code == 200
        await handle.result()
    again = Thinker(calls("DESTRUCTIVE"), says("ok"))
    async with working(house.client, queue, again, box):
        anew = await set_back(house.client, handle)
        (same,) = await questions(http, queue)
        assert (same["id"], same["fingerprint"]) == (asked["id"], asked["fingerprint"])
        answer = await http.post("/v1/approvals", json=word(same, approve=False))
        assert (answer.status_code, answer.json()["taken"]) == (200, True)
        await anew.result()
    assert "Denied by a person" in results_in(again)[0]["content"]


async def test_the_longest_wait_comes_first_however_many_wait() -> None:
    environment = await start_temporal()
    now, many = datetime.now(UTC), 203
    try:
        client = environment.client

        async def waiting(number: int) -> None:
            since = now - timedelta(seconds=many - number)
            asked = Waiting(kind="approval", id=f"e{number}", since=since, until=now + timedelta(hours=1))
            request = RunRequest(task=Task(goal="x", name="many"))
            said = wire.search_attributes(request) | {wire.STATUS: "waiting"}
            await client.start_workflow(
                wire.RUN_TASK,
                request,
                id=f"r-{number}",
                task_queue="nobody",
                memo={wire.WAITING: [asked]},
                search_attributes=keywords(said),
            )

        for number in range(many):  # one after another: Temporal lists the last one first
            await waiting(number)
        ids = [f"e{number}" for number in range(200)]
        async with http_to(create_app(lambda: asyncio.sleep(0, client))) as http, asyncio.timeout(15):
            answer = (await http.get("/v1/approvals")).json()
            while [each["id"] for each in answer["data"]] != ids:
                await asyncio.sleep(0.05)  # a list lags behind
                answer = (await http.get("/v1/approvals")).json()
        assert not answer["complete"]
    finally:
        await environment.shutdown()


async def test_whoever_keeps_its_share_of_answers_open_can_still_decide(house: House) -> None:
    queue, box = name(), Box()
    app = create_app(lambda: asyncio.sleep(0, house.client))
    app.user_middleware = [Middleware(Says, ROOT) if each.cls is Door else each for each in app.user_middleware]
    async with working(house.client, queue, Thinker(calls("DESTRUCTIVE"), says("ok")), box), http_to(app) as http:
        handle = await begin(house.client, queue, task(queue))
        (asked,) = await questions(http, queue)
        with ExitStack() as places:
            for _ in range(app.state.long_answers.most):
                places.enter_context(app.state.long_answers.held(ROOT))
            long = await http.post("/v1/approvals", json=word(asked, approve=True), headers={"Prefer": "wait=60"})
            assert (long.status_code, long.headers["Preference-Applied"]) == (200, "wait=10")
        again = await http.post("/v1/approvals", json=word(asked, approve=True), headers={"Prefer": "wait=60"})
        assert (again.status_code, again.headers["Preference-Applied"]) == (200, "wait=60")
        await handle.result()
    assert len(box.calls) == 1


class EndsFirst(Interceptor, OutboundInterceptor):
    """A client before whose signal the run ends: what happens now and then, every time."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        OutboundInterceptor.__init__(self, next)
        return self

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002 - the SDK's name
        await self._client.get_workflow_handle(input.id).terminate()
        await super().signal_workflow(input)


async def test_a_run_that_ends_before_it_hears_of_a_connection_is_told_so(house: House) -> None:
    queue, box = name(), Box()
    box.unconnected = (Missing("box", "https://connect.example/1"),)
    there = house.client
    client = Client(there.service_client, data_converter=there.data_converter, interceptors=[EndsFirst(there)])
    async with (
        working(house.client, queue, Thinker(), box),
        http_to(create_app(lambda: asyncio.sleep(0, client))) as http,
    ):
        handle = await begin(house.client, queue, task(queue))
        await questions(http, queue)
        answer = await http.post(f"/v1/runs/{handle.id}/recheck")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:goalfile:problem:run-ended")
