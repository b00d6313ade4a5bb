"""Cron text as people write it in a task file, read into the calendar that its schedule runs by.

Refuses whatever two crons read differently or what never runs, rather than pick a meaning: each
refusal points at the characters and says what to write instead. When a calendar is due, is told by
`schemas.slots`.
"""

import difflib
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

SHORTCUTS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_NO_SHORTCUTS = {
    "@every": "write the clock times instead: every 15 minutes is `*/15 * * * *`",
    "@reboot": "leave out `cron`, and start the run where the machine starts",
    "@midnight": "write `@daily`",
    "@annually": "write `@yearly`",
}
_DIALECTS = (
    (r"\?", "`?`", "write `*`"),
    (r"h(\(.*)?", "`H`, a time chosen by hash,", "write a number; the `jitter` field spreads starts"),
    (r"([0-9]+|l)w", "`W`, the nearest working day,", "say `1-5` as the weekday, or a day such as `15`"),
    (r"([0-9]*|[a-z]{3})l", "`L`, the last day,", "run on day 28, or on day 1 for the month before"),
    (r".+#.*", "`#`, the nth weekday,", "run on that weekday, and let the goal say which weeks count"),
)
_FORMS = "write a number, a range (1-5), a step (*/2) or a list of these (1,3)"
_FIVE = 'cron needs five fields: minute hour day month weekday, for example "0 9 * * 1-5"'
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LAST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # 29 February comes, if rarely


@dataclass(frozen=True)
class Range:
    """Every `step`-th whole number from `start` to `end`, both included."""

    start: int
    end: int
    step: int = 1

    def values(self) -> range:
        """The numbers themselves, rising."""
        return range(self.start, self.end + 1, self.step)


@dataclass(frozen=True)
class Calendar:
    """The wall clock times at which all five fields match; seconds are 0.

    Months and days of the month count from 1. Sunday is day_of_week 0; no range reaches 7.
    """

    minute: tuple[Range, ...]
    hour: tuple[Range, ...]
    day_of_month: tuple[Range, ...]
    month: tuple[Range, ...]
    day_of_week: tuple[Range, ...]


@dataclass(eq=False)
class CronError(ValueError):
    """Cron text that is refused: what is wrong, where (`text[start:end]`), what to write instead."""

    message: str
    start: int
    end: int
    help: str
    code: str = "bad-cron"

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class _Piece:
    """A part of the text that knows where it stands."""

    source: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source[self.start : self.end]

    @property
    def clipped(self) -> str:
        return self.text if len(self.text) <= 40 else f"{self.text[:39]}…"

    def to(self, last: "_Piece") -> "_Piece":
        return _Piece(self.source, self.start, last.end)

    def split(self, separator: str) -> "list[_Piece]":
        pieces, start = list[_Piece](), self.start
        for part in self.text.split(separator):
            pieces.append(_Piece(self.source, start, start + len(part)))
            start += len(part) + len(separator)
        return pieces

    def refused(self, message: str, remedy: str, code: str = "bad-cron") -> CronError:
        return CronError(message, self.start, self.end, remedy, code)


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    round: int
    rule: str
    names: tuple[str, ...] = ()


_WEEKDAY = _Field("weekday", 0, 7, 7, "weekdays run from 0 to 7, or mon to sun; 0 and 7 are Sunday", _WEEKDAYS)
_FIELDS = (
    _Field("minute", 0, 59, 60, "minutes run from 0 to 59; the full hour is 0"),
    _Field("hour", 0, 23, 24, "hours run from 0 to 23; midnight is 0"),
    _Field("day", 1, 31, 31, "days of the month run from 1 to 31"),
    _Field("month", 1, 12, 12, "months run from 1 to 12, or jan to dec", _MONTHS),
    _WEEKDAY,
)


@functools.lru_cache(4096)  # teams say the same few things, and every round of sync reads them again
def parse_cron(text: str) -> Calendar:
    """Read five cron fields or one of @hourly @daily @weekly @monthly @yearly. Raises CronError."""
    words = [_Piece(text, *found.span()) for found in re.finditer(r"\S+", text)]
    if not words:
        raise _Piece(text, 0, len(text)).refused("cron is empty", f"{_FIVE}; to run on demand, leave `cron` out")
    _refuse_other_dialects(words)
    if words[0].text.startswith("@"):
        return parse_cron(_shortcut(words))
    if len(words) > 5:
        why = "seconds and years are not supported" if len(words) <= 7 else f"found {len(words)}"
        raise words[5].to(words[-1]).refused(f"cron has more than five fields: {why}", _FIVE)
    if len(words) < 5:
        raise words[0].to(words[-1]).refused(f"cron has fewer than five fields: found {len(words)}", _FIVE)
    calendar = Calendar(*map(_read_field, words, _FIELDS))
    _refuse_two_day_fields(words)
    _refuse_days_that_never_come(calendar, words)
    return calendar


