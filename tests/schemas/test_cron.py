"""Cron text in, calendars, slots or a refusal out. That a server agrees is shown in tests/temporal."""

import contextlib
import pickle
import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.cron import Calendar, CronError, Range, parse_cron
from schemas.slots import TimezoneError, check_timezone, next_slots

ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago")
DAY = timedelta(days=1)


def numbers(ranges: tuple[Range, ...]) -> set[int]:
    return {number for span in ranges for number in span.values()}


def field(position: int, text: str) -> set[int]:
    """What one field means, the other four being `*`."""
    calendar = parse_cron(" ".join("*" * position + "-" + "*" * (4 - position)).replace("-", text))
    ranges = (calendar.minute, calendar.hour, calendar.day_of_month, calendar.month, calendar.day_of_week)
    return numbers(ranges[position])


@pytest.mark.parametrize(
    ("position", "text", "meaning"),
    [
        (0, "*", set(range(60))),
        (0, "5", {5}),
        (0, "05", {5}),
        (0, "0,30,59", {0, 30, 59}),
        (0, "*/15", {0, 15, 30, 45}),
        (0, "*/60", {0}),
        (0, "10-50/20", {10, 30, 50}),
        (0, "10-49/20", {10, 30}),
        (0, "5/15", {5, 20, 35, 50}),
        (0, "1-3,2-4", {1, 2, 3, 4}),
        (1, "*/24", {0}),
        (1, "22-23,0-2", {22, 23, 0, 1, 2}),
        (2, "31", {31}),
        (2, "29/1", {29, 30, 31}),
        (3, "jan", {1}),
        (3, "Nov-DEC", {11, 12}),
        (3, "*/5", {1, 6, 11}),
        (4, "0", {0}),
        (4, "7", {0}),
        (4, "sun", {0}),
        (4, "SAT,Sun", {6, 0}),
        (4, "mon-fri", {1, 2, 3, 4, 5}),
        (4, "0-6", set(range(7))),
        (4, "1-7", set(range(7))),
        (4, "0-7", set(range(7))),
        (4, "5-7", {5, 6, 0}),
        (4, "3-7/2", {3, 5, 0}),
        (4, "3-7/3", {3, 6}),
        (4, "7-7", {0}),
        (4, "fri-sun", {5, 6, 0}),
        (4, "mon-sun", set(range(7))),
        (4, "sun-tue", {0, 1, 2}),
        (4, "1/2", {1, 3, 5, 0}),
        (4, "*/7", {0}),
    ],
)
def test_a_field_means(position: int, text: str, meaning: set[int]) -> None:
    assert field(position, text) == meaning


@pytest.mark.parametrize(
    ("shortcut", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@weekly", "0 0 * * sun"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 jan *"),
    ],
)
def test_a_shortcut_is_five_fields(shortcut: str, fields: str) -> None:
    assert parse_cron(shortcut) == parse_cron(fields)


def test_a_calendar_keeps_ranges_as_they_were_written() -> None:
    whole_week = (Range(0, 6),)
    whole = (Range(10, 50, 20), Range(5, 5)), (Range(0, 23),), (Range(1, 31),), (Range(1, 12),), whole_week
    assert parse_cron(" \t10-50/20,5 *\n* * 1-7 ") == Calendar(*whole)


