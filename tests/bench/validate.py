"""Validating folders of 100, 1,000 and 10,000 task files, over a bare C-loader parse of the same files."""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from runner.files import scan
from runner.wanted import read_wanted
from tests.bench.ratio import Ratio, in_turn
from tests.conftest import ROOT

SIZES = {100: 15, 1_000: 7, 10_000: 3}
"""Files in a folder, and the pairs measured over it."""


def _write(folder: Path, count: int) -> None:
    """Copies of the example tasks with names of their own, a hundred to a folder, and defaults above them."""
    examples = [path.read_text() for path in sorted((ROOT / "tasks").glob("[a-z]*.yaml"))]
    for number in range(count):
        inside = folder / f"team-{number // 100}"
        inside.mkdir(exist_ok=True)
        (inside / f"task-{number}.yaml").write_text(examples[number % len(examples)])
    (folder / "_defaults.yaml").write_text("limits: {turns: 40, timeout: 15m}\nlabels: {team: growth}\n")


def _ours(folder: Path) -> None:
    found = read_wanted(scan(folder).files)
    assert not found.problems
    assert found.requests


def _bare(folder: Path) -> None:
    for where, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(where, name), "rb") as file:  # noqa: PTH118, PTH123 - as bare as it gets
                assert yaml.load(file.read(), Loader=yaml.CSafeLoader)


def _timed(work: Callable[[Path], None], folder: Path) -> float:
    gc.collect()
    begun = time.perf_counter()
    work(folder)
    return time.perf_counter() - begun


async def _measure() -> list[Ratio]:
    found: list[Ratio] = []
    sides: dict[int, tuple[float, ...]] = {}
    with TemporaryDirectory() as root:
        for count, pairs in SIZES.items():
            folder = Path(root, str(count))
            folder.mkdir()
            _write(folder, count)

            async def ours(folder: Path = folder) -> float:
                return _timed(_ours, folder)

            async def bare(folder: Path = folder) -> float:
                return _timed(_bare, folder)

            sides[count], theirs = await in_turn(ours, bare, pairs)
            found.append(Ratio(f"validate {count:,} files over a bare parse", sides[count], theirs, target=3))
    few = sides[1_000][: SIZES[10_000]]
    return [*found, Ratio("validate 10,000 files over 1,000", sides[10_000], few, target=11)]


def measure() -> list[Ratio]:
    """One process; every file is valid, as nearly all are."""
    return asyncio.run(_measure())
