"""The Temporal server is killed under load, or its database is put back. P1, P2, P3 of the promises.

The limit of all of it: Temporal's database is the ledger. A write that is newer than the copy which is
put back, and so not in it, is forgotten and can be made again; what the copy holds, in flight or done, cannot.
"""

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RPCError

from schemas.run import RunResult
from tests.faults.crew import Handle, Temporal, Workers, begin, calls_of, ends, rows, temporal, told, writes
from tests.standins.counting_tools import CountingVendor

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


def copy(database: Path, to: Path) -> None:
    """A copy of a database in use, as a backup takes it."""
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


async def put_back(server: Temporal, backup: Path) -> None:
    """Stop the server, replace its database by the copy, and start it."""
    await server.stop()
    for left in server.folder.glob("temporal.db*"):
        left.unlink()
    backup.rename(server.database)
    await server.start()


async def test_a_write_that_was_in_flight_in_the_copy_is_unknown_and_not_made_again(
    tmp_path: Path, unique: str
) -> None:
    """P2, P3: the run had gone on and ended since; nobody who reads the copy can know what came of the write."""
    async with temporal(tmp_path) as server:
        with CountingVendor() as vendor, Workers(tmp_path, server.address, unique, vendor) as workers:
            client = await server.connect()
            worker = workers.start()
            handle = await begin(client, unique, writes(1, seconds=2))
            await vendor.until(lambda made: len(made) == 1)
            copy(server.database, tmp_path / "copy")
            before = await ends(handle)
            worker.kill()
            await put_back(server, tmp_path / "copy")
            client = await server.connect()
            workers.start()
            after = await ends(client.get_workflow_handle(handle.id, result_type=RunResult))
            (row,) = await rows(client, run=handle.id)
            assert list(vendor.count().values()) == [1]
    assert (calls_of(before), calls_of(after), row.state) == (["done"], ["unknown"], "unknown")
    assert (before.status, after.status) == ("succeeded", "succeeded")
    assert "outcome_unknown" in told(after)[0]


async def test_a_write_that_was_done_in_the_copy_stays_done_and_is_not_made_again(tmp_path: Path, unique: str) -> None:
    """P2: the run goes on from the copy, after the write."""
    async with temporal(tmp_path) as server:
        with CountingVendor() as vendor, Workers(tmp_path, server.address, unique, vendor) as workers:
            client = await server.connect()
            worker = workers.start(PONDER="2")
            handle = await begin(client, unique, writes(1))
            (row,) = await rows(client, run=handle.id)
            copy(server.database, tmp_path / "copy")
            before = await ends(handle)
            worker.kill()
            await put_back(server, tmp_path / "copy")
            client = await server.connect()
            workers.start()
            after = await ends(client.get_workflow_handle(handle.id, result_type=RunResult))
            assert await rows(client, run=handle.id) == [row]
            assert list(vendor.count().values()) == [1]
    assert row.state == "done"
    assert (calls_of(before), calls_of(after)) == (["done"], ["done"])
    assert told(after) == told(before) == ["added "]


RUNS, WRITES, KILLS = 12, 8, 5


async def acknowledged(client: Client, queue: str) -> Handle | None:
    """A run that the server has said yes to, or None: then nobody was promised anything."""
    try:
        async with asyncio.timeout(5):
            return await begin(client, queue, writes(WRITES, seconds=0.2))
    except (RPCError, TimeoutError):
        return None


async def test_a_server_that_is_killed_five_times_loses_no_run_and_makes_no_write_twice(
    tmp_path: Path, unique: str
) -> None:
    """P1, P2: with its database in a file, every run that was acknowledged ends, also those begun between two kills."""
    async with temporal(tmp_path) as server:
        with CountingVendor() as vendor, Workers(tmp_path, server.address, unique, vendor, PONDER="0.2") as workers:
            client = await server.connect()
            workers.start()
            begun = [await begin(client, unique, writes(WRITES, seconds=0.2)) for _ in range(RUNS - KILLS)]
            for _ in range(KILLS):
                so_far = len(vendor.made)
                await vendor.until(lambda made, so_far=so_far: len(made) >= so_far + 8)
                starting = asyncio.create_task(acknowledged(client, unique))
                await server.kill()
                await server.start()
                if run := await starting:
                    begun.append(run)
            results = await asyncio.gather(*(ends(handle) for handle in begun))
            ledger = await rows(client, task=f"t-{unique}", at_least=len(begun) * WRITES)
            counted = vendor.count()
            states = Counter(row.state for row in ledger)
            print(f"\n{KILLS} kills, {len(begun)} runs acknowledged, {len(results)} ended; {dict(states)}")
    assert Counter(result.status for result in results) == {"succeeded": len(begun)}
    assert max(counted.values()) == 1
    assert max(vendor.intentions().values()) == 1
    assert {row.id for row in ledger if row.state == "done"} <= counted.keys()
