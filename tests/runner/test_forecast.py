"""The forecast: the busiest day against the server's own slots, what may be touched against what a run is offered."""

import itertools
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner import reach as module
from runner.effects import needs_approval, offered
from runner.forecast import HORIZON, Day, Forecast, a_run, forecast, total
from runner.ports import Tool
from runner.reach import missing_connections, newly_reachable
from schemas.cron import parse_cron
from schemas.slots import next_slots
from schemas.task import Limits, Task, Tools

NOW = datetime(2026, 11, 25, 2, tzinfo=UTC)
DAY = timedelta(days=1)
BERLIN, UTC_ZONE, AZORES = "Europe/Berlin", "UTC", "Atlantic/Azores"


def task(*cron: str, **fields: Any) -> Task:
    return Task(goal="x", name="a", cron=cron, **fields)


def runs(*cron: str, timezone: str = UTC_ZONE, now: datetime = NOW) -> tuple[int, int]:
    """The usual and the worst case."""
    seen = forecast(task(*cron, timezone=timezone), now)
    return seen.usual.runs, seen.runs_per_day


def slots_of(each: Task, after: datetime, until: datetime) -> list[datetime]:
    """Asked of the port of the server, one by one."""
    calendars, found = [parse_cron(text) for text in each.cron], list[datetime]()
    while not found or found[-1] < until:
        more = next_slots(calendars, each.timezone, found[-1] if found else after, 50)
        if not more:
            break
        found += more
    return [slot for slot in found if slot < until]


class TestTheBusiestDay:
    @pytest.mark.parametrize(
        ("cron", "most"),
        [
            (["* * * * *"], 1440),
            (["*/5 * * * *"], 288),
            (["@hourly"], 24),
            (["0 9 * * *"], 1),
            (["0 9 * * 1-5"], 1),
            (["0 9,17 * * 1"], 2),
            (["@yearly"], 1),
            (["0 0 29 2 *"], 1),
            (["0 9 * * *", "0 9 * * 1-5"], 1),
            (["0 9 * * 1", "0 8 * * 2"], 2),  # 23 hours apart
            (["0 9 * * 1", "0 9 * * 2"], 1),  # a day apart
            (["0 9 * * 1", "0 9 * * 3"], 1),
            (["@daily", "*/10 * 24 12 *"], 144),  # one day of the year
            (["@daily", "30 * 31 12 *", "0 * 1 1 *"], 25),  # two days that meet
        ],
    )
    def test_without_clock_changes_is_what_the_calendars_hold(self, cron: list[str], most: int) -> None:
        assert runs(*cron) == (most, most)

    @pytest.mark.parametrize(
        ("cron", "timezone", "usual", "worst"),
        [
            ("0 9 * * *", BERLIN, 1, 2),  # in March, nine o'clock comes after 23 hours
            ("0 9 * * 1-5", BERLIN, 1, 1),  # clocks are changed on Sundays
            ("0 9 * * 1", BERLIN, 1, 1),
            ("0 1 * * 0", "America/New_York", 1, 2),  # in autumn, one o'clock comes twice
            ("0 2 * * 0", BERLIN, 1, 1),  # so does two o'clock here, but the server starts the second only
            ("0 4 * * 0", BERLIN, 1, 1),
            ("*/30 8-17 * * *", BERLIN, 20, 22),
            ("0 * * * *", BERLIN, 24, 24),
            ("0 * * * *", "Australia/Lord_Howe", 24, 25),  # half an hour
            ("*/5 * * * *", BERLIN, 288, 288),
            ("* * * * *", BERLIN, 1440, 1440),
            ("0 9 * * *", "Asia/Tokyo", 1, 1),
        ],
    )
    def test_the_day_on_which_clocks_are_changed_is_told_apart(
        self, cron: str, timezone: str, usual: int, worst: int
    ) -> None:
        assert runs(cron, timezone=timezone) == (usual, worst)

    def test_what_has_been_does_not_count(self) -> None:
        leap_day = datetime(2028, 2, 29, 20, 30, tzinfo=UTC)
        assert runs("0 * 29 2 *", now=leap_day - DAY) == (24, 24)
        assert runs("0 * 29 2 *", now=leap_day) == (3, 3)

    def test_a_leap_day_beyond_the_horizon_does_not_count(self) -> None:
        assert runs("@daily", "0 * 29 2 *") == (1, 1)

    def test_without_a_slot_left_there_is_none(self) -> None:
        assert runs("0 9 1 1 *", now=datetime(2100, 6, 1, tzinfo=UTC)) == (0, 0)

    @pytest.mark.parametrize("fields", [{"cron": ()}, {"cron": ("@hourly",), "enabled": False}])
    def test_what_never_starts_by_itself_uses_nothing(self, fields: dict[str, Any]) -> None:
        seen = forecast(Task(goal="x", **fields), NOW)
        assert seen == Forecast((), Day(), Day())
        assert (seen.tokens_per_day, seen.dollars_per_day) == (0, 0.0)


