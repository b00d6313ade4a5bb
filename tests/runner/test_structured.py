"""The structured result of a run: what counts as one, and that the scripted model can give one."""

import math
from typing import Any

import pytest

from runner import prompt
from runner.adapters.scripted import ScriptedModel
from runner.ports import Question
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


async def test_the_scripted_model_answers_in_the_form_that_a_task_wants() -> None:
    task = Task(goal="Look at it.", output=SCHEMA)
    reply = await ScriptedModel().ask(Question(prompt.system(task), (prompt.user(task.goal),)))
    value, fault = read_output(reply.text, SCHEMA)
    assert fault == ""
    assert value["kind"] == "a"
    assert not math.isnan(value["n"])
