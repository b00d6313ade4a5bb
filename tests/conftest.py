"""The house of the tests: a clean environment, and one real Temporal server for each test process."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import settings
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from runner.devserver import find_binary, free_port
from schemas import wire

ROOT = Path(__file__).parent.parent

settings.register_profile("goalfile", deadline=None, max_examples=100, derandomize=bool(os.environ.get("CI")))
settings.load_profile("goalfile")


def pytest_configure() -> None:
    """No test may depend on a key or a server that the person at the keyboard happens to have."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "COMPOSIO_", "GOALFILE_", "TEMPORAL_", "AWS_", "GOOGLE_", "CLOUD_", "OTEL_")):
            del os.environ[name]
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "NO_GCE_CHECK": "true"}  # nobody asks a cloud who we are


def pytest_sessionfinish() -> None:
    time.sleep(0.2)  # Temporal's SDK can crash an interpreter that exits at once (sdk-python#300)


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Temporal server, in memory, on a free port, with our search attributes."""
    log = tmp_path_factory.mktemp("temporal") / "log"
    port = free_port()
    argv = [find_binary(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--log-level", "error"]
    argv += ["--port", str(port)]
    argv += [word for name in wire.SEARCH_ATTRIBUTES for word in ("--search-attribute", f"{name}=Keyword")]
    with log.open("w") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out)
    try:
        until = time.monotonic() + 60
        while "Temporal Server:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, "the Temporal server did not start within a minute"
            time.sleep(0.05)  # another process: nothing to wait on but its log
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
async def client(temporal_address: str) -> Client:
    return await Client.connect(temporal_address, data_converter=pydantic_data_converter)


@pytest.fixture
def unique() -> str:
    """Eight letters for names on the shared server that no other test uses."""
    return uuid4().hex[:8]


@pytest.fixture
def goalfile(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the `goalfile` command as a person would, in a folder of its own."""

    def run(*words: str, env: dict[str, str] | None = None, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runner", *words],
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    return run
