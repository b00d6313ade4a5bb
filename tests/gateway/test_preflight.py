"""What Composio says of connections before a run starts, over real HTTP to a stand-in: only a plain no stops one."""

import asyncio
import json
import logging
import socket
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from gateway.preflight import Preflight
from gateway.problems import NotConnected, Unconnected, install_problems
from schemas.task import Task
from tests.gateway.conftest import http_to
from tests.standins.composio_api import ComposioApi, Drop, Fail, Garble, Hang, Move, folder

TOOLKITS = ("notes", "mail", "search")


@pytest.fixture
def composio() -> Iterator[ComposioApi]:
    acts = [act for toolkit in TOOLKITS for act in folder(toolkit)]
    with ComposioApi(acts, connected=set(), free={"search"}) as api:
        yield api


def preflight_of(composio: ComposioApi, *, within: float = 3.0, keep: float = 60.0, rest: float = 5.0) -> Preflight:
    return Preflight(composio.key, composio.url, "default", within=within, keep=keep, rest=rest)


def wants(*toolkits: str, run_as: str | None = None) -> Task:
    return Task(goal="x", toolkit=toolkits, run_as=run_as)


async def missing(preflight: Preflight, task: Task) -> tuple[Unconnected, ...]:
    """What a check says is missing; nothing if the run may start."""
    try:
        await preflight.check(task)
    except NotConnected as refused:
        return refused.unconnected
    return ()


def paths(composio: ComposioApi) -> list[str]:
    return [f"{each.method} {each.path.rpartition('/')[2]}" for each in composio.requests]


async def test_with_everything_connected_the_run_may_start_and_no_link_is_made(composio: ComposioApi) -> None:
    composio.connected = {("ada", "notes"), ("ada", "mail")}
    assert await missing(preflight_of(composio), wants("notes", "mail", run_as="ada")) == ()
    assert paths(composio) == ["POST session", "GET toolkits"]
    assert composio.links == []


async def test_composio_is_asked_without_instant_use_and_for_nothing_but_the_toolkits(composio: ComposioApi) -> None:
    await missing(preflight_of(composio), wants("search"))
    body = composio.requests[0].body
    assert (body["instant"], body["user_id"], body["toolkits"]) == (False, "default", {"enable": ["search"]})
    assert not any(body[tool]["enable"] for tool in ("manage_connections", "workbench", "search"))


async def test_what_is_missing_is_told_in_the_tasks_order_with_a_link_for_each(composio: ComposioApi) -> None:
    found = await missing(preflight_of(composio), wants("notes", "mail", "notes"))
    assert [each.toolkit for each in found] == ["notes", "mail"]
    assert all(each.connect_url.startswith(f"{composio.url}/link/") for each in found)
    assert sorted(composio.links) == [("default", "mail"), ("default", "notes")]


async def test_of_a_half_connected_task_only_the_other_half_gets_a_link(composio: ComposioApi) -> None:
    composio.connected = {("ada", "notes")}
    found = await missing(preflight_of(composio), wants("notes", "mail", "search", run_as="ada"))
    assert [each.toolkit for each in found] == ["mail"]
    assert composio.links == [("ada", "mail")]


async def test_a_connection_is_a_persons_own(composio: ComposioApi) -> None:
    composio.connected = {("ada", "notes"), ("default", "mail")}
    preflight = preflight_of(composio)
    assert not await missing(preflight, wants("notes", run_as="ada"))
    assert await missing(preflight, wants("notes", run_as="bob"))
    assert await missing(preflight, wants("notes"))
    assert not await missing(preflight, wants("mail"))


@pytest.mark.parametrize("state", ["INITIALIZING", "INITIATED", "FAILED", "EXPIRED", "INACTIVE", "REVOKED"])
async def test_only_an_active_account_is_a_connection(state: str, composio: ComposioApi) -> None:
    composio.accounts["default", "notes"] = state
    assert await missing(preflight_of(composio), wants("notes"))


async def test_what_needs_no_connection_is_never_missing(composio: ComposioApi) -> None:
    preflight = preflight_of(composio)
    assert await missing(preflight, wants("search")) == ()
    composio.requests.clear()
    assert await missing(preflight, wants()) == ()
    assert composio.requests == []


