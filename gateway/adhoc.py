"""A goal that has no file: the body of `POST /v1/runs`, read as a task file is, as JSON or YAML.

One reader for both: JSON is spelt as YAML, token by token, and held against the same schema, checks and catalog
as a file, so that a caller is told the same words as at the command line. Refused is what makes sense only for a
task that has a name or a schedule, and what the caller may not do for others.
"""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, cast

from gateway.catalog import Names
from gateway.principals import Principal
from gateway.problems import BadGoal, Fault, NotAllowed
from schemas.catalog import Catalog
from schemas.document import MAX_BYTES, Document, Path, read_document
from schemas.export import GOAL_MISSING, MEANT, task_schema
from schemas.inputs import required_inputs, settle_inputs
from schemas.load import load_task
from schemas.problem import Problem, Span, clipped
from schemas.run import RunRequest
from schemas.secrets import secret_in
from schemas.task import Task

YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})

_AT_ONCE = "an ad hoc run starts at once, and once"
_NAMELESS = "an ad hoc run has no name, and no run before it"
ONLY_IN_FILES = {
    **dict.fromkeys(("cron", "timezone", "jitter", "overlap", "catchup", "enabled"), _AT_ONCE),
    **dict.fromkeys(("name", "memory"), _NAMELESS),
}
"""Fields of a task file that a goal without one cannot have, and why."""

_FILE = "goal.yaml"  # what the reader calls the body; nobody is told
_MOST = 20  # faults in one answer
QUICK = 8 * 1024  # bytes; more of them may be meant to keep everybody waiting, and are read beside the others
_STRING = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")(?=([ \t\r\n]*:)?)')
# What JSON and YAML spell in different ways within quotes: pairs of surrogates, and characters that YAML takes for
# the end of a line, or not at all. Every other escape is the same in both.
_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_OTHERWISE = re.compile(
    rf"(?P<pair>{_PAIR})|(?P<half>\\u[dD][89a-fA-F]..)|\\.|(?P<raw>[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff])"
)


def is_yaml(kind: str) -> bool:
    """Whether a body of this content type is YAML."""
    return kind.partition(";")[0].strip().lower() in YAML_TYPES


async def read_goal(raw: bytes, kind: str, names: Names, who: Principal) -> RunRequest:
    """The run that a body asks for; `kind` is its content type. Raises BadGoal, NotAllowed."""
    # Which toolkits there are is asked only for who names some: Composio may take its time.
    catalog = await names.catalog() if b"toolkit" in raw else names.config.catalog()
    if len(raw) < QUICK:
        return goal_of(raw, kind, catalog, who)
    return await asyncio.to_thread(goal_of, raw, kind, catalog, who)


def goal_of(raw: bytes, kind: str, catalog: Catalog, who: Principal) -> RunRequest:
    """The same, once it is known what the server has."""
    said = raw if is_yaml(kind) else as_yaml(raw)
    loaded, document = load_task(said, _FILE, catalog=catalog), read_document(said, _FILE)
    if faults := _faults(document, loaded.problems, placed=is_yaml(kind)):
        _check_user((document.mapping or {}).get("run_as"), who)
        raise BadGoal("; ".join(f"{fault.pointer}: {fault.detail}" for fault in faults), errors=faults)
    task = cast("Task", loaded.task).model_copy(update={"name": ""})
    _check_user(task.run_as, who)
    if who.run_as is not None and task.toolkit and task.run_as is None:
        raise NotAllowed(f"Say whose connections the run uses: {_allowed(who.run_as)}.")
    return RunRequest(task=task, inputs=settle_inputs(task, {}), trigger="http")


def _check_user(user: Any, who: Principal) -> None:
    if who.run_as is not None and isinstance(user, str) and user not in who.run_as:
        shown = "that user" if secret_in(user) else f"`{clipped(user)}`"
        raise NotAllowed(f"You may not run a goal as {shown}: {_allowed(who.run_as)}.")


def as_yaml(raw: bytes) -> bytes:
    """JSON, spelt so that a reader of YAML finds the same in the same lines. Raises BadGoal for what is no JSON.

    What is no text, or too much of it, is left for that reader to refuse.
    """
    try:
        text = raw.decode("utf-8-sig") if len(raw) <= MAX_BYTES else None
    except UnicodeDecodeError:
        text = None
    if text is None:
        return raw
    try:
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _no_json(f"this is not JSON: {error.msg}", error.lineno, error.colno) from None
    except RecursionError:
        pass  # nested far deeper than the reader goes, and so refused by it

    def spelt(found: re.Match[str]) -> str:
        start = found.start()
        quoted = _OTHERWISE.sub(lambda part: _part(part, text, start), found[1])
        return f"? {quoted}" if found[2] else quoted  # said to be a key: YAML would guess by its length and line

    # A tab may not stand where YAML expects a first key.
    return _STRING.sub(spelt, _untabbed(text)).encode()


def _untabbed(text: str) -> str:
    body = text.lstrip(" \t\r\n")
    return text[: len(text) - len(body)].replace("\t", " ") + body.rstrip(" \t\r\n")


