"""What `plan` prints and says as data: from files and a server as they were, at a moment that is handed in."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.files import TaskFile
from runner.forecast import forecast
from runner.plan import Existing, Plan, make_plan
from runner.plan_text import plan_json, plan_lines
from runner.wanted import Wanted, read_wanted
from schemas.run import RunRequest
from schemas.task import Limits, Task

NOW = datetime(2026, 11, 25, 2, tzinfo=UTC)
DIGEST = """\
goal: x
toolkit: [github, slack]
cron: 0 9 * * 1-5
timezone: Europe/Berlin
limits: {tokens: 400000, timeout: 15m}
"""


def wanted(**files: str) -> Wanted:
    return read_wanted([TaskFile(f"tasks/{name}.yaml", text.encode()) for name, text in files.items()])


class Planned:
    """A plan to make a server that holds `old` equal to files."""

    def __init__(self, old: Wanted, new: Wanted) -> None:
        self.existing = tuple(Existing(name, "me", each.source.digest) for name, each in old.requests.items())
        self.plan = make_plan(new, self.existing, "me", missing_before={each.name for each in self.existing})
        self.old: dict[str, Task | None] = {name: request.task for name, request in old.requests.items()}
        self.forecasts = {name: forecast(each.task, NOW) for name, each in requests(self.plan).items()}

    def lines(self, connected: Mapping[str, frozenset[str]] | None = None) -> list[str]:
        return [*map(click.unstyle, plan_lines(self.plan, self.forecasts, self.old, NOW, connected))]

    def data(self, connected: Mapping[str, frozenset[str]] | None = None) -> dict[str, Any]:
        return json.loads(json.dumps(plan_json(self.plan, self.forecasts, self.old, connected)))


def requests(plan: Plan) -> dict[str, RunRequest]:
    return {action.name: action.request for action in plan.actions if action.request is not None}


def created(text: str) -> list[str]:
    """The lines about one new task, without first and last."""
    return Planned(wanted(), wanted(a=text)).lines()[1:-1]


def updated(before: str, after: str) -> list[str]:
    return Planned(wanted(a=before), wanted(a=after)).lines()[1:-1]


def test_a_plan_says_what_each_task_will_do_and_what_all_of_them_may_use() -> None:
    report = "goal: x\ncron: '@hourly'\nlimits: {tokens: 2000}\n"
    old = wanted(report=report, old="goal: x\n", same="goal: x\n")
    new = wanted(digest=DIGEST, report=report.replace("hourly", "daily"), same="goal: x\n")
    assert Planned(old, new).lines({"default": frozenset({"github"})}) == [
        "+ create digest  (tasks/digest.yaml is new)",
        "    next   Wed 25 Nov 09:00 CET (08:00 UTC), Thu 26 Nov 09:00 CET, Fri 27 Nov 09:00 CET",
        "    a day  1 run, up to 400,000 tokens, 30 turns, 15m",
        "    tools  new: github, slack",
        "    ! no connection of `default` to slack",
        "~ update report  (tasks/report.yaml changed)",
        "    next   Thu 26 Nov 00:00 UTC, Fri 27 Nov 00:00 UTC, Sat 28 Nov 00:00 UTC",
        "    a day  1 run, up to 2,000 tokens, 30 turns, 30m (was 24 runs, up to 48,000 tokens, 720 turns, 12h)",
        "- delete old  (its file is gone)",
        "1 to create, 1 to update, 1 to delete; at most 2 runs and 402,000 tokens a day",
    ]


def test_nothing_to_do_is_not_a_word() -> None:
    assert Planned(wanted(a=DIGEST), wanted(a=DIGEST)).lines() == []


def test_colour_is_only_a_help() -> None:
    planned = Planned(wanted(b="goal: x\n", c="goal: x\n"), wanted(a="goal: x\n", b="goal: y\n"))
    firsts = [line for line in plan_lines(planned.plan, planned.forecasts, planned.old, NOW) if line[0] == "\x1b"]
    assert firsts == [
        f"{click.style('+ create', fg='green')} a  (tasks/a.yaml is new)",
        f"{click.style('~ update', fg='yellow')} b  (tasks/b.yaml changed)",
        f"{click.style('- delete', fg='red')} c  (its file is gone)",
    ]


def test_what_is_blocked_comes_last_in_red_with_the_way_out() -> None:
    planned = Planned(wanted(a="goal: x\n"), wanted())
    plan = planned.plan
    [line] = plan_lines(plan, {}, {}, NOW)
    assert line == click.style(
        f"! not deleted: a: the folder holds no task at all; release with `goalfile sync --confirm {plan.hash}`",
        fg="red",
    )
    both = plan_lines(Plan((*requests_of(DIGEST),), plan.notes), {"a": forecast(task_of(DIGEST), NOW)}, {}, NOW)
    assert both[-1] == line
    assert both[-2].startswith("1 to create; ")


def requests_of(text: str) -> Any:
    return Planned(wanted(), wanted(a=text)).plan.actions


def task_of(text: str) -> Task:
    return wanted(a=text).requests["a"].task


class TestWhen:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ("", "when asked"),
            ("cron: '@daily'\nenabled: false\n", "paused: its file says `enabled: false`"),
            ("cron: '*/5 * * * *'\n", "Wed 25 Nov 02:05 UTC, 02:10 UTC, 02:15 UTC"),
            ("cron: '@daily'\njitter: 5m\n", "Thu 26 Nov 00:00 UTC, Fri 27 Nov 00:00 UTC, Sat 28 Nov 00:00 UTC"),
            (
                "cron: '@yearly'\ntimezone: Asia/Tokyo\n",
                (
                    "Fri 01 Jan 2027 00:00 JST (Thu 31 Dec 15:00 UTC), Sat 01 Jan 2028 00:00 JST,"
                    " Mon 01 Jan 2029 00:00 JST"
                ),
            ),
            (
                "cron: 0 12 31 12 *\ntimezone: Europe/London\n",
                "Thu 31 Dec 12:00 GMT, Fri 31 Dec 2027 12:00 GMT, Sun 31 Dec 2028 12:00 GMT",
            ),
        ],
    )
    def test_is_told_on_the_task_s_own_clock(self, fields: str, said: str) -> None:
        jitter = "; each up to 5m later" if "jitter" in fields else ""
        assert created(f"goal: x\n{fields}")[0] == f"    next   {said}{jitter}"

    def test_a_task_may_have_no_slot_left(self) -> None:
        late = datetime(2100, 12, 1, tzinfo=UTC)
        text = "goal: x\ncron: 0 9 1 6 *\n"
        lines = plan_lines(Plan(requests_of(text)), {"a": forecast(task_of(text), late)}, {}, late)
        assert click.unstyle(lines[1]) == "    next   never: no slot is left before 2101"


class TestWhatItUses:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ("", "a run  up to 30 turns, 30m, no limit of tokens"),
            ("limits: {tokens: 5000, timeout: 3d, turns: 1}\n", "a run  up to 5,000 tokens, 1 turn, 3d"),
            ("cron: '@daily'\n", "a day  1 run, up to 30 turns, 30m, no limit of tokens"),
            ("cron: '@hourly'\nlimits: {tokens: 101000}\n", "a day  24 runs, up to 2.5M tokens, 720 turns, 12h"),
            ("cron: '*/2 * * * *'\n", "a day  720 runs, up to 21,600 turns, 1d, no limit of tokens"),
            (
                "cron: 0 9 * * *\ntimezone: Europe/Berlin\n",
                "a day  1 run, up to 30 turns, 30m, no limit of tokens; 2 runs when the clock is changed",
            ),
        ],
    )
    def test_is_each_limit_and_never_a_guess(self, fields: str, said: str) -> None:
        assert created(f"goal: x\n{fields}")[1:] == [f"    {said}"]

    def test_dollars_are_told_where_they_are_limited(self) -> None:
        task = Task(goal="x", name="a", cron=("@daily",), limits=Limits(cost_usd=0.1 + 0.2, timeout=timedelta(hours=1)))
        planned = Planned(wanted(), wanted())
        planned.plan = make_plan(Wanted({"a": RunRequest(task=task)}), (), "me")
        planned.forecasts = {"a": forecast(task, NOW)}
        lines = planned.lines()
        assert lines[2] == "    a day  1 run, up to $0.30, 30 turns, 1h"
        assert lines[-1] == "1 to create; at most 1 run and $0.30 a day, and 1 task without a limit of tokens"


class TestAnUpdate:
    @pytest.mark.parametrize(
        "after",
        [
            DIGEST.replace("goal: x", "goal: y"),
            DIGEST + "labels: {a: b}\n",
            DIGEST.replace("[github, slack]", "[slack]"),
            DIGEST + "tools: {deny: GITHUB_DELETE_*}\n",
            DIGEST + "model: m\n",
        ],
    )
    def test_that_changes_no_slot_no_spend_and_no_tool_is_one_line(self, after: str) -> None:
        assert updated(DIGEST, after) == []

    @pytest.mark.parametrize(
        ("before", "after", "said"),
        [
            ("tokens: 400000", "tokens: 1000", "a day  1 run, up to 1,000 tokens, 30 turns, 15m (was 1 run, up to"),
            ("[github, slack]", "[github, slack, gmail]", "tools  new: gmail"),
            ("goal: x", "goal: x\nrun_as: ada", "tools  acts for `ada` instead of the server's default user"),
            ("Europe/Berlin", "Africa/Lagos", "next   Wed 25 Nov 09:00 WAT (08:00 UTC), Thu 26"),
            ("goal: x", "goal: x\njitter: 1h", "next   Wed 25 Nov 09:00 CET (08:00 UTC), Thu 26"),
            ("goal: x", "goal: x\nenabled: false", "next   paused"),
        ],
    )
    def test_tells_what_it_changes(self, before: str, after: str, said: str) -> None:
        lines = updated(DIGEST, DIGEST.replace(before, after))
        assert lines[0].startswith(f"    {said}")
        assert len(lines) == (2 if "paused" in said else 1)

    def test_of_a_task_that_is_not_known_tells_everything_but_claims_nothing_new(self) -> None:
        planned = Planned(wanted(a=DIGEST), wanted(a=DIGEST + "description: d\n"))
        planned.old = {"a": None}
        assert [line[4:9] for line in planned.lines()[1:-1]] == ["next ", "a day", "tools"]
        assert planned.lines()[3] == "    tools  github, slack; what it had before is not known"
        assert planned.data()["tasks"]["a"]["newly_reachable"] is None

    def test_of_a_task_with_a_clock_that_no_longer_is_tells_everything(self) -> None:
        planned = Planned(wanted(a=DIGEST), wanted(a=DIGEST + "description: d\n"))
        for field in ({"timezone": "Mars/Olympus"}, {"cron": ("@fortnightly",)}):
            planned.old["a"] = task_of(DIGEST).model_copy(update=field)
            assert [line[4:9] for line in planned.lines()[1:-1]] == ["next ", "a day"]

    def test_that_leaves_a_connection_missing_says_so_again(self) -> None:
        planned = Planned(wanted(a=DIGEST), wanted(a=DIGEST + "run_as: ada\ndescription: d\n"))
        assert planned.lines({"default": frozenset({"github", "slack"})})[2] == (
            "    ! no connection of `ada` to github, slack"
        )


class TestTheSum:
    def test_says_how_many_set_no_limit(self) -> None:
        daily = "goal: x\ncron: '@daily'\n"
        limited = daily + "limits: {tokens: 2400000}\n"
        assert Planned(wanted(), wanted(a=daily, b=daily, c=limited)).lines()[-1] == (
            "3 to create; at most 3 runs and 2.4M tokens a day, and 2 tasks without a limit of tokens"
        )

    def test_is_no_word_where_nothing_starts_by_itself(self) -> None:
        assert Planned(wanted(), wanted(a="goal: x\n", b="goal: x\n")).lines()[-1] == "2 to create"

    def test_tells_the_day_on_which_clocks_are_changed(self) -> None:
        berlin = "goal: x\ncron: 0 9 * * *\ntimezone: Europe/Berlin\nlimits: {tokens: 1000}\n"
        assert Planned(wanted(), wanted(a=berlin, b=berlin)).lines()[-1] == (
            "2 to create; at most 2 runs and 2,000 tokens a day; 4 runs and 4,000 tokens when clocks are changed"
        )

    def test_takes_in_tasks_that_stay_as_they_are_and_says_so(self) -> None:
        planned = Planned(wanted(), wanted(a=DIGEST))
        planned.forecasts["other"] = forecast(task_of("goal: x\ncron: '@hourly'\nlimits: {tokens: 1000}\n"), NOW)
        assert planned.lines()[-1] == "1 to create; all 2 tasks: at most 25 runs and 424,000 tokens a day"


def test_as_data_it_is_the_same() -> None:
    old = wanted(b="goal: x\ntoolkit: gmail\ntools: {allow: GMAIL_*}\n", c="goal: x\n")
    new = wanted(a=DIGEST, b="goal: x\ntoolkit: gmail\ncron: 0 9 * * *\ntimezone: Europe/Berlin\n")
    data = Planned(old, new).data({"default": frozenset({"gmail", "slack"})})
    at = [f"2026-11-{day}T08:00:00+00:00" for day in (25, 26, 27)]
    local = [f"2026-11-{day}T09:00:00+01:00" for day in (25, 26, 27)]
    slots = [{"at": one, "local": other} for one, other in zip(at, local, strict=True)]
    assert data == {
        "tasks": {
            "a": {
                "next": slots,
                "runs_per_day": 1,
                "usual_runs_per_day": 1,
                "turns_per_day": 30,
                "minutes_per_day": 15.0,
                "tokens_per_day": 400_000,
                "dollars_per_day": None,
                "newly_reachable": ["new: github, slack"],
                "missing_connections": ["github"],
            },
            "b": {
                "next": slots,
                "runs_per_day": 2,
                "usual_runs_per_day": 1,
                "turns_per_day": 60,
                "minutes_per_day": 60.0,
                "tokens_per_day": None,
                "dollars_per_day": None,
                "newly_reachable": ["tools.allow changed: GMAIL_* -> *"],
                "missing_connections": [],
            },
        },
        "total": {
            "runs_per_day": 3,
            "usual_runs_per_day": 2,
            "turns_per_day": 90,
            "minutes_per_day": 75.0,
            "tokens_per_day": None,
            "dollars_per_day": None,
            "known_tokens_per_day": 400_000,
            "known_dollars_per_day": 0,
            "tasks_without_tokens_limit": 1,
            "tasks_without_dollars_limit": 2,
        },
    }
    assert Planned(old, new).data()["tasks"]["a"]["missing_connections"] is None


FOREIGN = st.text(st.sampled_from("a*\x1b\n\r\x00\x07\u202e\u2066 [31m"), min_size=1, max_size=400)


@given(FOREIGN, FOREIGN, FOREIGN)
def test_foreign_text_drives_no_terminal(toolkit: str, user: str, note: str) -> None:
    task = Task(goal="x", name="a", toolkit=toolkit, run_as=user, tools={"allow": note})
    request = RunRequest(task=task, source={"path": note})
    plan = make_plan(Wanted({"a": request}), (), "me")
    plan = Plan(plan.actions, (note,))
    lines = [*map(click.unstyle, plan_lines(plan, {"a": forecast(task, NOW)}, {}, NOW, {}))]
    assert not set("".join(lines)) & set("\x1b\r\x00\x07\u202e\u2066")
    assert max(map(len, lines[1:-1])) <= 320
    assert all("\n" not in line for line in lines[1:-2])
