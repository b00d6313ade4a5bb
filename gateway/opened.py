"""Payloads of a history, opened, and read by the names of their fields; and what a failure in it says.

The runner's own types are unknown here, and what is stored may be of any version of them: nothing is taken
for granted, and nothing raises. Of a failure only what our own worker wrote for people is repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import TimeoutType
from temporalio.api.failure.v1 import Failure

from gateway.happenings import ANOTHER_VERSION, Cut, without_addresses
from schemas import wire
from schemas.run import Usage

_FOR_PEOPLE = frozenset({"PermanentError", "TransientError", "Spent"})
"""Types of failures whose words the runner wrote for people. Those of any other are for its log."""
_DEEPEST = 5  # failures within a failure


@dataclass(frozen=True)
class Unreadable:
    """Stands for a payload that cannot be opened here, and says why."""

    why: str = ANOTHER_VERSION


class Said:
    """One opened payload, read by field names. `why` is set once something is not there as expected."""

    def __init__(self, opened: object = None) -> None:
        self.why = opened.why if isinstance(opened, Unreadable) else ""
        self.cut = Cut()
        self.whole: Mapping[str, Any] = cast("dict[str, Any]", opened) if isinstance(opened, dict) else {}
        if not isinstance(opened, dict | Unreadable | None):
            self.why = ANOTHER_VERSION

    def text(self, name: str, limit: int | None = None, *, must: bool = False) -> str:
        """A text, cut; a field that must be there and is not, is of another version."""
        said = self.whole.get(name)
        if not isinstance(said, str) and (must or said is not None):
            self.why = self.why or ANOTHER_VERSION
        return self.cut.text(said, limit) if limit else self.cut.text(said)

    def number(self, name: str) -> int | None:
        said = self.whole.get(name)
        return said if isinstance(said, int) and not isinstance(said, bool) and said.bit_length() < 64 else None

    def part(self, name: str) -> "Said":
        part = Said(self.whole.get(name))
        part.cut = self.cut
        return part

    def parts(self, name: str) -> list[Mapping[str, Any]]:
        said = self.whole.get(name)
        return [each for each in cast("list[Any]", said) if isinstance(each, dict)] if isinstance(said, list) else []

    def usage(self) -> Usage | None:
        try:
            return Usage.model_validate(self.whole.get("usage"))
        except ValidationError:
            return None

    @property
    def told(self) -> dict[str, Any]:
        """What every happening says of how it was read. Ask for it last."""
        return {"clipped": self.cut.clipped, "unreadable": self.why}


@dataclass
class Step:
    """Something that was begun: which activity, what it was given, and how often it was tried."""

    name: str
    given: Said
    attempt: int = 1

    @property
    def what(self) -> str:
        """Its name in a person's words."""
        if self.name == wire.ASK_MODEL:
            turn = self.given.number("turn")
            return "a turn" if turn is None else f"turn {turn}"
        if self.name == wire.CALL_TOOL:
            return self.given.text("tool") or "a tool"
        return "opening the run" if self.name in (wire.OPEN_RUN, wire.LIST_TOOLS) else "the run"


def _failures(failure: Failure) -> list[Failure]:
    """A failure and those that it came of, outermost first."""
    found = [failure]
    while found[-1].HasField("cause") and len(found) < _DEEPEST:
        found.append(found[-1].cause)
    return found


def sealed_in(failure: Failure) -> list[Payload]:
    """With keys, what a failure says is in there."""
    return [each.encoded_attributes for each in _failures(failure) if each.HasField("encoded_attributes")]


def why_failed(failure: Failure, opened: Sequence[object]) -> str:
    """What failed, in our words."""
    hidden = iter(opened)
    words: list[str] = []
    for each in _failures(failure):
        said = Said(next(hidden, None)) if each.HasField("encoded_attributes") else Said({"message": each.message})
        match each.WhichOneof("failure_info"):
            case "timeout_failure_info":
                lost = each.timeout_failure_info.timeout_type == TimeoutType.TIMEOUT_TYPE_HEARTBEAT
                words.append("the worker was lost in the middle of it" if lost else "it took too long")
            case "application_failure_info":
                words.append(_of_our_worker(each.application_failure_info.type, said))
            case "canceled_failure_info":
                words.append("it was cancelled")
            case "terminated_failure_info":
                words.append("it was ended in Temporal")
            case _:
                pass  # a wrapping that only says where it happened
    return "; before that: ".join(words) or "it failed, and Temporal does not say why"


def _of_our_worker(kind: str, said: Said) -> str:
    if kind == "WorkerShutdown":
        return "the worker was stopped in the middle of it"
    if kind not in _FOR_PEOPLE:
        return "something unforeseen went wrong; the worker's log says what"
    return without_addresses(said.text("message")) or f"why cannot be read here: {said.why or ANOTHER_VERSION}"
