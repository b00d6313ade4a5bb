"""What a server has that task files may name: toolkits, channels, and whose connections which folder may use.

A gateway tells it, `goalfile validate --online` and the editor's completion ask for it. It holds names
only: no address, no token.
"""

from pathlib import PurePosixPath

from schemas.value import Value


class Catalog(Value):
    """The names a server knows. None means that any is taken, or that nobody could tell."""

    toolkits: tuple[str, ...] | None = None
    channels: tuple[str, ...] = ()
    run_as: dict[str, tuple[str, ...]] | None = None
    """Composio users by the folder (below the tasks folder; `.` is that folder) whose tasks may name them."""
    unchecked: tuple[str, ...] = ()
    """What could not be told, and why."""

    def users_of(self, folder: str) -> tuple[str, ...] | None:
        """The users that a task in this folder may name: its own and those of the folders above it."""
        if self.run_as is None:
            return None
        path = PurePosixPath(folder or ".")
        return tuple(user for above in (path, *path.parents) for user in self.run_as.get(str(above), ()))
