import base64
import os
import subprocess
import sys
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Config, load_config
from schemas.sealing import KEY_BYTES, NONCE_BYTES, CannotOpen, Keyring, configured_keys, enclosed, envelope, keyring
from tests.conftest import ROOT

OLD, NEW = (base64.b64encode(bytes([n]) * KEY_BYTES).decode() for n in (1, 2))
BEFORE = keyring([("old-2025", OLD)])
ROTATED = keyring([("new", NEW), ("old-2025", OLD)])


@given(st.binary(max_size=4096), st.binary(max_size=64))
def test_what_is_sealed_is_opened_again(plain: bytes, bound_to: bytes) -> None:
    key_id, sealed = ROTATED.seal(plain, bound_to)
    assert ROTATED.open(key_id, sealed, bound_to) == plain
    assert len(sealed) == len(plain) + 28


@given(st.binary(max_size=64), st.data())
def test_a_single_changed_bit_is_noticed(plain: bytes, data: st.DataObject) -> None:
    key_id, sealed = BEFORE.seal(plain)
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[at // 8] ^= 1 << at % 8
    with pytest.raises(CannotOpen, match="old-2025 does not open with it: it was changed"):
        BEFORE.open(key_id, bytes(changed))


@given(st.integers(0, 27))
def test_what_was_cut_short_is_noticed(length: int) -> None:
    key_id, sealed = BEFORE.seal(b"")
    with pytest.raises(CannotOpen):
        BEFORE.open(key_id, sealed[:length])


def test_what_is_bound_to_one_thing_does_not_open_for_another() -> None:
    key_id, sealed = BEFORE.seal(b"approve", b"run-1")
    with pytest.raises(CannotOpen):
        BEFORE.open(key_id, sealed, b"run-2")


def test_no_nonce_is_used_twice() -> None:
    assert len({BEFORE.seal(b"same")[1][:NONCE_BYTES] for _ in range(20_000)}) == 20_000


def test_a_new_first_key_seals_while_the_old_one_still_opens() -> None:
    key_id, sealed = BEFORE.seal(b"kept")
    assert ROTATED.open(key_id, sealed) == b"kept"
    assert ROTATED.seal(b"next")[0] == "new"


def test_a_key_that_was_removed_is_named() -> None:
    key_id, sealed = BEFORE.seal(b"kept")
    with pytest.raises(CannotOpen, match="no key named old-2025 is configured") as raised:
        keyring([("new", NEW)]).open(key_id, sealed)
    assert "\n" not in str(raised.value)


def test_another_key_of_the_same_name_opens_nothing() -> None:
    key_id, sealed = BEFORE.seal(b"kept")
    with pytest.raises(CannotOpen, match="another key has that name"):
        keyring([("old-2025", NEW)]).open(key_id, sealed)


@given(st.binary(max_size=1024))
def test_an_envelope_says_which_key_closed_it_and_nothing_of_what_it_holds(plain: bytes) -> None:
    metadata, data = envelope(BEFORE, plain)
    assert metadata == {"encoding": b"binary/encrypted", "encryption-key-id": b"old-2025"}
    assert enclosed(BEFORE, metadata, data) == plain
    assert len(plain) < 4 or plain not in data


def test_what_is_no_envelope_is_left_alone() -> None:
    assert enclosed(BEFORE, {"encoding": b"json/plain"}, b"1") is None
    assert enclosed(None, {}, b"") is None


def test_without_any_key_an_envelope_says_which_one_it_wants() -> None:
    with pytest.raises(CannotOpen, match="no key named old-2025 is configured"):
        enclosed(None, *envelope(BEFORE, b"x"))


def test_a_name_that_is_none_is_shown_harmlessly() -> None:
    with pytest.raises(CannotOpen) as raised:
        BEFORE.open("\x1b[31m\n" * 40, b"")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 500


@given(st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES))
def test_a_key_is_read_however_base64_writes_it(key: bytes) -> None:
    texts = [base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()]
    texts += [text.rstrip("=") for text in texts] + [f" {texts[0]}\n"]
    assert {keyring([("k", text)]).keys for text in texts} == {(("k", key),)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 bytes"),
        (base64.b64encode(b"x" * 16).decode(), "has 16 bytes instead of 32"),
        (base64.b64encode(b"x" * 33).decode(), "has 33 bytes"),
        ("correct horse battery staple", "is not base64"),
        ("p4ssw0rd!" * 5, "is not base64"),
        ("schlüssel" * 5, "is not base64"),
        ("a", "is not base64"),
    ],
)
def test_what_is_no_key_is_refused_by_its_id_and_never_repeated(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"key k1 {said}.*openssl rand -base64 32") as raised:
        keyring([("k1", text)])
    assert len(text) < 2 or text not in str(raised.value)
    shown = "".join(traceback.format_exception(raised.value))  # the decoder's own words tell of the text
    assert "binascii" not in shown


def test_two_keys_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two keys are named k"):
        keyring([("k", OLD), ("k", NEW)])


@pytest.mark.parametrize("name", ["", "with space", "ä", "-k", "k" * 65])
def test_an_id_that_no_metadata_should_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no id of a key"):
        keyring([(name, OLD)])


def test_no_key_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a key"):
        keyring([])


def test_a_configuration_names_variables_and_the_environment_has_the_keys() -> None:
    config = load_config(
        b"encryption: {keys: [{id: new, key: '${KEY_B}'}, {id: old-2025, key: '${KEY_A}'}]}", "c.yaml"
    ).config
    assert config
    assert configured_keys(config, {"KEY_A": OLD, "KEY_B": NEW}) == ROTATED
    with pytest.raises(ValueError, match="KEY_A"):
        configured_keys(config, {"KEY_B": NEW})
    with pytest.raises(ValueError, match="key new has 3 bytes"):
        configured_keys(config, {"KEY_A": OLD, "KEY_B": "abcd"})


def test_a_configuration_that_names_no_key_encrypts_nothing() -> None:
    assert configured_keys(Config(), {}) is None


def test_no_key_is_in_a_repr() -> None:
    key = os.urandom(KEY_BYTES)
    shown = repr(keyring([("k1", base64.b64encode(key).decode())]))
    assert shown == "Keyring(k1)"
    assert repr(Keyring((("k1", key),))) == shown


def test_reading_keys_does_not_load_the_cipher() -> None:
    code = f"import sys; from schemas.sealing import keyring; keyring([('k', {OLD!r})])"
    code += "; print('cryptography' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
