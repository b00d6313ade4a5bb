"""The commands about one task file or none: show it, write it, set a repository up for it.

Shells around `runner.effective` and `runner.starter`; they read, write and print, nothing else.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from runner import effective, show, starter
from runner.exits import Failed
from runner.files import SourceUnavailable, TaskFile, read_alone, scan
from runner.wanted import above, read_defaults
from runner.words import WordsError, to_cron
from schemas.export import FILES, schema_text
from schemas.load import DEFAULTS_FILE, Loaded, load_task, stem
from schemas.shape import closest
from schemas.task import Task

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


def show_task(name: str, root: Path, *, as_json: bool) -> None:
    """`goalfile show`. NAME is a task's name, or the path of its file."""
    try:
        files = read_alone(Path(name)) if name.endswith((".yaml", ".yml")) else scan(root).files
    except SourceUnavailable as error:
        raise Failed(str(error)) from error
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error
    defaults = read_defaults(files)
    names: dict[str, tuple[TaskFile, Loaded]] = {}
    for file in files:
        if not file.is_defaults:
            loaded = load_task(file.raw, file.path, above(file, defaults))
            names.setdefault(loaded.name or stem(file.path), (file, loaded))
    found = names.get(name) or next((each for each in names.values() if each[0].path == name), None)
    if found is None:
        meant = closest(name, list(names))
        hint = f"did you mean `{meant}`?" if meant else f"known: {', '.join(sorted(names)[:20]) or 'none'}"
        raise Failed(f"{root} holds no task named `{name}`; {hint}")
    file, loaded = found
    layers = above(file, defaults)
    problems = [*loaded.problems, *(problem for layer in layers for problem in layer.problems)]
    sources = {file.path: file.raw.decode("utf-8-sig", "replace")}
    sources |= {layer.document.file: layer.document.text for layer in layers}
    for problem in problems:
        click.echo(show.problem_text(problem, sources) + "\n", err=True)
    if loaded.task is None:
        raise Failed(f"{file.path} is not a task that can run")
    lines = effective.explain(file.raw, loaded.task, file.path, layers)
    now = datetime.now(UTC)
    slots = effective.upcoming(loaded.task, now)
    if as_json:
        click.echo(json.dumps(_plain(loaded.task, file.path, lines, slots)))
    else:
        click.echo("\n".join([*show.effective_lines(lines), "", *show.slot_lines(loaded.task, slots, now)]))


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
    folder = os.path.relpath(path.parent, root)
    has_schema = (root / starter.SCHEMA_FOLDER).is_dir()
    line = starter.modeline("" if folder == "." else folder) if has_schema else ""
    text = starter.task_text(fields, line)
    loaded = load_task(text.encode(), str(path))
    if loaded.task is None:
        for problem in loaded.problems:
            click.echo(show.problem_text(problem, {str(path): text}) + "\n", err=True)
        raise Failed("nothing was written")
    return loaded.task, text


def _goal(given: str | None) -> str:
    if given == "-":
        return sys.stdin.read().strip()
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
    """`goalfile init`. Says of each file whether it was written, added to, or left as it was."""
    schemas = {name: schema_text(FILES[name]()) for name in ("task.schema.json", "defaults.schema.json")}
    done: dict[str, str] = {}
    by_hand: list[starter.Piece] = []
    has_tasks = any(path.name != DEFAULTS_FILE for path in (where / tasks).glob("**/*.y*ml"))
    for piece in starter.pieces(tasks, schemas, version("goalfile")):
        if has_tasks and piece.path == f"{tasks}/hello.yaml":
            continue
        try:
            done[piece.path] = _put(where / piece.path, piece)
        except starter.Unmergeable:
            done[piece.path] = "by hand"
            by_hand.append(piece)
        except OSError as error:
            raise Failed(f"{error.filename}: {error.strerror}") from error
    if as_json:
        click.echo(json.dumps({"files": done, "paste": {piece.path: piece.paste for piece in by_hand}}))
        return
    signs = {"written": "+", "added to": "~", "as it was": "=", "by hand": "!"}
    for path, state in done.items():
        click.echo(f"{signs[state]} {path}  ({state})")
    for piece in by_hand:
        click.echo(f"\nadd this to {piece.path}:\n\n{piece.paste}", err=True)
    click.echo(
        f"\nnext: goalfile dev {tasks}/   and: goalfile new NAME --goal '…' --cron 'every weekday at 9'", err=True
    )


def _put(path: Path, piece: starter.Piece) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(piece.text, encoding="utf-8")
        return "written"
    old = path.read_text(encoding="utf-8")
    added = piece.added(old)
    if added == old:
        return "as it was"
    path.write_text(added, encoding="utf-8")
    return "added to"
