"""Two things measured in turn, and how many times the one costs the other."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """Ours over theirs, pair by pair, with the target that it should not pass."""

    what: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    target: float | None
    unit: str = "s"

    def line(self) -> str:
        """One line: the ratio of medians, its spread over pairs, both medians, and the verdict."""
        ratio = median(self.ours) / median(self.theirs)
        pairs = sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))
        verdict = _verdict(ratio, self.target, "x")
        sides = f"{median(self.ours):.3f} {self.unit} over {median(self.theirs):.3f} {self.unit}"
        return f"{self.what}: {ratio:.2f}x  ({pairs[0]:.2f}..{pairs[-1]:.2f}; {sides}){verdict}"


@dataclass(frozen=True)
class Count(Ratio):
    """A count that has a target of its own, beside a peer's."""

    def line(self) -> str:
        """One line: ours, the peer's, and the verdict."""
        ours, theirs = median(self.ours), median(self.theirs)
        verdict = _verdict(ours, self.target, "")
        return f"{self.what}: {ours:g} {self.unit} against {theirs:g} {self.unit}{verdict}"


def _verdict(value: float, target: float | None, unit: str) -> str:
    return "" if target is None else f"  target {target:g}{unit} {'ok' if value <= target else 'MISSED'}"


async def in_turn(
    ours: Callable[[], Awaitable[float]], theirs: Callable[[], Awaitable[float]], pairs: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure both sides A B A B, after one of each that does not count."""
    await ours(), await theirs()
    measured = [(await ours(), await theirs()) for _ in range(pairs)]
    return tuple(a for a, _ in measured), tuple(b for _, b in measured)
