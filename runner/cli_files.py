"""The commands about files: check them, make schedules equal to them.

Shells around `schemas.load` and `runner.sync`; they print and choose exit codes, nothing else.
"""

import asyncio
import json
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from temporalio.client import Client

from runner import show
from runner.exits import Failed
from runner.files import SourceUnavailable, TaskFile, read_file, scan
from runner.formats import RENDER
from runner.server import register_search_attributes
from runner.sync import Round, Sync
from runner.wanted import read_wanted
from schemas.problem import Problem


def validate(paths: Iterable[Path], style: str, *, in_github: bool) -> None:
    """`goalfile validate`. In a GitHub workflow, people's formats are followed by annotations."""
    files: list[TaskFile] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            if path.is_dir():
                seen = scan(path)
                files.extend(seen.files)
                problems.extend(seen.problems)
            else:
                files.append(TaskFile(str(path), read_file(path)))
        except SourceUnavailable as error:
            raise Failed(str(error)) from error
        except OSError as error:
            raise Failed(f"{path}: {error.strerror}") from error
    problems.extend(read_wanted(files).problems)
    _print_problems(problems, files, style)
    if in_github and style in ("full", "concise") and problems:
        click.echo(RENDER["github"](problems, ()))
    if problems:
        raise SystemExit(1)


def _print_problems(problems: list[Problem], files: list[TaskFile], style: str) -> None:
    if style in RENDER:
        said = RENDER[style](problems, [file.path for file in files])
        if said:
            click.echo(said)
    else:
        sources = {file.path: file.raw.decode("utf-8-sig", "replace") for file in files}
        for problem in problems:
            click.echo(show.problem_text(problem, sources) + "\n")
    if style not in ("full", "concise", "github"):
        return  # a machine reads this: not a word more
    count = f"{len(files)} task file{'s' * (len(files) != 1)}"
    wrong = len({problem.file for problem in problems})
    many = f"{len(problems)} problem{'s' * (len(problems) != 1)} in {wrong} of {count}"
    click.echo(many if problems else f"{count}, all valid", err=True)


async def sync(client: Client, syncing: Sync, confirm: str, *, watch: bool, as_json: bool) -> None:
    """`goalfile sync`."""
    await register_search_attributes(client)
    if watch:
        await _watch(syncing, as_json=as_json)
        return
    done = await syncing.settle(confirm)
    _print_round(done, as_json=as_json)
    if not as_json and done.ok and not done.plan.actions:
        click.echo("nothing to do", err=True)
    if not done.ok:
        raise SystemExit(1)


async def _watch(syncing: Sync, *, as_json: bool) -> None:
    watching = asyncio.ensure_future(syncing.watch(lambda done: _print_round(done, as_json=as_json)))
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, watching.cancel)
    try:
        await watching
    except asyncio.CancelledError:
        click.echo("stopped", err=True)


def _print_round(done: Round, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_plain(done)))
        return
    for line in show.change_lines(done):
        click.echo(line)
    for line in show.trouble_lines(done):
        click.echo(line, err=True)


def _plain(done: Round) -> dict[str, Any]:
    failed = {failure.action.name: failure.error for failure in done.failures}
    return {
        "actions": [
            {"verb": a.verb, "name": a.name, "reason": a.reason, "error": failed.get(a.name)} for a in done.plan.actions
        ],
        "notes": list(done.plan.notes),
        "confirm": done.plan.hash,
        "problems": [problem.model_dump(mode="json") for problem in done.problems],
        "error": done.error,
    }
