"""Keys, and bytes sealed with them: AES-256-GCM, a key's id beside what it sealed, and rotation.

The first key seals, every key opens: a new key is put first, an old one stays until nothing stored
needs it. Where this process has no such key it says so; it never guesses, and never shows a key.
It knows no server: an envelope is metadata and bytes, in the shape that Temporal's own samples use.
"""

import binascii
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.config import Config, resolved

KEY_BYTES = 32
NONCE_BYTES = 12
"""Random for every seal: a key may safely seal four billion times before it has to be replaced."""

ENCRYPTED = b"binary/encrypted"
_ENCODING = "encoding"
_KEY_ID = "encryption-key-id"

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PLAIN = str.maketrans("-_", "+/")
_MAKE_ONE = "make one with `openssl rand -base64 32`"


class CannotOpen(Exception):  # noqa: N818 - it reads as an answer
    """What was sealed cannot be read here. The message names the key, and says what to do."""


@dataclass(frozen=True, repr=False)
class Keyring:
    """Keys by id, the one that seals first. Neither a key nor a part of one is ever in its repr."""

    keys: tuple[tuple[str, bytes], ...]

    def __repr__(self) -> str:
        """The ids only."""
        return f"Keyring({', '.join(name for name, _ in self.keys)})"

    def seal(self, plain: bytes, bound_to: bytes = b"") -> tuple[str, bytes]:
        """Seal with the first key: its id, and nonce, ciphertext and tag in one piece.

        `bound_to` is not stored; it must be the same again when it is opened.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - only what is used is loaded

        key_id, key = self.keys[0]
        nonce = os.urandom(NONCE_BYTES)
        return key_id, nonce + AESGCM(key).encrypt(nonce, plain, bound_to)

    def open(self, key_id: str, sealed: bytes, bound_to: bytes = b"") -> bytes:
        """What was sealed. Raises CannotOpen if there is no such key, or if it was tampered with."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        key = dict(self.keys).get(key_id)
        if key is None:
            raise _no_key(key_id)
        try:
            return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
        except (InvalidTag, ValueError):
            raise CannotOpen(
                f"what was encrypted with key {_shown(key_id)} does not open with it: it was changed since,"
                f" or another key has that name here; see `encryption.keys` in goalfile.config.yaml"
            ) from None


def keyring(pairs: Iterable[tuple[str, str]]) -> Keyring:
    """Keys from their ids and texts: base64, plain or URL-safe, of exactly 32 bytes each.

    Raises ValueError that names the id of the key that is wrong, never its text.
    """
    keys: dict[str, bytes] = {}
    for key_id, text in pairs:
        if not _ID.fullmatch(key_id):
            raise ValueError(f"{_shown(key_id)} is no id of a key: use up to 64 letters, digits, `.`, `_` and `-`")
        if key_id in keys:
            raise ValueError(f"two keys are named {key_id}: a key's id is what finds it again, so give each its own")
        keys[key_id] = _key(key_id, text)
    if not keys:
        raise ValueError(f"encryption needs a key: {_MAKE_ONE}")
    return Keyring(tuple(keys.items()))


def configured_keys(config: Config, environ: Mapping[str, str]) -> Keyring | None:
    """The keys that a configuration names, or None if it names none: then nothing is encrypted.

    Raises ValueError that says which variable is missing, or which key is wrong.
    """
    pairs = [(each.id, resolved(each.key, environ) or "") for each in config.encryption.keys]
    return keyring(pairs) if pairs else None


def envelope(keys: Keyring, plain: bytes) -> tuple[dict[str, bytes], bytes]:
    """Seal: metadata that says so and names the key, and the sealed bytes."""
    key_id, sealed = keys.seal(plain)
    return {_ENCODING: ENCRYPTED, _KEY_ID: key_id.encode()}, sealed


def enclosed(keys: Keyring | None, metadata: Mapping[str, bytes], data: bytes) -> bytes | None:
    """What an envelope holds, or None if this is none: what was stored before there were keys stays readable.

    Raises CannotOpen, also where there are no keys at all.
    """
    if metadata.get(_ENCODING) != ENCRYPTED:
        return None
    key_id = metadata.get(_KEY_ID, b"").decode(errors="replace")
    if keys is None:
        raise _no_key(key_id)
    return keys.open(key_id, data)


def _key(key_id: str, text: str) -> bytes:
    plain = text.strip().translate(_PLAIN)
    try:
        key = binascii.a2b_base64(plain + "=" * (-len(plain) % 4), strict_mode=True)
    except ValueError:  # binascii's own is one; its message may not be shown: it tells of the text
        raise ValueError(f"key {key_id} is not base64; {_MAKE_ONE}") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"key {key_id} has {len(key)} bytes instead of {KEY_BYTES}; {_MAKE_ONE}")
    return key


def _no_key(key_id: str) -> CannotOpen:
    return CannotOpen(
        f"no key named {_shown(key_id)} is configured, and what is stored was encrypted with it:"
        f" have it in `encryption.keys` of goalfile.config.yaml"
    )


def _shown(key_id: str) -> str:
    return key_id if _ID.fullmatch(key_id) else ascii(key_id[:64])
