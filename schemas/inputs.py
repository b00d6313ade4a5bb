"""A task's inputs: what a run may be given, and what it gets.

A value in `inputs` is either a default (`days: 14`) or a JSON Schema (`days: {type: integer, default:
14}`); it is a schema only if it says `type`, `enum` or `default`. Placeholders look a name up, nothing
more: no logic, no calls, no attribute of anything.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from schemas.task import Task

if TYPE_CHECKING:
    from jsonschema import ValidationError

PLACEHOLDER = re.compile(r"\{\{\s*([^{}\s]*)\s*\}\}")
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
    if isinstance(said, dict) and {"type", "enum", "default"} & said.keys():
        return said
    return {"type": _TYPES.get(type(said), "null"), "default": said}


def required_inputs(task: Task) -> tuple[str, ...]:
    """The inputs that have no default, in the order written."""
    return tuple(name for name, said in task.inputs.items() if "default" not in input_schema(said))


def schema_fault(schema: dict[str, Any]) -> str:
    """Why this is no JSON Schema, or nothing."""
    from jsonschema import Draft202012Validator, SchemaError  # noqa: PLC0415 - 0.1 s that few commands need

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return error.message
    return ""


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
        fault = _fault(settled[name], schema) if name in given else ""
        if fault:
            wrong.append(f"input `{name}`: {fault}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return settled


def _fault(value: JsonValue, schema: dict[str, Any]) -> str:
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - as above

    errors: Iterable[ValidationError] = Draft202012Validator(schema).iter_errors(value)  # pyright: ignore[reportUnknownMemberType]
    return "; ".join(error.message for error in errors)


def _from_text(value: Any, kind: Any) -> JsonValue:
    if not isinstance(value, str) or kind in (None, "string"):
        return value
    try:
        read = json.loads(value, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return value  # the schema will say what is wrong with it
    return value if isinstance(read, float) and not math.isfinite(read) else read


def _no_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not JSON")


def unknown_placeholders(text: str, task: Task) -> tuple[tuple[str, int], ...]:
    """Placeholders that mean nothing, each with its offset in the text."""
    known = {*RUN_NAMES, *(f"inputs.{name}" for name in task.inputs)}
    return tuple((m[1], m.start()) for m in PLACEHOLDER.finditer(text) if m[1] not in known)


def fill_placeholders(text: str, values: Mapping[str, Any]) -> str:
    """Put values in, once: a value that itself looks like a placeholder stays as it is."""

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1], match[0])
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    return PLACEHOLDER.sub(value, text)
