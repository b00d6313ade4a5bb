"""A task's inputs and output: what a run may be given, what it gets, and what it must come back with.

A value in `inputs` is either a default (`days: 14`) or a JSON Schema (`days: {type: integer, default:
14}`); it is a schema only if it says `type`, `enum`, `default` or `$ref`. A schema never reaches out of
itself: no reference is fetched. Placeholders look a name up, nothing more: no logic, no calls, no
attribute of anything.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from pydantic import JsonValue

from schemas.task import Task
from schemas.unfolding import unfolds_too_far

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
RUN_NAMES = ("run.id", "run.scheduled_at", "run.previous_at", "task.name")
_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def input_schema(said: JsonValue) -> dict[str, Any]:
    """The JSON Schema of one input, whichever form it was written in."""
    if isinstance(said, dict) and {"type", "enum", "default", "$ref"} & said.keys():
        return said
    return {"type": _TYPES.get(type(said), "null"), "default": said}


def required_inputs(inputs: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The inputs that have no default, in the order written."""
    return tuple(name for name, said in inputs.items() if "default" not in input_schema(said))


def schema_fault(schema: dict[str, Any]) -> str:
    """Why nothing can be held against this JSON Schema, or nothing."""
    from jsonschema_rs import ReferencingError, ValidationError  # noqa: PLC0415 - see _validator

    try:
        _validator(schema)
    except (ValueError, ReferencingError) as error:
        return error.message if isinstance(error, ValidationError) else str(error).partition("\n")[0]
    return "its references unfold without end: refer to each part once" if unfolds_too_far(schema) else ""


def value_fault(value: JsonValue, schema: dict[str, Any]) -> str:
    """What is wrong with a value by its schema, or nothing. Raises what `schema_fault` tells."""
    return "; ".join(error.message for error in _validator(schema).iter_errors(value))


def _validator(schema: dict[str, Any]) -> "Draft202012Validator":
    # Workflow code imports this module for its placeholders, once in each sandbox, and a native module
    # can be loaded only once in a process.
    from jsonschema_rs import Draft202012Validator  # noqa: PLC0415

    return Draft202012Validator(schema, retriever=_nothing_is_fetched)


def _nothing_is_fetched(uri: str) -> NoReturn:
    raise ValueError(f"`{uri}` is outside of this schema, and nothing is fetched")


def settle_inputs(task: Task, given: Mapping[str, Any]) -> dict[str, JsonValue]:
    """The inputs of one run: what was given, over the defaults.

    Text is read as the input's type (`-i days=7` on a command line). Raises ValueError that names
    every input that is unknown, missing or not what its schema says.
    """
    known = ", ".join(task.inputs) or "it has none"
    wrong = [f"unknown input `{name}` (inputs: {known})" for name in given if name not in task.inputs]
    settled: dict[str, JsonValue] = {}
    for name, said in task.inputs.items():
        schema = input_schema(said)
        if name not in given and "default" not in schema:
            wrong.append(f"input `{name}` is required")
            continue
        settled[name] = _from_text(given.get(name, schema.get("default")), schema.get("type"))
        fault = value_fault(settled[name], schema) if name in given else ""
        if fault:
            wrong.append(f"input `{name}`: {fault}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return settled


def _from_text(value: Any, kind: Any) -> JsonValue:
    if not isinstance(value, str) or kind in (None, "string"):
        return value
    try:
        read = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return value  # the schema will say what is wrong with it
    return value if isinstance(read, float) and not math.isfinite(read) else read


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def fill_placeholders(text: str, values: Mapping[str, Any]) -> str:
    """Put values in, once: a value that itself looks like a placeholder stays as it is."""

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1], match[0])
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    return PLACEHOLDER.sub(value, text)
