"""`goalfile show`: a task as it runs, where each value is said, and when it is due next."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given
from hypothesis import strategies as st

from runner import effective, show
from runner.cli import goalfile as command
from runner.files import scan
from runner.wanted import above, read_defaults
from schemas.load import load_task
from schemas.prices import PRICES
from schemas.task import Task

Goalfile = Callable[..., "CompletedProcess[str]"]
NOW = datetime(2027, 3, 26, 12, tzinfo=UTC)
LAYERS = {
    "_defaults.yaml": "timezone: Europe/Berlin\nlimits: {turns: 5, timeout: 1h}\ntoolkit: [gmail, github]\n",
    "ops/_defaults.yaml": "# of ops\nlimits:\n  turns: 9\n",
    "ops/night/a.yaml": "goal: x\ntoolkit: linear\nlimits:\n  tokens: 5000\n",
}


def folder(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def explained(root: Path, name: str) -> tuple[Task, tuple[effective.Line, ...]]:
    """What `show` says of the task in this file."""
    files = scan(root).files
    file = next(each for each in files if each.path == str(root / name))
    layers = above(file, read_defaults(files))
    task = load_task(file.raw, file.path, layers).task
    assert task is not None
    return task, effective.explain(file.raw, task, file.path, layers)


def origins(root: Path, name: str) -> dict[str, tuple[Any, str]]:
    """Value and origin by dotted path; origins relative to the root."""
    lines = explained(root, name)[1]
    return {".".join(map(str, line.path)): (line.value, line.origin.removeprefix(f"{root}/")) for line in lines}


def task_of(text: str) -> Task:
    task = load_task(text.encode(), "a.yaml").task
    assert task is not None
    return task


def run(*words: str) -> Result:
    """The command in this process: what it prints does not depend on that."""
    return CliRunner().invoke(command, ["show", *words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_value_has_the_line_that_says_it(tmp_path: Path) -> None:
    said = origins(folder(tmp_path, LAYERS), "ops/night/a.yaml")
    assert said["goal"] == ("x", "ops/night/a.yaml:1")
    assert said["toolkit"] == ("linear", "ops/night/a.yaml:2")
    assert said["timezone"] == ("Europe/Berlin", "_defaults.yaml:1")
    assert said["name"] == ("a", "the file's name")
    assert said["overlap"] == ("skip", "default")
    assert said["catchup"] == ("10m", "default")


def test_the_nearest_defaults_win_and_maps_merge_by_key(tmp_path: Path) -> None:
    said = origins(folder(tmp_path, LAYERS), "ops/night/a.yaml")
    assert said["limits.turns"] == (9, "ops/_defaults.yaml:3")
    assert said["limits.timeout"] == ("1h", "_defaults.yaml:2")
    assert said["limits.tokens"] == (5000, "ops/night/a.yaml:4")
    assert "limits" not in said


def test_a_map_of_two_files_names_both(tmp_path: Path) -> None:
    folder(tmp_path, {"_defaults.yaml": "labels: {env: prod}\n", "a.yaml": "goal: x\nlabels:\n  team: ops\n"})
    said = {
        name.removeprefix("labels."): each for name, each in origins(tmp_path, "a.yaml").items() if "labels" in name
    }
    named = " ".join(origin for _, origin in said.values())
    assert "_defaults.yaml:1" in named
    assert " a.yaml:" in f" {named}"


def test_a_name_in_the_file_is_the_file_s_own_word(tmp_path: Path) -> None:
    folder(tmp_path, {"a.yaml": "goal: x\n\nname: report\n"})
    assert origins(tmp_path, "a.yaml")["name"] == ("report", "a.yaml:3")


def test_what_nobody_says_comes_last(tmp_path: Path) -> None:
    lines = explained(folder(tmp_path, LAYERS), "ops/night/a.yaml")[1]
    from_files = [line.origin != effective.BUILT_IN for line in lines]
    assert from_files == sorted(from_files, reverse=True)


def test_every_default_that_a_run_goes_by_is_shown(tmp_path: Path) -> None:
    said = origins(folder(tmp_path, {"a.yaml": "goal: x\napproval: {otherwise: fail}\n"}), "a.yaml")
    assert said["approval.otherwise"] == ("fail", "a.yaml:2")
    for path, value in {"approval.timeout": "1d", "on_unknown": "verify", "memory": "none", "retries": 0}.items():
        assert said[path] == (value, "default")


def test_a_value_of_many_lines_is_shown_as_a_block() -> None:
    assert effective.field_lines("goal", "Do this: now\n  and # that\n") == [
        "goal: |",
        "  Do this: now",
        "    and # that",
    ]


def test_a_block_of_one_line_is_shown_in_at_most_two() -> None:
    lines = effective.field_lines("goal", "Do it now\n")  # `goal: |` and one line: a very common file
    assert "".join(lines).count("\n") == 0
    assert lines in (["goal: |", "  Do it now"], ['goal: "Do it now\\n"'])


def test_values_are_shown_as_people_write_them() -> None:
    assert effective.field_lines("cron", "*/15 * * * *") == ['cron: "*/15 * * * *"']
    assert effective.field_lines("cron", ["@daily", "0 9 * * 1"]) == ['cron: ["@daily", "0 9 * * 1"]']
    assert effective.field_lines("toolkit", ["gmail", "github"]) == ["toolkit: [gmail, github]"]
    assert effective.field_lines("enabled", value=False) == ["enabled: false"]
    assert effective.field_lines("goal", "Say: hi # all") == ["goal: 'Say: hi # all'"]
    assert effective.field_lines("description", "Grüße 🌅") == ["description: Grüße 🌅"]


def test_what_is_printed_is_the_task_itself_comments_and_all(tmp_path: Path) -> None:
    task, lines = explained(folder(tmp_path, LAYERS), "ops/night/a.yaml")
    printed = "\n".join(map(click.unstyle, show.effective_lines(lines)))
    assert f"  turns: 9{' ' * (printed.index('#') - len('  turns: 9'))}# {tmp_path}/ops/_defaults.yaml:3" in printed
    assert load_task(printed.encode(), "a.yaml").task == task


def test_a_foreign_goal_drives_no_terminal() -> None:
    lines = [effective.Line(("goal",), "a\x1b[2J\u202eb", "a.yaml:1")]
    printed = click.unstyle("".join(show.effective_lines(lines)))
    assert printed.isprintable()


class TestSlots:
    BERLIN = "goal: x\ncron: '0 9 * * *'\ntimezone: Europe/Berlin\n"

    def slots(self, text: str, now: datetime, count: int = 5) -> list[tuple[str, str, bool]]:
        found = effective.upcoming(task_of(text), now, count)
        assert all(slot.at.utcoffset() == timedelta() and slot.at == slot.local for slot in found)
        return [(f"{slot.at:%m-%d %H:%M}", f"{slot.local:%H:%M}", slot.clock_changed) for slot in found]

    def test_the_clock_goes_forward_in_march(self) -> None:
        assert self.slots(self.BERLIN, NOW) == [
            ("03-27 08:00", "09:00", False),
            ("03-28 07:00", "09:00", True),
            ("03-29 07:00", "09:00", False),
            ("03-30 07:00", "09:00", False),
            ("03-31 07:00", "09:00", False),
        ]

    def test_the_clock_goes_back_in_october(self) -> None:
        assert self.slots(self.BERLIN, datetime(2027, 10, 29, 12, tzinfo=UTC)) == [
            ("10-30 07:00", "09:00", False),
            ("10-31 08:00", "09:00", True),
            ("11-01 08:00", "09:00", False),
            ("11-02 08:00", "09:00", False),
            ("11-03 08:00", "09:00", False),
        ]

    def test_an_hour_that_the_clock_skips_has_no_slot(self) -> None:
        assert self.slots(self.BERLIN.replace("0 9", "30 2"), NOW, 2) == [
            ("03-27 01:30", "02:30", False),
            ("03-29 00:30", "02:30", True),
        ]

    def test_a_change_before_the_first_slot_is_told_there(self) -> None:
        just_before = datetime(2027, 3, 28, 0, 59, tzinfo=UTC)
        assert self.slots(self.BERLIN, just_before, 2) == [
            ("03-28 07:00", "09:00", True),
            ("03-29 07:00", "09:00", False),
        ]

    def test_several_crons_make_one_row_without_doubles(self) -> None:
        text = "goal: x\ncron: ['0 9 * * *', '*/30 9 * * *', '@daily']\n"
        assert [at for at, _, _ in self.slots(text, NOW)] == [
            "03-27 00:00",
            "03-27 09:00",
            "03-27 09:30",
            "03-28 00:00",
            "03-28 09:00",
        ]

    def test_a_task_without_cron_has_none_and_says_how_to_start_it(self) -> None:
        task = task_of("goal: x\n")
        assert effective.upcoming(task, NOW) == ()
        assert show.slot_lines(task, (), NOW) == ["runs when asked: goalfile run a"]

    def shown(self, more: str = "", now: datetime = NOW, count: int = 2) -> list[str]:
        task = task_of(self.BERLIN + more)
        return show.slot_lines(task, effective.upcoming(task, now, count), now)

    def test_both_clocks_and_the_change_between_them_are_shown(self) -> None:
        assert self.shown() == [
            "next in Europe/Berlin:",
            "  Sat 27 Mar 2027 09:00 CET   08:00 UTC  in 20h 0m",
            "  Sun 28 Mar 2027 09:00 CEST  07:00 UTC  in 43h 0m  the clock was changed",
        ]

    def test_another_date_in_utc_is_said(self) -> None:
        task = task_of("goal: x\ncron: '30 0 * * *'\ntimezone: Europe/Berlin\n")
        assert show.slot_lines(task, effective.upcoming(task, NOW, 1), NOW)[1:] == [
            "  Sat 27 Mar 2027 00:30 CET  Fri 26 Mar 23:30 UTC  in 11h 30m"
        ]

    def test_jitter_is_said_beside_the_slots(self) -> None:
        assert self.shown("jitter: 90s\n")[0] == "next in Europe/Berlin, each up to 1m30s later:"

    def test_a_disabled_task_shows_the_slots_it_would_have(self) -> None:
        head, *rows = self.shown("enabled: false\n")
        assert head == "next in Europe/Berlin, once it is enabled:"
        assert len(rows) == 2

    def test_a_task_whose_time_is_over_says_so(self) -> None:
        assert self.shown(now=datetime(2100, 12, 31, 23, tzinfo=UTC)) == [
            "a does not run any more: no slot is left before 2101"
        ]


class TestTheCommand:
    def test_it_shows_the_task_and_its_next_slots(self, goalfile: Goalfile, tmp_path: Path) -> None:
        folder(tmp_path, {"tasks/_defaults.yaml": "timezone: Europe/Berlin\n"})
        folder(tmp_path, {"tasks/ops/a.yaml": "goal: x\ncron: '*/15 * * * *'\n"})
        said = goalfile("show", "a")
        assert (said.returncode, said.stderr) == (0, "")
        values, slots = said.stdout.split("\n\n")
        rows = dict(line.rsplit("  # ", 1) for line in values.splitlines() if "  # " in line)
        assert {text.strip(): origin for text, origin in rows.items()} == {
            "goal: x": "tasks/ops/a.yaml:1",
            'cron: "*/15 * * * *"': "tasks/ops/a.yaml:2",
            "timezone: Europe/Berlin": "tasks/_defaults.yaml:1",
            "name: a": "the file's name",
            "enabled: true": "default",
            "overlap: skip": "default",
            "catchup: 10m": "default",
            "allow: ['*']": "default",
            "timeout: 1d": "default",
            "otherwise: deny": "default",
            "on_unknown: verify": "default",
            "turns: 30": "default",
            "timeout: 30m": "default",
            "memory: none": "default",
            "retries: 0": "default",
            "version: 1": "default",
        }
        assert len(slots.splitlines()) == 6
        assert slots.startswith("next in Europe/Berlin:\n")

    def test_as_json_it_is_data_only_with_origins_and_slots(self, here: Path) -> None:
        text = "goal: x {{ inputs.a }}\ncron: '0 9 * * *'\ntimezone: Asia/Tokyo\ninputs: {a: 1, unused: 2}\n"
        folder(here, {"tasks/a.yaml": text})
        said = run("a", "--json")
        assert said.exit_code == 0
        assert "unused-input" in said.stderr
        data = json.loads(said.stdout)
        assert (data["name"], data["file"]) == ("a", "tasks/a.yaml")
        assert Task.model_validate(data["task"]) == load_task(text.encode(), "a.yaml").task
        assert data["origins"]["cron"] == "tasks/a.yaml:2"
        assert data["origins"]["limits.turns"] == "default"
        assert data["origins"]["name"] == "the file's name"
        assert len(data["slots"]) == 5
        for slot in data["slots"]:
            at, local = (datetime.fromisoformat(slot[key]) for key in ("at", "local"))
            assert at == local
            assert (at.utcoffset(), local.utcoffset()) == (timedelta(), timedelta(hours=9))

    def test_a_wrong_task_prints_every_problem_and_exits_1(self, here: Path) -> None:
        folder(here, {"tasks/a.yaml": "goal: x\nschedule: y\nlimits: {turns: 0}\n", "tasks/b.yaml": "gaol: x\n"})
        said = run("a")
        assert (said.exit_code, said.stdout) == (1, "")
        assert "error[unknown-key]" in said.stderr
        assert " --> tasks/a.yaml:3:17\n" in said.stderr
        assert "3 | limits: {turns: 0}" in said.stderr
        assert "b.yaml" not in said.stderr
        assert said.stderr.endswith("error: tasks/a.yaml cannot run as it is\n")

    def test_wrong_defaults_are_shown_where_they_stand(self, here: Path) -> None:
        folder(here, {"tasks/_defaults.yaml": "limits:\n  turns: 0\n", "tasks/a.yaml": "goal: x\n"})
        said = run("a")
        assert said.exit_code == 1
        assert " --> tasks/_defaults.yaml:2:10\n" in said.stderr
        assert "2 |   turns: 0" in said.stderr

    def test_two_files_of_one_name_are_a_problem_here_as_well(self, here: Path) -> None:
        folder(here, {"tasks/a.yaml": "goal: x\n", "tasks/ops/a.yaml": "goal: y\n"})
        said = run("a")
        assert said.exit_code == 1, "neither of them is scheduled: nothing runs as it is shown"
        assert "duplicate-name" in said.stderr

    def test_an_unknown_name_suggests_the_one_that_was_meant(self, here: Path) -> None:
        folder(here, {"tasks/report.yaml": "goal: x\n", "tasks/ops/backup.yaml": "goal: x\n"})
        said = run("reprot")
        assert (said.exit_code, said.stdout) == (1, "")
        assert said.stderr == "error: tasks holds no task named `reprot`; did you mean `report`?\n"
        assert run("zzz").stderr == "error: tasks holds no task named `zzz`; known: backup, report\n"

    def test_a_task_is_found_by_the_name_that_its_file_says(self, here: Path) -> None:
        folder(here, {"tasks/a.yaml": "goal: x\nname: report\n"})
        assert run("report").exit_code == 0
        assert run("a").exit_code == 1

    @pytest.mark.parametrize("path", ["tasks/ops/a.yaml", "./tasks/ops/a.yaml", "tasks//ops/a.yaml"])
    def test_a_file_may_be_named_by_its_path(self, here: Path, path: str) -> None:
        folder(here, {f"tasks/{name}": text for name, text in LAYERS.items()})
        folder(here, {"tasks/ops/a.yaml": "goal: y\n", ".git/HEAD": "", "tasks/broken.yaml": "gaol"})
        said = run(path)
        assert said.exit_code == 0, said.output
        assert "tasks/ops/a.yaml:1" in said.stdout
        assert "tasks/ops/_defaults.yaml:3" in said.stdout

    @pytest.mark.parametrize("mark", [".git/HEAD", "README.md"])
    def test_a_path_that_goes_up_has_the_defaults_of_where_it_leads(
        self, here: Path, monkeypatch: pytest.MonkeyPatch, mark: str
    ) -> None:
        folder(here, {"tasks/a.yaml": "goal: x\n", "tasks/ops/_defaults.yaml": "timezone: Asia/Tokyo\n", mark: ""})
        monkeypatch.chdir(here / "tasks" / "ops")
        data = json.loads(run("../a.yaml", "--json").stdout)
        assert (data["task"]["timezone"], data["origins"]["timezone"]) == ("UTC", "default")

    def test_an_absolute_path_is_one_too(self, here: Path) -> None:
        folder(here, {"tasks/a.yaml": "goal: x\n"})
        assert f"# {here}/tasks/a.yaml:1" in run(str(here / "tasks" / "a.yaml")).stdout

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (("a",), "error: tasks is not there\n"),
            (("a", "--tasks", "other"), "error: other is not there\n"),
            (("tasks/a.yaml",), "error: tasks/a.yaml: No such file or directory\n"),
        ],
    )
    def test_what_is_not_there_is_one_line(self, tmp_path: Path, here: Path, words: list[str], complaint: str) -> None:
        said = run(*words)
        assert (said.exit_code, said.stdout) == (1, "")
        assert said.stderr.replace(f"{tmp_path}/", "") == complaint


# Whatever is odd in YAML, in all places; and whatever else Unicode holds.
ODD = st.lists(
    st.sampled_from([*"\n\r\t :#'\"-|>{}[],&*!%@`?a0é~\\\x00\x7f\x85\xa0\u2028\u202e\ufeff😀", "\n\n", ": ", " #"]),
    min_size=1,
    max_size=130,
).map("".join)
LOOKS_LIKE_ANOTHER_TYPE = st.sampled_from(
    ["no", "null", "~", "1e5", "0o17", "0x1F", "12:30", "1_000", ".5", "2027-01-01"]
)
TEXTS = st.one_of(ODD, st.text(st.characters(exclude_categories=["Cs"]), min_size=1), LOOKS_LIKE_ANOTHER_TYPE)
VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=5,
)
CRONS = st.sampled_from(["*/15 * * * *", "* * * * *", "@daily", "0 9 * * 1-5", "0 0 1 1 *"])
SLUGS = st.sampled_from(["gmail", "github", "_2chat", "no", "on", "1e5"])
GLOBS = st.sampled_from(["*", "GMAIL_*", "*_DELETE_*", "[A-Z]*", "!x", "&y", "#z", "null", "'"])
DURATIONS = st.sampled_from(["90s", "10m", "1h30m", "3d", "2w"])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "goal": TEXTS,
    "toolkit": st.one_of(SLUGS, st.lists(SLUGS, max_size=3)),
    "cron": st.one_of(CRONS, st.lists(CRONS, min_size=1, max_size=3)),
    "notify": st.one_of(
        SLUGS.filter(lambda slug: slug[0] != "_"),
        st.lists(st.fixed_dictionaries({"to": st.just("no")}, optional={"when": st.just("failure")}), max_size=2),
    ),
    "description": TEXTS,
    "enabled": st.booleans(),
    "timezone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
    "jitter": DURATIONS,
    "overlap": st.sampled_from(["skip", "queue", "cancel", "allow"]),
    "catchup": DURATIONS,
    "run_as": GLOBS,
    "tools": st.fixed_dictionaries({}, optional={"allow": st.lists(GLOBS, max_size=2), "ask": GLOBS, "deny": GLOBS}),
    "approval": st.fixed_dictionaries({}, optional={"timeout": DURATIONS, "otherwise": st.just("fail")}),
    "on_unknown": st.sampled_from(["verify", "ask", "stop"]),
    "limits": st.fixed_dictionaries(
        {},
        optional={
            "turns": st.integers(1, 500),
            "timeout": DURATIONS,
            "tokens": st.integers(1000, 10**9),
            "cost_usd": st.floats(0.01, 1000),
        },
    ),
    "model": st.sampled_from(sorted(PRICES)),
    "inputs": st.dictionaries(st.sampled_from(["a", "no", "null", "_x-1"]), VALUES, max_size=3),
    "output": st.just({"type": "object", "properties": {"no": {"type": "string"}}}),
    "memory": st.sampled_from(["none", "last", "notes"]),
    "retries": st.integers(0, 5),
    "labels": st.dictionaries(
        st.sampled_from(["a", "no", "1e5", "x.example/y"]),
        st.sampled_from(["", "no", "1e5", "0x1F", "v-1"]),
        max_size=3,
    ),
    "name": st.sampled_from(["a", "no", "0", "1e5", "null"]),
    "version": st.just(1),
}


def as_file(value: Any) -> str:
    """YAML in which nothing is left to a reader's taste: all text in quotes, all of it ASCII."""
    if isinstance(value, str):
        plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in value)
        return f'"{plain}"'
    if isinstance(value, list):
        return f"[{', '.join(map(as_file, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{as_file(key)}: {as_file(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value)


def test_every_field_is_tried_below() -> None:
    assert set(Task.model_fields) == set(FIELDS)


@given(
    st.fixed_dictionaries({"goal": TEXTS}, optional={name: values for name, values in FIELDS.items() if name != "goal"})
)
def test_what_is_printed_reads_back_as_the_same_task(said: dict[str, Any]) -> None:
    raw = as_file(said).encode()
    task = load_task(raw, "a.yaml").task
    assume(task is not None)
    assert task is not None
    lines = effective.explain(raw, task, "a.yaml", ())
    printed = "".join(f"{text}\n" for text, _ in effective.as_yaml(lines))
    again = load_task(printed.encode(), "a.yaml")
    assert again.task == task, f"{[problem.concise() for problem in again.problems]}\n{printed}"
