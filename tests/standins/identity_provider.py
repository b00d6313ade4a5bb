"""A stand-in for an identity provider on a loopback port: it publishes keys, and signs whatever it is told to.

    with IdentityProvider(key := signing_key()) as provider:
        Provider(provider.config()).holder(token(key, sub="ada"))

`provider.keys` is what it publishes, `provider.instead` an answer in place of them, `provider.requests` all that
came. A token is put together by hand: libraries refuse to make most of those that are worth a test.
"""

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from schemas.access import Oidc
from tests.standins.loopback import Answer, Loopback, Request

ISSUER = "https://login.acme.example"
AUDIENCE = "goalfile"
ABSENT: Any = object()
"""The value of a claim, or of a part of a header, that is left out."""


@dataclass(frozen=True)
class SigningKey:
    """A key pair, by its id."""

    kid: str
    algorithm: str
    private: Any

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The public half as a provider publishes it."""
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        return without_absent({**made, "kid": self.kid, "use": "sig", "alg": self.algorithm, **more})

    def private_jwk(self) -> dict[str, Any]:
        """Both halves, as no provider should publish them."""
        made = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private, as_dict=True)
        return {**made, "kid": self.kid}


def signing_key(kid: str = "k1", algorithm: str = "RS256", bits: int = 2048, curve: str = "P-256") -> SigningKey:
    """A key of this name; the same each time, for RSA's take long to make."""
    return _made(kid, algorithm, bits, curve)


@cache
def _made(kid: str, algorithm: str, bits: int, curve: str) -> SigningKey:
    match algorithm:
        case "ES256":
            curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}
            return SigningKey(kid, algorithm, ec.generate_private_key(curves[curve]))
        case "EdDSA":
            return SigningKey(kid, algorithm, ed25519.Ed25519PrivateKey.generate())
        case _:
            return SigningKey(kid, algorithm, rsa.generate_private_key(65_537, bits))


def claims(**said: Any) -> dict[str, Any]:
    """What a good token says, but for what is given."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 600, "scope": "runs:read"}
    return without_absent(good | said)


def token(key: SigningKey, header: Mapping[str, Any] | None = None, **said: Any) -> str:
    """A token that this key signed; `header` and `said` change what a good one says."""
    head = without_absent({"typ": "JWT", "alg": key.algorithm, "kid": key.kid, **(header or {})})
    return signed(head, claims(**said), key.algorithm, key.private)


def signed(head: Any, said: Any, algorithm: str, key: Any) -> str:
    """A token of exactly these parts, bytes as they are; the header need not tell how it is signed."""
    start = ".".join(segment(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (head, said))
    return f"{start}.{segment(jwt.get_algorithm_by_name(algorithm).sign(start.encode(), key))}"


def segment(raw: bytes) -> str:
    """Bytes as a part of a token."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def without_absent(said: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if value is not ABSENT}


class IdentityProvider(Loopback):
    def __init__(self, *keys: SigningKey) -> None:
        super().__init__()
        self.keys: list[Any] = [key.jwk() for key in keys]
        self.instead: Answer | None = None

    def answer(self, request: Request) -> Answer:
        return self.instead or (200, {}, {"keys": self.keys})

    def config(self, **more: Any) -> Oidc:
        """The configuration of a gateway that believes its tokens."""
        said = {"issuer": ISSUER, "audience": AUDIENCE, "jwks_url": f"{self.url}/keys"}
        return Oidc.model_validate({**said, **more})
