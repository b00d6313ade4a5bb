"""What a caller is told of a run while it goes on, one thing at a time: the values, their order, their size.

Pure. Nothing here knows Temporal. Whatever came from a model, a tool or a failure is cut to a stated length
and loses what looks like a secret; what failed loses what looks like an address, too.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import Field, JsonValue

from schemas.redaction import redact
from schemas.run import Outcome, Usage
from schemas.value import Value

LONG = 8_000
"""Characters of what a model said or a tool answered, and of all arguments of a call."""
SHORT = 1_000
"""Characters of a reason, a note, a name, and of one text in arguments."""
ANOTHER_VERSION = "it was written by another version of Goalfile"

_DEEPEST, _MOST = 20, 200  # levels, and entries of one of them: what is beyond is left out of arguments
_PLACE = re.compile(r"([0-9]{1,16})-([0-9]{1,10})-([0-9]{1,6})")
# A dotted name is an address only by its end or its port: `limits.cost_usd` and `hello.yaml` are none.
_ENDS = "com|net|org|io|dev|ai|app|cloud|info|biz|edu|gov|co|eu|us|uk|de|fr|ch|at|nl|local|internal|svc|lan|corp|test"
_NAME = r"[a-z0-9_-]+"
_ADDRESS = re.compile(
    rf"""[a-z][a-z0-9+.-]*://[^\s"'<>]+                 # a URL
    | \[[0-9a-f:.]*:[0-9a-f:.]*\](?::\d+)?             # IPv6, as in a URL
    | \b[0-9a-f:]*::[0-9a-f:]+                          # IPv6, shortened
    | \b\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d+)?\b         # IPv4
    | \b[a-z]{_NAME}(?:\.{_NAME})*:\d{{4,5}}\b           # a host with its port
    | \b(?:{_NAME}\.)+(?:{_ENDS}|example|invalid)\b(?::\d+)?""",
    re.IGNORECASE | re.VERBOSE,
)


class Place(NamedTuple):
    """Where something stands in the story of a run: what comes later is greater.

    A chapter is named by the time at which it began (milliseconds), so that its name holds when earlier ones are
    kept no longer, and when somebody sets the run back: that begins a chapter as well.
    """

    chapter: int
    event: int
    number: int

    def __str__(self) -> str:
        """As a caller sees it and hands it back."""
        return f"{self.chapter}-{self.event}-{self.number}"


def place_of(said: str) -> Place:
    """What a caller handed back. Raises ValueError for what we never handed out."""
    found = _PLACE.fullmatch(said)
    if found is None:
        raise ValueError("not a place in a run")
    return Place(*map(int, found.groups()))


class Happening(Value):
    """One thing that happened in a run."""

    id: str = Field(
        default="", description="As Last-Event-ID: go on after this. Empty for what is not in the run's history"
    )
    at: datetime = Field(description="UTC")
    clipped: bool = Field(default=False, description="Something here is longer than it is told")
    unreadable: str = Field(default="", description="Why parts are missing, if what is stored cannot be read here")


class StatusTold(Happening):
    """The run is on its way, waits, or was asked to stop. How it ended is told by `done`."""

    event: Literal["status"] = "status"
    what: Literal["started", "changed", "cancel_requested", "tried_again", "set_back"] = Field(
        description="`set_back`: an operator reset the run, and what follows replaces what was told from there on"
    )
    status: Literal["queued", "running", "waiting"]
    task: str = Field(default="", description="With `started`, as the two below; empty: a goal without a file")
    source: str = Field(default="", description="The task's file, below the tasks root")
    trigger: str = ""


class TurnTold(Happening):
    """The model has spoken."""

    event: Literal["turn"] = "turn"
    turn: int | None = None
    attempt: int = 1
    text: str = Field(default="", description=f"At most {LONG} characters")
    stop_reason: str = ""
    model: str = ""
    tools: tuple[str, ...] = Field(default=(), description="Names of the tools that it wants called")
    sums_up: bool = Field(default=False, description="It summed up a long conversation, which begins anew with this")
    usage: Usage | None = None


class CallTold(Happening):
    """A tool is called."""

    event: Literal["tool_call"] = "tool_call"
    call: str = Field(description="As the model names it; the result has the same")
    tool: str
    toolkit: str = ""
    effect: str = Field(default="", description="read, idempotent, write or destructive")
    arguments: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue], description=f"Each text up to {SHORT} characters, or empty above {LONG}"
    )


class ResultTold(Happening):
    """What came of a call. One that the run refused before it was made has a result alone."""

    event: Literal["tool_result"] = "tool_result"
    call: str
    tool: str = ""
    state: str = Field(
        description="done, refused, denied, not_run, unknown (nobody knows whether it took effect) or unreadable"
    )
    content: str = Field(default="", description=f"At most {LONG} characters")
    attempt: int = 1


class ApprovalTold(Happening):
    """A person is asked something, has decided, or is asked no longer."""

    event: Literal["approval"] = "approval"
    what: Literal["asked", "decided", "closed"] = Field(
        description="`closed` without `decided` before it: connected by now, or nobody answered in time"
    )
    question: str = Field(description="What a decision names")
    kind: str = Field(default="", description="approval, unknown (whether to make the call again) or connection")
    toolkit: str = ""
    tool: str = ""
    arguments: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    fingerprint: str = ""
    why: str = ""
    link: str = ""
    since: datetime | None = None
    until: datetime | None = None
    approve: bool | None = Field(default=None, description="With `decided`")
    by: str = ""
    note: str = ""


class TroubleTold(Happening):
    """Something failed. The run goes on where it can, and what came of that is told next."""

    event: Literal["trouble"] = "trouble"
    what: str = Field(description="A turn, a tool, `opening the run`, `the run`, or `this stream`")
    why: str
    tried_again: bool = False


class DoneTold(Happening):
    """The run has ended. Nothing follows."""

    event: Literal["done"] = "done"
    status: Outcome
    reason: str = ""
    summary: str = Field(default="", description=f"At most {LONG} characters")
    cost_usd: float | None = None
    usage: Usage | None = None


Told = StatusTold | TurnTold | CallTold | ResultTold | ApprovalTold | TroubleTold | DoneTold


class HappeningList(Value):
    """What happened in a run so far, or the next part of it."""

    data: tuple[Annotated[Told, Field(discriminator="event")], ...]
    next: str | None = Field(description="Send it as Last-Event-ID to go on; null once `done` was told")


class Cut:
    """Makes values fit to be told, and remembers whether something was left out."""

    def __init__(self) -> None:
        self.clipped = False

    def text(self, said: object, limit: int = SHORT) -> str:
        """A text without secrets, half characters and what is beyond the limit; empty for what is no text."""
        if not isinstance(said, str):
            return ""
        shown = redact(said.encode(errors="replace").decode(), ())
        self.clipped = self.clipped or len(shown) > limit
        return shown[:limit]

    def arguments(self, said: object) -> dict[str, JsonValue]:
        """Arguments of a call, each text cut; none if they are long all the same."""
        shown = self._tidy(said, 0) if isinstance(said, Mapping) else {}
        if _length(shown) > LONG:
            self.clipped, shown = True, {}
        return cast("dict[str, JsonValue]", shown)

    def _tidy(self, said: Any, depth: int) -> JsonValue:
        match said:
            case None | bool():
                return said
            case str():
                return self.text(said)
            case int():
                return said if said.bit_length() <= 64 else self._left_out()
            case float():
                return said if math.isfinite(said) else None
            case dict() | list() if depth >= _DEEPEST or len(cast("list[Any]", said)) > _MOST:
                return self._left_out()
            case dict():
                items = cast("dict[Any, Any]", said).items()
                return {self.text(str(key)): self._tidy(value, depth + 1) for key, value in items}
            case list():
                return [self._tidy(value, depth + 1) for value in cast("list[Any]", said)]
            case _:
                return self._left_out()

    def _left_out(self) -> None:
        self.clipped = True


def without_addresses(said: str) -> str:
    """What failed, without the names of the machines that it failed at."""
    return _ADDRESS.sub("[address]", said)


def _length(said: JsonValue) -> int:
    match said:
        case str():
            return len(said)
        case dict():
            return sum(len(key) + _length(value) + 2 for key, value in said.items())
        case list():
            return sum(_length(value) + 1 for value in said)
        case _:
            return 8
