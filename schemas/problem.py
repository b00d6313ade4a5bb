"""A problem in a file: what is wrong, where exactly, and what to write instead.

Problems are values, never exceptions: a reader collects all of them. Codes are stable words that
people may search for and rely on. The rendering is cargo's, because people already read it.
"""

from collections.abc import Iterable
from typing import Literal

from schemas.secrets import secret_in
from schemas.value import Value


def clipped(text: str, most: int = 40) -> str:
    """A foreign text within a message: short, in one line, and without anything that drives a terminal."""
    plain = "".join(c if c.isprintable() else " " for c in text[: most + 1])
    return plain if len(text) <= most else f"{plain[: most - 1]}…"


class Span(Value):
    """A stretch of text in a file; lines and columns count from 1, the end is exclusive."""

    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1


class Problem(Value):
    """One thing that is wrong in one place of one file."""

    code: str
    message: str
    file: str
    span: Span = Span()
    label: str = ""
    help: str = ""
    severity: Literal["error", "warning"] = "error"

    def full(self, source: str) -> str:
        """Render with the line and a caret under the place, unless the line holds a secret."""
        lines = source.splitlines()
        head = f"{self.severity}[{self.code}]: {self.message}"
        place = f"{self.file}:{self.span.line}:{self.span.column}"
        hidden = self.code == "secret-in-file"
        if hidden or not 1 <= self.span.line <= len(lines) or secret_in(lines[self.span.line - 1]):
            return _joined(head, f" --> {place}", self.help and f"  = help: {self.help}")
        gutter = len(str(self.span.line))
        margin = " " * gutter
        # A tab would push the caret away from its place, and a control character could do worse.
        text = "".join(c if c.isprintable() else " " for c in lines[self.span.line - 1])
        end = self.span.end_column if self.span.end_line == self.span.line else len(text) + 1
        carets = "^" * max(1, min(end, len(text) + 1) - self.span.column)
        return _joined(
            head,
            f"{margin}--> {place}",
            f"{margin} |",
            f"{self.span.line} | {text[:160]}".rstrip(),
            f"{margin} | {' ' * (self.span.column - 1)}{carets} {self.label}".rstrip()
            if self.span.column <= 160
            else "",
            self.help and f"{margin} = help: {self.help}",
        )

    def concise(self) -> str:
        """Render in one line: `file:line:column: severity[code] message: what to write instead`."""
        said = ": ".join(part for part in (self.message, self.label or self.help) if part)
        return f"{self.file}:{self.span.line}:{self.span.column}: {self.severity}[{self.code}] {said}"


def by_place(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems of one file, from top to bottom."""
    return tuple(sorted(problems, key=lambda p: (p.span.line, p.span.column, p.code)))


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
