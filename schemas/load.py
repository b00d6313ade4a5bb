"""Task file text to Task, or every problem with its line and column.

The strict reader: unknown keys, wrong types and things that cannot work are problems here, so that
the types in `schemas.task` can stay lenient. It reads no disk and never raises.
"""

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from schemas.cron import CronError, parse_cron
from schemas.document import Document, Path, read_document
from schemas.inputs import input_schema, required_inputs, schema_fault, unknown_placeholders
from schemas.problem import Problem, Span
from schemas.secrets import secrets_in
from schemas.slots import check_timezone
from schemas.task import NAME_PATTERN, SLUG_PATTERN, Limits, Task, Tools

MAX_GOAL = 20_000

_MEANT = {
    "schedule": "cron",
    "trigger": "cron",
    "on": "cron",
    "prompt": "goal",
    "instructions": "goal",
    "task": "goal",
    "toolkits": "toolkit",
    "tool": "toolkit",
    "tz": "timezone",
    "timeout": "limits.timeout",
    "max_turns": "limits.turns",
    "budget": "limits.cost_usd",
    "disabled": "enabled: false",
    "suspend": "enabled: false",
    "user": "run_as",
    "user_id": "run_as",
    "params": "inputs",
    "parameters": "inputs",
    "notifications": "notify",
    "alerts": "notify",
    "tags": "labels",
    "id": "name",
}

# Fields of version 1 whose promise this release does not keep yet. Reading them silently would let a
# task go out at night believing that somebody will be told, or asked.
_NOT_YET: dict[str, Path] = {
    "notify": ("notify",),
    "tools.ask": ("tools", "ask"),
    "approval": ("approval",),
    "on_unknown": ("on_unknown",),
    "limits.cost_usd": ("limits", "cost_usd"),
    "output": ("output",),
    "memory": ("memory",),
    "retries": ("retries",),
}


@dataclass(frozen=True)
class Loaded:
    """One file, read: a task if nothing was wrong, and what was.

    `name` is the task's name even if something else was wrong; None if the file hides it.
    """

    task: Task | None
    problems: tuple[Problem, ...]
    name: str | None = None


def load_task(raw: bytes, file: str) -> Loaded:
    """Read one task file. `file` is its path as a person would write it; its stem is the default name."""
    document = read_document(raw, file)
    if document.problems and document.data is None:
        return Loaded(None, tuple(document.problems))
    data: Any = document.data
    if not isinstance(data, dict):
        said = "the file is empty" if data is None else "a task file is a mapping of keys to values"
        document.problem("missing-goal", said, Span(), help=_GOAL_HELP)
        return Loaded(None, tuple(document.problems), _stem(file))
    secrets = tuple(_secrets(data, document))
    if secrets:  # nothing else is said about such a file: the words of another problem could repeat one
        return Loaded(None, secrets, _stem(file))
    return _load(cast("dict[str, Any]", data), document)


def _secrets(data: Any, document: Document) -> Iterator[Problem]:
    for path, what in secrets_in(data):
        yield Problem(
            code="secret-in-file",
            message=f"`{'.'.join(map(str, path))}` holds {what}",
            file=document.file,
            span=document.place(path),
            help="take it out and revoke it; secrets live in the server's configuration",
        )


_GOAL_HELP = "add a line such as `goal: Summarise yesterday's merged pull requests in acme/web`"


def _load(data: dict[str, Any], document: Document) -> Loaded:
    task: Task | None = None
    named = {"name": _stem(document.file), **data}
    try:
        task = Task.model_validate(named, strict=True, extra="forbid")
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            _explain(detail, document)
    if task is not None:
        for check in _CHECKS:
            check(task, document)
        for word, path in _NOT_YET.items():
            if path in document.values:
                message = f"`{word}` is not honoured by this release yet"
                document.problem("not-yet", message, document.place(path, key=True), help="remove it for now")
    problems = tuple(sorted(document.problems, key=lambda p: (p.span.line, p.span.column, p.code)))
    return Loaded(None if problems else task, problems, str(named["name"]))


def _stem(file: str) -> str:
    return PurePosixPath(file).name.partition(".")[0]


def _explain(detail: ErrorDetails, document: Document) -> None:
    path: Path = detail["loc"]
    name = ".".join(str(part) for part in path if isinstance(part, str))
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _fields_beside(path)
        meant = _meant(str(path[-1]), known) if len(path) == 1 else _closest(str(path[-1]), known)
        document.problem(
            "unknown-key",
            f"unknown key `{name}`",
            document.place(path, key=True),
            label=f"did you mean `{meant}`?" if meant else "",
            help="" if meant else f"known keys: {', '.join(known)}",
        )
    elif kind == "missing" and path == ("goal",):
        document.problem(
            "missing-goal",
            "`goal` is missing",
            document.place(()),
            label="only `goal` is required",
            help=_GOAL_HELP,
        )
    elif kind == "missing":
        document.problem("missing-key", f"`{name}` is missing", document.place(path[:-1]))
    else:
        document.problem("invalid-value", f"`{name}` {_must(detail)}", document.place(path))


