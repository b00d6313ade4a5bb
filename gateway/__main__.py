"""`python -m gateway`: serve this machine until told to stop.

Exit codes: 0 stopped, 1 the port cannot be had, 2 usage or settings, 4 asked to serve other machines.
Temporal need not be up: /readyz says so until it is.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from schemas.leaving import leave

if TYPE_CHECKING:
    from uvicorn import Server

DEFAULT_PORT = 7700


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the gateway. Prints the address it serves as its only line on stdout."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    asked = _parser().parse_args(arguments)
    # Imported late, each where it is first needed: Temporal's SDK alone takes half a second.
    from gateway.guard import is_this_machine  # noqa: PLC0415
    from gateway.settings import SettingsError, settings_from_environment  # noqa: PLC0415

    try:
        settings = settings_from_environment()
    except SettingsError as error:
        return _complain(str(error), 2)
    if settings.config.auth.is_open and not is_this_machine(asked.host):
        return _complain(
            f"{asked.host} is not this machine: without authentication the gateway serves loopback only;"
            " use --host 127.0.0.1, or write `auth` into goalfile.config.yaml",
            4,
        )
    try:
        listener = _listen(asked.host, asked.port)
    except OSError as error:
        return _complain(
            f"cannot listen on port {asked.port} of {asked.host}: {os.strerror(error.errno or 0)};"
            " stop what uses it, or choose another with --port",
            1,
        )
    from uvicorn import Config, Server  # noqa: PLC0415

    from gateway.app import create_app  # noqa: PLC0415
    from gateway.catalog import Names, Toolkits  # noqa: PLC0415
    from gateway.deadlines import SERVING  # noqa: PLC0415
    from gateway.preflight import Preflight  # noqa: PLC0415
    from gateway.temporal import connector  # noqa: PLC0415
    from schemas.redaction import quiet_secrets  # noqa: PLC0415

    toolkits = Toolkits(settings.composio_key, settings.composio_url) if settings.composio_key else None
    names = Names(settings.config, toolkits)
    app = create_app(
        connector(settings.temporal, settings.keys),
        queue=settings.queue,
        names=names,
        preflight=Preflight(settings.composio_key, settings.composio_url, settings.run_as),
    )

    class Serving(Server):
        """Ends streams when it is told to stop: nobody waits for a run before this process may go."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.state.streams.end()
            await super().shutdown(sockets)

    server = Serving(
        Config(
            app,
            lifespan="off",
            ws="none",
            **SERVING,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing in front of it is to be believed about who asks
            timeout_graceful_shutdown=3,
        )
    )
    quiet_secrets(settings.secrets)  # after uvicorn has set up its own logging
    if asked.exit_with_stdin:
        threading.Thread(target=_stop_at_end_of_stdin, args=(server,), daemon=True).start()
    name = f"[{asked.host.strip('[]')}]" if ":" in asked.host else asked.host
    print(f"http://{name}:{listener.getsockname()[1]}", flush=True)  # noqa: T201 - the one line of output
    server.run([listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("gateway", description="Serve Goalfile's HTTP API and page on this machine.")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0 = any free one (default: %(default)s)")
    parser.add_argument("--exit-with-stdin", action="store_true", help="stop when standard input ends")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError(text)
    return port


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = "127.0.0.1" if host.lower() == "localhost" else host
    # Named as TCP: asyncio turns Nagle's algorithm off for such sockets only, and it costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address.strip("[]"), port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def _stop_at_end_of_stdin(server: "Server") -> None:
    """A parent that dies closes the pipe it held: no orphan stays behind."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    server.should_exit = True


def _leave(_number: int, _frame: object) -> NoReturn:
    """Quietly. The server catches the signal itself, stops, and raises it again: that lands here."""
    sys.exit(0)


def _complain(line: str, code: int) -> int:
    print(f"gateway: {line}", file=sys.stderr)  # noqa: T201 - a command talks to its terminal
    return code


if __name__ == "__main__":
    leave(main)
