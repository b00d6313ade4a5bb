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
StepState = Literal["running", "done", "refused", "unknown", "not_run"]


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
    steps: tuple[Step, ...] = ()


class RunResult(Value):
    """How a run ended.

    `reason` says why in one line; `summary` is the model's own last word; `cost_usd` is None when no
    price is known, never a guess.
    """

    status: Outcome
    reason: str = ""
    summary: str = ""
    output: JsonValue = None
    steps: tuple[Step, ...] = ()
    usage: Usage = Usage()
    cost_usd: float | None = None
    started_at: datetime
    ended_at: datetime
