"""The runner's configuration: the one place that reads the environment, once, into a frozen value."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas import wire

STATE_FOLDER = ".goalfile"
_ADDRESS_FILE = "dev.json"


@dataclass(frozen=True)
class Settings:
    """What the environment says. Keys are never shown: not in a repr, not in a message."""

    temporal: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Temporal's own TEMPORAL_* variables; the SDK reads them and its TOML profiles."""
    queue: str = wire.QUEUE
    """Task queue of the workers."""
    owner: str = "tasks"
    """The name of this sync source; sync never touches another owner's schedules."""
    anthropic_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    """Any endpoint that speaks the Messages API; None is Anthropic's own."""
    model: str = ""
    """The model of tasks that name none: GOALFILE_MODEL, which wins over the server's configuration."""
    composio_key: str | None = field(default=None, repr=False)
    composio_base_url: str | None = None
    run_as: str = "default"
    """The Composio user of tasks that name none."""
    workspace: Path = Path(STATE_FOLDER, "workspace")
    """Where the scripted toolkits keep their files."""
    scripted_pause: float = 0.4
    """Seconds that a scripted step takes, so that a person can watch it."""
    grace: float = 60.0
    """Seconds that a worker which was asked to stop gives the steps in flight."""
    color: bool | None = None
    """Whether output is coloured (NO_COLOR, FORCE_COLOR); None leaves it to the terminal."""
    server: str | None = None
    """GOALFILE_SERVER: the gateway at which people do with runs what they do, instead of at Temporal."""
    gateway: str | None = None
    """Address of the gateway that `--online` and `schema --server` ask: the same, or that of a `dev` nearby."""
    token: str | None = field(default=None, repr=False)
    """What the gateway knows us by."""
    config: Path | None = None
    """The server's configuration file; None is `goalfile.config.yaml` beside the tasks or above, if there is one."""
    artifacts: Path | None = None
    """Where workers keep results too long for a history; None keeps none."""
    metrics: str | None = None
    """Address that Prometheus may read, such as 127.0.0.1:9464; None serves none."""
    traces: str | None = None
    """Where OpenTelemetry traces are sent (OTLP over HTTP); None sends none."""
    environ: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """The environment, for the `${NAME}` of the server's configuration only."""
    in_github: bool = False
    """True in a GitHub workflow: problems are annotated in the pull request as well."""


def read_settings(environ: Mapping[str, str] | None = None, here: Path | None = None) -> Settings:
    """Read the environment. Raises ValueError that names the variable that is wrong."""
    env = os.environ if environ is None else environ
    temporal = {name: value for name, value in env.items() if name.startswith("TEMPORAL_")}
    if not temporal.keys() & {"TEMPORAL_ADDRESS", "TEMPORAL_PROFILE", "TEMPORAL_CONFIG_FILE"}:
        temporal |= {"TEMPORAL_ADDRESS": at["temporal"]} if (at := _dev_server(here or Path.cwd())) else {}
    given: dict[str, Any] = {
        "queue": env.get("GOALFILE_QUEUE"),
        "owner": env.get("GOALFILE_OWNER"),
        "anthropic_key": env.get("ANTHROPIC_API_KEY"),
        "anthropic_base_url": env.get("ANTHROPIC_BASE_URL"),
        "model": env.get("GOALFILE_MODEL"),
        "composio_key": env.get("COMPOSIO_API_KEY"),
        "composio_base_url": env.get("COMPOSIO_BASE_URL"),
        "run_as": env.get("GOALFILE_RUN_AS"),
        "workspace": Path(env["GOALFILE_WORKSPACE"]) if env.get("GOALFILE_WORKSPACE") else None,
        "scripted_pause": _seconds(env, "GOALFILE_SCRIPTED_PAUSE"),
        "grace": _seconds(env, "GOALFILE_GRACE"),
        "server": env.get("GOALFILE_SERVER"),
        "gateway": env.get("GOALFILE_SERVER") or _dev_server(here or Path.cwd()).get("gateway"),
        "token": env.get("GOALFILE_TOKEN"),
        "artifacts": Path(env["GOALFILE_ARTIFACTS"]) if env.get("GOALFILE_ARTIFACTS") else None,
        "metrics": env.get("GOALFILE_METRICS"),
        "traces": env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "environ": dict(env),
        "config": Path(env["GOALFILE_CONFIG"]) if env.get("GOALFILE_CONFIG") else None,
        "color": False if env.get("NO_COLOR") else True if env.get("FORCE_COLOR") else None,
        "in_github": env.get("GITHUB_ACTIONS") == "true",
    }
    return Settings(temporal=temporal, **{name: value for name, value in given.items() if value not in (None, "")})


def _seconds(env: Mapping[str, str], name: str) -> float | None:
    text = env.get(name)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= 86_400:
        raise ValueError(f"{name} must be a number of seconds from 0 to 86400, not `{text}`")
    return seconds


def _dev_server(here: Path) -> dict[str, str]:
    """The addresses of a `goalfile dev` that runs in this folder or above it."""
    for folder in (here, *here.parents):
        try:
            said = json.loads((folder / STATE_FOLDER / _ADDRESS_FILE).read_text())
            return {"temporal": str(said["temporal"]), "gateway": str(said["gateway"])}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def address_file(state: Path) -> Path:
    """Where `goalfile dev` leaves its addresses for the other commands."""
    return state / _ADDRESS_FILE