# Each text carries `[` and `]` around the characters that the error must point at.
REFUSED = [
    ("[]", "cron is empty", "leave `cron` out"),
    ("[  ]", "cron is empty", "minute hour day month weekday"),
    ("[0 9 * *]", "fewer than five fields: found 4", "minute hour day month weekday"),
    ("0 0 9 * * [*]", "seconds and years are not supported", "minute hour day month weekday"),
    ("0 0 9 ? * [MON 2027]", "seconds and years are not supported", '"0 9 * * 1-5"'),
    ("1 2 3 4 5 [6 7 8]", "more than five fields: found 8", "minute hour day month weekday"),
    ("[@every 5m]", "`@every` is not supported", "`*/15 * * * *`"),
    ("[@reboot]", "`@reboot` is not supported", "leave out `cron`"),
    (" [@midnight]", "`@midnight` is not supported", "write `@daily`"),
    ("[@annually]", "`@annually` is not supported", "write `@yearly`"),
    ("[@Daily]", "unknown shortcut `@Daily`", "did you mean `@daily`?"),
    ("[@fortnightly]", "unknown shortcut `@fortnightly`", "@hourly @daily @weekly @monthly @yearly"),
    ("@daily [9]", "`@daily` takes nothing after it", "`0 0 * * *`"),
    ("[TZ=Europe/Berlin] 0 9 * * *", "a time zone cannot stand inside cron", "timezone: Europe/Berlin"),
    ("[CRON_TZ=UTC] 0 9 * * *", "a time zone cannot stand inside cron", "`timezone` field"),
    ("0 9 * * 1 [# weekly call]", "a comment cannot stand inside cron", "after the closing quote"),
    ("0 9 * * [1#2]", "`#`, the nth weekday, is not supported", "let the goal say which weeks"),
    ("0 9 [L] * *", "`L`, the last day, is not supported", "day 28"),
    ("0 9 [L]-3 * *", "`L`, the last day, is not supported", "day 1 for the month before"),
    ("0 9 * * [5L]", "`L`, the last day, is not supported", "day 28"),
    ("0 9 * * [fril]", "`L`, the last day, is not supported", "day 28"),
    ("0 9 [15W] * *", "`W`, the nearest working day, is not supported", "`1-5`"),
    ("0 9 [LW] * *", "`W`, the nearest working day, is not supported", "`1-5`"),
    ("0 9 [?] * 1", "`?` is not supported", "write `*`"),
    ("[H] 9 * * *", "`H`, a time chosen by hash, is not supported", "`jitter`"),
    ("[H(0]-29)/10 9 * * *", "`H`, a time chosen by hash", "`jitter`"),
    ("[50-10] * * * *", "the minute range `50-10` runs backwards", "write `50-59,0-10`"),
    ("5,[50-10/20] * * * *", "`50-10/20` runs backwards", "write `50-59/20,0-10/20`"),
    ("0 [22-2] * * *", "the hour range `22-2` runs backwards", "write `22-23,0-2`"),
    ("0 0 [25-5] * *", "the day range `25-5` runs backwards", "write `25-31,1-5`"),
    ("0 0 1 [nov-feb] *", "the month range `nov-feb` runs backwards", "write `nov-dec,jan-feb`"),
    ("0 9 * * [fri-mon]", "the weekday range `fri-mon` runs backwards", "write `fri-sat,sun-mon`"),
    ("0 9 * * [5-0]", "the weekday range `5-0` runs backwards", "write `5-7`"),
    ("0 9 * * [7-2]", "the weekday range `7-2` runs backwards", "write `0-2`"),
    ("[60] * * * *", "minute 60 is out of range 0-59", "the full hour is 0"),
    ("0 [25] * * 1", "hour 25 is out of range 0-23", "hours run from 0 to 23; midnight is 0"),
    ("0 9-[24] * * *", "hour 24 is out of range 0-23", "midnight is 0"),
    ("0 0 [0] * *", "day 0 is out of range 1-31", "days of the month run from 1 to 31"),
    ("0 0 1 [13] *", "month 13 is out of range 1-12", "jan to dec"),
    ("0 0 * * 1,[8]", "weekday 8 is out of range 0-7", "0 and 7 are Sunday"),
    ("*/[0] * * * *", "a step of 0 never moves on", "a step is 1 or more"),
    ("*/[90] * * * *", "minute step 90 is out of range 1-60", "begin anew after every 60"),
    ("*/[x] * * * *", "the step `x` is no whole number", "a step (*/2)"),
    ("0 9 * [foo] *", "unknown month `foo`", "jan to dec"),
    ("0 9 * [sept] *", "unknown month `sept`", "did you mean `sep`?"),
    ("0 9 * * mon,[thurs]", "unknown weekday `thurs`", "did you mean `thu`?"),
    ("0 9 * * [tud]", "unknown weekday `tud`", "did you mean `tue`?"),
    ("0 [noon] * * *", "`noon` is no hour", "a range (1-5)"),
    ("0 [mon] * * *", "`mon` is no hour", "a range (1-5)"),
    ("[1,,2] * * * *", "the list `1,,2` has an empty place", "extra comma"),
    ("[1,] * * * *", "the list `1,` has an empty place", "extra comma"),
    ("[1-] * * * *", "`1-` is no minute", "a range (1-5)"),
    ("[-5] * * * *", "`-5` is no minute", "a range (1-5)"),
    ("[1-2-3] * * * *", "`1-2-3` is no minute", "a range (1-5)"),
    ("[1/2/3] * * * *", "`1/2/3` is no minute", "a step (*/2)"),
    ("[/5] * * * *", "`/5` is no minute", "a step (*/2)"),
    ("[**] * * * *", "`**` is no minute", "a list"),
    ("[²] * * * *", "`²` is no minute", "a number"),
    ("0 9 [13 * 5]", "day and weekday are both set", 'cron: ["0 9 13 * *", "0 9 * * 5"]'),
    ("0 9 [1-7 jan mon]", "day and weekday are both set", 'cron: ["0 9 1-7 jan *", "0 9 * jan mon"]'),
    ("0 9 [31 2] *", "this never runs: there is no day 31 in feb", "day 28"),
    ("0 0 [30 feb] *", "this never runs: there is no day 30 in feb", "day 1 for the month before"),
    ("0 0 [31 4-6/2] *", "this never runs: there is no day 31 in apr or jun", "day 28"),
]


