"""A real Temporal server for one benchmark, and workers as processes of their own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from runner.devserver import free_port, start_server


@asynccontextmanager
async def server() -> AsyncGenerator[tuple[Client, Path]]:
    """A client of the embedded server (as `goalfile dev` starts it) and its folder."""
    with TemporaryDirectory() as folder:
        started = await start_server(Path(folder), free_port(), free_port(), os.environ)
        try:
            yield await Client.connect(started.address, data_converter=pydantic_data_converter), Path(folder)
        finally:
            await started.child.stop(5)


@contextmanager
def worker(client: Client, folder: Path, *words: str, **env: str) -> Generator[subprocess.Popen[bytes]]:
    """A worker process: `python -m WORDS`."""
    mine = {
        **os.environ,
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "GOALFILE_WORKSPACE": str(folder / "workspace"),
        "GOALFILE_SCRIPTED_PAUSE": "0",
        **env,
    }
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], env=mine, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


async def first_completed_step(handle: WorkflowHandle[object, object]) -> None:
    """Wait until history holds a completed activity."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("activity_task_completed_event_attributes"):
            return


async def lines(journal: Path, count: int) -> None:
    """Wait until the journal has this many lines."""
    while not journal.exists() or len(journal.read_text().splitlines()) < count:
        await asyncio.sleep(0.02)
