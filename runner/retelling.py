"""What a gateway tells of a run, in the lines in which `runner.following` tells it from its history. Pure.

A gateway tells more than a line holds: what the run itself answered a call that it never made, or that a step is
tried again and why. Those are no lines there, and so none here. What only a gateway knows, that nobody would
otherwise see, is a line: an operator set the run back, or no worker can go on with it.
"""

from collections.abc import Iterator
from typing import Any, cast, get_args

from runner import lines
from runner.lines import Line
from runner.listening import Happening
from schemas import wire
from schemas.run import Waiting

_KINDS = get_args(Waiting.model_fields["kind"].annotation)


class Retelling:
    """One run, told from its start."""

    def __init__(self) -> None:
        self._called: set[str] = set()
        """Calls that were begun, and whose end was not told."""
        self._trouble: Happening | None = None
        self._last_said = ""

    def lines(self, told: Happening) -> Iterator[Line]:
        """What is to be said of this; most often one line."""
        trouble, self._trouble = self._trouble, None
        match told.event:
            case "status" if told.what == "started":
                task = "" if told.task == wire.AD_HOC else told.task
                yield lines.started(told.at, task, told.source, told.trigger)
            case "status" if told.what == "cancel_requested":
                yield Line(told.at, "trouble", "cancel requested")
            case "status" if told.what == "set_back":
                yield Line(told.at, "trouble", "set back by an operator; what follows comes in place of some above")
            case "turn":
                self._last_said = told.text
                turn = f"turn {'?' if told.turn is None else told.turn}"
                yield Line(told.at, "said", f"{turn}{lines.again(told.attempt)}", _whole(told.text, told))
            case "tool_call":
                self._called.add(told.call)
                yield Line(told.at, "call", told.tool, _whole(lines.shown(told.arguments), told))
            case "tool_result" if told.call in self._called:
                self._called.discard(told.call)
                if not (trouble and trouble.at == told.at and trouble.what == told.tool):  # it was just told
                    text = f"{told.tool} {told.state}{lines.again(told.attempt)}"
                    yield Line(told.at, "result", text, _whole(told.content, told))
            case "approval" if told.what == "asked":
                yield _asked(told)
            case "approval" if told.what == "decided":
                yield lines.decided(told.at, approve=told.approve is True, by=told.by, note=told.note)
            case "trouble" if not told.tried_again or told.what == "the run":
                self._trouble = told
                yield Line(told.at, "trouble", f"{told.what}: {told.why}")
            case "done":
                summary = "" if told.summary == self._last_said else _whole(told.summary, told)
                yield lines.ended(told.at, told.status, told.reason, summary)
            case _:
                pass  # nothing that a line tells, or of a later version


def _asked(told: Happening) -> Line:
    if told.kind not in _KINDS or told.until is None:
        return Line(told.at, "waiting", "waits for a person", told.unreadable)
    asked = Waiting(
        kind=cast("Any", told.kind),
        id=told.question,
        toolkit=told.toolkit,
        tool=told.tool,
        arguments=told.arguments,
        link=told.link,
        since=told.since or told.at,
        until=told.until,
    )
    line = lines.asked(told.at, asked)
    return Line(line.at, line.kind, line.text, line.detail if told.link else _whole(line.detail, told))


def _whole(text: str, told: Happening) -> str:
    """A detail that says if something is missing in it."""
    if told.unreadable:
        return f"{text}{' ' if text else ''}({told.unreadable})"
    return f"{text}…" if told.clipped else text
