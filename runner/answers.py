"""What a gateway answers, as far as the commands need it. It may say more: it may be of a later version.

What goes into a path, or to a terminal as it is, has to be what such a thing looks like; all other text is shown by
`runner.show`, which trusts none of it.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field, JsonValue

from runner.ways import Run
from schemas.run import Source, Status, Step, Usage, Waiting
from schemas.stop import Stopped
from schemas.task import Task
from schemas.value import Value

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]


class RunSaid(Value):
    """One run, as a gateway shows it."""

    id: Id
    task: str
    status: Status
    reason: str = ""
    started_at: datetime
    ended_at: datetime | None = None
    usage: Usage | None = None
    steps: tuple[Step, ...] | None = None
    summary: str = ""
    output: JsonValue = None
    cost_usd: float | None = None

    @property
    def run(self) -> Run:
        """As every way shows it."""
        return Run(self.id, self.task, self.status, self.started_at, self.ended_at, self.reason)


class RunsSaid(Value):
    """A part of the list of runs."""

    data: tuple[RunSaid, ...]
    next_cursor: str | None = None


class QuestionSaid(Waiting):
    """One thing that waits for a person."""

    id: Id
    run: Id
    task: str

    @property
    def waiting(self) -> Waiting:
        """As every way shows it."""
        return Waiting.model_validate({name: getattr(self, name) for name in Waiting.model_fields})


class QuestionsSaid(Value):
    """What waits for a person."""

    data: tuple[QuestionSaid, ...]
    complete: bool = True


class Taken(Value):
    """Whether a word was taken."""

    taken: bool


class TaskSaid(Value):
    """One task, as a gateway shows it."""

    name: str
    paused: bool = False
    task: Task
    source: Source = Source()
    note: str = ""


class NameSaid(Value):
    """One task of a list."""

    name: str


class NamesSaid(Value):
    """All tasks."""

    data: tuple[NameSaid, ...]


class StopSaid(Value):
    """Whether everything is stopped."""

    stopped: Stopped | None = None
    changed: bool = False
