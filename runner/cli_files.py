"""The commands about files: check them, make schedules equal to them.

Shells around `schemas.load` and `runner.sync`; they print and choose exit codes, nothing else.
"""

import asyncio
import json
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from temporalio.client import Client

from runner import show
from runner.apply import AT_ONCE
from runner.connections import connections
from runner.exits import Failed
from runner.files import SourceUnavailable, TaskFile, read_alone, scan
from runner.forecast import forecast
from runner.formats import RENDER
from runner.plan import Plan
from runner.plan_text import plan_json, plan_lines
from runner.schedules import find_task
from runner.server import register_search_attributes
from runner.settings import Settings
from runner.status import CLAIM, Status
from runner.sync import Round, Sync
from runner.wanted import read_wanted
from schemas.catalog import Catalog
from schemas.load import has_errors
from schemas.problem import Problem
from schemas.run import RunRequest
from schemas.task import Task


def validate(paths: Iterable[Path], style: str, catalog: Catalog | None, *, in_github: bool) -> None:
    """`goalfile validate`. In a GitHub workflow, people's formats are followed by annotations."""
    files: dict[str, TaskFile] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            if path.is_dir():
                seen = scan(path)
                files |= {file.path: file for file in seen.files}
                problems.extend(seen.problems)
            else:
                files |= {file.path: file for file in read_alone(path)}
        except SourceUnavailable as error:
            raise Failed(str(error)) from error
        except OSError as error:
            raise Failed(f"{path}: {error.strerror}") from error
    wanted = read_wanted([*files.values()], catalog)
    problems.extend(wanted.problems)
    problems.sort(key=lambda problem: problem.severity != "error")  # GitHub shows the first ten
    _print_problems(problems, [*files.values()], style)
    if in_github and style in ("full", "concise") and problems:
        click.echo(RENDER["github"](problems, ()))
    if has_errors(problems):
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
    if style in ("full", "concise", "github"):  # a machine reads the others: not a word more
        click.echo(_summary(problems, files), err=True)


def _summary(problems: list[Problem], files: list[TaskFile]) -> str:
    tasks = _count(sum(not file.is_defaults for file in files), "task file")
    wrong = {problem.file for problem in problems if problem.severity == "error"}
    parts = [_count(sum(problem.severity == "error" for problem in problems), "problem")] if wrong else []
    if warnings := sum(problem.severity == "warning" for problem in problems):
        parts.append(_count(warnings, "warning"))
    if not wrong:
        return f"{tasks}, all valid{f'; {parts[0]}' if parts else ''}"
    return f"{' and '.join(parts)} in {len({problem.file for problem in problems})} of {tasks}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


@dataclass(frozen=True)
class Released:
    """What a person says may be done that a sync would not do by itself."""

    confirm: str = ""
    """The hash of the deletions to do."""
    adopt: frozenset[str] = frozenset()
    """The schedules of other owners to take over."""


async def plan(client: Client, syncing: Sync, settings: Settings, *, as_json: bool, exit_code: bool) -> None:
    """`goalfile plan`. Exit 1 if something is wrong or blocked; with `exit_code`, 2 if there is something to do."""
    seen, now = await syncing.look(), datetime.now(UTC)
    forecasts = {
        name: await asyncio.to_thread(forecast, request.task, now) for name, request in seen.wanted.requests.items()
    }
    old = await _tasks_before(client, seen.plan)
    tasks = [action.request.task for action in seen.plan.actions if action.request]
    connected, why = await asyncio.to_thread(connections, settings, tasks)
    if why:
        click.echo(f"not checked: connections: {why}", err=True)
    if as_json:
        told = plan_json(seen.plan, forecasts, old, connected, default_user=settings.run_as)
        click.echo(json.dumps({**_plain(seen), **told}))
    else:
        for line in plan_lines(seen.plan, forecasts, old, now, connected, default_user=settings.run_as):
            click.echo(line)
        for line in show.trouble_lines(seen, plan=False):
            click.echo(line, err=True)
        if seen.ok and not seen.plan.actions:
            click.echo("nothing to do", err=True)
    if not seen.ok:
        raise SystemExit(1)
    if exit_code and seen.plan.actions:
        raise SystemExit(2)


async def _tasks_before(client: Client, plan: Plan) -> dict[str, Task | None]:
    """The tasks to be updated, as the server has them."""
    names = [action.name for action in plan.actions if action.verb == "update"]
    limit = asyncio.Semaphore(AT_ONCE)

    async def find(name: str) -> RunRequest | None:
        async with limit:
            return await find_task(client, name)

    found = await asyncio.gather(*map(find, names))
    return {name: request.task if request else None for name, request in zip(names, found, strict=True)}


async def sync(client: Client, syncing: Sync, released: Released, *, as_json: bool) -> None:
    """`goalfile sync`, once."""
    await register_search_attributes(client)
    done = await syncing.settle(released.confirm, released.adopt)
    _print_round(done, as_json=as_json)
    if not as_json and done.ok and not done.plan.actions:
        click.echo("nothing to do", err=True)
    if not done.ok:
        raise SystemExit(1)


async def watch(client: Client, syncing: Sync, status: Status, *, as_json: bool) -> None:
    """`goalfile sync --watch`, until SIGTERM or Ctrl-C. What is wrong is said once, not at every round."""
    await register_search_attributes(client)
    said: list[str] = []

    def tell(done: Round) -> None:
        lines = show.trouble_lines(done)
        _print_round(done, as_json=as_json, troubles=[line for line in lines if line not in said])
        said[:] = lines

    watching = asyncio.ensure_future(syncing.watch(tell, status))
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, watching.cancel)
    try:
        await watching
    except asyncio.CancelledError:
        click.echo("stopped", err=True)


async def sync_status(client: Client, owner: str, *, as_json: bool) -> None:
    """`goalfile sync status`. Exit 1 if something is wrong, blocked, or not heard of."""
    status, now = await Status(client, owner).read(), datetime.now(UTC)
    if status is None:
        raise Failed(f"no sync of `{owner}` has told anything yet; start one with: goalfile sync --watch")
    if as_json:
        click.echo(status.model_dump_json())
    else:
        click.echo("\n".join(show.status_lines(status, now)))
    quiet = status.instance != "" and now - status.seen_at > CLAIM
    if status.error or has_errors(status.problems) or status.blocked or quiet:
        raise SystemExit(1)


def _print_round(done: Round, *, as_json: bool, troubles: list[str] | None = None) -> None:
    if as_json:
        click.echo(json.dumps(_plain(done)))
        return
    for line in show.change_lines(done):
        click.echo(line)
    for line in show.trouble_lines(done) if troubles is None else troubles:
        click.echo(line, err=True)


def _plain(done: Round) -> dict[str, Any]:
    failed = {failure.action.name: failure.error for failure in done.failures}
    return {
        "actions": [
            {"verb": a.verb, "name": a.name, "reason": a.reason, "error": failed.get(a.name)} for a in done.plan.actions
        ],
        "notes": [*done.plan.notes, *done.done.notes],
        "confirm": done.plan.hash,
        "problems": [problem.model_dump(mode="json") for problem in done.problems],
        "error": done.error,
    }
