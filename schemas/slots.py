"""When calendars are due: the next slots of a task, exactly those that Temporal will start.

A port of how the server computes them (`next` in its scheduler's calendar.go), clock changes and
oddities included. Refuses to improve on it: a preview that is nicer than what happens is wrong.
"""

import difflib
import functools
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.cron import Calendar, Range

_HOUR = timedelta(hours=1)
_NONE = timedelta()
_LAST_YEAR = 2100  # the server looks no further
_FIRST = datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)  # nor further back
_END = datetime(_LAST_YEAR + 1, 1, 1, tzinfo=UTC)
_MACHINE = ("local", "localtime")


class TimezoneError(ValueError):
    """A time zone that is refused: what is wrong, and what to write instead."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message, remedy)
        self.message = message
        self.help = remedy

    def __str__(self) -> str:
        return f"{self.message}: {self.help}"


def next_slots(calendars: Sequence[Calendar], timezone: str, after: datetime, count: int) -> tuple[datetime, ...]:
    """The first `count` instants, in UTC and rising, at which any of the calendars is due.

    `after` is aware, and no slot itself. Fewer come back when the year 2100 ends first. Raises
    TimezoneError for a time zone that `check_timezone` refuses.
    """
    check_timezone(timezone)
    zone, wanted = ZoneInfo(timezone), [_Wanted.of(calendar) for calendar in calendars]
    slots, last = list[datetime](), max(after, _FIRST)
    while len(slots) < count and last.year <= _LAST_YEAR:
        # Every calendar is asked anew after the slot of any other, as the server does it: around a
        # clock change the answer depends on where the search starts.
        found = [slot for each in wanted if (slot := _next(each, zone, last.astimezone(UTC)))]
        last = min(found, default=_END)
        slots += [last] if last < _END else []
    return tuple(slots)


def check_timezone(name: str) -> None:
    """Raise TimezoneError unless this is an IANA time zone, in exact case. `Local` is none."""
    if name == "UTC" or name in known_zones():
        return
    wanted = name[:60].strip().replace(" ", "_").lower()
    if wanted in _MACHINE:
        message = f"`{name}` is whatever the machine that reads it says"
        raise TimezoneError(message, "name a zone such as `Europe/Berlin`, or `UTC`")
    known = sorted(known_zones(), key=lambda zone: (zone.count("/"), zone))
    near = [zone for zone in known if wanted and wanted in (zone.lower(), _city(zone))]
    if not near and len(wanted) > 4 and not any(map(str.isdigit, wanted)):  # `CEST` is no misspelt `EST`
        called = {_city(zone): zone for zone in known} | {zone.lower(): zone for zone in known}
        near = [called[word] for word in difflib.get_close_matches(wanted, called, 1, 0.8)]
    said = " or ".join(f"`{zone}`" for zone in near[:3])
    remedy = f"did you mean {said}?" if near else "name a zone such as `Europe/Berlin`, or `UTC`"
    raise TimezoneError(f"unknown time zone `{name[:60]}`", remedy)


@functools.cache
def known_zones() -> dict[str, None]:
    """Every IANA name that a task may give, the same on every machine: those of the `tzdata` package, in order."""
    names = importlib.resources.files("tzdata").joinpath("zones").read_text().split()
    return dict.fromkeys(sorted(set(names) - {"Factory"}))


def _city(zone: str) -> str:
    # `GMT+2` must not be taken for Etc/GMT+2, which is two hours behind.
    return "" if zone.startswith("Etc/") else zone.rpartition("/")[2].lower()


@dataclass(frozen=True)
class _Wanted:
    """A calendar as numbers to look up."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def of(cls, calendar: Calendar) -> "_Wanted":
        return cls(
            tuple(sorted(_numbers(calendar.minute))),
            tuple(sorted(_numbers(calendar.hour))),
            _numbers(calendar.day_of_month),
            _numbers(calendar.month),
            _numbers(calendar.day_of_week),
        )


def _numbers(ranges: Sequence[Range]) -> frozenset[int]:
    return frozenset(number for span in ranges for number in span.values())


def _next(wanted: _Wanted, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first slot after an instant, or None up to the server's last year."""
    start = after.astimezone(zone)
    wall = start.replace(minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    minute = start.minute + 1
    # An hour that the clock shows twice: `repeat` is set while the search is in its second copy.
    repeat = _HOUR if (after - _HOUR).astimezone(zone).hour == wall.hour else _NONE
    while wall.year <= _LAST_YEAR:
        if wall.month not in wanted.months:
            wall = (wall.replace(day=1, hour=0) + timedelta(days=31)).replace(day=1)
            minute, repeat = 0, _NONE
            continue
        if wall.day not in wanted.days or not _is_weekday(wall, zone, wanted.weekdays):
            wall, minute, repeat = wall.replace(hour=0) + timedelta(days=1), 0, _NONE
            continue
        hour = next((hour for hour in wanted.hours if hour >= wall.hour), None)
        if hour is None:
            wall, minute, repeat = wall.replace(hour=0) + timedelta(days=1), 0, _NONE
            continue
        if hour > wall.hour:
            wall, minute, repeat = wall.replace(hour=hour), 0, _NONE
        found = next((number for number in wanted.minutes if number >= minute), None)
        if found is None:
            doubled = _instant(wall + _HOUR, zone) - _instant(wall, zone) > _HOUR
            if doubled and not repeat:
                repeat = _HOUR
            else:
                wall, repeat = wall + _HOUR, _NONE
            minute = 0
            continue
        slot = _instant(wall.replace(minute=found), zone)
        if slot.astimezone(zone).hour == wall.hour:
            return slot + repeat
        wall, minute = wall + _HOUR, 0  # the clock jumps over this hour
    return None


def _is_weekday(wall: datetime, zone: ZoneInfo, weekdays: frozenset[int]) -> bool:
    # Asked of the instant, not of the date: where midnight does not exist the server sees the day before.
    return len(weekdays) == 7 or _instant(wall, zone).astimezone(zone).isoweekday() % 7 in weekdays


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant that Go's `time.Date` picks for a wall clock time, also one that comes twice or never."""
    as_utc = wall.replace(tzinfo=UTC)
    return as_utc - _offset(as_utc - _offset(as_utc, zone), zone)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or _NONE
