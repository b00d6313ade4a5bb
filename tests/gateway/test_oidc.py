"""Tokens of an identity provider: every known way to forge one, and every way in which a provider can fail.

Real keys, real HTTP on loopback. Beside each refusal stands a token that is let in and differs in one thing, so that
no refusal is for another reason than the one that is meant.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.oidc import LEEWAY, LONGEST_LIFE, Provider, granted
from gateway.principals import Principal, mark_of
from schemas.access import SCOPES, Oidc
from tests.standins.identity_provider import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    IdentityProvider,
    SigningKey,
    claims,
    segment,
    signed,
    signing_key,
    token,
)

RSA = signing_key()
OTHER = signing_key("other")
NOW = int(time.time())
FAR = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


@pytest.fixture(scope="module")
def gate(running: IdentityProvider) -> Provider:
    """One for all tokens, as in a gateway."""
    return Provider(running.config())


@pytest.fixture(scope="module")
def running() -> Iterator[IdentityProvider]:
    with IdentityProvider(RSA) as provider:
        yield provider


async def who(provider: Provider, text: str) -> Principal | None:
    found, why = await provider.holder(text)
    assert bool(why) == (found is None), "a refusal has a reason, and only a refusal"
    return found


async def is_let_in(gate: Provider, text: str, beside: SigningKey = RSA) -> bool:
    """Whether this token is let in. A good one, signed by the key that it stands beside, must be."""
    assert await who(gate, token(beside)) is not None
    return await who(gate, text) is not None


# -- what a token says ---------------------------------------------------------------------------------------------


async def test_a_good_token_is_its_subjects(running: IdentityProvider) -> None:
    found = await who(Provider(running.config(run_as=["acme"])), token(RSA, scope="runs:read runs:write"))
    scopes = frozenset({"runs:read", "runs:write"})
    assert found == Principal("ada", mark_of(ISSUER, "ada"), scopes, ("acme",))


REFUSED: dict[str, dict[str, Any]] = {
    **{f"no {name}": {name: ABSENT} for name in ("exp", "iat", "sub", "aud", "iss")},
    **{f"{name} null": {name: None} for name in ("exp", "iat", "sub", "aud", "iss")},
    "sub empty": {"sub": ""},
    "sub a number": {"sub": 7},
    "sub true": {"sub": True},
    "sub a list": {"sub": ["ada"]},
    "sub of 300": {"sub": "a" * 300},
    "sub with NUL": {"sub": "ada\x00"},
    "sub with a line break": {"sub": "ada\nroot"},
    "sub ends in a line break": {"sub": "ada\n"},
    "sub with DEL": {"sub": "ada\x7f"},
    "sub with a C1 control": {"sub": "\x9b31mada"},
    "exp in 9999": {"exp": FAR},
    "exp and iat in 9999": {"exp": FAR, "iat": FAR - 600},
    "lives a second too long": {"iat": NOW, "exp": NOW + LONGEST_LIFE + 1},
    "exp as text": {"exp": str(NOW + 600)},
    "iat as text": {"iat": str(NOW)},
    "exp a word": {"exp": "never"},
    "exp a list": {"exp": [NOW + 600]},
    "exp true": {"exp": True},
    "exp not a number": {"exp": float("nan")},
    "exp infinite": {"exp": float("inf")},
    "exp of 400 digits": {"exp": 10**400},
    "exp of 400 digits, iat a fraction": {"exp": 10**400, "iat": NOW + 0.5},
    "iat not a number": {"iat": float("nan")},
    "iat minus infinite": {"iat": float("-inf")},
    "iat at zero": {"iat": 0},
    "iat after exp": {"iat": NOW + 20, "exp": NOW + 10},
    "iat in the future": {"iat": NOW + 3_600, "exp": NOW + 7_200},
    "nbf in the future": {"nbf": NOW + 3_600},
    "nbf as a word": {"nbf": "now"},
    "expired beyond the leeway": {"iat": NOW - 900, "exp": NOW - LEEWAY - 30},
    "iss shorter": {"iss": ISSUER[:-1]},
    "iss longer": {"iss": f"{ISSUER}/"},
    "iss in capitals": {"iss": ISSUER.upper()},
    "iss a part": {"iss": "login.acme.example"},
    "iss empty": {"iss": ""},
    "iss another": {"iss": "https://evil.example"},
    "iss a list": {"iss": [ISSUER]},
    "iss a list of two": {"iss": ["https://evil.example", ISSUER]},
    "iss a mapping": {"iss": {ISSUER: True}},
    "iss a number": {"iss": 7},
    "aud another": {"aud": "other"},
    "aud a part": {"aud": AUDIENCE[:-1]},
    "aud longer": {"aud": f"{AUDIENCE}2"},
    "aud in capitals": {"aud": AUDIENCE.upper()},
    "aud empty": {"aud": ""},
    "aud an empty list": {"aud": []},
    "aud a list of others": {"aud": ["other", "others"]},
    "aud a mapping": {"aud": {AUDIENCE: True}},
    "aud a number": {"aud": 7},
    "aud a list with a number": {"aud": [AUDIENCE, 7]},
    "aud a list of lists": {"aud": [[AUDIENCE]]},
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "aud a list with ours": {"aud": ["other", AUDIENCE]},
    "iat ahead within the leeway": {"iat": NOW + 15},
    "nbf ahead within the leeway": {"nbf": NOW + 15},
    "lives a day": {"iat": NOW, "exp": NOW + LONGEST_LIFE},
    "times with fractions": {"iat": NOW - 0.25, "exp": NOW + 20_000.5},
    "sub of 255": {"sub": "a" * 255},
    "sub in another script": {"sub": "ада"},
    "no scope": {"scope": ABSENT},
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_token_is_refused_whose(gate: Provider, name: str) -> None:
    assert not await is_let_in(gate, token(RSA, **REFUSED[name]))


@pytest.mark.parametrize("name", ACCEPTED)
async def test_a_token_is_let_in_whose(gate: Provider, name: str) -> None:
    assert await is_let_in(gate, token(RSA, **ACCEPTED[name]))


async def test_a_token_that_ended_within_the_leeway_is_let_in(gate: Provider) -> None:
    now = int(time.time())
    assert await is_let_in(gate, token(RSA, iat=now - 900, exp=now - 5))


PAYLOADS = [b"", b"[]", b"null", b'"ada"', b"{", b"\xff", b"[" * 4_000, b'{"exp":' + b"9" * 5_000 + b"}"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
async def test_a_payload_that_is_none_is_refused_though_it_is_signed(gate: Provider, payload: bytes) -> None:
    assert not await is_let_in(gate, signed({"alg": "RS256", "kid": RSA.kid}, payload, "RS256", RSA.private))


async def test_whom_a_token_names_is_a_matter_of_its_issuer_and_subject_only(gate: Provider) -> None:
    said: list[tuple[str, dict[str, Any]]] = [
        ("ada@acme.example", {"email": "ada@acme.example", "preferred_username": "ada", "name": "Ada"}),
        ("ada-l", {"email": 7, "preferred_username": "ada-l", "name": "Ada"}),
        ("ada", {"email": " ", "preferred_username": "x\x1b[31m", "name": "Ada"}),
        ("ada-l", {"email": "boss@acme.example", "email_verified": False, "preferred_username": "ada-l"}),
        ("ada", {"email": "key ci", "preferred_username": "key\u00a0ci"}),
        ("ada", {"name": "a\u202eda"}),
        ("ada", {"email": "n" * 3_000}),
    ]
    for name, more in said:
        found = await who(gate, token(RSA, **more))
        assert found is not None
        assert (found.name, found.mark) == (name, mark_of(ISSUER, "ada"))


async def test_a_subject_that_cannot_be_shown_is_told_by_its_mark(gate: Provider) -> None:
    for subject in ("a\u202eda", " ", "\ud800"):
        found = await who(gate, token(RSA, sub=subject))
        assert found is not None
        assert found.name == found.mark == mark_of(ISSUER, subject)


# -- how a token is signed -----------------------------------------------------------------------------------------

FORMS = [
    (encoding, form)
    for encoding in (Encoding.PEM, Encoding.DER)
    for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1)
]


def public(encoding: Encoding, form: PublicFormat) -> bytes:
    said: bytes = RSA.private.public_key().public_bytes(encoding, form)
    return said


SECRETS = [
    *(public(*form) for form in FORMS),
    public(*FORMS[0]).strip(),
    json.dumps(RSA.jwk()).encode(),
    RSA.jwk()["n"].encode(),
    RSA.kid.encode(),
    b"",
]


@pytest.mark.parametrize("claimed", ["HS256", "HS384", "HS512", "RS256"])
@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
async def test_a_public_key_is_nobodys_secret(gate: Provider, claimed: str, secret: bytes) -> None:
    way = claimed if claimed.startswith("HS") else "HS256"
    assert not await is_let_in(gate, signed({"alg": claimed, "kid": RSA.kid}, claims(), way, secret))


@pytest.mark.parametrize(
    "word", ["none", "None", "NONE", "nOnE", "", None, ABSENT, ["RS256"], {"RS256": 1}, 7, "rs256"]
)
async def test_a_token_that_is_not_signed_as_configured_is_refused(gate: Provider, word: Any) -> None:
    properly = token(RSA, {"alg": word})
    start, _, signature = properly.rpartition(".")
    other = token(RSA).rpartition(".")[2]
    for end in ("", signature, other, segment(b"\x00" * 256)):
        assert not await is_let_in(gate, f"{start}.{end}"), end


@pytest.mark.parametrize("other", ["RS384", "RS512", "PS256", "PS384"])
async def test_another_algorithm_of_the_same_family_is_refused(gate: Provider, other: str) -> None:
    for claimed in (other, "RS256"):
        assert not await is_let_in(gate, signed({"alg": claimed, "kid": RSA.kid}, claims(), other, RSA.private))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_one_algorithm_is_believed_and_no_other(algorithm: str) -> None:
    everyone = {name: signing_key(algorithm=name) for name in ("RS256", "PS256", "ES256", "EdDSA")}
    mine = everyone[algorithm]
    with IdentityProvider(mine, *(signing_key(name, name) for name in everyone if name != algorithm)) as idp:
        gate = Provider(idp.config(algorithm=algorithm))
        for name in everyone.keys() - {algorithm}:
            its = signing_key(name, name)
            for head in ({}, {"kid": mine.kid}, {"kid": mine.kid, "alg": algorithm}):
                assert not await is_let_in(gate, token(its, head), mine)


async def test_a_signature_of_another_key_is_refused(gate: Provider) -> None:
    assert not await is_let_in(gate, token(OTHER))
    assert not await is_let_in(gate, token(OTHER, {"kid": RSA.kid}))


KIDS = [
    "../../../../../../dev/null",
    "/etc/passwd",
    "' OR 1=1 --",
    "k1'",
    "K1",
    "k1\x00",
    " k1",
    "k",
    "",
    "*",
    "k1/../k1",
]


@pytest.mark.parametrize("kid", [*KIDS, 1, 0, True, None, ABSENT, ["k1"], {"k1": 1}, "k" * 3_000, "\ud800"])
async def test_an_id_of_a_key_is_compared_and_nothing_else(gate: Provider, kid: Any) -> None:
    assert not await is_let_in(gate, token(RSA, {"kid": kid}))
    forged = {"alg": "RS256", "kid": kid} if kid is not ABSENT else {"alg": "RS256"}
    assert not await is_let_in(gate, signed(forged, claims(), "HS256", b""))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "crit", "b64", "zip"])
async def test_what_a_header_says_of_keys_is_not_followed(gate: Provider, name: str) -> None:
    with IdentityProvider(OTHER) as attacker:
        said: dict[str, Any] = {
            "jku": f"{attacker.url}/keys",
            "x5u": f"{attacker.url}/chain.pem",
            "jwk": OTHER.jwk(),
            "x5c": ["MIIB"],
            "crit": ["exp"],
            "b64": False,
            "zip": "DEF",
        }
        for key, kid in ((OTHER, OTHER.kid), (OTHER, RSA.kid), (RSA, RSA.kid)):
            assert not await is_let_in(gate, token(key, {name: said[name], "kid": kid}))
        assert not await is_let_in(gate, token(OTHER, {**said, "kid": RSA.kid}))
        assert attacker.requests == []


# -- what is no token ----------------------------------------------------------------------------------------------


HEADERS = [b"[" * 5_000, b'{"a":' * 900, b'{"alg":' + b"9" * 5_000 + b"}", b"[]", b'"RS256"', b"\xff\xfe", b"", b"{}"]


def mangled(good: str) -> dict[str, str]:
    head, said, signature = good.split(".")
    richer = segment(json.dumps(claims(scope="admin")).encode())
    last = "A" if signature[0] != "A" else "B"
    return {
        "nothing": "",
        "a dot": ".",
        "two dots": "..",
        "three dots": "...",
        "two parts": f"{head}.{said}",
        "no signature": f"{head}.{said}.",
        "no payload": f"{head}..{signature}",
        "no header": f".{said}.{signature}",
        "five parts": f"{good}.{said}.{signature}",
        "cut short": good[:-5],
        "cut by one": good[:-1],
        "one more": f"{good}A",
        "another signature": f"{head}.{said}.{last}{signature[1:]}",
        "another payload": f"{head}.{richer}.{signature}",
        "a line break within": f"{head}.{said}\n.{signature}",
        "a space within": f"{head}. {said}.{signature}",
        "junk within": f"{head}.{said}.{signature[:20]}!{signature[20:]}",
        "not base64": "!!!.???.***",
        "words": "a.b.c",
        "not ASCII": f"{head}.{said}.é{signature}",
        "wide digits": f"{head}.{said}.\uff10{signature}",
        "half a surrogate pair": f"{head}.{said}.\ud800",
        "of 1 MB": f"{head}.{'A' * 1_000_000}.{signature}",
        "twice": f"{good} {good}",
        **{f"header {number}": f"{segment(raw)}.{said}.{signature}" for number, raw in enumerate(HEADERS)},
    }


@pytest.mark.parametrize("name", mangled("a.b.c"))
async def test_it_is_no_token(gate: Provider, name: str) -> None:
    assert not await is_let_in(gate, mangled(token(RSA))[name])


@given(text=st.text(max_size=60) | st.from_regex(r"[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,30}\.[A-Za-z0-9_-]{0,9}"))
async def test_whatever_is_sent_is_refused_in_peace(gate: Provider, text: str) -> None:
    assert await who(gate, text) is None


# -- what a token may do -------------------------------------------------------------------------------------------

GRANTS = {"ops": ["runs:write", "runs:read"], "boss": ["admin"]}


@pytest.mark.parametrize(
    ("claim", "grants", "scopes"),
    [
        ("runs:read runs:write", {}, {"runs:read", "runs:write"}),
        (["runs:read", "admin"], {}, {"runs:read", "admin"}),
        ("runs:reader RUNS:READ run *", {}, set[str]()),
        ("runs:read,admin", {}, set[str]()),
        (["runs:read admin"], {}, set[str]()),
        ([7, None, ["admin"], {"admin": 1}, "runs:read"], {}, {"runs:read"}),
        ({"admin": True}, {}, set[str]()),
        (7, {}, set[str]()),
        (True, {}, set[str]()),
        (None, {}, set[str]()),
        ("", {}, set[str]()),
        ("ops", GRANTS, {"runs:read", "runs:write"}),
        (["ops", "boss", "strangers"], GRANTS, {"runs:read", "runs:write", "admin"}),
        ("admin runs:read", GRANTS, set[str]()),
        ("OPS op", GRANTS, set[str]()),
    ],
)
async def test_a_claim_grants(running: IdentityProvider, claim: Any, grants: Any, scopes: set[str]) -> None:
    provider = Provider(running.config(grants=grants, claim="roles"))
    found = await who(provider, token(RSA, scope="admin", roles=claim))
    assert found is not None
    assert found.scopes == scopes


async def test_without_the_claim_nothing_is_granted(running: IdentityProvider) -> None:
    found = await who(Provider(running.config(claim="roles")), token(RSA, scope="admin"))
    assert found is not None
    assert not found.scopes


WORDS = st.sampled_from(SCOPES) | st.text(max_size=12)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | WORDS, lambda each: st.lists(each, max_size=5))


@given(claim=VALUES, known=st.dictionaries(WORDS, st.lists(st.sampled_from(SCOPES)).map(tuple), max_size=4))
def test_no_claim_grants_what_the_configuration_does_not(claim: Any, known: Any) -> None:
    allowed = frozenset(scope for scopes in known.values() for scope in scopes) if known else frozenset(SCOPES)
    assert granted(claim, Oidc(grants=known)) <= allowed
    assert granted(claim, Oidc()) <= frozenset(SCOPES)
