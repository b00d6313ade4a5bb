"""How long a connection may take to say what it wants: uvicorn itself waits for a request's head for ever.

The deadline holds from the opening of a connection, or from the first byte of a later request, to the end of the
head. Between two requests uvicorn's own keep-alive time holds, and for the body the guard's.
"""

from asyncio import TimerHandle, Transport
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_WITHIN = 10.0
"""Seconds for a request's head."""


class Prompt(H11Protocol):
    """uvicorn's own protocol, with a deadline for the head."""

    head_within = HEAD_WITHIN
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A connection is opened: its first head is due."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_within, self._too_late)

    def data_received(self, data: bytes) -> None:
        """Something came: perhaps the end of a head, perhaps only a part of one."""
        super().data_received(data)
        waits = self.conn.their_state is h11.IDLE
        if waits and self._deadline is None:
            self._deadline = self.loop.call_later(self.head_within, self._too_late)
        elif not waits:
            self._met()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._met()
        super().connection_lost(exc)

    def _met(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        if not transport.is_closing():
            transport.abort()  # whoever is slow on purpose would be slow to read a farewell, too
