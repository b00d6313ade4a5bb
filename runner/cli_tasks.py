"""The commands about one task file or none: show it, write it, set a repository up for it.

Shells around `runner.effective` and `runner.starter`; they read, write and print, nothing else.
"""

import json
import os
import re
import sys
import textwrap
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from runner import effective, show, starter
from runner.exits import Failed
from runner.files import SourceUnavailable, TaskFile, read_alone, scan
from runner.wanted import above, read_defaults, read_wanted
from runner.words import WordsError, to_cron
from schemas.catalog import Catalog
from schemas.export import FILES, schema_text
from schemas.load import DEFAULTS_FILE
from schemas.problem import Problem
from schemas.shape import closest
from schemas.task import Task

_YAML = (".yaml", ".yml")
_NAME = r"([a-z0-9][a-z0-9._-]*/){0,7}[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"


@dataclass(frozen=True)
class Draft:
    """What a person says of a new task; empty is left out of the file."""

    name: str
    goal: str | None
    toolkit: tuple[str, ...]
    cron: tuple[str, ...]
    timezone: str
    notify: tuple[str, ...]
    description: str


def show_task(name: str, root: Path, catalog: Catalog | None, *, as_json: bool) -> None:
    """`goalfile show`. NAME is a task's name, or the path of its file."""
    files = _read(name, root)
    wanted = read_wanted(files, catalog)
    by_path = {path: told for told, paths in wanted.paths.items() for path in paths}
    name = by_path.get(files[-1].path, name) if name.endswith(_YAML) else name
    paths = wanted.paths.get(name)
    if paths is None:
        meant = closest(name, list(wanted.paths))
        hint = f"did you mean `{meant}`?" if meant else f"known: {', '.join(sorted(wanted.paths)[:20]) or 'none'}"
        raise Failed(f"{root} holds no task named `{name}`; {hint}")
    file = next(each for each in files if each.path == paths[0])
    layers = above(file, read_defaults(files, catalog))
    _tell(wanted.problems, files, {*paths, *(layer.document.file for layer in layers)})
    if name not in wanted.requests:
        raise Failed(f"{' and '.join(paths)} cannot run as {'it is' if len(paths) == 1 else 'they are'}")
    task, now = wanted.requests[name].task, datetime.now(UTC)
    lines, slots = effective.explain(file.raw, task, file.path, layers), effective.upcoming(task, now)
    if as_json:
        click.echo(json.dumps(_plain(task, file.path, lines, slots)))
    else:
        click.echo("\n".join([*show.effective_lines(lines), "", *show.slot_lines(task, slots, now)]))


def _read(name: str, root: Path) -> Sequence[TaskFile]:
    try:
        return read_alone(Path(name)) if name.endswith(_YAML) else scan(root).files
    except SourceUnavailable as error:
        raise Failed(str(error)) from error
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error


def _tell(problems: Iterable[Problem], files: Iterable[TaskFile], about: Container[str]) -> None:
    sources = {file.path: file.raw.decode("utf-8-sig", "replace") for file in files}
    for problem in problems:
        if problem.file in about:
            click.echo(show.problem_text(problem, sources) + "\n", err=True)


def _plain(task: Task, file: str, lines: Sequence[effective.Line], slots: Sequence[effective.Slot]) -> dict[str, Any]:
    return {
        "name": task.name,
        "file": file,
        "task": task.model_dump(mode="json"),
        "origins": {".".join(map(str, line.path)): line.origin for line in lines},
        "slots": [{"at": slot.at.isoformat(), "local": slot.local.isoformat()} for slot in slots],
    }