MINUTES = ["0", "30", "5,55", "*/20", "59", "0-10/5"]
HOURS = ["*", "0", "9", "1-3", "23", "9-17", "0,12"]
DATES = ["* * *", "* * 1-5", "* * 0", "* * 6", "1 * *", "31 * *", "28 3 *", "25-31 3,10 *", "29 2 *"]
ZONES = ["UTC", BERLIN, AZORES, "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Cairo"]
CRONS = st.builds(lambda *words: " ".join(words), *map(st.sampled_from, (MINUTES, HOURS, DATES)))
SCHEDULED = st.builds(
    lambda crons, zone: task(*crons, timezone=zone), st.lists(CRONS, min_size=1, max_size=3), st.sampled_from(ZONES)
)
MOMENTS = st.integers(0, 60 * 24 * 700).map(lambda minutes: NOW + timedelta(minutes=minutes))


@given(SCHEDULED, MOMENTS, st.lists(st.integers(0, HORIZON * 24 * 60 - 1), min_size=20, max_size=20))
@settings(max_examples=40)
def test_no_day_of_the_coming_year_holds_more(each: Task, now: datetime, begins: list[int]) -> None:
    most = forecast(each, now).runs_per_day
    for begin in (now + timedelta(minutes=minutes) for minutes in begins):
        assert len(slots_of(each, begin, begin + DAY)) <= most


@given(SCHEDULED, MOMENTS)
@settings(max_examples=40)
@example(task("*/20 9-17 28 3 *", "0 1-3 * * 6", timezone=AZORES), datetime(2027, 3, 21, 21, 51, tzinfo=UTC))
@example(task("5,55 * * * 0", "59 1-3 28 3 *", timezone=AZORES), datetime(2026, 8, 23, 21, 36, tzinfo=UTC))
@example(task("59 1-3 25-31 3,10 *", "5,55 23 25-31 3,10 *", timezone="Africa/Cairo"), NOW - 90 * DAY)
def test_some_day_of_the_coming_year_holds_as_many(each: Task, now: datetime) -> None:
    first = next_slots([parse_cron(text) for text in each.cron], each.timezone, now, 1)[0]
    slots, zone = slots_of(each, now, first + (HORIZON + 3) * DAY), ZoneInfo(each.timezone)
    last = first.astimezone(zone).date() + HORIZON * DAY
    begins = [slot for slot in slots if slot.astimezone(zone).date() <= last]
    seen = forecast(each, now)
    assert seen.runs_per_day == max(bisect_left(slots, slot + DAY) - bisect_left(slots, slot) for slot in begins)
    assert 1 <= seen.usual.runs <= seen.runs_per_day
    assert [slot.at for slot in seen.next][: len(slots)] == slots[:3]


class TestWhatADayUses:
    def test_is_each_limit_times_the_runs(self) -> None:
        limits = Limits(turns=20, timeout=timedelta(minutes=15), tokens=400_000, cost_usd=0.1)
        seen = forecast(task("0 9,12,17 * * *", limits=limits), NOW)
        assert (seen.runs_per_day, seen.turns_per_day, seen.tokens_per_day) == (3, 60, 1_200_000)
        assert seen.dollars_per_day == pytest.approx(0.3)
        assert seen.minutes_per_day == 45

    def test_without_a_limit_there_is_no_number(self) -> None:
        seen = forecast(task("@daily"), NOW)
        assert (seen.tokens_per_day, seen.dollars_per_day) == (None, None)

    @pytest.mark.parametrize(
        ("overlap", "minutes"), [("skip", 1440), ("queue", 1440), ("cancel", 1440), ("allow", 48 * 45)]
    )
    def test_runs_one_after_the_other_take_no_more_than_the_day_has(self, overlap: str, minutes: int) -> None:
        limits = Limits(timeout=timedelta(minutes=45))
        assert forecast(task("*/30 * * * *", limits=limits, overlap=overlap), NOW).minutes_per_day == minutes

    def test_a_retry_is_a_run_too(self) -> None:
        seen = forecast(task("@daily", retries=2, limits=Limits(tokens=1000)), NOW)
        assert (seen.runs_per_day, seen.tokens_per_day) == (3, 3000)