async def test_without_a_key_there_is_nothing_to_check(composio: ComposioApi) -> None:
    for key in (None, ""):
        assert await missing(Preflight(key, composio.url, "default"), wants("notes")) == ()
    assert composio.requests == []


async def test_a_toolkit_that_composio_does_not_know_is_left_to_the_run(composio: ComposioApi) -> None:
    preflight = preflight_of(composio)
    assert await missing(preflight, wants("nowhere", "mail")) == ()
    assert composio.links == []
    assert await missing(preflight, wants("mail"))  # and stops no other question


async def test_a_connection_is_believed_for_a_while(composio: ComposioApi) -> None:
    composio.connected = {("default", "notes")}
    preflight, forgetful = preflight_of(composio), preflight_of(composio, keep=0.05)
    for _ in range(5):
        assert not await missing(preflight, wants("notes"))
    assert len(composio.requests) == 2
    assert not await missing(forgetful, wants("notes"))
    composio.connected = set()
    await asyncio.sleep(0.1)
    assert not await missing(preflight, wants("notes"))
    assert await missing(forgetful, wants("notes"))


async def test_a_missing_connection_is_looked_for_each_time(composio: ComposioApi) -> None:
    preflight = preflight_of(composio)
    for _ in range(3):
        assert await missing(preflight, wants("notes", "mail"))
    composio.connected = {("default", "mail"), ("default", "notes")}
    assert not await missing(preflight, wants("notes", "mail"))


async def test_what_composio_says_now_beats_what_was_believed(composio: ComposioApi) -> None:
    composio.connected = {("default", "notes")}
    preflight = preflight_of(composio)
    assert not await missing(preflight, wants("notes"))
    composio.connected = {("default", "mail")}
    assert [each.toolkit for each in await missing(preflight, wants("notes", "mail"))] == ["notes"]
    assert [each.toolkit for each in await missing(preflight, wants("notes"))] == ["notes"]
    assert not await missing(preflight, wants("mail"))


async def test_one_session_serves_every_question_about_the_same_toolkits(composio: ComposioApi) -> None:
    preflight = preflight_of(composio)
    for toolkits in (("notes", "mail"), ("mail", "notes"), ("notes", "mail")):
        assert len(await missing(preflight, wants(*toolkits))) == 2
    assert paths(composio).count("POST session") == 1
    composio.forget_sessions()
    assert len(await missing(preflight, wants("notes", "mail"))) == 2
    assert paths(composio).count("POST session") == 2


async def test_composio_is_asked_once_for_all_who_wait(composio: ComposioApi) -> None:
    preflight = preflight_of(composio)
    found = await asyncio.gather(*(missing(preflight, wants("notes")) for _ in range(20)))
    assert len({str(each) for each in found}) == 1
    assert composio.links == [("default", "notes")]
    assert len(composio.requests) == 3


