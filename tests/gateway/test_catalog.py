"""GET /v1/catalog over real HTTP to a stand-in for Composio, and without Temporal: it needs none."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from gateway.app import create_app
from gateway.catalog import Names, Toolkits
from schemas.catalog import Catalog
from schemas.config import Channel, Config
from schemas.prices import PRICES
from tests.gateway.conftest import http_to
from tests.standins.composio_api import Act, ComposioApi, Drop, Fail, Garble, Hang, Move

NAMES = [f"toolkit{number:03}" for number in range(45)]


async def nowhere() -> Client:
    raise RuntimeError("Temporal is not asked")


def told(**more: Any) -> Catalog:
    """A catalog that says this beside the models that everybody knows the price of."""
    return Catalog(priced=tuple(sorted(PRICES)), **more)


async def catalogs(*asked: Names) -> list[Catalog]:
    """What the route answers, for each of these in turn."""
    found: list[Catalog] = []
    for names in asked:
        async with http_to(create_app(nowhere, names=names)) as http:
            answer = await http.get("/v1/catalog")
        assert answer.status_code == 200
        found.append(Catalog.model_validate_json(answer.content))
    return found


@pytest.fixture
def composio() -> Iterator[ComposioApi]:
    with ComposioApi([Act(f"{name}_DO".upper(), name) for name in NAMES], page=20) as api:
        yield api


def names_of(composio: ComposioApi, **more: Any) -> Names:
    return Names(toolkits=Toolkits(composio.key, composio.url, **more))


async def test_every_page_of_toolkits_is_read(composio: ComposioApi) -> None:
    (catalog,) = await catalogs(names_of(composio))
    assert catalog == told(toolkits=tuple(NAMES))
    assert [request.query.get("cursor") for request in composio.requests] == [None, ["c20"], ["c40"]]
    assert {request.path for request in composio.requests} == {"/api/v3.1/toolkits"}


async def test_toolkits_are_spelt_as_in_task_files() -> None:
    with ComposioApi([Act("A", "Notes"), Act("B", "GMAIL"), Act("C", "gmail")]) as composio:
        (catalog,) = await catalogs(names_of(composio))
    assert catalog.toolkits == ("gmail", "notes")


async def test_the_answer_is_kept_for_a_while(composio: ComposioApi) -> None:
    names = names_of(composio, keep=0.3)
    first, again = await catalogs(names, names)
    assert first == again
    assert len(composio.requests) == 3
    await asyncio.sleep(0.35)
    await catalogs(names)
    assert len(composio.requests) == 6


async def test_composio_is_asked_once_for_all_who_wait(composio: ComposioApi) -> None:
    async with http_to(create_app(nowhere, names=names_of(composio))) as http:
        answers = await asyncio.gather(*(http.get("/v1/catalog") for _ in range(8)))
    assert len({answer.text for answer in answers}) == 1
    assert len(composio.requests) == 3


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (Fail(500, "secret-internal-detail"), "HTTP status 500"),
        (Fail(429, headers={"retry-after": "60"}), "HTTP status 429"),
        (Fail(401), r"refused the key \(401\): set COMPOSIO_API_KEY"),
        (Fail(403), r"refused the key \(403\): set COMPOSIO_API_KEY"),
        (Hang(), "time-out"),
        (Drop(), "RemoteProtocolError"),
        (Garble(b"<html>secret-internal-detail</html>"), "not understood"),
        (Garble(b"[" * 100_000), "not understood"),
        (Garble(b'{"items": null}'), "not understood"),
        (Garble(b'{"items": ["gmail"]}'), "not understood"),
        (Garble(b'{"items": [{"slug": null}]}'), "not understood"),
        (Garble(b'{"items": [], "next_cursor": 3}'), "not understood"),
        (Garble(json.dumps({"items": [{"slug": "x" * (17 * 2**20)}]}).encode()), "not understood"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("page", [1, 2])
async def test_whatever_composio_does_the_catalog_says_what_it_knows(
    composio: ComposioApi, move: Move, said: str, page: int
) -> None:
    whole = Garble(b'{"items": [{"slug": "gmail"}], "next_cursor": "c0"}')
    composio.next["toolkits"] = [*[whole] * (page - 1), move]
    names = Names(
        Config(channels={"eng": Channel(apprise="${ENG_URL}")}), Toolkits(composio.key, composio.url, within=0.5)
    )
    (catalog,) = await catalogs(names)
    assert catalog.toolkits is None
    assert catalog.channels == ("eng",)
    (line,) = catalog.unchecked
    assert re.match(rf"toolkits: Composio.*{said}", line)
    assert "\n" not in line
    for secret in (composio.key, composio.url, "secret-internal-detail"):
        assert secret not in line
    assert composio.key not in repr(names)


async def test_a_list_without_an_end_is_given_up(composio: ComposioApi) -> None:
    composio.next["toolkits"] = [Garble(b'{"items": [{"slug": "gmail"}], "next_cursor": "c0"}')] * 50
    (catalog,) = await catalogs(names_of(composio))
    assert (catalog.toolkits, len(catalog.unchecked)) == (None, 1)
    assert len(composio.requests) == 20


async def test_the_key_follows_no_redirect(composio: ComposioApi) -> None:
    with ComposioApi() as elsewhere:
        there = f"{elsewhere.url}/api/v3.1/toolkits"
        composio.next["toolkits"] = [Fail(307, headers={"location": there})]
        (catalog,) = await catalogs(names_of(composio))
        assert elsewhere.requests == []
    assert "HTTP status 307" in catalog.unchecked[0]


async def test_a_wrong_key_is_named_and_not_shown(composio: ComposioApi) -> None:
    (catalog,) = await catalogs(Names(toolkits=Toolkits("ak_another", composio.url)))
    assert "COMPOSIO_API_KEY" in catalog.unchecked[0]
    assert "ak_another" not in catalog.unchecked[0]


async def test_a_composio_that_is_not_there_is_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (catalog,) = await catalogs(Names(toolkits=Toolkits("ak", f"http://127.0.0.1:{port}")))
    assert catalog == told(unchecked=("toolkits: Composio did not answer (ConnectError)",))


async def test_a_failure_is_believed_for_a_short_time_only(composio: ComposioApi) -> None:
    composio.next["toolkits"] = [Fail(503)]
    names = names_of(composio, retry=0.3)
    failed, again = await catalogs(names, names)
    assert failed == again
    assert len(composio.requests) == 1
    await asyncio.sleep(0.35)
    (catalog,) = await catalogs(names)
    assert catalog == told(toolkits=tuple(NAMES))


async def test_without_a_key_any_toolkit_is_taken() -> None:
    assert await catalogs(Names()) == [told()]
    async with http_to(create_app(nowhere)) as http:
        answer: httpx.Response = await http.get("/v1/catalog")
    said = {"toolkits": None, "channels": [], "run_as": None, "limits": None, "default_model": "", "unchecked": []}
    assert answer.json() == {**said, "priced": sorted(PRICES)}


async def test_channels_and_users_are_the_configurations() -> None:
    config = Config(channels={"eng-slack": Channel(apprise="${ENG_URL}")}, run_as={"finance": ("ada", "bob")})
    (catalog,) = await catalogs(Names(config))
    assert catalog == told(channels=("eng-slack",), run_as={"finance": ("ada", "bob")})
