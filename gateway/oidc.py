"""Tokens of an identity provider: which person it is that asks, and what the configuration grants them.

One algorithm, one issuer, one audience, and nothing that a token says of itself is followed: no address of keys, no
key. Keys are fetched from the one configured address, seldom, and believed for a while after it stops to answer, so
that neither a rotation nor an outage locks people out. If no key can be had at all, that is said: it is no 401.
"""

import asyncio
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

import httpx
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.types import Options

from gateway.principals import Principal, mark_of
from gateway.problems import NoKeys
from schemas.access import SCOPES, Algorithm, Oidc

LOG = logging.getLogger("gateway")
FRESH, STALE = 300.0, 3_600.0
"""Seconds that keys are believed: without asking again, and while the provider does not answer."""
REST, REST_AFTER_FAILURE = 30.0, 5.0
"""Seconds between two questions to the provider, however many tokens name a key that is unknown."""
LEEWAY, LONGEST_LIFE = 30, 24 * 3_600
"""Seconds: that clocks may differ, and that a token may live."""
_MOST_BYTES, _MOST_KEYS = 256 * 1024, 100
_KINDS: Mapping[Algorithm, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "PS256": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "EdDSA": ("OKP", "Ed25519"),
}
_ASKED = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""Nothing is unpacked: a few bytes could become very many."""
_SUBJECT = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,255}")
_NAME = re.compile(r"\S{1,100}")
_FOLLOWED_BY_NOBODY = frozenset({"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip"})
_OPTIONS: Options = {
    "require": ["exp", "iat", "iss", "aud", "sub"],
    "verify_signature": True,
    "strict_aud": False,
    "enforce_minimum_key_length": True,
}


class Provider:
    """One identity provider. Nothing is fetched before the first token comes."""

    def __init__(self, oidc: Oidc, clock: Callable[[], float] = time.monotonic, within: float = 5.0) -> None:
        """`within` is how many seconds the provider has to answer."""
        self._oidc, self._clock, self._within = oidc, clock, within
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched, self._rest_until, self._is_down = float("-inf"), float("-inf"), False
        self._asking: asyncio.Task[None] | None = None
        self._tls: ssl.SSLContext | None = None

    async def holder(self, token: str) -> tuple[Principal | None, str]:
        """Who has this token; or None, and why in words for the log. Raises NoKeys if nobody can tell."""
        try:
            # Of the head alone: the rest may be long, and is of no interest if this does not fit.
            head = jwt.get_unverified_header(token.partition(".")[0] + "..")
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
            return None, type(error).__name__
        kid = head.get("kid")
        if head.get("alg") != self._oidc.algorithm or _FOLLOWED_BY_NOBODY & head.keys() or not isinstance(kid, str):
            return None, "its header is not as the configuration has it"
        key = await self._key(kid)
        if key is None:
            return None, "its key is not among the provider's"
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[self._oidc.algorithm],
                issuer=self._oidc.issuer,
                audience=self._oidc.audience,
                leeway=LEEWAY,
                options=_OPTIONS,
            )
            return self._principal(claims)
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            return None, type(error).__name__

    def _principal(self, claims: Mapping[str, Any]) -> tuple[Principal | None, str]:
        subject, ends, begins = claims["sub"], claims["exp"], claims["iat"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            return None, "its subject is none"
        if not (
            isinstance(ends, int | float) and isinstance(begins, int | float) and 0 < ends - begins <= LONGEST_LIFE
        ):
            return None, "it lives too long"
        mark = mark_of(self._oidc.issuer, subject)
        scopes = granted(claims.get(self._oidc.claim), self._oidc)
        return Principal(_name(claims) or mark, mark, scopes, self._oidc.run_as), ""

    async def _key(self, kid: str) -> jwt.PyJWK | None:
        """The key of this id, or None if the provider has none. Raises NoKeys."""
        found = self._believed(kid, FRESH)
        if found is None:
            asking = self._question()
            # While the provider is down, nobody waits for it whose key is believed anyway.
            if asking and not (self._is_down and self._believed(kid, STALE)):
                await asyncio.shield(asking)
            found = self._believed(kid, STALE)
        if found is None and (self._is_down or self._clock() - self._fetched >= STALE):
            raise NoKeys("The identity provider's keys cannot be had; try again shortly.")
        return found

    def _believed(self, kid: str, until: float) -> jwt.PyJWK | None:
        """The key of this id, if it was fetched less than so many seconds ago."""
        return self._keys.get(kid) if self._clock() - self._fetched < until else None

    def _question(self) -> asyncio.Task[None] | None:
        """The one question to the provider that is under way, or begins now; None while it is let rest.

        A task, so that it belongs to nobody's request, and only those wait who need its answer.
        """
        if self._asking is None and self._clock() >= self._rest_until:
            self._asking = asyncio.create_task(self._ask())
        return self._asking

    async def _ask(self) -> None:
        """Learn the provider's keys, or that they cannot be had. Never raises."""
        try:
            self._keys, self._fetched, self._is_down = await self._fetch(), self._clock(), False
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            self._is_down = True
            LOG.warning("the identity provider's keys cannot be had: %s", type(error).__name__)
        finally:
            self._rest_until = self._clock() + (REST_AFTER_FAILURE if self._is_down else REST)
            self._asking = None

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        """The provider's keys by id. Raises ValueError, or what httpx raises."""
        body = bytearray()
        # No proxy of the environment, but its certificate authorities; made in a thread, for it takes its time.
        self._tls = self._tls or await asyncio.to_thread(httpx.create_ssl_context)
        async with (
            asyncio.timeout(self._within),
            httpx.AsyncClient(
                timeout=self._within, follow_redirects=False, trust_env=False, verify=self._tls
            ) as provider,
            provider.stream("GET", self._oidc.jwks_url, headers=_ASKED) as answer,
        ):
            if answer.status_code != HTTPStatus.OK:
                raise ValueError(f"status {answer.status_code}")
            async for part in answer.aiter_raw():
                body += part
                if len(body) > _MOST_BYTES:
                    raise ValueError("too large")
        return keys_of(bytes(body), self._oidc.algorithm)


