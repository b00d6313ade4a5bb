"""A gateway process to measure, and requests to it that cost their sender little: plain HTTP/1.1 over kept connections.

An HTTP client library would cost more than what is measured.
"""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from temporalio.client import Client

KEY = "gf_bench_" + "b" * 43


@contextmanager
def gateway(client: Client, folder: Path, config: str = "", **env: str) -> Generator[str]:
    """A gateway process before this Temporal server; yields its address. `config` is a goalfile.config.yaml."""
    settings = folder / "gateway.yaml"
    settings.write_text(config)
    mine = {
        **os.environ,
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "GOALFILE_CONFIG": str(settings),
        **env,
    }
    with (folder / "gateway.log").open("ab") as log:
        argv = [sys.executable, "-m", "gateway", "--port", "0"]
        process = subprocess.Popen(argv, env=mine, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def with_a_key(scopes: str, **limits: int) -> str:
    """A configuration in which KEY may do this."""
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    key = f"{{id: bench, sha256: {digest}, scopes: [{scopes}], run_as: [bench]}}"
    said = f"auth:\n  keys:\n    - {key}\n"
    return said + ("  limits: {" + ", ".join(f"{k}: {v}" for k, v in limits.items()) + "}\n" if limits else "")


@dataclass
class Line:
    """One connection that is kept."""

    url: str
    token: str = ""
    _open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = field(default=None, repr=False)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send one request; its status and body. A connection that the other side closed is opened anew."""
        host = urlsplit(self.url)
        if self._open is None:
            self._open = await asyncio.open_connection(host.hostname, host.port)
        reader, writer = self._open
        said = {"Host": host.netloc, "Content-Length": str(len(body)), **headers}
        if body:
            said["Content-Type"] = "application/json"
        if self.token:
            said["Authorization"] = f"Bearer {self.token}"
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in said.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        named = {k.lower(): v.strip() for k, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        answer = await reader.readexactly(int(named.get(b"content-length", b"0")))
        if named.get(b"connection", b"").lower() == b"close":
            await self.close()
        return status, answer

    async def close(self) -> None:
        """Close it."""
        if self._open is not None:
            self._open[1].close()
            self._open = None


@asynccontextmanager
async def lines(url: str, count: int, token: str = "") -> AsyncGenerator[list[Line]]:
    """So many connections."""
    made = [Line(url, token) for _ in range(count)]
    try:
        yield made
    finally:
        for line in made:
            await line.close()


@dataclass(frozen=True)
class Ask:
    """What is asked again and again."""

    method: str
    path: str
    body: bytes = b""


@dataclass
class Load:
    """What came of many requests: how often each status was answered, bodies of those accepted, how long it took."""

    statuses: Counter[int] = field(default_factory=Counter[int])
    accepted: list[bytes] = field(default_factory=list[bytes])
    seconds: float = 0.0

    async def send(self, line: Line, ask: Ask) -> None:
        """One request, counted."""
        status, said = await line.ask(ask.method, ask.path, ask.body)
        self.statuses[status] += 1
        if status == 202:
            self.accepted.append(said)


async def closed_loop(made: list[Line], seconds: float, ask: Ask) -> Load:
    """Every connection asks again as soon as it is answered."""
    load, begun = Load(), time.monotonic()

    async def one(line: Line) -> None:
        while time.monotonic() < begun + seconds:
            await load.send(line, ask)

    await asyncio.gather(*(one(line) for line in made))
    load.seconds = time.monotonic() - begun
    return load


async def open_loop(made: list[Line], rate: float, seconds: float, ask: Ask) -> Load:
    """So many requests a second, whether or not those before are answered. One that finds no connection free waits."""
    load, free, begun = Load(), asyncio.Queue[Line](), time.monotonic()
    for line in made:
        free.put_nowait(line)

    async def one() -> None:
        line = await free.get()
        try:
            await load.send(line, ask)
        finally:
            free.put_nowait(line)

    asking: list[asyncio.Future[None]] = []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        asking.append(asyncio.ensure_future(one()))
    await asyncio.gather(*asking)
    load.seconds = time.monotonic() - begun
    return load
