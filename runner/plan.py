"""What files want against what the server has: an ordered plan, each action with its reason.

    file      schedule          plan
    valid     none              create
    valid     ours, same        nothing
    valid     ours, different   update
    valid     another owner's   conflict, never touched
    invalid   ours              kept as it was
    gone      ours              deleted, once two scans agree and no guard objects

It decides and does nothing: no clock, no disk, no server.
"""

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from runner.wanted import Wanted
from schemas.run import RunRequest

MASS = 0.3
"""A larger share of the owned schedules than this is not deleted without a person's word..."""
MASS_FROM = 10
"""...once there are this many of them."""


@dataclass(frozen=True)
class Existing:
    """One schedule of the server that carries an owner."""

    name: str
    owner: str
    digest: str


@dataclass(frozen=True)
class Action:
    """One write to the server."""

    verb: Literal["create", "update", "delete"]
    name: str
    reason: str
    request: RunRequest | None = None


@dataclass(frozen=True)
class Plan:
    """What to do, in order; what is not done, and why."""

    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()
    """Conflicts and blocked deletions, in words."""
    missing: frozenset[str] = frozenset()
    """Owned names without a file in this scan; the next plan wants to know."""
    waiting: frozenset[str] = frozenset()
    """Those of them that only wait for a second scan."""
    hash: str = ""
    """What a person confirms to release blocked deletions; empty when none are blocked."""


def make_plan(
    wanted: Wanted,
    existing: tuple[Existing, ...],
    owner: str,
    *,
    missing_before: AbstractSet[str] = frozenset(),
    confirmed: str = "",
) -> Plan:
    """The writes that make the server equal to the files. `missing_before` is the last plan's `missing`."""
    by_name = {schedule.name: schedule for schedule in existing}
    ours = {name for name, schedule in by_name.items() if schedule.owner == owner}
    creates: list[Action] = []
    updates: list[Action] = []
    notes: list[str] = []
    for name, request in sorted(wanted.requests.items()):
        schedule = by_name.get(name)
        if schedule is None:
            creates.append(Action("create", name, f"{request.source.path} is new", request))
        elif schedule.owner != owner:
            notes.append(f"{name}: conflict, this schedule belongs to `{schedule.owner}`; rename one of the two tasks")
        elif schedule.digest != request.source.digest:
            updates.append(Action("update", name, f"{request.source.path} changed", request))
    missing = frozenset(ours - wanted.requests.keys() - wanted.held)
    settled = sorted(missing & missing_before)
    block = _guard(settled, len(ours), wanted)
    hash_ = hashlib.sha256("\n".join([owner, *settled]).encode()).hexdigest()[:12] if block else ""
    if block and confirmed != hash_:
        notes.append(f"not deleted: {', '.join(settled)}: {block}; release with `goalfile sync --confirm {hash_}`")
        settled = []
    deletes = [Action("delete", name, "its file is gone") for name in settled]
    waiting = missing - missing_before
    return Plan((*creates, *updates, *deletes), tuple(notes), missing, waiting, hash_)


def _guard(names: list[str], owned: int, wanted: Wanted) -> str:
    """Why these may not be deleted without a person's word, or nothing."""
    if not names:
        return ""
    if wanted.hidden:
        return f"{wanted.hidden[0]} cannot be read and may be one of them"
    if wanted.empty:
        return "the folder holds no task at all"
    if len(names) == owned:
        return "that would be all of them"
    if owned >= MASS_FROM and len(names) > MASS * owned:
        return f"that would be {len(names)} of {owned}"
    return ""