@pytest.mark.parametrize(("marked", "message", "remedy"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_refusal_says_what_is_wrong_where_and_what_to_write(marked: str, message: str, remedy: str) -> None:
    start = marked.index("[")
    end = marked.index("]") - 1
    with pytest.raises(CronError) as refused:
        parse_cron(marked.replace("[", "").replace("]", ""))
    assert message in str(refused.value)
    assert remedy in refused.value.help
    assert (refused.value.start, refused.value.end) == (start, end)


def test_what_two_crons_read_differently_and_what_never_runs_have_codes_of_their_own() -> None:
    codes = dict.fromkeys(("0 25 * * *", "0 9 13 * 5", "0 9 31 2 *"), "")
    for text in codes:
        with pytest.raises(CronError) as refused:
            parse_cron(text)
        codes[text] = refused.value.code
    assert list(codes.values()) == ["bad-cron", "ambiguous-cron", "never-runs"]


def test_a_refusal_survives_pickling() -> None:
    with pytest.raises(CronError) as refused:
        parse_cron("0 25 * * *")
    copy = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own bytes, of a moment ago
    assert vars(copy) == vars(refused.value)


def test_very_long_text_is_clipped_in_the_message() -> None:
    with pytest.raises(CronError) as refused:
        parse_cron("9" * 60_000 + " * * * *")
    assert len(str(refused.value)) < 100
    assert refused.value.end == 60_000


WORDS = "0 1 5 7 9 12 13 29 30 31 59 60 99 jan Feb dec sun mon SAT foo L 5L W 15W H ? # 1#2 * */2 */0 @daily TZ="
pieces = st.sampled_from(WORDS.split())
items = st.one_of(pieces, st.tuples(pieces, st.sampled_from("-/,"), pieces).map("".join))
near_cron = st.lists(st.one_of(items, st.lists(items, max_size=3).map("-/,".join)), max_size=8).map(" ".join)


def read(text: str) -> Calendar | CronError:
    try:
        return parse_cron(text)
    except CronError as refused:
        return refused


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.text(), near_cron, st.text("0123456789*/-,#@?LWHmonsujaTZ= \t\n", max_size=20)))
def test_any_text_is_read_or_refused_at_a_place_inside_it(text: str) -> None:
    match read(text):
        case CronError() as refused:
            assert 0 <= refused.start <= refused.end <= len(text)
            assert refused.start < refused.end or not text
            assert refused.message
            assert refused.help
        case calendar:
            assert next_slots([calendar], "UTC", datetime(2027, 1, 1, tzinfo=UTC), 1)


@given(st.data(), st.sampled_from([(0, 0, 59), (1, 0, 23), (2, 1, 31), (3, 1, 12), (4, 0, 7)]))
def test_the_way_round_a_backwards_range_is_accepted(data: st.DataObject, bounds: tuple[int, int, int]) -> None:
    position, low, high = bounds
    last = data.draw(st.integers(low, high - 1))
    first = data.draw(st.integers(last + 1, high))
    with pytest.raises(CronError) as refused:
        field(position, f"{first}-{last}")
    way_round = re.fullmatch(r"write `(.*)`", refused.value.help)
    assert way_round
    wraps = {*range(first, high + 1), *range(low, last + 1)}
    assert field(position, way_round[1]) == ({day % 7 for day in wraps} if position == 4 else wraps)


