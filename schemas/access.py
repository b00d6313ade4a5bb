"""Who may use a gateway, and how much: the `auth` of a server's configuration.

Holds no secret: of a key only its digest, of an identity provider only where its public keys are.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field

from schemas import spelling
from schemas.spelling import choice, whole
from schemas.task import Whole
from schemas.value import Value

Scope = Literal[
    "runs:read",
    "runs:write",
    "goals:write",
    "tasks:read",
    "tasks:write",
    "approvals:read",
    "approvals:write",
    "metrics:read",
    "admin",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
KEY_PREFIX = "gf_"
KEY_PATTERN = rf"{KEY_PREFIX}([a-z0-9][a-z0-9-]{{0,30}})_([A-Za-z0-9_-]{{43}})"
"""A key: its id, and 256 random bits."""

_SCOPE = choice(
    **{
        "runs:read": "See one's own runs.",
        "runs:write": "Start tasks, and cancel and retry one's own runs.",
        "goals:write": "Start goals that have no file.",
        "tasks:read": "See tasks, sync and what task files may name.",
        "tasks:write": "Pause and resume tasks.",
        "approvals:read": "See what one's own runs ask a person.",
        "approvals:write": "Answer it.",
        "metrics:read": "Read metrics, and how many runs need a worker.",
        "admin": "All of it, for everybody's runs.",
    }
)
_SCOPES = {"type": "array", "minItems": 1, "items": _SCOPE}
_USERS = {"type": "array", "items": spelling.RUN_AS}


def _said(description: str, **schema: Any) -> Any:
    return Field(description=description, json_schema_extra=schema)


class ApiKey(Value):
    """A key for a program: `goalfile key` makes one, and prints what to write here."""

    model_config = ConfigDict(json_schema_extra={"required": ["id", "sha256", "scopes"]})

    id: Annotated[
        str,
        _said(
            "Whose key it is; its runs are told by it.",
            **spelling.text(r"^[a-z0-9][a-z0-9-]{0,30}$", "a key's id has 1 to 31 of a-z, 0-9 and -, as in the key"),
        ),
    ] = ""
    sha256: Annotated[
        str,
        _said(
            "The digest of the whole key; it does not tell the key.",
            **spelling.text(r"^[0-9a-f]{64}$", "64 hex digits, as `goalfile key` prints them; never the key itself"),
        ),
    ] = ""
    scopes: Annotated[tuple[Scope, ...], _said("What it may do.", **_SCOPES)] = ()
    run_as: Annotated[
        tuple[str, ...], _said("Composio users that goals of its own may name; left out, none.", **_USERS)
    ] = ()


class Oidc(Value):
    """An identity provider whose tokens are believed."""

    model_config = ConfigDict(json_schema_extra={"required": ["issuer", "audience", "jwks_url"]})

    issuer: Annotated[str, _said("The `iss` of its tokens, to the letter.", **spelling.ADDRESS)] = ""
    audience: Annotated[
        str,
        _said(
            "The `aud` that its tokens have for us.", **spelling.text(r"^\S{1,200}$", "the audience, such as goalfile")
        ),
    ] = ""
    jwks_url: Annotated[str, _said("Where its public keys are.", **spelling.ADDRESS)] = ""
    algorithm: Annotated[
        Algorithm,
        _said(
            "How its tokens are signed; any other is refused.",
            **choice(
                RS256="RSA, the most common.",
                PS256="RSA-PSS.",
                ES256="ECDSA on P-256.",
                EdDSA="Ed25519.",
            ),
        ),
    ] = "RS256"
    claim: Annotated[
        str,
        _said(
            "The claim that says what one may do: a list, or words.", **spelling.text(r"^\S{1,100}$", "a claim's name")
        ),
    ] = "scope"
    grants: Annotated[
        dict[str, tuple[Scope, ...]],
        _said(
            "The scopes of each value of `claim`; left out, the values are scopes themselves.",
            minProperties=1,  # an empty one would read as nothing is granted, and mean the opposite
            additionalProperties=_SCOPES,
            errorMessage="write a value of the claim and its scopes, such as `ops: [admin]`",
        ),
    ] = Field(default_factory=dict[str, tuple[Scope, ...]])
    run_as: Annotated[
        tuple[str, ...], _said("Composio users that goals of their own may name; left out, none.", **_USERS)
    ] = ()


class Shares(Value):
    """How much of the gateway each principal may have."""

    requests: Annotated[Whole, _said("Requests a minute.", **whole(1, 1_000_000))] = 600
    open_runs: Annotated[Whole, _said("Runs that have not ended.", **whole(1, 1_000_000))] = 50
    streams: Annotated[Whole, _said("Long answers at once: events, and `Prefer: wait`.", **whole(1, 10_000))] = 20


class Auth(Value):
    """Who may use the gateway. Without keys and provider it serves its own machine only, and asks nobody."""

    keys: Annotated[tuple[ApiKey, ...], _said("Keys of programs.", minItems=1)] = ()
    oidc: Annotated[Oidc | None, Field(description="An identity provider, for people.")] = None
    limits: Annotated[Shares, Field(description="What each of them may have at once.")] = Shares()

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return not self.keys and self.oidc is None
