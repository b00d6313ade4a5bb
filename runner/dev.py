"""`goalfile dev`: Temporal, sync, worker and gateway on one machine, in one go, for real.

The composition root of the development set-up. Stops everything it started and nothing else; what it
shows is `runner.screen`'s.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
from temporalio.client import Client

from runner.catalog import configuration, find_config
from runner.devserver import CannotStart, DevServer, exact_port, free_port, start_server
from runner.processes import Child
from runner.schedules import TemporalSchedules
from runner.screen import Screen
from runner.server import Unreachable, connect, register_search_attributes
from runner.settings import STATE_FOLDER, Settings, address_file
from runner.status import Status, this_instance
from runner.sync import Sync
from schemas.config import Config
from schemas.sealing import configured_keys

GATEWAY_PORT = 7700
_GATEWAY_WITHIN = 30.0


@dataclass(frozen=True)
class Ports:
    """What a person asked for; None leaves the choice to us."""

    gateway: int | None = None
    temporal: int | None = None
    ui: int | None = None


def dev(root: Path, settings: Settings, ports: Ports) -> None:
    """Run everything until Ctrl-C or SIGTERM. Raises CannotStart with one line that says what to do."""
    if not root.is_dir():
        raise CannotStart(f"{root} is not a folder; make it and put a task file into it")
    asyncio.run(_run(root, Path(STATE_FOLDER).absolute(), settings, ports))


async def _run(root: Path, state: Path, settings: Settings, ports: Ports) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with AsyncExitStack() as stack:
        stack.enter_context(_own(state))
        choices = [exact_port(ports.gateway, "port")] if ports.gateway else [free_port(GATEWAY_PORT), free_port()]
        server = await _server(stack, state, ports)
        env = _environment(settings, root, server, state)
        config = configuration(settings, root) or Config()
        client = await _client(settings, config, server)
        await register_search_attributes(client)
        worker = _python("worker", ["runner", "worker", "--scripted"], env, state)
        await worker.start()
        stack.push_async_callback(worker.stop, settings.grace + 5)
        gateway, port = await _gateway(choices, env, state)
        stack.push_async_callback(gateway.stop, 5.0)
        stack.enter_context(_addresses(state, server, port))
        sync = Sync(
            TemporalSchedules(client, settings.queue),
            root,
            settings.owner,
            config.catalog() if find_config(settings, root) else None,
        )
        first = await sync.round()
        screen = Screen(settings, config, root)
        screen.open(server, port, worker, first)
        jobs = [
            asyncio.create_task(job)
            for job in (
                sync.watch(screen.round, Status(client, settings.owner, this_instance(root))),
                worker.keep_alive(screen.note),
                gateway.keep_alive(screen.note),
                screen.runs(client),
            )
        ]
        ended = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([ended, *jobs], return_when=asyncio.FIRST_COMPLETED)
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        click.echo("stopping; steps in flight are finished first", err=True)
        for job in done - {ended}:
            job.result()  # a job that ended by itself did so by an error: show it


async def _server(stack: AsyncExitStack, state: Path, ports: Ports) -> DevServer:
    port = exact_port(ports.temporal, "temporal-port") if ports.temporal else free_port()
    ui_port = exact_port(ports.ui, "ui-port") if ports.ui else free_port()
    server = await start_server(state, port, ui_port, os.environ)
    stack.push_async_callback(server.child.stop, 10.0)
    return server


async def _gateway(choices: list[int], env: dict[str, str], state: Path) -> tuple[Child, int]:
    """On the first port that is still free when the gateway gets to it."""
    said = ""
    for port in choices:
        child = _python("gateway", ["gateway", "--port", str(port)], env, state)
        await child.start()
        if await child.says("http://", _GATEWAY_WITHIN):
            return child, port
        await child.stop(1)
        said = child.last_words()
    raise CannotStart(f"the gateway did not start: {said}")


async def _client(settings: Settings, config: Config, server: DevServer) -> Client:
    try:
        here = replace(settings, temporal={"TEMPORAL_ADDRESS": server.address})
        return await connect(here, seconds=20, keys=configured_keys(config, settings.environ))
    except ValueError as error:
        raise CannotStart(str(error)) from error
    except Unreachable as error:
        raise CannotStart(f"the Temporal server started but does not answer: {server.child.last_words()}") from error


def _python(name: str, words: list[str], env: dict[str, str], state: Path) -> Child:
    return Child(name, [sys.executable, "-m", *words, "--exit-with-stdin"], env, state / f"{name}.log")


def _environment(settings: Settings, root: Path, server: DevServer, state: Path) -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    config = find_config(settings, root)
    workspace = settings.workspace if settings.workspace.is_absolute() else state / "workspace"
    return {
        **mine,
        "TEMPORAL_ADDRESS": server.address,
        "GOALFILE_QUEUE": settings.queue,
        "GOALFILE_WORKSPACE": str(workspace),
        "PYTHONUNBUFFERED": "1",
        "GOALFILE_ARTIFACTS": str(settings.artifacts or state / "artifacts"),
        **({"GOALFILE_CONFIG": str(config)} if config else {}),
    }


@contextmanager
def _own(state: Path) -> Generator[None]:
    """One `dev` a folder."""
    try:
        state.mkdir(exist_ok=True)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise CannotStart(f"{state} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(f"another `goalfile dev` is running in this folder ({state})") from error
        yield


@contextmanager
def _addresses(state: Path, server: DevServer, port: int) -> Generator[None]:
    """Leave word for the other commands where the server is."""
    file = address_file(state)
    said = {
        "temporal": server.address,
        "ui": server.ui,
        "gateway": f"http://127.0.0.1:{port}",
        "pid": os.getpid(),
    }
    file.write_text(json.dumps(said))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
