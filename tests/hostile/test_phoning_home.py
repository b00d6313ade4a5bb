"""A worker talks to the vendors it was given, its Temporal server and its channels, and to nobody else."""

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from temporalio.client import Client

from runner.runs import start_run
from schemas.run import RunRequest, RunResult
from schemas.task import Notify, Task
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.composio_api import ComposioApi, folder
from tests.standins.webhook_receiver import SECRET, WebhookReceiver

pytestmark = [
    pytest.mark.temporal,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="a process's sockets are read from /proc"),
]
ROOT = Path(__file__).parents[2]
CONFIG = """
channels:
  ops: {webhook: "${HOOK_URL}", secret: "${HOOK_SECRET}"}
private_hosts: [127.0.0.0/8]
"""


def peers(pid: int) -> set[tuple[str, int]]:
    """The far ends of a process's TCP and UDP sockets, whatever language opened them."""
    own = set[str]()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(str(link.readlink()))
        except OSError:  # it was closed meanwhile
            continue
    found: set[tuple[str, int]] = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            columns = row.split()
            address, _, port = columns[2].partition(":")
            if f"socket:[{columns[9]}]" in own and int(port, 16):
                found.add((_address(address), int(port, 16)))
    return found


def _address(shown: str) -> str:
    words = [struct.pack("=I", int(shown[i : i + 8], 16)) for i in range(0, len(shown), 8)]
    text = socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, b"".join(words))
    return text.removeprefix("::ffff:")


async def test_a_worker_connects_to_nothing_but_what_it_was_given(
    client: Client, temporal_address: str, unique: str, tmp_path: Path
) -> None:
    (tmp_path / "goalfile.config.yaml").write_text(CONFIG)
    log = tmp_path / "log"
    with AnthropicApi() as model, ComposioApi(folder("notes")) as tools, WebhookReceiver() as channel:
        model.script.extend(
            [Say([use("NOTES_LIST_ITEMS", {}, "l"), use("NOTES_WRITE_ITEM", {"name": "a", "text": "b"}, "w")]), "Done."]
        )
        env = {"ANTHROPIC_API_KEY": model.key, "ANTHROPIC_BASE_URL": model.url}
        env |= {"COMPOSIO_API_KEY": tools.key, "COMPOSIO_BASE_URL": tools.url}
        env |= {"HOOK_URL": channel.url, "HOOK_SECRET": SECRET, "GOALFILE_QUEUE": unique}
        env |= {"TEMPORAL_ADDRESS": temporal_address, "WATCHED": str(tmp_path / "seen"), "PYTHONPATH": str(ROOT)}
        with log.open("w") as out:
            worker = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.watched_worker"],
                cwd=tmp_path,
                env={**os.environ, **env},
                stdout=out,
                stderr=out,
            )
        far: set[tuple[str, int]] = set()
        try:
            notify = (Notify(to="ops"),)
            task = Task(goal="Write a note.", name=unique, toolkit=("notes",), notify=notify, memory="notes")
            run = await start_run(client, RunRequest(task=task, trigger="cli"), unique)
            waiting = asyncio.create_task(client.get_workflow_handle(run, result_type=RunResult).result())
            async with asyncio.timeout(60):
                while not (waiting.done() and channel.requests):
                    assert worker.poll() is None, log.read_text()
                    far |= peers(worker.pid)
                    await asyncio.sleep(0.01)  # sockets come and go: they are looked at, not waited for
            result = await waiting
        finally:
            worker.terminate()
            worker.wait(30)
        given = {urlsplit(each.url).netloc for each in (model, tools, channel)}
    assert result.status == "succeeded", result.reason
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    connected = {f"{address[0]}:{address[1]}" for event, address in seen if event == "socket.connect"}
    assert connected == given
    assert {name for event, name in seen if event in ("socket.getaddrinfo", "socket.gethostbyname")} <= {"127.0.0.1"}
    assert [what for event, what in seen if event in ("subprocess.Popen", "socket.sendto")] == []
    ends = {f"{host}:{port}" for host, port in far}
    assert temporal_address in ends
    assert ends <= given | {temporal_address}
