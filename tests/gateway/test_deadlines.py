"""Callers that are slow, endless or broken, over real sockets: each is dropped, and the others are served meanwhile."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request
from uvicorn import Config, Server

from gateway.deadlines import Prompt
from gateway.guard import MAX_BODY, Guard
from gateway.problems import install_problems


class Hurried(Prompt):
    head_within = 0.5


def app_of(body_within: float = 0.5) -> FastAPI:
    app = FastAPI()

    @app.post("/")
    async def read(request: Request) -> int:
        return len(await request.body())

    @app.get("/healthz")
    async def live() -> str:
        return "ok"

    install_problems(app)
    app.add_middleware(Guard, body_within=body_within)
    return app


@asynccontextmanager
async def served() -> AsyncGenerator[int]:
    """The port of a server in this process."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = Server(Config(app_of(), http=Hurried, lifespan="off", log_level="critical", timeout_keep_alive=1))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
        async with asyncio.timeout(5):
            assert await asked(listener.getsockname()[1], b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
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


HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def test_a_head_that_comes_byte_by_byte_is_not_waited_for() -> None:
    async with served() as port:
        assert (
            await asked(port, *(b"GET /healthz HTTP/1.1\r\nHost: localhost"[i : i + 1] for i in range(20)), pause=0.1)
            == b""
        )


async def test_a_connection_that_says_nothing_is_closed() -> None:
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()


async def test_a_slow_second_request_on_a_kept_connection_is_not_waited_for_either() -> None:
    async with served() as port:
        whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(whole)
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
        said = await asked(port, HEAD + b"Content-Length: 50\r\n\r\n", b" ", b" ", pause=0.1)
    assert said.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in said
    assert b"connection: close" in said.lower()


async def test_a_body_that_never_ends_is_refused_before_it_is_read() -> None:
    """200 MB in chunks: all but the first pieces are never taken from the socket."""
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(10):
                for _ in range(200 * 16):
                    writer.write(chunk)
                    await writer.drain()
                    sent += len(chunk)
        said = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            said = await asyncio.wait_for(reader.read(65_536), 2)
        writer.close()
    assert sent < 50 * MAX_BODY
    assert not said or said.startswith(b"HTTP/1.1 413")


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
async def test_junk_gets_nothing_good(junk: bytes) -> None:
    async with served() as port:
        said = await asked(port, junk)
    assert not said.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5"))


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
        assert b"200 OK" in await asked(port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _, writer in idle:
            writer.close()
