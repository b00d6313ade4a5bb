"""A body of `POST /v1/runs` reads as a task file does: the same tasks, the same words, and nothing makes it fail."""

import json
from typing import Any, cast

import httpx
import pytest
import yaml
from fastapi import FastAPI, Request
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gateway.adhoc import GOAL_SCHEMA, ONLY_IN_FILES, goal_of, read_goal
from gateway.catalog import Names, Toolkits
from gateway.principals import LOCAL, Principal
from gateway.problems import BadGoal, Fault, NotAllowed, install_problems
from schemas.catalog import Catalog, Maxima
from schemas.codes import CODES
from schemas.document import MAX_BYTES
from schemas.export import MEANT
from schemas.load import load_task
from schemas.run import RunRequest
from schemas.task import Task
from tests.gateway.conftest import http_to
from tests.schemas.test_agreement import DOCUMENTS
from tests.standins.composio_api import ComposioApi, folder

ANYTHING, MISSING = Catalog(), object()
JSON, YAML = "application/json", "application/yaml; charset=utf-8"
SERVER = Catalog(toolkits=("github", "gmail"), channels=("ops",), run_as={".": ("ada", "bob")}, limits=Maxima(turns=50))
ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


class Quoting(yaml.SafeDumper):
    """YAML 1.1 leaves text bare that YAML 1.2 takes for a number."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')  # pyright: ignore[reportUnknownMemberType]


Quoting.add_representer(str, quoted)


def outcome(raw: bytes, kind: str = JSON, catalog: Catalog = ANYTHING, who: Principal = LOCAL) -> Task | list[Fault]:
    """The task, or what is wrong."""
    try:
        request = goal_of(raw, kind, catalog, who)
    except BadGoal as refused:
        return refused.errors
    assert (request.task.name, request.trigger, request.source.path) == ("", "http", "")
    assert RunRequest.model_validate_json(request.model_dump_json()) == request
    return request.task


def wrong(body: Any, **more: Any) -> list[Fault]:
    said = outcome(body if isinstance(body, bytes) else json.dumps(body).encode(), **more)
    assert isinstance(said, list), said
    assert said
    return said


def faults(body: Any, **more: Any) -> list[tuple[str, str | None]]:
    """Where something is wrong with a body, and what."""
    return [(fault.pointer, fault.code) for fault in wrong(body, **more)]


def task(body: Any, **more: Any) -> Task:
    said = outcome(body if isinstance(body, bytes) else json.dumps(body).encode(), **more)
    assert isinstance(said, Task), said
    return said


def leads_somewhere(pointer: str, document: Any) -> bool:
    for step in pointer.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdecimal():
            document = dict(enumerate(cast("list[Any]", document))).get(int(name), MISSING)
        elif isinstance(document, dict):
            document = cast("dict[str, Any]", document).get(name, MISSING)
        else:
            document = MISSING
        if document is MISSING:
            return False
    return True


@given(DOCUMENTS | ANY_JSON, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=400)
def test_any_json_is_a_task_or_says_where_it_is_none(document: Any, ascii_only: bool, indent: int | None) -> None:
    said = outcome(json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode())
    for fault in said if isinstance(said, list) else ():
        assert fault.detail
        assert fault.code in CODES
        assert len(fault.pointer) == 200 or leads_somewhere(fault.pointer, document), (fault, document)


@given(st.binary(max_size=200) | ANY_TEXT.map(str.encode), st.sampled_from([JSON, YAML]))
@example(b'{"goal": "\\ud800"', JSON)
@example(b"- " * 3_000, YAML)
def test_any_bytes_are_a_task_or_say_what_is_wrong(raw: bytes, kind: str) -> None:
    said = outcome(raw, kind)
    assert isinstance(said, Task) or all(fault.detail for fault in said)


def without_place(fault: Fault) -> tuple[str, str | None, str]:
    return fault.pointer, fault.code, fault.detail


@given(DOCUMENTS | ANY_TEXT.map(lambda text: {"goal": f"x{text}", "description": text}))
@settings(max_examples=400)
def test_yaml_and_json_of_one_mapping_are_one_task_or_wrong_in_one_way(document: dict[str, Any]) -> None:
    spelt = yaml.dump(document, Dumper=Quoting, sort_keys=False, width=10**6).encode()
    in_json, in_yaml = outcome(json.dumps(document).encode()), outcome(spelt, YAML)
    if isinstance(in_yaml, list) and isinstance(in_json, list):
        assert len(in_yaml) == len(in_json)
        assert len(in_yaml) == 20 or sorted(map(without_place, in_yaml)) == sorted(map(without_place, in_json))
    else:
        assert in_json == in_yaml


@given(DOCUMENTS.map(lambda said: {key: value for key, value in said.items() if key not in {*ONLY_IN_FILES, *MEANT}}))
@settings(max_examples=200)
def test_a_body_is_told_the_words_and_the_places_that_its_file_is_told(document: dict[str, Any]) -> None:
    spelt = yaml.dump(document, Dumper=Quoting, sort_keys=False).encode()
    said, loaded = outcome(spelt, YAML, SERVER), load_task(spelt, "a.yaml", catalog=SERVER)
    expected = {
        f"{each.span.line}:{each.span.column} {each.code} {each.message}: {each.label or each.help}"
        for each in loaded.problems
        if each.severity == "error"
    }
    if isinstance(said, list):
        assert said
        told = {f"{each.line}:{each.column} {each.code} {each.detail}" for each in said}
        assert all(each in expected or "has no value" in each for each in told)
        assert len(said) == 20 or len(told) >= len(expected)
    else:
        assert not expected
        assert said == (loaded.task and loaded.task.model_copy(update={"name": ""}))


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"", "#", "json-syntax"),
        (b"{", "#", "json-syntax"),
        (b"goal: x", "#", "json-syntax"),
        (b"{'goal': 'x'}", "#", "json-syntax"),
        (b'{"goal": "x",}', "#", "json-syntax"),
        (b'{"goal": "x"} {}', "#", "json-syntax"),
        (b'{"goal": "a\nb"}', "#", "json-syntax"),
        (b'{"goal": "x", "inputs": {"a": NaN}}', "#", "json-syntax"),
        (b'{"goal": "x", "inputs": {"a": -Infinity}}', "#", "json-syntax"),
        (b'{"goal": "x", "inputs": {"\\ud800": "\\udfff"}}', "#", "json-syntax"),
        (b'{"goal": "x\\udc00\\ud800"}', "#", "json-syntax"),
        (b'{"goal": "\xed\xa0\x80"}', "#", "not-utf8"),
        (b'{"goal": "x", "inputs": {"a": 1e999}}', "#/inputs/a", "invalid-value"),
        (b'{"goal": "x", "inputs": {"a": %s}}' % (b"9" * 6_000), "#/inputs/a", "invalid-value"),
        (b'{"goal": "x", "inputs": {"a": %s}}' % (b"[" * 30_000 + b"]" * 30_000), "#", "too-deep"),
        (b'{"goal": "x", "inputs": {"a": %s}}' % (b"[" * 40 + b"]" * 40), "#/inputs/a" + "/0" * 31, "too-deep"),
        (b'{"goal": "x", "labels": {"a": "b", "\\u0061": "c"}}', "#/labels", "duplicate-key"),
        (b'{"goal": "' + b"x" * MAX_BYTES + b'"}', "#", "too-large"),
        ('{"goal": "pay \u202eacct"}'.encode(), "#/goal", "hidden-text"),
        (b"[]", "#", "invalid-value"),
        (b"null", "#", "missing-goal"),
        (b"{}", "#", "missing-goal"),
        (b'{"goal": " "}', "#/goal", "invalid-value"),
        (b'{"goal": "x", "a/b~c": 1}', "#/a~1b~0c", "unknown-key"),
        (b'{"goal": "x", "limits": {"turns": 0}}', "#/limits/turns", "invalid-value"),
        (b'{"goal": "x", "toolkit": ["gmail", "G"]}', "#/toolkit/1", "invalid-value"),
        (b'{"goal": "{{ inputs.x }}"}', "#/goal", "unknown-placeholder"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_has_a_place_and_a_stable_word(body: bytes, pointer: str, code: str) -> None:
    assert (pointer, code) in faults(body)


@pytest.mark.parametrize(
    ("body", "goal"),
    [
        (b'{"goal": "\\ud83d\\ude00 \\uD83D\\uDE00"}', "\U0001f600 \U0001f600"),
        (b'{"goal": "a\\/b \\\\ud800 \\"\\t\\u0041\\u0000\\u0007"}', 'a/b \\ud800 "\tA\0\a'),
        ('{"goal": "a\u2028b\u2029c\x85d\x7fe\uffff\ufeff"}'.encode(), "a\u2028b\u2029c\x85d\x7fe\uffff\ufeff"),
        (b'\xef\xbb\xbf{"goal": "x"}', "x"),
        (b'\t\r\n {\t"goal"\n\n:\n"x" , "version"\t:\t1.0\n}\n\t\n', "x"),
        (b'{"goal":"a: b # c","version":1}', "a: b # c"),
        (b'{"goal":"? - & * ! | > \'% @ `"}', "? - & * ! | > '% @ `"),
    ],
)
def test_what_json_spells_in_its_own_way_arrives_as_it_was_meant(body: bytes, goal: str) -> None:
    assert task(body).goal == goal


def test_a_key_is_a_key_however_long() -> None:
    long = {"default": {"k" * 2_000: [1, None]}}
    assert task({"goal": "{{ inputs.a }}", "inputs": {"a": long}}).inputs == {"a": long}


def test_yaml_is_told_its_lines_and_json_where_its_syntax_ends() -> None:
    (in_yaml,) = wrong(b"goal: x\nlimits:\n  turns: 0\n", kind=YAML)
    assert (in_yaml.pointer, in_yaml.line, in_yaml.column) == ("#/limits/turns", 3, 10)
    (in_json,) = wrong(b'{"goal": "x",\n "inputs": {"a": }}')
    assert (in_json.pointer, in_json.line, in_json.column) == ("#", 2, 18)


@pytest.mark.parametrize("field", ONLY_IN_FILES)
@pytest.mark.parametrize("value", ["@daily", "61 * * * *", None, True, {"a": 1}])
def test_what_needs_a_schedule_or_a_name_is_refused_once(field: str, value: Any) -> None:
    assert faults({"goal": "x", field: value, "limits": {"turns": 3}}) == [(f"#/{field}", "unknown-key")]


def test_so_is_what_people_write_for_it() -> None:
    assert faults({"goal": "x", "schedule": "@daily"}) == [("#/schedule", "unknown-key")]


def test_every_field_of_a_file_is_taken_or_refused_for_a_reason() -> None:
    offered = GOAL_SCHEMA["requestBody"]["content"][JSON]["schema"]["properties"]
    assert {*offered} | {*ONLY_IN_FILES} == {*Task.model_fields}
    assert not {*offered} & {*ONLY_IN_FILES}


def test_inputs_are_the_values_of_the_run() -> None:
    body = {"goal": "{{ inputs.a }} {{ inputs.b }}", "inputs": {"a": [1, None], "b": {"type": "integer", "default": 7}}}
    assert goal_of(json.dumps(body).encode(), JSON, Catalog(), LOCAL).inputs == {"a": [1, None], "b": 7}


@pytest.mark.parametrize("more", [{}, {"cron": "@daily"}])
def test_an_input_that_nothing_gives_is_told_once(more: dict[str, Any]) -> None:
    body = {"goal": "{{ inputs.a }}", "inputs": {"a": {"type": "string"}}, **more}
    assert [each for each in faults(body) if each[0] != "#/cron"] == [("#/inputs/a", "input-without-default")]


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"toolkit": "gmial"}, ("#/toolkit", "unknown-toolkit")),
        ({"notify": ["ops", "nobody"]}, ("#/notify/1", "unknown-channel")),
        ({"run_as": "eve"}, ("#/run_as", "run-as-not-allowed")),
        ({"limits": {"turns": 51}}, ("#/limits/turns", "above-maximum")),
    ],
)
def test_what_the_server_lacks_or_does_not_allow_is_refused(body: dict[str, Any], fault: tuple[str, str]) -> None:
    assert faults({"goal": "x", **body}, catalog=SERVER) == [fault]


def test_what_the_server_has_is_taken() -> None:
    body = {"goal": "x", "toolkit": ["gmail", "github"], "notify": "ops", "run_as": "bob", "limits": {"turns": 50}}
    assert task(body, catalog=SERVER).toolkit == ("gmail", "github")


def principal(*run_as: str) -> Principal:
    return Principal("bot", "by-bot", frozenset({"goals:write"}), run_as)


@pytest.mark.parametrize(
    ("body", "users"),
    [
        ({"run_as": "bob"}, ("ada",)),
        ({"run_as": "bob", "toolkit": "gmail"}, ()),
        ({"run_as": "Ada"}, ("ada",)),
        ({"run_as": "ad"}, ("ada",)),
        ({"run_as": "eve"}, ("ada",)),  # the server does not have her either: that is not told
        ({"run_as": "bob", "limits": {"turns": 0}}, ("ada",)),
        ({"toolkit": "gmail"}, ("ada",)),  # it would use the server's own connections
        ({"toolkit": "gmail"}, ()),
    ],
)
def test_nobody_acts_for_whom_they_may_not(body: dict[str, Any], users: tuple[str, ...]) -> None:
    with pytest.raises(NotAllowed) as refused:
        goal_of(json.dumps({"goal": "x", **body}).encode(), JSON, SERVER, principal(*users))
    assert refused.value.status == 403
    assert all(user in str(refused.value) for user in users)


@pytest.mark.parametrize("who", [principal("ada"), principal("bob", "ada"), LOCAL])
def test_whoever_may_acts_for_others(who: Principal) -> None:
    assert task({"goal": "x", "toolkit": "gmail", "run_as": "ada"}, catalog=SERVER, who=who).run_as == "ada"
    assert task({"goal": "x"}, catalog=SERVER, who=who).run_as is None


@pytest.mark.parametrize(
    "body",
    [
        {"goal": "post with xoxb-111111111111"},
        {"goal": "x", "inputs": {"xoxb-111111111111": {"type": "string"}}, "cron": "x"},
        {"goal": "x", "run_as": "xoxb-111111111111"},
        {"goal": "x", "xoxb-111111111111": 1},
    ],
)
@pytest.mark.parametrize("who", [LOCAL, principal("ada")])
def test_a_secret_is_refused_and_never_repeated(body: dict[str, Any], who: Principal) -> None:
    with pytest.raises((BadGoal, NotAllowed)) as refused:
        goal_of(json.dumps(body).encode(), JSON, SERVER, who)
    assert "1111" not in f"{refused.value} {refused.value.errors}"


def app_of(names: Names, who: Principal = LOCAL) -> FastAPI:
    app = FastAPI()
    install_problems(app)

    @app.post("/v1/runs", openapi_extra=GOAL_SCHEMA)
    async def create(request: Request) -> RunRequest:
        return await read_goal(await request.body(), request.headers.get("content-type", ""), names, who)

    return app


async def ask(body: bytes, kind: str, names: Names) -> httpx.Response:
    async with http_to(app_of(names)) as http:
        return await http.post("/v1/runs", content=body, headers={"content-type": kind})


async def test_a_refusal_is_a_problem_with_its_places() -> None:
    answer = await ask(b"goal: x\nzork: 1\n", YAML, Names())
    said = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert said["type"] == "urn:goalfile:problem:invalid-request"
    (fault,) = said["errors"]
    assert {**fault, "detail": ""} == {"pointer": "#/zork", "detail": "", "code": "unknown-key", "line": 2, "column": 1}
    assert said["detail"] == f"#/zork: {fault['detail']}"


async def test_a_body_as_large_as_a_file_may_be_is_read() -> None:
    hostile = b'{"goal": "x", "inputs": {"a": [' + b",".join([b"[]"] * 21_000) + b"]}}"
    assert MAX_BYTES - 4_000 < len(hostile) < MAX_BYTES
    assert (await ask(hostile, JSON, Names())).status_code == 200
    assert (await ask(hostile.replace(b'"a"', b'"a b"'), JSON, Names())).status_code == 422


async def test_composio_is_asked_only_about_goals_that_name_toolkits() -> None:
    with ComposioApi(folder("notes")) as composio:
        names = Names(toolkits=Toolkits(composio.key, composio.url))
        assert (await ask(b'{"goal": "x"}', JSON, names)).status_code == 200
        assert composio.requests == []
        assert (await ask(b'{"goal": "x", "toolkit": "notes"}', JSON, names)).status_code == 200
        refused = await ask(b'{"goal": "x", "toolkit": "note"}', JSON, names)
    assert "did you mean `notes`?" in refused.json()["detail"]


SCHEMA = Draft202012Validator(GOAL_SCHEMA["requestBody"]["content"][JSON]["schema"])


async def test_the_api_document_holds_the_body_whole() -> None:
    document = app_of(Names()).openapi()
    body = document["paths"]["/v1/runs"]["post"]["requestBody"]
    assert document["openapi"].startswith("3.1")
    assert body["required"]
    assert {*body["content"]} == {"application/json", "application/yaml"}
    Draft202012Validator.check_schema(body["content"][JSON]["schema"])
    assert '"$ref":' not in json.dumps(body)
    assert "errorMessage" not in json.dumps(body)


@given(DOCUMENTS)
@settings(max_examples=300)
def test_what_is_taken_is_what_the_api_document_says(document: dict[str, Any]) -> None:
    said = outcome(json.dumps(document).encode())
    if isinstance(said, Task):
        assert SCHEMA.is_valid(document)  # pyright: ignore[reportUnknownMemberType]
    elif any(fault.code in {"unknown-key", "missing-goal"} for fault in said):
        assert not SCHEMA.is_valid(document)  # pyright: ignore[reportUnknownMemberType]
