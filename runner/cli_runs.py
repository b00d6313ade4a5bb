"""The commands about runs: start one, list them, tell what happened, cancel.

Shells around `runner.runs`; they print and choose exit codes, nothing else.
"""

import asyncio
import difflib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from temporalio.client import Client

from runner import show
from runner.catalog import configured
from runner.exits import Failed
from runner.files import read_alone
from runner.following import Line, follow
from runner.runs import NoSuchRun, Run, cancel_run, find_run, list_runs, request_of, result_of, start_run
from runner.schedules import TemporalSchedules, find_task
from runner.settings import Settings
from runner.wanted import above, read_defaults
from schemas.catalog import Catalog
from schemas.inputs import settle_inputs
from schemas.load import load_task
from schemas.run import ENDED, RunRequest, RunResult, Source
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


async def run(client: Client, settings: Settings, asked: Asked, waiting: Waiting, *, as_json: bool) -> None:
    """`goalfile run`."""
    request = await _request(client, settings, asked)
    run_id = await start_run(client, request, settings.queue)
    if not waiting.wait:
        click.echo(json.dumps({"id": run_id}) if as_json else run_id)
        click.echo(f"started; follow it with: goalfile logs -f {run_id}", err=True)
        return
    found = await find_run(client, run_id)
    try:
        async with asyncio.timeout(waiting.seconds):
            async for line in follow(client, found, wait=True):
                if line.kind != "ended":
                    click.echo(show.run_line(line, whole=False), err=True)
            result = await result_of(client, found)
    except TimeoutError:
        raise Failed(f"gave up waiting after {waiting.seconds:g} seconds; {run_id} goes on", 5) from None
    if result is None:
        raise Failed(f"{run_id} has not ended", 5)
    _print_result(run_id, result, as_json=as_json)
    if result.status != "succeeded":
        raise SystemExit(1)


async def _request(client: Client, settings: Settings, asked: Asked) -> RunRequest:
    if asked.goal is not None:
        task, source = Task(goal=asked.goal, toolkit=asked.toolkit), Source()
        if not asked.goal.strip():
            raise Failed("the goal is empty", 2)
    elif asked.file is not None:
        task, source = _from_file(asked.file, configured(settings, asked.file))
    else:
        task, source = await _from_server(client, asked.name or "")
    try:
        inputs = settle_inputs(task, dict(_pair(text) for text in asked.inputs))
    except ValueError as error:
        raise Failed(str(error), 2) from error
    return RunRequest(task=task, inputs=inputs, source=source, trigger="cli")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"`-i {text}` is not NAME=VALUE")
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


async def _from_server(client: Client, name: str) -> tuple[Task, Source]:
    found = await find_task(client, name)
    if found is not None:
        return found.task, found.source
    names = sorted(schedule.name for schedule in await TemporalSchedules(client, "").list())
    close = difflib.get_close_matches(name, names, n=1)
    known = f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names[:20]) or 'none yet'}"
    raise Failed(f"the server knows no task named `{name}`; {known}")


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


async def ps(client: Client, task: str, limit: int, *, as_json: bool) -> None:
    """`goalfile ps`."""
    try:
        runs = await list_runs(client, limit, task)
    except ValueError as error:
        raise Failed(f"`{task}` is no task name", 2) from error
    if as_json:
        click.echo(json.dumps([_plain(run) for run in runs]))
    elif not runs:
        click.echo("no runs yet; start one with: goalfile run NAME", err=True)
    else:
        click.echo("\n".join(show.run_table(runs, datetime.now(UTC))))


async def logs(client: Client, given: str, *, go_on: bool, as_json: bool) -> None:
    """`goalfile logs`."""
    found = await _find(client, given)
    async for line in follow(client, found, wait=go_on):
        click.echo(json.dumps(_plain(line)) if as_json else show.run_line(line))


async def cancel(client: Client, given: str, *, as_json: bool) -> None:
    """`goalfile cancel`."""
    found = await _find(client, given)
    if found.status in ENDED:
        raise Failed(f"{found.id} has already ended: {found.status}")
    await cancel_run(client, found)
    click.echo(json.dumps({"id": found.id}) if as_json else found.id)
    click.echo("asked to stop; a write in flight is finished first", err=True)


async def retry(client: Client, settings: Settings, given: str, *, as_json: bool) -> None:
    """`goalfile retry`."""
    found = await _find(client, given)
    if found.status not in ENDED:
        raise Failed(f"{found.id} is still {found.status}; cancel it first: goalfile cancel {found.id}")
    request = (await request_of(client, found)).model_copy(update={"trigger": "cli"})
    run_id = await start_run(client, request, settings.queue)
    click.echo(json.dumps({"id": run_id}) if as_json else run_id)
    click.echo(f"started, as the task was then; follow it with: goalfile logs -f {run_id}", err=True)


async def _find(client: Client, given: str) -> Run:
    try:
        return await find_run(client, given)
    except NoSuchRun as error:
        raise Failed(str(error)) from error


def _plain(value: Run | Line) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(value).items()}
