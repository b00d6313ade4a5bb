"""What KEDA and Prometheus read: on a real server, whose visibility lags behind, and without one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from temporalio.client import Client, CountWorkflowsInput, Interceptor, OutboundInterceptor, WorkflowExecutionCount
from temporalio.service import RPCError

from gateway.app import create_app
from gateway.metrics import ELSEWHERE, PATIENCE, Meters, OpenRuns
from gateway.openapi import operations
from schemas import wire
from schemas.task import Task
from tests.gateway.conftest import House, http_to, keywords

SESSION = pytest.mark.asyncio(loop_scope="session")
LABELS = {"route", "method", "status", "kind", "le"}


class CountsItsCounting(Interceptor, OutboundInterceptor):
    """Part of a client: how many counts Temporal was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - the SDK's name
        OutboundInterceptor.__init__(self, next)
        return self  # it is the last of them

    async def count_workflows(self, input: CountWorkflowsInput) -> WorkflowExecutionCount:  # noqa: A002 - the SDK's name
        self.asked += 1
        return await super().count_workflows(input)


def an_app(client: Client, queue: str = wire.QUEUE) -> FastAPI:
    async def connect() -> Client:
        return client

    return create_app(connect, queue=queue)


async def nowhere() -> Client:
    raise RuntimeError("Failed client connect: secret-address:7233")


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float | None:
    found = [each.value for each in samples(text) if each.name == name and each.labels == labels]
    assert len(found) <= 1
    return found[0] if found else None


@pytest_asyncio.fixture(loop_scope="session")
async def busy(house: House) -> AsyncIterator[str]:
    """A queue without a worker, and on it: two runs, one that waits, a write, a notice, and somebody else's."""
    queue, started = f"q-{uuid4().hex[:8]}", list[str]()
    for kind, status in (
        (wire.RUN_TASK, "queued"),
        (wire.RUN_TASK, "running"),
        (wire.RUN_TASK, "waiting"),
        (wire.EFFECT, "running"),
        (wire.TELL, ""),
        ("somebody-elses", ""),
    ):
        started.append(f"{queue}-{len(started)}")
        marks = keywords({wire.STATUS: status} if status else {})
        await house.client.start_workflow(kind, id=started[-1], task_queue=queue, search_attributes=marks)
    yield queue
    for workflow_id in started:
        with suppress(RPCError):  # the test ended it
            await house.client.get_workflow_handle(workflow_id).terminate()


async def settled(http: httpx.AsyncClient, path: str, wanted: object) -> object:
    """What is answered once it is this, or after fifteen seconds: visibility lags behind."""
    answer: object = None
    try:
        async with asyncio.timeout(15):
            while answer != wanted:
                answer = (await http.get(path)).json()
                await asyncio.sleep(0.1)
    except TimeoutError:
        pass
    return answer


@pytest.mark.temporal
@SESSION
async def test_open_runs_are_what_needs_a_worker_and_not_what_waits_for_a_person(house: House, busy: str) -> None:
    async with http_to(an_app(house.client, busy)) as http:
        # Without the notice it would be 3: it has no status, and the server finds nothing that is missing by `!=`.
        wanted = {"open_runs": 4, "waiting_runs": 1}
        assert await settled(http, "/v1/open-runs", wanted) == wanted
        text = (await http.get("/metrics")).text
        assert value(text, "goalfile_open_runs") == 4
        assert value(text, "goalfile_waiting_runs") == 1
        await house.client.get_workflow_handle(f"{busy}-1").terminate()
        wanted = {"open_runs": 3, "waiting_runs": 1}
        assert await settled(http, "/v1/open-runs", wanted) == wanted


@pytest.mark.temporal
@SESSION
async def test_another_queues_runs_need_other_workers(house: House, busy: str) -> None:
    async with http_to(an_app(house.client, busy)) as http:
        await settled(http, "/v1/open-runs", {"open_runs": 4, "waiting_runs": 1})
    async with http_to(an_app(house.client, f"{busy}-other")) as http:
        assert (await http.get("/v1/open-runs")).json() == {"open_runs": 0, "waiting_runs": 0}
    async with http_to(an_app(house.client, "a queue that 'no query' holds")) as http:
        everybodys = (await http.get("/v1/open-runs")).json()
    assert everybodys["open_runs"] >= 4  # rather a worker too many than a run without one


@pytest.mark.temporal
@SESSION
async def test_however_many_scrape_temporal_is_asked_once_in_a_while(house: House) -> None:
    counting = CountsItsCounting()
    config = house.client.config()
    config["interceptors"] = [counting]
    async with http_to(an_app(Client(**config))) as http:
        answers = await asyncio.gather(*(http.get(path) for path in ("/metrics", "/v1/open-runs") * 20))
    assert {answer.status_code for answer in answers} == {200}
    assert counting.asked == 2  # what is open, and what waits


@pytest.mark.parametrize("path", ["/metrics", "/v1/open-runs"])
async def test_without_temporal_there_is_a_problem_and_no_number(path: str) -> None:
    async with http_to(create_app(nowhere)) as http:
        answer = await http.get(path)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "goalfile_open_runs" not in answer.text
    assert "open_runs" not in answer.json()
    assert "secret-address" not in answer.text


