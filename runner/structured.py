"""The structured result of a run: read from the model's last message, held against the task's schema.

Runs in activities: the validator is a native module, which no workflow may load.
"""

import json
import math
import re
from collections.abc import Iterable
from typing import Any, NoReturn, cast

from pydantic import JsonValue

_DEEPEST = 100
"""Levels: far more than a result needs, and far fewer than what history can give back."""
_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\n(.*?)\n?```\s*\Z", re.DOTALL)


def read_output(text: str, schema: dict[str, JsonValue]) -> tuple[Any, str]:
    """The value, or None and what is wrong with it in one line. A code fence around it is forgiven."""
    from jsonschema_rs import ReferencingError  # noqa: PLC0415 - a native module

    from schemas.inputs import value_fault  # noqa: PLC0415 - loads the validator

    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # history could not store half a character
    except RecursionError:
        return None, "it is nested too deeply"
    except UnicodeEncodeError:
        return None, "it holds half a character"
    except ValueError as error:
        return None, f"it is not JSON ({error})"
    if _deeper_than(value, _DEEPEST):
        return None, "it is nested too deeply"
    try:
        fault = value_fault(value, dict(schema))
    except (ValueError, ReferencingError) as error:  # files are checked when they are read; other tasks are not
        fault = f"`output` is no usable schema: {str(error).partition(chr(10))[0]}"
    return (None, fault[:1000]) if fault else (value, "")


def _deeper_than(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner: Any = cast("Any", value)
    each: Iterable[Any] = inner.values() if hasattr(inner, "values") else inner
    return levels == 0 or any(_deeper_than(one, levels - 1) for one in each)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number
