"""The structured result of a run: read from the model's last message, held against the task's schema.

Runs in activities: the validator is a native module, which no workflow may load.
"""

import json
import math
import re
from typing import Any, NoReturn

from pydantic import JsonValue

_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\n(.*?)\n?```\s*\Z", re.DOTALL)


def read_output(text: str, schema: dict[str, JsonValue]) -> tuple[Any, str]:
    """The value, or None and what is wrong with it in one line. A code fence around it is forgiven."""
    from schemas.inputs import value_fault  # noqa: PLC0415 - loads the validator

    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        return None, "it is nested too deeply"
    except ValueError as error:
        return None, f"it is not JSON ({error})"
    fault = value_fault(value, dict(schema))
    return (None, fault[:1000]) if fault else (value, "")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number
