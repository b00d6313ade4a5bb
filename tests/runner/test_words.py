"""Words in, cron text or a refusal out. What the cron text means is the matter of tests/schemas/test_cron.py."""

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.words import WordsError, to_cron
from schemas.cron import Range, parse_cron

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def refusal(text: str) -> str:
    with pytest.raises(WordsError) as raised:
        to_cron(text)
    return str(raised.value)


def numbers(ranges: tuple[Range, ...]) -> set[int]:
    return {number for span in ranges for number in span.values()}


def due(crons: tuple[str, ...]) -> set[tuple[int, int, int]]:
    """Weekday, hour and minute of every start in a week."""
    return {
        (weekday, hour, minute)
        for calendar in map(parse_cron, crons)
        for weekday in numbers(calendar.day_of_week)
        for hour in numbers(calendar.hour)
        for minute in numbers(calendar.minute)
    }


@pytest.mark.parametrize("text", ["0 9 * * 1-5", "*/15 * * * *", "0 9 1,15 * *", "0 9 * JAN Mon", "@daily", " @daily "])
def test_cron_text_comes_back_as_it_is(text: str) -> None:
    assert to_cron(text) == (text,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("61 9 1 1 *", "minute 61 is out of range 0-59; minutes run from 0 to 59"),
        ("0 9 1 1 monday", "did you mean `mon`?"),
        ("0 9 * * weekdays", "unknown weekday `weekdays`"),
        ("0 9 13 * 5", "day and weekday are both set"),
        ("*/15 * * *", "cron has fewer than five fields: found 4"),
        ("TZ=Europe/Berlin 0 9 * * *", "use the `timezone` field: timezone: Europe/Berlin"),
        ("@every 5m", "`@every` is not supported"),
        ("@dayly", "did you mean `@daily`?"),
    ],
)
def test_bad_cron_text_is_refused_in_the_words_of_cron(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize("word", ["hourly", "daily", "weekly", "monthly", "yearly"])
def test_a_lone_adverb_is_a_shortcut_of_cron(word: str) -> None:
    assert to_cron(word) == to_cron(f" {word.upper()}") == (f"@{word}",)


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("every minute", "* * * * *"),
        ("every 1 minute", "* * * * *"),
        ("every 15 minutes", "*/15 * * * *"),
        ("each 5 min", "*/5 * * * *"),
        ("every 15m", "*/15 * * * *"),
        ("every hour", "0 * * * *"),
        ("every 2 hours", "0 */2 * * *"),
        ("every 8h", "0 */8 * * *"),
        ("hourly at :15", "15 * * * *"),
        ("every hour at 15 past", "15 * * * *"),
        ("at 5 minutes past every hour", "5 * * * *"),
        ("every hour at 15 minutes past the hour", "15 * * * *"),
        ("every hour at :15 and :45", "15,45 * * * *"),
        ("every 2 hours at :30", "30 */2 * * *"),
        ("every 15 minutes on weekdays", "*/15 * * * 1-5"),
        ("every hour on the 1st of january", "0 * 1 1 *"),
    ],
)
def test_a_step_runs_through_the_day(text: str, cron: str) -> None:
    assert to_cron(text) == (cron,)


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("every day", "0 9 * * *"),
        ("mondays", "0 9 * * 1"),
        ("every weekday", "0 9 * * 1-5"),
        ("on the 15th", "0 9 15 * *"),
        ("first day of the month", "0 9 1 * *"),
        ("every january 1st", "0 9 1 1 *"),
        ("every monday in january", "0 9 * 1 1"),
    ],
)
def test_days_without_a_time_run_at_nine(text: str, cron: str) -> None:
    assert to_cron(text) == (cron,)