def one_field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    steps = st.integers(1, high).map("/{}".format)
    ranges = st.lists(number, min_size=2, max_size=2).map(lambda pair: "{}-{}".format(*sorted(pair)))
    stepped = st.tuples(st.one_of(ranges, st.just("*"), number.map(str)), steps).map("".join)
    item = st.one_of(number.map(str), ranges, stepped)
    return st.one_of(st.just("*"), st.lists(item, min_size=1, max_size=3).map(",".join))


minutes, hours = one_field(0, 59), st.one_of(one_field(0, 3), one_field(0, 23))
day_fields = st.one_of(
    st.tuples(one_field(1, 31), one_field(1, 12), st.just("*")),
    st.tuples(st.just("*"), one_field(1, 12), one_field(0, 7)),
)
readable = st.tuples(minutes, hours, day_fields).map(lambda parts: " ".join((*parts[:2], *parts[2])))
calendars = readable.map(read).filter(lambda known: getattr(known, "code", "") != "never-runs")
# Clock changes of the zones above, so that the laws are tried where they are most likely to break.
changes = [(2027, 3, 14, 7), (2027, 11, 7, 6), (2027, 3, 28, 1), (2027, 10, 31, 1), (2027, 4, 3, 15), (2027, 9, 5, 4)]
instants = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
    st.builds(
        lambda at, minutes: datetime(*at, tzinfo=UTC) + timedelta(minutes=minutes),
        st.sampled_from(changes),
        st.integers(-200, 200),
    ),
)


@settings(deadline=None)
@given(st.lists(calendars, max_size=3), st.sampled_from(ZONES), instants)
def test_slots_rise_and_go_on_from_any_of_them(many: list[Calendar], zone: str, after: datetime) -> None:
    slots = next_slots(many, zone, after, 12)
    assert all(early < late for early, late in zip((after, *slots), slots, strict=False))
    assert len(slots) == (12 if many else 0) or slots[-1].year > 2060
    for index, slot in enumerate(slots):
        assert next_slots(many, zone, slot, 11 - index) == slots[index + 1 :]


def matches(calendar: Calendar, at: datetime) -> bool:
    return (
        at.minute in numbers(calendar.minute)
        and at.hour in numbers(calendar.hour)
        and at.day in numbers(calendar.day_of_month)
        and at.month in numbers(calendar.month)
        and at.isoweekday() % 7 in numbers(calendar.day_of_week)
        and at.second == at.microsecond == 0
    )


@settings(deadline=None)
@given(calendars, st.sampled_from(ZONES), instants)
def test_away_from_clock_changes_every_slot_matches_its_calendar(
    calendar: Calendar, zone: str, after: datetime
) -> None:
    for slot in next_slots([calendar], zone, after, 20):
        local = slot.astimezone(ZoneInfo(zone))
        calm = (slot - DAY).astimezone(local.tzinfo).utcoffset() == (slot + DAY).astimezone(local.tzinfo).utcoffset()
        assert matches(calendar, local) or not calm
        assert slot.tzinfo is UTC


@settings(deadline=None, max_examples=30)
@given(calendars, st.integers(0, 365))
def test_no_matching_minute_is_left_out(calendar: Calendar, day: int) -> None:
    after = datetime(2028, 1, 1, 12, tzinfo=UTC) + day * DAY
    every = [after + timedelta(minutes=minute) for minute in range(1, 1441)]
    due = tuple(at for at in every if matches(calendar, at))
    assert next_slots([calendar], "UTC", after, len(due)) == due
    assert next_slots([calendar], "UTC", after, len(due) + 1)[-1:] > (every[-1],)


def local_slots(text: str, zone: str, after: datetime, count: int) -> list[str]:
    slots = next_slots([parse_cron(text)], zone, after, count)
    return [f"{slot.astimezone(ZoneInfo(zone)):%d %H:%M%z}" for slot in slots]


def test_an_hour_that_the_clock_skips_has_no_slot() -> None:
    after = datetime(2027, 3, 27, 12, tzinfo=UTC)
    assert local_slots("30 2 * * *", "Europe/Berlin", after, 2) == ["29 02:30+0200", "30 02:30+0200"]


