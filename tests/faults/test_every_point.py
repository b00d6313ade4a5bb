"""A worker dies at every point of one write, by kill -9 or by an order to stop. P2, P3, P4 of the promises."""

import asyncio
import json
import signal
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from temporalio.client import Client

from tests.faults.crew import Workers, begin, calls_of, ends, exit_code, rows, told, writes
from tests.standins.counting_tools import CountingVendor

pytestmark = [pytest.mark.temporal, pytest.mark.slow]

POINTS = ("before_request", "after_request", "after_response", "after_completion")
SAID = "the worker was lost in the middle of it"


async def dies_at(point: str, client: Client, address: str, folder: Path, queue: str) -> tuple[object, ...]:
    """What the run's steps, the ledger and the model say of the first of two writes, and how often each happened."""
    with CountingVendor() as vendor, Workers(folder, address, queue, vendor, FAULT_AT=point) as workers:
        first = workers.start()
        handle = await begin(client, queue, writes(2))
        assert await exit_code(first) == 9
        workers.start()
        result = await ends(handle)
        ledger = [row.state for row in await rows(client, run=handle.id, at_least=2)]
        counted = [sum(vendor.count(text=f"line {number}").values()) for number in range(2)]
        about_it = told(result)[0]
        if about_it.startswith("{"):
            said: dict[str, Any] = json.loads(about_it)
            assert (said["do_not_repeat"], said["why"]) == (True, SAID)
            about_it = said["status"]
        return result.status, calls_of(result), ledger, about_it.strip(), counted


async def test_a_worker_killed_at_any_point_of_a_write_leaves_the_exact_verdict_and_repeats_nothing(
    client: Client,
    temporal_address: str,
    tmp_path: Path,
    unique: str,
    goalfile: Callable[..., CompletedProcess[str]],
) -> None:
    """P2, P3: at most once, and what nobody knows is said to be unknown, to the model, in the run and in the ledger."""
    found = await asyncio.gather(
        *(dies_at(point, client, temporal_address, tmp_path, f"{unique}-{i}") for i, point in enumerate(POINTS))
    )
    lost = ("succeeded", ["unknown", "done"], ["unknown", "done"], "outcome_unknown")
    kept = ("succeeded", ["done", "done"], ["done", "done"], "added")
    assert dict(zip(POINTS, found, strict=True)) == {
        "before_request": (*lost, [0, 1]),
        "after_request": (*lost, [1, 1]),
        "after_response": (*lost, [1, 1]),
        "after_completion": (*kept, [1, 1]),
    }
    listed = await asyncio.to_thread(
        goalfile, "effects", "--task", f"t-{unique}-1", "--json", env={"TEMPORAL_ADDRESS": temporal_address}
    )
    assert sorted(row["state"] for row in json.loads(listed.stdout)) == ["done", "unknown"], listed.stderr


async def test_a_worker_told_to_stop_finishes_its_call_first(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """P2, P3: with a grace that is long enough nothing is unknown."""
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        first = workers.start(GOALFILE_GRACE="30")
        handle = await begin(client, unique, [*writes(1, seconds=3), {"text": "after"}])
        await vendor.until(lambda made: len(made) == 1)
        first.send_signal(signal.SIGTERM)
        assert await exit_code(first) == 0
        workers.start()
        result = await ends(handle)
        assert (result.status, calls_of(result)) == ("succeeded", ["done", "done"])
        assert [row.state for row in await rows(client, run=handle.id, at_least=2)] == ["done", "done"]
        assert sorted(vendor.count().values()) == [1, 1]


async def test_a_call_cut_by_a_short_grace_is_unknown_and_never_failed(
    client: Client, temporal_address: str, tmp_path: Path, unique: str
) -> None:
    """P3: the vendor acted, and the worker had no time to hear of it."""
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor) as workers:
        first = workers.start(GOALFILE_GRACE="0.3")
        handle = await begin(client, unique, [*writes(1, seconds=30), {"text": "after"}])
        await vendor.until(lambda made: len(made) == 1)
        first.send_signal(signal.SIGTERM)
        assert await exit_code(first, 20) == 0
        workers.start()
        result = await ends(handle)
        assert (result.status, calls_of(result)) == ("succeeded", ["unknown", "done"])
        said = json.loads(told(result)[0])
        assert (said["status"], said["why"]) == ("outcome_unknown", "the worker was stopped in the middle of it")
        assert [row.state for row in await rows(client, run=handle.id, at_least=2)] == ["unknown", "done"]
        assert sorted(vendor.count().values()) == [1, 1]


@pytest.mark.parametrize("point", ["", "after_request"])
async def test_a_model_that_asks_for_the_same_write_again_gets_none(
    client: Client, temporal_address: str, tmp_path: Path, unique: str, point: str
) -> None:
    """P4: not after it was done, and not after nobody knows; also not by a worker that never saw the first."""
    state = "unknown" if point else "done"
    with CountingVendor() as vendor, Workers(tmp_path, temporal_address, unique, vendor, FAULT_AT=point) as workers:
        first = workers.start()
        handle = await begin(client, unique, [*writes(1), *writes(1), {"text": "after"}])
        if point:
            assert await exit_code(first) == 9
            workers.start()
        result = await ends(handle)
        assert (sorted(vendor.count().values()), max(vendor.intentions().values())) == ([1, 1], 1)
        assert [row.state for row in await rows(client, run=handle.id, at_least=2)] == [state, "done"]
    assert (result.status, calls_of(result)) == ("succeeded", [state, "done"])
    said = told(result)[1]
    assert "made before in this run" in said if point else "already made in this run" in said
