"""What task files may name and ask for: asked of a gateway, or read from the server's configuration file.

A gateway that does not answer is said to be unreachable; nothing is guessed in its place.
"""

from pathlib import Path

import httpx
from pydantic import ValidationError

from runner import gate
from runner.exits import Failed
from runner.files import read_file
from runner.settings import Settings
from schemas.catalog import Catalog
from schemas.config import CONFIG_FILE, Config, load_config

_WITHIN = httpx.Timeout(15.0, connect=5.0)


def ask_catalog(settings: Settings, server: str | None = None) -> Catalog:
    """Ask the gateway. Raises Failed: 2 if it cannot be asked, 3 if it does not answer, 4 if it refuses."""
    address = server or settings.gateway
    if not address:
        raise Failed("no gateway is named: set GOALFILE_SERVER, or start one with `goalfile dev`", 2)
    shown, headers = gate.shown(address), gate.sign(address, settings.token)
    past_proxies = gate.is_plain_and_here(address)
    try:
        answer = httpx.get(
            f"{address.rstrip('/')}/v1/catalog", headers=headers, timeout=_WITHIN, trust_env=not past_proxies
        )
        if answer.status_code in (401, 403):
            raise Failed(f"the gateway at {shown} does not allow it: set GOALFILE_TOKEN to a token that may", 4)
        catalog = Catalog.model_validate_json(answer.raise_for_status().content)
    except httpx.HTTPStatusError as error:
        raise Failed(f"the gateway at {shown} answered {error.response.status_code}, no catalog", 3) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Failed(f"no gateway answers at {shown}: {error or type(error).__name__}", 3) from error
    except ValidationError:
        catalog = Catalog()
    if not catalog.model_fields_set >= {"toolkits", "channels"}:  # lenient types take any object
        raise Failed(f"what answers at {shown} is no gateway of Goalfile", 3)
    return catalog


def find_config(settings: Settings, root: Path) -> Path | None:
    """The server's configuration file: the one that is named, else the one beside the tasks folder or above it."""
    line = root.absolute().parents
    return settings.config or next((each / CONFIG_FILE for each in line if (each / CONFIG_FILE).is_file()), None)


def configuration(settings: Settings, root: Path) -> Config | None:
    """The server's configuration; None if there is no such file. `root` is the tasks folder.

    Raises Failed with every problem if the file is wrong, or if it was named and is not there.
    """
    path = find_config(settings, root)
    if path is None:
        return None
    try:
        loaded = load_config(read_file(path), str(path))
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from error
    if loaded.config is None:
        raise Failed("; ".join(problem.concise() for problem in loaded.problems))
    return loaded.config


def configured(settings: Settings, root: Path) -> Catalog | None:
    """What the server's configuration lets tasks name and ask for. Otherwise as `configuration`."""
    config = configuration(settings, root)
    return None if config is None else config.catalog()