PARTS = st.builds(
    lambda cron, tokens, dollars: task(cron, timezone=BERLIN, limits=Limits(tokens=tokens, cost_usd=dollars)),
    st.sampled_from(["@daily", "@hourly", "0 9 * * 1", "0 9,17 * * *"]),
    st.none() | st.integers(1000, 10**6),
    st.none() | st.integers(1, 8).map(float),
)


@given(st.lists(PARTS, max_size=6))
def test_a_total_is_the_sum_and_has_no_number_where_one_has_none(tasks: list[Task]) -> None:
    each = [forecast(one, NOW) for one in tasks]
    all_ = total(each)
    assert all_.runs_per_day == sum(one.runs_per_day for one in each)
    assert all_.usual.runs == sum(one.usual.runs for one in each)
    assert all_.minutes_per_day == sum(one.minutes_per_day for one in each)
    tokens = [one.tokens_per_day for one in each]
    assert all_.worst.tokens == sum(number or 0 for number in tokens)
    assert all_.worst.no_tokens == tokens.count(None)
    assert all_.tokens_per_day == (None if None in tokens else all_.worst.tokens)
    dollars = [one.dollars_per_day for one in each]
    assert all_.dollars_per_day == (None if None in dollars else sum(number or 0 for number in dollars))
    assert a_run(task("@daily")) == Day(1, 0, 0.0, 30.0, 30, 1, 1)


def given_(allow: Any = ("*",), deny: Any = (), ask: Any = (), toolkit: Any = ("gmail",), run_as: Any = None) -> Task:
    return Task(goal="x", toolkit=toolkit, run_as=run_as, tools=Tools(allow=allow, deny=deny, ask=ask))


class TestNewlyReachable:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (None, given_(toolkit=("github", "slack")), ["new: github, slack"]),
            (None, given_(("A_*", "B")), ["new: gmail, only A_*, B"]),
            (None, given_(toolkit=()), []),
            (None, given_(allow=()), []),
            (given_(toolkit=()), given_(run_as="ada"), ["new: gmail"]),
            (given_(toolkit="slack"), given_(run_as="ada", toolkit="gmail"), ["new: gmail"]),
            (given_(), given_(toolkit=("gmail", "slack")), ["new: slack"]),
            (given_(toolkit=("gmail", "slack")), given_(toolkit=("slack",)), []),
            (given_("GMAIL_*"), given_(), ["tools.allow changed: GMAIL_* -> *"]),
            (given_("A"), given_(("A", "B")), ["tools.allow also holds B"]),
            (given_(("A", "B")), given_("B"), []),
            (given_("GMAIL_*"), given_("gmail_send_*"), []),
            (given_("GMAIL_*"), given_("GMAIL*"), ["tools.allow changed: GMAIL_* -> GMAIL*"]),
            (given_("A"), given_(("A", "B"), deny="B"), []),
            (given_(deny="*_DELETE_*"), given_(), ["tools.deny no longer holds *_DELETE_*"]),
            (given_(deny="*_DELETE_*"), given_(deny="A_DELETE_*"), ["tools.deny changed: *_DELETE_* -> A_DELETE_*"]),
            (given_(deny="A_DELETE_*"), given_(deny="*_DELETE_*"), []),
            (given_(deny="A"), given_(ask="A"), ["tools.deny no longer holds A"]),
            (given_(ask=("A", "B")), given_(ask="A"), ["tools.ask no longer holds B"]),
            (given_(ask="A"), given_(deny="A"), []),
            (given_(), given_(run_as="ada"), ["acts for `ada` instead of the server's default user"]),
            (given_(run_as="ada"), given_(), ["acts for the server's default user instead of `ada`"]),
            (
                given_("A", deny="B"),
                given_(toolkit=("gmail", "slack"), run_as="ada"),
                [
                    "new: slack",
                    "tools.allow changed: A -> *",
                    "tools.deny no longer holds B",
                    "acts for `ada` instead of the server's default user",
                ],
            ),
        ],
    )
    def test_is_said_in_words(self, old: Task | None, new: Task, said: list[str]) -> None:
        assert list(newly_reachable(old, new)) == said

    @pytest.mark.parametrize(
        ("wide", "narrow", "holds"),
        [
            ("*", "anything[0-9]?", True),
            ("a*c", "A*B*C", True),
            ("a*c", "a*", False),
            ("?", "*", False),
            ("a?c", "a[xy]c", True),
            ("a[xy]c", "axc", True),
            ("a[xy]c", "a?c", False),
            ("a[!x]c", "axc", False),
            ("*]x", "[ab]x", False),
            ("?", "[]", False),
            ("?", "[!]", False),
            ("**", "*", True),
            ("", "*", False),
            ("a" * 100 + "*", "a" * 200, True),
            ("*a" * 90, "*a" * 95, True),
        ],
    )
    def test_a_glob_holds_another_only_if_that_is_proven(self, wide: str, narrow: str, holds: bool) -> None:
        assert module._holds(wide, narrow) is holds


