"""The routes, over a real server. Every test makes what it needs under a name of its own."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.client import Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState

from gateway.app import create_app
from gateway.views import NOBODY_ANSWERS
from schemas import wire
from schemas.run import RunRequest
from schemas.task import Task
from tests.gateway.conftest import House, http_to, keywords

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]


def unique(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:8]}"


async def until(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """Look until it is as wanted: Temporal's lists lag behind, and runs take their time."""
    async with asyncio.timeout(15):
        while not wanted(found := await look()):
            await asyncio.sleep(0.05)
    return found


async def ended(house: House, run_id: str) -> dict[str, Any]:
    async def look() -> dict[str, Any]:
        return (await house.http.get(f"/v1/runs/{run_id}")).json()

    return await until(look, lambda run: run["ended_at"] is not None)


def is_problem(answer: httpx.Response, status: int, word: str) -> bool:
    body = answer.json()
    return (
        answer.status_code == body["status"] == status
        and answer.headers["content-type"] == "application/problem+json"
        and body["type"] == f"urn:goalfile:problem:{word}"
        and bool(body["detail"])
    )


async def test_a_task_runs_with_its_inputs_and_the_result_can_be_read(house: House) -> None:
    name = unique("hello")
    await house.keep(Task(goal="say hello", name=name, inputs={"days": 14, "to": "x"}))
    started = await house.http.post(f"/v1/tasks/{name}/runs", json={"inputs": {"days": 3}})
    run = started.json()
    assert started.status_code == 202
    assert started.headers["location"] == f"/v1/runs/{run['id']}"
    assert (run["task"], run["status"]) == (name, "queued")
    assert run["id"].startswith(f"{name}-2")
    result = await ended(house, run["id"])
    assert result["status"] == "succeeded"
    assert result["output"] == {"days": 3, "to": "x"}
    assert (result["turns"], result["calls"], result["usage"]["input_tokens"]) == (1, 1, 7)
    assert [step["kind"] for step in result["steps"]] == ["turn", "call"]


async def test_the_request_that_reaches_the_worker_is_the_schedules_own(house: House) -> None:
    name = unique("kept")
    task = Task(goal="say hello", name=name, labels={"team": "a"})
    await house.keep(task)
    run_id = (await house.http.post(f"/v1/tasks/{name}/runs")).json()["id"]
    history = await house.client.get_workflow_handle(run_id).fetch_history()
    began = history.events[0].workflow_execution_started_event_attributes
    (request,) = await house.client.data_converter.decode(began.input.payloads, [RunRequest])
    assert request.task == task
    assert request.source.path == f"{name}.yaml"
    assert request.trigger == "http"


async def test_an_unknown_task_is_answered_with_the_names_that_are_close(house: House) -> None:
    name = unique("invoice")
    await house.keep(Task(goal="x", name=name))

    async def look() -> httpx.Response:
        return await house.http.post(f"/v1/tasks/{name[:-1]}/runs")

    answer = await until(look, lambda answer: name in answer.json().get("names", []))
    assert is_problem(answer, 404, "unknown-task")
    assert name in answer.json()["detail"]


@pytest.mark.parametrize(
    ("given", "named"), [({"days": 1, "zork": 1}, "zork"), ({}, "days"), ({"days": "many"}, "days")]
)
async def test_inputs_that_do_not_fit_are_named(house: House, given: dict[str, Any], named: str) -> None:
    name = unique("strict")
    await house.keep(Task(goal="x", name=name, inputs={"days": {"type": "integer"}}))
    answer = await house.http.post(f"/v1/tasks/{name}/runs", json={"inputs": given})
    assert is_problem(answer, 422, "bad-inputs")
    assert named in answer.json()["detail"]


