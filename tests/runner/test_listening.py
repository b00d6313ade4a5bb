"""Following a run at a gateway: through streams that break anywhere, and past what is no stream of a gateway."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.event_stream import EventStream
from runner.exits import Failed
from runner.gate import Gate
from runner.listening import Happening, as_it_happens
from runner.retelling import Retelling

AT = "2026-11-28T09:00:00Z"


def event(id_: str = "", kind: str = "status", **said: Any) -> bytes:
    data = json.dumps({"event": kind, "id": id_, "at": AT, **said}, ensure_ascii=False)
    return f"{f'id: {id_}' if id_ else ': ours'}\nevent: {kind}\ndata: {data}\n\n".encode()


STARTED = event("1-1-0", what="started", status="queued", task="hello", trigger="cli")
SAID = event("1-2-0", "turn", turn=1, text="one\u2028two\nthree")
DONE = event("1-3-0", "done", status="succeeded", summary="ok")
AWAY = event("", "trouble", what="this stream", why="Temporal is away")


@asynccontextmanager
async def streams(*bodies: bytes) -> AsyncGenerator[tuple[str, list[str]]]:
    """A gateway that tells these bytes, one after the other, and hangs up after each; and where it was to go on."""
    places: list[str] = []

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        places.append(head.partition("last-event-id: ")[2].partition("\r\n")[0])
        body = bodies[min(len(places), len(bodies)) - 1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99999999\r\n\r\n" + body)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(tell, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", places


async def heard(url: str, patience: float = 30) -> list[Happening]:
    async with Gate(url, None) as gate, aclosing(as_it_happens(gate, "hello-1", patience)) as told:
        return [each async for each in told]


async def test_a_stream_that_is_cut_anywhere_is_gone_on_with_after_what_was_heard_last() -> None:
    cut = SAID[: len(SAID) // 2]
    async with streams(STARTED + cut, SAID + AWAY, b"", DONE) as (url, places):
        told = await heard(url)
    assert places == ["", "1-1-0", "1-2-0", "1-2-0"]
    assert [each.event for each in told] == ["status", "turn", "done"]
    assert told[1].text == "one\u2028two\nthree"


async def test_a_gateway_that_stays_away_is_given_up_and_the_run_goes_on() -> None:
    async with streams(STARTED + AWAY, AWAY) as (url, places):
        with pytest.raises(Failed, match="hello-1 cannot be followed any more, and goes on: ") as given_up:
            await heard(url, patience=0.5)
    assert given_up.value.exit_code == 3
    assert places[:2] == ["", "1-1-0"]
    assert set(places[1:]) == {"1-1-0"}


@pytest.mark.parametrize(
    "body",
    [
        b"data: hello\n\n",
        event("1-1-0", at="now"),
        event("x\u2028y") + b"data: {}\n\n",
        b"data: " + b"x" * (4 * 1024 * 1024 + 1),
    ],
    ids=["no JSON", "no time", "no place", "no end"],
)
async def test_a_stream_of_something_else_is_no_gateway(body: bytes) -> None:
    async with streams(body) as (url, _):
        with pytest.raises(Failed, match="is no gateway of Goalfile") as refused:
            await heard(url)
    assert refused.value.exit_code == 3


@given(st.lists(st.sampled_from([STARTED, SAID, DONE, AWAY, b": ping\n\n"])), st.data())
def test_events_are_the_same_however_their_bytes_arrive(bodies: list[bytes], data: st.DataObject) -> None:
    ends = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    whole = b"\xef\xbb\xbf" + b"".join(bodies).replace(b"\n", ends)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=9)))
    parts = [whole[begin:end] for begin, end in pairwise([0, *cuts, len(whole)])]
    one, many = EventStream(), EventStream()
    told = [each for part in parts for each in many.feed(part)]
    assert told == [*one.feed(whole)]
    assert len(told) == sum(body != b": ping\n\n" for body in bodies)
    assert all(json.loads(each.data)["event"] == each.kind for each in told)


def test_a_gateway_of_a_later_version_is_understood_as_far_as_it_goes() -> None:
    later = Happening.model_validate({"event": "thought", "at": AT, "id": "1-1-0", "depth": 3})
    cut = Happening.model_validate({"event": "tool_call", "at": AT, "call": "c", "tool": "READ", "clipped": True})
    sealed = Happening.model_validate({"event": "approval", "at": AT, "what": "asked", "unreadable": "no key"})
    told = [(line.text, line.detail) for each in (later, cut, sealed) for line in Retelling().lines(each)]
    assert told == [("READ", "…"), ("waits for a person", "no key")]
