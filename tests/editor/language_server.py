"""The YAML language server, driven as an editor drives it: what a person sees while writing a task file.

It refuses to guess: a server that reports a failure of its own raises, and no answer comes from an earlier document.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.editor.json_rpc import Child, LanguageServerError

MAIN = Path(__file__).parent / "node_modules/yaml-language-server/bin/yaml-language-server"
CURSOR = "‸"
SEVERITIES = ("", "error", "warning", "information", "hint")
KINDS = (  # the protocol's numbers, from 1
    *("", "text", "method", "function", "constructor", "field", "variable", "class", "interface", "module"),
    *("property", "unit", "value", "enum", "keyword", "snippet", "color", "file", "reference", "folder"),
    *("enum member", "constant", "struct", "event", "operator", "type parameter"),
)
# Of what an editor can do, the part on which the server's answers depend.
CAPABILITIES = {
    "workspace": {"configuration": True, "workspaceFolders": True},
    "textDocument": {
        "completion": {"completionItem": {"snippetSupport": True, "documentationFormat": ["markdown", "plaintext"]}},
        "hover": {"contentFormat": ["markdown", "plaintext"]},
    },
}


@dataclass(frozen=True)
class Diagnostic:
    """One squiggle; lines and columns count characters from 1, and the end is just behind the last one."""

    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    severity: str
    code: str | int | None


@dataclass(frozen=True)
class Completion:
    """One line of the list an editor offers; `inserted` still holds its tab stops, such as `${1:name}`."""

    label: str
    inserted: str
    documentation: str
    kind: str
    result: str
    """The whole text once this is chosen and what its tab stops propose is kept."""


class LanguageServer:
    """One server process for one workspace; its documents need not be on disk, the schemas do and are read once."""

    def __init__(self, workspace: Path, schemas: Mapping[str, Sequence[str]]) -> None:
        if any(part.startswith(".") for part in workspace.absolute().parts):
            raise ValueError(f"{workspace}: the server's globs never match below a folder that starts with a dot")
        self._root = workspace.absolute().as_uri()
        self._settings: dict[str, Any] = {
            "yaml": {
                "schemas": {schema: list(globs) for schema, globs in schemas.items()},
                "validate": True,
                "completion": True,
                "hover": True,
                "schemaStore": {"enable": False},
                "kubernetesCRDStore": {"enable": False},
            },
            "http": {"proxy": "http://127.0.0.1:9", "proxyStrictSSL": True},  # nobody listens: no way to the network
        }
        self._version = 0
        self._published: dict[str, list[Any]] = {}
        self._complaints: list[str] = []
        # Diagnostics come without a version. But the server asks for a document's settings before it judges it, and
        # publishes once for that and once on closing: when nothing is owed, nothing is under way.
        self._owed = 0

    def __enter__(self) -> Self:
        self._child = Child(["node", str(MAIN), "--stdio"], self._answer, self._hear)
        try:
            folder = {"uri": self._root, "name": "workspace"}
            hello = {"processId": os.getpid(), "rootUri": self._root, "workspaceFolders": [folder], "locale": "en"}
            self._child.ask("initialize", hello | {"capabilities": CAPABILITIES})
            self._child.tell("initialized", {})
            # The one request that waits until the server has taken in our settings.
            self._child.ask("textDocument/codeLens", {"textDocument": {"uri": self._root}})
        except BaseException:
            self._child.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(LanguageServerError):
            self._child.ask("shutdown", None, patience=5)
            self._child.tell("exit", None)
        self._child.close()

    def problems(self, text: str, name: str = "tasks/a.yaml") -> list[Diagnostic]:
        """What is underlined once the server has judged the document."""
        lines = re.split(r"\r\n|\n|\r", text)
        with self._open(text, name) as uri:
            return [_diagnostic(found, lines) for found in self._judged(uri)]

    def fixes(self, text: str, name: str = "tasks/a.yaml") -> list[str]:
        """The titles of the quick fixes offered for the first problem."""
        with self._open(text, name) as uri:
            if not (found := self._judged(uri)[:1]):
                return []
            where = {"textDocument": {"uri": uri}, "range": found[0]["range"], "context": {"diagnostics": found}}
            return [action["title"] for action in self._child.ask("textDocument/codeAction", where) or []]

    def completions(self, text_with_cursor: str, name: str = "tasks/a.yaml") -> dict[str, Completion]:
        """What is offered at the cursor, by label; a label that is offered twice raises."""
        offered = self.completion_list(text_with_cursor, name)
        labels = [one.label for one in offered]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise LanguageServerError(f"offered more than once: {twice}; completion_list() has them all")
        return {one.label: one for one in offered}

    def completion_list(self, text_with_cursor: str, name: str = "tasks/a.yaml") -> list[Completion]:
        """What is offered at the cursor, in the server's order."""
        answer = self._ask_at_cursor("textDocument/completion", text_with_cursor, name)
        return [_completion(item, text_with_cursor) for item in answer["items"]]

    def hover(self, text_with_cursor: str, name: str = "tasks/a.yaml") -> str:
        """The markdown shown when the mouse rests on the character behind the cursor."""
        answer = self._ask_at_cursor("textDocument/hover", text_with_cursor, name)
        return answer["contents"]["value"] if answer else ""

    def _ask_at_cursor(self, method: str, text_with_cursor: str, name: str) -> Any:
        before, cursor, after = text_with_cursor.partition(CURSOR)
        if not cursor or CURSOR in after:
            raise ValueError(f"the text needs exactly one cursor {CURSOR}")
        lines = re.split(r"\r\n|\n|\r", before)
        position = {"line": len(lines) - 1, "character": len(lines[-1].encode("utf-16-le")) // 2}
        with self._open(before + after, name) as uri:
            return self._child.ask(method, {"textDocument": {"uri": uri}, "position": position})

    @contextlib.contextmanager
    def _open(self, text: str, name: str) -> Iterator[str]:
        uri = f"{self._root}/{name}"
        self._version += 1  # the server keeps what it parsed, by address and version, even when it is closed
        document = {"uri": uri, "languageId": "yaml", "version": self._version, "text": text}
        self._child.tell("textDocument/didOpen", {"textDocument": document})
        try:
            yield uri
        finally:
            self._owed += 1
            self._child.tell("textDocument/didClose", {"textDocument": {"uri": uri}})
            self._child.read_until(lambda: self._owed == 0, "close a document")
            self._published.clear()
            complaints, self._complaints = self._complaints, []
        if complaints:
            raise LanguageServerError("\n".join(complaints))

    def _judged(self, uri: str) -> list[Any]:
        self._child.read_until(lambda: uri in self._published, "judge a document")
        return self._published[uri]

    def _answer(self, method: str, params: Any) -> Any:
        if method != "workspace/configuration":
            return None
        self._owed += sum("scopeUri" in item for item in params["items"])
        return [self._settings.get(item["section"]) for item in params["items"]]

    def _hear(self, method: str, params: Any) -> None:
        if method == "textDocument/publishDiagnostics":
            self._owed -= 1
            if self._owed < 0:
                raise LanguageServerError("the server judged a document and did not ask for its settings: see _owed")
            self._published[params["uri"]] = params["diagnostics"]
        elif method == "telemetry/event" and "error" in params.get("properties", {}):
            self._complaints.append(f"{params['name']}: {params['properties']['error']}")
        elif method == "window/logMessage" and params["type"] == 1:
            self._complaints.append(params["message"])


def _diagnostic(found: Mapping[str, Any], lines: Sequence[str]) -> Diagnostic:
    line, column = _place(found["range"]["start"], lines)
    end_line, end_column = _place(found["range"]["end"], lines)
    severity = SEVERITIES[found.get("severity", 0)]
    return Diagnostic(line, column, end_line, end_column, found["message"], severity, found.get("code"))


def _place(position: Mapping[str, int], lines: Sequence[str]) -> tuple[int, int]:
    """The protocol counts lines and UTF-16 units from 0, we count lines and characters from 1."""
    number = position["line"]
    before = lines[number].encode("utf-16-le")[: 2 * position["character"]] if number < len(lines) else b""
    return number + 1, len(before.decode("utf-16-le", "ignore")) + 1


def _completion(item: Mapping[str, Any], text_with_cursor: str) -> Completion:
    said = item.get("documentation") or ""
    documentation = said if isinstance(said, str) else said["value"]
    before, _, after = text_with_cursor.partition(CURSOR)
    inserted = item.get("insertText", item["label"])
    if edit := item.get("textEdit"):
        inserted, text = edit["newText"], before + after
        before, after = text[: _offset(edit["range"]["start"], text)], text[_offset(edit["range"]["end"], text) :]
    filled = _filled(inserted) if item.get("insertTextFormat") == 2 else inserted
    return Completion(item["label"], inserted, documentation, KINDS[item.get("kind", 0)], before + filled + after)


def _offset(position: Mapping[str, int], text: str) -> int:
    lines = text.split("\n")
    line, column = _place(position, lines)
    return sum(len(each) + 1 for each in lines[: line - 1]) + column - 1


def _filled(snippet: str) -> str:
    """A snippet whose tab stops keep what they propose: `${1:name}`, `${1|one,two|}`, `${1}` or `$1`."""
    stops = r"\\([$}\\])|\$\{\d+(?::((?:\\.|[^}])*)|\|([^,|]*)[^}]*)?\}|\$\d+"
    return re.sub(stops, lambda stop: stop[1] or re.sub(r"\\(.)", r"\1", stop[2] or stop[3] or ""), snippet)
