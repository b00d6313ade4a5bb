"""Starting runs over HTTP: once for a key, whatever dies in between; answered at once or at the end."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from temporalio.client import WorkflowExecutionStatus

from gateway.app import create_app
from gateway.preflight import Preflight
from schemas.task import Task
from tests.gateway.conftest import House, http_to
from tests.gateway.test_process import gateways
from tests.standins.composio_api import ComposioApi, folder

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]


def key() -> dict[str, str]:
    return {"Idempotency-Key": uuid4().hex}


async def kept(house: House, goal: str = "x", **more: Any) -> str:
    name = f"t-{uuid4().hex[:8]}"
    await house.keep(Task(goal=goal, name=name, **more))
    return name


async def runs_of(house: House, task: str) -> int:
    query = f"GoalfileTask = '{task}'"
    return (await house.client.count_workflows(query)).count


async def test_the_same_key_and_request_is_the_same_run_however_often_it_is_sent(house: House) -> None:
    name, with_key = await kept(house), key()
    path = f"/v1/tasks/{name}/runs"
    answers = await asyncio.gather(*(house.http.post(path, json={"inputs": {}}, headers=with_key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count(None) == 1
    later = await house.http.post(
        path, content=b' {"inputs" : {} } ', headers={**with_key, "content-type": "application/json"}
    )
    assert (later.status_code, later.headers["idempotency-replayed"]) == (202, "true")
    async with asyncio.timeout(10):
        while not await runs_of(house, name):
            await asyncio.sleep(0.05)
    assert await runs_of(house, name) == 1


async def test_the_same_key_with_another_request_is_refused_and_starts_nothing(house: House) -> None:
    name, with_key = await kept(house, inputs={"a": 1}), key()
    first = await house.http.post(f"/v1/tasks/{name}/runs", json={"inputs": {"a": 1}}, headers=with_key)
    for path, body in (
        (f"/v1/tasks/{name}/runs", {"inputs": {"a": 2}}),
        (f"/v1/tasks/{name}/runs", {}),
        ("/v1/runs", {"goal": "x"}),
    ):
        answer = await house.http.post(path, json=body, headers=with_key)
        assert (answer.status_code, answer.json()["type"]) == (422, "urn:goalfile:problem:key-used"), body
    other = await house.http.post(f"/v1/tasks/{name}/runs", json={"inputs": {"a": 1}}, headers=key())
    assert other.json()["id"] != first.json()["id"]


@pytest.mark.parametrize("bad", ["", "a b", "x" * 256, "é"])
async def test_what_is_no_key_is_refused(house: House, bad: str) -> None:
    name = await kept(house)
    headers = {"Idempotency-Key": bad.encode()}
    answer = await house.http.post(f"/v1/tasks/{name}/runs", headers=headers)
    assert answer.status_code == 422


async def test_who_would_rather_wait_gets_the_result(house: House) -> None:
    name = await kept(house)
    answer = await house.http.post(f"/v1/tasks/{name}/runs", headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["preference-applied"] == "wait=20"
    assert answer.json()["summary"] == "x"


async def test_who_waits_for_one_that_crashes_gets_how_it_ended(house: House) -> None:
    answer = await house.http.post(f"/v1/tasks/{await kept(house, 'crash')}/runs", headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")


async def test_who_waits_in_vain_gets_what_is_certain(house: House) -> None:
    answer = await house.http.post(f"/v1/tasks/{await kept(house, 'wait')}/runs", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert (await house.http.get(answer.headers["location"])).json()["status"] in {"running", "waiting"}


async def test_a_run_that_ended_is_started_again_as_its_task_was_then(house: House) -> None:
    name = await kept(house, inputs={"a": 1})
    first = await house.http.post(f"/v1/tasks/{name}/runs", json={"inputs": {"a": 7}}, headers={"Prefer": "wait=20"})
    again = await house.http.post(f"/v1/runs/{first.json()['id']}/retry", headers=key())
    assert (again.status_code, again.headers["location"]) == (201, f"/v1/runs/{again.json()['id']}")
    assert again.json()["id"] != first.json()["id"]
    ended = await house.client.get_workflow_handle(again.json()["id"]).result()
    assert ended["output"] == {"a": 7}


async def test_a_run_that_goes_on_is_not_started_again(house: House) -> None:
    run = (await house.http.post(f"/v1/tasks/{await kept(house, 'wait')}/runs")).json()["id"]
    answer = await house.http.post(f"/v1/runs/{run}/retry")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:goalfile:problem:run-goes-on")


async def test_what_was_started_under_a_key_is_told_again_though_it_could_not_be_started_now(house: House) -> None:
    with ComposioApi(folder("notes"), connected={("default", "notes")}) as composio:
        preflight = Preflight(composio.key, composio.url, "default", keep=0)
        app = create_app(lambda: asyncio.sleep(0, house.client), preflight=preflight)
        async with http_to(app) as http:
            with_key, goal = key(), {"goal": "x", "toolkit": "notes"}
            first = await http.post("/v1/runs", json=goal, headers=with_key)
            composio.connected = set()
            again = await http.post("/v1/runs", json=goal, headers=with_key)
            other = await http.post("/v1/runs", json=goal, headers=key())
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 409)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert other.json()["connect_url"].startswith("http")


@pytest.mark.slow
async def test_a_gateway_that_is_killed_between_start_and_answer_leaves_exactly_one_run(
    house: House, tmp_path: Path
) -> None:
    """kill -9 at times spread over the whole request; the client asks again until it is answered."""
    name = await kept(house)
    address = house.client.service_client.config.target_host
    with gateways(tmp_path) as start:

        def begin() -> tuple[subprocess.Popen[str], str]:
            process = start("--port", "0", TEMPORAL_ADDRESS=address)
            assert process.stdout is not None
            return process, process.stdout.readline().strip()

        for number, delay in enumerate((0.0, 0.004, 0.008, 0.015, 0.03)):
            with_key = key()
            process, url = await asyncio.to_thread(begin)
            async with httpx.AsyncClient(timeout=20) as http:
                await http.get(f"{url}/readyz")
                asked = asyncio.ensure_future(http.post(f"{url}/v1/tasks/{name}/runs", json={}, headers=with_key))
                await asyncio.sleep(delay)
                process.kill()
                await asyncio.gather(asked, return_exceptions=True)
            process, url = await asyncio.to_thread(begin)
            async with httpx.AsyncClient(timeout=20) as http:
                answer = await http.post(f"{url}/v1/tasks/{name}/runs", json={}, headers=with_key)
            process.kill()
            assert answer.status_code == 202, answer.text
            described = await house.client.get_workflow_handle(answer.json()["id"]).describe()
            assert described.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED)
            async with asyncio.timeout(10):
                while await runs_of(house, name) < number + 1:
                    await asyncio.sleep(0.05)
            assert await runs_of(house, name) == number + 1
