"""What files want against what the server has: an ordered plan, each action with its reason.

    file      schedule                    plan
    valid     none                        create
    valid     ours, same                  nothing
    valid     ours, different             update
    valid     ours, edited by hand        update; a person's pause stays
    valid     another owner's             conflict, never touched; update once a person says adopt
    invalid   ours                        kept as it was, whatever name the file tells now
    gone      ours                        deleted, once two scans agree and no guard objects

It decides and does nothing: no clock, no disk, no server.
"""

import hashlib
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from runner.wanted import Wanted
from schemas.run import RunRequest
from schemas.wire import DISABLED

MASS = 0.3
"""A larger share of the owned schedules than this is not deleted without a person's word..."""
MASS_FROM = 10
"""...once there are this many of them."""


@dataclass(frozen=True)
class Existing:
    """One schedule of the server that carries an owner, as far as a listing tells."""

    name: str
    owner: str
    digest: str
    paused: bool = False
    note: str = ""
    path: str = ""
    """The file it was made from; a listing does not tell it."""
    drifted: str = ""
    """What somebody changed by hand, in words; a listing does not tell it."""


@dataclass(frozen=True)
class Action:
    """One write to the server."""

    verb: Literal["create", "update", "delete"]
    name: str
    reason: str
    request: RunRequest | None = None
    owner: str = ""
    """Whom the schedule belongs to before; it is left alone if that is no longer so."""


@dataclass(frozen=True)
class Plan:
    """What to do, in order; what is not done, and why."""

    actions: tuple[Action, ...]
    notes: tuple[str, ...] = ()
    """Conflicts and blocked deletions, in words."""
    missing: frozenset[str] = frozenset()
    """Owned names that this scan saw no file of; the next plan wants to know."""
    waiting: frozenset[str] = frozenset()
    """Those of them that only wait for a second scan."""
    hash: str = ""
    """What a person confirms to release blocked deletions; empty when none are blocked."""
    blocked: tuple[str, ...] = ()
    """The names whose deletion is blocked."""


def make_plan(
    wanted: Wanted,
    existing: tuple[Existing, ...],
    owner: str,
    *,
    missing_before: AbstractSet[str] = frozenset(),
    confirmed: str = "",
    adopt: AbstractSet[str] = frozenset(),
) -> Plan:
    """The writes that make the server equal to the files.

    `missing_before` is the last plan's `missing`; `adopt` names schedules of other owners that a person
    hands over to this one.
    """
    by_name = {schedule.name: schedule for schedule in existing}
    writes: list[Action] = []
    notes: list[str] = []
    for name, request in sorted(wanted.requests.items()):
        schedule = by_name.get(name)
        if schedule is None:
            writes.append(Action("create", name, f"{request.source.path} is new", request))
        elif schedule.owner != owner and name not in adopt:
            remedy = f"rename one of the two tasks, or take it over with `goalfile sync --adopt {name}`"
            notes.append(f"{name}: conflict, this schedule belongs to `{schedule.owner}`; {remedy}")
        elif reason := _why_update(schedule, request, owner):
            writes.append(Action("update", name, reason, request, schedule.owner))
    absent = missing_of(wanted, existing, owner)
    kept = {name for name in absent if _file_is_wrong(by_name[name], wanted)}
    notes += [f"{name}: kept, for its file {by_name[name].path} is there but wrong" for name in sorted(kept)]
    missing = frozenset(absent - kept)
    settled = sorted(missing & missing_before)
    owned = {schedule.name for schedule in existing if schedule.owner == owner}
    # A listing that lags may leave out some that are there: those that were seen before, or that a file tells.
    unlisted = (missing_before | wanted.requests.keys()) - by_name.keys()
    block = _guard(settled, len(owned), len(owned) + len(unlisted), wanted)
    hash_ = hashlib.sha256("\n".join([owner, *settled]).encode()).hexdigest()[:12] if block else ""
    blocked = settled if block and confirmed != hash_ else []
    if blocked:
        notes.append(f"not deleted: {', '.join(settled)}: {block}; release with `goalfile sync --confirm {hash_}`")
    deletes = [Action("delete", name, "its file is gone", None, owner) for name in settled if not blocked]
    creates = [action for action in writes if action.verb == "create"]
    updates = [action for action in writes if action.verb == "update"]
    actions = (*creates, *updates, *deletes)
    waiting = missing - missing_before
    # A file that hides its name may be the one that is missed: then its absence was not seen.
    return Plan(actions, tuple(notes), frozenset() if wanted.hidden else missing, waiting, hash_, tuple(blocked))


def missing_of(wanted: Wanted, existing: tuple[Existing, ...], owner: str) -> set[str]:
    """The owned names that no file tells."""
    return {schedule.name for schedule in existing if schedule.owner == owner} - wanted.requests.keys() - wanted.held


def _why_update(schedule: Existing, request: RunRequest, owner: str) -> str:
    """Why a schedule is written again, or nothing."""
    path = request.source.path
    if schedule.owner != owner:
        return f"{path} takes it over from `{schedule.owner}`"
    if schedule.digest != request.source.digest:
        return f"{path} changed"
    if not request.task.enabled and not schedule.paused:
        return f"{path} disables it, and somebody resumed it"
    if request.task.enabled and request.task.cron and schedule.paused and schedule.note == DISABLED:
        return f"{path} enables it"
    return f"somebody changed {schedule.drifted} by hand" if schedule.drifted else ""


def _file_is_wrong(schedule: Existing, wanted: Wanted) -> bool:
    """True if the file that the schedule was made from is there and wrong: it may have told another name since."""
    return any(schedule.path == path or schedule.path.endswith(f"/{path}") for path in wanted.wrong)


def _guard(names: list[str], owned: int, at_most: int, wanted: Wanted) -> str:
    """Why these may not be deleted without a person's word, or nothing.

    `owned` are listed; with those that a listing may leave out there are `at_most` so many.
    """
    if not names:
        return ""
    if wanted.hidden:
        return f"{wanted.hidden[0]} cannot be read and may be one of them"
    if wanted.empty:
        return "the folder holds no task at all"
    if len(names) == owned:
        return "that would be all of them"
    if at_most >= MASS_FROM and len(names) > MASS * owned:
        return f"that would be {len(names)} of {owned}"
    return ""
