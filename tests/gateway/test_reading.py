"""The routes that read say of a file what `goalfile validate` says of it, and serve the schemas that it is held to."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from temporalio.client import Client

from gateway.app import create_app
from gateway.catalog import Names, Toolkits
from schemas.config import Channel, Config, load_config
from schemas.export import config_schema, defaults_schema, schema_text, task_schema
from tests.gateway.conftest import http_to
from tests.schemas.test_golden import FOLDER, MADE
from tests.standins.composio_api import ComposioApi, folder

CONFIG = b"""\
channels:
  eng-slack: {apprise: "${ENG_URL}"}
  ops-pager: {apprise: "${OPS_URL}"}
run_as: {finance: [finance]}
limits: {turns: 50}
"""
HERE = Names(load_config(CONFIG, "goalfile.config.yaml").config or Config())
GOLDEN = {
    **{path.name: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))},
    **{f"{code}.yaml": raw for code, raw in MADE.items()},
}


async def nowhere() -> Client:
    raise RuntimeError("Temporal is not asked")


def app_of(names: Names) -> FastAPI:
    """The gateway, without Temporal: nothing here needs it."""
    return create_app(nowhere, names=names)


async def validate(raw: bytes, names: Names = HERE, media: str = "application/yaml", **query: str) -> httpx.Response:
    async with http_to(app_of(names)) as http:
        return await http.post("/v1/validate", content=raw, params=query, headers={"content-type": media})


async def problems(raw: bytes, names: Names = HERE, **query: str) -> list[dict[str, Any]]:
    answer = await validate(raw, names, **query)
    assert answer.status_code == 200
    said = answer.json()
    assert said["valid"] == all(problem["severity"] == "warning" for problem in said["problems"])
    return said["problems"]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the command line says of every golden file, by file."""
    root = tmp_path_factory.mktemp("repository")
    (root / "goalfile.config.yaml").write_bytes(CONFIG)
    tasks = root / "tasks"
    tasks.mkdir()
    for name, raw in GOLDEN.items():
        (tasks / name).write_bytes(raw)
    said = subprocess.run(
        [sys.executable, "-m", "runner", "validate", "--json", *GOLDEN],
        cwd=tasks,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert said.returncode == 1, said.stderr
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in GOLDEN}
    for problem in json.loads(said.stdout):
        if problem["code"] != "duplicate-name":  # of all files together
            found[problem["file"]].append(problem)
    return found


@pytest.mark.parametrize("name", GOLDEN)
async def test_a_file_is_told_over_http_what_it_is_told_at_the_command_line(
    name: str, told: dict[str, list[dict[str, Any]]]
) -> None:
    said = await problems(GOLDEN[name], path=name)
    in_order = sorted(said, key=lambda problem: problem["severity"] != "error")
    if name == "too-large.yaml":  # the command line reads no further than it must, and tells how far it came
        in_order[0]["message"] = told[name][0]["message"]
    assert in_order == told[name]


def test_the_golden_files_are_wrong_in_many_ways(told: dict[str, list[dict[str, Any]]]) -> None:
    assert len({problem["code"] for found in told.values() for problem in found}) > 20


async def test_a_file_without_a_fault_is_valid_and_one_with_a_warning_too() -> None:
    assert (await validate(b"goal: Say hello\n")).json() == {"valid": True, "problems": []}
    (warning,) = await problems(b"goal: Say hello\ninputs: {a: 1}\n")
    assert (warning["code"], warning["file"]) == ("unused-input", "task.yaml")


async def test_toolkits_are_those_of_this_server() -> None:
    with ComposioApi([*folder("github"), *folder("gmail")]) as composio:
        (problem,) = await problems(b"goal: x\ntoolkit: gmial\n", Names(toolkits=Toolkits(composio.key, composio.url)))
    assert (problem["code"], problem["label"]) == ("unknown-toolkit", "did you mean `gmail`?")


@pytest.mark.parametrize(("path", "wrong"), [("finance/report.yaml", 0), ("finance/eu/a.yaml", 0), ("hr/a.yaml", 1)])
async def test_a_file_may_name_the_users_of_its_folder(path: str, wrong: int) -> None:
    found = await problems(b"goal: x\nrun_as: finance\n", path=path)
    assert [problem["code"] for problem in found] == ["run-as-not-allowed"] * wrong


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../a.yaml", "a/../../b.yaml", "a//b.yaml", "./a", "a\0b", "x" * 301]
)
async def test_a_path_that_leaves_the_tasks_folder_is_none(path: str) -> None:
    answer = await validate(b"goal: x\n", path=path)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["pointer"] == "query/path"


