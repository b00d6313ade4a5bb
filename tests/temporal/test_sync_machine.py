"""The state machine of tests/sync once more, smaller, with a real Temporal server behind it."""

import asyncio
import time

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError

from runner.plan import Existing
from runner.schedules import TemporalSchedules
from schemas import wire
from schemas.run import RunRequest
from tests.sync.schedules import Kept, Memory
from tests.sync.test_machine import SyncMachine

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


class Mirrored(Memory):
    """A server's schedules, and in memory what they must be."""

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.client = loop.run_until_complete(Client.connect(address, data_converter=pydantic_data_converter))
        self.server = TemporalSchedules(self.client, "nobody")

    async def list(self) -> tuple[Existing, ...]:
        return tuple(each for each in await self.server.list() if len(each.name) == 1)

    async def describe(self, name: str, request: RunRequest | None = None) -> Existing | None:
        return await self.server.describe(name, request)

    async def create(self, name: str, request: RunRequest, owner: str) -> bool:
        made = await self.server.create(name, request, owner)
        assert await super().create(name, request, owner) == made
        return made

    async def update(self, name: str, request: RunRequest, owner: str, was_owned_by: str) -> None:
        await self.server.update(name, request, owner, was_owned_by)
        await super().update(name, request, owner, was_owned_by)

    async def delete(self, name: str, owner: str) -> None:
        await self.server.delete(name, owner)
        await super().delete(name, owner)

    def person(self, name: str, **change: object) -> None:
        handle = self.client.get_schedule_handle(wire.schedule_id(name))
        if change["paused"]:
            self.loop.run_until_complete(handle.pause(note=str(change["note"])))
        else:
            self.loop.run_until_complete(handle.unpause(note=""))
        super().person(name, paused=change["paused"], note=change["note"])

    def others(self, name: str, kept: Kept) -> None:
        self.loop.run_until_complete(self.server.create(name, kept.request, kept.owner))
        super().others(name, kept)

    def caught_up(self) -> None:
        """Wait until the server's listing shows what was written."""
        until = time.monotonic() + 20
        while True:
            listed = {each.name: (each.owner, each.digest) for each in self.loop.run_until_complete(self.list())}
            if listed == {name: (each.owner, each.request.source.digest) for name, each in self.kept.items()}:
                return
            assert time.monotonic() < until, "the listing never caught up"
            self.loop.run_until_complete(asyncio.sleep(0.05))


def test_no_sequence_loses_a_schedule_of_a_real_server(temporal_address: str) -> None:
    class RealMachine(SyncMachine):
        def make_memory(self) -> Memory:
            return Mirrored(temporal_address, self.loop)

        def teardown(self) -> None:
            async def clear() -> None:
                for name in "abcdefghijklmnopqrstuvwxyz":
                    try:
                        await self.memory.client.get_schedule_handle(wire.schedule_id(name)).delete()  # type: ignore[attr-defined]
                    except RPCError:
                        continue

            self.loop.run_until_complete(clear())
            self.memory.kept = {}
            self.memory.caught_up()
            super().teardown()

    run_state_machine_as_test(
        RealMachine,
        settings=settings(
            max_examples=30, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
