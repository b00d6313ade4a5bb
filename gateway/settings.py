"""Where Temporal is and which queue the workers listen on: the one reader of the environment here.

Temporal's own `TEMPORAL_*` variables and TOML profiles are read by its SDK. This module connects to
nothing, and nothing is read at import.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from temporalio.envconfig import ClientConfig, ClientConnectConfig

from schemas import wire

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


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read an environment. Raises SettingsError for an unreadable profile or an empty queue name."""
    try:
        temporal = ClientConfig.load_client_connect_config(override_env_vars=dict(environ))
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingsError(f"the Temporal profile cannot be read: {error}; see TEMPORAL_CONFIG_FILE") from error
    temporal.setdefault("target_host", DEFAULT_ADDRESS)
    queue = environ.get("GOALFILE_QUEUE", wire.QUEUE).strip()
    if not queue:
        raise SettingsError("GOALFILE_QUEUE is empty: name the workers' queue, or unset it")
    return Settings(temporal=temporal, queue=queue)


def settings_from_environment() -> Settings:
    """Read this process's environment, once, at start."""
    return read_settings(os.environ)
