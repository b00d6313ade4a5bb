"""Where Claude is asked: Anthropic's own endpoint, one that speaks its API, or a cloud's; and how to get in.

Makes the SDK's own client of a place, and says what to do when a place does not let us in. Reads no
environment: each cloud's region and credentials come from that cloud's own variables, files and services,
which are asked for nothing unless that cloud is chosen. No message holds a credential.
"""

import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from runner.ports import PermanentError, TransientError

Provider = Literal["anthropic", "bedrock", "vertex"]
Caching = Literal["automatic", "blocks", "off"]
"""How the prompt cache is asked for: one marker on the request, markers on blocks, or not at all."""

OWN_ENDPOINT = "https://api.anthropic.com"

_AWS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK"
_GOOGLE = "set GOOGLE_APPLICATION_CREDENTIALS, or run `gcloud auth application-default login`"


@dataclass(frozen=True)
class Entry:
    """What a client is made from. `key` is for Anthropic's API alone: no cloud is given it."""

    key: str = field(repr=False)
    base_url: str | None
    seconds: float
    spans: object | None = None
    """An OpenTelemetry tracer provider to report each question to, without its content."""

    def options(self, sdk: Any) -> dict[str, Any]:
        """The options that every client of the SDK takes."""
        return {
            "max_retries": 0,
            "timeout": sdk.Timeout(self.seconds, connect=min(5.0, self.seconds)),
            # Given whole, so that no variable can turn on the recording of content. Without `propagation`: a
            # header that is added after a request was signed makes the signature wrong.
            "open_telemetry": self.spans is not None
            and {
                "tracer_provider": self.spans,
                "propagation": False,
                "traces": {"enabled": True, "content_mode": "metadata_only"},
            },
        }


@dataclass(frozen=True)
class Place:
    """One kind of place: how to make its client, and the remedies that its refusals call for."""

    make: Callable[[Entry], Any]
    """Makes the SDK's client. Imports it, which takes seconds. Raises PermanentError that says what is missing."""
    trouble: Callable[[Exception], PermanentError | TransientError | None]
    """What an error means that comes from looking up credentials; None if it does not come from there."""
    credential: str
    """What it knows us by."""
    let_in: str
    """What to do when our credentials are refused."""
    allow: str
    """What to do when they are good, but not for this model."""
    name_it: str
    """What to do when it does not know the model."""


def caching_for(provider: Provider, base_url: str | None, *, cache: bool | None) -> Caching:
    """What `cache` comes to at a place; None leaves it to us.

    The marker on the whole request is known to Anthropic's own endpoint alone: the clouds answer 400 to it,
    and caching by marked blocks is what they have. A server that merely speaks the API may know neither.
    """
    own = provider == "anthropic" and base_url is None
    if cache is None:
        cache = own or provider != "anthropic"
    return "off" if not cache else "automatic" if own else "blocks"


def _anthropic(entry: Entry) -> Any:
    if not entry.key and entry.base_url is None:
        raise PermanentError("there is no key for the model: set ANTHROPIC_API_KEY")
    _fit(entry.key, "ANTHROPIC_API_KEY")
    # A server of one's own often wants no key, but the SDK insists on one.
    sdk = _sdk("worker")
    return sdk.AsyncAnthropic(
        api_key=entry.key or "none", base_url=entry.base_url or OWN_ENDPOINT, **entry.options(sdk)
    )


def _bedrock(entry: Entry) -> Any:
    """Bedrock's own Messages API. Anthropic calls the other one, InvokeModel, legacy."""
    sdk = _sdk("bedrock")
    client: Any = None
    with suppress(sdk.AnthropicError):  # it has found neither a region nor a URL
        client = sdk.AsyncAnthropicBedrockMantle(base_url=entry.base_url, **entry.options(sdk))
    if client is None or (client.api_key is None and not client.aws_region):
        raise PermanentError("no AWS region is named: set AWS_REGION")
    if client.api_key is not None:
        if not client.api_key:
            raise PermanentError("AWS_BEARER_TOKEN_BEDROCK is set but empty: unset it, or set it to a key")
        _fit(client.api_key, "AWS_BEARER_TOKEN_BEDROCK")
        return client
    _module("boto3", "boto3", "bedrock")
    return client


