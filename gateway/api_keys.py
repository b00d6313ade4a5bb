"""API keys: which program it is that asks. A key is 256 random bits; the configuration holds its digest only.

Pure. Whether a key is unknown, or known and wrong, takes the same time and is told in the same words.
"""

import hashlib
import re
from hmac import compare_digest

from gateway.principals import Principal, mark_of
from schemas.access import KEY_PATTERN, KEY_PREFIX, ApiKey

ISSUER = "goalfile-key"
"""Stands for an issuer in the mark of a key, so that no identity provider's subject can have it."""
_KEY = re.compile(KEY_PATTERN)
_NOBODY = ApiKey(id="", sha256="0" * 64)


class ApiKeys:
    """The keys of a configuration."""

    def __init__(self, keys: tuple[ApiKey, ...]) -> None:
        self._by_id = {key.id: key for key in keys}

    @staticmethod
    def is_one(token: str) -> bool:
        """Whether it means to be a key, and not a token of somebody's."""
        return token.startswith(KEY_PREFIX)

    def holder(self, token: str) -> Principal | None:
        """Who has this key; None if nobody has."""
        found = _KEY.fullmatch(token)
        if found is None:
            return None
        key = self._by_id.get(found[1], _NOBODY)
        if not compare_digest(hashlib.sha256(token.encode()).hexdigest(), key.sha256) or key is _NOBODY:
            return None
        return Principal(f"key {key.id}", mark_of(ISSUER, key.id), frozenset(key.scopes), key.run_as)