@pytest.mark.parametrize(
    ("time", "minute", "hour"),
    [
        ("at 9", 0, 9),
        ("at 09", 0, 9),
        ("9am", 0, 9),
        ("at 9 am", 0, 9),
        ("9:05", 5, 9),
        ("9:30pm", 30, 21),
        ("9:30 PM", 30, 21),
        ("17:30", 30, 17),
        ("at 9h", 0, 9),
        ("at 9 o'clock", 0, 9),
        ("at 9 O\N{RIGHT SINGLE QUOTATION MARK}Clock", 0, 9),
        ("at noon", 0, 12),
        ("at midnight", 0, 0),
        ("at 0:00", 0, 0),
        ("12am", 0, 0),
        ("12:15pm", 15, 12),
        ("morning", 0, 9),
        ("evening", 0, 18),
        ("at 8 in the morning", 0, 8),
        ("evening at 8pm", 0, 20),
    ],
)
def test_a_time_is_read(time: str, minute: int, hour: int) -> None:
    assert to_cron(f"every monday {time}") == (f"{minute} {hour} * * 1",)


@pytest.mark.parametrize(("text", "hour"), [("noon", 12), ("every morning", 9), ("9pm", 21), ("daily at 9", 9)])
def test_a_time_alone_is_every_day(text: str, hour: int) -> None:
    assert to_cron(text) == (f"0 {hour} * * *",)


def test_a_weekday_runs_from_monday_to_friday() -> None:
    assert to_cron("every weekday at 9") == to_cron("weekdays at 9") == ("0 9 * * 1-5",)


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("every weekend at 10", "0 10 * * 0,6"),
        ("every monday at 17:30", "30 17 * * 1"),
        ("every week on monday at 9", "0 9 * * 1"),
        ("every mon, wed and fri at 9am", "0 9 * * 1,3,5"),
        ("mon, tue, wed, thu, fri", "0 9 * * 1-5"),
        ("at 9 every tues & thurs", "0 9 * * 2,4"),
        ("every monday and every thursday at noon", "0 12 * * 1,4"),
        ("monday to friday at 7", "0 7 * * 1-5"),
        ("from Monday through Friday at 7", "0 7 * * 1-5"),
        ("mon-fri 9:00", "0 9 * * 1-5"),
        ("mon \N{EN DASH} wed, sat 9:00", "0 9 * * 1,2,3,6"),
        ("saturday to monday", "0 9 * * 0,1,6"),
        ("monday to sunday", "0 9 * * *"),
    ],
)
def test_days_of_the_week_are_read(text: str, cron: str) -> None:
    assert to_cron(text) == (cron,)


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("on the 1st of every month at 6", "0 6 1 * *"),
        ("every month on the 15th", "0 9 15 * *"),
        ("monthly on the 1st and 15th at 9:00", "0 9 1,15 * *"),
        ("every 1st and 15th", "0 9 1,15 * *"),
        ("from the 1st to the 5th of the month", "0 9 1-5 * *"),
        ("2nd day of each month at noon", "0 12 2 * *"),
        ("every year on 24 december at 9", "0 9 24 12 *"),
        ("yearly on Dec 24 at 9", "0 9 24 12 *"),
        ("every december the 24th", "0 9 24 12 *"),
        ("1st of january, april, july and october", "0 9 1 1,4,7,10 *"),
        ("november to february on the 1st", "0 9 1 1,2,11,12 *"),
    ],
)
def test_days_of_the_month_are_read(text: str, cron: str) -> None:
    assert to_cron(text) == (cron,)


@pytest.mark.parametrize(
    ("text", "crons"),
    [
        ("every day at 9 and 17", ("0 9,17 * * *",)),
        ("every day at 17, 9", ("0 9,17 * * *",)),
        ("weekdays at 8, 9, 10 and 11", ("0 8-11 * * 1-5",)),
        ("every day at 8:30 and 17", ("30 8 * * *", "0 17 * * *")),
        ("mondays at 9:00, 9:30 and 10:00", ("0 9,10 * * 1", "30 9 * * 1")),
        ("every morning and evening", ("0 9,18 * * *",)),
        ("every day at 9am and 17:00 and midnight", ("0 0,9,17 * * *",)),
    ],
)
def test_times_share_a_cron_when_their_minutes_are_equal(text: str, crons: tuple[str, ...]) -> None:
    assert to_cron(text) == crons


