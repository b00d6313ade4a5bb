"""Tools that answer too much, too late or never. P2 and P3 of the promises."""

import asyncio
import json
import signal
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.faults.crew import Workers, begin, calls_of, ends, rows, told, writes
from tests.standins.counting_tools import CountingVendor

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


@pytest.mark.parametrize("megabytes", [3, 50])
async def test_a_result_larger_than_history_is_clipped_and_its_call_made_once(
    client: Client, temporal_address: str, tmp_path: Path, unique: str, megabytes: int
) -> None:
    """P2: under Temporal's default of trying again a result of 3 MB is made five times."""
    size = megabytes * 1024 * 1024
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        workers.start()
        handle = await begin(client, unique, [*writes(1, size=size), {"text": "after"}])
        result = await ends(handle)
        assert [row.state for row in await rows(client, run=handle.id, at_least=2)] == ["done", "done"]
        assert sorted(vendor.count().values()) == [1, 1]
    assert (result.status, calls_of(result)) == ("succeeded", ["done", "done"])
    first = told(result)[0]
    assert len(first) <= 20_000
    assert f"of {size:,} characters left out" in first


async def test_a_hung_tool_ends_as_unknown_at_its_deadline_and_holds_up_nobody(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """P3; and an answer after the deadline changes nothing."""
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor, DEADLINE="5") as workers:
        workers.start()
        hung = await begin(client, unique, [{"text": "hung", "seconds": 8}, {"text": "after"}])
        await vendor.until(lambda made: len(made) == 1)
        others = [await begin(client, unique, writes(2)) for _ in range(5)]
        swift = await asyncio.gather(*(ends(handle) for handle in others))
        slow = await ends(hung)
        assert [(each.status, calls_of(each)) for each in swift] == [("succeeded", ["done", "done"])] * 5
        assert max(each.ended_at for each in swift) < slow.ended_at
        assert (slow.status, calls_of(slow)) == ("succeeded", ["unknown", "done"])
        said = json.loads(told(slow)[0])
        assert (said["status"], said["why"]) == ("outcome_unknown", "no answer from the counter (TimeoutError)")
        await asyncio.to_thread(vendor.answered.acquire, timeout=20)
        assert [row.state for row in await rows(client, run=hung.id, at_least=2)] == ["unknown", "done"]
        assert set(vendor.count().values()) == {1}


async def test_a_worker_that_wakes_after_it_was_given_up_changes_nothing_and_repeats_nothing(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """P2, P3: it was stopped (SIGSTOP) in the middle of a write, and its late result is of no use to anybody."""
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        sleeper = workers.start()
        handle = await begin(client, unique, [*writes(1, seconds=2), {"text": "after"}])
        await vendor.until(lambda made: len(made) == 1)
        sleeper.send_signal(signal.SIGSTOP)
        workers.start()
        result = await ends(handle)
        sleeper.send_signal(signal.SIGCONT)
        again = await ends(await begin(client, unique, writes(1)))
        sleeper.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(sleeper.wait, 60) == 0
        ledger = await rows(client, run=handle.id, at_least=2)
        assert set(vendor.count().values()) == {1}
    assert (result.status, calls_of(result), again.status) == ("succeeded", ["unknown", "done"], "succeeded")
    assert [row.state for row in ledger] == ["unknown", "done"]
