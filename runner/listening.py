"""What a gateway tells of a run, as it happens, through connections that break.

Whatever breaks, it goes on exactly after what was heard last, and waits a little longer each time; a gateway that is
gone for good ends it. What is told is read here, and put into lines by `runner.retelling`.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from datetime import datetime
from urllib.parse import quote

from pydantic import Field, JsonValue

from runner.event_stream import Event, EventStream, TooLong
from runner.exits import Failed
from runner.gate import Gate, SaidNo, Unheard
from runner.show import in_a_line
from schemas.value import Value

PATIENCE = 60.0
"""Seconds without one thing told after which a run is given up: a gateway that is replaced is away for less."""
SILENCE = 45.0
"""Seconds without a sign of life after which a connection is taken for dead. A gateway gives one every 15."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_LATER = frozenset({429, 500, 502, 503, 504})
_STEADY = 10.0  # a connection that held so long is no failure, whatever it told


class Happening(Value):
    """One thing that happened in a run, as a gateway tells it: every field that any kind of them has."""

    event: str
    id: str = ""
    at: datetime
    clipped: bool = False
    unreadable: str = ""
    what: str = ""
    status: str = ""
    task: str = ""
    source: str = ""
    trigger: str = ""
    turn: int | None = None
    attempt: int = 1
    text: str = ""
    call: str = ""
    tool: str = ""
    toolkit: str = ""
    arguments: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])
    state: str = ""
    content: str = ""
    kind: str = ""
    question: str = ""
    link: str = ""
    until: datetime | None = None
    since: datetime | None = None
    approve: bool | None = None
    by: str = ""
    note: str = ""
    why: str = ""
    tried_again: bool = False
    reason: str = ""
    summary: str = ""


class Page(Value):
    """A part of what happened so far."""

    data: tuple[Happening, ...]
    next: str | None = None


async def so_far(gate: Gate, run: str) -> AsyncGenerator[Happening]:
    """What has happened in a run until now."""
    after: str | None = None
    while True:
        page = await gate.ask(Page, "GET", _path(run), headers=_after(gate, after))
        for each in page.data:
            yield each
        if not page.data or page.next in (None, after):
            return
        after = page.next


async def as_it_happens(gate: Gate, run: str, patience: float = PATIENCE) -> AsyncGenerator[Happening]:
    """What happens in a run, from its start until it has ended. Raises Failed: 3 once the gateway stays away."""
    after, failing, wait = "", None, _FIRST_WAIT
    while True:
        opened, why = time.monotonic(), "the stream ends again and again"
        try:
            headers = {"Accept": "text/event-stream", **_after(gate, after)}
            async with gate.stream(_path(run), headers, SILENCE) as answer:
                if answer.status_code == 204:  # it has ended, and all of it was told
                    return
                if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                    raise gate.no_gateway()
                events = EventStream()
                async for part in answer.aiter_bytes():
                    for event in events.feed(part):
                        told = gate.read(Happening, event.data)
                        if _is_the_streams_own(event, told):
                            why = in_a_line(told.why)
                            continue
                        after, failing, wait = event.id or after, None, _FIRST_WAIT
                        yield told
                        if told.event == "done":
                            return
        except Unheard as error:
            why = str(error.message)
        except SaidNo as error:
            if error.status not in _LATER:
                raise
            why = str(error.message)
        except TooLong:
            raise gate.no_gateway() from None
        now = time.monotonic()
        failing = now if failing is None or now - opened > _STEADY else failing
        if now - failing >= patience:
            raise Failed(f"{run} cannot be followed any more, and goes on: {why}", 3)
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


def _is_the_streams_own(event: Event, told: Happening) -> bool:
    """Trouble of the gateway itself, which is in no run's history: it is come back after, and no news of the run."""
    return told.event == "trouble" and not told.id and told.what == "this stream" and event.kind == "trouble"


def _path(run: str) -> str:
    return f"/v1/runs/{quote(run, safe='')}/events"


def _after(gate: Gate, place: str | None) -> dict[str, str]:
    if not place:
        return {}
    if not re.fullmatch(r"[\x21-\x7e]{1,200}", place):
        raise gate.no_gateway()
    return {"Last-Event-ID": place}
