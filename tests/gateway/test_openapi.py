"""The committed document is what the routes say, and says it as clients and their generators need it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR
from temporalio.client import Client

from gateway.app import create_app
from gateway.openapi import BEARER, FILE, PROBLEM, TAGS, document_text, need, operations
from gateway.principals import SCOPES
from tests.gateway.conftest import http_to

DOCUMENT: dict[str, Any] = json.loads(document_text())
OPERATIONS = [pytest.param(*each, id=each[2]["operationId"]) for each in operations(DOCUMENT)]
A_PROBLEM = {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}
each_operation = pytest.mark.parametrize(("method", "path", "said"), OPERATIONS)


async def nowhere() -> Client:
    raise OSError("nowhere")


def values(node: Any, key: str) -> Iterator[Any]:
    if isinstance(node, dict):
        for name, inner in node.items():
            if name == key:
                yield inner
            yield from values(inner, key)
    elif isinstance(node, list):
        for inner in node:
            yield from values(inner, key)


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from DOCUMENT["components"]["schemas"].items()
    for _, _, said in operations(DOCUMENT):
        for content in values(said, "content"):
            for form, media in content.items():
                yield f"{said['operationId']} {form}", media.get("schema", {})
        for each in said.get("parameters", ()):
            yield f"{said['operationId']} {each['name']}", each["schema"]


def test_the_committed_document_is_what_the_routes_say() -> None:
    assert FILE.read_text() == document_text(), "renew it with `make schemas`"


def test_the_check_says_what_is_out_of_date_and_changes_nothing(tmp_path: Path) -> None:
    said = json.dumps(str(tmp_path / "openapi.json"))
    run = f"import pathlib, gateway.openapi as o; o.FILE = pathlib.Path({said}); raise SystemExit(o.main(%s))"

    def main(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", run % [*arguments]], capture_output=True, text=True, timeout=60, check=False
        )

    missing = main("--check")
    assert missing.returncode == 1
    assert "make schemas" in missing.stderr
    assert list(tmp_path.iterdir()) == []
    assert main().returncode == 0
    assert (tmp_path / "openapi.json").read_text() == document_text()
    current = main("--check")
    assert (current.returncode, current.stderr) == (0, "")


def test_it_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    # The OpenAPI Initiative's own JSON Schema of 3.1, as schemathesis carries it.
    assert [
        f"{list(error.instance_path)}: {error.message}" for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)
    ] == []


def test_every_schema_is_one_and_every_reference_points_at_something() -> None:
    for _, schema in schemas():
        Draft202012Validator.check_schema(schema)
    for reference in values(DOCUMENT, "$ref"):
        node: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_shape_is_used() -> None:
    used = {reference.rpartition("/")[2] for reference in values(DOCUMENT, "$ref")}
    assert set(DOCUMENT["components"]["schemas"]) == used


def test_a_default_is_a_value_that_is_allowed() -> None:
    wrong = [
        (name, node["default"])
        for name, schema in schemas()
        for node in [schema, *(inner for each in values(schema, "properties") for inner in each.values())]
        if isinstance(node, dict)
        and "default" in node
        and not Draft202012Validator({**node, "components": DOCUMENT["components"]}).is_valid(node["default"])
    ]
    assert wrong == []


def test_no_two_operations_have_one_name() -> None:
    names = [said["operationId"] for _, _, said in operations(DOCUMENT)]
    assert sorted(set(names)) == sorted(names)


@each_operation
def test_an_operation_is_a_noun_and_a_verb(method: str, path: str, said: dict[str, Any]) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)+", said["operationId"])


@each_operation
def test_an_operation_says_what_it_is_for(method: str, path: str, said: dict[str, Any]) -> None:
    assert 10 < len(said["summary"]) <= 120
    assert not said["summary"].endswith(".")
    assert said["description"].startswith(said["summary"])
    assert "\n" not in said["summary"]
    assert len(said["tags"]) == 1
    assert set(said["tags"]) <= set(TAGS)


@each_operation
def test_an_operation_says_the_scope_that_it_asks_for(method: str, path: str, said: dict[str, Any]) -> None:
    scopes = [scope for each in said["security"] for scope in each[BEARER]]
    assert scopes == [] or set(scopes) <= set(SCOPES)
    assert (scopes == []) == (said["tags"] == ["health"])
    assert said["description"].endswith(need(scopes[0] if scopes else None))


@each_operation
def test_whatever_goes_wrong_is_a_problem(method: str, path: str, said: dict[str, Any]) -> None:
    assert said["responses"]["default"]["content"] == {"application/problem+json": A_PROBLEM}
    assert "422" not in said["responses"]  # FastAPI's own kind of error, which nobody gets
    good = [status for status in said["responses"] if status != "default"]
    assert good
    assert all(status.startswith(("2", "3")) for status in good)


@each_operation
def test_what_a_path_names_is_a_parameter_with_a_meaning(method: str, path: str, said: dict[str, Any]) -> None:
    named = {each["name"]: each for each in said.get("parameters", ()) if each["in"] == "path"}
    assert set(re.findall(r"{(\w+)}", path)) == set(named)
    assert all(each["required"] for each in named.values())
    if "run_id" in named:
        assert named["run_id"]["description"]


@each_operation
def test_what_reads_takes_no_body_and_nothing_writes_a_task(method: str, path: str, said: dict[str, Any]) -> None:
    if method == "GET":
        assert "requestBody" not in said
    if path.startswith("/v1/tasks"):
        assert method in {"GET", "POST"}  # git is the source: no task is put here, and none deleted


def test_the_document_holds_nothing_of_this_machine() -> None:
    text = FILE.read_text()
    assert str(Path.cwd()) not in text
    assert str(Path(__file__).parents[2]) not in text
    assert "servers" not in DOCUMENT


async def test_the_served_document_is_the_committed_one() -> None:
    async with http_to(create_app(nowhere)) as http:
        first = await http.get("/openapi.json")
        again = await http.get("/openapi.json")
    assert first.json() == again.json() == DOCUMENT
