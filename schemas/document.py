"""One YAML document as plain data, with the place of every key and value.

YAML 1.2 core, read through PyYAML's C parser: `no` and `12:30` are text, a duplicate key, an alias,
a tag and a second document are problems with a place. Nothing in a file, however hostile, makes
`read_document` raise.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

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
_PLAIN_TAGS = {
    "tag:yaml.org,2002:str",
    "tag:yaml.org,2002:map",
    "tag:yaml.org,2002:seq",
    "!",
}


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
        node = yaml.compose(document.text, Loader=yaml.CBaseLoader)
        if node is not None:
            document.data = _Builder(document).build(node, (), 0)
    except _Stop:
        document.data = None
    except yaml.MarkedYAMLError as error:
        _syntax(document, error)
    except yaml.YAMLError as error:
        document.problem("yaml-syntax", f"not YAML: {str(error).splitlines()[0]}", Span())
    except RecursionError:
        document.problem("too-deep", "nested too deeply to be a task", Span())
    return document


class _Stop(Exception):  # noqa: N818 - control flow, not an error
    """The document cannot be read further; the problem is already noted."""


class _Builder:
    """Turns composed nodes into data, noting places."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[int] = set()

    def build(self, node: yaml.Node, path: Path, depth: int) -> Any:
        span = _span(node)
        self.document.values[path] = span
        if depth > MAX_DEPTH:
            self._stop("too-deep", f"nested more than {MAX_DEPTH} levels deep", span)
        if id(node) in self.seen:
            alias = _first_alias(self.document.text) or span
            self._stop("alias", "aliases (`*name`) are not allowed", alias, "write the value out")
        self.seen.add(id(node))
        if node.tag not in _PLAIN_TAGS:
            self._stop("tag", f"tags such as `{node.tag}` are not allowed", span, "remove the tag")
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path, depth))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode):  # there is no fourth kind
            return None
        self.document.styles[path] = str(node.style or "")
        return self._scalar(node, span)

    def _pairs(self, node: yaml.MappingNode, path: Path, depth: int) -> Iterator[tuple[str, Any]]:
        first: dict[str, Span] = {}
        for key_node, value_node in node.value:
            span = _span(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._stop("yaml-syntax", "a key must be text", span)
            key = str(key_node.value)
            if key in first:
                where = f"first written in line {first[key].line}"
                self.document.problem(
                    "duplicate-key", f"`{key}` is written twice", span, label=where, help="remove one of them"
                )
                continue
            first[key] = span
            self.document.keys[(*path, key)] = span
            yield key, self.build(value_node, (*path, key), depth + 1)

    def _scalar(self, node: yaml.ScalarNode, span: Span) -> Any:
        if node.style:  # quoted or block text is text
            return node.value
        for pattern, convert in _CORE:
            if pattern.fullmatch(node.value):
                try:
                    return convert(node.value)
                except ValueError:  # more digits than Python converts
                    self._stop("invalid-value", "this number is too large", span)
        return node.value

    def _stop(self, code: str, message: str, span: Span, help: str = "") -> None:  # noqa: A002
        self.document.problem(code, message, span, help=help)
        raise _Stop


def _span(node: yaml.Node) -> Span:
    start, end = node.start_mark, node.end_mark
    return Span(line=start.line + 1, column=start.column + 1, end_line=end.line + 1, end_column=end.column + 1)


def _first_alias(text: str) -> Span | None:
    for token in yaml.scan(text, Loader=yaml.CBaseLoader):
        if isinstance(token, yaml.AliasToken):
            line, column, end = token.start_mark.line, token.start_mark.column, token.end_mark.column
            return Span(line=line + 1, column=column + 1, end_line=line + 1, end_column=end + 1)
    return None


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
    elif "another document" in f"{error.context} {said}":
        document.problem(
            "two-documents", "a task file holds one task", span, help="put the second one into its own file"
        )
    else:
        document.problem("yaml-syntax", f"not YAML: {said}", span)
