"""The stop switch on a real server: set, seen by everybody, released; and what a process does that cannot see it."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from click.testing import CliRunner, Result
from temporalio.client import Client, Schedule, ScheduleActionStartWorkflow, ScheduleSpec, ScheduleState
from temporalio.contrib.pydantic import pydantic_data_converter

from runner.cli_operate import pause, resume
from runner.codec import data_converter
from runner.devserver import free_port
from runner.ports import TransientError
from runner.switch import Switch, look, release, stop
from schemas.sealing import keyring
from schemas.stop import MOST_REASON, Stopped
from schemas.wire import STOP_SWITCH

pytestmark = pytest.mark.temporal


@pytest.fixture(autouse=True)
async def released(client: Client) -> AsyncIterator[None]:
    """The server is everybody's in this process: nothing stays stopped."""
    yield
    await release(client)


async def gone(address: str) -> Client:
    """A client of a server that is not there any more: it connects only when it is asked something."""
    return await Client.connect(address, lazy=True, data_converter=pydantic_data_converter)


async def within_five_seconds(switch: Switch, *, stopped: bool) -> float:
    began = time.monotonic()
    while (await switch.stopped() is not None) != stopped:
        assert time.monotonic() - began < 5
        await asyncio.sleep(0.01)
    return time.monotonic() - began


async def test_a_stop_is_set_and_seen_and_released(client: Client) -> None:
    switch = Switch(client, every=0)
    assert await switch.stopped() is None
    set_now, is_ours = await stop(client, "ada", "the vendor was broken into")
    assert is_ours
    await within_five_seconds(switch, stopped=True)
    assert (await look(client, patient=True)) == set_now
    assert str(set_now) == f"by ada, {set_now.at:%Y-%m-%d %H:%M} UTC: the vendor was broken into"
    was = await release(client)
    assert was == set_now
    assert await switch.stopped() is None
    assert await release(client) is None


async def test_a_worker_sees_a_stop_and_its_release_in_less_than_five_seconds(client: Client) -> None:
    switch = Switch(client)
    assert await switch.stopped() is None
    await stop(client, "ada")
    assert await within_five_seconds(switch, stopped=True) > 0.5  # or it would ask at every turn
    await release(client)
    await within_five_seconds(switch, stopped=False)


async def test_who_set_it_first_is_told_to_the_second(client: Client) -> None:
    first, _ = await stop(client, "ada", "first")
    second, is_ours = await stop(client, "bob", "second")
    assert (second, is_ours) == (first, False)
    assert await release(client) == first
    assert await look(client) is None


async def test_it_outlives_the_client_that_set_it(client: Client, temporal_address: str) -> None:
    await stop(client, "ada")
    later = await Client.connect(temporal_address, data_converter=pydantic_data_converter)
    found = await Switch(later).stopped()
    assert found is not None


class Counted:
    """A client that counts how often the server is asked, and how many ask at once."""

    def __init__(self, client: Client) -> None:
        self.namespace, self.data_converter, self.workflow_service = client.namespace, client.data_converter, self
        self._service = client.workflow_service
        self.asked = self.at_once = self._now = 0

    async def describe_schedule(self, *request: Any, **how: Any) -> Any:
        self.asked += 1
        self._now += 1
        self.at_once = max(self.at_once, self._now)
        try:
            return await self._service.describe_schedule(*request, **how)
        finally:
            self._now -= 1


async def test_many_callers_share_one_look(client: Client) -> None:
    counted = Counted(client)
    switch = Switch(cast("Client", counted), every=60)
    for _ in range(2):
        assert set(await asyncio.gather(*(switch.stopped() for _ in range(100)))) == {None}
    assert counted.asked == 1
    always = Switch(cast("Client", counted), every=0)
    await asyncio.gather(*(always.stopped() for _ in range(100)))
    assert counted.at_once == 1


async def test_a_crowd_at_a_switch_that_was_just_set_is_told_that_it_is_set(client: Client) -> None:
    """The server refuses to read one schedule for many at once, and says so: it is there."""
    await stop(client, "ada")
    found = await asyncio.gather(*(Switch(client).stopped() for _ in range(20)))
    assert all(found)


async def test_a_caller_who_is_cancelled_takes_the_answer_from_nobody(client: Client) -> None:
    switch = Switch(client)
    first = asyncio.create_task(switch.stopped())
    second = asyncio.create_task(switch.stopped())
    await asyncio.sleep(0)
    first.cancel()
    assert await second is None
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_what_a_hand_has_put_there_stops_as_well(client: Client) -> None:
    action = ScheduleActionStartWorkflow("x", "no stop at all", id="never-started", task_queue="nobody")
    await client.create_schedule(STOP_SWITCH, Schedule(action, ScheduleSpec(), state=ScheduleState(paused=True)))
    found = await look(client, patient=True)
    assert found is not None
    assert (found.by, found.reason) == ("", "")
    assert abs((datetime.now(UTC) - found.at).total_seconds()) < 60
    assert str(found).startswith("by somebody, ")


