"""`goalfile.config.yaml`: what a server's owner decides and no task file can.

Read by the same reader and told with the same problems as a task file. It stands beside the tasks
folder or above it, never inside, and holds no secret: only the names of environment variables that do.
A value where such a name should stand is refused without being repeated.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, WithJsonSchema

from schemas import checks, spelling
from schemas.access import Auth
from schemas.catalog import Catalog, Maxima
from schemas.document import Document, Path, read_document
from schemas.prices import PRICES, Price
from schemas.problem import Problem, by_place
from schemas.shape import said_path, shape
from schemas.spelling import choice, whole
from schemas.task import Whole
from schemas.value import Value

CONFIG_FILE = "goalfile.config.yaml"
_RUN_AS: spelling.Fragment = {
    "type": "object",
    "propertyNames": spelling.text(
        r"^(\.|[^/\s.][^/\s]*(/[^/\s.][^/\s]*)*)$", "a folder below the tasks folder, such as finance; `.` is all of it"
    ),
    "additionalProperties": {"type": "array", "items": spelling.RUN_AS},
}
_PASSWORD = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^/\s]*:[^/\s]*@")


class MissingSecret(ValueError):  # noqa: N818 - it reads as a state of the environment
    """An environment variable that the configuration names is not set. The message names it, and holds no secret."""


def _said(description: str, **schema: Any) -> Any:
    return Field(description=description, json_schema_extra=schema)


class Channel(Value):
    """One target of notifications: an Apprise address, or a webhook that is signed."""

    model_config = ConfigDict(json_schema_extra=spelling.ONE_KIND)

    apprise: Annotated[str | None, _said("The variable that holds an Apprise URL.", **spelling.SECRET)] = None
    webhook: Annotated[
        str | None, _said("An https:// address that is sent JSON, signed per Standard Webhooks.", **spelling.WEBHOOK)
    ] = None
    secret: Annotated[str | None, _said("The variable that holds the webhook's secret.", **spelling.SECRET)] = None


class ModelSettings(Value):
    """The model that thinks, where it is asked, and what it costs."""

    provider: Annotated[
        Literal["anthropic", "bedrock", "vertex"],
        _said(
            "Who serves the model.",
            **choice(
                anthropic="Anthropic, or whoever speaks its Messages API at `base_url`.",
                bedrock="Amazon Bedrock, with the worker's AWS credentials.",
                vertex="Google Vertex AI, with the worker's Google credentials.",
            ),
        ),
    ] = "anthropic"
    default: Annotated[str | None, _said("The model of tasks that name none.", **spelling.MODEL)] = None
    base_url: Annotated[str | None, _said("Where the provider is asked.", **spelling.ADDRESS)] = None
    prices: Annotated[
        dict[str, Price],
        WithJsonSchema(spelling.PRICES),
        Field(description="Dollars per million tokens by model; they hold before the prices that Goalfile knows."),
    ] = Field(default_factory=dict[str, Price])
    summarize_at: Annotated[
        Whole, _said("Tokens of a prompt from which on a run's history is summarised.", **whole(10_000))
    ] = 150_000


class Key(Value):
    """One key by name, so that what it encrypted can be told from what another did."""

    model_config = ConfigDict(json_schema_extra={"required": ["id", "key"]})

    id: Annotated[str, _said("A name that is never used for another key.", **spelling.KEY_ID)] = ""
    key: Annotated[str, _said("The variable that holds the key.", **spelling.SECRET)] = ""


class Encryption(Value):
    """Keys that what a run is given, does and returns is encrypted with before it reaches Temporal."""

    model_config = ConfigDict(json_schema_extra={"required": ["keys"]})

    keys: Annotated[tuple[Key, ...], _said("The first encrypts, all decrypt.", minItems=1)] = ()


class Config(Value):
    """A server's configuration."""

    url: Annotated[
        str | None, _said("Where people reach the gateway; links in notifications begin with it.", **spelling.ADDRESS)
    ] = None
    channels: Annotated[
        dict[str, Channel],
        _said("Whom tasks may notify, by the name that they use.", propertyNames=spelling.CHANNEL),
    ] = Field(default_factory=dict[str, Channel])
    private_hosts: Annotated[
        tuple[Annotated[str, WithJsonSchema(spelling.PRIVATE_HOST)], ...],
        Field(description="Hosts and networks that notifications may reach although they are not public."),
    ] = ()
    model: ModelSettings = ModelSettings()
    limits: Annotated[
        Maxima,
        Field(description="The most that a task may ask for in `limits`; one that asks for more is refused."),
    ] = Maxima()
    pause_after_failures: Annotated[
        Whole | None, _said("Failed runs in a row after which a schedule is paused.", **whole(2, 100))
    ] = None
    encryption: Encryption = Encryption()
    auth: Auth = Auth()
    run_as: Annotated[
        dict[str, tuple[str, ...]] | None,
        WithJsonSchema(_RUN_AS),
        Field(
            description="Which Composio users the tasks of a folder, and of those below it, may name in `run_as`."
            " Without this, any."
        ),
    ] = None

    def catalog(self) -> Catalog:
        """What task files may name and ask for, as far as this file says it: of toolkits it says nothing."""
        return Catalog(
            channels=tuple(self.channels),
            run_as=self.run_as,
            limits=None if self.limits == Maxima() else self.limits,
            priced=tuple(sorted({*PRICES, *self.model.prices})),
            default_model=self.model.default or "",
        )