def new(draft: Draft, root: Path, *, as_json: bool) -> None:
    """`goalfile new`. Writes one valid task file, or none."""
    if not re.fullmatch(_NAME, draft.name):
        remedy = "use 1 to 63 of a-z, 0-9 and -, and folders before it if you like: team/report"
        raise Failed(f"`{draft.name}` cannot name a task; {remedy}", 2)
    path = root / f"{draft.name}.yaml"
    if path.exists():
        raise Failed(f"{path} is already there; choose another name, or edit it")
    task, text = _drafted(draft, path, root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    now = datetime.now(UTC)
    slots = effective.upcoming(task, now, 3)
    if as_json:
        at = [{"at": slot.at.isoformat(), "local": slot.local.isoformat()} for slot in slots]
        click.echo(json.dumps({"name": task.name, "file": str(path), "cron": list(task.cron), "slots": at}))
        return
    click.echo(str(path))
    click.echo("\n".join(["", *(f"  {line}" for line in text.splitlines()), ""]), err=True)
    click.echo("\n".join(show.slot_lines(task, slots, now)), err=True)


def _drafted(draft: Draft, path: Path, root: Path) -> tuple[Task, str]:
    try:
        cron = tuple(text for words in draft.cron for text in to_cron(words))
    except WordsError as error:
        raise Failed(str(error), 2) from error
    fields = [
        ("goal", _goal(draft.goal)),
        ("description", draft.description),
        ("toolkit", _one_or_many(draft.toolkit)),
        ("cron", _one_or_many(cron)),
        ("timezone", (draft.timezone or _local_zone()) if cron else draft.timezone),
        ("notify", _one_or_many(draft.notify)),
    ]
    folder = "" if path.parent == root else path.parent.relative_to(root).as_posix()
    first_line = starter.modeline(folder) if (root / starter.SCHEMA_FOLDER).is_dir() else ""
    text = starter.task_text(fields, first_line)
    try:
        files = scan(root).files
    except SourceUnavailable:  # most likely it is not there yet
        files = ()
    if taken := read_wanted(files).paths.get(path.stem):
        raise Failed(f"`{path.stem}` is the name of {taken[0]} already; choose another")
    draft_file = TaskFile(str(path), text.encode(), folder, str(root.resolve()))
    files = (*(file for file in files if file.is_defaults), draft_file)
    wanted = read_wanted(files)
    _tell(wanted.problems, files, {file.path for file in files})
    if path.stem not in wanted.requests:
        raise Failed("nothing was written")
    return wanted.requests[path.stem].task, text


def _goal(given: str | None) -> str:
    if given == "-":
        try:
            return textwrap.dedent(sys.stdin.read()).strip()
        except UnicodeDecodeError as error:
            raise Failed("standard input is no UTF-8 text", 2) from error
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise Failed('a task needs a goal: give --goal "…", or --goal - to read it from standard input', 2)
    return str(click.prompt("What do you want done?", err=True))


def _local_zone() -> str:
    """The clock of whoever types `every weekday at 9`."""
    from tzlocal import get_localzone_name  # noqa: PLC0415 - only one command needs it

    name = get_localzone_name()
    return "" if name in ("UTC", "Etc/UTC") else name


def _one_or_many(values: tuple[str, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def init(where: Path, tasks: str, *, as_json: bool) -> None:
    """`goalfile init`. Says of each file whether it was written, changed, or left as it was."""
    schemas = {name: schema_text(FILES[name]()) for name in ("task.schema.json", "defaults.schema.json")}
    done: dict[str, str] = {}
    tasks = os.path.normpath(tasks)
    if tasks.startswith(("..", "/")):
        raise Failed(f"the tasks folder is one below {where}, not {tasks}", 2)
    by_hand: list[starter.Piece] = []
    has_tasks = any(path.name != DEFAULTS_FILE for path in (where / tasks).glob("**/*.y*ml"))
    for piece in starter.pieces(tasks, schemas, version("goalfile")):
        if has_tasks and piece.path == f"{tasks}/hello.yaml":
            continue
        try:
            done[piece.path] = _put(where / piece.path, piece)
        except (starter.Unmergeable, UnicodeDecodeError):
            done[piece.path] = "by hand"
            by_hand.append(piece)
        except OSError as error:
            raise Failed(f"{error.filename}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"files": done, "paste": {piece.path: piece.paste for piece in by_hand}}))
        return
    signs = {"written": "+", "changed": "~", "as it was": "=", "by hand": "!"}
    for path, state in done.items():
        click.echo(f"{signs[state]} {path}  ({state})")
    for piece in by_hand:
        click.echo(f"\nadd this to {piece.path}:\n\n{piece.paste}", err=True)
    where_to = "" if tasks == "tasks" else f"--tasks {tasks} "
    click.echo(f"\nnext: goalfile dev {tasks}/", err=True)
    click.echo(f"and:  goalfile new NAME {where_to}--goal '…' --cron 'every weekday at 9'", err=True)


def _put(path: Path, piece: starter.Piece) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(piece.text, encoding="utf-8")
        return "written"
    old = path.read_bytes().decode()
    added = piece.added(old)
    if added == old:
        return "as it was"
    path.write_bytes(added.encode())
    return "changed"
