"""A schedule in English, as typed after `goalfile new NAME --cron`, turned into cron text for the task file.

Refuses to guess: a word it does not know, a step that would not come evenly, a phrase that reads two ways.
A task file holds cron only, so that all who read it read the same.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from schemas.cron import CronError, parse_cron

_EXAMPLES = "write for example `every weekday at 9`, `every monday at 17:30`, `every 15 minutes`, or five cron fields"
_EVEN = {"minute": (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30), "hour": (1, 2, 3, 4, 6, 8, 12)}
_SKIPPING = "cron leaves none out: run on each, and let the goal say which ones count"
_REMEDIES = {
    "last": "write `28th of every month`, or `1st of every month` for the month before",
    "month": "name the months, for example `1st of january, april, july and october`",
    "other": _SKIPPING,
    "second": f"cron has no seconds, only `every minute`, and {_SKIPPING}",
}
_UNITS = ("second", "minute", "hour", "day", "week", "month", "year")
_SHORT = {"m": "minute", "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour"}
_COUNTED = _SHORT | {form: unit for unit in _UNITS for form in (unit, f"{unit}s")}
_ADVERBS = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month", "yearly": "year"}
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = "january, february, march, april, may, june, july, august, september, october, november, december"
_PARTS = {"morning": (9, range(12)), "evening": (18, range(17, 24))}  # the hour unless one is said; those it may be
_RINGS = {"weekday": (0, 7), "day": (1, 31), "month": (1, 12)}
_JOINTS = {
    **dict.fromkeys((",", "&", "and"), "and"),
    **dict.fromkeys(("every", "each", "the", "of", "on", "in", "from"), "filler"),
    **dict.fromkeys(("-", "–", "—", "to", "through", "thru"), "to"),  # noqa: RUF001 - people paste dashes
    "at": "at",
}
_NAMES: dict[str, tuple[str, tuple[int, ...]]] = {
    **{day[:end]: ("weekday", (i,)) for i, day in enumerate(_WEEKDAYS) for end in range(3, 10)},
    **{f"{day}s": ("weekday", (i,)) for i, day in enumerate(_WEEKDAYS)},
    **dict.fromkeys(("weekday", "weekdays"), ("weekday", (1, 2, 3, 4, 5))),
    **dict.fromkeys(("weekend", "weekends"), ("weekday", (0, 6))),
    **{month[:end]: ("month", (i,)) for i, month in enumerate(_MONTHS.split(", "), 1) for end in range(3, 10)},
    **dict.fromkeys(("first", "first day"), ("day", (1,))),
    **{part: ("part", (hour * 60,)) for part, (hour, _) in _PARTS.items()},
    "noon": ("time", (12 * 60,)),
    "midnight": ("time", (0,)),
}
_TOKEN = re.compile(
    rf"""(?: (?:every|each)[ ](?P<count>[0-9]{{1,4}})(?P<nth>st|nd|rd|th)?[ ]?(?P<counted>{"|".join(_COUNTED)})
    | (?:every|each)[ ](?P<unit>minute|hour|day|week|month|year) | (?:the|of)[ ](?P<of>month) | first[ ]day
    | (?: :|(?=[0-9]+[ ](?:minutes?[ ])?past))(?P<past>[0-9]{{1,2}})(?:[ ](?:minutes?[ ])?past(?:[ ]the[ ]hour)?)?
    | (?P<day>[0-9]{{1,4}})(?:st|nd|rd|th)(?:[ ]day)?
    | (?P<hour>[0-9]{{1,4}})(?: :(?P<minute>[0-9]{{2}}))?(?:[ ]?(?P<half>am|pm|h|o['’]?clock))?
    )(?![^ ,&–—-]) | [,&–—-] | [^ ,&–—-]+""",  # noqa: RUF001 - the last part takes whatever is left
    re.VERBOSE,
)

# What may stand beside `every hour` and the like, what must, and how that looks.
_BESIDE = {
    "minute": ("weekday day month", "", "`every 15 minutes on weekdays`"),
    "hour": ("past weekday day month", "", "`every hour at :15` or `every day at 15:00`"),
    "day": ("time part month", "", "`every day at 9` or `every weekday at 9`"),
    "week": ("weekday time part", "weekday", "`every week on monday at 9`"),
    "month": ("day time part", "day", "`every month on the 15th at 9`"),
    "year": ("day month time part", "day month", "`every year on 24 december at 9`"),
    "": ("weekday day month time part", "", "`every hour at :15`"),
    "date": ("day month time part", "day", "`every january 1st` or `every monday in january`"),
}


class WordsError(ValueError):
    """Words that are refused: what is wrong, and what to write instead."""


@dataclass(frozen=True)
class _Word:
    """A part of the phrase: what kind of thing it says, and its numbers. A time counts minutes from midnight."""

    kind: str
    text: str
    values: tuple[int, ...] = ()
    unit: str = ""


_NOTHING = _Word("nothing", "")


def to_cron(text: str) -> tuple[str, ...]:
    """Cron texts (their union) for words such as `every weekday at 9`; cron text itself comes back as it is.

    `hourly`, `daily`, `weekly`, `monthly` and `yearly` alone become cron's shortcuts, at midnight. Other
    days (`every day`, `mondays`, `on the 15th`) run at 9:00 if no time is said. Raises WordsError.
    """
    fields = text.split()
    numbers = all(re.fullmatch(r"[0-9,/?#-]+", field) for field in fields[:2])
    if text.strip().startswith("@") or "*" in text or (len(fields) == 5 and numbers):
        return (_checked(text),)
    said = _by_kind(_with_ranges([_word(found) for found in _TOKEN.finditer(" ".join(fields).lower())]))
    if [*said] == ["period"] and said["period"][0].text in _ADVERBS and len(said["period"]) == 1:
        return (f"@{said['period'][0].text}",)
    return tuple(_checked(cron) for cron in _crons(said, _period(said)))


def _checked(cron: str) -> str:
    try:
        parse_cron(cron)
    except CronError as error:
        raise WordsError(f"{error.message}; {error.help}") from error
    return cron


def _word(found: re.Match[str]) -> _Word:
    text = found[0] if len(found[0]) <= 40 else f"{found[0][:39]}…"
    if found["counted"]:
        return _counted(text, int(found["count"]), _COUNTED[found["counted"]], nth=bool(found["nth"]))
    if unit := found["unit"] or found["of"] or _ADVERBS.get(text):
        return _Word("period", text, (1,), unit)
    if found["past"]:
        return replace(_time(text, "0", found["past"]), kind="past")
    if found["day"]:
        return _day(text, found["day"])
    if found["hour"]:
        return _Word("number", text) if text.isdigit() else _time(text, found["hour"], found["minute"], found["half"])
    if text in _JOINTS:
        return _Word(_JOINTS[text], text)
    if text not in _NAMES:
        raise WordsError(f"`{text}` is no schedule word; {_REMEDIES.get(text, _EXAMPLES)}")
    kind, values = _NAMES[text]
    return _Word(kind, text, values)


def _counted(text: str, count: int, unit: str, *, nth: bool) -> _Word:
    if nth:
        raise WordsError(f"`{text}` is unclear; write for example `every 2 hours`, or `on the 2nd of every month`")
    if count not in _EVEN.get(unit, (count,)):
        even = " or ".join(f"{', '.join(map(str, steps))} {unit}s" for unit, steps in _EVEN.items())
        raise WordsError(f"`{text}` would not come evenly; what does is every {even}")
    if unit == "second" or (unit not in _EVEN and count != 1):
        raise WordsError(f"cron cannot say `{text}`; {_REMEDIES.get(unit, _SKIPPING)}")
    return _Word("period", text, (count,), unit)


def _day(text: str, number: str) -> _Word:
    if not 1 <= int(number) <= 31:
        raise WordsError(f"`{text}` is no day; days of the month run from 1 to 31")
    return _Word("day", text, (int(number),))


def _time(text: str, digits: str, minute: str | None = None, half: str | None = None) -> _Word:
    hour, noon_apart = int(digits), half in ("am", "pm")
    if noon_apart and not 1 <= hour <= 12:
        raise WordsError(f"`{text}` is no time; with am or pm, hours run from 1 to 12")
    if hour > 23:
        raise WordsError(f"`{text}` is no time; hours run from 0 to 23, midnight is 0:00")
    if int(minute or 0) > 59:
        raise WordsError(f"`{text}` is no time; minutes run from 0 to 59")
    if noon_apart:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return _Word("time", text, (hour * 60 + int(minute or 0),), "half day" if noon_apart else "")


def _with_ranges(words: Iterable[_Word]) -> list[_Word]:
    """`monday to friday` becomes one word."""
    found, rest = list[_Word](), iter(words)
    for word in rest:
        if word.kind == "to":
            end = next(rest, _NOTHING)
            end = next(rest, _NOTHING) if end.text == "the" else end
            found[-1:] = [_range(found[-1] if found else _NOTHING, word, end)]
        else:
            found.append(word)
    return found


def _range(start: _Word, to: _Word, end: _Word) -> _Word:
    text = " ".join(word.text for word in (start, to, end) if word.text)
    if start.kind != end.kind or start.kind not in _RINGS or len(start.values + end.values) != 2:
        remedy = "name two weekdays, months or days (`1st to 5th`); hours need cron, for example `0 9-17 * * *`"
        raise WordsError(f"`{text}` is no range; {remedy}")
    (low, size), first, last = _RINGS[start.kind], start.values[0], end.values[0]
    if first == last or (start.kind == "day" and first > last):
        raise WordsError(f"`{text}` is no range; name the earlier day first, then a later one")
    steps = range((last - first) % size + 1)  # `friday to monday` goes on past the end of the week
    return _Word(start.kind, text, tuple((first - low + step) % size + low for step in steps))


def _by_kind(words: Sequence[_Word]) -> dict[str, list[_Word]]:
    """What is said, by kind. Each kind stands in one place: which time belongs to which day is never guessed."""
    said, last, before, in_times, joined = dict[str, list[_Word]](), "", _NOTHING, False, False
    for given, after in pairwise([*words, _NOTHING]):
        word = _told_apart(given, before, after, in_times=in_times) if given.kind == "number" else given
        in_times = word.kind in ("at", "time") or (in_times and word.kind == "and")
        if word.kind in ("at", "filler") and after.kind in ("and", "nothing"):
            raise WordsError(f"something is missing after `{word.text}`; {_EXAMPLES}")
        if word.kind == before.kind == "time":
            raise WordsError(f"`{before.text} {word.text}` is unclear; one time is `9:30`, two are `at 9 and 17`")
        if word.kind in said and word.kind != last:
            remedy = "say all days together and all times together; two schedules are two cron texts"
            raise WordsError(f"`{word.text}` stands apart from `{said[word.kind][-1].text}`; {remedy}")
        if word.text in _JOINTS:
            joined |= word.text in ("and", "&")
        elif joined and last not in ("", word.kind):
            remedy = "it joins days with days and times with times; leave it out here"
            raise WordsError(f"`and` before `{word.text}` is unclear: {remedy}")
        else:
            said.setdefault(word.kind, []).append(word)
            last, joined = word.kind, False
        before = word
    if joined:
        raise WordsError(f"something is missing after `and`; {_EXAMPLES}")
    if not said:
        raise WordsError(f"there is no schedule in this; {_EXAMPLES}")
    return said


def _told_apart(word: _Word, before: _Word, after: _Word, *, in_times: bool) -> _Word:
    """A bare number beside a month is a day, and after `at` an hour; `at 9, 17 december` may be either."""
    is_hour = in_times and before.kind in ("at", "and")
    is_day = "month" in (before.kind, after.kind)
    if is_hour != is_day:
        return _time(word.text, word.text) if is_hour else _day(word.text, word.text)
    raise WordsError(f"`{word.text}` alone may be an hour or a day; write an hour as `at 9` or `9:00`, a day as `9th`")


def _period(said: dict[str, list[_Word]]) -> _Word:
    """The `every hour` of the phrase, if any, once all the rest is known to go with it."""
    if "weekday" in said and "day" in said:
        both = f"`{said['weekday'][0].text}` together with `{said['day'][0].text}`"
        raise WordsError(f"cron cannot say {both}; run on the weekday, and let the goal say which ones count")
    period, *more = said.get("period", [_NOTHING])
    takes, needs, example = _BESIDE[period.unit or ("date" if "month" in said and "weekday" not in said else "")]
    more += [words[0] for kind, words in said.items() if kind != "period" and kind not in takes.split()]
    if more:
        beside = f"does not go with `{period.text}`" if period.text else "needs `every hour`"
        raise WordsError(f"`{more[0].text}` {beside}; write for example {example}")
    if missing := [kind for kind in needs.split() if kind not in said]:
        raise WordsError(f"no {' and no '.join(missing)} is named; write for example {example}")
    return period


def _crons(said: dict[str, list[_Word]], period: _Word) -> list[str]:
    days = " ".join(_field(said, kind) for kind in ("day", "month", "weekday"))
    step = f"*/{period.values[0]}".removesuffix("/1") if period.values else ""
    if period.unit == "minute":
        return [f"{step} * {days}"]
    if period.unit == "hour":
        return [f"{_field(said, 'past') if 'past' in said else 0} {step} {days}"]
    hours: dict[int, list[int]] = {}
    for time in sorted(_times(said)):
        hours.setdefault(time % 60, []).append(time // 60)
    return [f"{minute} {_list(found)} {days}" for minute, found in hours.items()]


def _times(said: dict[str, list[_Word]]) -> set[int]:
    times, parts = said.get("time", []), said.get("part", [])
    open_ones = [word for word in times if word.text[0].isdigit() and not word.unit and 1 <= word.values[0] // 60 <= 12]
    if open_ones and any(word.unit for word in times):
        raise WordsError(f"`{open_ones[0].text}` may be am or pm; say so at each time")
    for word in times:
        for part in parts:
            if word.values[0] // 60 not in _PARTS[part.text][1]:
                raise WordsError(f"`{word.text}` is not in the {part.text}; write the time alone, such as `at 18:00`")
    return {word.values[0] for word in times or parts} or {9 * 60}


def _field(said: dict[str, list[_Word]], kind: str) -> str:
    values = {value for word in said.get(kind, []) for value in word.values}
    return "*" if not values or (kind in _RINGS and len(values) == _RINGS[kind][1]) else _list(values)


def _list(values: Iterable[int]) -> str:
    row = sorted(values)
    if len(row) > 2 and row[-1] - row[0] == len(row) - 1:
        return f"{row[0]}-{row[-1]}"
    return ",".join(map(str, row))