@dataclass(frozen=True)
class LoadedConfig:
    """One configuration file, read; without a config, `problems` says why."""

    config: Config | None
    problems: tuple[Problem, ...] = ()


def load_config(raw: bytes, file: str) -> LoadedConfig:
    """Read a configuration file's bytes. Never raises."""
    document = read_document(raw, file)
    problems = document.problems
    # Nothing else is said then: the words of another problem, or its line, could repeat one.
    if secrets := tuple(checks.secrets(document)) or by_place(_written_out(document)):
        return LoadedConfig(None, secrets)
    data = document.mapping if document.data is not None or problems else {}
    if data is not None:
        problems += (each.problem(document) for each in shape("config").differences(data))
    elif not problems:
        message, remedy = "the configuration is a mapping of keys to values", "write `channels:` or `model:`"
        document.problem("invalid-value", message, document.place(()), help=remedy)
    config = None if problems else Config.model_validate(data)
    if config is not None:
        _judge(config, document)
    return LoadedConfig(None if problems else config, by_place(problems))


def references(config: Config) -> tuple[str, ...]:
    """The environment variables that a configuration names, each once, in its order."""
    channels = (text for each in config.channels.values() for text in (each.apprise, each.webhook, each.secret))
    found = map(_named, (*channels, *(key.key for key in config.encryption.keys)))
    return tuple(dict.fromkeys(name for name in found if name is not None))


def resolved(text: str | None, environ: Mapping[str, str]) -> str | None:
    """The value of the variable that a text such as `${OPS_URL}` names; any other text as it is.

    Raises MissingSecret if that variable is not set, or blank.
    """
    name = _named(text)
    if name is None:
        return text
    value = environ.get(name, "").strip()  # a file or a cluster's secret often ends in a line break
    if not value:
        raise MissingSecret(f"the configuration names ${{{name}}}, which is not set: set {name} where this runs")
    return value


def _named(text: str | None) -> str | None:
    found = re.fullmatch(spelling.REFERENCE_PATTERN, text or "")
    return found[1] if found else None


def _written_out(document: Document) -> Iterator[Problem]:
    """Values where only the name of a variable may stand, and passwords in addresses: none is repeated."""
    for path, value in _scalars(document.data):
        first, last = path[0], path[-1]
        hidden = first == "encryption" or (first == "channels" and len(path) > 1)
        pattern = spelling.WEBHOOK_PATTERN if last == "webhook" else spelling.REFERENCE_PATTERN
        if hidden and (first, last) != ("encryption", "id") and not re.fullmatch(pattern, str(value)):
            message = f"`{said_path(path)}` is not the name of an environment variable"
            remedy = "set such a variable to this value where this runs, and write its name, such as ${OPS_URL}"
        elif _PASSWORD.search(str(value)):
            message = f"`{said_path(path)}` holds a password"
            remedy = "take it out and change it: an address here holds none"
        else:
            continue
        span = document.place(path)
        yield Problem(code="secret-in-file", message=message, file=document.file, span=span, help=remedy)


def _scalars(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a mapping that is no mapping, list or nothing, with its path."""
    if isinstance(data, dict | list):
        both = cast("dict[str, Any] | list[Any]", data)
        for step, value in both.items() if isinstance(both, dict) else enumerate(both):
            yield from _scalars(value, (*path, step))
    elif path and data is not None:
        yield path, data


def _judge(config: Config, document: Document) -> None:
    """What the schema cannot say: whether networks are some, and keys have names of their own."""
    for index, text in enumerate(config.private_hosts):
        if "/" not in text and ":" not in text:
            continue
        try:
            ip_network(text)
        except ValueError as error:
            path: Path = ("private_hosts", index)
            remedy = "write a network such as 10.1.0.0/16, or a host without port and path"
            document.problem("invalid-value", f"`{text}` is no network: {error}", document.place(path), help=remedy)
    for section, keys, why in (
        ("encryption", config.encryption.keys, "by it, what the key encrypted is found again"),
        ("auth", config.auth.keys, "by it, whose runs they are is known"),
    ):
        ids = [key.id for key in keys]
        for index, name in enumerate(ids):
            if name in ids[:index]:
                path = (section, "keys", index, "id")
                remedy = f"give each key an id of its own: {why}"
                document.problem("invalid-value", f"two keys have the id `{name}`", document.place(path), help=remedy)
