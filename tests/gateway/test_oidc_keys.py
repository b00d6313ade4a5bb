"""Where the keys come from by which tokens are believed: each way in which a provider, or an answer of it, can fail.

Real keys, real HTTP on loopback; only the clock is scripted. What a token says is `test_oidc`'s.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oidc import FRESH, REST, REST_AFTER_FAILURE, STALE, Provider, keys_of
from gateway.problems import NoKeys
from schemas.access import Oidc
from tests.gateway.test_oidc import NOW, OTHER, RSA, is_let_in, who
from tests.standins.identity_provider import ABSENT, AUDIENCE, ISSUER, IdentityProvider, signing_key, token
from tests.standins.loopback import Answer, Drop, Garble, Hang


class Clock:
    """Seconds that go by when they are told to."""

    def __init__(self) -> None:
        self.now = 5_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    """A provider of one test's own, which may fail."""
    with IdentityProvider(RSA) as provider:
        yield provider


# -- which keys a provider has -------------------------------------------------------------------------------------


def asked(idp: IdentityProvider) -> int:
    return len(idp.requests)


async def test_a_short_key_is_not_believed() -> None:
    short = signing_key("short", bits=1024)
    with IdentityProvider(short, RSA) as idp:
        assert not await is_let_in(Provider(idp.config()), token(short))
    with IdentityProvider(short) as idp, pytest.raises(NoKeys):
        await who(Provider(idp.config()), token(short))


async def test_a_curve_that_is_not_meant_is_not_believed() -> None:
    other, mine = signing_key("p384", "ES256", curve="P-384"), signing_key(algorithm="ES256")
    with IdentityProvider(mine) as idp:
        idp.keys += [other.jwk(), other.jwk(crv="P-256")]
        assert not await is_let_in(Provider(idp.config(algorithm="ES256")), token(other), mine)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_private_key_that_a_provider_publishes_is_not_believed(
    algorithm: str, caplog: pytest.LogCaptureFixture
) -> None:
    leaked, mine = signing_key("leaked", algorithm), signing_key(algorithm=algorithm)
    with IdentityProvider(mine) as idp:
        idp.keys.append(leaked.private_jwk())
        assert not await is_let_in(Provider(idp.config(algorithm=algorithm)), token(leaked), mine)
    assert "private key" in caplog.text
    assert leaked.private_jwk()["d"] not in caplog.text


@pytest.mark.parametrize(
    "more", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}, {"kty": "oct"}, {"kid": 7}, {"kid": ABSENT}]
)
async def test_a_key_for_something_else_is_not_believed(idp: IdentityProvider, more: dict[str, Any]) -> None:
    idp.keys.append(OTHER.jwk(**more))
    assert not await is_let_in(Provider(idp.config()), token(OTHER))
    idp.keys[-1] = OTHER.jwk()
    assert await is_let_in(Provider(idp.config()), token(OTHER))


KEYS = st.fixed_dictionaries(
    {"kid": st.just("k"), "kty": st.sampled_from(["RSA", "EC", "OKP"])},
    optional={
        name: st.sampled_from(["", "AQAB", "A", "!!", "P-256", "Ed25519", "AA" * 200, "é", "\ud800"])
        | st.none()
        | st.integers()
        | st.lists(st.text())
        for name in ("crv", "n", "e", "x", "y", "p", "oth", "use", "alg", "key_ops")
    },
)
SAID = st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists) | st.lists(KEYS | st.text())


@given(said=SAID, algorithm=st.sampled_from(["RS256", "PS256", "ES256", "EdDSA"]))
def test_whatever_a_provider_says_is_a_set_of_keys_or_an_error_that_is_expected(said: Any, algorithm: Any) -> None:
    for whole in (said, {"keys": said}):
        try:
            found = keys_of(json.dumps(whole).encode(), algorithm)
        except ValueError:
            continue
        assert all(key.algorithm_name == algorithm for key in found.values())


# -- when a provider can be asked ----------------------------------------------------------------------------------

