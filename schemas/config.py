"""`goalfile.config.yaml`: what a server's owner decides and no task file can.

Read by the same reader and told with the same problems as a task file. It stands beside the tasks
folder or above it, never inside, and holds no secret: only the names of environment variables that do.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue, WithJsonSchema

from schemas import checks, spelling
from schemas.catalog import Catalog
from schemas.document import read_document
from schemas.problem import Problem, by_place
from schemas.shape import shape
from schemas.value import Value

CONFIG_FILE = "goalfile.config.yaml"

_CHANNELS: spelling.Fragment = {
    "type": "object",
    "propertyNames": spelling.CHANNEL,
    "additionalProperties": {"type": "object"},
}
_RUN_AS: spelling.Fragment = {
    "type": "object",
    "propertyNames": spelling.text(
        r"^(\.|[^/\s.][^/\s]*(/[^/\s.][^/\s]*)*)$", "a folder below the tasks folder, such as finance; `.` is all of it"
    ),
    "additionalProperties": {"type": "array", "items": spelling.RUN_AS},
}


class Config(Value):
    """A server's configuration."""

    channels: Annotated[
        dict[str, dict[str, JsonValue]],
        WithJsonSchema(_CHANNELS),
        Field(description="Whom tasks may notify, by the name that they use."),
    ] = Field(default_factory=dict[str, dict[str, JsonValue]])
    run_as: Annotated[
        dict[str, tuple[str, ...]] | None,
        WithJsonSchema(_RUN_AS),
        Field(
            description="Which Composio users the tasks of a folder, and of those below it, may name in `run_as`."
            " Without this, any."
        ),
    ] = None

    def catalog(self) -> Catalog:
        """What task files may name, as far as this file says it: of toolkits it says nothing."""
        return Catalog(channels=tuple(self.channels), run_as=self.run_as)


@dataclass(frozen=True)
class LoadedConfig:
    """One configuration file, read; without a config, `problems` says why."""

    config: Config | None
    problems: tuple[Problem, ...] = ()


def load_config(raw: bytes, file: str) -> LoadedConfig:
    """Read a configuration file's bytes. Never raises."""
    document = read_document(raw, file)
    problems = document.problems
    if secrets := tuple(checks.secrets(document)):
        return LoadedConfig(None, secrets)
    data = document.mapping if document.data is not None or problems else {}
    if data is not None:
        problems += (each.problem(document) for each in shape("config").differences(data))
    elif not problems:
        message, remedy = "the configuration is a mapping of keys to values", "write `channels:` or `run_as:`"
        document.problem("invalid-value", message, document.place(()), help=remedy)
    return LoadedConfig(None if problems else Config.model_validate(data), by_place(problems))
