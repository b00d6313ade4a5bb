"""Without Temporal: the gateway is up, says so, and never claims to have started anything."""

import asyncio
import re
import time
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from gateway.app import create_app
from gateway.problems import Refusal
from gateway.runs import Runs
from gateway.temporal import Connection, connector
from schemas import wire
from tests.gateway.conftest import http_to, start_temporal


async def nowhere() -> Client:
    raise RuntimeError("Failed client connect: secret-address:7233")


def refuses_for_now(answer: httpx.Response) -> bool:
    return (
        answer.status_code == 503
        and answer.headers["content-type"] == "application/problem+json"
        and int(answer.headers["retry-after"]) > 0
        and "secret-address" not in answer.text
    )


async def test_the_gateway_is_alive_but_not_ready() -> None:
    async with http_to(create_app(nowhere)) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert refuses_for_now(await http.get("/readyz"))


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/runs", {"goal": "x"}),
        ("POST", "/v1/tasks/hello/runs", {}),
        ("POST", "/v1/runs/hello-1/cancel", None),
        ("GET", "/v1/runs/hello-1", None),
        ("GET", "/v1/runs", None),
        ("GET", "/v1/tasks", None),
        ("GET", "/v1/sync", None),
    ],
)
async def test_nothing_is_accepted_that_nobody_will_do(method: str, path: str, body: Any) -> None:
    async with http_to(create_app(nowhere)) as http:
        assert refuses_for_now(await http.request(method, path, json=body))


async def test_the_page_says_that_there_is_nothing_to_show_and_keeps_looking() -> None:
    async with http_to(create_app(nowhere)) as http:
        answer = await http.get("/")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    assert "Temporal cannot be reached" in answer.text
    assert 'http-equiv="refresh"' in answer.text


async def test_it_connects_as_soon_as_temporal_is_there() -> None:
    tries = 0

    async def connect() -> Client:
        nonlocal tries
        tries += 1
        return await nowhere()

    async with http_to(create_app(connect)) as http:
        await http.get("/readyz")
        await http.get("/readyz")
    assert tries == 2


async def test_an_error_of_our_own_shows_nothing_of_itself() -> None:
    async def broken() -> Client:
        raise LookupError("secret-internal-detail")

    app = create_app(broken)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.get("/v1/runs")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret-internal-detail" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.temporal
async def test_a_server_that_goes_away_and_comes_back() -> None:
    environment = await start_temporal()
    address = environment.client.service_client.config.target_host
    app = create_app(connector({"target_host": address}))
    async with http_to(app) as http:
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.post("/v1/runs", json={"goal": "x"})).status_code == 202
        await environment.shutdown()
        began = time.monotonic()
        answers = await asyncio.gather(http.get("/readyz"), http.post("/v1/runs", json={"goal": "x"}))
        assert time.monotonic() - began < 5
        assert all(refuses_for_now(answer) for answer in answers)
        assert re.search(r"/v1/runs/ad-hoc-\d{8}T\d{6}Z-[0-9a-f]{8} ", answers[1].json()["detail"])
        environment = await start_temporal(int(address.rpartition(":")[2]))
        try:
            async with asyncio.timeout(10):
                while (await http.get("/readyz")).status_code != 200:
                    await asyncio.sleep(0.1)
        finally:
            await environment.shutdown()


@pytest.mark.temporal
async def test_a_namespace_that_is_missing_is_no_missing_run() -> None:
    environment = await start_temporal()
    try:
        address = environment.client.service_client.config.target_host
        runs = Runs(Connection(connector({"target_host": address, "namespace": "elsewhere"})), wire.QUEUE)
        for ask in (runs.check_ready(), runs.look("hello-1"), runs.recent(1)):
            with pytest.raises(Refusal, match="TEMPORAL_NAMESPACE") as refused:
                await ask
            assert refused.value.status == 503
    finally:
        await environment.shutdown()
