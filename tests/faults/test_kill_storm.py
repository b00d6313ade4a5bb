"""kill -9 of workers, again and again, while runs write. P1, P2, P3 of the promises.

What is counted is what the vendor saw, against what the ledger says of it.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest
from temporalio.client import Client

from schemas.run import RunResult
from tests.faults.crew import Workers, begin, calls_of, ends, rows, writes
from tests.standins.counting_tools import CountingVendor

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

RUNS, WRITES, KILLS, AT_ONCE = 20, 10, 25, 2
STATES = ("done", "unknown", "not_run", "refused", "running")


async def storm(
    workers: Workers, vendor: CountingVendor, all_ended: asyncio.Future[list[RunResult]], kills: int, seed: int
) -> int:
    """Keep one worker process running, and kill it so many times once it works. Returns the kills in the middle."""
    chance = random.Random(seed)  # noqa: S311 - when to kill is no secret
    in_the_middle = 0
    for _ in range(kills):
        process = workers.start()
        await vendor.until(lambda made, by=process.pid: all_ended.done() or any(each.by == by for each in made))
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        in_the_middle += not all_ended.done()
        process.kill()
        await asyncio.to_thread(process.wait)
    workers.start()
    return in_the_middle


async def test_two_hundred_writes_under_twenty_five_kills_are_never_made_twice_and_no_run_is_lost(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """P1: every run ends in a named state. P2: no write twice. P3: what is not certain is unknown, and nothing else."""
    with (
        CountingVendor() as vendor,
        Workers(tmp_path, temporal_address, unique, vendor, PONDER="0.2", LAG="0.3") as workers,
    ):
        handles = [await begin(client, unique, writes(WRITES, seconds=0.3)) for _ in range(RUNS)]
        all_ended = asyncio.gather(*(ends(handle, 240) for handle in handles))
        shares = [KILLS // AT_ONCE + (i < KILLS % AT_ONCE) for i in range(AT_ONCE)]
        storms = (storm(workers, vendor, all_ended, share, seed) for seed, share in enumerate(shares))
        hit = await asyncio.gather(*storms)
        results = await all_ended
        ledger = await rows(client, task=f"t-{unique}", at_least=RUNS * WRITES)
        counted = vendor.count()
        happened = {state: Counter(counted.get(r.id, 0) for r in ledger if r.state == state) for state in STATES}
        print(f"\n{sum(hit)} of {KILLS} kills while runs wrote; {RUNS * WRITES} writes, {len(ledger)} rows, by state:")
        for state, times in happened.items():
            print(f"  {state:8} {sum(times.values()):4}, of which happened: {sum(n for t, n in times.items() if t)}")
    assert sum(hit) >= KILLS // 2
    assert Counter(result.status for result in results) == {"succeeded": RUNS}
    # Nothing twice, by the id of the effect and by what the run meant.
    assert max(counted.values()) == 1
    assert max(vendor.intentions().values()) == 1
    assert not counted.keys() - {row.id for row in ledger}
    # What is said to be done was done; what never happened is never said to be; no doubt is hidden.
    assert set(happened["done"]) == {1}
    assert set(happened["not_run"]) | set(happened["refused"]) <= {0}
    assert sum(happened["unknown"].values()) + sum(happened["done"].values()) == RUNS * WRITES
    assert happened["unknown"].total() > 0
    # The run says the same as the ledger.
    assert Counter(state for result in results for state in calls_of(result)) == Counter(row.state for row in ledger)
