"""That a person has stopped everything: who, when and why. Kept on the Temporal server while it lasts.

It is a word, not the mechanism: that something is kept at all is what stops, however unreadable it is.
"""

from datetime import datetime

from schemas.value import Value

MOST_REASON = 500
"""Characters of a reason that are kept."""


class Stopped(Value):
    """One stop. `at` is UTC."""

    by: str = ""
    """Who said so first; empty if it cannot be read here."""
    at: datetime
    reason: str = ""

    def __str__(self) -> str:
        """In one line: `by ada, 2026-11-22 09:00 UTC: the vendor was broken into`."""
        why = " ".join(self.reason.split())
        return f"by {self.by or 'somebody'}, {self.at:%Y-%m-%d %H:%M} UTC{f': {why}' if why else ''}"
