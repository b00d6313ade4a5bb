"""Lists of runs over a real server: what a filter lets through, and that the parts make up the whole."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app import create_app
from gateway.listing import Wanted, cursor_of, token_of
from gateway.problems import BadCursor
from gateway.temporal import connector
from schemas.task import Task
from tests.gateway.conftest import House, http_to

on_a_server = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="session")]


def marked(test: Any) -> Any:
    for mark in on_a_server:
        test = mark(test)
    return test


async def listed(house: House, at_least: int = 0, **asked: Any) -> list[dict[str, Any]]:
    """A whole list, once it holds so many: it lags behind."""
    async with asyncio.timeout(15):
        while True:
            answer = await house.http.get("/v1/runs", params=asked)
            assert answer.status_code == 200, answer.text
            if len(found := answer.json()["data"]) >= at_least:
                return found
            await asyncio.sleep(0.05)


async def made(house: House, goals: list[str], **more: Any) -> tuple[str, list[str]]:
    """A task's runs that end as their goals say; its name and their ids."""
    name = f"t-{uuid4().hex[:8]}"
    ids = []
    for goal in goals:
        await house.keep(Task(goal=goal, name=f"{name}-{len(ids)}", **more))
        answer = await house.http.post(f"/v1/tasks/{name}-{len(ids)}/runs")
        ids.append(answer.json()["id"])
    return name, ids


@marked
async def test_a_list_is_had_in_parts_that_make_up_the_whole(house: House) -> None:
    name = f"t-{uuid4().hex[:8]}"
    await house.keep(Task(goal="x", name=name))
    ids = [(await house.http.post(f"/v1/tasks/{name}/runs")).json()["id"] for _ in range(5)]
    await listed(house, 5, task=name, status="succeeded")
    found: list[str] = []
    cursor = None
    for _ in range(9):
        asked = {"task": name, "limit": 2, **({"cursor": cursor} if cursor else {})}
        part = (await house.http.get("/v1/runs", params=asked)).json()
        found += [run["id"] for run in part["data"]]
        cursor = part["next_cursor"]
        if cursor is None:
            break
    assert sorted(found) == sorted(ids)


@marked
async def test_a_filter_lets_through_what_it_says(house: House) -> None:
    label = uuid4().hex[:8]
    name, ids = await made(house, ["x", "wait", "stop", "crash"], labels={"team": label})
    of_label = {"label": f"team={label}"}
    await listed(house, 1, **of_label, status="failed")
    everything = await listed(house, 4, **of_label)
    assert {run["id"] for run in everything} == set(ids)
    for status, which in (("succeeded", 0), ("waiting", 1), ("stopped", 2), ("failed", 3)):
        found = await listed(house, 1, **of_label, status=status)
        assert [(run["id"], run["status"]) for run in found] == [(ids[which], status)]
    assert [run["id"] for run in await listed(house, 1, task=f"{name}-0")] == [ids[0]]
    assert await listed(house, task=f"{name}-0", label="team=nobody") == []
    assert await listed(house, task=f"{name}-0", **of_label, status="failed") == []
    assert {run["id"] for run in await listed(house, **of_label, since="1h")} == set(ids)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert await listed(house, **of_label, since=later) == []
    await house.http.post(f"/v1/runs/{ids[1]}/cancel")
    assert [run["id"] for run in await listed(house, 1, **of_label, status="cancelled")] == [ids[1]]


@marked
@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"limit": "0"}, 422),
        ({"limit": "201"}, 422),
        ({"status": "done"}, 422),
        ({"label": "team"}, 422),
        ({"since": "yesterday"}, 400),
        ({"since": "999999w999999w"}, 400),
        ({"task": "' OR 1=1"}, 400),
        ({"cursor": "bm8"}, 400),
        ({"cursor": "ü"}, 400),
    ],
)
async def test_what_cannot_be_asked_for_is_said(house: House, asked: dict[str, str], status: int) -> None:
    answer = await house.http.get("/v1/runs", params=asked)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


@marked
async def test_a_cursor_that_was_tampered_with_is_refused_and_shows_nobodys_runs(house: House) -> None:
    forged = cursor_of(b'{"CloseTime": "x"}', Wanted().query)
    # Connected as the process is: a client of the SDK's own making would try for ten seconds.
    app = create_app(connector({"target_host": house.client.service_client.config.target_host}))
    async with http_to(app) as http:
        answer = await http.get("/v1/runs", params={"cursor": forged})
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:goalfile:problem:bad-cursor")


@given(st.binary(min_size=1, max_size=300), st.text(max_size=20))
def test_a_cursor_leads_back_to_its_token_and_in_another_list_nowhere(token: bytes, query: str) -> None:
    cursor = cursor_of(token, query)
    assert token_of(cursor, query) == token
    with pytest.raises(BadCursor):
        token_of(cursor, query + "!")


@given(st.text(min_size=1, max_size=80))
def test_any_text_is_a_token_or_refused(cursor: str) -> None:
    with suppress(BadCursor):
        assert token_of(cursor, "q")


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_a_caller_gets_into_a_query_unless_it_is_a_name(task: str, mark: str) -> None:
    try:
        query = Wanted((task,), mark=mark).query
    except ValueError:
        return
    assert not set(task + mark) & set("'\" ()=,")
    assert query.count("'") == 8