def _vertex(entry: Entry) -> Any:
    sdk = _sdk("vertex")
    _module("google.auth.transport.requests", "google-auth[requests]", "vertex")
    client: Any = None
    with suppress(ValueError):  # it has found no region
        client = sdk.AsyncAnthropicVertex(base_url=entry.base_url, **entry.options(sdk))
    if client is None:
        raise PermanentError("no Google Cloud region is named: set CLOUD_ML_REGION (`global` is one)")
    if not client.project_id:
        raise PermanentError("no Google Cloud project is named: set ANTHROPIC_VERTEX_PROJECT_ID")
    return client


def _no_trouble(_: Exception) -> None:
    return None


def _aws_trouble(error: Exception) -> PermanentError | TransientError | None:
    kinds: Any = sys.modules.get("botocore.exceptions")  # not there: a key was used, nothing was looked up
    if kinds is None or not (type(error) is RuntimeError or isinstance(error, kinds.BotoCoreError | kinds.ClientError)):
        return None
    passing = (kinds.HTTPClientError, kinds.CredentialRetrievalError, kinds.MetadataRetrievalError)
    return _no_entry("AWS", error, _AWS, again=isinstance(error, passing))


def _google_trouble(error: Exception) -> PermanentError | TransientError | None:
    kinds: Any = import_module("google.auth.exceptions")
    if not (type(error) is RuntimeError or isinstance(error, kinds.GoogleAuthError)):
        return None
    again = isinstance(error, kinds.TransportError) or bool(getattr(error, "retryable", False))
    return _no_entry("Google Cloud", error, _GOOGLE, again=again)


def _no_entry(cloud: str, error: Exception, remedy: str, *, again: bool) -> PermanentError | TransientError:
    """Without the error's own text, which may quote what it has found. The question was not sent."""
    kind = type(error).__name__
    if again:
        return TransientError(f"cannot get credentials from {cloud} ({kind})", sent=False)
    return PermanentError(f"there are no {cloud} credentials that can be used ({kind}): {remedy}")


def _fit(key: str, name: str) -> None:
    """An odd character would end up in the text of an HTTP library's exception, key and all."""
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise PermanentError(f"{name} holds a space or a character no key has: set it again")


def _sdk(extra: str) -> Any:
    """Two seconds of CPU, paid at the first question and in a thread."""
    return _module("anthropic", "anthropic", extra)


def _module(name: str, package: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise PermanentError(f"the package `{package}` is missing: install goalfile[{extra}]") from None


PLACES: Mapping[Provider, Place] = {
    "anthropic": Place(
        make=_anthropic,
        trouble=_no_trouble,
        credential="key",
        let_in="set ANTHROPIC_API_KEY to one that is valid there",
        allow="set ANTHROPIC_API_KEY to one of a workspace that may",
        name_it="correct `model` in the task, or the default model or base URL in the server config",
    ),
    "bedrock": Place(
        make=_bedrock,
        trouble=_aws_trouble,
        credential="account",
        let_in=f"{_AWS} to credentials that are valid there",
        allow="allow it in the IAM policy of these credentials and give the account access to the model",
        name_it="correct `model` in the task or the default model (names there begin with `anthropic.`), or AWS_REGION",
    ),
    "vertex": Place(
        make=_vertex,
        trouble=_google_trouble,
        credential="account",
        let_in=f"{_GOOGLE}, with an account that is valid there",
        allow="give this account the role Vertex AI User in the project, and enable the model there",
        name_it="correct `model` in the task or the default model, CLOUD_ML_REGION or ANTHROPIC_VERTEX_PROJECT_ID",
    ),
}
