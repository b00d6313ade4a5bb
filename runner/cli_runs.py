"""The commands about runs: start one, list them, tell what happened, cancel.

Shells around a `Way`; they print and choose exit codes, nothing else.
"""

import asyncio
import json
from contextlib import aclosing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from runner import show
from runner.exits import Failed
from runner.files import read_alone
from runner.lines import Line
from runner.wanted import above, read_defaults
from runner.ways import BadInputs, NoSuchRun, Run, Way
from schemas.catalog import Catalog
from schemas.load import load_task
from schemas.run import ENDED, RunResult, Source
from schemas.task import Task
from schemas.wire import digest


@dataclass(frozen=True)
class Asked:
    """What a person asked to run: exactly one of name, file and goal."""

    name: str | None
    file: Path | None
    goal: str | None
    toolkit: tuple[str, ...]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Waiting:
    """Whether to follow the run to its end, and for how many seconds at most."""

    wait: bool
    seconds: float | None


async def run(way: Way, asked: Asked, waiting: Waiting, *, as_json: bool) -> None:
    """`goalfile run`."""
    run_id = await _start(way, asked)
    if not waiting.wait:
        click.echo(json.dumps({"id": run_id}) if as_json else run_id)
        click.echo(f"started; follow it with: goalfile logs -f {run_id}", err=True)
        return
    try:
        async with asyncio.timeout(waiting.seconds):
            found = await way.find(run_id)
            async with aclosing(way.follow(found, wait=True)) as lines:
                async for line in lines:
                    if line.kind != "ended":
                        click.echo(show.run_line(line, whole=False), err=True)
            result = await way.result(found)
    except TimeoutError:
        raise Failed(f"gave up waiting after {waiting.seconds:g} seconds; {run_id} goes on", 5) from None
    if result is None:
        raise Failed(f"{run_id} has not ended", 5)
    _print_result(run_id, result, as_json=as_json)
    if result.status != "succeeded":
        raise SystemExit(1)


async def _start(way: Way, asked: Asked) -> str:
    given = dict(_pair(text) for text in asked.inputs)
    try:
        if asked.goal is not None:
            if not asked.goal.strip():
                raise Failed("the goal is empty", 2)
            return await way.start_goal(Task(goal=asked.goal, toolkit=asked.toolkit), Source(), given)
        if asked.file is not None:
            task, source = _from_file(asked.file, way.catalog(asked.file))
            return await way.start_goal(task, source, given)
        return await way.start_task(asked.name or "", given)
    except BadInputs as error:
        raise Failed(str(error), 2) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Failed(f"`-i {text}` is not NAME=VALUE", 2)
    return name, value


def _from_file(path: Path, catalog: Catalog | None) -> tuple[Task, Source]:
    try:
        *defaults, file = read_alone(path)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    layers = above(file, read_defaults(defaults, catalog))
    loaded = load_task(file.raw, file.path, layers, catalog, file.folder)
    if loaded.task is None:
        sources = {each.path: each.raw.decode("utf-8-sig", "replace") for each in (file, *defaults)}
        for problem in (*loaded.problems, *(problem for layer in layers for problem in layer.problems)):
            click.echo(show.problem_text(problem, sources) + "\n", err=True)
        raise Failed(f"{path} is not a task that can run")
    return loaded.task, Source(path=str(path), digest=digest(loaded.task, str(path)))


def _print_result(run_id: str, result: RunResult, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": run_id, **result.model_dump(mode="json")}))
        return
    took = show.length(result.ended_at - result.started_at)
    calls = sum(step.kind == "call" for step in result.steps)
    tokens = f"{result.usage.total:,} tokens"
    reason = f": {show.in_a_line(result.reason)}" if result.reason else ""
    cost = f", ${result.cost_usd:.4f}" if result.cost_usd else ""
    size = f"{took}, {len(result.steps) - calls} turns, {calls} calls, {tokens}{cost}"
    click.echo(f"{show.mark(result.status)}{reason}  {run_id}  {size}", err=True)
    if result.output is not None:
        click.echo(show.safe(json.dumps(result.output, indent=2, ensure_ascii=False)))
    elif result.summary:
        click.echo(show.safe(result.summary))


async def ps(way: Way, task: str, limit: int, *, as_json: bool) -> None:
    """`goalfile ps`."""
    try:
        runs = await way.runs(limit, task)
    except ValueError as error:
        raise Failed(f"`{task}` is no task name", 2) from error
    if as_json:
        click.echo(json.dumps([_plain(run) for run in runs]))
    elif not runs:
        click.echo("no runs yet; start one with: goalfile run NAME", err=True)
    else:
        click.echo("\n".join(show.run_table(runs, datetime.now(UTC))))


async def logs(way: Way, given: str, *, go_on: bool, as_json: bool) -> None:
    """`goalfile logs`."""
    found = await _find(way, given)
    async with aclosing(way.follow(found, wait=go_on)) as lines:
        async for line in lines:
            click.echo(json.dumps(_plain(line)) if as_json else show.run_line(line))


async def cancel(way: Way, given: str, *, as_json: bool) -> None:
    """`goalfile cancel`."""
    found = await _find(way, given)
    if found.status in ENDED:
        raise Failed(f"{found.id} has already ended: {found.status}")
    await way.cancel(found)
    click.echo(json.dumps({"id": found.id}) if as_json else found.id)
    click.echo("asked to stop; a write in flight is finished first", err=True)


async def retry(way: Way, given: str, *, as_json: bool) -> None:
    """`goalfile retry`."""
    found = await _find(way, given)
    if found.status not in ENDED:
        raise Failed(f"{found.id} is still {found.status}; cancel it first: goalfile cancel {found.id}")
    run_id = await way.retry(found)
    click.echo(json.dumps({"id": run_id}) if as_json else run_id)
    click.echo(f"started, as the task was then; follow it with: goalfile logs -f {run_id}", err=True)


async def _find(way: Way, given: str) -> Run:
    try:
        return await way.find(given)
    except NoSuchRun as error:
        raise Failed(str(error)) from error


def _plain(value: Run | Line) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(value).items()}
