"""Sync of many task files on a real server, over the bare SDK doing the same by hand."""

import asyncio
import hashlib
import os
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from temporalio.client import Client

from runner.devserver import find_binary
from runner.files import scan
from runner.plan import Action
from runner.schedules import TemporalSchedules, keywords, to_schedule
from runner.server import register_search_attributes
from runner.sync import Round, Sync
from runner.wanted import read_wanted
from schemas import wire
from tests.bench.ratio import Count, Ratio
from tests.bench.server import server

MANY, FEW = int(os.environ.get("BENCH_SYNC_MANY", "10000")), 1_000
AT_ONCE = (16, 32, 64)
SAVES = 9


def _write(folder: Path, count: int, prefix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        text = f'goal: Look at number {number}.\ncron: "{number % 60} {number % 24} * * *"\nenabled: false\n'
        (folder / f"{prefix}-{number}.yaml").write_text(text)
    return folder


@asynccontextmanager
async def _home() -> AsyncIterator[tuple[Client, Path]]:
    async with server() as (client, folder):
        await register_search_attributes(client)
        yield client, folder


async def _by_hand(client: Client, folder: Path, owner: str, at_once: int) -> float:
    """The bare SDK: the same schedules, ready made, created side by side."""
    wanted = read_wanted(scan(folder).files)
    made = [
        (
            wire.schedule_id(name),
            to_schedule(request, "q"),
            keywords({wire.OWNER: owner, wire.TASK: name, wire.DIGEST: "x"}),
        )
        for name, request in wanted.requests.items()
    ]
    limit = asyncio.Semaphore(at_once)

    async def create(id_: str, schedule: object, marks: object) -> None:
        async with limit:
            await client.create_schedule(id_, schedule, search_attributes=marks)  # type: ignore[arg-type]

    begun = time.perf_counter()
    await asyncio.gather(*(create(*each) for each in made))
    return time.perf_counter() - begun


async def _first(client: Client, folder: Path, owner: str) -> tuple[float, Sync]:
    sync = Sync(TemporalSchedules(client, "q"), folder, owner)
    begun = time.perf_counter()
    done = await sync.round()
    took = time.perf_counter() - begun
    assert not done.failures
    return took, sync


async def _creating(found: list[Ratio]) -> None:
    """Each side has a server of its own, for a server grows slower with what it holds."""
    ours: list[float] = []
    for _ in range(3):
        async with _home() as (client, home):
            ours.append((await _first(client, _write(home / "ours", FEW, "o"), "ours"))[0])
    best: dict[int, list[float]] = {}
    for at_once in AT_ONCE:
        for _ in range(3 if at_once == 32 else 1):
            async with _home() as (client, home):
                best.setdefault(at_once, []).append(await _by_hand(client, _write(home / "t", FEW, "t"), "t", at_once))
    fastest = min(best, key=lambda each: median(best[each]))
    theirs = (best[fastest] * 3)[:3]
    found.append(
        Ratio(f"first sync of {FEW:,} files over create_schedule, {fastest} at once", tuple(ours), tuple(theirs), 1.15)
    )


async def _shell_loop(found: list[Ratio], ours: float) -> None:
    """A loop over the `temporal` command, a hundred of the thousand."""
    async with _home() as (client, _):
        address = client.service_client.config.target_host
        begun = time.perf_counter()
        for number in range(100):
            words = [
                "schedule",
                "create",
                "--address",
                address,
                "--schedule-id",
                f"s{number}",
                "--calendar",
                '{"hour":"9"}',
            ]
            words += ["--task-queue", "q", "--type", "w", "--workflow-id", "w", "--paused"]
            await asyncio.to_thread(subprocess.run, [find_binary(), *words], check=True, capture_output=True)
        took = (time.perf_counter() - begun) * 10
    found.append(
        Ratio(f"first sync of {FEW:,} files over a shell loop (100 of them, times 10)", (ours,), (took,), None)
    )


async def _bare_resync(client: Client, folder: Path) -> float:
    begun = time.perf_counter()
    for where, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:  # noqa: PTH118, PTH123 - as bare as it gets
                hashlib.sha256(file.read()).hexdigest()
    async for _ in await client.list_schedules(f"{wire.OWNER} IS NOT NULL", page_size=1000):
        pass
    return time.perf_counter() - begun


async def _resync(found: list[Ratio]) -> None:
    sides: dict[int, list[float]] = {}
    for count in (FEW, MANY):
        async with _home() as (client, home):
            folder = _write(home / "tasks", count, "t")
            _, sync = await _first(client, folder, "ours")
            while len([each async for each in await client.list_schedules()]) < count:
                await asyncio.sleep(1)  # the listing catches up
            bare: list[float] = []
            writes = 0
            for _ in range(3):
                begun = time.perf_counter()
                done: Round = await sync.round()
                sides.setdefault(count, []).append(time.perf_counter() - begun)
                writes += len(done.plan.actions)
                bare.append(await _bare_resync(client, folder))
            found.append(Count(f"writes of 3 resyncs of {count:,} files", (writes,), (0,), target=0, unit="writes"))
            what = f"resync of {count:,} files over walk, hash and one list"
            found.append(Ratio(what, tuple(sides[count]), tuple(bare), 1.5))
    found.append(
        Ratio(f"resync of {MANY:,} files over {FEW:,}", tuple(sides[MANY]), tuple(sides[FEW]), 1.2 * MANY / FEW)
    )


def _goal(action: Action) -> str:
    return action.request.task.goal if action.request else ""


async def _saved(found: list[Ratio]) -> None:
    async with _home() as (client, home):
        folder = _write(home / "tasks", 20, "t")
        rounds: asyncio.Queue[Round] = asyncio.Queue()
        watching = asyncio.create_task(Sync(TemporalSchedules(client, "q"), folder, "w").watch(rounds.put_nowait))
        await rounds.get()
        took: list[float] = []
        for number in range(SAVES):
            await asyncio.sleep(1)
            begun = time.perf_counter()
            (folder / "t-1.yaml").write_text(f"goal: Changed {number}.\n")
            while not any(_goal(each) == f"Changed {number}." for each in (await rounds.get()).plan.actions):
                pass
            took.append(time.perf_counter() - begun)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    found.append(Count("file saved to schedule updated, p50", (median(took),), (0,), target=1.5, unit="s"))


async def _measure() -> list[Ratio]:
    found: list[Ratio] = []
    await _creating(found)
    await _shell_loop(found, median(found[0].ours))
    await _resync(found)
    await _saved(found)
    return found


def measure() -> list[Ratio]:
    """Real dev servers, one for each side."""
    return asyncio.run(_measure())
