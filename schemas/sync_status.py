"""What a sync source last saw and did: written by sync, read by the command line and by the gateway.

It is kept on the Temporal server, as the action of a schedule that never starts, so that there is one place
to look and no second store. No word of a task file is in it but what its problems quote.
"""

from datetime import datetime

from schemas.problem import Problem
from schemas.value import Value

MOST_PROBLEMS = 100


class SyncStatus(Value):
    """One owner's sync. Times are UTC."""

    owner: str
    instance: str = ""
    """Who writes for this owner, `host:folder`; empty once it has stopped."""
    seen_at: datetime
    """When the folder was last looked at; told anew once a minute at most."""
    revision: str = ""
    """What the folder's source says it is: a commit, most often."""
    tasks: int = 0
    problems: tuple[Problem, ...] = ()
    """What is wrong with the files, the first hundred."""
    notes: tuple[str, ...] = ()
    """Conflicts, and deletions that are not done."""
    blocked: tuple[str, ...] = ()
    """The schedules whose deletion waits for a person's word."""
    confirm: str = ""
    """What `goalfile sync --confirm` releases them with."""
    error: str = ""
    """Why nothing could be done at all."""
    wrote_at: datetime | None = None
    """When a schedule was last written."""
    wrote: tuple[str, ...] = ()
    """What was written then: `create report`."""
