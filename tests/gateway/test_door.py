"""The door: nobody comes in without a proof, everybody without one hears the same, and it costs next to nothing."""

import json
import logging
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from gateway.app import create_app
from gateway.catalog import Names
from gateway.door import LONGEST, Door
from gateway.openapi import operations
from gateway.principals import LOCAL, Principal, mark_of
from schemas.access import Auth, Shares
from schemas.config import Config
from tests.gateway.conftest import BASE, http_to
from tests.gateway.test_api_keys import entry, key_of
from tests.gateway.test_process import address, gateways
from tests.standins.identity_provider import ABSENT, IdentityProvider, claims, segment, signed, signing_key, token

CI, STRANGER = key_of("ci"), key_of("ci")
KEYS = (entry(CI, "runs:read"),)
SIGNS, FORGES = signing_key(), signing_key("other")
Headers = list[tuple[bytes, bytes]]


async def nowhere() -> NoReturn:
    raise OSError("nowhere")


APP = create_app(nowhere, names=Names(Config(auth=Auth(keys=KEYS, limits=Shares(requests=1_000_000)))))


@pytest.fixture(scope="module")
def idp() -> Iterator[IdentityProvider]:
    with IdentityProvider(SIGNS) as provider:
        yield provider


async def inner(scope: Scope, receive: Receive, send: Send) -> None:
    """What is behind the door: says who came in."""
    who: Principal | None = scope.get("state", {}).get("principal")
    said = json.dumps(who and [who.name, sorted(who.scopes)]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": said})


def behind(door: Door) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url=BASE)


def bearer(text: str | bytes) -> Headers:
    return [(b"authorization", b"Bearer " + (text if isinstance(text, bytes) else text.encode()))]


def whole(answer: httpx.Response) -> tuple[int, dict[str, str], str]:
    """All that a caller hears, but for the path that it asked for itself."""
    said = answer.json()
    del said["instance"]
    return answer.status_code, dict(answer.headers) | {"content-length": ""}, json.dumps(said)


def wrong(good: str) -> dict[str, Headers]:
    """Ways to send nothing that proves anything; `good` is a token that would."""
    now = int(time.time())
    head, said, _ = good.split(".")
    secret = json.dumps(SIGNS.jwk()).encode()
    return {
        "nothing": [],
        "an empty header": [(b"authorization", b"")],
        "no token": [(b"authorization", b"Bearer")],
        "an empty token": bearer(""),
        "spaces": bearer("   "),
        "another scheme": [(b"authorization", b"Basic " + CI.encode())],
        "no scheme": [(b"authorization", CI.encode())],
        "a tab after the scheme": [(b"authorization", b"Bearer\t" + CI.encode())],
        "a good key twice": bearer(CI) * 2,
        "a good key and a bad one": bearer(CI) + bearer(STRANGER),
        "a bad key and a good one": bearer(STRANGER) + bearer(CI),
        "two in one": bearer(f"{CI}, Bearer {CI}"),
        "two words": bearer(f"{CI} {CI}"),
        "in a header of its own": [(b"x-api-key", CI.encode())],
        "as a cookie": [(b"cookie", b"token=" + CI.encode())],
        "for a proxy": [(b"proxy-authorization", b"Bearer " + CI.encode())],
        "another key": bearer(STRANGER),
        "a key of nobody": bearer(key_of("dev")),
        "half a key": bearer(CI[:20]),
        "the prefix of a key": bearer("gf_"),
        "quotes around it": bearer(f'"{CI}"'),
        "not ASCII": bearer(b"\xff\xfe" + CI.encode()),
        "NUL": bearer(b"\x00" + CI.encode()),
        "too long": bearer(f"{good}{'A' * LONGEST}"),
        "a word": bearer("undefined"),
        "dots": bearer(".."),
        "no signature": bearer(f"{head}.{said}."),
        "alg none": bearer(f"{segment(json.dumps({'alg': 'none', 'kid': SIGNS.kid}).encode())}.{said}."),
        "the public key as a secret": bearer(signed({"alg": "HS256", "kid": SIGNS.kid}, claims(), "HS256", secret)),
        "signed by another": bearer(token(FORGES, {"kid": SIGNS.kid})),
        "a key that is unknown": bearer(token(FORGES)),
        "its own key": bearer(token(FORGES, {"jwk": FORGES.jwk()})),
        "expired": bearer(token(SIGNS, iat=now - 900, exp=now - 300)),
        "without an end": bearer(token(SIGNS, exp=ABSENT)),
        "for another audience": bearer(token(SIGNS, aud="other")),
        "of another issuer": bearer(token(SIGNS, iss="https://evil.example")),
        "nobody's": bearer(token(SIGNS, sub="")),
    }