def test_an_hour_that_the_clock_shows_twice_has_both_slots_west_of_greenwich() -> None:
    after = datetime(2027, 11, 6, 12, tzinfo=UTC)
    assert local_slots("30 1 * * *", "America/New_York", after, 3) == [
        "07 01:30-0400",
        "07 01:30-0500",
        "08 01:30-0500",
    ]


def test_an_hour_that_the_clock_shows_twice_has_the_later_slot_east_of_greenwich() -> None:
    after = datetime(2027, 10, 30, 12, tzinfo=UTC)
    assert local_slots("30 2 * * *", "Europe/Berlin", after, 2) == ["31 02:30+0100", "01 02:30+0100"]


def test_a_search_that_starts_in_the_second_copy_of_an_hour_forgets_it_in_the_next() -> None:
    after = datetime(2027, 11, 7, 6, 30, tzinfo=UTC)
    assert local_slots("0 5 * * *", "America/New_York", after, 1) == ["07 05:00-0500"]


def test_a_sunday_without_midnight_counts_as_a_saturday_as_it_does_on_the_server() -> None:
    after = datetime(2027, 9, 4, tzinfo=UTC)
    assert local_slots("0 9 * * sun", "America/Santiago", after, 1) == ["12 09:00-0300"]
    assert local_slots("0 9 * * sat", "America/Santiago", after, 2) == ["04 09:00-0400", "05 09:00-0300"]


def test_several_calendars_are_a_union_without_duplicates() -> None:
    both = [parse_cron("0 9 13 * *"), parse_cron("0 9 * * 5"), parse_cron("0 9 * * fri")]
    slots = next_slots(both, "UTC", datetime(2027, 8, 1, tzinfo=UTC), 5)
    assert [slot.day for slot in slots] == [6, 13, 20, 27, 3]


def test_after_is_no_slot_itself_and_may_be_in_any_zone() -> None:
    noon = datetime(2027, 6, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    daily = [parse_cron("0 12 * * *")]
    assert next_slots(daily, "UTC", noon, 1) == (datetime(2027, 6, 2, 12, tzinfo=UTC),)
    just_before = noon - timedelta(microseconds=1)
    assert next_slots(daily, "UTC", just_before, 1) == (datetime(2027, 6, 1, 12, tzinfo=UTC),)


def test_a_leap_day_comes_every_four_years_and_not_in_2100() -> None:
    leap_days = next_slots([parse_cron("0 0 29 2 *")], "UTC", datetime(2026, 1, 1, tzinfo=UTC), 99)
    assert [slot.year for slot in leap_days] == list(range(2028, 2100, 4))


@pytest.mark.parametrize("after", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_the_ends_of_time_are_no_error(after: datetime, zone: str) -> None:
    slots = next_slots([parse_cron("@hourly")], zone, after, 1)
    assert slots == ((datetime(1970, 1, 1, tzinfo=UTC),) if after.year == 1 else ())


def test_no_calendars_and_none_wanted_are_no_slots() -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    assert next_slots([], "UTC", now, 3) == ()
    assert next_slots([parse_cron("@daily")], "UTC", now, 0) == ()


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT-2", "EST"])
def test_a_time_zone_of_the_world_is_known(name: str) -> None:
    check_timezone(name)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("Berlin", "did you mean `Europe/Berlin`?"),
        ("new york", "did you mean `America/New_York`?"),
        ("europe/berlin", "did you mean `Europe/Berlin`?"),
        ("Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("utc", "did you mean `UTC`?"),
        ("Istanbul", "did you mean `Asia/Istanbul` or `Europe/Istanbul`?"),
        ("Local", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("localtime", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("Factory", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("Europe", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("CEST", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("GMT+2", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("+02:00", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("../etc/passwd", "name a zone such as `Europe/Berlin`, or `UTC`"),
        ("", "name a zone such as `Europe/Berlin`, or `UTC`"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_the_nearest(name: str, remedy: str) -> None:
    with pytest.raises(TimezoneError) as refused:
        check_timezone(name)
    assert refused.value.help == remedy
    assert name in str(refused.value)
    with pytest.raises(ValueError, match="zone"):
        next_slots([], name, datetime(2027, 1, 1, tzinfo=UTC), 1)


@given(st.text())
def test_any_text_is_a_time_zone_or_refused(name: str) -> None:
    with contextlib.suppress(TimezoneError):
        check_timezone(name)
