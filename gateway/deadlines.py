"""How long a caller may keep a connection, and how much of a head it may send: uvicorn itself waits for ever.

Three things are due from a caller: a head, the rest of a body that nobody reads any more, and that it takes its
answer. Each has a deadline that no single byte puts off. Between two requests uvicorn's own keep-alive time holds,
and for a body that a route reads the guard's. Whoever is refused within a body may send on for a moment, to nobody:
a connection that is closed under it would take the refusal with it. It stays with h11: httptools takes half the
time, and reads pipelined requests into memory without end.
"""

import socket
from asyncio import TimerHandle, Transport
from collections.abc import Mapping
from http import HTTPStatus
from math import inf
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.problems import problem_response

HEAD_WITHIN = 10.0
"""Seconds for a request's head: from the opening of a connection, or from the first byte of a later request."""
REST_WITHIN = 5.0
"""Seconds for what is left of a body after the answer: it is thrown away, so that the caller gets to the answer."""
TAKEN_WITHIN = 30.0
"""Seconds for a caller to take what waits for it, or ENOUGH of it."""
ENOUGH = 16 * 1024
"""Bytes: less in so long is not slow, but meant."""
LONGEST_HEAD = 16 * 1024
"""Bytes of a head, and of anything else that h11 has to see whole."""
MOST = 900
"""Connections; one that only waits goes for each one more. Often a process may open 1,024 files."""

SEND_BUFFER = 128 * 1024
"""Bytes that the kernel may hold for a caller. It would hold megabytes, and tell of none before a third is taken."""
_BITE = 4 * 1024  # h11 measures a head only when it is given a part of one; asyncio reads 256 KiB at once


class Prompt(H11Protocol):
    """uvicorn's own protocol, with deadlines."""

    head_within, rest_within, taken_within, most = HEAD_WITHIN, REST_WITHIN, TAKEN_WITHIN, MOST
    _over = False
    """An answer was given that is the last, and whatever still comes is thrown away."""
    _due: str = ""
    _deadline: TimerHandle | None = None
    _taking: TimerHandle | None = None
    _waits: int = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A connection is opened: its first head is due, and there must be room for it."""
        super().connection_made(transport)
        self.transport = cast("Transport", _Gentle(transport, self))
        if line := transport.get_extra_info("socket"):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._expect("head", self.head_within)
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Something came: perhaps the end of what is due, perhaps only a part of it."""
        for start in range(0, len(data), _BITE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + _BITE])
        self._look()

    def on_response_complete(self) -> None:
        """An answer was given to the transport. The next head is not due: uvicorn's keep-alive time has begun."""
        super().on_response_complete()
        if self.conn.their_state is not h11.IDLE:
            self._look()
        self._expect_taking()

    def pause_writing(self) -> None:
        """The caller does not take its answer."""
        super().pause_writing()
        self._expect_taking()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        super().resume_writing()
        self._taken()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._met()
        self._taken()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP, or too long: say so if no answer has begun, and end the connection."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.disconnected = True  # whoever reads the body is told, and does not answer as well
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            is_head = self.conn.our_state is h11.IDLE
            for event in _unreadable(msg, too_long=is_head and len(self.conn.trailing_data[0]) > LONGEST_HEAD):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._expect_taking()

    def end(self) -> bool:
        """Whether the connection may be closed at once. If not, it is now over, and closed when the rest has come."""
        if self._over or self.conn.their_state not in {h11.SEND_BODY, h11.ERROR}:
            return True
        self._over = True
        self.flow.resume_reading()
        self._expect("rest", self.rest_within)
        return False

    def _look(self) -> None:
        """See what is due now; what was due before keeps its deadline."""
        if self._over:
            return
        state = self.conn.their_state
        if state is h11.IDLE:
            self._expect("head", self.head_within)
        elif state is h11.SEND_BODY and self.cycle.response_complete:
            self._expect("rest", self.rest_within)
        else:
            self._met()

    def _expect(self, what: str, within: float) -> None:
        if self._due != what:
            self._met()
            self._due, self._deadline = what, self.loop.call_later(within, self._drop)

    def _met(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._due, self._deadline = "", None

    def _expect_taking(self) -> None:
        self._taken()
        self._waits = self.transport.get_write_buffer_size()
        if self._waits:
            self._taking = self.loop.call_later(self.taken_within, self._see_what_was_taken)

    def _taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _see_what_was_taken(self) -> None:
        waited = self._waits
        self._expect_taking()
        if self._waits > max(0, waited - ENOUGH):
            self._drop()

    def _drop(self) -> None:
        self._met()
        self.transport.abort()  # whoever is slow on purpose would be slow to read a farewell, too

    def _make_room(self) -> None:
        """Drop the one that waits for a head, or for a next request, and would have to go first."""
        others = cast("set[object]", self.connections)
        waiting = [each for each in others if isinstance(each, Prompt) and each._goes_at() < inf]
        if waiting:
            min(waiting, key=Prompt._goes_at)._drop()

    def _goes_at(self) -> float:
        """When it has to go unless a head comes; never, while it is served."""
        limit = self._deadline or self.timeout_keep_alive_task
        return limit.when() if limit and self.conn.their_state is h11.IDLE else inf


class _Gentle:
    """A transport that says it is closing, and is not yet closed, while a body comes that nobody reads."""

    def __init__(self, transport: Transport, caller: Prompt) -> None:
        self._transport, self._caller, self._closing = transport, caller, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def close(self) -> None:
        self._closing = True
        if self._transport.is_closing() or self._caller.end():
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()  # whoever listens need not wait


SERVING: Mapping[str, Any] = {
    "http": Prompt,
    "timeout_keep_alive": 5,
    "h11_max_incomplete_event_size": LONGEST_HEAD,
}
"""What uvicorn's Config is to be given."""


def _unreadable(said: str, *, too_long: bool) -> list[h11.Response | h11.Data | h11.EndOfMessage]:
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_long else HTTPStatus.BAD_REQUEST
    detail = f"A request's head may have {LONGEST_HEAD // 1024} KiB." if too_long else said
    word = status.phrase.lower().replace(" ", "-")
    answer = problem_response("", status, word, status.phrase, detail, headers={"Connection": "close"})
    start = h11.Response(status_code=status, headers=answer.raw_headers, reason=status.phrase.encode())
    return [start, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()]