def _must(detail: ErrorDetails) -> str:
    kind = detail["type"]
    said = {
        "string_type": "must be text",
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "dict_type": "must be a mapping of keys to values",
        "model_type": "must be a mapping of keys to values",
        "tuple_type": "must be one value or a list",
    }.get(kind)
    if kind == "literal_error":
        said = f"must be {detail.get('ctx', {}).get('expected')}"
    if kind == "value_error":
        said = f"is not right: {detail['msg'].removeprefix('Value error, ')}"
    return said or f"is not right: {detail['msg']}"


def _fields_beside(path: Path) -> list[str]:
    owner = {"limits": Limits, "tools": Tools}.get(str(path[0])) if len(path) > 1 else Task
    return list(owner.model_fields) if owner else []


def _meant(word: str, known: list[str]) -> str:
    return _MEANT.get(word) or _closest(word, known)


def _closest(word: str, known: list[str]) -> str:
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.7)), "")


# --- What a type cannot say. Each check looks at one thing and notes what is wrong with it. ---


def _check_name(task: Task, document: Document) -> None:
    if not re.fullmatch(NAME_PATTERN, task.name):
        document.problem(
            "bad-name",
            f"`{task.name}` cannot name a task",
            document.place(("name",)) if ("name",) in document.values else Span(),
            help="use 1 to 63 of a-z, 0-9 and -, in `name` or as the file's name",
        )


def _check_goal(task: Task, document: Document) -> None:
    place = document.place(("goal",))
    if not task.goal.strip():
        document.problem("missing-goal", "`goal` is empty", place, help=_GOAL_HELP)
    if len(task.goal) > MAX_GOAL:
        document.problem("invalid-value", f"`goal` has {len(task.goal):,} characters, more than {MAX_GOAL:,}", place)
    for name, _offset in unknown_placeholders(task.goal, task):
        options = [
            "run.id",
            "run.scheduled_at",
            "run.previous_at",
            "task.name",
            *(f"inputs.{i}" for i in task.inputs),
        ]
        document.problem(
            "unknown-placeholder",
            f"nothing is named `{{{{ {name} }}}}`",
            _find(document, place, name),
            help=f"use one of {', '.join(options)}",
        )


def _find(document: Document, within: Span, word: str) -> Span:
    lines = document.text.splitlines()
    for number in range(within.line, min(within.end_line, len(lines)) + 1):
        column = lines[number - 1].find(word) if word else -1
        if column >= 0:
            return Span(line=number, column=column + 1, end_line=number, end_column=column + 1 + len(word))
    return within


def _check_cron(task: Task, document: Document) -> None:
    many = ("cron", 0) in document.values
    for index, text in enumerate(task.cron):
        path: Path = ("cron", index) if many else ("cron",)
        try:
            parse_cron(text)
        except CronError as error:
            place = document.place(path)
            quote = 1 if document.styles.get(path) in ("'", '"') else 0
            if place.line == place.end_line and error.end > error.start:
                start = place.column + quote + error.start
                end = place.column + quote + error.end
                place = place.model_copy(update={"column": start, "end_column": end})
            document.problem(error.code, error.message, place, help=error.help)


def _check_timezone(task: Task, document: Document) -> None:
    try:
        check_timezone(task.timezone)
    except ValueError as error:
        document.problem("bad-timezone", str(error), document.place(("timezone",)))


def _check_inputs(task: Task, document: Document) -> None:
    for name, said in task.inputs.items():
        fault = schema_fault(input_schema(said)) if isinstance(said, dict) else ""
        if fault:
            document.problem("invalid-value", f"input `{name}`: {fault}", document.place(("inputs", name)))
    if task.cron:
        for name in required_inputs(task):
            document.problem(
                "input-without-default",
                f"input `{name}` has no default, and nobody is there at night to give one",
                document.place(("inputs", name), key=True),
                help="give it a `default`, or remove `cron`",
            )


def _check_ranges(task: Task, document: Document) -> None:
    limits = task.limits
    for path, good, must in (
        (("limits", "turns"), 1 <= limits.turns <= 500, "must be from 1 to 500"),
        (("limits", "timeout"), limits.timeout.total_seconds() >= 1, "must be at least 1s"),
        (("limits", "tokens"), limits.tokens is None or limits.tokens >= 1000, "must be at least 1000"),
        (("catchup",), task.catchup.total_seconds() >= 10, "must be at least 10s"),
        (("description",), len(task.description or "") <= 500, "must have at most 500 characters"),
        (("labels",), len(task.labels) <= 16, "must have at most 16 entries"),
    ):
        if not good:
            document.problem("invalid-value", f"`{'.'.join(path)}` {must}", document.place(path))


def _check_toolkits(task: Task, document: Document) -> None:
    for index, slug in enumerate(task.toolkit):
        if not re.fullmatch(SLUG_PATTERN, slug):
            message = f"`{slug}` cannot name a toolkit"
            document.problem("invalid-value", message, document.place(("toolkit", index)), help="such as gmail")


_CHECKS: tuple[Callable[[Task, Document], None], ...] = (
    _check_name,
    _check_goal,
    _check_cron,
    _check_timezone,
    _check_inputs,
    _check_ranges,
    _check_toolkits,
)
