"""What a server has that task files may name, and what it allows: toolkits, channels, users, limits, prices.

A gateway tells it, `goalfile validate --online` and the editor's completion ask for it. It holds names
and numbers only: no address, no token.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import Field

from schemas.duration import Duration
from schemas.spelling import DOLLARS, duration, whole
from schemas.task import Whole
from schemas.value import Value


def _most(description: str, **schema: Any) -> Any:
    return Field(description=description, json_schema_extra=schema)


class Maxima(Value):
    """The most that a task may ask for in its `limits`.

    One that asks for more, or sets no limit where there is a maximum, is refused: nothing is cut down in silence.
    """

    turns: Annotated[Whole | None, _most("Turns of the model.", **whole(1, 500))] = None
    timeout: Annotated[Duration | None, _most("Time from start to end.", **duration(1))] = None
    tokens: Annotated[Whole | None, _most("Tokens read and written.", **whole(1000))] = None
    cost_usd: Annotated[float | None, _most("Dollars.", **DOLLARS)] = None


class Catalog(Value):
    """What a server knows and allows. None means that any is taken, or that nobody could tell."""

    toolkits: tuple[str, ...] | None = None
    channels: tuple[str, ...] = ()
    run_as: dict[str, tuple[str, ...]] | None = None
    """Composio users by the folder (below the tasks folder; `.` is that folder) whose tasks may name them."""
    limits: Maxima | None = None
    """The most that a task may ask for."""
    priced: tuple[str, ...] | None = None
    """Models whose price the server knows; None leaves it to the reader's own table."""
    default_model: str = ""
    """The model of tasks that name none, if the configuration says it."""
    unchecked: tuple[str, ...] = ()
    """What could not be told, and why."""

    def users_of(self, folder: str) -> tuple[str, ...] | None:
        """The users that a task in this folder may name: its own and those of the folders above it."""
        if self.run_as is None:
            return None
        path = PurePosixPath(folder or ".")
        return tuple(user for above in (path, *path.parents) for user in self.run_as.get(str(above), ()))