def _name(claims: Mapping[str, Any]) -> str:
    """Whom people read of in approvals and notes; empty if nothing fits.

    Without blanks, which every key's name has: no provider lets anybody pass for one.
    """
    email = None if claims.get("email_verified") is False else claims.get("email")
    said = (email, claims.get("preferred_username"), claims["sub"])
    return next(
        (each for each in said if isinstance(each, str) and re.fullmatch(r"\S{1,100}", each) and each.isprintable()), ""
    )


def keys_of(body: bytes, algorithm: Algorithm) -> dict[str, jwt.PyJWK]:
    """The keys of a JWK set that fit this algorithm, by id. Raises ValueError if it is none, or holds none."""
    try:
        said = json.loads(body)["keys"]
        listed = [cast("dict[str, Any]", each) for each in said[:_MOST_KEYS] if isinstance(each, dict)]
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("no set of keys") from error
    found = {each["kid"]: key for each in listed if (key := _key_of(each, algorithm))}
    if not found:
        raise ValueError("no key that fits")
    return found


def _key_of(said: dict[str, Any], algorithm: Algorithm) -> jwt.PyJWK | None:
    kind, curve = _KINDS[algorithm]
    fits = isinstance(said.get("kid"), str) and said.get("kty") == kind and said.get("crv") == curve
    if not fits or said.get("use", "sig") != "sig" or said.get("alg", algorithm) != algorithm:
        return None
    if "d" in said:
        LOG.warning("the identity provider publishes a private key; it is not believed, for anybody may sign with it")
        return None
    try:
        key = jwt.PyJWK(said, algorithm=algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError, UnsupportedAlgorithm):
        return None
    return None if kind == "RSA" and key.key.key_size < 2_048 else key


def granted(claim: Any, oidc: Oidc) -> frozenset[str]:
    """What a claim's values allow: scopes by name, or by what the configuration grants each."""
    values = claim.split() if isinstance(claim, str) else cast("list[Any]", claim) if isinstance(claim, list) else []
    words = [each for each in values if isinstance(each, str)]
    if oidc.grants:
        return frozenset(scope for word in words for scope in oidc.grants.get(word, ()))
    return frozenset(words) & frozenset(SCOPES)