@pytest.mark.parametrize(
    "text", ["every 7 minutes", "every 90 minutes", "every 0 minutes", "every 5 hours", "every 9h"]
)
def test_an_uneven_step_is_refused_with_the_even_ones(text: str) -> None:
    said = refusal(text)
    assert f"`{text}`" in said
    assert "1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 minutes or 1, 2, 3, 4, 6, 8, 12 hours" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("every 2 days", "let the goal say which ones count"),
        ("every 2 weeks", "let the goal say which ones count"),
        ("every 3 months", "name the months"),
        ("every other monday", "let the goal say which ones count"),
        ("every second monday", "let the goal say which ones count"),
        ("every 2nd monday", "let the goal say which ones count"),
        ("first monday of the month", "let the goal say which ones count"),
        ("every friday the 13th", "cron cannot say `friday` together with `13th`"),
        ("last day of the month", "write `28th of every month`"),
        ("every 30 seconds", "cron has no seconds"),
        ("every day at 9-17", "hours need cron, for example `0 9-17 * * *`"),
        ("30 february", "this never runs"),
    ],
)
def test_what_cron_cannot_say_is_refused_with_a_way_out(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("every day at 25:00", "`25:00` is no time; hours run from 0 to 23"),
        ("every day at 24", "`24` is no time; hours run from 0 to 23, midnight is 0:00"),
        ("every day at 9:60", "`9:60` is no time; minutes run from 0 to 59"),
        ("every day at 13pm", "`13pm` is no time; with am or pm, hours run from 1 to 12"),
        ("every day at 0am", "`0am` is no time; with am or pm, hours run from 1 to 12"),
        ("hourly at :60", "`:60` is no time; minutes run from 0 to 59"),
        ("every 32nd", "`32nd` is no day; days of the month run from 1 to 31"),
        ("every january 0", "`0` is no day; days of the month run from 1 to 31"),
        ("every evening at 9", "`9` is not in the evening"),
        ("every morning at 21:00", "`21:00` is not in the morning"),
    ],
)
def test_an_impossible_time_or_day_is_refused_by_name(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("every day at 8 and 9pm", "`8` may be am or pm"),
        ("every day at 9 30", "`30` alone may be an hour or a day"),
        ("every day at 12 midnight", "`12 midnight` is unclear"),
        ("every month 15", "`15` alone may be an hour or a day"),
        ("every monday 9 of june", "`9` alone may be an hour or a day"),
        ("at 9, 17 december", "`17` alone may be an hour or a day"),
        ("every monday at 9 and friday at 17", "`friday` stands apart from `monday`"),
        ("january 1 and july 2", "`july` stands apart from `january`"),
        ("on mondays and at noon", "`and` before `noon` is unclear"),
        ("every 2nd day", "`every 2nd day` is unclear"),
        ("every hour at 9", "`9` does not go with `every hour`"),
        ("daily on mondays", "`mondays` does not go with `daily`"),
        ("every hour and every day", "`every day` does not go with `every hour`"),
        ("mondays at :15", "`:15` needs `every hour`"),
        ("friday to friday", "`friday to friday` is no range"),
        ("5th to 1st", "`5th to 1st` is no range"),
        ("to friday", "`to friday` is no range"),
    ],
)
def test_words_that_read_two_ways_are_refused(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no schedule in this"),
        ("every day at", "something is missing after `at`"),
        ("mondays at and fridays at 9", "something is missing after `at`"),
        ("mondays and,", "something is missing after `and`"),
        ("every week", "no weekday is named"),
        ("every month at 9", "no day is named"),
        ("every january", "no day is named"),
        ("every year", "no day and no month is named"),
    ],
)
def test_an_unfinished_phrase_is_told_what_is_missing(text: str, said: str) -> None:
    assert said in refusal(text)
    assert "write for example `" in refusal(text)


def test_a_refusal_says_what_to_write_instead() -> None:
    assert refusal("fortnightly") == (
        "`fortnightly` is no schedule word; write for example `every weekday at 9`, `every monday at 17:30`, "
        "`every 15 minutes`, or five cron fields"
    )


GOOD = st.sampled_from(
    [
        "every weekday at 9",
        "every mon, wed and fri at 9:30 pm",
        "every 2 hours at :15",
        "every hour at 15 past the hour",
        "first day of the month at noon",
        "every year on 24 december",
        "every morning",
    ]
)