async def test_an_ad_hoc_goal_runs(house: House) -> None:
    wanted = {"goal": "look at {{ inputs.x }}", "toolkit": "github", "limits": {"turns": 3, "timeout": "5m"}}
    answer = await house.http.post("/v1/runs", json={**wanted, "inputs": {"x": [1, None]}})
    assert answer.status_code == 202
    run = await ended(house, answer.json()["id"])
    assert run["task"] == "ad-hoc"
    assert run["output"] == {"x": [1, None]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"goal": "x", "cron": "@daily"}, "cron"),
        ({"goal": "x", "zork": 1}, "zork"),
        ({"goal": "x", "limits": {"turn": 1}}, "#/limits/turn"),
        ({"goal": "x", "limits": {"turns": 0}}, "#/limits/turns"),
        ({"goal": "x", "limits": {"timeout": 30}}, "90s"),
        ({"goal": "x", "tools": {"asks": "*"}}, "ask"),
        ({"goal": " "}, "goal"),
        ({"goal": "x" * 20_001}, "goal"),
        ({}, "`goal` is missing"),
        ([], "#"),
    ],
)
async def test_an_ad_hoc_body_is_read_strictly(house: House, body: Any, named: str) -> None:
    answer = await house.http.post("/v1/runs", json=body)
    assert is_problem(answer, 422, "invalid-request")
    assert named in answer.json()["detail"]


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"\xff",
        b'{"goal": "x", "inputs": {"a": NaN}}',
        b'{"goal": "x", "inputs": {"a": 1e999}}',
        b'{"goal": "x", "inputs": {"\\ud800": "\\udfff"}}',
        b'{"goal": "x", "\\ud800": 1}',
        b'{"goal": "x", "inputs": {"a": %s}}' % (b"9" * 6_000),
        b'{"goal": "x", "inputs": {"a": %s}}' % (b"[" * 60_000 + b"]" * 60_000),
        b'{"goal": "x", "inputs": {"a": %s}}' % (b"[" * 300 + b"]" * 300),
    ],
)
async def test_json_that_cannot_be_carried_further_is_the_callers_problem(house: House, text: bytes) -> None:
    answer = await house.http.post("/v1/runs", content=text, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_waiting_run_says_why_and_can_be_cancelled_once(house: House) -> None:
    run_id = (await house.http.post("/v1/runs", json={"goal": "wait"})).json()["id"]

    async def look() -> dict[str, Any]:
        return (await house.http.get(f"/v1/runs/{run_id}")).json()

    run = await until(look, lambda run: run["status"] == "waiting")
    assert (run["reason"], run["turns"], run["ended_at"]) == ("approval", 1, None)
    answer = await house.http.post(f"/v1/runs/{run_id}/cancel")
    assert answer.status_code == 202
    assert answer.json()["id"] == run_id
    run = await ended(house, run_id)
    assert (run["status"], run["reason"]) == ("cancelled", "somebody cancelled it")
    assert is_problem(await house.http.post(f"/v1/runs/{run_id}/cancel"), 409, "run-ended")


async def test_a_run_that_reached_its_limit_is_stopped_and_no_error(house: House) -> None:
    run_id = (await house.http.post("/v1/runs", json={"goal": "stop"})).json()["id"]
    run = await ended(house, run_id)
    assert (run["status"], run["reason"]) == ("stopped", "the limit of 30 turns was reached")


async def test_a_run_that_temporal_closed_itself_has_failed_and_says_so(house: House) -> None:
    killed = (await house.http.post("/v1/runs", json={"goal": "wait"})).json()["id"]
    await house.client.get_workflow_handle(killed).terminate("by hand")
    crashed = (await house.http.post("/v1/runs", json={"goal": "crash"})).json()["id"]
    views = [await ended(house, run_id) for run_id in (killed, crashed)]
    assert [view["status"] for view in views] == ["failed", "failed"]
    assert views[0]["reason"] == "terminated in Temporal"
    assert views[1]["reason"].startswith("failed in Temporal")
    assert "secret-internal-detail" not in str(views)


async def test_a_queued_run_without_a_worker_is_answered_at_once(house: House) -> None:
    app = create_app(lambda: asyncio.sleep(0, house.client), queue=unique("nobody"))
    async with http_to(app) as http:
        run_id = (await http.post("/v1/runs", json={"goal": "x"})).json()["id"]
        async with asyncio.timeout(1.5):  # less than a query that nobody answers takes
            run = (await http.get(f"/v1/runs/{run_id}")).json()
    assert run["status"] == "queued"


async def test_a_run_that_lost_its_worker_is_shown_as_it_was_last_known(house: House) -> None:
    run_id = unique("lost")
    request = RunRequest(task=Task(goal="x", name="lost"))
    said = {**wire.search_attributes(request), wire.STATUS: "running"}
    await house.client.start_workflow(
        wire.RUN_TASK, request, id=run_id, task_queue=unique("nobody"), search_attributes=keywords(said)
    )
    run = (await house.http.get(f"/v1/runs/{run_id}")).json()
    assert (run["status"], run["reason"], run["turns"]) == ("running", NOBODY_ANSWERS, None)


async def test_somebody_elses_workflow_does_not_exist_here(house: House) -> None:
    run_id = unique("else")
    await house.client.execute_workflow("somebody-elses", id=run_id, task_queue=wire.QUEUE)
    assert is_problem(await house.http.get(f"/v1/runs/{run_id}"), 404, "unknown-run")
    assert is_problem(await house.http.post(f"/v1/runs/{run_id}/cancel"), 404, "unknown-run")


async def test_tasks_are_listed_with_what_is_next(house: House) -> None:
    daily, manual, paused = unique("daily"), unique("manual"), unique("paused")
    cron = ("0 9 * * *",)
    await house.keep(Task(goal="x", name=daily, cron=cron, description="Every morning"), slots=cron)
    await house.keep(Task(goal="x", name=manual))
    await house.keep(Task(goal="x", name=paused, cron=cron), paused=True, slots=cron)
    mine = {daily, manual, paused}

    async def look() -> dict[str, Any]:
        listed = (await house.http.get("/v1/tasks")).json()["data"]
        return {task["name"]: task for task in listed if task["name"] in mine}

    tasks = await until(look, lambda tasks: len(tasks) == 3 and tasks[daily]["next_slots"])
    assert tasks[daily]["description"] == "Every morning"
    assert tasks[daily]["cron"] == ["0 9 * * *"]
    assert tasks[daily]["next_slots"][0].endswith("T09:00:00Z")
    assert (tasks[manual]["paused"], tasks[manual]["next_slots"]) == (False, [])
    assert (tasks[paused]["paused"], tasks[paused]["next_slots"]) == (True, [])
    assert await look() == tasks


@pytest.mark.parametrize("stored", [[{"task": 3}], [b"encrypted elsewhere"], []])
async def test_a_task_that_another_version_stored_is_shown_and_not_run(house: House, stored: list[object]) -> None:
    name = unique("later")
    await house.client.create_schedule(
        wire.schedule_id(name),
        Schedule(
            action=ScheduleActionStartWorkflow(wire.RUN_TASK, args=stored, id=name, task_queue=wire.QUEUE),
            spec=ScheduleSpec(),
            state=ScheduleState(paused=True),
        ),
    )
    assert is_problem(await house.http.post(f"/v1/tasks/{name}/runs"), 409, "unreadable-task")

    async def look() -> list[str]:
        return [task["name"] for task in (await house.http.get("/v1/tasks")).json()["data"]]

    await until(look, lambda names: name in names)


async def test_every_error_is_a_problem(house: House) -> None:
    assert is_problem(await house.http.get("/nowhere"), 404, "not-found")
    wrong = await house.http.delete("/v1/runs")
    assert is_problem(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "GET, POST"
    assert is_problem(await house.http.get("/redoc"), 404, "not-found")


def in_a_path(said: str) -> str:
    """Dots too, or the client would walk `.` and `..` itself and ask for another path."""
    return quote(said, safe="").replace(".", "%2E")


anything = (
    st.sampled_from([".", "..", "%2F", "a\n", "\0"])
    | st.text(min_size=1, max_size=300)
    | st.from_regex(r"\A[A-Za-z0-9_.:-]{1,80}\Z")
)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(said=anything)
async def test_whatever_is_given_as_a_run_id_is_no_error_of_ours(house: House, said: str) -> None:
    path = in_a_path(said)
    for answer in (await house.http.get(f"/v1/runs/{path}"), await house.http.post(f"/v1/runs/{path}/cancel")):
        assert answer.status_code in (404, 405)
        assert answer.headers["content-type"] == "application/problem+json"


@many
@given(said=anything)
async def test_whatever_is_given_as_a_task_name_is_no_error_of_ours(house: House, said: str) -> None:
    answer = await house.http.post(f"/v1/tasks/{in_a_path(said)}/runs", json={})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
