"""Reads one run's histories from Temporal and tells them, each thing once, until the run has ended.

A history is read from its start even if only its end is to be told: what an event means depends on those before
it. It costs no worker: waiting is a long poll of Temporal. A run that was reset is told as it goes on now.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import DataConverter
from temporalio.service import RPCError

from gateway.happenings import DoneTold, Place, Told, TroubleTold, place_of
from gateway.opened import Unreadable
from gateway.problems import Refusal
from gateway.story import Story, began
from gateway.temporal import CALL, Connection, is_missing
from schemas.sealing import CannotOpen

POLL = timedelta(seconds=30)
"""One long poll at most; Temporal itself says after 20 seconds that nothing happened."""

_AGAIN = 0.5  # seconds between two tries of a Temporal that does not answer


class _SetBackError(Exception):
    """What looked like the end was an operator's reset: the run goes on in another history."""


class Teller:
    """One run, told from after a place on. With `wait` also what happens until it ends."""

    def __init__(
        self, temporal: Connection, run: str, after: Place | None, *, wait: bool, patience: float = 10
    ) -> None:
        self._temporal, self._run, self._after, self._wait, self._patience = temporal, run, after, wait, patience
        self._failing: float | None = None
        self._converter = DataConverter.default

    async def patiently(self) -> AsyncGenerator[Told]:
        """The same as `told`, through a Temporal that is away for a moment. Trouble of its own is the last of it."""
        while True:
            try:
                async with aclosing(self.told()) as told:
                    async for each in told:
                        yield each
            except Refusal as refusal:
                now = time.monotonic()
                self._failing = self._failing or now
                # Also what looks like a refusal: a connection that breaks in the middle of a call may come as one.
                if now - self._failing >= self._patience:
                    yield TroubleTold(at=datetime.now(UTC), what="this stream", why=str(refusal))
                    return
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def told(self) -> AsyncGenerator[Told]:
        """What comes after the place, in order. Raises Refusal; asked again, it goes on where it was."""
        course = await self._course()
        while course:
            part, story = course.pop(0), Story()
            try:
                async with aclosing(self._chapter(part, story)) as chapter:
                    async for each in chapter:
                        yield each
            except _SetBackError:
                course = await self._course()
            else:
                course = course or [story.next_run] * bool(story.next_run)

    async def _chapter(self, part: str, story: Story) -> AsyncGenerator[Told]:
        async with aclosing(self._events(part)) as events:
            async for event in events:
                opened = [await self._open(each) for each in story.sealed(event)]
                for each in story.tell(event, opened):
                    place = place_of(each.id)
                    if self._after and place <= self._after:
                        continue
                    if isinstance(each, DoneTold) and story.cut_off and await self._current() != part:
                        raise _SetBackError
                    self._after = place
                    yield each
                await asyncio.sleep(0)  # a long history is not read in one breath: others are served, too

    async def _course(self) -> list[str]:
        """The histories of the run as it is now, oldest first, from that on which holds what comes next."""
        found = [await self._current()]
        async with self._temporal.ask() as client:
            while True:
                handle = client.get_workflow_handle(self._run, run_id=found[0])
                try:
                    first = await anext(handle.fetch_history_events(page_size=1, rpc_timeout=CALL))
                except RPCError as error:
                    if is_missing(error) and found[1:]:  # a chapter that is kept no longer: what is left is told
                        return found[1:]
                    raise
                earlier = first.workflow_execution_started_event_attributes.continued_execution_run_id
                if not earlier or (self._after and began(first) <= self._after.chapter):
                    return found
                found.insert(0, earlier)

    async def _current(self) -> str:
        async with self._temporal.ask() as client:
            return (await client.get_workflow_handle(self._run).describe(rpc_timeout=CALL)).run_id

    async def _events(self, part: str) -> AsyncGenerator[HistoryEvent]:
        token: bytes | None = None
        at_most = POLL if self._wait else CALL
        while True:
            async with self._temporal.ask(patience=at_most.total_seconds() + 5) as client:
                self._converter = client.data_converter
                page = client.get_workflow_handle(self._run, run_id=part).fetch_history_events(
                    next_page_token=token, wait_new_event=self._wait, rpc_timeout=at_most
                )
                await page.fetch_next_page()
            self._failing = None
            for event in page.current_page or ():
                yield event
            token = page.next_page_token
            if not token:
                return

    async def _open(self, payload: Payload) -> object:
        """A payload as plain JSON; whatever is wrong with it is told, and ends nothing."""
        try:
            return (await self._converter.decode([payload]))[0]
        except CannotOpen as error:
            return Unreadable(str(error))
        except Exception:  # noqa: BLE001 - a payload of another version may fail in any way
            return Unreadable()
