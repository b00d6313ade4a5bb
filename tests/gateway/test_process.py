"""The process as others meet it: what it imports, prints and exits with, and what it says on the wire."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.guard import MAX_BODY
from schemas.prices import PRICES
from tests.standins.composio_api import ComposioApi, folder

ROOT = Path(__file__).parents[2]
WAIT = 20  # seconds until a test gives up on a process

Start = Callable[..., subprocess.Popen[str]]


def environment(tmp_path: Path) -> dict[str, str]:
    """One in which Temporal is certainly not there."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "TEMPORAL_ADDRESS": "127.0.0.1:1"}


@contextmanager
def gateways(home: Path) -> Iterator[Start]:
    """Starts `python -m gateway ...`, with pipes and more environment; whatever is left at the end is ended."""
    with ExitStack() as stack:

        def run(*arguments: str, **said: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "gateway", *arguments],
                    env={**environment(home), **said},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with gateways(tmp_path) as run:
        yield run


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """Where one gateway serves, whose stdin has ended: it was not told to care."""
    with gateways(tmp_path_factory.mktemp("home")) as run:
        process = run("--port", "0")
        assert process.stdin is not None
        process.stdin.close()
        yield address(process)


def address(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    url = urlsplit(process.stdout.readline().strip())
    assert url.scheme == "http"
    assert url.hostname
    assert url.port
    return url.hostname, url.port


def ask(at: tuple[str, int], method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(*at, timeout=WAIT)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): said for name, said in headers.items()})
        answer = connection.getresponse()
        assert "server" not in {name.lower() for name, _ in answer.getheaders()}
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_it_serves_without_temporal_and_guards_its_door(at: tuple[str, int]) -> None:
    assert ask(at, "GET", "/healthz")[0] == 200
    assert ask(at, "GET", "/readyz")[0] == 503
    assert ask(at, "GET", "/healthz", Host="rebound.example")[0] == 421
    assert ask(at, "POST", "/v1/runs", b"{}", Origin="http://evil.example", Content_Type="application/json")[0] == 403
    assert ask(at, "POST", "/v1/runs", b"goal=x", Content_Type="application/x-www-form-urlencoded")[0] == 415
    assert ask(at, "POST", "/v1/runs", b"{}", Content_Type="application/json")[0] == 422
    assert ask(at, "POST", "/v1/runs", b'{"goal": "x"}', Content_Type="application/json")[0] == 503


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(at: tuple[str, int]) -> None:
    with socket.create_connection(at, timeout=WAIT) as wire:
        head = f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MAX_BODY + 1}\r\n\r\n"
        wire.sendall(head.encode())
        answer = wire.makefile("rb").read()  # until it hangs up: not one byte of the body was needed
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


def test_a_body_without_a_length_is_refused_once_it_is_too_long(at: tuple[str, int]) -> None:
    with socket.create_connection(at, timeout=WAIT) as wire:
        head = "Host: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
        wire.sendall(f"POST /v1/runs HTTP/1.1\r\n{head}\r\n\r\n".encode())
        wire.sendall(b"%x\r\n%b\r\n" % (MAX_BODY + 1, b"x" * (MAX_BODY + 1)))
        assert wire.recv(13) == b"HTTP/1.1 413 "


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_quietly(start: Start, number: signal.Signals) -> None:
    process = start("--port", "0")
    ask(address(process), "GET", "/readyz")
    process.send_signal(number)
    _, complaints = process.communicate(timeout=WAIT)
    assert process.returncode == 0
    assert "Traceback" not in complaints
    assert "KeyboardInterrupt" not in complaints


def test_it_ends_with_its_parent(start: Start) -> None:
    process = start("--port", "0", "--exit-with-stdin")
    address(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(WAIT) == 0


def test_a_taken_port_is_one_clear_line(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("--port", str(port))
        said, complaint = process.communicate(timeout=WAIT)
    assert process.returncode == 1
    assert said == ""
    assert len(complaint.splitlines()) == 1
    assert str(port) in complaint
    assert "--port" in complaint


@pytest.mark.parametrize("host", ["0.0.0.0", "gateway.example"])  # noqa: S104 - to be refused
def test_it_refuses_to_serve_other_machines(start: Start, host: str) -> None:
    process = start("--host", host, "--port", "0")
    said, complaint = process.communicate(timeout=WAIT)
    assert process.returncode == 4
    assert said == ""
    assert len(complaint.splitlines()) == 1
    assert "--host 127.0.0.1" in complaint


@pytest.mark.parametrize("arguments", [["--port", "x"], ["--port", "65536"], ["--nonsense"]])
def test_wrong_usage_is_exit_2(start: Start, arguments: list[str]) -> None:
    process = start(*arguments)
    process.communicate(timeout=WAIT)
    assert process.returncode == 2


def test_what_the_environment_says_is_in_the_catalog(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text("channels: {eng-slack: {apprise: '${ENG_URL}'}}\nrun_as: {finance: [ada]}\nlimits: {turns: 50}\n")
    with ComposioApi([*folder("notes"), *folder("gmail")]) as composio:
        process = start(
            "--port", "0", GOALFILE_CONFIG=str(config), COMPOSIO_API_KEY=composio.key, COMPOSIO_BASE_URL=composio.url
        )
        status, answer = ask(address(process), "GET", "/v1/catalog")
    assert status == 200
    said = {"channels": ["eng-slack"], "run_as": {"finance": ["ada"]}, "default_model": "", "unchecked": []}
    limits = {"turns": 50, "timeout": None, "tokens": None, "cost_usd": None}
    names = {"toolkits": ["gmail", "notes"], "priced": sorted(PRICES)}
    assert json.loads(answer) == {**said, **names, "limits": limits}


def test_a_broken_configuration_stops_the_start_with_its_place_and_remedy(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text("# ours\nchanels: {}\nrun_as: {finance: ada}\n")
    process = start("--port", "0", GOALFILE_CONFIG=str(config))
    said, complaint = process.communicate(timeout=WAIT)
    assert process.returncode == 2
    assert said == ""
    first, second = complaint.splitlines()
    assert first == f"gateway: {config}:2:1: error[unknown-key] unknown key `chanels`: did you mean `channels`?"
    assert f"{config}:3:19: error[" in second


def test_the_gateway_loads_no_vendor_and_no_runner(tmp_path: Path) -> None:
    asks = (
        "import sys, gateway.app; print([name for name in"
        " ('anthropic', 'composio', 'composio_client', 'runner') if name in sys.modules])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", asks], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
