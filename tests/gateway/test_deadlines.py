"""Callers that are slow, endless or broken, over real sockets: each is dropped, and the others are served meanwhile."""

import asyncio
import contextlib
import re
import socket
import time
from asyncio import Transport
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse
from uvicorn import Config, Server

from gateway.deadlines import LONGEST_HEAD, SERVING, Prompt
from gateway.guard import Guard
from gateway.problems import install_problems
from tests.gateway.test_process import address, gateways


class Hurried(Prompt):
    head_within, rest_within, taken_within, most = 0.5, 0.5, 0.5, 400


def app_of(body_within: float = 0.5) -> FastAPI:
    app = FastAPI()

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.get("/healthz")
    async def live() -> str:
        return "ok"

    @app.get("/long")
    async def long() -> str:
        return "x" * 8_000_000

    @app.get("/pieces")
    async def pieces() -> StreamingResponse:
        async def parts() -> AsyncGenerator[bytes]:
            for _ in range(200):
                yield b"x" * 40_000

        return StreamingResponse(parts())

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def ticks() -> AsyncGenerator[str]:
            for number in range(20):
                yield f"{number}\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(ticks())

    install_problems(app)
    app.add_middleware(Guard, body_within=body_within)
    return app


@asynccontextmanager
async def served(protocol: type[Prompt] = Hurried) -> AsyncGenerator[int]:
    """The port of a server in this process, which still answers in the end."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    how = {**SERVING, "http": protocol, "timeout_keep_alive": 1, "lifespan": "off", "log_config": None}
    server = Server(Config(app_of(), **how))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
        async with asyncio.timeout(5):
            assert b"200 OK" in await asked(listener.getsockname()[1], ALIVE)
    finally:
        server.should_exit = server.force_exit = True
        await serving
        listener.close()


async def asked(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """What is answered to these bytes, until the connection is closed or nothing more comes for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        while chunk := await asyncio.wait_for(reader.read(65_536), 1.5):
            said += chunk
            if b"\r\n\r\n" in said and b"connection: close" not in said.lower():
                break
    except (ConnectionError, TimeoutError):
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return said


async def closed_within(port: int, seconds: float, *parts: bytes, pause: float = 0.1) -> bytes:
    """What was answered until the connection was closed, which it has to be by then, whatever is sent on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    said = b""
    try:
        async with asyncio.timeout(seconds):
            for part in parts:
                writer.write(part)
                with contextlib.suppress(TimeoutError):
                    said += await asyncio.wait_for(reader.read(65_536), pause)
                if reader.at_eof():
                    return said
            while chunk := await reader.read(65_536):
                said += chunk
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return said


ALIVE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with served() as port:
        assert await closed_within(port, 2, *(ALIVE[i : i + 1] for i in range(30))) == b""


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()


async def test_a_slow_second_request_on_a_kept_connection_is_not_waited_for_either() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ALIVE)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(4)
        for _ in range(12):
            writer.write(b"G" if _ == 0 else b"E")
            await asyncio.sleep(0.1)
            if reader.at_eof():
                break
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()


async def test_a_body_that_does_not_come_in_time_is_answered_408() -> None:
    async with served() as port:
        said = await closed_within(port, 2, HEAD + b"Content-Length: 50\r\n\r\n", *[b" "] * 40)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in said
    assert b"connection: close" in said.lower()


@pytest.mark.parametrize(
    ("asks", "status"), [(b"POST /v1/validate", b"413"), (b"POST /nothing", b"404"), (b"GET /healthz", b"413")]
)
async def test_a_body_that_never_ends_is_refused_before_it_is_read(asks: bytes, status: bytes, tmp_path: Path) -> None:
    """200 MB in chunks, to a process: whatever of it is still taken from the socket is thrown away."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    head = HEAD.replace(b"POST /", asks).replace(b"json", b"yaml") + b"Transfer-Encoding: chunked\r\n\r\n"
    with gateways(tmp_path) as start:
        process = start("--port", "0")
        host, port = address(process)
        assert b"200 OK" in await asked(port, ALIVE)
        before = most_memory(process.pid)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(head)
        answer, sent = asyncio.create_task(reader.readuntil(b"\r\n\r\n")), 0
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(20):
                while sent < 200_000_000:
                    writer.write(chunk)
                    await writer.drain()
                    sent += len(chunk)
        said = await answer
        writer.transport.abort()
        assert b"200 OK" in await asked(port, ALIVE)
        grown = most_memory(process.pid) - before
    assert said.startswith(b"HTTP/1.1 " + status)
    assert grown < 20_000_000


def most_memory(pid: int) -> int:
    """Bytes that a process had in memory at most; 0 where nobody tells."""
    told = Path(f"/proc/{pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", told.read_text()) if told.exists() else None
    return int(found[1]) * 1024 if found else 0


async def test_a_library_that_sends_on_gets_to_its_refusal() -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(400):
            yield b"x" * 65_536

    json = {"content-type": "application/json"}
    async with served() as port, httpx.AsyncClient(base_url=f"http://localhost:{port}", trust_env=False) as http:
        assert (await http.post("/", content=endless(), headers=json)).status_code == 413
        assert (await http.post("/", content=b"x" * 9_000_000, headers=json)).status_code == 413


@pytest.mark.parametrize(
    "head",
    [
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["no such path", "not JSON", "a GET", "a GET in chunks"],
)
async def test_a_body_that_nobody_reads_keeps_no_connection(head: bytes) -> None:
    piece = b"1\r\nx\r\n" if b"chunked" in head else b"x"
    async with served() as port:
        said = await closed_within(port, 3, head, *[piece] * 15)
    assert said.startswith(b"HTTP/1.1 4")


async def test_a_body_that_comes_after_its_answer_leaves_the_connection_of_use() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n")
        assert b"415" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"late" + ALIVE)
        assert b"200 OK" in await reader.readuntil(b'"ok"')
        writer.close()


