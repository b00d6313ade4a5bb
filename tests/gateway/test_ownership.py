"""Every route and every principal: who sees and touches which run, and that nobody else learns that it is there."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.app import create_app
from gateway.door import Door
from gateway.ownership import load_owned_run, owned
from gateway.principals import LOCAL, Principal, mark_of
from gateway.problems import RunNotFound
from gateway.views import Execution
from schemas.access import SCOPES
from schemas.task import Task
from tests.gateway.conftest import House, http_to

OPEN = {"/healthz", "/readyz"}
"""What answers whoever asks, and says nothing."""
NOT_OURS = {"/openapi.json", "/", "/static/page.css", "/docs"}
EVERYTHING = frozenset(SCOPES) - {"admin"}
ISSUER = "https://login.example"


def routes(app: FastAPI) -> list[Any]:
    """Every route of ours with its whole path, those of routers included."""
    found: list[Any] = []
    for route in app.routes:
        included = getattr(route, "effective_route_contexts", None)
        found += included() if included else [route] if isinstance(route, APIRoute) else []
    return found


def dependencies(dependant: Dependant) -> Iterator[Any]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from dependencies(each)


def nowhere() -> Any:
    raise OSError("nowhere")


APP = create_app(nowhere)


def test_every_route_with_a_runs_id_asks_whose_run_it_is() -> None:
    with_a_run = [route for route in routes(APP) if "{run_id}" in route.path]
    assert len(with_a_run) >= 5
    assert [r.path for r in with_a_run if load_owned_run not in dependencies(r.dependant)] == []


def test_every_route_names_the_scope_that_it_needs() -> None:
    without = [
        f"{sorted(route.methods)} {route.path}"
        for route in routes(APP)
        if route.path not in OPEN | NOT_OURS
        and not any(getattr(call, "scope", None) in SCOPES for call in dependencies(route.dependant))
    ]
    assert without == []


class Says:
    """Stands where the door is, and says that everybody is this principal."""

    def __init__(self, app: ASGIApp, who: Principal) -> None:
        self._app, self._who = app, who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["principal"] = self._who
        await self._app(scope, receive, send)


def to(house: House, who: Principal) -> httpx.AsyncClient:
    """The gateway as one principal sees it."""
    app = create_app(lambda: asyncio.sleep(0, house.client))
    app.user_middleware = [Middleware(Says, who) if each.cls is Door else each for each in app.user_middleware]
    return http_to(app)


def person(subject: str, *, scopes: frozenset[str] = EVERYTHING) -> Principal:
    return Principal(subject, mark_of(ISSUER, subject), scopes)


# Each of these is easily taken for another one: a prefix, other letters that look alike, nothing at all.
SUBJECTS = ("ada", "ad", "ada1", "ADA", "", "ada'", 'ada"', "ада", "a\u200bda", "ada OR 1=1", "%", "ada\x00")


@pytest.mark.temporal
@pytest.mark.asyncio(loop_scope="session")
async def test_nobody_but_its_owner_and_an_admin_can_do_anything_with_a_run(house: House) -> None:
    name = f"t-{uuid4().hex[:8]}"
    await house.keep(Task(goal="wait", name=name))
    ada, admin = person("ada"), person("root", scopes=frozenset({"admin"}))
    async with to(house, ada) as http:
        run_id = (await http.post(f"/v1/tasks/{name}/runs")).json()["id"]
    on_a_run = [(m, r.path) for r in routes(APP) if "{run_id}" in r.path for m in r.methods]
    for subject in SUBJECTS[1:]:
        async with to(house, person(subject)) as http:
            for method, path in on_a_run:
                foreign = await http.request(method, path.replace("{run_id}", run_id))
                missing = await http.request(method, path.replace("{run_id}", "no-such-run"))
                assert (foreign.status_code, missing.status_code) == (404, 404), (subject, path)
                assert foreign.text.replace(run_id, "no-such-run") == missing.text, (subject, path)
            listed = (await http.get("/v1/runs", params={"task": name})).json()["data"]
            assert listed == [], subject
    async with asyncio.timeout(15):
        for who in (ada, admin, LOCAL):
            async with to(house, who) as http:
                while [r["id"] for r in (await http.get("/v1/runs", params={"task": name})).json()["data"]] != [run_id]:
                    await asyncio.sleep(0.05)  # a list lags behind
                assert (await http.get(f"/v1/runs/{run_id}")).status_code == 200
    async with to(house, admin) as http:
        assert (await http.post(f"/v1/runs/{run_id}/cancel")).status_code == 202


@pytest.mark.temporal
@pytest.mark.asyncio(loop_scope="session")
async def test_without_its_scope_a_route_does_nothing_even_for_the_owner(house: House) -> None:
    name = f"t-{uuid4().hex[:8]}"
    await house.keep(Task(goal="x", name=name))
    async with to(house, person("ada")) as http:
        run_id = (await http.post(f"/v1/tasks/{name}/runs")).json()["id"]
    async with to(house, person("ada", scopes=frozenset())) as http:
        for route in routes(APP):
            if route.path in OPEN | NOT_OURS:
                continue
            path = route.path.replace("{run_id}", run_id).replace("{name}", name)
            for method in route.methods:
                answer = await http.request(method, path, json={} if method in {"POST", "PUT"} else None)
                assert answer.status_code in {403, 404, 422}, (method, path, answer.text)
        assert (await http.get(f"/v1/runs/{run_id}")).status_code == 403
        assert (await http.post(f"/v1/tasks/{name}/runs")).status_code == 403
        assert (await http.get("/v1/runs")).status_code == 403


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_two_principals_never_share_a_mark(issuer: str, subject: str, other: str, another: str) -> None:
    same = (issuer, subject) == (other, another)
    assert (mark_of(issuer, subject) == mark_of(other, another)) == same


@given(st.text(max_size=12), st.text(max_size=12))
def test_a_run_is_its_owners_and_nobody_elses(subject: str, other: str) -> None:
    now = datetime.now(UTC)
    run = Execution("r", "t", "running", now, mark=mark_of(ISSUER, subject))
    nobodys = Execution("r", "t", "running", now)
    assert owned(run, person(subject), "r") is run
    if other != subject:
        with pytest.raises(RunNotFound):
            owned(run, person(other), "r")
    for who in (person(subject), person(other), Principal("x", "", EVERYTHING)):
        with pytest.raises(RunNotFound):
            owned(nobodys, who, "r")
    assert owned(nobodys, LOCAL, "r") is nobodys
