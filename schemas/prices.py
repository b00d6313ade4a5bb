"""What models cost: list prices with their source and date, and what a run's tokens come to.

A price that nobody named is unknown, never a guess: then there is no cost, and no limit on it. Prices
move; the server's configuration overrides this table.
"""

from collections.abc import Mapping

from schemas.run import Usage
from schemas.value import Value

_LIST = "list prices of platform.claude.com, 2026-11-22"


class Price(Value):
    """Dollars for a million tokens of one model. Above `long_from` prompt tokens, `long` holds instead."""

    input: float
    output: float
    cache_read: float | None = None
    """None: as `input`."""
    cache_write: float | None = None
    long_from: int | None = None
    long: "Price | None" = None
    source: str = ""

    def cost(self, usage: Usage) -> float:
        """Dollars for one turn."""
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if self.long is not None and self.long_from is not None and prompt > self.long_from:
            return self.long.cost(usage)
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        return (
            usage.input_tokens * self.input
            + usage.cache_read_tokens * read
            + usage.cache_write_tokens * write
            + usage.output_tokens * self.output
        ) / 1_000_000


PRICES: Mapping[str, Price] = {
    "claude-opus-5-5": Price(input=4, output=20, cache_write=5, cache_read=0.20, source=_LIST),
    "claude-sonnet-5-5": Price(input=2, output=10, cache_write=2.5, cache_read=0.10, source=_LIST),
    "claude-haiku-5-5": Price(
        input=0.10,
        output=0.50,
        cache_write=0.125,
        cache_read=0.01,
        long_from=100_000,
        long=Price(input=0.50, output=2.50, cache_write=0.625, cache_read=0.05),
        source="claudit 1.9.2 and PromptFuel 1.0.23, which agree; read 2026-11-22",
    ),
    "claude-opus-5": Price(input=5, output=25, cache_write=6.25, cache_read=0.50, source=_LIST),
}


def price_of(model: str, configured: Mapping[str, Price] | None = None) -> Price | None:
    """The price of a model: the server's own word first, then this table; None if nobody knows."""
    return (configured or {}).get(model) or PRICES.get(model)
