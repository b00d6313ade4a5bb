"""The screen of `goalfile dev`: where things are, what is scheduled, and runs as they happen.

Prints lines and never rewrites one, so that it reads the same in a terminal, a log and a pipe.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from temporalio.client import Client
from temporalio.service import RPCError

from runner import show
from runner.devserver import DevServer
from runner.equipment import base_url, default_model, is_scripted
from runner.following import follow
from runner.processes import Child
from runner.runs import Run, list_runs
from runner.settings import STATE_FOLDER, Settings
from runner.sync import Round
from schemas.config import Config
from schemas.run import ENDED

_LOOK_EVERY = 1.0


class Screen:
    """What one `goalfile dev` prints."""

    def __init__(self, settings: Settings, config: Config, root: Path) -> None:
        self._settings, self._config = settings, config
        self._root = root
        self._said: set[str] = set()
        """What the last round complained of: a rescan every 30 seconds must not say it again."""

    def open(self, server: DevServer, gateway_port: int, worker: Child, first: Round) -> None:
        """The head of the screen, once everything is started."""
        rows = [
            ("page", f"http://127.0.0.1:{gateway_port}/"),
            ("api", f"http://127.0.0.1:{gateway_port}/v1  (described in /docs)"),
            ("temporal", f"{server.ui}  (server at {server.address})"),
            ("thinking", self._thinking()),
            ("tools", self._tools()),
            ("worker", f"process {worker.pid}; kill -9 it: it is started again, and runs go on where they were"),
            ("state", f"{STATE_FOLDER}/  (runs and schedules survive a restart)"),
        ]
        click.echo(f"\n{click.style('goalfile', bold=True)} {version('goalfile')} dev\n")
        for name, value in rows:
            click.echo(f"  {click.style(f'{name:<9}', dim=True)} {value}")
        tasks = show.task_rows(first.wanted.requests.values(), datetime.now(UTC))
        click.echo(f"  {click.style('tasks    ', dim=True)} {len(tasks)} in {self._root}/")
        for row in show.table(tasks) if tasks else ():
            click.echo(f"              {row}")
        if not tasks:
            click.echo(f"              put a file such as {self._root}/hello.yaml there: goal: Say hello")
        click.echo("\n  Ctrl-C stops everything.\n")
        self.round(replace(first, plan=replace(first.plan, actions=())))

    def note(self, text: str) -> None:
        """Something about our own processes."""
        self._print(f"{click.style('!', fg='yellow')} {text}")

    def round(self, done: Round) -> None:
        """What a round of sync changed; what is wrong, once."""
        changes = show.change_lines(done)
        troubles = show.trouble_lines(done)
        for line in [*changes, *(line for line in troubles if line not in self._said)]:
            self._print(line)
        self._said = set(troubles)

    async def runs(self, client: Client) -> None:
        """Every run that lives or begins while we watch, line by line, for ever."""
        seen = {run.id for run in await list_runs(client, 100) if run.status in ENDED}
        following: set[asyncio.Task[None]] = set()
        while True:
            with suppress(RPCError):
                for run in reversed(await list_runs(client, 50)):
                    if run.id not in seen:
                        seen.add(run.id)
                        task = asyncio.create_task(self._follow(client, run))
                        following.add(task)
                        task.add_done_callback(following.discard)
            await asyncio.sleep(_LOOK_EVERY)

    async def _follow(self, client: Client, run: Run) -> None:
        with suppress(RPCError):
            async for line in follow(client, run, wait=True):
                click.echo(show.run_line(line, name=run.id, whole=False))

    def _print(self, text: str) -> None:
        click.echo(f"{datetime.now():%H:%M:%S} {text}")  # noqa: DTZ005 - the reader's wall clock

    def _thinking(self) -> str:
        if is_scripted(self._settings, self._config):
            return "scripted: without ANTHROPIC_API_KEY no model is asked; all else is real"
        at = base_url(self._settings, self._config) or self._config.model.provider.capitalize()
        return f"{default_model(self._settings, self._config)} at {at}"

    def _tools(self) -> str:
        if is_scripted(self._settings, self._config) or not self._settings.composio_key:
            return f"scripted: each toolkit is a folder in {STATE_FOLDER}/workspace"
        return "Composio"