async def test_who_leaves_takes_no_answer_from_the_others(composio: ComposioApi) -> None:
    preflight = preflight_of(composio)
    first, other = (asyncio.ensure_future(missing(preflight, wants("notes"))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await other
    assert len(composio.requests) == 3


WRONG: list[Move] = [
    Fail(500, "secret-internal-detail"),
    Fail(503, headers={"retry-after": "60"}),
    Fail(429),
    Fail(401),
    Fail(403),
    Fail(400),
    Fail(402),
    Fail(307, headers={"location": "/api/v3.1/toolkits"}),
    Hang(),
    Drop(),
    Garble(b"<html>secret-internal-detail</html>"),
    Garble(b"[" * 100_000),
    Garble(b"{}"),
    Garble(b'{"session_id": "../../toolkits", "items": null}'),
    Garble(b'{"session_id": "a/b?c", "items": [{"slug": "notes"}]}'),
    Garble(b'{"session_id": 3, "items": [{"slug": null, "is_no_auth": false}]}'),
    Garble(b'{"session_id": "", "items": [], "next_cursor": 3}'),
    Garble(json.dumps({"items": [{"slug": "x" * 2**21, "is_no_auth": False}]}).encode()),
]


@pytest.mark.parametrize("move", WRONG, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("step", ["create", "session toolkits"])
async def test_whatever_composio_does_the_run_may_start(
    composio: ComposioApi, caplog: pytest.LogCaptureFixture, move: Move, step: str
) -> None:
    composio.next[step] = [move]
    with caplog.at_level(logging.DEBUG, "gateway"):
        assert await missing(preflight_of(composio, within=0.4), wants("notes")) == ()
    (said,) = [record.getMessage() for record in caplog.records if record.name == "gateway"]
    for secret in (composio.key, composio.url, "secret-internal-detail"):
        assert secret not in said
    assert composio.links == []


async def test_a_list_without_an_end_is_given_up(composio: ComposioApi) -> None:
    composio.next["session toolkits"] = [Garble(b'{"items": [], "next_cursor": "c0"}')] * 50
    assert await missing(preflight_of(composio), wants("notes")) == ()
    assert len(composio.requests) < 25


async def test_what_a_list_leaves_out_is_not_taken_for_missing(composio: ComposioApi) -> None:
    composio.next["session toolkits"] = [Garble(b'{"items": [{"slug": "mail", "is_no_auth": false}]}')]
    assert [each.toolkit for each in await missing(preflight_of(composio), wants("notes", "mail"))] == ["mail"]


async def test_the_key_follows_no_redirect(composio: ComposioApi) -> None:
    with ComposioApi() as elsewhere:
        there = f"{elsewhere.url}/api/v3.1/tool_router/session"
        composio.next["create"] = [Fail(307, headers={"location": there})]
        assert await missing(preflight_of(composio), wants("notes")) == ()
        assert elsewhere.requests == []


async def test_a_composio_that_is_down_or_slow_keeps_nobody_waiting_twice(composio: ComposioApi) -> None:
    composio.next["create"] = [Hang(), Hang()]
    preflight, loop = preflight_of(composio, within=0.3, rest=0.4), asyncio.get_running_loop()
    began = loop.time()
    assert await missing(preflight, wants("notes")) == ()
    assert 0.3 <= loop.time() - began < 2
    for _ in range(10):
        assert await missing(preflight, wants("notes")) == ()
    assert len(composio.requests) == 1
    await asyncio.sleep(0.45)
    composio.next.clear()
    assert await missing(preflight, wants("notes"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert await missing(Preflight("ak", f"http://127.0.0.1:{port}", "default"), wants("notes")) == ()


@pytest.mark.parametrize(
    "move",
    [
        Fail(500),
        Hang(),
        Garble(b"{}"),
        Garble(b'{"redirect_url": "javascript:alert(1)"}'),
        Garble(b'{"redirect_url": "https://x.invalid/ak_stand-in-0123456789"}'),
        Garble(b'{"redirect_url": "https://x.invalid/\\r\\nset-cookie: a"}'),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_without_a_link_what_is_missing_is_told_all_the_same(composio: ComposioApi, move: Move) -> None:
    composio.next["link"] = [move]
    found = await missing(preflight_of(composio, within=0.4), wants("notes"))
    assert found == (Unconnected(toolkit="notes", connect_url=""),)


async def test_a_caller_is_told_where_to_connect(composio: ComposioApi) -> None:
    app, preflight = FastAPI(), preflight_of(composio)
    install_problems(app)

    @app.post("/v1/runs")
    async def start() -> None:
        await preflight.check(wants("notes", "mail", run_as="ada"))

    async with http_to(app) as http:
        answer = await http.post("/v1/runs")
        said = answer.json()
        assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
        assert said["type"] == "urn:goalfile:problem:not-connected"
        assert [each["toolkit"] for each in said["unconnected"]] == ["notes", "mail"]
        assert said["connect_url"] == said["unconnected"][0]["connect_url"]
        assert "notes, mail are not connected for 'ada'" in said["detail"]
        assert composio.key not in answer.text
        composio.next["link"] = [Fail(500), Fail(500)]
        without = (await http.post("/v1/runs")).json()
        assert "connect_url" not in without
        assert "in Composio" in without["detail"]
        composio.connected = {("ada", "notes"), ("ada", "mail")}
        assert (await http.post("/v1/runs")).status_code == 200
