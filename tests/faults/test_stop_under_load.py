"""The switch that stops everything, while ten runs write. P22 of the promises."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from temporalio.client import Client

from runner.switch import look, release
from tests.faults.crew import Workers, begin, ends, rows, writes
from tests.standins.counting_tools import CountingVendor

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

RUNS, WRITES = 10, 25
STOPS_WITHIN = 5.0
QUIET = 8.0
"""Seconds for which nothing may begin after that; runs that look again would, many times over."""


async def test_no_write_begins_five_seconds_after_everything_is_stopped_and_all_go_on_when_it_is_released(
    client: Client,
    temporal_address: str,
    tmp_path: Path,
    unique: str,
    goalfile: Callable[..., CompletedProcess[str]],
) -> None:
    """P22. What a run could not begin was provably not run: none is lost, none is made twice (P2)."""
    env = {"TEMPORAL_ADDRESS": temporal_address}
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor, PONDER="0.3") as workers:
        workers.start()
        workers.start()
        handles = [await begin(client, unique, writes(WRITES, seconds=0.3)) for _ in range(RUNS)]
        await vendor.until(lambda made: len(made) >= 3 * RUNS)
        try:
            said = await asyncio.to_thread(goalfile, "pause", "--all", "a drill", env=env)
            assert said.returncode == 0, said.stderr
            stopped = await look(client, patient=True)
            assert stopped
            until = stopped.at.timestamp() + STOPS_WITHIN + QUIET
            await asyncio.sleep(max(0.0, until - time.time()))  # that nothing happens has no event
            after = sorted(each.at - stopped.at.timestamp() for each in vendor.made)
            before_release = len(after)
            last = after[-1]
            print(f"\nthe last of {before_release} writes began {last:.2f} s after the switch was set")
            assert before_release < RUNS * WRITES, "the runs had ended before the switch could stop them"
            assert last < STOPS_WITHIN
            assert [(await handle.describe()).close_time for handle in handles] == [None] * RUNS
        finally:
            await asyncio.to_thread(goalfile, "resume", "--all", env=env)
            await release(client)
        results = await asyncio.gather(*(ends(handle, 180) for handle in handles))
        ledger = await rows(client, task=f"t-{unique}", at_least=RUNS * WRITES)
        counted = vendor.count()
    assert Counter(result.status for result in results) == {"succeeded": RUNS}
    intended = vendor.intentions()
    assert (len(intended), set(intended.values())) == (RUNS * WRITES, {1})
    assert {row.id for row in ledger if row.state == "done"} == set(counted)
    assert {row.state for row in ledger} <= {"done", "not_run"}
