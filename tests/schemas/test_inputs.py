import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.inputs import fill_placeholders, required_inputs, settle_inputs
from schemas.task import Task

TASK = Task(
    goal="x",
    inputs={
        "days": 14,
        "where": {"type": "string", "default": "here"},
        "how": {"enum": ["fast", "slow"], "default": "fast"},
        "many": {"type": "integer", "minimum": 1, "maximum": 20, "default": 7},
        "who": {"type": "string"},
        "tags": ["a"],
        "dry": False,
    },
)


def test_defaults_fill_what_was_not_given() -> None:
    assert settle_inputs(TASK, {"who": "me"}) == {
        "days": 14,
        "where": "here",
        "how": "fast",
        "many": 7,
        "who": "me",
        "tags": ["a"],
        "dry": False,
    }


def test_text_from_a_command_line_is_read_as_the_input_s_type() -> None:
    given = {"who": "7", "days": "3", "tags": '["b"]', "dry": "true"}
    settled = settle_inputs(TASK, given)
    assert (settled["who"], settled["days"], settled["tags"], settled["dry"]) == ("7", 3, ["b"], True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "input `who` is required"),
        ({"who": "me", "wo": 1}, "unknown input `wo`"),
        ({"who": "me", "days": "soon"}, 'input `days`: "soon" is not of type "integer"'),
        ({"who": "me", "days": "NaN"}, 'input `days`: "NaN" is not of type "integer"'),
        ({"who": "me", "days": "1e999"}, 'input `days`: "1e999" is not of type "integer"'),
        ({"who": "me", "tags": "[" * 5000}, 'is not of type "array"'),
        ({"who": "me", "how": "well"}, "input `how`"),
        ({"who": "me", "many": "21"}, "input `many`: 21 is greater than the maximum of 20"),
    ],
)
def test_what_cannot_be_an_input_is_said(given: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        settle_inputs(TASK, given)


def test_required_inputs_are_those_without_a_default() -> None:
    assert required_inputs(TASK.inputs) == ("who",)


@given(st.text(), st.text())
def test_a_value_that_looks_like_a_placeholder_stays_as_it_is(before: str, value: str) -> None:
    text = f"{before}|{{{{ inputs.a }}}}|"
    values = {"inputs.a": f"{value}{{{{ run.id }}}}", "run.id": "secret"}
    if "{{" not in before:
        assert fill_placeholders(text, values) == f"{before}|{value}{{{{ run.id }}}}|"
