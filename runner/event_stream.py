"""Server-Sent Events, read as they arrive. Pure: bytes in, events out, and no trust in how they are cut.

A line ends where the format says and nowhere else: JSON may hold other characters that end a line of text.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST = 4 * 1024 * 1024
"""Characters of one event: what is told of a step has some ten thousand."""
_END = re.compile(r"\r\n|\n|\r")


class TooLong(Exception):  # noqa: N818 - it reads as a state
    """An event that is longer than any of ours."""


@dataclass(frozen=True)
class Event:
    """One event. `id` is the last that was said, by this event or one before it."""

    id: str
    kind: str
    data: str


class EventStream:
    """The events of one answer."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []  # parts of a line whose end is still to come
        self._length = 0
        self._after_return = False
        self._begun = False
        self._id, self._kind, self._data = "", "", list[str]()

    def feed(self, part: bytes) -> Iterator[Event]:
        """The events that these bytes complete. Raises TooLong."""
        text = self._decoder.decode(part)
        if not text:
            return
        if not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        if self._after_return:  # the second half of a line's end
            text = text.removeprefix("\n")
        self._after_return = part.endswith(b"\r")
        first, *rest = _END.split(text)
        self._keep(first)
        for piece in rest:
            line, self._line = "".join(self._line), []
            yield from self._read(line)
            self._keep(piece)

    def _keep(self, piece: str) -> None:
        self._line.append(piece)
        self._length += len(piece)
        if self._length > MOST:
            raise TooLong

    def _read(self, line: str) -> Iterator[Event]:
        if not line:
            if self._data:
                yield Event(self._id, self._kind or "message", "\n".join(self._data))
            self._kind, self._data, self._length = "", [], 0
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._kind = value
        elif name == "id" and "\0" not in value:
            self._id = value