PATHS = {path.replace("{run_id}", "r-1").replace("{name}", "hello") for _, path, _ in operations(APP.openapi())}
NO_PATHS = {"/", "/docs", "/openapi.json", "/static/page.css", "/metrics", "/nowhere", "/v1", "/healthz/", "/readyz/x"}
LOOK_ALIKES = {"/HEALTHZ", "//healthz", "/healthz%2f", "/healthz;x", "/.env"}


@pytest.mark.parametrize("name", wrong("a.b.c"))
async def test_whatever_is_wrong_the_answer_is_the_same(idp: IdentityProvider, name: str) -> None:
    door = Door(inner, Auth(keys=KEYS, oidc=idp.config()))
    good = token(SIGNS)
    async with behind(door) as http:
        assert (await http.get("/v1/runs", headers=bearer(good))).json() == ["ada", ["runs:read"]]
        assert (await http.get("/v1/runs", headers=bearer(CI))).json() == ["key ci", ["runs:read"]]
        nothing = await http.get("/v1/runs")
        answer = await http.get("/v1/runs", headers=wrong(good)[name])
    assert whole(answer) == whole(nothing)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["type"] == "urn:goalfile:problem:unproven"


@pytest.mark.parametrize("path", sorted((PATHS | NO_PATHS | LOOK_ALIKES) - {"/healthz", "/readyz"}))
async def test_no_path_tells_whether_it_is_there(path: str) -> None:
    async with http_to(APP) as http:
        nothing = await http.get("/no-such-path")
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            body: dict[str, Any] = {"content": b"{", "headers": {"content-type": "application/json"}}
            answer = await http.request(method, path, **(body if method not in {"GET", "OPTIONS"} else {}))
            assert whole(answer) == whole(nothing), method
        assert (await http.head(path)).status_code == 401
        assert (await http.get(path, params={"access_token": CI, "token": CI})).status_code == 401
        assert (await http.get(path, headers=bearer(CI))).status_code != 401


async def test_health_is_asked_without_a_token_and_only_asked() -> None:
    async with http_to(APP) as http:
        for path, status in (("/healthz", 200), ("/readyz", 503)):
            assert (await http.get(path)).status_code == status
            assert (await http.head(path)).status_code != 401
            assert (await http.get(path, headers=bearer(STRANGER))).status_code == status
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
                assert (await http.request(method, path)).status_code == 401


async def test_nothing_of_a_body_is_read_before_it_is_known_who_asks() -> None:
    async def read() -> NoReturn:
        raise AssertionError("the body was read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/runs", "headers": bearer(STRANGER)}
    await Door(inner, Auth(keys=KEYS))(scope, read, send)
    assert sent[0]["status"] == 401


async def test_the_provider_is_asked_only_about_what_could_be_its_token(idp: IdentityProvider) -> None:
    costly = {"signed by another", "a key that is unknown", "its own key", "expired", "without an end"}
    costly |= {"for another audience", "of another issuer", "nobody's", "no signature"}
    before = len(idp.requests)
    async with behind(Door(inner, Auth(keys=KEYS, oidc=idp.config()))) as http:
        for name, headers in wrong(token(SIGNS)).items():
            if name not in costly:
                assert (await http.get("/", headers=headers)).status_code == 401, name
        assert (await http.get("/", headers=bearer(CI))).status_code == 200
        assert len(idp.requests) == before
        assert (await http.get("/", headers=bearer(token(SIGNS)))).status_code == 200
        assert len(idp.requests) == before + 1


@pytest.mark.parametrize("said", [b"bearer %s", b"BEARER %s", b"Bearer   %s  "])
async def test_a_scheme_is_spelt_in_any_case_and_spaces_do_not_count(said: bytes) -> None:
    async with behind(Door(inner, Auth(keys=KEYS))) as http:
        answer = await http.get("/", headers=[(b"authorization", said % CI.encode())])
    assert answer.json()[0] == "key ci"


@given(st.lists(st.binary(max_size=40) | st.binary(max_size=40).map(b"Bearer ".__add__), max_size=3))
async def test_no_header_whatsoever_comes_in_or_breaks_the_door(said: list[bytes]) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"authorization", each) for each in said]}
    with IdentityProvider() as without_keys:
        await Door(inner, Auth(keys=KEYS, oidc=without_keys.config()))(scope, nowhere, send)
        assert sent[0]["status"] == 401
        assert without_keys.requests == []


async def test_why_is_told_to_the_log_and_without_the_token(
    idp: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "gateway")
    expired = token(SIGNS, iat=int(time.time()) - 900, exp=int(time.time()) - 300)
    door = Door(inner, Auth(keys=KEYS, oidc=idp.config()))
    said = {
        "no bearer token, or more than one": bearer(CI) * 2,
        "no token looks like this": bearer(f"{expired}{'A' * LONGEST}"),
        "no such key": bearer(STRANGER),
        "ExpiredSignatureError": bearer(expired),
    }
    async with behind(door) as http:
        for why, headers in said.items():
            caplog.clear()
            answer = await http.get("/", headers=headers)
            assert [record.getMessage() for record in caplog.records if record.name == "gateway"] == [
                f"not let in: {why}"
            ]
            assert why not in answer.text
            assert not any(part in caplog.text for part in (CI, STRANGER[-20:], *expired.split(".")))


