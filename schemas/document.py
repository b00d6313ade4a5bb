"""One YAML document as plain data, with the place of every key and value.

YAML 1.2 core, read through PyYAML's C parser: `no` and `12:30` are text; a duplicate key, an alias, a
tag, a second document and text that hides from a reviewer are problems with a place. Nothing in a
file, however hostile, makes `read_document` raise.
"""

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

import yaml

from schemas.problem import Problem, Span, clipped
from schemas.syntax import syntax_problem

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_PROBLEMS = 50
"""Of one kind of reading in one file; who mends these sees the next."""
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
_MAY_BE_NO_TEXT = frozenset("0123456789+-.~nNtTfF")  # what any of the above begins with
_NO_ALIAS = "write the value out; if it is text, put it in quotes"
_MAX_NUMBER = 2**63  # beyond it other readers of the same file round, or refuse
# What turns or hides text: a reviewer reads one thing, the model another (CVE-2021-42574). The tag block
# spells out ASCII that no editor shows.
_HIDDEN = re.compile(r"[\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


@dataclass
class Document:
    """Data, the places of its keys and values by path, and what was wrong on the way."""

    file: str
    text: str = ""
    data: Any = None
    keys: dict[Path, yaml.Event] = field(default_factory=dict[Path, yaml.Event])
    values: dict[Path, tuple[yaml.Event, yaml.Event]] = field(default_factory=dict[Path, tuple[yaml.Event, yaml.Event]])
    problems: list[Problem] = field(default_factory=list[Problem])

    @property
    def mapping(self) -> dict[str, Any] | None:
        """The data if it is a mapping of keys to values."""
        data: Any = self.data
        return cast("dict[str, Any]", data) if isinstance(data, dict) else None

    def problem(self, code: str, message: str, span: Span, *, label: str = "", help: str = "") -> None:  # noqa: A002
        """Note one problem of this file."""
        if len(self.problems) < MAX_PROBLEMS:
            found = Problem(code=code, message=message, file=self.file, span=span, label=label, help=help)
            self.problems.append(found)

    def place(self, path: Path, *, key: bool = False) -> Span:
        """The place of a value, or of its key; the nearest known parent's when it has none."""
        while path:
            if key and path in self.keys:
                return _span(self.keys[path], self.keys[path])
            if path in self.values:
                return self._value_place(path)
            path = path[:-1]
        return _span(*self.values[()]) if () in self.values else Span()

    def _value_place(self, path: Path) -> Span:
        span = _span(*self.values[path])
        empty = (span.line, span.column) == (span.end_line, span.end_column)
        return _span(self.keys[path], self.keys[path]) if empty and path in self.keys else span

    def quoted(self, path: Path) -> bool:
        """True if the value is text in quotes: its first character is not the text's."""
        event = self.values[path][0] if path in self.values else None
        return isinstance(event, yaml.ScalarEvent) and str(event.style or "") in ("'", '"')

    def find(self, word: str, path: Path) -> Span:
        """The place of a word within a value; the whole value's when the lines do not show it."""
        within, lines = self.place(path), self.text.splitlines()
        for number in range(within.line, min(within.end_line, len(lines)) + 1):
            start = within.column - 1 if number == within.line else 0
            column = lines[number - 1].find(word, start) if word else -1
            if column >= 0:
                return Span(line=number, column=column + 1, end_line=number, end_column=column + 1 + len(word))
        return within


def read_document(raw: bytes, file: str) -> Document:
    """Read one file's bytes. Syntax problems are in the result; then `data` is None."""
    document = Document(file)
    if len(raw) > MAX_BYTES:
        message = f"the file has {len(raw):,} bytes, more than {MAX_BYTES:,}"
        document.problem("too-large", message, Span(), help="put what the goal refers to where a tool can read it")
        return document
    try:
        document.text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        document.problem(
            "not-utf8", "the file is not UTF-8 text", Span(line=line, end_line=line), help="save it as UTF-8"
        )
        return document
    if not document.text.isascii():
        _refuse_hidden(document)
    try:
        _Reader(document).read()
    except _Stop:
        document.data = None
    except yaml.YAMLError as error:
        document.data = None
        document.problems.append(syntax_problem(error, file, document.text))
    return document


def _refuse_hidden(document: Document) -> None:
    for found in itertools.islice(_HIDDEN.finditer(document.text), MAX_PROBLEMS):
        before = document.text[: found.start()]
        line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
        span = Span(line=line, column=column, end_line=line, end_column=column + 1)
        message = f"the character U+{ord(found[0]):04X} makes text look other than it is"
        document.problem("hidden-text", message, span, help="remove it: a reviewer and the model must read the same")


class _Stop(Exception):  # noqa: N818 - control flow, not an error
    """The document cannot be read further; the problem is already noted."""


class _Reader:
    """Turns parser events into data, noting places.

    Events, not composed nodes: PyYAML's composer recurses in C without a limit, and 64 KB of brackets
    end the process. Here depth is bounded before anything recurses.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.next: Callable[[], Any] = yaml.CBaseLoader(document.text).get_event

    def read(self) -> None:
        while (event := self.next()) is not None:
            if isinstance(event, yaml.DocumentStartEvent):
                if self.document.values:
                    help_ = "put the second one into its own file"
                    self._stop("two-documents", "a task file holds one task", _span(event, event), help_)
                self.document.data = self._value(self.next(), (), 0)

    def _value(self, event: yaml.Event, path: Path, depth: int) -> Any:
        self.document.values[path] = (event, event)
        if depth > MAX_DEPTH:
            self._stop("too-deep", f"nested more than {MAX_DEPTH} levels deep", _span(event, event), "say it flatter")
        if isinstance(event, yaml.AliasEvent):
            self._stop("alias", "aliases (`*name`) are not allowed", _span(event, event), _NO_ALIAS)
        if not isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent | yaml.MappingStartEvent):
            self._stop("yaml-syntax", "not YAML", _span(event, event))
        tag: str | None = event.tag
        if tag not in (None, "!"):
            tag = str(tag).replace("tag:yaml.org,2002:", "!!")
            self._stop("tag", f"tags such as `{clipped(tag)}` are not allowed", _span(event, event), "remove the tag")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(event, path, depth)
        items: list[Any] = []
        while not isinstance(item := self.next(), yaml.SequenceEndEvent):
            items.append(self._value(item, (*path, len(items)), depth + 1))
        self.document.values[path] = (event, item)
        return items

    def _mapping(self, start: yaml.Event, path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._stop("yaml-syntax", "a key must be text", _span(event, event), "write `key: value`")
            key = str(event.value)
            twice = self.document.keys.get((*path, key)) if key in found else None
            if twice:
                where = f"first written in line {_span(twice, twice).line}"
                self.document.problem(
                    "duplicate-key",
                    f"`{clipped(key)}` is written twice",
                    _span(event, event),
                    label=where,
                    help="remove one of them",
                )
            else:
                self.document.keys[(*path, key)] = event
            value = self._value(self.next(), (*path, key), depth + 1)
            found.setdefault(key, value)
        self.document.values[path] = (start, event)
        return found

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        text = str(event.value)
        if event.style or (text and text[0] not in _MAY_BE_NO_TEXT):  # quoted or block text is text
            return text
        for pattern, convert in _CORE:
            if pattern.fullmatch(text):
                return self._plain(convert, text, event)
        return text

    def _plain(self, convert: _Convert, text: str, event: yaml.Event) -> Any:
        try:
            value = convert(text)
        except ValueError:  # more digits than Python converts
            value = math.inf
        if value is not None and not -_MAX_NUMBER <= value < _MAX_NUMBER:
            help_ = "put it in quotes if it is text"
            self._stop("invalid-value", "this number is too large", _span(event, event), help_)
        return value

    def _stop(self, code: str, message: str, span: Span, help: str = "") -> NoReturn:  # noqa: A002
        self.document.problem(code, message, span, help=help)
        raise _Stop


def _span(first: yaml.Event, last: yaml.Event) -> Span:
    start, end = first.start_mark, last.end_mark
    if start is None or end is None:  # the stubs allow it; the parser never does it
        return Span()
    return Span(line=start.line + 1, column=start.column + 1, end_line=end.line + 1, end_column=end.column + 1)


def is_plain_text(text: str) -> bool:
    """True if it is read as text when it stands without quotes, as far as its type goes."""
    return not any(pattern.fullmatch(text) for pattern, _ in _CORE)
