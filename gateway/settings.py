"""Where Temporal and Composio are, and what task files may name: the one reader of the environment here.

Temporal's own `TEMPORAL_*` variables and TOML profiles are read by its SDK. This module connects to
nothing, and nothing is read at import. It shows no key, and refuses an address that would.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from temporalio.envconfig import ClientConfig, ClientConnectConfig

from gateway.guard import is_this_machine
from schemas import wire
from schemas.config import CONFIG_FILE, Config, load_config, references
from schemas.document import MAX_BYTES
from schemas.sealing import Keyring, configured_keys

DEFAULT_ADDRESS = "127.0.0.1:7233"


class SettingsError(Exception):
    """The environment says something that cannot be used; the message says what and how to change it."""


@dataclass(frozen=True)
class Settings:
    """What the gateway process is told from outside."""

    temporal: ClientConnectConfig
    """Keyword arguments of `temporalio.client.Client.connect`: address, namespace, TLS, API key."""

    queue: str = wire.QUEUE
    """Task queue that runs are started on: `GOALFILE_QUEUE`."""

    config: Config = field(default_factory=Config)
    """What the server's owner decides: the file that `GOALFILE_CONFIG` names, or `goalfile.config.yaml` here."""

    composio_key: str | None = field(default=None, repr=False)
    """`COMPOSIO_API_KEY`; without it toolkits are scripted."""

    composio_url: str | None = None
    """`COMPOSIO_BASE_URL`; None is Composio's own."""

    run_as: str = "default"
    """`GOALFILE_RUN_AS`: the Composio user of tasks that name none. The same as the workers have."""

    keys: Keyring | None = None
    """What is written to Temporal is encrypted with the first of them; None encrypts nothing."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Every secret among all this: what no log may show."""


def read_settings(environ: Mapping[str, str], folder: Path = Path()) -> Settings:
    """Read an environment, and the configuration file that it names or that is in `folder`.

    Raises SettingsError for anything that cannot be used, with one line for each thing.
    """
    try:
        temporal = ClientConfig.load_client_connect_config(override_env_vars=dict(environ))
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingsError(f"the Temporal profile cannot be read: {error}; see TEMPORAL_CONFIG_FILE") from error
    temporal.setdefault("target_host", DEFAULT_ADDRESS)
    queue = environ.get("GOALFILE_QUEUE", wire.QUEUE).strip()
    if not queue:
        raise SettingsError("GOALFILE_QUEUE is empty: name the workers' queue, or unset it")
    key = environ.get("COMPOSIO_API_KEY", "").strip()
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise SettingsError("COMPOSIO_API_KEY cannot be a key: set it to a project key, or unset it")
    url = environ.get("COMPOSIO_BASE_URL", "").strip()
    if key and url and not _may_carry_a_key(url):
        raise SettingsError("COMPOSIO_BASE_URL must be an https:// address (http:// on this machine), or unset")
    config = _read_config(environ.get("GOALFILE_CONFIG", ""), folder)
    try:
        keys = configured_keys(config, environ)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    secrets = (key, temporal.get("api_key"), *(environ.get(name) for name in references(config)))
    return Settings(
        temporal=temporal,
        queue=queue,
        config=config,
        composio_key=key or None,
        composio_url=url or None,
        run_as=environ.get("GOALFILE_RUN_AS", "").strip() or "default",
        keys=keys,
        secrets=tuple(filter(None, secrets)),
    )


def settings_from_environment() -> Settings:
    """Read this process's environment, once, at start."""
    return read_settings(os.environ)


def _may_carry_a_key(url: str) -> bool:
    """Whether nobody on the way can read what is sent to this address."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return bool(parts.host) and (parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(parts.host)))


def _read_config(named: str, folder: Path) -> Config:
    path = folder / (named or CONFIG_FILE)
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)  # the reader refuses one that has more, whatever follows
    except OSError as error:
        if not named and isinstance(error, FileNotFoundError):
            return Config()
        change = "set GOALFILE_CONFIG to a file that can be, or unset it" if named else "make it readable, or remove it"
        raise SettingsError(f"{path} cannot be read: {error.strerror}; {change}") from error
    loaded = load_config(raw, str(path))
    if loaded.config is None:
        in_order = sorted(loaded.problems, key=lambda problem: (problem.span.line, problem.span.column))
        raise SettingsError("\n".join(problem.concise() for problem in in_order))
    return loaded.config
