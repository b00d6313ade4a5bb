"""Every operation, asked for what its document allows and for what it does not: it answers as the document says.

Over a real socket, with a real Temporal behind; half of the requests name runs and tasks that there are.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
import requests
import schemathesis
from fastapi import FastAPI, Response
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks
from temporalio.client import Client, WorkflowFailureError
from uvicorn import Config, Server

from gateway.app import create_app
from gateway.openapi import operations
from schemas.task import Task
from tests.gateway.conftest import House

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 12
"""Of each kind, for each operation: enough to find what is wrong everywhere, few enough to wait for."""


async def nowhere() -> Client:
    raise OSError("nowhere")


DOCUMENT = create_app(nowhere).openapi()
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def cases() -> Iterator[Any]:
    """Every operation as its document wants it, and otherwise, if there is anything that can be wrong with it."""
    for method, path, said in operations(DOCUMENT):
        typed = "requestBody" in said or any(each["in"] != "path" for each in said.get("parameters", ()))
        for mode in MODES if typed else MODES[:1]:  # whatever stands in a path is some text
            yield pytest.param(method, path, mode, id=f"{said['operationId']}-{mode.value}")


class Socket(Server):
    """A server beside a test, which keeps its own signal handlers."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@dataclass(frozen=True)
class There:
    """Where the gateway is, and what there is for parameters of these names."""

    url: str
    known: dict[str, list[str]]


@asynccontextmanager
async def served(app: FastAPI) -> AsyncGenerator[str]:
    """The address of an app on a socket of its own."""
    server = Socket(Config(app, port=0, lifespan="off", log_level="error"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:
            await asyncio.sleep(0.01)  # it has no event of its own
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def there(house: House) -> AsyncIterator[There]:
    runs: list[str] = []
    names = [f"fuzz-{goal}-{uuid4().hex[:8]}" for goal in ("x", "wait", "crash", "stop")]
    for name in names:
        await house.keep(Task(goal=name.split("-")[1], name=name))
        runs.append((await house.http.post(f"/v1/tasks/{name}/runs")).json()["id"])
    for run_id in (runs[0], *runs[2:]):
        try:
            await house.client.get_workflow_handle(run_id).result()
        except WorkflowFailureError:
            assert "crash" in run_id
    async with served(house.app) as url:
        yield There(url, {"run_id": runs, "name": names})
    await house.http.post(f"/v1/runs/{runs[1]}/cancel")


def short(headers: Any) -> None:
    """Streams as lists, and no waiting: a test has no minute for each of its requests."""
    headers["Accept"] = "application/json"
    for name, said in headers.items():
        if name.lower() == "prefer" and "wait" in str(said):
            headers[name] = "wait=1"


def ask(operation: Any, mode: GenerationMode, there: There) -> None:
    known = {each: st.none() | st.sampled_from(there.known[each]) for each in there.known if each in operation.path}
    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES,
            phases=(Phase.generate,),  # a failure is told as it was found: to shrink it takes minutes
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        )
        @given(case=operation.as_strategy(generation_mode=mode), names=st.fixed_dictionaries(known))
        def answers(case: Any, names: dict[str, str | None]) -> None:
            case.path_parameters |= {name: real for name, real in names.items() if real}
            short(case.headers)
            case.call_and_validate(base_url=there.url, session=session, checks=CHECKS, timeout=20)

        answers()


@pytest.mark.slow
@pytest.mark.temporal
@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(("method", "path", "mode"), list(cases()))
async def test_an_answer_is_one_that_the_document_has(
    there: There, method: str, path: str, mode: GenerationMode
) -> None:
    await asyncio.to_thread(ask, SCHEMA[path][method], mode, there)


LIES = {
    "another content type": Response("hello", media_type="text/plain"),
    "another shape": Response('{"count": "many"}', media_type="application/json"),
    "a status that is nowhere": Response('{"count": 1}', 206, media_type="application/json"),
    "a fault": Response('{"count": 1}', 500, media_type="application/json"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_an_answer_that_the_document_has_not_is_noticed(lie: str) -> None:
    app = FastAPI()
    count = {"type": "object", "required": ["count"], "properties": {"count": {"type": "integer"}}}
    content = {"application/json": {"schema": count}}

    @app.get("/count", responses={200: {"content": content}}, response_class=Response)
    async def answer() -> Response:
        return LIES[lie]

    operation = schemathesis.openapi.from_dict(app.openapi())["/count"]["GET"]
    async with served(app) as url:
        with pytest.raises(FailureGroup):
            await asyncio.to_thread(ask, operation, GenerationMode.POSITIVE, There(url, {}))