GLOBS = st.lists(st.sampled_from([*"ab*?[]!", "[ab]", "[!a]", "*_*"]), max_size=5).map("".join)
SHORT = ["".join(letters) for size in range(4) for letters in itertools.product("AB[]", repeat=size)]
NAMES = ["".join(letters) for size in range(1, 4) for letters in itertools.product("AB_", repeat=size)]
LISTS = st.lists(GLOBS, max_size=3).map(tuple)


@given(GLOBS, GLOBS)
@settings(max_examples=300)
def test_what_is_proven_is_true_for_every_name(wide: str, narrow: str) -> None:
    if module._holds(wide, narrow):
        for name in SHORT:
            assert not fnmatchcase(name, narrow.upper()) or fnmatchcase(name, wide.upper())


@given(GLOBS)
def test_a_glob_holds_itself_in_any_case(glob: str) -> None:
    assert module._holds(glob, glob.upper())


@given(st.lists(LISTS, min_size=6, max_size=6))
@settings(max_examples=300)
def test_silence_is_a_promise(globs: Any) -> None:
    old, new = given_(*globs[:3]), given_(*globs[3:])
    if newly_reachable(old, new):
        return
    tools = [Tool(name, "gmail", "", {}) for name in NAMES]
    before = {tool.name: needs_approval(tool, old.tools) for tool in offered(tools, old.tools)}
    for tool in offered(tools, new.tools):
        assert tool.name in before
        assert needs_approval(tool, new.tools) or not before[tool.name]


WHOLE = st.lists(st.sampled_from([*"ab_*?", "[ab]", "[!a]"]), max_size=4).map("".join)
WHOLES = st.lists(WHOLE, max_size=3).map(tuple)


@given(WHOLES, WHOLES, WHOLES, WHOLE, st.lists(st.sampled_from(["gmail", "slack"])))
def test_narrowing_is_never_told(allow: Any, deny: Any, ask: Any, some: str, toolkit: list[str]) -> None:
    old = given_(allow, deny, ask, ("gmail", "slack"), "ada")
    narrower = tuple(glob.replace("*", some, 1) for glob in allow[1:])
    asked = (*allow[:1], *ask)  # what was simply allowed is asked about from now on
    assert newly_reachable(old, given_(narrower, (*deny, some), asked, tuple(toolkit), "ada")) == ()


class TestMissingConnections:
    @pytest.mark.parametrize(
        ("connected", "run_as", "missing"),
        [
            (None, None, None),
            ({}, None, ("gmail", "slack")),
            ({"default": frozenset({"gmail"})}, None, ("slack",)),
            ({"default": frozenset({"gmail", "slack", "x"})}, None, ()),
            ({"default": frozenset({"gmail", "slack"})}, "ada", ("gmail", "slack")),
            ({"ada": frozenset({"slack"})}, "ada", ("gmail",)),
        ],
    )
    def test_are_those_of_the_user_that_it_acts_for(self, connected: Any, run_as: Any, missing: Any) -> None:
        assert missing_connections(given_(toolkit=("gmail", "slack"), run_as=run_as), connected) == missing

    def test_the_default_user_is_the_servers(self) -> None:
        assert missing_connections(given_(), {"bot": frozenset({"gmail"})}, "bot") == ()
