"""The whole gateway with authentication: every route of the app is shut, and shares hold for whoever is let in.

How the door itself decides is `test_door`'s, how shares are counted `test_quotas`'; here they stand where they must.
"""

import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NoReturn

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import create_app
from gateway.catalog import Names
from schemas.access import Auth, Shares
from schemas.config import Config
from tests.gateway.conftest import http_to
from tests.gateway.test_api_keys import entry, key_of
from tests.gateway.test_ownership import OPEN, routes
from tests.standins.identity_provider import IdentityProvider, signing_key, token

CI, NIGHTLY = key_of("ci"), key_of("nightly")
KEYS = (entry(CI, "admin"), entry(NIGHTLY, "runs:read"))
SIGNS = signing_key()


async def nowhere() -> NoReturn:
    raise OSError("nowhere")


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    with IdentityProvider(SIGNS) as provider:
        yield provider


def gateway(**auth: Any) -> FastAPI:
    return create_app(nowhere, names=Names(Config(auth=Auth(**auth))))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


PROOFLESS: dict[str, Callable[[], dict[str, str]]] = {
    "no token": dict[str, str],
    "an expired one": lambda: bearer(token(SIGNS, iat=int(time.time()) - 900, exp=int(time.time()) - 300)),
    "one for somebody else": lambda: bearer(token(SIGNS, aud="other")),
    "a key of nobody": lambda: bearer(key_of("ci")),
}
ROUTES = sorted(
    {
        (method, route.path.replace("{run_id}", "r-1").replace("{name}", "hello"))
        for route in routes(gateway(keys=KEYS))
        for method in route.methods
        if route.path not in OPEN
    }
)


@pytest.mark.parametrize("name", PROOFLESS)
async def test_every_route_is_shut_in_the_same_words(idp: IdentityProvider, name: str) -> None:
    assert len(ROUTES) > 20
    async with http_to(gateway(keys=KEYS, oidc=idp.config())) as http:
        missing = await http.get("/no-such-path")
        for method, path in ROUTES:
            answer = await http.request(method, path, headers=PROOFLESS[name]())
            assert answer.status_code == 401, (method, path)
            if method != "HEAD":
                assert answer.json() == missing.json() | {"instance": path}, (method, path)
            assert answer.headers.keys() == missing.headers.keys(), (method, path)
            assert "ratelimit" not in answer.headers


async def test_every_route_is_open_to_whoever_has_a_proof(idp: IdentityProvider) -> None:
    async with http_to(gateway(keys=KEYS, oidc=idp.config(), limits=Shares(requests=100_000))) as http:
        for (method, path), proof in product(ROUTES, (CI, token(SIGNS, scope="admin"))):
            if not path.endswith("/events"):
                answer = await http.request(method, path, headers=bearer(proof))
                assert answer.status_code not in {401, 403, 429}, (method, path)


async def test_a_share_that_is_used_up_is_refused_everywhere_until_it_fills() -> None:
    async with http_to(gateway(keys=KEYS, limits=Shares(requests=1))) as http:
        left = list[int]()
        while (answer := await http.get("/v1/toolkits", headers=bearer(CI))).status_code != 429:
            left.append(int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0]))
        assert left == list(range(len(left)))[::-1]
        for path in ("/v1/runs", "/openapi.json", "/no-such-path"):
            answer = await http.get(path, headers=bearer(CI))
            assert (answer.status_code, answer.json()["type"]) == (429, "urn:goalfile:problem:too-much")
            assert 55 <= int(answer.headers["retry-after"]) <= 60
            assert ";r=0;" in answer.headers["ratelimit"]
            assert answer.headers["ratelimit-policy"]
        assert (await http.get("/v1/toolkits", headers=bearer(NIGHTLY))).status_code != 429, "another's is untouched"
        assert (await http.get("/v1/toolkits")).status_code == 401, "nobody in particular has no share to use up"
        assert (await http.get("/healthz", headers=bearer(CI))).status_code == 200


async def test_without_authentication_nobody_has_a_share() -> None:
    async with http_to(gateway(limits=Shares(requests=1))) as http:
        answers: list[httpx.Response] = [await http.get("/openapi.json") for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert "ratelimit" not in answers[-1].headers
