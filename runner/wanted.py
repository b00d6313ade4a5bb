"""What the task files say, taken together: the valid tasks by name, and every problem of every file.

Pure. A file that is there but wrong is not a file that is gone: it holds its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.inputs import settle_inputs
from schemas.load import load_task
from schemas.problem import Problem
from schemas.run import RunRequest, Source
from schemas.wire import digest


@dataclass(frozen=True)
class Wanted:
    """What the files say."""

    requests: Mapping[str, RunRequest]
    """The valid tasks by name."""
    problems: tuple[Problem, ...] = ()
    held: frozenset[str] = frozenset()
    """Names whose file is there but wrong: their schedules stay as they are."""
    hidden: tuple[str, ...] = ()
    """Files that do not even tell their name: while there is one, anything missing may be its."""
    empty: bool = False
    """True when there was not one task file."""


def read_wanted(files: Sequence[tuple[str, bytes]]) -> Wanted:
    """Read every file; two files of one name hold that name."""
    requests: dict[str, RunRequest] = {}
    problems: list[Problem] = []
    first: dict[str, str] = {}
    held: set[str] = set()
    hidden: list[str] = []
    for path, raw in files:
        loaded = load_task(raw, path)
        problems.extend(loaded.problems)
        if loaded.name is None:
            hidden.append(path)
            continue
        if loaded.name in first:
            message = f"two tasks are named `{loaded.name}`"
            help_ = f"the other one is {first[loaded.name]}; rename one file, or give it a `name`"
            problems.append(Problem(code="duplicate-name", message=message, file=path, help=help_))
            held.add(loaded.name)
        elif loaded.task is None:
            held.add(loaded.name)
        else:
            task = loaded.task
            # A task without cron may have inputs that only a person can give, when they start it.
            inputs = settle_inputs(task, {}) if task.cron else {}
            source = Source(path=path, digest=digest(task, path))
            requests[task.name] = RunRequest(task=task, inputs=inputs, source=source)
        first.setdefault(loaded.name, path)
    for name in held:
        requests.pop(name, None)
    return Wanted(requests, tuple(problems), frozenset(held), tuple(hidden), empty=not files)
