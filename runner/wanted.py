"""What the task files say, taken together: the valid tasks by name, and every problem of every file.

Pure. A file that is there but wrong is not a file that is gone: it holds its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.files import TaskFile
from schemas.catalog import Catalog
from schemas.inputs import settle_inputs
from schemas.load import Defaults, load_defaults, load_task, stem
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
    """Names whose file, or whose defaults, are there but wrong: their schedules stay as they are."""
    hidden: tuple[str, ...] = ()
    """Files that do not even tell their name: while there is one, anything missing may be its."""
    empty: bool = False
    """True when there was not one task file."""
    wrong: frozenset[str] = frozenset()
    """The files, below the tasks folder, that say something that cannot be done."""
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """The files that tell each name, right or wrong; one that hides its name counts by its own."""


def read_wanted(files: Sequence[TaskFile], catalog: Catalog | None = None) -> Wanted:
    """Read every file, each with the defaults above it; two files of one name hold that name.

    With a server's `catalog`, names that it does not know are problems too.
    """
    defaults = read_defaults(files, catalog)
    tasks = [file for file in files if not file.is_defaults]
    requests: dict[str, RunRequest] = {}
    problems = [problem for each in defaults.values() for problem in each.problems]
    paths: dict[str, tuple[str, ...]] = {}
    held: set[str] = set()
    hidden: list[str] = []
    for file in tasks:
        path = file.path
        loaded = load_task(file.raw, path, above(file, defaults), catalog, file.folder)
        problems.extend(loaded.problems)
        if loaded.name is None:
            hidden.append(path)
            continue
        others = paths.get(loaded.name, ())
        paths[loaded.name] = (*others, path)
        if others:
            message = f"two tasks are named `{loaded.name}`"
            help_ = f"the other one is {others[0]}; rename one file, or give it a `name`"
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
    for name in held:
        requests.pop(name, None)
    for path in hidden:
        paths.setdefault(stem(path), (path,))
    bad = {problem.file for problem in problems if problem.severity == "error"}
    wrong = frozenset(_below(file) for file in tasks if file.path in bad)
    told = tuple(dict.fromkeys(problems))  # tasks that share a contradiction in their defaults tell it once
    return Wanted(requests, told, frozenset(held), tuple(hidden), empty=not tasks, wrong=wrong, paths=paths)


def _below(file: TaskFile) -> str:
    name = file.path.rpartition("/")[2]
    return f"{file.folder}/{name}" if file.folder else name


def read_defaults(files: Sequence[TaskFile], catalog: Catalog | None = None) -> dict[tuple[str, str], Defaults]:
    """Every `_defaults.yaml` among the files, by root and folder."""
    return {
        (file.root, file.folder): load_defaults(file.raw, file.path, catalog, file.folder)
        for file in files
        if file.is_defaults
    }


def above(file: TaskFile, defaults: Mapping[tuple[str, str], Defaults]) -> tuple[Defaults, ...]:
    """The defaults that apply to a file, the outermost first; `defaults` are known by root and folder."""
    if not defaults:
        return ()
    parts = file.folder.split("/") if file.folder else []
    line = ["/".join(parts[:end]) for end in range(len(parts) + 1)]
    return tuple(defaults[file.root, each] for each in line if (file.root, each) in defaults)
