"""Requests a second of those without a key (401), over `/healthz`: what nobody may ask is answered cheaply."""

import asyncio

from tests.bench.http_load import Ask, Line, closed_loop, gateway, lines, with_a_key
from tests.bench.ratio import Ratio, in_turn
from tests.bench.server import server

_CONNECTIONS, _SECONDS = 16, 1.5


async def _measure() -> list[Ratio]:
    async with server() as (client, folder):
        with gateway(client, folder, with_a_key("admin")) as url:
            async with lines(url, _CONNECTIONS) as nobody, lines(url, _CONNECTIONS, "gf_bench_" + "x" * 43) as forged:

                async def health() -> float:
                    return await _seconds_each(nobody, "/healthz", 200)

                async def no_key() -> float:
                    return await _seconds_each(nobody, "/v1/runs", 401)

                async def wrong_key() -> float:
                    return await _seconds_each(forged, "/v1/runs", 401)

                return [
                    Ratio("no key at all", *await in_turn(no_key, health, 5), target=2),
                    Ratio("a wrong key", *await in_turn(wrong_key, health, 5), target=2),
                ]


async def _seconds_each(made: list[Line], path: str, status: int) -> float:
    load = await closed_loop(made, _SECONDS, Ask("GET", path))
    assert set(load.statuses) == {status}, load.statuses
    return load.seconds / load.statuses.total()


def measure() -> list[Ratio]:
    """5 pairs of 1.5 seconds at 16 connections; a ratio of seconds a request, so 2 is half the throughput."""
    return asyncio.run(_measure())
