"""`GET /v1/runs/{run_id}/events`: what happens in a run, while it happens, as Server-Sent Events or as a list.

Every part has an id, and `Last-Event-ID` goes on exactly after it; nothing is kept here between two connections.
It knows nothing of histories, and lets no stream outlive its caller or this process.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.sse import KEEPALIVE_COMMENT, EventSourceResponse, format_sse_event
from starlette.types import Receive, Scope, Send

from gateway.happenings import (
    ApprovalTold,
    CallTold,
    DoneTold,
    HappeningList,
    Place,
    ResultTold,
    StatusTold,
    Told,
    TroubleTold,
    TurnTold,
    place_of,
)
from gateway.ownership import Owned
from gateway.principals import Principal, needs
from gateway.problems import RESPONSES, BadEventId
from gateway.teller import Teller

COME_BACK = 3_000
"""Milliseconds after which a caller is to connect again, when we had to end the stream before the run did."""

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no", "Vary": "Accept"}


class Streams:
    """Every stream of this process. They end with it: `end` is called when it is told to stop."""

    def __init__(self, keep_alive: float = 15, patience: float = 10, most: int = 500) -> None:
        self.keep_alive, self.patience, self.most = keep_alive, patience, most
        """Seconds between two signs of life; seconds that Temporal may be away; happenings in one list."""
        self.open: set[Stream] = set()
        self.over = False

    def end(self) -> None:
        """End them all, and whatever is still asked for; their callers are told to come back."""
        self.over = True
        for stream in self.open:
            stream.end()


class Stream(EventSourceResponse):
    """One caller's stream. FastAPI's own generators answer nothing but a stream, so the loop is ours."""

    def __init__(self, told: AsyncGenerator[Told], streams: Streams, first: Told | None, place: ExitStack) -> None:
        """`first` was told already; `place` is the caller's among its long answers, and is given up at the end."""
        self._told, self._streams, self._first, self._over = told, streams, first, streams.over
        self._place = place
        self._next: asyncio.Task[Told | None] | None = None
        self._sent = self._lines()
        super().__init__(self._sent, headers=_HEADERS)

    def end(self) -> None:
        """End it before the run has ended."""
        self._over = True
        if self._next:
            self._next.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it, and leave nothing behind, whoever hung up: no task, no long poll."""
        self._streams.open.add(self)
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.open.discard(self)
            self._place.close()
            self.end()
            if self._next:
                await asyncio.wait([self._next])
            await self._sent.aclose()
            await self._told.aclose()

    async def _lines(self) -> AsyncGenerator[bytes]:
        if self._first:
            yield _line(self._first)
        self._next = asyncio.create_task(self._following())
        while not self._over:
            await asyncio.wait([self._next], timeout=self._streams.keep_alive)
            if not self._next.done():
                yield KEEPALIVE_COMMENT
                continue
            if self._next.cancelled():
                break
            told = self._next.result()
            if told is None:
                return
            self._next = asyncio.create_task(self._following())
            yield _line(told)
        yield format_sse_event(comment="the gateway stops", retry=COME_BACK)

    async def _following(self) -> Told | None:
        return await anext(self._told, None)


def _line(told: Told) -> bytes:
    """One event. Without an id, one of ours that is in no history: the caller's last id stays what it was."""
    retry = None if told.id else COME_BACK
    return format_sse_event(data_str=told.model_dump_json(), event=told.event, id=told.id or None, retry=retry)


_KINDS = (StatusTold, TurnTold, CallTold, ResultTold, ApprovalTold, TroubleTold, DoneTold)
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What happened: as it happens, or so far",
        "model": HappeningList,
        "content": {
            "text/event-stream": {
                # As FastAPI says it of its own streams.
                "itemSchema": {
                    "type": "object",
                    "required": ["data"],
                    "properties": {
                        "id": {"type": "string", "description": "Send the last one back as Last-Event-ID"},
                        "event": {"type": "string", "enum": [kind.model_fields["event"].default for kind in _KINDS]},
                        "retry": {"type": "integer", "minimum": 0},
                        "data": {
                            "type": "string",
                            "contentMediaType": "application/json",
                            "contentSchema": {
                                "oneOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in _KINDS]
                            },
                        },
                    },
                }
            }
        },
    },
    204: {"description": "The run has ended and all of it was told: do not come back"},
}

router = APIRouter(prefix="/v1", responses=RESPONSES, tags=["runs"])
Reader = Annotated[Principal, needs("runs:read")]
LastId = Annotated[
    str | None, Header(alias="Last-Event-ID", description="Go on after this: the id of the last event that you have")
]


@router.get("/runs/{run_id}/events", operation_id="runs_follow", responses=_ANSWERS)
async def follow_run(who: Reader, request: Request, execution: Owned, last_event_id: LastId = None) -> Response:
    """What happens in a run, from its start, as Server-Sent Events until it has ended.

    `event:` names what it is: `status`, `turn` (the model spoke), `tool_call`, `tool_result`, `approval` (a person is
    asked, has decided, or is asked no longer), `trouble` (something failed), `done` (the run has ended; the stream
    closes). `data:` is one JSON object; its texts are cut to the lengths in its schema, and `clipped` says so.

    A stream that breaks is gone on with: send the last `id:` as `Last-Event-ID`, and nothing is told twice or lost. Ids
    are opaque, and grow. An event without an id is the stream's own trouble: come back after `retry:` milliseconds.
    The answer is 204 when nothing is left to come back for, and 503 while Temporal is away.

    With `Accept: application/json` the answer is what happened so far, at most 500 at once, without waiting.
    """
    after = _place(last_event_id)
    streams: Streams = request.app.state.streams
    wants_list = _wants_list(request)
    teller = Teller(request.app.state.temporal, execution.id, after, wait=not wants_list, patience=streams.patience)
    if wants_list:
        return await _listed(teller, after, streams.most, over=execution.closed is not None)
    told, first = teller.patiently(), None
    if after and execution.closed:
        first = await anext(told, None)
        if first is None:
            return Response(status_code=204, headers=_HEADERS)
    place = ExitStack()
    place.enter_context(request.app.state.long_answers.held(who))
    return Stream(told, streams, first, place)


@router.head("/runs/{run_id}/events", operation_id="runs_follow_head", include_in_schema=False)
async def look_at_run(_: Reader, _run: Owned, last_event_id: LastId = None) -> Response:
    """Whether there is such a run to follow."""
    _place(last_event_id)
    return Response(media_type=EventSourceResponse.media_type, headers=_HEADERS)


def install(app: FastAPI) -> None:
    """Add the route, and the streams that `app.state.streams.end()` ends."""
    app.state.streams = Streams()
    app.include_router(router)


def _wants_list(request: Request) -> bool:
    accepted = request.headers.get("accept", "").lower()
    return "application/json" in accepted and "text/event-stream" not in accepted


def _place(said: str | None) -> Place | None:
    if not said:
        return None
    try:
        return place_of(said)
    except ValueError:
        raise BadEventId(
            "Send the `id:` of the last event that you have as Last-Event-ID, or leave it out to begin at the start."
        ) from None


async def _listed(teller: Teller, after: Place | None, most: int, *, over: bool) -> Response:
    data: list[Told] = []
    async with aclosing(teller.told()) as told:
        async for each in told:
            data.append(each)
            if len(data) == most:
                break
    last = data[-1].id if data else after and str(after)
    ended = isinstance(data[-1], DoneTold) if data else over
    body = HappeningList(data=tuple(data), next=None if ended else last).model_dump_json()
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store", "Vary": "Accept"})
