"""What a run begins with, and what it takes along into a new history. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from runner.agent import Agent
from runner.ports import Missing, Tool
from schemas.catalog import Maxima
from schemas.prices import Price, price_of
from schemas.run import RunResult, Step
from schemas.task import Limits, Task


@dataclass(frozen=True)
class Opening:
    """What a run begins with, as the worker that opened it knew it. Money, limits and places are the server's."""

    tools: tuple[Tool, ...] = ()
    missing: tuple[Missing, ...] = ()
    """Toolkits that are not connected: then there are no tools yet, and the run waits."""
    limits: Limits = field(default_factory=Limits)
    """The task's, with the server's own where the task names none."""
    price: Price | None = None
    sum_up_at: int | None = None
    pause_after: int | None = None
    url: str = ""
    """Where people reach the gateway."""
    run_id: str = ""
    """Temporal's id of the course in which it was opened: another one now means that the run was reset."""
    before: RunResult | None = None
    """The task's latest ended run, if the task keeps a memory."""


@dataclass(frozen=True)
class Carried:
    """What a run takes along into a new history."""

    agent: Agent | None = None
    steps: tuple[Step, ...] = ()
    started_at: datetime | None = None
    """None: it takes nothing along, for it begins here."""
    waited: timedelta = timedelta()
    tries: int = 1
    reason: str = ""


@dataclass(frozen=True)
class Terms:
    """What a server's owner decides about every run: the default model, what models cost, what is too much."""

    model: str = ""
    """The model of tasks that name none."""
    prices: Mapping[str, Price] = field(default_factory=dict[str, Price])
    """What models cost here, over the list prices that we know."""
    free: bool = False
    """Nothing is paid for: the model is scripted."""
    sum_up_at: int | None = 150_000
    pause_after: int | None = None
    maxima: Maxima = field(default_factory=Maxima)
    """What a task may ask for; also the limit of one that names none."""
    url: str = ""

    def price(self, task: Task) -> Price | None:
        """What the task's model costs; None if nobody knows."""
        return Price(input=0, output=0) if self.free else price_of(task.model or self.model, self.prices)

    def limits(self, task: Task) -> Limits:
        """The task's limits, with the server's own where it names none."""
        own = {"tokens": self.maxima.tokens, "cost_usd": self.maxima.cost_usd}
        missing = {name: value for name, value in own.items() if getattr(task.limits, name) is None}
        return task.limits.model_copy(update=missing)

    def above(self, limits: Limits) -> str:
        """Which limit is above what this server allows, or nothing. It is refused, never cut down silently."""
        for name, most in self.maxima:
            asked = getattr(limits, name)
            if most is not None and asked is not None and asked > most:
                return f"`limits.{name}` is {asked}, and this server allows {most}: ask for less"
        return ""
