"""What a changed task could touch that it could not before: told in a plan, so that a review sees it.

Pure, and on the safe side: a change that is not proven to narrow is told as one that may widen.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from schemas.task import Task, Tools


def newly_reachable(old: Task | None, new: Task) -> tuple[str, ...]:
    """In words, what the new task may use that the old one might not; nothing only if that is proven."""
    if not (new.toolkit and _admitted(new.tools)):
        return ()
    had = set(old.toolkit) if old is not None and _admitted(old.tools) else set[str]()
    words: list[str] = []
    if added := [name for name in dict.fromkeys(new.toolkit) if name not in had]:
        only = "" if "*" in _admitted(new.tools) else f", only {', '.join(_admitted(new.tools))}"
        words.append(f"new: {', '.join(added)}{only}")
    if old is None or had.isdisjoint(new.toolkit):
        return tuple(words)
    was, now = old.tools, new.tools
    # A name that the new task admits is in its `allow` or its `ask`, and in none of its `deny`.
    if not _all_in(now.allow, (*_admitted(was), *now.deny)):
        words.append(_changed("tools.allow", was.allow, now.allow))
    if not _all_in(now.ask, (*_admitted(was), *now.deny)):
        words.append(_changed("tools.ask", was.ask, now.ask))
    if not _all_in(was.deny, now.deny):
        words.append(_changed("tools.deny", was.deny, now.deny))
    if _all_in(now.ask, (*_admitted(was), *now.deny)) and not _all_in(was.ask, (*now.ask, *now.deny)):
        words.append(_changed("tools.ask", was.ask, now.ask))
    if old.run_as != new.run_as:
        words.append(f"acts for {_user(new)} instead of {_user(old)}")
    return tuple(words)


def missing_connections(
    task: Task, connected: Mapping[str, frozenset[str]] | None, default_user: str = "default"
) -> tuple[str, ...] | None:
    """The toolkits for which the task's user has no active connection; None if nobody could tell.

    `connected` says toolkits by user, those that need no connection included; whom it does not hold has none.
    """
    if connected is None:
        return None
    active = connected.get(task.run_as or default_user, frozenset[str]())
    return tuple(name for name in dict.fromkeys(task.toolkit) if name not in active)


def _admitted(tools: Tools) -> tuple[str, ...]:
    return (*tools.allow, *tools.ask)


def _user(task: Task) -> str:
    return f"`{task.run_as}`" if task.run_as else "the server's default user"


def _changed(field: str, was: Sequence[str], now: Sequence[str]) -> str:
    lost, gained = (", ".join(g for g in a if g not in b) for a, b in ((was, now), (now, was)))
    if not lost:
        return f"{field} also holds {gained}"
    return f"{field} changed: {lost} -> {gained}" if gained else f"{field} no longer holds {lost}"


def _all_in(globs: Iterable[str], wider: Sequence[str]) -> bool:
    """True if every name that matches one of the globs provably matches one of the wider ones."""
    return all(any(_holds(each, glob) for each in wider) for glob in globs)


def _holds(wide: str, narrow: str) -> bool:
    """True if the wide glob provably matches whatever the narrow one does: it matches its parts, one by one."""
    parts = _parts(narrow)
    rests = [*(False for _ in parts), True]  # after so many parts: does what is left of the wide one match the rest?
    for wanted in reversed(_parts(wide)):
        shorter, rests = rests, [False] * len(rests)
        for at in range(len(parts), -1, -1):
            more = at < len(parts)
            if wanted == "*":
                rests[at] = shorter[at] or (more and rests[at + 1])
            else:
                rests[at] = more and shorter[at + 1] and _admits(wanted, parts[at])
    return rests[0]


def _parts(glob: str) -> list[str]:
    """As `fnmatch` reads it, in any case: `*`, `?`, `[...]`, or a letter that means itself."""
    return re.findall(r"\[!?+\]?+[^\]]*\]|.", glob.upper(), re.DOTALL)


def _admits(wide: str, narrow: str) -> bool:
    """The same for two parts, the wide one no `*`."""
    if len(narrow) == 1 and narrow not in "*?":
        return fnmatchcase(narrow, wide)
    return narrow == wide or (wide == "?" and narrow != "*")
