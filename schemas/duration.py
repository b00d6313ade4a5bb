"""Durations as people write them: `90s`, `10m`, `24h`, `3d`, `1h30m`.

Refuses bare numbers: `timeout: 30` does not say thirty of what.
"""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

PATTERN = r"^(\d{1,7}(s|m|h|d|w))+$"
_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PART = re.compile(r"(\d{1,7})(s|m|h|d|w)")
_WHOLE = re.compile(PATTERN)


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `1h30m`. Raises ValueError with what to write instead."""
    if not _WHOLE.match(text):
        raise ValueError("a duration is a number and a unit, such as 90s, 10m, 24h or 3d")
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def format_duration(length: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it; parts of a second are dropped."""
    left, parts = int(length.total_seconds()), ""
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def _read(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("a duration is text: a number and a unit, such as 90s, 10m, 24h or 3d")  # noqa: TRY004
    return parse_duration(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(_read),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN}),
]
"""A `timedelta` in Python, text such as `10m` in files and on the wire."""
