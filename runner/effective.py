"""A task as it runs: every value with the file and line it comes from, and the slots that come next.

Pure. What it shows is YAML that could stand in a task file; it decides nothing about the task.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from runner.writing import field_lines
from schemas.cron import parse_cron
from schemas.document import Document, Path, read_document
from schemas.load import Defaults, merged, origin
from schemas.slots import next_slots
from schemas.task import Task

BUILT_IN = "default"
BY_FILE = "the file's name"


@dataclass(frozen=True)
class Line:
    """One effective value: where in the task it stands, what it is, and where it is said."""

    path: Path
    value: Any
    origin: str
    """`file:line`, `default`, or that the file's name says it."""


@dataclass(frozen=True)
class Slot:
    """One instant at which a task is due."""

    at: datetime
    """In UTC."""
    local: datetime
    """The same on the task's own clock."""
    clock_changed: bool = False
    """True if that clock was changed since the slot before."""


def explain(raw: bytes, task: Task, file: str, above: Sequence[Defaults]) -> tuple[Line, ...]:
    """Every field of a valid task, in the order of the reference; what no file says comes last."""
    document = read_document(raw, file)
    said = merged(document.data, above)
    full = task.model_dump(mode="json")
    lines = [line for name, value in full.items() for line in _lines((name,), value, said, document, above)]
    return tuple(sorted(lines, key=lambda line: line.origin == BUILT_IN))


def _lines(
    path: Path, value: Any, said: dict[str, Any], document: Document, above: Sequence[Defaults]
) -> Iterator[Line]:
    own = _at(said, path)
    if path in (("tools",), ("approval",), ("limits",), ("labels",)):
        for key, inner in cast("dict[str, Any]", value).items():
            yield from _lines((*path, key), inner, said, document, above)
        return
    source = origin(path, document, above)
    if source is not None:
        yield Line(path, own, f"{source.file}:{source.place(path, key=True).line}")
    elif path == ("name",):
        yield Line(path, value, BY_FILE)
    elif value not in (None, [], {}):
        yield Line(path, value, BUILT_IN)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = cast("dict[Any, Any]", data).get(step) if isinstance(data, dict) else None
    return data


def as_yaml(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """The values as lines of YAML, each with its origin (empty where a value goes on)."""
    for name in dict.fromkeys(line.path[0] for line in lines):
        group = [line for line in lines if line.path[0] == name]
        if len(group[0].path) > 1:
            yield f"{name}:", ""
        for line in group:
            indent = "  " * (len(line.path) - 1)
            first, *rest = field_lines(str(line.path[-1]), line.value)
            yield f"{indent}{first}", line.origin
            yield from ((f"{indent}{more}", "") for more in rest)


def upcoming(task: Task, now: datetime, count: int = 5) -> tuple[Slot, ...]:
    """The next slots, exactly those that the server will start."""
    zone, slots = ZoneInfo(task.timezone), list[Slot]()
    offset = now.astimezone(zone).utcoffset()
    for at in next_slots([parse_cron(text) for text in task.cron], task.timezone, now, count) if task.cron else ():
        local = at.astimezone(zone)
        slots.append(Slot(at, local, local.utcoffset() != offset))
        offset = local.utcoffset()
    return tuple(slots)
