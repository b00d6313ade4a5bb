"""What a task will do once its plan is applied: when it runs, what a day may cost at worst, what it may newly touch.

Pure. It counts slots and multiplies the limits that the task sets; it refuses to guess what nothing
limits, or what anything costs. A day is any 24 hours. A limit is looked at between two turns, so a run
may go over its tokens by one turn and its last word; and starts that an outage held up come together.
"""

import functools
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from runner.effective import Slot, upcoming
from schemas.cron import Calendar, Range, parse_cron
from schemas.slots import next_slots
from schemas.task import Task

SLOTS = 3
"""Slots that a plan tells."""
HORIZON = 366
"""Days after the first slot that are looked at for the worst one: every date of a year, every change of the clock."""

_DAY = timedelta(days=1)
_STEP = timedelta(hours=3)
_ALL = 24 * 60
"""Slots fall on whole minutes: no day holds more."""


@dataclass(frozen=True)
class Day:
    """What the runs that start within 24 hours may use. Days of several tasks add up."""

    runs: int = 0
    tokens: int = 0
    """Of the tasks that limit them; the same with dollars."""
    dollars: float = 0.0
    minutes: float = 0.0
    turns: int = 0
    no_tokens: int = 0
    """Tasks among them that set no limit of tokens; the same with dollars."""
    no_dollars: int = 0

    def __add__(self, other: "Day") -> "Day":
        return Day(*(one + another for one, another in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Forecast:
    """Of one task, or of many taken together: then without slots."""

    next: tuple[Slot, ...]
    worst: Day
    """The most in any 24 hours."""
    usual: Day
    """The most in any 24 hours in which nobody changes the task's clock. In spring, 9:00 comes after 23 hours."""

    @property
    def runs_per_day(self) -> int:
        return self.worst.runs

    @property
    def tokens_per_day(self) -> int | None:
        """None without a limit; at least `worst.tokens` then. The same with dollars."""
        return None if self.worst.no_tokens else self.worst.tokens

    @property
    def dollars_per_day(self) -> float | None:
        return None if self.worst.no_dollars else self.worst.dollars

    @property
    def minutes_per_day(self) -> float:
        return self.worst.minutes

    @property
    def turns_per_day(self) -> int:
        return self.worst.turns


def forecast(task: Task, now: datetime) -> Forecast:
    """What a task does from now on by itself: nothing without cron, and nothing while its file disables it."""
    if not (task.cron and task.enabled):
        return Forecast((), Day(), Day())
    usual, worst = _busiest(task.cron, task.timezone, now)
    return Forecast(upcoming(task, now, SLOTS), _day(task, worst), _day(task, usual))


def total(forecasts: Iterable[Forecast]) -> Forecast:
    """The sum of them all, as if the worst day of each were the same."""
    each = tuple(forecasts)
    return Forecast((), sum((one.worst for one in each), Day()), sum((one.usual for one in each), Day()))


def a_run(task: Task) -> Day:
    """What a single run may use."""
    limits = task.limits
    no_tokens, no_dollars = int(limits.tokens is None), int(limits.cost_usd is None)
    minutes = limits.timeout.total_seconds() / 60
    return Day(1, limits.tokens or 0, limits.cost_usd or 0.0, minutes, limits.turns, no_tokens, no_dollars)


def _day(task: Task, slots: int) -> Day:
    if not slots:
        return Day()
    one, runs = a_run(task), slots * (1 + task.retries)
    minutes = one.minutes * runs
    if task.overlap != "allow":
        minutes = min(minutes, 24.0 * 60)  # one at a time
    return Day(runs, one.tokens * runs, one.dollars * runs, minutes, one.turns * runs, one.no_tokens, one.no_dollars)


# --- the busiest day ---


@dataclass(frozen=True)
class _Pattern:
    """A calendar as the dates on which it is due, and as the minutes of such a date: bit 0 is midnight."""

    minutes: int
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def of(cls, calendar: Calendar) -> "_Pattern":
        hour = sum(1 << minute for minute in _numbers(calendar.minute))
        minutes = sum(hour << 60 * each for each in _numbers(calendar.hour))
        return cls(minutes, *map(_numbers, (calendar.day_of_month, calendar.month, calendar.day_of_week)))

    def on(self, day: date) -> int:
        """The minutes that are due on a date."""
        due = day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays
        return self.minutes if due else 0


def _numbers(ranges: Sequence[Range]) -> frozenset[int]:
    return frozenset(number for span in ranges for number in span.values())


@functools.lru_cache(4096)  # many tasks say the same
def _busiest(cron: tuple[str, ...], timezone: str, now: datetime) -> tuple[int, int]:
    """The most slots in 24 hours, usually and at worst.

    Dates are compared as sets of minutes. Only around a change of the clock, where slots are odd, the
    server's own rules are asked for each.
    """
    calendars = [parse_cron(text) for text in cron]
    found = next_slots(calendars, timezone, now, 1)
    if not found:
        return 0, 0
    patterns, zone = [_Pattern.of(calendar) for calendar in calendars], ZoneInfo(timezone)
    first = found[0].astimezone(zone)
    days = [first.date() + number * _DAY for number in range(HORIZON + 1)]
    changes = _changes(timezone, days[0])
    odd = [_touched(change, zone) for change in changes]
    usual = _busiest_by_date(patterns, first, days)
    if usual == _ALL or not odd:
        return usual, usual
    worst = _busiest_by_date(patterns, first, [day for day in days if not any(day in some for some in odd)])
    for some in odd:
        begin, end = (datetime.combine(day, time(), zone).astimezone(UTC) for day in (some[0], some[-1] + _DAY))
        slots = _slots(calendars, timezone, max(now, begin - _STEP), end + _DAY + _STEP)
        for index, slot in enumerate(slots):
            if some[0] <= slot.astimezone(zone).date() <= min(some[-1], days[-1]):
                worst = max(worst, bisect_left(slots, slot + _DAY) - index)
    return min(usual, worst), worst


def _touched(change: datetime, zone: ZoneInfo) -> list[date]:
    """The dates on which 24 hours may begin that the change falls into; its oddities may last beyond midnight."""
    return sorted({(change + step * _STEP).astimezone(zone).date() for step in range(-8, 3)})


def _busiest_by_date(patterns: Collection[_Pattern], first: datetime, days: Iterable[date]) -> int:
    """The most minutes in 24 hours that begin on one of these days, each as long as the other."""

    def due(day: date) -> int:
        minutes = functools.reduce(int.__or__, (pattern.on(day) for pattern in patterns))
        begin = 60 * first.hour + first.minute if day == first.date() else 0
        return minutes >> begin << begin  # before the first slot there is none

    most = functools.reduce(int.__or__, (pattern.minutes for pattern in patterns)).bit_count()
    best, seen = 0, set[tuple[int, int]]()
    for day in days:
        pair = due(day), due(day + _DAY)
        if pair not in seen:
            seen.add(pair)
            best = max(best, _most(*pair))
            if best == most:
                break
    return best


def _most(today: int, tomorrow: int) -> int:
    if today == tomorrow:
        return today.bit_count()
    best = 0
    while today:
        begin = today & -today
        best = max(best, today.bit_count() + (tomorrow & (begin - 1)).bit_count())
        today ^= begin
    return best


def _slots(calendars: Sequence[Calendar], timezone: str, after: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    while not found or found[-1] < until:
        # Few at a time: behind the last one that matters the next may be years away.
        more = next_slots(calendars, timezone, found[-1] if found else after, min(len(found) + 1, 100))
        found += more
        if not more:
            break
    return [slot for slot in found if slot < until]


@functools.lru_cache(1024)
def _changes(timezone: str, start: date) -> tuple[datetime, ...]:
    """When the clock is changed, up to _STEP before it: from before `start` to behind the horizon."""
    zone, begin = ZoneInfo(timezone), datetime.combine(start, time(), UTC) - 3 * _DAY
    steps = [begin + number * _STEP for number in range((HORIZON + 6) * (_DAY // _STEP))]
    offsets = [step.astimezone(zone).utcoffset() for step in steps]
    return tuple(step for step, offset, after in zip(steps, offsets, offsets[1:], strict=False) if offset != after)
