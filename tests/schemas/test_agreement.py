"""The loader and the JSON Schema take the same documents; the schema is judged by another implementation than ours.

What only sense can tell (`SENSE`) is the difference that is left, and it is one way: the schema takes
whatever the loader takes.
"""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from schemas.cron import CronError, cron_pattern, parse_cron
from schemas.export import FILES, schema_text
from schemas.load import load_defaults, load_task
from schemas.problem import Problem
from schemas.slots import known_zones
from schemas.spelling import duration
from schemas.task import Task
from tests.conftest import ROOT

SCHEMAS = {kind: json.loads((ROOT / "schemas" / f"{kind}.schema.json").read_text()) for kind in ("task", "defaults")}
TASK, DEFAULTS = (Draft7Validator(schema) for schema in SCHEMAS.values())
SENSE = {
    "bad-cron",
    "never-runs",
    "bad-schema",
    "unknown-placeholder",
    "contradiction",
    "unknown-price",
    "secret-in-file",
    "hidden-text",
}
NOT_SAID = {"invalid-value"}  # only of an input's default that does not fit the input's own schema

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zl", "Zp")), max_size=12)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 10**6),
    st.floats(-1e6, 1e6),
    WORDS,
    st.just([]),
    st.just({}),
    st.just([1]),
)
SLUGS = st.sampled_from(["gmail", "github", "_2chat", "a" * 63, "Gmail", "a b", "", "-x"])
DURATIONS = st.sampled_from(["5m", "1h30m", "9s", "10s", "0s", "0m9s", "1m1h", "3d", "30", "1y", "100w", "00h00m10s"])
CRONS = st.sampled_from(
    [
        "0 9 * * 1-5",
        "@daily",
        "@dayly",
        "0 25 * * *",
        "0 9 13 * 5",
        "0 9 31 2 *",
        "5-1 * * * *",
        "* * *",
        "0 9 * * mon,SUN",
    ]
)
SCHEMA = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "strin", ["string", "null"], []]),
        "default": ODD,
        "enum": st.sampled_from([["a"], [], [1, "b"]]),
        "minimum": ODD,
        "minimun": st.just(1),
        "pattern": st.sampled_from(["^a", "("]),
        "properties": st.sampled_from([{"a": {"type": "string"}}, {"a": 1}]),
        "$ref": st.sampled_from(["#/properties/a", "http://127.0.0.1/x"]),
    },
)


def one_or_many(item: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return item | st.lists(item, max_size=3) | ODD


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "goal": st.sampled_from(["Say hello", "On {{ inputs.a }}", "{{ nope }}", " ", "x" * 20_001]) | ODD,
    "toolkit": one_or_many(SLUGS),
    "cron": one_or_many(CRONS),
    "notify": one_or_many(SLUGS)
    | st.lists(
        st.fixed_dictionaries({"to": SLUGS}, optional={"when": st.sampled_from(["failure", "never"]), "x": ODD})
    ),
    "description": WORDS | st.just("x" * 501) | ODD,
    "enabled": st.booleans() | ODD,
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "europe/berlin", "Local", "EST"]) | ODD,
    "jitter": DURATIONS | ODD,
    "overlap": st.sampled_from(["skip", "queue", "cancel", "allow", "all"]) | ODD,
    "catchup": DURATIONS | ODD,
    "run_as": st.sampled_from(["me@acme.example", "a b"]) | ODD,
    "tools": st.fixed_dictionaries({}, optional={"allow": one_or_many(WORDS), "deny": one_or_many(WORDS), "den": ODD})
    | ODD,
    "approval": st.fixed_dictionaries({}, optional={"timeout": DURATIONS, "otherwise": st.sampled_from(["deny", "ok"])})
    | ODD,
    "on_unknown": st.sampled_from(["verify", "ask", "stop", "guess"]) | ODD,
    "limits": st.fixed_dictionaries(
        {},
        optional={
            "turns": st.sampled_from([1, 500, 501, 0, 5.0, 5.5, True]) | ODD,
            "timeout": DURATIONS,
            "tokens": st.sampled_from([999, 1000]) | ODD,
            "cost_usd": st.sampled_from([0, 0.01, 2, -1, 10**7]) | ODD,
            "turn": ODD,
        },
    )
    | ODD,
    "model": st.sampled_from(["claude-sonnet-5-5", "a b"]) | ODD,
    "inputs": st.dictionaries(st.sampled_from(["a", "b_2", "c d", "é", ""]), SCHEMA | ODD, max_size=3) | ODD,
    "output": SCHEMA | st.just({"type": "object", "properties": {"a": {"type": "string"}}}) | ODD,
    "memory": st.sampled_from(["none", "last", "notes", "all"]) | ODD,
    "retries": st.integers(-1, 6) | ODD,
    "labels": st.dictionaries(st.sampled_from(["team", "acme.example/team", "-x", "ü", "x" * 64]), WORDS, max_size=3)
    | ODD,
    "name": st.sampled_from(["weekly", "Weekly", "a" * 64]) | ODD,
    "version": st.sampled_from([1, 1.0, 2, "1", True]) | ODD,
    "schedule": ODD,
    "toolkits": ODD,
    "xyzzy": ODD,
}
# A few fields at a time: with all of them, something is wrong in nearly every document.
SAID = st.sets(st.sampled_from([*FIELDS]), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: FIELDS[name] for name in sorted(names)})
)
DOCUMENTS = SAID.map(lambda said: {"goal": "Say hello", **said})