DOWN: list[Answer] = [
    (500, {}, {}),
    (404, {}, {"keys": [RSA.jwk()]}),
    (204, {}, {}),
    Drop(),
    Garble(b"<html>"),
    Garble(b""),
    Garble(b"[" * 100_000),
    Garble(b"\xff"),
    (200, {}, []),
    (200, {}, {}),
    (200, {}, {"keys": None}),
    (200, {}, {"keys": {}}),
    (200, {}, {"keys": []}),
    (200, {}, {"keys": [RSA.jwk()], "more": "x" * 300_000}),
    (200, {}, {"keys": [{**RSA.jwk(), "kid": str(number)} for number in range(10_000)]}),
    (200, {}, {"keys": [{}] * 10_000 + [RSA.jwk()]}),
]


@pytest.mark.parametrize("answer", DOWN, ids=range(len(DOWN)))
async def test_without_keys_nobody_is_told_that_a_token_is_bad(idp: IdentityProvider, answer: Answer) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock)
    idp.instead = answer
    for _ in range(3):
        with pytest.raises(NoKeys) as refused:
            await who(provider, token(RSA))
        assert refused.value.status == 503
        assert 0 < int(refused.value.head()["Retry-After"]) <= 10
    assert asked(idp) == 1, "it is let rest"
    idp.instead = None
    clock.now += REST_AFTER_FAILURE
    assert await who(provider, token(RSA)) is not None
    assert asked(idp) == 2


async def test_a_provider_that_is_not_there_is_down() -> None:
    with IdentityProvider(RSA) as gone:
        config = gone.config()
    with pytest.raises(NoKeys):
        await who(Provider(config), token(RSA))


async def test_a_bad_token_is_bad_whether_the_provider_is_there_or_not(idp: IdentityProvider) -> None:
    idp.instead = (500, {}, {})
    for text in ("a.b.c", token(RSA, {"alg": "none"}), token(RSA, {"kid": 7}), token(RSA, {"jku": idp.url})):
        assert await who(Provider(idp.config()), text) is None
    assert asked(idp) == 0, "what cannot be good is no reason to ask"


async def test_known_keys_are_believed_for_a_while_after_a_provider_went_away(
    idp: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock)
    assert await who(provider, token(RSA)) is not None
    idp.instead = (500, {}, {})
    began, failures = clock.now, 0
    async with asyncio.timeout(30):
        while clock.now < began + STALE - FRESH:
            clock.now += FRESH
            failures += 1
            while len(caplog.records) < failures:  # it is asked again and again, and nobody waits for that
                assert await who(provider, token(RSA)) is not None
                assert await who(provider, token(RSA, exp=NOW - 3_600)) is None
                await asyncio.sleep(0.005)
    with pytest.raises(NoKeys):
        await who(provider, token(OTHER))
    clock.now = began + STALE
    with pytest.raises(NoKeys):
        await who(provider, token(RSA))
    idp.instead = None
    clock.now += REST_AFTER_FAILURE
    assert await who(provider, token(RSA)) is not None


async def test_a_slow_provider_makes_nobody_wait_for_long(idp: IdentityProvider) -> None:
    idp.instead = Hang()
    provider = Provider(idp.config(), within=0.2)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*(provider.holder(token(RSA)) for _ in range(20)), return_exceptions=True)
    assert [type(each) for each in answers] == [NoKeys] * 20
    assert asked(idp) == 1


async def test_an_answer_that_trickles_in_is_not_waited_for_either() -> None:
    gone = asyncio.Event()

    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        with suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)  # it never pauses for as long as it has in all
        writer.close()
        gone.set()

    async with await asyncio.start_server(trickle, "127.0.0.1", 0) as server, asyncio.timeout(5):
        port = server.sockets[0].getsockname()[1]
        trickling = Oidc(issuer=ISSUER, audience=AUDIENCE, jwks_url=f"http://127.0.0.1:{port}/keys")
        with pytest.raises(NoKeys):
            await who(Provider(trickling, within=0.3), token(RSA))
        await gone.wait()


