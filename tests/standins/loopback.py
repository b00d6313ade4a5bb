"""A loopback HTTP server for stand-ins, and the ways in which an answer can go wrong."""

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Fail:
    status: int
    message: str = "scripted failure"
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str | None = None
    """Anthropic's `details.error_code`, Composio's `slug`."""


@dataclass(frozen=True)
class Garble:
    body: bytes


@dataclass(frozen=True)
class Hang:
    pass


@dataclass(frozen=True)
class Drop:
    first: int = 20


@dataclass(frozen=True)
class Request:
    """A request as it arrived; header names in lower case, `body` decoded when it was JSON."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    raw: bytes


Answer = tuple[int, Mapping[str, str], Any] | Garble | Hang | Drop


class Loopback:
    """An HTTP server on a free loopback port while its `with` block lasts. Subclasses say `answer`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.lock = threading.RLock()
        self._ended = threading.Event()
        self._open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None

    def answer(self, request: Request) -> Answer:
        raise NotImplementedError

    @property
    def url(self) -> str:
        assert self._server is not None, "use the stand-in in a `with` block"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"standin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._ended.set()
        self._server.shutdown()
        self.cut()
        self._server.server_close()

    def cut(self) -> None:
        """Cut every open connection, as a crash of the server would."""
        with self.lock:
            for connection in self._open:
                _cut(connection)


class _Handler(BaseHTTPRequestHandler):
    standin: ClassVar[Loopback]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        with self.standin.lock:
            self.standin._open.add(self.connection)

    def finish(self) -> None:
        with self.standin.lock:
            self.standin._open.discard(self.connection)
        try:
            super().finish()
        except OSError:
            self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client went away, or `cut` did it
            self.close_connection = True

    def do_GET(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        place = urlsplit(self.path)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, place.path, parse_qs(place.query), headers, body, raw)
        with self.standin.lock:
            self.standin.requests.append(request)
            answer = self.standin.answer(request)
        match answer:
            case Hang():
                self.standin._ended.wait()
                self.close_connection = True
            case Drop(first):
                self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n")
                self.wfile.write(b'{"id":"cut-in-the-middle"'[:first])
                self.wfile.flush()
                _cut(self.connection)
                self.close_connection = True
            case Garble(garbled):
                self._write(200, {}, garbled)
            case (status, headers, body):
                self._write(status, headers, json.dumps(body).encode())

    do_POST = do_DELETE = do_PATCH = do_GET  # noqa: N815  http.server looks for these names

    def _write(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the standard library's name
        """Stay silent: `requests` is the log."""


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was closed already