@given(
    GOOD, st.sampled_from(["except", "not", "twice", "every5", "9h15", "monday.", "?", "%", "\N{SNOWMAN}"]), st.data()
)
def test_no_word_is_left_out(text: str, stranger: str, data: st.DataObject) -> None:
    words = text.split()
    words.insert(data.draw(st.integers(0, len(words))), stranger)
    assert f"`{stranger}` is no schedule word" in refusal(" ".join(words))


@given(GOOD, st.data())
def test_case_and_spaces_do_not_matter(text: str, data: st.DataObject) -> None:
    spaces = st.text(" \t\n", min_size=1, max_size=3)
    loose = re.sub(" ", lambda _: data.draw(spaces), data.draw(st.sampled_from([text, text.upper(), text.title()])))
    assert to_cron(f" {loose} ") == to_cron(text)


HOURS = {
    "at {0}:{1:02}": lambda hour: hour,
    "at {0}:{1:02}am": lambda hour: hour % 12,
    "{0}:{1:02} pm": lambda hour: hour % 12 + 12,
}


@given(
    st.sets(st.sampled_from(range(7)), min_size=1),
    st.sets(st.tuples(st.integers(1, 12), st.sampled_from([0, 0, 15, 30])), min_size=1, max_size=4),
    st.sampled_from(list(HOURS)),
    st.sampled_from([", ", " and ", ", and "]),
    st.booleans(),
)
def test_every_named_day_runs_at_every_named_time(
    days: set[int], times: set[tuple[int, int]], form: str, joint: str, times_first: bool
) -> None:
    parts = [joint.join(f"every {DAYS[day]}" for day in days), joint.join(form.format(*time) for time in times)]
    expected = {(day, HOURS[form](hour), minute) for day in days for hour, minute in times}
    assert due(to_cron(" ".join(parts[::-1] if times_first else parts))) == expected


@given(st.sampled_from(range(7)), st.sampled_from(range(1, 7)))
def test_a_range_of_days_goes_on_past_the_end_of_the_week(first: int, length: int) -> None:
    crons = to_cron(f"{DAYS[first]} to {DAYS[(first + length) % 7]} at 9")
    assert due(crons) == {((first + step) % 7, 9, 0) for step in range(length + 1)}


@given(st.integers(0, 100), st.sampled_from([("minutes", 1), ("hours", 60)]))
def test_a_step_that_is_taken_comes_evenly(count: int, unit: tuple[str, int]) -> None:
    name, minutes = unit
    with contextlib.suppress(WordsError):
        starts = {hour * 60 + minute for _, hour, minute in due(to_cron(f"every {count} {name}"))}
        assert starts == set(range(0, 1440, count * minutes))


FRAGMENTS = [
    *("every", "each", "on", "at", "the", "of", "and", "from", "to", "-", ",", "&", "in", "past", "am", "o'clock"),
    *("hourly", "daily", "monthly", "hour", "minute", "day", "week", "month", "year", "minutes", "hours", "every hour"),
    *("mon", "friday", "weekdays", "weekends", "jan", "december", "1st", "31st", "first", "first day", "the month"),
    *("15", "9", "1", "31", "0", ":15", "9:30", "5pm", "9h", "noon", "morning", "evening", "every 15 minutes"),
    *("other", "last", "second", "*", "*/5", "@daily", "nonsense"),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=6).map(" ".join))
def test_what_is_taken_is_cron(text: str) -> None:
    with contextlib.suppress(WordsError):
        crons = to_cron(text)
        assert crons
        assert all(map(parse_cron, crons))


@given(st.text() | st.text("0123456789:*/,-@ aehmnpty"))
def test_any_text_is_taken_or_refused(text: str) -> None:
    with contextlib.suppress(WordsError):
        assert to_cron(text)


@pytest.mark.parametrize("text", ["9" * 5000, "every " + "9" * 5000 + " minutes", "x" * 5000, ":" + "9" * 5000])
def test_a_very_long_word_is_refused_in_short(text: str) -> None:
    assert len(refusal(text)) < 300