async def test_defaults_and_configurations_are_read_as_what_they_are() -> None:
    assert await problems(b"limits: {turns: 3}\n", kind="defaults", path="_defaults.yaml") == []
    (problem,) = await problems(b"goal: x\n", kind="defaults", path="_defaults.yaml")
    assert (problem["code"], problem["file"]) == ("unknown-key", "_defaults.yaml")
    assert await problems(CONFIG, kind="config", path="goalfile.config.yaml") == []
    (problem,) = await problems(b"channels: {a: {apprise: 'slack://token'}}\n", kind="config")
    assert problem["code"] == "secret-in-file"
    assert "token" not in json.dumps(problem)
    assert (await validate(b"", media="text/yaml; charset=utf-8", kind="config")).json()["valid"]
    assert (await validate(b"", kind="secret")).status_code == 422


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
async def test_what_is_not_sent_as_yaml_is_not_read_as_yaml(kind: str) -> None:
    answer = await validate(b'{"goal": "x"}', media=kind)
    assert (answer.status_code, answer.headers["content-type"]) == (415, "application/problem+json")


@given(st.binary(max_size=300), st.sampled_from(["task", "defaults", "config"]))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_sent_is_judged(raw: bytes, kind: str) -> None:
    assert isinstance(await problems(raw, kind=kind, path="a.yaml"), list)


async def test_a_large_file_leaves_time_for_others() -> None:
    large = b"goal: x\ninputs: {a: [" + b",".join([b"[]"] * 20_000) + b"]}\n"
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.ensure_future(tick())
    await problems(large)
    ticking.cancel()
    assert ticks > 2


OFFERS = Config(channels={"ops-pager": Channel(apprise="${OPS_URL}")})


@pytest.fixture
def composio() -> Iterator[ComposioApi]:
    with ComposioApi([*folder("notes"), *folder("mail")]) as api:
        yield api


async def test_schemas_offer_what_the_server_has(composio: ComposioApi) -> None:
    names = Names(OFFERS, Toolkits(composio.key, composio.url))
    offers: dict[str, Any] = {"toolkits": ("mail", "notes"), "channels": ("ops-pager",)}
    expected = {"task": task_schema(**offers), "defaults": defaults_schema(**offers), "config": config_schema()}
    async with http_to(create_app(nowhere, names=names)) as http:
        for kind, schema in expected.items():
            answer = await http.get(f"/v1/schemas/{kind}.json")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/schema+json")
            assert answer.text == schema_text(schema)
            Draft7Validator.check_schema(answer.json())
        assert (await http.get("/v1/schemas/other.json")).status_code == 404
    assert '"ops-pager"' in schema_text(expected["task"])


async def test_a_schema_that_an_editor_has_is_not_sent_again(composio: ComposioApi) -> None:
    app = create_app(nowhere, names=Names(OFFERS, Toolkits(composio.key, composio.url)))
    path = "/v1/schemas/task.json"
    async with http_to(app) as http:
        first = await http.get(path)
        tag = first.headers["etag"]
        assert "no-cache" in first.headers["cache-control"]
        for said in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await http.get(path, headers={"if-none-match": said})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        for said in ('"other"', tag.strip('"'), ""):
            assert (await http.get(path, headers={"if-none-match": said})).text == first.text
    async with http_to(create_app(nowhere, names=Names(OFFERS))) as http:
        other = await http.get(path, headers={"if-none-match": tag})
    assert (other.status_code, other.headers["etag"] != tag) == (200, True)


async def test_nobody_reads_what_they_may_not() -> None:
    app = create_app(nowhere)
    routes = {"/v1/validate", "/v1/schemas/task.json", "/v1/schemas/defaults.json", "/v1/schemas/config.json"}
    assert routes <= {*app.openapi()["paths"]}
    for path in routes:
        (said,) = app.openapi()["paths"][path].values()
        assert "tasks:read" in json.dumps(said)
