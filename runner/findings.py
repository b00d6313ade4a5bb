"""What a doctor finds: one line for each thing that was looked at, and what to do about it.

Values and text only. Nothing secret is in a line, whoever wrote it: each is redacted before it is shown.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

import click

from runner.show import one_line
from schemas.redaction import redact

State = Literal["ok", "warning", "failed"]

_MARKS: dict[State, tuple[str, str]] = {"ok": ("ok", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}
_WIDTH = 400


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `warning`: it works, but not as it may be meant; `failed`: it does not."""

    check: str
    state: State
    said: str
    help: str = ""
    """What to do; empty if there is nothing to do."""

    @property
    def plain(self) -> dict[str, str]:
        """The same as `{check, state, said, help}`."""
        return {"check": self.check, "state": self.state, "said": self.said, "help": self.help}

    def without(self, secrets: Iterable[str]) -> "Finding":
        """The same on one line without these secrets, and without what looks like one."""
        held = tuple(secrets)
        said, remedy = (one_line(redact(text, held), _WIDTH) for text in (self.said, self.help))
        return replace(self, said=said, help=remedy)


def ok(check: str, said: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", said)


def warning(check: str, said: str, remedy: str = "") -> Finding:
    """It works, but not as it may be meant."""
    return Finding(check, "warning", said, remedy)


def failed(check: str, said: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(check, "failed", said, remedy)


def finding_lines(found: Sequence[Finding]) -> list[str]:
    """The findings as people read them, in their order."""
    width = max((len(each.check) for each in found), default=0)
    return [_line(each, width) for each in found]


def _line(finding: Finding, width: int) -> str:
    sign, color = _MARKS[finding.state]
    remedy = f": {finding.help}" if finding.help else ""
    return f"{click.style(f'{sign:<2}', fg=color)} {finding.check:<{width}}  {finding.said}{remedy}"


def place(url: str) -> str:
    """Where an address leads, without the password, path and query that it may hold."""
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
    except ValueError:
        return "an address that is none"
    return parts.netloc.rpartition("@")[2] or "an address that is none"


def password(url: str | None) -> str | None:
    """The password in an address, if there is one."""
    try:
        return urlsplit(url or "").password
    except ValueError:
        return None