class Unpaused(Hurried):
    """One whose answers are written without a pause, as short ones are."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport.set_write_buffer_limits(2**30)


@contextlib.contextmanager
def slow_taker(port: int, path: str) -> Generator[socket.socket]:
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.connect(("127.0.0.1", port))
        caller.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        caller.setblocking(False)
        yield caller


@pytest.mark.parametrize(
    ("path", "protocol"), [("/long", Hurried), ("/long", Unpaused), ("/pieces", Hurried)], ids=["one", "short", "many"]
)
async def test_a_caller_that_does_not_take_its_answer_is_dropped(path: str, protocol: type[Prompt]) -> None:
    loop, taken = asyncio.get_running_loop(), 0
    async with served(protocol) as port:
        with slow_taker(port, path) as caller:
            await asyncio.sleep(2)  # it takes nothing for so long
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(5):
                    while chunk := await loop.sock_recv(caller, 65_536):
                        taken += len(chunk)
    assert taken < 1_000_000  # nor did the kernel keep more for it


@pytest.mark.parametrize("path", ["/long", "/pieces"])
async def test_a_caller_that_takes_its_answer_slowly_gets_all_of_it(path: str) -> None:
    loop, taken, began = asyncio.get_running_loop(), 0, time.monotonic()
    async with served() as port:
        with slow_taker(port, path) as caller:
            while chunk := await loop.sock_recv(caller, 40_000):
                taken += len(chunk)
                await asyncio.sleep(0.001)
    assert taken > 8_000_000
    assert time.monotonic() - began > 2 * Hurried.taken_within


async def test_a_long_answer_has_no_deadline() -> None:
    async with served() as port:
        said = await closed_within(port, 10, b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"19\n" in said


@pytest.mark.parametrize("pieces", [1, 20], ids=["at once", "in pieces"])
async def test_a_head_that_is_too_long_is_refused_and_says_so(pieces: int) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 10_000 + b"\r\n"
    step = len(head) // pieces + 1
    async with served() as port:
        said = await asked(port, *(head[at : at + step] for at in range(0, len(head), step)))
    assert said.startswith(b"HTTP/1.1 431")
    assert b"application/problem+json" in said


async def test_a_head_just_within_the_bound_is_read() -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\na: "
    async with served() as port:
        assert b"200 OK" in await asked(port, head + b"b" * (LONGEST_HEAD - len(head) - 4) + b"\r\n\r\n")


async def test_requests_in_one_piece_are_all_answered_in_order() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ALIVE * 500 + ALIVE.replace(b"GET /healthz", b"GET /nothing"))
        for _ in range(500):
            assert b"200 OK" in await reader.readuntil(b'"ok"')
        assert b"404" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_an_announced_length_that_is_too_much_is_refused_at_once() -> None:
    async with served() as port:
        assert (await asked(port, HEAD + b"Content-Length: 209715200\r\n\r\n")).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 1000,
    ],
    ids=lambda junk: repr(junk[:24]),
)
async def test_junk_gets_nothing_good(junk: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with served() as port:
        said = await asked(port, junk)
    assert not said.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("first", [ALIVE, HEAD + b"Content-Length: 1\r\n\r\n1"], ids=["GET", "POST"])
async def test_junk_behind_a_request_is_refused_after_its_answer(
    first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with served() as port:
        said = await closed_within(port, 3, first + b"\x16\x03\x01 junk\r\n\r\n" + ALIVE)
    assert said.startswith(b"HTTP/1.1 200")
    assert said.count(b"HTTP/1.1 400") == 1
    assert said.count(b"HTTP/1.1 ") == 2
    assert not [record for record in caplog.records if record.exc_info]


async def test_junk_in_a_body_is_one_refusal_and_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    after_the_answer = chunked.replace(b"json", b"jsonp")
    async with served() as port:
        assert (await closed_within(port, 3, chunked, b"zz\r\n")).startswith(b"HTTP/1.1 400")
        assert (await closed_within(port, 3, after_the_answer, b"zz\r\n")).startswith(b"HTTP/1.1 415")
    assert not [record for record in caplog.records if record.exc_info]


async def test_whoever_was_refused_may_send_on_only_for_a_moment() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 junk\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400")
        async with asyncio.timeout(5):
            while not writer.transport.is_closing():  # it is, once the other side is gone
                writer.write(b"x")
                await asyncio.sleep(0.05)
        writer.transport.abort()


async def test_whoever_hangs_up_within_a_body_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 10\r\n\r\nabc")
        await writer.drain()
        await asked(port, ALIVE)  # by now it is being read
        writer.transport.abort()
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_caller_that_closes_its_half_is_answered_or_dropped_and_never_kept() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Content-Length: 10\r\n\r\nabc")
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 3)
        writer.close()


async def test_three_hundred_that_say_nothing_keep_nobody_out() -> None:
    async with served() as port:
        idle = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(300)))
        assert b"200 OK" in await asked(port, ALIVE)
        for _, writer in idle:
            writer.close()


async def test_when_there_is_no_room_whoever_only_waits_goes_first() -> None:
    class Small(Hurried):
        head_within, most = 30, 20

    async with served(Small) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        for _ in range(60):
            idle.append(await asyncio.open_connection("127.0.0.1", port))
            assert b"200 OK" in await asked(port, ALIVE)
        assert b"19\n" in await reader.read()  # whoever is served is not put out
        assert idle[0][0].at_eof()
        for _, each in [(reader, writer), *idle]:
            each.transport.abort()
