"""One YAML document as plain data, with the place of every key and value.

YAML 1.2 core, read through PyYAML's C parser: `no` and `12:30` are text, a duplicate key, an alias,
a tag and a second document are problems with a place. Nothing in a file, however hostile, makes
`read_document` raise.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from schemas.problem import Problem, Span

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
Path = tuple[str | int, ...]

_Convert = Callable[[str], bool | int | float | None]
_CORE: tuple[tuple[re.Pattern[str], _Convert], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _text: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text[0] in "tT"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
)


@dataclass
class Document:
    """Data, the places of its keys and values by path, and what was wrong on the way."""

    file: str
    text: str = ""
    data: Any = None
    keys: dict[Path, Span] = field(default_factory=dict[Path, Span])
    values: dict[Path, Span] = field(default_factory=dict[Path, Span])
    styles: dict[Path, str] = field(default_factory=dict[Path, str])
    problems: list[Problem] = field(default_factory=list[Problem])

    def problem(self, code: str, message: str, span: Span, *, label: str = "", help: str = "") -> None:  # noqa: A002
        """Note one problem of this file."""
        found = Problem(code=code, message=message, file=self.file, span=span, label=label, help=help)
        self.problems.append(found)

    def place(self, path: Path, *, key: bool = False) -> Span:
        """The place of a value, or of its key; the nearest known parent's when it has none."""
        while path:
            span = (self.keys.get(path) if key else None) or self.values.get(path) or self.keys.get(path)
            if span:
                return span
            path = path[:-1]
        return self.values.get((), Span())


def read_document(raw: bytes, file: str) -> Document:
    """Read one file's bytes. Syntax problems are in the result; then `data` is None."""
    document = Document(file)
    if len(raw) > MAX_BYTES:
        document.problem("too-large", f"the file has {len(raw):,} bytes, more than {MAX_BYTES:,}", Span())
        return document
    try:
        document.text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        document.problem(
            "not-utf8", "the file is not UTF-8 text", Span(line=line, end_line=line), help="save it as UTF-8"
        )
        return document
    try:
        _Reader(document).read()
    except _Stop:
        document.data = None
    except yaml.MarkedYAMLError as error:
        document.data = None
        _syntax(document, error)
    except yaml.YAMLError as error:
        document.data = None
        document.problem("yaml-syntax", f"not YAML: {str(error).splitlines()[0]}", Span())
    return document


class _Stop(Exception):  # noqa: N818 - control flow, not an error
    """The document cannot be read further; the problem is already noted."""


class _Reader:
    """Turns parser events into data, noting places.

    Events, not composed nodes: PyYAML's composer recurses in C without a limit, and 64 KB of brackets
    end the process. Here depth is bounded before anything recurses.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.events: Iterator[yaml.Event] = yaml.parse(document.text, Loader=yaml.CBaseLoader)

    def read(self) -> None:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.document.values:
                    help_ = "put the second one into its own file"
                    self._stop("two-documents", "a task file holds one task", _span(event), help_)
                self.document.data = self._value(next(self.events), (), 0)

    def _value(self, event: yaml.Event, path: Path, depth: int) -> Any:
        span = _span(event)
        self.document.values[path] = span
        if depth > MAX_DEPTH:
            self._stop("too-deep", f"nested more than {MAX_DEPTH} levels deep", span)
        if isinstance(event, yaml.AliasEvent):
            self._stop("alias", "aliases (`*name`) are not allowed", span, "write the value out")
        if not isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._stop("yaml-syntax", "not YAML", span)
        tag: str | None = event.tag
        if tag not in (None, "!"):
            self._stop("tag", f"tags such as `{tag}` are not allowed", span, "remove the tag")
        if isinstance(event, yaml.ScalarEvent):
            self.document.styles[path] = str(event.style or "")
            return self._scalar(event, span)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items)), depth + 1))
        self._ends(path, event)
        return items

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            span = _span(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._stop("yaml-syntax", "a key must be text", span)
            key = str(event.value)
            twice = self.document.keys.get((*path, key)) if key in found else None
            if twice:
                where = f"first written in line {twice.line}"
                self.document.problem(
                    "duplicate-key", f"`{key}` is written twice", span, label=where, help="remove one of them"
                )
            else:
                self.document.keys[(*path, key)] = span
            value = self._value(next(self.events), (*path, key), depth + 1)
            found.setdefault(key, value)
        self._ends(path, event)
        return found

    def _ends(self, path: Path, event: yaml.Event) -> None:
        end = _span(event)
        ends = {"end_line": end.end_line, "end_column": end.end_column}
        self.document.values[path] = self.document.values[path].model_copy(update=ends)

    def _scalar(self, event: yaml.ScalarEvent, span: Span) -> Any:
        text = str(event.value)
        if event.style:  # quoted or block text is text
            return text
        for pattern, convert in _CORE:
            if pattern.fullmatch(text):
                try:
                    return convert(text)
                except ValueError:  # more digits than Python converts
                    self._stop("invalid-value", "this number is too large", span)
        return text

    def _stop(self, code: str, message: str, span: Span, help: str = "") -> NoReturn:  # noqa: A002
        self.document.problem(code, message, span, help=help)
        raise _Stop


def _span(event: yaml.Event) -> Span:
    start, end = event.start_mark, event.end_mark
    if start is None or end is None:  # the stubs allow it; the parser never does it
        return Span()
    return Span(line=start.line + 1, column=start.column + 1, end_line=end.line + 1, end_column=end.column + 1)


def _syntax(document: Document, error: yaml.MarkedYAMLError) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    span = Span(line=line, column=column, end_line=line, end_column=column + 1)
    said = error.problem or "not YAML"
    lines = document.text.splitlines()
    shown = lines[line - 1] if line <= len(lines) else ""
    if "\t" in shown[: len(shown) - len(shown.lstrip())]:
        document.problem(
            "tab-indent", "tabs cannot indent YAML", span, label="tab here", help="use two spaces per level"
        )
    else:
        document.problem("yaml-syntax", f"not YAML: {said}", span)
