"""Workers and a Temporal server as processes that can be killed, and what became of the runs they had."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from runner.devserver import DevServer, free_port, start_server
from runner.made import effects
from runner.runs import start_run
from schemas.run import Effect, RunRequest, RunResult
from schemas.task import Limits, Task
from tests.standins.counting_tools import TOOLKIT, CountingVendor

Handle = WorkflowHandle[Any, RunResult]


class Workers:
    """The worker processes of one queue; whoever is left is killed with the `with` block."""

    def __init__(self, folder: Path, address: str, queue: str, vendor: CountingVendor, **env: str) -> None:
        self.queue = queue
        self._log = folder / f"worker-{queue}.log"
        self._env = {
            **os.environ,
            "TEMPORAL_ADDRESS": address,
            "GOALFILE_QUEUE": queue,
            "VENDOR": vendor.url,
            "FAULT_FLAG": str(folder / f"fault-{queue}"),
            **env,
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def start(self, **env: str) -> subprocess.Popen[bytes]:
        """One more."""
        argv = [sys.executable, "-m", "tests.faults.counting_worker"]
        with self._log.open("ab") as log:
            process = subprocess.Popen(argv, env={**self._env, **env}, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


async def exit_code(process: subprocess.Popen[bytes], seconds: float = 60) -> int:
    """Wait for a process to end by itself."""
    return await asyncio.to_thread(process.wait, seconds)


def writes(count: int, **more: Any) -> list[dict[str, Any]]:
    """What a goal asks for: so many different writes."""
    return [{"text": f"line {number}", **more} for number in range(count)]


def task_of(queue: str, wanted: list[dict[str, Any]], **more: Any) -> Task:
    """A task whose runs make these writes."""
    return Task(goal=json.dumps(wanted), toolkit=(TOOLKIT,), name=f"t-{queue}", limits=Limits(turns=300), **more)


async def begin(client: Client, queue: str, wanted: list[dict[str, Any]], **more: Any) -> Handle:
    """A run that makes these writes. Returns once the server has acknowledged it."""
    request = RunRequest(task=task_of(queue, wanted, **more), trigger="cli")
    return client.get_workflow_handle(await start_run(client, request, queue), result_type=RunResult)


async def ends(handle: Handle, seconds: float = 120) -> RunResult:
    """How a run ends."""
    async with asyncio.timeout(seconds):
        return await handle.result()


async def rows(client: Client, *, task: str = "", run: str = "", at_least: int = 1) -> list[Effect]:
    """The ledger, once its list has caught up: it lags behind what is in it."""
    async with asyncio.timeout(30):
        while True:
            found = [row async for row in effects(client, task=task, run=run)]
            if len(found) >= at_least and all(row.state != "running" for row in found):
                return sorted(found, key=lambda row: row.at)
            await asyncio.sleep(0.2)  # visibility has no event to wait for


def calls_of(result: RunResult) -> list[str]:
    """The states of a run's calls, in order."""
    return [step.state for step in result.steps if step.kind == "call"]


def told(result: RunResult) -> list[str]:
    """What the model was told about each of its calls."""
    return json.loads(result.summary)


class Temporal:
    """The embedded server on one port and one file, which can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self._ui_port = free_port(), free_port()
        self._server: DevServer | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def database(self) -> Path:
        return self.folder / "temporal.db"

    async def start(self) -> None:
        self._server = await start_server(self.folder, self.port, self._ui_port, os.environ)

    async def stop(self) -> None:
        if self._server:
            await self._server.child.stop(10)

    async def kill(self) -> None:
        """kill -9, and wait until it is dead."""
        assert self._server is not None
        assert self._server.child.pid is not None
        os.kill(self._server.child.pid, signal.SIGKILL)
        await self._server.child.stop(10)

    async def connect(self) -> Client:
        return await Client.connect(self.address, data_converter=pydantic_data_converter)


@asynccontextmanager
async def temporal(folder: Path) -> AsyncGenerator[Temporal]:
    """A running server."""
    server = Temporal(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
