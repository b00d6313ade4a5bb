"""API keys: a key is its holder's, and no other text is anybody's."""

import hashlib
import secrets
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api_keys import ISSUER, ApiKeys
from gateway.principals import Principal, mark_of
from schemas.access import KEY_PATTERN, ApiKey
from schemas.secrets import secret_in


def key_of(name: str) -> str:
    """A key as `goalfile key` makes one."""
    return f"gf_{name}_{secrets.token_urlsafe(32)}"


def entry(key: str, *scopes: str, **more: Any) -> ApiKey:
    """What the configuration says of it."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return ApiKey.model_validate({"id": key.split("_")[1], "sha256": digest, "scopes": scopes, **more})


KEY, OTHER = key_of("deploy"), key_of("nightly-2")
KEYS = ApiKeys((entry(KEY, "runs:read", run_as=["acme"]), entry(OTHER, "admin")))


def test_a_key_is_its_holders() -> None:
    assert KEYS.holder(KEY) == Principal(
        "key deploy", mark_of(ISSUER, "deploy"), frozenset({"runs:read"}), run_as=("acme",)
    )
    assert KEYS.holder(OTHER) == Principal("key nightly-2", mark_of(ISSUER, "nightly-2"), frozenset({"admin"}), ())


@pytest.mark.parametrize("name", ["a", "0", "deploy", "a-b", "a-", "1" * 31])
def test_any_id_that_a_configuration_may_have_makes_a_key(name: str) -> None:
    key = key_of(name)
    found = ApiKeys((entry(key),)).holder(key)
    assert found is not None
    assert found.name == f"key {name}"


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a.b", "ä", "a" * 32, "a b", "a\n"])
def test_no_other_id_makes_one(name: str) -> None:
    key = f"gf_{name}_{secrets.token_urlsafe(32)}"
    assert ApiKeys((entry(key, id=name),)).holder(key) is None


SECRET = KEY.removeprefix("gf_deploy_")
NOT_THE_KEY = {
    "nothing": "",
    "the mark": "gf_",
    "the id": "gf_deploy_",
    "no secret": "gf_deploy",
    "the secret": SECRET,
    "the digest": entry(KEY).sha256,
    "the digest as the secret": f"gf_deploy_{entry(KEY).sha256[:43]}",
    "another id": f"gf_nightly-2_{SECRET}",
    "an unknown id": f"gf_unknown_{SECRET}",
    "no id": f"gf__{SECRET}",
    "another secret": key_of("deploy"),
    "another's secret": f"gf_deploy_{OTHER.removeprefix('gf_nightly-2_')}",
    "one less": KEY[:-1],
    "one more": f"{KEY}A",
    "a line break": f"{KEY}\n",
    "NUL": f"{KEY}\x00",
    "a space before": f" {KEY}",
    "twice": KEY + KEY,
    "capitals": KEY.upper(),
    "an id in capitals": f"gf_Deploy_{SECRET}",
    "wide letters": KEY.replace("d", "\uff44", 1),
    "half a surrogate pair": f"gf_deploy_{SECRET[:-1]}\ud800",
    "long": f"gf_deploy_{SECRET}{'A' * 1_000_000}",
}


@pytest.mark.parametrize("name", NOT_THE_KEY)
def test_it_is_not_the_key(name: str) -> None:
    assert KEYS.holder(NOT_THE_KEY[name]) is None


@given(at=st.integers(0, len(KEY) - 1), to=st.sampled_from(string.printable) | st.characters())
def test_a_key_with_one_other_character_is_nobodys(at: int, to: str) -> None:
    changed = KEY[:at] + to + KEY[at + 1 :]
    assert (KEYS.holder(changed) is not None) == (changed == KEY)


@given(
    st.text()
    | st.from_regex(KEY_PATTERN, fullmatch=True)
    | st.from_regex(r"gf_deploy_[A-Za-z0-9_-]{43}", fullmatch=True)
)
def test_no_other_text_is_anybodys(text: str) -> None:
    assert KEYS.holder(text) is None or text in {KEY, OTHER}


@given(st.binary(min_size=1, max_size=40) | st.just(f"{KEY}A".encode()) | st.just(f"{KEY} A".encode()))
def test_the_digest_of_something_else_opens_nothing(raw: bytes) -> None:
    """Only text of a key's form is looked at, though a configuration may hold any digest."""
    text = raw.decode("latin-1")
    weak = ApiKey(id="deploy", sha256=hashlib.sha256(text.encode()).hexdigest(), scopes=("admin",))
    assert ApiKeys((weak,)).holder(text) is None


def test_without_keys_nobody_has_one() -> None:
    assert ApiKeys(()).holder(KEY) is None
    assert ApiKeys((ApiKey(),)).holder(KEY) is None


def test_an_unknown_id_and_a_wrong_secret_are_the_same() -> None:
    unknown, wrong = KEYS.holder(key_of("unknown")), KEYS.holder(key_of("deploy"))
    assert unknown is wrong is None


def test_what_means_to_be_a_key_never_goes_to_an_identity_provider() -> None:
    assert ApiKeys.is_one(KEY)
    assert ApiKeys.is_one("gf_whatever")
    assert not ApiKeys.is_one("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    assert not ApiKeys.is_one("GF_deploy")


@given(st.from_regex(KEY_PATTERN, fullmatch=True))
def test_a_key_in_a_file_is_seen(key: str) -> None:
    assert secret_in(f"Use {key} for it.") == "a key of Goalfile"


def test_a_key_and_a_person_of_the_same_name_are_two() -> None:
    found = KEYS.holder(KEY)
    assert found is not None
    assert found.mark not in {mark_of("https://login.acme.example", name) for name in ("deploy", "key deploy")}
