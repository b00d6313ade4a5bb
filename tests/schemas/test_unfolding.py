"""A JSON Schema that would keep its reader busy for hours is refused at once; ordinary ones are not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.inputs import schema_fault
from schemas.load import load_task
from schemas.unfolding import MOST, unfolds_too_far


def doubling(levels: int) -> dict[str, Any]:
    """Refers twice to what refers twice: 2^levels looks at one place."""
    parts: dict[str, Any] = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)}
    return {"$ref": "#/$defs/d0", "$defs": {**parts, f"d{levels}": {"type": "integer"}}, "default": 1}


TOO_FAR = {
    "doubling": doubling(60),
    "doubling under a name of its own": {
        "$defs": {"r": {"$id": "r", **doubling(60)}},
        "$ref": "#/$defs/r",
        "default": 1,
    },
    "doubling with every level of the value": {
        "type": ["object", "integer"],
        "properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}},
        "default": 1,
    },
}
FINE = {
    "doubling a few times": doubling(5),
    "a tree": {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}, "default": {}},
    "choices": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}, "default": []},
    "itself, at once": {"$id": "x", "$anchor": "t", "allOf": [{"$ref": "#t"}], "default": 1},
}


@pytest.mark.parametrize("name", TOO_FAR)
def test_a_schema_that_unfolds_without_end_is_a_problem_of_its_file(name: str) -> None:
    text = json.dumps({"goal": "{{ inputs.a }}", "inputs": {"a": TOO_FAR[name]}})
    (problem,) = load_task(text.encode(), "a.yaml").problems
    assert "unfold without end" in problem.message


@pytest.mark.parametrize("name", FINE)
def test_an_ordinary_schema_is_none(name: str) -> None:
    assert not unfolds_too_far(FINE[name])
    assert schema_fault(FINE[name]) == ""


@given(st.integers(0, 40))
def test_the_line_is_drawn_at_so_many_looks(levels: int) -> None:
    assert unfolds_too_far(doubling(levels)) == (2 ** (levels + 2) - 2 > MOST)


WORDS = st.sampled_from(["allOf", "properties", "items", "$ref", "not", "prefixItems", "$defs", "default", "x"])


@given(
    st.recursive(
        st.none() | st.booleans() | st.sampled_from(["#", "#/$defs/x", "#/items", "#x", "y"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
        max_leaves=30,
    )
)
def test_any_data_is_counted_and_nothing_is_raised(data: Any) -> None:
    assert unfolds_too_far({"allOf": [data]}) in {True, False}
