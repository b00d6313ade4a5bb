"""A run: what it is asked, how far it is, how it ended.

Statuses are the product's words. How Temporal names the same thing is nobody's business but the
code that talks to Temporal.
"""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from schemas.task import Task
from schemas.value import Value

Outcome = Literal["succeeded", "failed", "stopped", "cancelled"]
Status = Literal["queued", "running", "waiting", "succeeded", "failed", "stopped", "cancelled"]
ENDED: frozenset[str] = frozenset({"succeeded", "failed", "stopped", "cancelled"})
StepState = Literal["running", "done", "refused", "unknown", "not_run", "denied"]


class Source(Value):
    """Where a task came from: its file below the tasks root, and the digest of what it said."""

    path: str = ""
    digest: str = ""
    revision: str = ""


class RunRequest(Value):
    """Everything a run needs, frozen: an edit of the file never changes a run in flight."""

    task: Task
    inputs: dict[str, JsonValue] = Field(default_factory=dict)
    source: Source = Source()
    trigger: Literal["schedule", "cli", "http"] = "schedule"
    carried: JsonValue = None
    """What a long run takes along into a new history: the runner's own, nobody else reads it."""


class Usage(Value):
    """Tokens of one model turn or of a whole run. Prompt size = input + cache_read + cache_write."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total(self) -> int:
        """Every token the model read or wrote."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )


class Waiting(Value):
    """One thing that a run waits for a person to do.

    `approval`: a call that may only be made with a person's word. `unknown`: a call of which nobody knows
    whether it took effect; to approve it is to have it made again. `connection`: a toolkit that is not
    connected for the run's user; `link` is where to connect it.
    """

    kind: Literal["approval", "unknown", "connection"]
    id: str
    """What a decision names: the id of the effect, or the toolkit."""
    toolkit: str = ""
    tool: str = ""
    arguments: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    fingerprint: str = ""
    """Of tool and arguments: a decision holds for exactly these."""
    why: str = ""
    link: str = ""
    since: datetime
    until: datetime


class Decision(Value):
    """A person's word on one thing that a run waits for. It is used once, for exactly what it names."""

    id: str
    fingerprint: str
    approve: bool
    by: str = ""
    note: str = ""


class Effect(Value):
    """One write that a run meant to make, as the ledger keeps it. `at` and `ended_at` are UTC.

    `state` is `running` while the call is in flight; `unknown` means that nobody knows.
    """

    id: str
    run: str
    task: str
    tool: str
    toolkit: str = ""
    fingerprint: str = ""
    arguments: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    state: StepState = "running"
    at: datetime
    ended_at: datetime | None = None


NoticeKind = Literal[
    "run.succeeded", "run.failed", "run.stopped", "run.cancelled", "run.waiting", "run.recovered", "schedule.paused"
]


class Notice(Value):
    """What is told to a channel. It holds no secret and no full tool result."""

    id: str
    """The same when it is sent again: receivers may drop what they have seen."""
    type: NoticeKind
    at: datetime
    task: str
    run: str
    reason: str = ""
    summary: str = ""
    output: JsonValue = None
    in_a_row: int = 0
    """Equal failures in a row, this one included."""
    unknown: tuple[str, ...] = ()
    """Tools whose call may or may not have taken effect."""
    waiting: tuple[Waiting, ...] = ()
    cost_usd: float | None = None
    link: str = ""


class Step(Value):
    """One model turn or one tool call, as a person follows it. Times are UTC."""

    kind: Literal["turn", "call"]
    name: str
    state: StepState = "running"
    started_at: datetime
    ended_at: datetime | None = None


class Progress(Value):
    """How far a living run is; the answer to the `progress` query."""

    status: Status
    reason: str = ""
    turns: int = 0
    calls: int = 0
    usage: Usage = Usage()
    cost_usd: float | None = None
    steps: tuple[Step, ...] = ()
    waiting: tuple[Waiting, ...] = ()


class RunResult(Value):
    """How a run ended.

    `reason` says why in one line; `summary` is the model's own last word; `cost_usd` is None when no
    price is known, never a guess. `in_a_row` counts equal failures of the task's scheduled runs, this
    one included; `note` is what the next run of the task is given.
    """

    status: Outcome
    reason: str = ""
    summary: str = ""
    output: JsonValue = None
    steps: tuple[Step, ...] = ()
    usage: Usage = Usage()
    cost_usd: float | None = None
    in_a_row: int = 0
    note: str = ""
    started_at: datetime
    ended_at: datetime