async def test_nobody_whose_key_is_known_waits_for_a_provider_that_hangs(idp: IdentityProvider) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock, within=60)
    assert await who(provider, token(RSA)) is not None
    clock.now += REST
    idp.instead = Hang()
    stranger = asyncio.create_task(provider.holder(token(OTHER)))
    async with asyncio.timeout(10):
        while asked(idp) < 2:
            await asyncio.sleep(0.01)
        assert await who(provider, token(RSA)) is not None
    assert not stranger.done()
    stranger.cancel()


async def test_in_an_outage_only_one_waits(idp: IdentityProvider) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock, within=60)
    assert await who(provider, token(RSA)) is not None
    idp.instead = (500, {}, {})
    clock.now += FRESH
    assert await who(provider, token(RSA)) is not None
    idp.instead = Hang()
    clock.now += REST_AFTER_FAILURE
    async with asyncio.timeout(10):
        assert await who(provider, token(RSA)) is not None
        while asked(idp) < 3:  # it is asked all the same
            await asyncio.sleep(0.01)


async def test_a_caller_who_goes_away_takes_no_answer_from_the_others(idp: IdentityProvider) -> None:
    provider = Provider(idp.config())
    first, second = (asyncio.create_task(provider.holder(token(RSA))) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    found, _ = await second
    assert found is not None
    assert asked(idp) == 1


async def test_a_rotation_locks_nobody_out_and_an_old_key_ends(idp: IdentityProvider) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock)
    assert await who(provider, token(RSA)) is not None
    assert await who(provider, token(OTHER)) is None
    idp.keys.append(OTHER.jwk())
    clock.now += REST
    for key in (RSA, OTHER, RSA):
        assert await who(provider, token(key)) is not None
    assert asked(idp) == 2
    del idp.keys[0]
    clock.now += FRESH
    assert await who(provider, token(OTHER)) is not None
    assert await who(provider, token(RSA)) is None, "a key that was taken back is believed no longer"


async def test_a_fresh_set_of_keys_is_not_asked_for_again(idp: IdentityProvider) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock)
    for _ in range(10):
        assert await who(provider, token(RSA)) is not None
        clock.now += FRESH / 10 - 0.01
    assert asked(idp) == 1
    clock.now += 1
    assert await who(provider, token(RSA)) is not None
    assert asked(idp) == 2


async def test_a_flood_of_unknown_keys_reaches_the_provider_twice_at_most(idp: IdentityProvider) -> None:
    clock = Clock()
    provider = Provider(idp.config(), clock)
    flood = [token(RSA, {"kid": f"random-{number}"}) for number in range(200)]
    for text in flood[:100]:
        assert await who(provider, text) is None
    assert await asyncio.gather(*(who(provider, text) for text in flood[100:])) == [None] * 100
    assert await who(provider, token(RSA)) is not None
    assert asked(idp) <= 2
    moments = 10
    for text in flood[:moments]:
        clock.now += REST / 2
        assert await who(provider, text) is None
    assert asked(idp) <= 2 + moments / 2


async def test_a_provider_that_points_elsewhere_is_not_followed(idp: IdentityProvider) -> None:
    with IdentityProvider(RSA, OTHER) as target:
        for status in (301, 302, 303, 307, 308):
            idp.instead = (status, {"location": f"{target.url}/keys"}, {"keys": [RSA.jwk()]})
            with pytest.raises(NoKeys):
                await who(Provider(idp.config()), token(RSA))
        assert target.requests == []


async def test_the_provider_is_told_nothing_of_the_token(idp: IdentityProvider) -> None:
    text = token(RSA)
    assert await who(Provider(idp.config()), text) is not None
    [request] = idp.requests
    assert (request.method, request.path, request.query, request.raw) == ("GET", "/keys", {}, b"")
    assert not {"authorization", "cookie"} & request.headers.keys()
    assert request.headers["accept-encoding"] == "identity", "a few bytes could unpack to very many"
    assert not any(part in json.dumps(request.headers) for part in text.split("."))


async def test_ten_thousand_things_that_are_no_keys_take_no_key_away(idp: IdentityProvider) -> None:
    idp.keys += [{}] * 10_000
    assert await is_let_in(Provider(idp.config()), token(RSA))