async def test_while_the_provider_is_down_that_is_said_and_keys_open_all_the_same() -> None:
    with IdentityProvider(SIGNS) as away:
        config = away.config()
    app = create_app(nowhere, names=Names(Config(auth=Auth(keys=KEYS, oidc=config))))  # it comes up without
    async with http_to(app) as http:
        answer = await http.get("/v1/runs", headers=bearer(token(SIGNS)))
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:goalfile:problem:no-keys")
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert "www-authenticate" not in answer.headers
        assert "127.0.0.1" not in answer.json()["detail"]
        assert (await http.get("/v1/runs")).status_code == 401
        assert (await http.get("/docs", headers=bearer(CI))).status_code == 200
        assert (await http.get("/healthz")).status_code == 200


async def test_where_nobody_is_asked_everybody_is_the_one_at_this_machine() -> None:
    seen: list[Principal] = []

    async def notes(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["state"]["principal"])
        await inner(scope, receive, send)

    async with behind(Door(notes, Auth())) as http:
        for headers in ([], bearer(CI), bearer("junk") * 2):
            assert (await http.get("/", headers=headers)).status_code == 200
    assert seen == [LOCAL] * 3


TEXT = st.text(max_size=8) | st.sampled_from(["", "ada", "ad", "ADA", "ада", "'", '"', "3:ada", "\ud800", "\0"])
ALIKE = [("a", "bc", "ab", "c"), ("", "ab", "ab", ""), ("a|b", "c", "a", "b|c"), ("1", "1:1", "11", ":1")]
SAME_ISSUER = [("\u00e9", "e\u0301"), ("ada", "ada "), ("ada", "ADA"), ("a", "a\u200b"), ("", " "), ("'", '"')]


@given(TEXT, TEXT, TEXT, TEXT)
def test_two_principals_never_have_one_mark(issuer: str, subject: str, other: str, another: str) -> None:
    assert (mark_of(issuer, subject) == mark_of(other, another)) == ((issuer, subject) == (other, another))


@given(st.text(max_size=20), st.data())
def test_one_text_cut_in_two_places_is_two_principals(text: str, data: st.DataObject) -> None:
    first, second = (data.draw(st.integers(0, len(text))) for _ in range(2))
    assert (mark_of(text[:first], text[first:]) == mark_of(text[:second], text[second:])) == (first == second)


@pytest.mark.parametrize(
    ("issuer", "subject", "other", "another"), [*ALIKE, *(("i", a, "i", b) for a, b in SAME_ISSUER)]
)
def test_who_looks_alike_is_another(issuer: str, subject: str, other: str, another: str) -> None:
    assert mark_of(issuer, subject) != mark_of(other, another)


async def test_a_principal_may_do_what_its_key_says_and_no_more() -> None:
    async with http_to(APP) as http:
        for method, path in (("POST", "/v1/runs"), ("GET", "/v1/tasks"), ("GET", "/metrics")):
            answer = await http.request(method, path, headers=bearer(CI), json={} if method == "POST" else None)
            assert answer.status_code == 403, path
            assert "which you do not have" in answer.json()["detail"]
        # Without Temporal this cannot be answered, but it may be asked.
        assert (await http.get("/v1/runs", headers=bearer(CI))).status_code == 503


def test_the_process_asks_who_comes_and_says_no_on_the_wire(tmp_path: Path) -> None:
    config = tmp_path / "goalfile.config.yaml"
    config.write_text(json.dumps({"auth": {"keys": [KEYS[0].model_dump(mode="json")]}}))
    with gateways(tmp_path) as start:
        connection = HTTPConnection(*address(start("--port", "0", GOALFILE_CONFIG=str(config))), timeout=20)

        def ask(method: str, path: str, *tokens: str, body: bytes = b"") -> tuple[int, bytes]:
            connection.putrequest(method, path)
            for each in tokens:
                connection.putheader("Authorization", f"Bearer {each}")
            if body:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read()

        assert ask("GET", "/docs", CI)[0] == 200
        assert ask("GET", "/docs")[0] == 401
        assert ask("GET", "/docs", STRANGER)[0] == 401
        assert ask("GET", "/docs", CI, CI)[0] == 401
        assert ask("HEAD", "/docs") == (401, b"")
        assert ask("POST", "/v1/runs", body=b"{" * 1_000)[0] == 401
        assert ask("GET", "/v1/../healthz")[0] == 401
        assert ask("GET", "/healthz")[0] == 200
        connection.close()