def accepted(schema: Draft7Validator, document: Any) -> bool:
    return bool(schema.is_valid(document))  # pyright: ignore[reportUnknownMemberType]


def errors(problems: tuple[Problem, ...]) -> set[str]:
    return {problem.code for problem in problems if problem.severity == "error"}


@given(DOCUMENTS)
@settings(max_examples=1000)
@example({"goal": "x", "limits": {"turns": 5.0}, "version": 1.0})
@example({"goal": "x", "name": None})
@example({"goal": "x", "schedule": None})
@example({"goal": "x", "cron": "@daily", "inputs": {"a": {"type": "string"}}})
def test_the_loader_and_the_schema_take_the_same_documents(document: dict[str, Any]) -> None:
    loaded = load_task(json.dumps(document, ensure_ascii=False).encode(), "a.yaml")
    found = errors(loaded.problems)
    if accepted(TASK, document):
        default_misfits = any("default of input" in problem.message for problem in loaded.problems)
        assert found <= (SENSE | NOT_SAID if default_misfits else SENSE), loaded.problems
    else:
        assert found, "the schema refuses it, the loader does not"


@given(SAID)
@settings(max_examples=300)
def test_defaults_and_their_schema_take_the_same_documents(document: dict[str, Any]) -> None:
    found = errors(load_defaults(json.dumps(document, ensure_ascii=False).encode(), "_defaults.yaml").problems)
    assert found <= SENSE if accepted(DEFAULTS, document) else found


@given(DOCUMENTS)
def test_what_loads_is_a_task_that_survives_the_wire(document: dict[str, Any]) -> None:
    task = load_task(json.dumps(document, ensure_ascii=False).encode(), "a.yaml").task
    if task is not None:
        assert Task.model_validate_json(task.model_dump_json()) == task


@pytest.mark.parametrize("name", FILES)
def test_the_schema_files_are_those_that_the_types_make(name: str) -> None:
    assert (ROOT / "schemas" / name).read_text() == schema_text(FILES[name]())
    Draft7Validator.check_schema(json.loads((ROOT / "schemas" / name).read_text()))


def test_every_field_of_a_task_is_in_the_schema_with_a_description() -> None:
    properties = SCHEMAS["task"]["properties"]
    for field in Task.model_fields:
        assert properties[field]["description"]
    zone = re.compile(properties["timezone"]["pattern"])
    assert all(zone.match(name) for name in known_zones())
    assert [snippet["body"] for snippet in properties["timezone"]["defaultSnippets"]] == [*known_zones()]


PARTS = st.sampled_from(
    ["*", "0", "5", "05", "59", "60", "1-5", "5-1", "*/2", "1/2", "1,2", "mon", "JAN", "sun-fri", "7", "?", ""]
)


@given(st.lists(PARTS, min_size=4, max_size=6).map(" ".join))
@settings(max_examples=500)
@example("@daily")
@example(" 0  9 * * 1-5 ")
def test_an_editor_takes_every_cron_that_we_take(text: str) -> None:
    try:
        parse_cron(text)
    except CronError:
        return
    assert re.search(cron_pattern(), text)


@pytest.mark.parametrize(
    "text",
    ["60 * * * *", "* 24 * * *", "* * 32 * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "* * 1 * 1", "* * * *", "x"],
)
def test_an_editor_refuses_the_cron_that_people_get_wrong(text: str) -> None:
    assert not re.search(cron_pattern(), text)


@pytest.mark.parametrize(("at_least", "short"), [(0, []), (1, ["0s", "0m0s"]), (10, ["9s", "0m9s", "0h0m0s", "09s"])])
def test_the_pattern_of_a_duration_knows_its_least(at_least: int, short: list[str]) -> None:
    pattern = duration(at_least)["pattern"]
    assert [text for text in short if re.search(pattern, text)] == []
    assert all(re.search(pattern, text) for text in ("10s", "1m", "1h30m", "99w", "0m10s", "3d"))
