"""Which runs a caller asks for, as Temporal's query, and how a list goes on after its first part.

Pure. A query holds names that were checked, never a caller's own text; a cursor only says where Temporal
goes on within a query, so that nobody sees more by making one up.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.problems import BadCursor
from schemas import wire
from schemas.run import Status

_CLOSED_BY_TEMPORAL = "ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')"


@dataclass(frozen=True)
class Wanted:
    """Which runs. `tasks` None means of any task; empty means of none. `mark` None means everybody's."""

    tasks: Sequence[str] | None = None
    status: Status | None = None
    since: datetime | None = None
    mark: str | None = None

    @property
    def query(self) -> str:
        """The visibility query. Raises ValueError for what no name of ours can contain."""
        parts = [wire.LISTED_RUNS]
        if self.mark is not None:
            parts.append(f"{wire.OWNER} = {wire.quoted(self.mark)}")
        if self.tasks is not None:
            names = ", ".join(wire.quoted(name) for name in self.tasks)
            parts.append(f"{wire.TASK} IN ({names})")
        if self.since is not None:
            parts.append(f"StartTime >= '{self.since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'")
        if self.status is not None:
            parts.append(f"({_with(self.status)})")
        return " AND ".join(parts)


def _with(status: Status) -> str:
    """What a run of this status looks like, also if Temporal closed it before it could say so."""
    said = f"{wire.STATUS} = '{status}'"
    match status:
        case "queued" | "running" | "waiting":
            return f"{said} AND ExecutionStatus = 'Running'"
        case "failed":
            return f"{said} AND ExecutionStatus = 'Completed' OR {_CLOSED_BY_TEMPORAL}"
        case "cancelled":
            return f"{said} AND ExecutionStatus = 'Completed' OR ExecutionStatus = 'Canceled'"
        case _:
            return f"{said} AND ExecutionStatus = 'Completed'"


def cursor_of(token: bytes | None, query: str) -> str | None:
    """Where the next part begins, as a caller hands it back; None after the last part."""
    if not token:
        return None
    return base64.urlsafe_b64encode(_seal(query) + token).decode().rstrip("=")


def token_of(cursor: str | None, query: str) -> bytes | None:
    """What Temporal goes on from. Raises BadCursor for one of another list, or none of ours."""
    if not cursor:
        return None
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) <= 8 or raw[:8] != _seal(query):
        raise BadCursor("This cursor belongs to another list; take `next_cursor` of this one, or leave it out.")
    return raw[8:]


def _seal(query: str) -> bytes:
    return hashlib.sha256(query.encode()).digest()[:8]
