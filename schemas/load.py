"""Task file text to Task, or every problem with its place and what to write instead.

The strict reader: whatever the schema or common sense refuses is a problem here, so that the types in
`schemas.task` can stay lenient. It reads no disk and never raises.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from schemas import checks
from schemas.catalog import Catalog
from schemas.checks import Said
from schemas.cron import parse_cron
from schemas.document import Document, Path, read_document
from schemas.problem import Problem, Span, by_place
from schemas.secrets import secret_in
from schemas.shape import Difference, shape
from schemas.slots import check_timezone
from schemas.spelling import NAME_PATTERN
from schemas.task import Task

DEFAULTS_FILE = "_defaults.yaml"
Kind = Literal["task", "defaults"]
_CHECKS = (checks.cron, checks.timezone, checks.schemas, checks.placeholders, checks.night)
_TOLD_BETTER: dict[str, Callable[[str], object]] = {"cron": parse_cron, "timezone": check_timezone}


@dataclass(frozen=True)
class Defaults:
    """One `_defaults.yaml`, read: what it supplies to the tasks of its folder and of those below."""

    document: Document
    data: Mapping[str, Any]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Loaded:
    """One task file, read: a task, unless something is wrong in it or in the defaults above it.

    `name` is the task's name even if something else is wrong; None if the file hides it. Warnings are
    problems that stop nobody.
    """

    task: Task | None
    problems: tuple[Problem, ...] = ()
    name: str | None = None


def load_task(
    raw: bytes, file: str, above: Sequence[Defaults] = (), catalog: Catalog | None = None, folder: str = ""
) -> Loaded:
    """Read one task file. `file` is its path as a person would write it; its stem is the default name.

    `above` are the defaults that apply, the outermost first. With a server's `catalog`, what it
    does not know or allow is a problem too; `folder` is the file's own, below the tasks folder.
    """
    document = read_document(raw, file)
    data = _mapping(document)
    name = _name(document)
    if data is None:
        return Loaded(None, by_place(document.problems), name)
    problems = [*document.problems, *_judged(document, data, "task", catalog, folder)]
    effective = {"name": name, **merged(data, above)}
    if name is None and "name" not in data:
        message, remedy = f"`{stem(file)}` cannot name a task", "use 1 to 63 of a-z, 0-9 and -, or give it a `name`"
        problems.append(Problem(code="bad-name", message=message, file=file, help=remedy))
    else:
        problems += _together(document, effective, above, catalog)
    wrong = any(has_errors(each) for each in (problems, *(defaults.problems for defaults in above)))
    if above and not wrong:  # each file is right by itself; together they may hold too many labels
        problems += (each.problem(document) for each in shape("task").differences(effective))
        wrong = has_errors(problems)
    return Loaded(None if wrong else Task.model_validate(effective), by_place(problems), name)


def load_defaults(raw: bytes, file: str, catalog: Catalog | None = None, folder: str = "") -> Defaults:
    """Read one `_defaults.yaml`; its problems are its own, whatever tasks stand below it."""
    document = read_document(raw, file)
    empty = document.data is None and not document.problems
    data = {} if empty else _mapping(document)
    problems = (
        document.problems if not data else [*document.problems, *_judged(document, data, "defaults", catalog, folder)]
    )
    return Defaults(document, data or {}, by_place(problems))


def merged(own: Mapping[str, Any], above: Sequence[Defaults]) -> dict[str, Any]:
    """What a file says over its defaults: the nearest wins, maps merge by key, lists and scalars replace."""
    data: dict[str, Any] = {}
    for layer in (*(defaults.data for defaults in above), own):
        for field, value in layer.items():
            both = (data.get(field), value)
            maps = [cast("dict[str, Any]", each) for each in both if isinstance(each, dict)]
            data[field] = {**maps[0], **maps[1]} if len(maps) == 2 else value
    return data


def origin(path: Path, document: Document, above: Sequence[Defaults]) -> Document | None:
    """The file that an effective value comes from; None if no file says it."""
    layers = (document, *(defaults.document for defaults in reversed(above)))
    return next((layer for layer in layers if path in layer.values), None)


def stem(file: str) -> str:
    """The name that a file gives its task."""
    return file.rpartition("/")[2].partition(".")[0]


def has_errors(problems: Iterable[Problem]) -> bool:
    """True if one of the problems is more than a warning."""
    return any(problem.severity == "error" for problem in problems)


def _name(document: Document) -> str | None:
    """The task's name, if it is one: while a file hides it, whatever is missing may be its."""
    if document.data is None and document.problems:
        return None
    name = (document.mapping or {}).get("name", stem(document.file))
    fits = isinstance(name, str) and re.fullmatch(NAME_PATTERN, name) and not secret_in(name)
    return str(name) if fits else None


def _mapping(document: Document) -> dict[str, Any] | None:
    """The file's data if there is something to judge; otherwise the document holds what is wrong."""
    if secrets := list(checks.secrets(document)):
        document.problems[:] = secrets  # nothing else is said: the words of another problem could repeat one
        return None
    if document.data is None and document.problems:
        return None
    if document.mapping is not None:
        return document.mapping
    if document.data is None:
        remedy = str(shape("task").schema["allOf"][0]["errorMessage"]).partition(": ")[2]
        document.problem("missing-goal", "the file is empty", Span(), help=remedy)
    else:
        message = "a task file is a mapping of keys to values"
        document.problem("invalid-value", message, document.place(()), help="write `goal: …`, and what else there is")
    return None


def _judged(
    document: Document, data: dict[str, Any], kind: Kind, catalog: Catalog | None, folder: str
) -> Iterator[Problem]:
    """What the schema and the checks have to say about one file by itself."""
    differences = [each for each in shape(kind).differences(data) if not _told_better(each, data)]
    misspelt = any(each.code == "unknown-key" and each.label == "did you mean `goal`?" for each in differences)
    for difference in differences:
        if not (misspelt and difference.code == "missing-goal"):
            yield difference.problem(document)
    bad = frozenset(str(each.path[0]) for each in differences if each.path)
    said = Said(document, data, bad)
    for check in _CHECKS:
        yield from check(said)
    if catalog is not None:
        yield from checks.known(said, catalog, folder)


def _told_better(difference: Difference, data: Any) -> bool:
    """True if a check says the same of the same value, and more of it than a pattern can."""
    if difference.code == "input-without-default":
        return True
    read = _TOLD_BETTER.get(str(difference.path[0])) if difference.path else None
    if read is None or difference.keyword not in ("pattern", "enum"):
        return False
    for step in difference.path:
        data = data[step]
    try:
        read(data)
    except ValueError:
        return True
    return False


def _together(
    document: Document, effective: dict[str, Any], above: Sequence[Defaults], catalog: Catalog | None
) -> Iterator[Problem]:
    """Values of all layers taken together, told in the file that says the one to change."""
    for each in checks.together(effective, catalog):
        place = origin(each.path, document, above) or document
        span = place.place(each.path)
        yield Problem(
            code=each.code, message=each.message, file=place.file, span=span, label=each.label, help=each.help
        )