def cron_pattern() -> str:
    """A regular expression for what `parse_cron` takes; it lets pass what only a calendar can refuse.

    Editors check by it: every text that `parse_cron` takes matches, and few others do.
    """
    minute, hour, day, month, weekday = map(_field_pattern, _FIELDS)
    days = rf"({day}\s+{month}\s+\*|\*\s+{month}\s+{weekday})"
    return rf"^\s*({'|'.join(SHORTCUTS)}|{minute}\s+{hour}\s+{days})\s*$"


def _field_pattern(field: _Field) -> str:
    tens: dict[str, list[int]] = {}  # the tens that share their ones: 1 and 2 of 1-31 both go from 0 to 9
    for ten in range(field.high // 10 + 1):
        ones = _digits(max(field.low - 10 * ten, 0), min(field.high - 10 * ten, 9))
        tens.setdefault(ones, []).append(ten)
    # A leading 0 is matched before: tens that begin with 0 are those that may be left out.
    numbers = [f"{_digits(first[0], first[-1])}{'' if first[0] else '?'}{ones}" for ones, first in tens.items()]
    names = ["".join(f"[{letter.upper()}{letter}]" for letter in name) for name in field.names]
    value = f"({'|'.join([*(f'0*{number}' for number in numbers), *names])})"
    item = rf"(\*|{value}(-{value})?)(/0*[1-9][0-9]?)?"
    return f"{item}(,{item})*"


def _digits(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"


def _refuse_other_dialects(words: Sequence[_Piece]) -> None:
    if zone := re.match(r"(?:CRON_)?TZ=(.*)", words[0].text, re.IGNORECASE):
        remedy = f"use the `timezone` field: timezone: {zone[1][:40] or 'Europe/Berlin'}"
        raise words[0].refused("a time zone cannot stand inside cron", remedy)
    if comment := next((word for word in words if word.text.startswith("#")), None):
        remedy = "put it after the closing quote"
        raise comment.to(words[-1]).refused("a comment cannot stand inside cron", remedy)


def _shortcut(words: Sequence[_Piece]) -> str:
    first = words[0]
    if remedy := _NO_SHORTCUTS.get(first.text):
        raise first.to(words[-1]).refused(f"`{first.text}` is not supported", remedy)
    if first.text not in SHORTCUTS:
        near = difflib.get_close_matches(first.text[:40].lower(), SHORTCUTS, 1, 0.7)
        remedy = f"did you mean `{near[0]}`?" if near else f"there are {' '.join(SHORTCUTS)}"
        raise first.refused(f"unknown shortcut `{first.clipped}`", remedy)
    if len(words) > 1:
        remedy = f"write `{first.text}` alone, or five fields: `{SHORTCUTS[first.text]}`"
        raise words[1].to(words[-1]).refused(f"`{first.text}` takes nothing after it", remedy)
    return SHORTCUTS[first.text]


def _read_field(word: _Piece, field: _Field) -> tuple[Range, ...]:
    items = word.split(",")
    if not all(item.text for item in items):
        raise word.refused(f"the list `{word.clipped}` has an empty place", "take out the extra comma")
    return tuple(span for item in items for span in _read_item(item, field))


def _read_item(item: _Piece, field: _Field) -> list[Range]:
    spread, *steps = item.split("/")
    bounds = spread.split("-")
    if len(steps) > 1 or len(bounds) > 2 or not all(piece.text for piece in (*bounds, *steps)):
        raise item.refused(f"`{item.clipped}` is no {field.name}", _FORMS)
    step = _read_step(steps[0], field) if steps else 1
    if spread.text == "*":
        return [Range(field.low, field.low + field.round - 1, step)]
    start, end = _read_value(bounds[0], field), _read_value(bounds[-1], field)
    if field is _WEEKDAY and bounds[-1].text.lower() == "sun" and start > 0:
        end = 7  # `fri-sun` reads on to the Sunday that follows
    if end < start:
        remedy = _two_ranges(bounds, f"/{step}" if steps else "", start, end, field)
        raise item.refused(f"the {field.name} range `{item.clipped}` runs backwards", f"write `{remedy}`")
    if steps and len(bounds) == 1:
        end = field.high  # `5/15` is `5-59/15`, as Temporal reads it
    if field is not _WEEKDAY or end < 7:
        return [Range(start, end, step)]
    if start <= 1 and step == 1:
        return [Range(0, 6)]
    # Temporal's calendars know no day 7: Sunday becomes a range of its own.
    sunday = [Range(0, 0)] if 7 in Range(start, end, step).values() else []
    return [*sunday, Range(start, 6, step)] if start < 7 else sunday


def _read_value(piece: _Piece, field: _Field) -> int:
    _refuse_letters(piece, field)
    if piece.text.lower() in field.names:
        return field.names.index(piece.text.lower()) + field.low
    if not re.fullmatch(r"[0-9]+", piece.text):
        raise piece.refused(f"`{piece.clipped}` is no {field.name}", _FORMS)
    digits = piece.text.lstrip("0") or "0"
    if len(digits) > 2 or not field.low <= int(digits) <= field.high:
        where = f"is out of range {field.low}-{field.high}"
        raise piece.refused(f"{field.name} {piece.clipped} {where}", field.rule)
    return int(digits)


def _read_step(piece: _Piece, field: _Field) -> int:
    if not re.fullmatch(r"[0-9]+", piece.text):
        raise piece.refused(f"the step `{piece.clipped}` is no whole number", _FORMS)
    digits = piece.text.lstrip("0")
    if not digits:
        raise piece.refused("a step of 0 never moves on", "a step is 1 or more; without `/` it is 1")
    if len(digits) > 2 or int(digits) > field.round:  # `*/90` minutes would run every 60
        remedy = f"{field.name} steps begin anew after every {field.round}: count in the next field instead"
        raise piece.refused(f"{field.name} step {piece.clipped} is out of range 1-{field.round}", remedy)
    return int(digits)


def _refuse_letters(piece: _Piece, field: _Field) -> None:
    """Refuse what other crons read into letters, and names that are none."""
    text = piece.text.lower()
    if text in field.names:
        return
    for form, what, remedy in _DIALECTS:
        if re.fullmatch(form, text):
            raise piece.refused(f"{what} is not supported", remedy)
    if field.names and text[:1].isalpha():
        near = [name for name in field.names if text.startswith(name)]
        near = near or difflib.get_close_matches(text[:40], field.names, 1, 0.6)
        remedy = f"did you mean `{near[0]}`?" if near else field.rule
        raise piece.refused(f"unknown {field.name} `{piece.clipped}`", remedy)


def _two_ranges(bounds: Sequence[_Piece], step: str, start: int, end: int, field: _Field) -> str:
    first, last = (bound.text for bound in bounds)
    if field is _WEEKDAY and start == 7:
        return f"0-{last}{step}"
    if field is _WEEKDAY and end == 0:
        return f"{first}-7{step}"
    top = field.names[-1] if first.isalpha() else str(field.low + field.round - 1)
    bottom = field.names[0] if last.isalpha() else str(field.low)
    return f"{first}-{top}{step},{bottom}-{last}{step}"


def _refuse_two_day_fields(words: Sequence[_Piece]) -> None:
    minute, hour, day, month, weekday = (word.text for word in words)
    if "*" in (day, weekday):
        return
    message = "day and weekday are both set: crons disagree whether both or either must match"
    either = f'cron: ["{minute} {hour} {day} {month} *", "{minute} {hour} * {month} {weekday}"]'
    raise words[2].to(words[4]).refused(message, f"to run on either, write {either}", "ambiguous-cron")


def _refuse_days_that_never_come(calendar: Calendar, words: Sequence[_Piece]) -> None:
    day = min(span.start for span in calendar.day_of_month)
    months = sorted({month for span in calendar.month for month in span.values()})
    if any(day <= _LAST_DAYS[month - 1] for month in months):
        return
    message = f"this never runs: there is no day {day} in {' or '.join(_MONTHS[month - 1] for month in months)}"
    remedy = "for the end of a month, run on day 28, or on day 1 for the month before"
    raise words[2].to(words[3]).refused(message, remedy, "never-runs")
