"""What a run needs from the outside, and the two ways in which the outside can fail.

Three small protocols, the values that cross them, and nothing that knows a vendor. Whether an error is
permanent or transient is decided by the adapter, where the vendor is known; nobody decides it again.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from schemas.run import Notice, Usage

Effect = Literal["read", "idempotent", "write", "destructive"]
"""What calling a tool does to the world. `write` is the pessimistic default."""

CallState = Literal["done", "refused", "unknown", "not_run", "denied"]
"""How a call ended. `refused`: the tool said no. `not_run`: provably never happened.
`denied`: a person did not allow it, so it was not made."""

Block = dict[str, Any]
"""One content block of the Messages API, kept verbatim."""


@dataclass(frozen=True)
class Tool:
    """One tool as the model is shown it. `name` is legal for the model: `[A-Za-z0-9_-]{1,64}`."""

    name: str
    toolkit: str
    description: str
    input_schema: dict[str, Any]
    effect: Effect = "write"


@dataclass(frozen=True)
class Message:
    """One turn of the conversation, in the shape of the Messages API."""

    role: Literal["user", "assistant"]
    content: tuple[Block, ...]


@dataclass(frozen=True)
class Question:
    """One model call, complete: the same question may be asked twice without harm but cost.

    `may_call=False` offers the tools (the cache depends on them) but forbids calling one.
    """

    system: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    may_call: bool = True
    model: str | None = None
    max_tokens: int = 8192


@dataclass(frozen=True)
class Reply:
    """What the model said: content blocks verbatim, and why it stopped, in the API's own word."""

    content: tuple[Block, ...]
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    model: str = ""
    explanation: str = ""
    lost: int = 0
    """Earlier tries of the same question that may be billed although nobody heard their answer."""
    output: Any = None
    """The structured result in it, if the task wants one and it fits."""
    output_fault: str = ""
    """Why it is no structured result of the kind that the task wants."""

    @property
    def text(self) -> str:
        """The text blocks, joined."""
        return "\n".join(b["text"] for b in self.content if b.get("type") == "text" and b.get("text"))

    @property
    def uses(self) -> tuple[Block, ...]:
        """The tool_use blocks, in order: `{id, name, input}`."""
        return tuple(b for b in self.content if b.get("type") == "tool_use")


@dataclass(frozen=True)
class ToolCall:
    """One call of one tool. `effect_id` is made by the runtime, the same over replay and retry."""

    id: str
    tool: str
    toolkit: str
    effect: Effect
    arguments: dict[str, Any]
    effect_id: str
    run_as: str | None = None
    approved: str = ""
    """Fingerprint of the tool and arguments that a person approved; without it nothing destructive is sent."""
    of: tuple[str, str] | None = None
    """Workflow and run id of the run that a write is made for, in a workflow of its own."""


@dataclass(frozen=True)
class Missing:
    """A toolkit that is not connected for a user. `link` is where a person connects it, if anybody knows."""

    toolkit: str
    link: str = ""


@dataclass(frozen=True)
class ToolResult:
    """What came of a call, as text for the model. Content is clipped before it gets here."""

    call_id: str
    state: CallState
    content: str


class PermanentError(Exception):
    """Trying again cannot help: a bad key, an unknown model, a request the vendor rejects.

    The message names the cause and what to do about it, and holds no secret.
    """


class TransientError(Exception):
    """Trying again may help: overload, a lost connection, a time-out.

    `retry_after` is the vendor's own wish in seconds. `sent` is False only when it is proven that
    nothing reached the vendor's tool, so that even a write may be tried again; of a model, that the
    question was not billed.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, sent: bool = True) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.sent = sent


class Model(Protocol):
    """Something that thinks. Raises PermanentError or TransientError, never a vendor's exception."""

    async def ask(self, question: Question) -> Reply:
        """Answer one question. Does not retry: Temporal does."""
        ...


class Toolkits(Protocol):
    """Something that acts. Raises PermanentError or TransientError, never a vendor's exception."""

    async def tools(self, toolkits: tuple[str, ...], run_as: str | None) -> tuple[Tool, ...]:
        """Every tool of these toolkits, in a stable order. An unknown toolkit is a PermanentError."""
        ...

    async def missing(
        self, toolkits: tuple[str, ...], run_as: str | None, *, links: bool = True
    ) -> tuple[Missing, ...]:
        """Those of these toolkits that are not connected for the user, each with a link to connect it.

        `links=False` only looks: a link is made where the connection is to be, and stays there for a while.
        """
        ...

    async def call(self, call: ToolCall) -> ToolResult:
        """Make one call, once. Returns `done` or `refused`; raises when it cannot tell.

        PermanentError: the call never happened and never will (no connection, bad key).
        TransientError: it did not happen (`sent=False`), or nobody knows (`sent=True`).
        """
        ...


class Notifier(Protocol):
    """Something that tells people. Raises PermanentError or TransientError, never a vendor's exception."""

    async def send(self, channel: str, notice: Notice) -> None:
        """Tell one channel of the server's configuration, once. An unknown channel is a PermanentError."""
        ...


class Shelf(Protocol):
    """Somewhere to keep a text that is too long for history."""

    async def keep(self, run: str, call: str, text: str) -> str:
        """Keep it, and return the name it has there; nothing if it could not be kept."""
        ...


class StopSwitch(Protocol):
    """Whether a person has stopped everything."""

    async def stopped(self) -> Any:
        """Who stopped it and why, in words; None if nobody did. Raises TransientError if nobody can tell."""
        ...