async def test_a_silent_temporal_is_given_up_before_keda_gives_up_and_is_tried_once_for_all() -> None:
    tries = 0

    async def silent() -> Client:
        nonlocal tries
        tries += 1
        await asyncio.Event().wait()
        raise AssertionError

    async with http_to(create_app(silent)) as http:
        async with asyncio.timeout(3):
            answers = await asyncio.gather(*(http.get("/metrics") for _ in range(5)))
    assert PATIENCE < 3
    assert [answer.status_code for answer in answers] == [503] * 5
    assert tries == 1


@pytest.mark.temporal
@SESSION
async def test_the_text_is_what_kedas_parser_takes(house: House) -> None:
    async with http_to(an_app(house.client)) as http:
        answer = await http.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    # Its parser knows the old text format alone, and takes the first sample of the name.
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n")
    assert "# EOF" not in answer.text
    lines = [line for line in answer.text.splitlines() if line.startswith("goalfile_open_runs")]
    assert len(lines) == 1
    assert lines[0].partition(" ")[0] == "goalfile_open_runs"
    names = [each.name for each in samples(answer.text)]
    assert not [name for name in names if name.endswith("_created") or not name.startswith("goalfile_")]


@pytest.mark.temporal
@SESSION
async def test_requests_are_counted_by_template_and_refusals_by_kind(house: House) -> None:
    async with http_to(an_app(house.client)) as http:
        for path in ("/v1/runs/one-secret", "/v1/runs/another-secret", "/no/such/secret", "/v1/tasks/x/secret"):
            assert (await http.get(path)).status_code == 404
        assert (await http.put("/v1/runs", json={})).status_code == 405
        assert (await http.request("SECRET", "/healthz")).status_code == 405
        assert (await http.get("/healthz", headers={"Host": "secret.example"})).status_code == 421
        assert (await http.post("/v1/runs", content=b"x", headers={"Content-Type": "text/secret"})).status_code == 415
        text = (await http.get("/metrics")).text
    asked = "goalfile_http_requests_total"
    assert value(text, asked, route="/v1/runs/{run_id}", method="GET", status="4xx") == 2
    assert value(text, asked, route=ELSEWHERE, method="GET", status="4xx") == 3
    assert value(text, asked, route="/v1/runs", method="PUT", status="4xx") == 1
    assert value(text, asked, route="/healthz", method=ELSEWHERE, status="4xx") == 1
    refused = "goalfile_http_refusals_total"
    assert value(text, refused, kind="unknown-run") == 2
    assert value(text, refused, kind="not-found") == 2
    assert value(text, refused, kind="method-not-allowed") == 2
    assert value(text, refused, kind="misdirected-request") == 1
    assert "secret" not in text
    assert {name for each in samples(text) for name in each.labels} == LABELS
    counted = "goalfile_http_answer_seconds_count"
    assert value(text, counted, route="/v1/runs/{run_id}", method="GET") == 2


@pytest.mark.temporal
@SESSION
async def test_a_label_of_a_route_is_a_template_of_the_document(house: House) -> None:
    app = an_app(house.client)
    templates = {path for _, path, _ in operations(app.openapi())}
    async with http_to(app) as http:
        for method, path, _ in operations(app.openapi()):
            await http.request(method, path.replace("{", "").replace("}", ""), headers={"Accept": "application/json"})
        text = (await http.get("/metrics")).text
    routes = {each.labels["route"] for each in samples(text) if "route" in each.labels}
    assert routes == templates


async def test_a_fault_of_ours_is_counted_too() -> None:
    async def broken() -> Client:
        raise LookupError("secret-internal-detail")

    app = create_app(broken)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        assert (await http.get("/v1/runs")).status_code == 500
    meters: Meters = app.state.meters
    text = meters.text(OpenRuns(open_runs=0, waiting_runs=0)).decode()
    assert value(text, "goalfile_http_requests_total", route="/v1/runs", method="GET", status="5xx") == 1
    assert "secret" not in text


@pytest.mark.temporal
@SESSION
async def test_an_open_stream_is_seen_and_counts_until_it_began(house: House) -> None:
    task = Task(goal="wait", name=f"t-{uuid4().hex[:8]}")
    await house.keep(task)
    app = an_app(house.client)
    gone = asyncio.Event()
    began = asyncio.Event()

    async with http_to(app) as http:
        run_id = (await http.post(f"/v1/tasks/{task.name}/runs")).json()["id"]

        async def receive() -> dict[str, object]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, object]) -> None:
            if message["type"] == "http.response.body":
                began.set()

        path = f"/v1/runs/{run_id}/events"
        head = {"type": "http", "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode()}
        rest = {"query_string": b"", "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1), "root_path": ""}
        following = asyncio.create_task(app({**head, **rest}, receive, send))  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await began.wait()
        text = (await http.get("/metrics")).text
        assert value(text, "goalfile_http_streams") == 1
        assert value(text, "goalfile_http_answer_seconds_count", route="/v1/runs/{run_id}/events", method="GET") == 1
        gone.set()
        async with asyncio.timeout(10):
            await following
        assert value((await http.get("/metrics")).text, "goalfile_http_streams") == 0
        await http.post(f"/v1/runs/{run_id}/cancel")


def test_two_apps_count_for_themselves() -> None:
    one, other = create_app(nowhere), create_app(nowhere)
    meters: Meters = one.state.meters
    meters.count("/healthz", "GET", 200, 0.01)
    assert "/healthz" in meters.text(OpenRuns(open_runs=0, waiting_runs=0)).decode()
    assert "/healthz" not in other.state.meters.text(OpenRuns(open_runs=0, waiting_runs=0)).decode()
