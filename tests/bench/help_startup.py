"""`goalfile --help` over a bare Python process."""

import asyncio
import subprocess
import sys
import time

from tests.bench.ratio import Ratio, in_turn


async def _seconds(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure() -> list[Ratio]:
    """Whole processes, 15 pairs."""
    ours, theirs = asyncio.run(in_turn(lambda: _seconds("-m", "runner", "--help"), lambda: _seconds("-c", "pass"), 15))
    over = tuple((a - b) * 1000 for a, b in zip(ours, theirs, strict=True))
    print(f"  milliseconds over bare Python, median: {sorted(over)[len(over) // 2]:.0f} (target 150)")
    return [Ratio("start-up", ours, theirs, None)]
