"""What a person does with runs, and what is answered: the port of the commands, whichever way a server is reached.

`runner.near` goes to Temporal itself; `runner.afar` to a gateway, with nothing but its address and a key. The
commands print the same of either. Nothing heavy is loaded here, and nothing here knows a protocol of the wire.
"""

import difflib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from runner.exits import Failed
from runner.lines import Line
from schemas import wire
from schemas.catalog import Catalog
from schemas.inputs import settle_inputs
from schemas.run import RunResult, Source, Waiting
from schemas.stop import Stopped
from schemas.task import Task


@dataclass(frozen=True)
class Run:
    """One run in a list."""

    id: str
    task: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    reason: str = ""


class BadInputs(Exception):  # noqa: N818 - it reads as an answer
    """What a run was given does not fit its task."""


class NoSuchRun(Exception):  # noqa: N818 - it reads as an answer
    """No run has that id, or more than one begins with it."""


@dataclass(frozen=True)
class Open:
    """One open question of one run."""

    run: str
    task: str
    waiting: Waiting


class NoSuchQuestion(Exception):  # noqa: N818 - it reads as an answer
    """Nothing of that id waits, or more than one thing does."""


class Refused(Exception):  # noqa: N818 - it reads as an answer
    """The run did not take the decision, and says why."""


class NobodyThere(Exception):  # noqa: N818 - it reads as an answer
    """No worker took the decision in time. The server may hand it to one that comes later."""

    def __init__(self, within: float) -> None:
        super().__init__(
            f"no worker took it within {within:g} seconds; it may still be taken when one comes. Start one, or let "
            "yours scale up, and look at `goalfile approvals` before you say it again"
        )


@dataclass(frozen=True)
class Scheduled:
    """One task's schedule, as far as pausing it goes."""

    name: str
    paused: bool
    note: str
    off: str = ""
    """Why its file keeps it from running by itself, if so."""


@dataclass(frozen=True)
class Changed:
    """What came of one task: `paused` or `resumed`, or how it was before; `note` says who and why, or what to do."""

    name: str
    state: str
    note: str = ""


class NotKept(Exception):  # noqa: N818 - it reads as a state
    """The server took a change again and again and did not make it. The message says what to do."""


class Way(Protocol):
    """A server with runs on it. What it refuses or cannot do, and nobody below names, is a Failed with its code."""

    def catalog(self, path: Path) -> Catalog | None:
        """What a task file is held against here, before it is sent; None leaves that to the server."""
        ...

    async def start_task(self, name: str, given: Mapping[str, str]) -> str:
        """Start a run of a task that the server knows; its id. Raises BadInputs."""
        ...

    async def start_goal(self, task: Task, source: Source, given: Mapping[str, str]) -> str:
        """Start a run of a file as it stands, or of a goal; its id. Raises BadInputs."""
        ...

    async def runs(self, limit: int, task: str = "") -> Sequence[Run]:
        """The newest runs first. ValueError: that is no task's name."""
        ...

    async def find(self, given: str) -> Run:
        """The run with this id, or the only one that begins with it. Raises NoSuchRun."""
        ...

    def follow(self, run: Run, *, wait: bool) -> AsyncGenerator[Line]:
        """What happened in a run, in order; with `wait`, also what happens until it ends."""
        ...

    async def result(self, run: Run) -> RunResult | None:
        """How an ended run ended; None while it lives."""
        ...

    async def cancel(self, run: Run) -> None:
        """Ask a run to stop; a write in flight is finished first."""
        ...

    async def retry(self, run: Run) -> str:
        """Start an ended run once more, as its task was then; the id of the new one."""
        ...

    async def questions(self, task: str = "") -> list[Open]:
        """Everything that waits for a person, the longest first. ValueError: that is no task's name."""
        ...

    async def decide(self, question: Open, *, approve: bool, note: str, within: float) -> None:
        """Say a word to exactly what was shown. Raises NoSuchQuestion, Refused, or NobodyThere after `within` s."""
        ...

    async def recheck(self, run: Run) -> None:
        """Have a run that waits for a connection look again."""
        ...

    async def task_names(self) -> Sequence[str]:
        """The names of all tasks, as far as they can be had: to tell what was meant."""
        ...

    async def scheduled(self, name: str) -> Scheduled | None:
        """How a task stands; None if there is none of that name."""
        ...

    async def pause(self, found: Scheduled, reason: str) -> Changed:
        """Pause a task. Raises NotKept."""
        ...

    async def resume(self, found: Scheduled) -> Changed:
        """Resume a task. Raises NotKept."""
        ...

    async def stop(self, reason: str) -> tuple[Stopped, bool]:
        """Stop everything: the stop that is on now, and whether it is this one."""
        ...

    async def release(self) -> Stopped | None:
        """Release the stop of everything: the one that was on, or None."""
        ...


def settled(task: Task, given: Mapping[str, str]) -> dict[str, JsonValue]:
    """What a run of this task gets. Raises BadInputs."""
    try:
        return settle_inputs(task, given)
    except ValueError as error:
        raise BadInputs(str(error)) from error


def meant(given: str, beginning: Sequence[Run], among: str = "") -> Run:
    """The only one of these runs, which all begin so. Raises NoSuchRun."""
    if len(beginning) == 1:
        return beginning[0]
    if beginning:
        raise NoSuchRun(f"more than one run begins with `{given}`, such as {beginning[0].id} and {beginning[1].id}")
    raise NoSuchRun(f"there is no run `{given}`{among}; `goalfile ps` lists the latest")


def find_question(given: str, asked: list[Open]) -> Open:
    """The open question whose id begins so, or that of the run which is named. Raises NoSuchQuestion."""
    if not given:
        raise NoSuchQuestion("name what is decided: an empty id would fit everything")
    exact = [each for each in asked if given in (each.waiting.id, each.run)]
    found = exact or [each for each in asked if each.waiting.id.startswith(given) or each.run.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(each.run if each.waiting.kind == "connection" else each.waiting.id for each in found[:5])
        raise NoSuchQuestion(f"`{given}` may be more than one: {ids}")
    raise NoSuchQuestion(f"nothing waits under `{given}`; `goalfile approvals` lists what does")


def check_open(asked: Waiting, now: datetime) -> None:
    """Raises NoSuchQuestion if the time of a question is over."""
    if now >= asked.until:
        raise NoSuchQuestion(f"the time of {asked.id} is over")


def off_in_file(name: str, task: Task | None, path: str, *, paused: bool, note: str) -> str:
    """Why a task does not run by itself whatever anybody says at a keyboard; nothing if it does."""
    if task and not task.cron:
        return f"it has no cron: it runs only when asked, with `goalfile run {name}`"
    if (task and not task.enabled) or (paused and note == wire.DISABLED):
        return f"{wire.DISABLED}: change `enabled` in {path or 'its file'}, and sync"
    return ""


def unknown_task(name: str, names: Sequence[str], more: str = "") -> Failed:
    """That the server knows no task of that name, with the one that may have been meant."""
    close = difflib.get_close_matches(name, names, n=1)
    known = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(sorted(names)[:20]) or 'none yet'}"
    return Failed(f"the server knows no task named `{name}`{more}; {known}")
