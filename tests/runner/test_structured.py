"""The structured result of a run: what counts as one, and that the scripted model can give one."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.contrib.pydantic import pydantic_data_converter

from runner import prompt
from runner.adapters.scripted import ScriptedModel
from runner.ports import Question, Reply
from runner.structured import read_output
from schemas.task import Task

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"done": {"type": "string"}, "n": {"type": "integer"}, "kind": {"enum": ["a", "b"]}},
    "required": ["done", "n", "kind"],
}


@pytest.mark.parametrize("text", ['{"n": 1}', ' {"n": 1}\n', '```json\n{"n": 1}\n```'])
def test_one_json_value_is_read_with_or_without_a_fence(text: str) -> None:
    assert read_output(text, {"type": "object"}) == ({"n": 1}, "")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("here it is: {}", "not JSON"),
        ("{} and more", "not JSON"),
        ('{"n": NaN}', "NaN"),
        ('{"n": 1e999}', "too large"),
        ("[" * 100_000, "nested too deeply"),
        ('{"n": "text"}', "text"),
    ],
)
def test_anything_else_is_told_with_what_is_wrong(text: str, fault: str) -> None:
    value, said = read_output(text, {"type": "object", "properties": {"n": {"type": "number"}}})
    assert value is None
    assert fault in said
    assert "\n" not in said


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(VALUES, st.sampled_from(["{}", "\n {}\n", "```json\n{}\n```", "```\n{}\n```\n"]))
def test_every_json_value_is_read_as_it_is(value: Any, around: str) -> None:
    assert read_output(around.replace("{}", json.dumps(value)), {}) == (value, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "```json\n```",
        "```json\n{}",
        "{}\n```",
        "```json\n{}\n```\nThat is it.",
        "Here:\n```json\n{}\n```",
        "```json\n{}\n```\n```json\n{}\n```",
        "{'a': 1}",
        '{"a": 1,}',
        "{} {}",
        "// nothing\n{}",
        "-Infinity",
        "[Infinity]",
        '{"a": -1e999}',
        "9" * 5000,
        "undefined",
        '"a\nb"',
        "\ufeff{}",
    ],
)
def test_what_is_more_or_less_than_one_json_value_is_no_result(text: str) -> None:
    value, fault = read_output(text, {})
    assert value is None
    assert fault
    assert "\n" not in fault


def test_a_fence_inside_of_a_text_stays_in_it() -> None:
    assert read_output('"```json\\n1\\n```"', {}) == ("```json\n1\n```", "")


def test_null_is_a_result_where_the_schema_admits_it() -> None:
    assert read_output("null", {"type": "null"}) == (None, "")
    assert read_output("null", {"type": "object"})[1]


def nested(levels: int, kind: str) -> str:
    return "[" * levels + "]" * levels if kind == "lists" else '{"a":' * levels + "1" + "}" * levels


@pytest.mark.parametrize("kind", ["lists", "objects"])
@pytest.mark.parametrize("levels", [1, 50, 150, 190, 200, 220, 255, 300, 900, 5000])
def test_a_result_that_history_could_not_keep_or_give_back_is_refused(levels: int, kind: str) -> None:
    """Read back, it would fail every worker that ever takes the run up; unwritten, the paid turn is lost."""
    value, fault = read_output(nested(levels, kind), {})
    if fault:
        assert fault == "it is nested too deeply"
        assert levels > 50
        return
    converter = pydantic_data_converter.payload_converter
    (again,) = converter.from_payloads(converter.to_payloads([Reply((), "end_turn", output=value)]), [Reply])
    assert again.output == value


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '["\\ud83d", "x"]'])
def test_half_a_character_is_refused_for_history_cannot_keep_it(text: str) -> None:
    value, fault = read_output(text, {})
    assert value is None
    assert "half a character" in fault


def test_a_whole_character_of_two_halves_is_read() -> None:
    assert read_output('"\\ud83d\\ude00"', {}) == ("\U0001f600", "")


@pytest.mark.parametrize("schema", [{"$ref": "https://example.com/s"}, {"$ref": "#/$defs/none"}, {"pattern": "("}])
def test_a_schema_that_holds_nothing_refuses_every_answer_and_fails_no_step(schema: dict[str, Any]) -> None:
    """A step that raises is made again, and paid for again."""
    value, fault = read_output("{}", schema)
    assert value is None
    assert "`output`" in fault
    assert "\n" not in fault


def test_a_long_fault_is_cut() -> None:
    _, fault = read_output(json.dumps(["x" * 100_000]), {"items": {"type": "integer"}})
    assert 0 < len(fault) <= 1000


async def test_the_scripted_model_answers_in_the_form_that_a_task_wants() -> None:
    task = Task(goal="Look at it.", output=SCHEMA)
    reply = await ScriptedModel().ask(Question(prompt.system(task), (prompt.user(task.goal),)))
    value, fault = read_output(reply.text, SCHEMA)
    assert fault == ""
    assert value["kind"] == "a"
    assert not math.isnan(value["n"])
