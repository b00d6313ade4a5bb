"""`python -m tests.bench [NAME ...]`: ratios in one run, ours over a floor or a peer.

The machine may be noisy, so absolute times only orient; a side is measured in turn with the other
(A B A B), and a missed target is printed, not failed. Exits 1 only if a benchmark itself breaks.
"""

import importlib
import sys

from schemas.leaving import leave
from tests.bench.ratio import Ratio

NAMES = (
    "help_startup",
    "validate",
    "first_step",
    "twenty_steps",
    "history_bytes",
    "caching",
    "recovery",
    "kill_to_next_step",
    "waiting",
    "sync",
    "dispatch",
    "overload",
    "refusals",
)


def main(wanted: list[str]) -> None:
    """Run the benchmarks and print one line for each ratio."""
    unknown = set(wanted) - set(NAMES)
    if unknown:
        sys.exit(f"no benchmark is named {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    for name in wanted or NAMES:
        print(f"\n{name}: {(importlib.import_module(f'tests.bench.{name}').__doc__ or '').splitlines()[0]}")
        for ratio in importlib.import_module(f"tests.bench.{name}").measure():
            assert isinstance(ratio, Ratio)
            print(f"  {ratio.line()}", flush=True)


if __name__ == "__main__":
    leave(lambda: main(sys.argv[1:]))