def _part(part: re.Match[str], text: str, start: int) -> str:
    if part["pair"]:
        return f"\\U{ord(json.loads(chr(34) + part[0] + chr(34))):08x}"
    if part["half"]:
        before = text[: start + part.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise _no_json(f"`{part[0]}` is half of a character: its other half is missing", line, column)
    return f"\\u{ord(part[0]):04x}" if part["raw"] else part[0]


def _no_constant(name: str) -> NoReturn:
    raise _no_json(f"this is not JSON: it has no {name}")


def _no_json(detail: str, line: int | None = None, column: int | None = None) -> BadGoal:
    fault = Fault(pointer="#", detail=detail, code="json-syntax", line=line, column=column)
    return BadGoal(f"#: {detail}", errors=[fault])


def _only_in_files(document: Document) -> Iterator[Problem]:
    """Keys that make no sense here, under their own name or under what people take for it."""
    for key in document.mapping or {}:
        field = MEANT.get(key, key).partition(":")[0]
        if why := ONLY_IN_FILES.get(field):
            message = f"`{key}` is for task files: {why}"
            span = document.place((key,), key=True)
            yield Problem(code="unknown-key", message=message, file=_FILE, span=span, help="leave it out")


def _without_value(document: Document) -> Iterator[Problem]:
    """Inputs that nothing gives: a body is the only place that can."""
    inputs = (document.mapping or {}).get("inputs")
    for name in required_inputs(cast("dict[str, Any]", inputs)) if isinstance(inputs, dict) else ():
        message, remedy = f"input `{clipped(name)}` has no value", f"write it, `{clipped(name)}: …`, or a `default`"
        span = document.place(("inputs", name), key=True)
        yield Problem(code="input-without-default", message=message, file=_FILE, span=span, help=remedy)


def _allowed(users: tuple[str, ...]) -> str:
    return f"write `run_as` with one of {', '.join(users)}" if users else "your goals may use no toolkits of anybody"


def _faults(document: Document, problems: Sequence[Problem], *, placed: bool) -> list[Fault]:
    """What is wrong with the body, from top to bottom: what the reader found, and what only a file may say."""
    wrong = [each for each in problems if each.severity == "error"]
    hidden = any(each.code == "secret-in-file" for each in wrong)  # other words could repeat it
    own = [] if hidden else [*_only_in_files(document), *_without_value(document)]
    if not wrong and not own:
        return []
    at = _Places(document)
    told = {at.path(each.span)[0] for each in own if each.code == "unknown-key"}
    both = [(at.path(each.span), each) for each in wrong if not own or each.code != "input-without-default"]
    both = [(path, each) for path, each in both if not path or path[0] not in told]
    both += [(at.path(each.span), each) for each in own]
    both.sort(key=lambda found: (found[1].span.line, found[1].span.column))
    return [_fault(path, each, placed=placed) for path, each in both[:_MOST]]


def _fault(path: Path, problem: Problem, *, placed: bool) -> Fault:
    said = ": ".join(part for part in (problem.message, problem.label or problem.help) if part)
    if problem.code == "secret-in-file":  # a key may be one, too
        path = tuple(itertools.takewhile(lambda step: not secret_in(str(step)), path))
    pointer = "#" + "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    place = {"line": problem.span.line, "column": problem.span.column} if placed else {}
    return Fault(pointer=pointer[:200], detail=said[:500], code=problem.code, **place)


class _Places:
    """Which key or value stands where: a problem knows its place alone."""

    def __init__(self, document: Document) -> None:
        self._paths: dict[tuple[int, int, int, int], Path] = {}
        for path in document.values:
            for key in (True, False):
                self._paths.setdefault(self._place(document.place(path, key=key)), path)

    def path(self, span: Span) -> Path:
        """The path of what stands there; else of the innermost key or value around it, or of the whole."""
        place = self._place(span)
        if place in self._paths:
            return self._paths[place]
        around = [each for each in self._paths if each[:2] <= place[:2] and place[2:] <= each[2:]]
        innermost = max(around, key=lambda each: (each[:2], -each[2], -each[3]), default=None)
        return self._paths[innermost] if innermost and span != Span() else ()

    @staticmethod
    def _place(span: Span) -> tuple[int, int, int, int]:
        return span.line, span.column, span.end_line, span.end_column


def _goal_schema() -> dict[str, Any]:
    """The task file's schema without what is refused here, in the dialect and the words of OpenAPI 3.1.

    Editors' own keywords are left out, and what a JSON Schema may hold in turn is not said again: in another
    document its references would lead nowhere.
    """
    made = task_schema()
    kept = {
        name: _plain(node)
        for name, node in made["properties"].items()
        if not node.get("doNotSuggest") and name not in ONLY_IN_FILES
    }
    return {
        "title": "Goal",
        "description": "A task file's fields, without a name and a schedule.",
        "type": "object",
        "required": ["goal"],
        "properties": kept,
        "additionalProperties": False,
        "examples": [{"goal": GOAL_MISSING.partition("goal: ")[2].rstrip("`"), "toolkit": ["github"]}],
    }


_OURS = ("errorMessage", "markdownDescription", "markdownEnumDescriptions", "defaultSnippets", "doNotSuggest")


def _plain(node: Any) -> Any:
    if isinstance(node, list):
        return [_plain(each) for each in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    said = cast("dict[str, Any]", node)
    if "$ref" in said:
        return {"type": "object", "title": "a JSON Schema"}
    return {word: _plain(value) for word, value in said.items() if word not in (*_OURS, "$comment")}


_BODY = {"schema": _goal_schema()}
GOAL_SCHEMA: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/json": _BODY, "application/yaml": _BODY}}
}
"""What the OpenAPI document says of the body."""