async def test_a_process_without_the_key_sees_the_stop_and_not_its_reason(temporal_address: str) -> None:
    keys = keyring([("k1", base64.b64encode(bytes(32)).decode())])
    sealed = await Client.connect(temporal_address, data_converter=data_converter(keys))
    await stop(sealed, "ada", "a secret reason")
    assert "a secret reason" in str(await look(sealed, patient=True))
    plain = await Client.connect(temporal_address, data_converter=data_converter(None))
    found = await look(plain, patient=True)
    assert found is not None
    assert (found.by, found.reason) == ("", "")


async def test_without_an_answer_nothing_is_begun() -> None:
    switch = Switch(await gone(f"127.0.0.1:{free_port()}"))
    with pytest.raises(TransientError, match="nobody knows whether everything was stopped") as caught:
        await switch.stopped()
    assert (caught.value.sent, caught.value.retry_after) == (False, 5)


async def test_a_namespace_that_is_not_there_is_no_answer(temporal_address: str) -> None:
    client = await Client.connect(temporal_address, namespace="nope", data_converter=pydantic_data_converter)
    with pytest.raises(TransientError):
        await Switch(client).stopped()


class Flaky:
    """A relay before the server that can be cut: what a worker sees of a network that fails."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    async def __aexit__(self, *_: object) -> None:
        await self.cut()

    async def cut(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, upward = await asyncio.open_connection(self._host, self._port)
        for source, sink in ((reader, upward), (up, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            return  # the other end was cut first
        finally:
            sink.close()


async def until_unknown(switch: Switch, *, stopped: bool) -> None:
    async with asyncio.timeout(5):
        while True:
            assert (await switch.stopped() is not None) is stopped
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("set_before", [False, True])
async def test_the_last_answer_is_believed_for_a_while_and_then_no_more(
    client: Client, temporal_address: str, *, set_before: bool
) -> None:
    if set_before:
        await stop(client, "ada")
        await look(client, patient=True)
    relay = Flaky(temporal_address)
    async with relay as address:
        far = await Client.connect(address, data_converter=pydantic_data_converter)
        switch = Switch(far, every=0.05, believed=1.0)
        assert (await switch.stopped() is not None) is set_before
        await relay.cut()
        assert (await switch.stopped() is not None) is set_before
        with pytest.raises(TransientError):
            await until_unknown(switch, stopped=set_before)


@pytest.fixture
def run(temporal_address: str) -> "Run":
    return Run(temporal_address)


class Run:
    def __init__(self, address: str) -> None:
        self._env = {"TEMPORAL_ADDRESS": address, "LOGNAME": "ada"}

    async def __call__(self, *words: str) -> Result:
        command = {"pause": pause, "resume": resume}[words[0]]
        return await asyncio.to_thread(CliRunner(env=self._env).invoke, command, words[1:])


async def test_the_command_stops_everything_and_tells_who_was_first(client: Client, run: "Run") -> None:
    said = await run("pause", "--all", "a bad day")
    assert (said.exit_code, said.stderr) == (
        0,
        "no new write and no new model turn begins within 5 seconds; runs wait for: goalfile resume --all\n",
    )
    assert said.stdout.startswith("stopped by ada, ")
    assert said.stdout.endswith("UTC: a bad day\n")
    found = await look(client, patient=True)
    assert found is not None
    again = await run("pause", "--all", "--json", "--reason", "another")
    assert json.loads(again.stdout) == {"changed": False, "stopped": found.model_dump(mode="json")}
    released = await run("resume", "--all")
    assert released.stdout.startswith("released; it was stopped by ada, ")
    assert await look(client) is None
    assert (await run("resume", "--all")).stdout == "nothing was stopped\n"
    assert json.loads((await run("resume", "--all", "--json")).stdout) == {"changed": False, "stopped": None}


async def test_a_reason_drives_no_terminal_and_has_an_end(client: Client, run: "Run") -> None:
    said = await run("pause", "--all", "red \x1b[31m\nalert " + "x" * 2000)
    assert "\x1b" not in said.stdout
    assert said.stdout.count("\n") == 1
    found = await look(client, patient=True)
    assert found is not None
    assert len(found.reason) == MOST_REASON


@pytest.mark.parametrize(
    "words", [["pause"], ["pause", "--all", "x", "--reason", "y"], ["resume"], ["resume", "--all", "x"]]
)
async def test_an_unclear_wish_is_exit_2(client: Client, run: "Run", words: list[str]) -> None:
    assert (await run(*words)).exit_code == 2
    assert await look(client) is None


def test_a_stop_reads_what_a_later_release_adds() -> None:
    at = datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert str(Stopped.model_validate({"at": at, "of_tomorrow": 1})) == "by somebody, 2026-11-22 09:00 UTC"
