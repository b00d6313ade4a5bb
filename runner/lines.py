"""The lines in which a run is told, and the words for what it waits for. Pure, and the same whoever tells it.

`runner.following` reads them out of a history, `runner.retelling` out of what a gateway says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.run import Waiting


@dataclass(frozen=True)
class Line:
    """One thing that happened in a run. `kind`: started, said, call, result, waiting, person, trouble, ended."""

    at: datetime
    kind: str
    text: str
    detail: str = ""


def started(at: datetime, task: str, path: str, trigger: str) -> Line:
    """A run begins."""
    return Line(at, "started", f"{task or 'ad hoc'}{f' from {path}' if path else ''}, by {trigger}")


def asked(at: datetime, each: Waiting) -> Line:
    """A run waits for a person."""
    return Line(at, "waiting", waits(each), each.link or shown(each.arguments))


def decided(at: datetime, *, approve: bool, by: str, note: str) -> Line:
    """A person has said a word."""
    return Line(at, "person", f"{'approved' if approve else 'denied'}{f' by {by}' if by else ''}", note)


def ended(at: datetime, status: str, reason: str, summary: str) -> Line:
    """A run has ended."""
    return Line(at, "ended", f"{status}{f': {reason}' if reason else ''}", summary)


def again(attempt: int) -> str:
    """What is said of a step that was tried more than once."""
    return f" (attempt {attempt})" if attempt > 1 else ""


def shown(arguments: Mapping[str, Any]) -> str:
    """Arguments of a call."""
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())


def waits(each: Waiting) -> str:
    """What a run waits for, in one line."""
    until = f"until {each.until:%d %b %H:%M} UTC"
    match each.kind:
        case "connection":
            return f"waits for {each.toolkit} to be connected, {until}"
        case "unknown":
            return f"nobody knows whether {each.tool} took effect; waits for a person, {until}"
        case _:
            return f"{each.tool} waits for approval, {until}"
