import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from gateway.guard import MAX_BODY, Guard, hosts_of, is_this_machine, refusal
from schemas.access import ApiKey, Auth
from schemas.config import Config


def judged(method: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    refused = refusal(method, "http", Headers({"host": "127.0.0.1:7700", **named}))
    return refused[0] if refused else 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:7700", "LOCALHOST", "[::1]:7700", "[::1]", "127.0.0.1:1"])
def test_this_machine_may_be_asked_for_by_its_own_names(host: str) -> None:
    assert judged("GET", host=host) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.", "10.0.0.1", "", "evil.example:127", "[::1", "0.0.0.1"],
)
def test_a_name_that_somebody_elses_dns_answers_is_refused(host: str) -> None:
    assert judged("GET", host=host) == 421


@given(st.text())
def test_only_loopback_is_this_machine(host: str) -> None:
    assert not is_this_machine(f"{host}.example")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:7700", "http://127.0.0.1:1"])
def test_another_sites_page_may_change_nothing(origin: str) -> None:
    assert judged("POST", origin=origin) == 403
    assert judged("DELETE", origin=origin) == 403
    assert judged("GET", origin=origin) == 200


def test_our_own_page_may() -> None:
    assert judged("POST", origin="http://127.0.0.1:7700") == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_a_body_is_json_or_refused(kind: str) -> None:
    assert judged("POST", content_length="2", content_type=kind) == 415
    assert judged("POST", transfer_encoding="chunked", content_type=kind) == 415


def test_json_with_a_charset_is_json_and_no_body_needs_no_type() -> None:
    assert judged("POST", content_length="2", content_type="application/json; charset=utf-8") == 200
    assert judged("POST", content_length="0") == 200
    assert judged("POST") == 200


def test_a_long_body_is_refused_by_its_announced_length() -> None:
    assert judged("POST", content_length=str(MAX_BODY), content_type="application/json") == 200
    assert judged("POST", content_length=str(MAX_BODY + 1), content_type="application/json") == 413


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_request_that_changes_nothing_has_no_body(method: str) -> None:
    assert judged(method, content_length="0") == 200
    assert judged(method, content_length="1", content_type="application/json") == 413
    assert judged(method, content_length=str(200_000_000)) == 413
    assert judged(method, transfer_encoding="chunked") == 413


@given(st.integers(0, 10**30), st.integers(0, 30))
def test_no_way_to_write_a_length_makes_it_shorter(length: int, zeros: int) -> None:
    said = judged("POST", content_length="0" * zeros + str(length), content_type="application/json")
    assert said == (200 if length <= MAX_BODY else 413)


def test_with_authentication_it_is_known_by_the_name_that_the_configuration_gives_it() -> None:
    auth = Auth(keys=(ApiKey(id="ci", sha256="0" * 64, scopes=("admin",)),))
    named = hosts_of(Config(auth=auth, url="https://Goals.acme.example/x"))
    for host, is_served in {
        "goals.acme.example": True,
        "goals.acme.example:443": True,
        "GOALS.acme.example": True,
        "127.0.0.1:7700": True,
        "evil.example": False,
        "goals.acme.example.evil.example": False,
        "": False,
    }.items():
        assert named.serves(host) is is_served, host
    assert hosts_of(Config(auth=auth)).serves("any.example")
    assert not hosts_of(Config(url="https://goals.acme.example")).serves("goals.acme.example")


@pytest.mark.parametrize("kind", ["application/yaml", "application/x-yaml", "text/yaml; charset=utf-8"])
def test_yaml_is_a_body_too(kind: str) -> None:
    assert judged("POST", content_length="2", content_type=kind) == 200


async def test_a_body_that_does_not_say_its_length_is_counted() -> None:
    app, seen = FastAPI(), list[int]()

    @app.post("/")
    async def read(request: Request) -> None:
        async for chunk in request.stream():
            seen.append(len(chunk))

    app.add_middleware(Guard)

    async def endless() -> object:
        for _ in range(1000):
            yield b"x" * 65_536

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        answer = await http.post("/", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert sum(seen) <= MAX_BODY
