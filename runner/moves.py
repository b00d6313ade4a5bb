"""What the agent wants done next. A move crosses into history: old ones must stay readable."""

from dataclasses import dataclass
from typing import Any, Literal

from runner import budget
from runner.ports import Message, ToolCall
from schemas.run import Outcome


@dataclass(frozen=True)
class Ask:
    """Ask the model. `new` are only the messages since its last reply: the rest is in history.

    `last` names the limit that was reached: then no tool may be called and the run stops after it.
    `sum_up` asks for what a new conversation begins with, for the same run.
    """

    turn: int
    system: str
    new: tuple[Message, ...]
    model: str | None = None
    last: str = ""
    sum_up: bool = False
    max_tokens: int = budget.ANSWER_TOKENS
    tries: int | None = None
    """How many tries of it the dollars that are left pay for, heard or not; None: there is no cap."""


@dataclass(frozen=True)
class Calls:
    """Make these calls; they may run side by side."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True)
class Person:
    """Ask a person about each of these calls. `unknown`: it may have taken effect; ask whether to make it again."""

    kind: Literal["approval", "unknown"]
    calls: tuple[ToolCall, ...]
    why: str = ""


@dataclass(frozen=True)
class NewChapter:
    """Go on in a new history: everything that matters is in this value."""


@dataclass(frozen=True)
class Finish:
    """The run is over. `hopeless`: it failed in a way that another try cannot mend."""

    outcome: Outcome
    reason: str = ""
    summary: str = ""
    output: Any = None
    hopeless: bool = False


Move = Ask | Calls | Person | NewChapter | Finish
