"""`goalfile new`: one valid task file, or none."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from runner import starter
from runner.cli import goalfile as command
from schemas.load import load_task
from schemas.task import Task

Goalfile = Callable[..., "CompletedProcess[str]"]
SECRET = "".join(("gh", "p_", "0123456789abcdef" * 2))  # nobody's
ARGV = [sys.executable, "-m", "runner", "new"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, stdin: str | None = None) -> Result:
    """`goalfile new` in this process, without a terminal."""
    return CliRunner().invoke(command, ["new", *words], input=stdin)


def written(path: str) -> Task:
    """The task in a file that `validate` takes."""
    checked = CliRunner().invoke(command, ["validate", path])
    assert (checked.exit_code, checked.stdout) == (0, ""), checked.output
    task = load_task(Path(path).read_bytes(), path).task
    assert task is not None
    return task


def everything(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_it_writes_a_file_that_validate_takes(goalfile: Goalfile, tmp_path: Path) -> None:
    said = goalfile("new", "report", "--goal", "Say: hi # all", "--toolkit", "gmail", "--cron", "every weekday at 9")
    assert (said.returncode, said.stdout) == (0, "tasks/report.yaml\n")
    assert "  goal: 'Say: hi # all'\n" in said.stderr
    assert "\nnext in " in said.stderr
    checked = goalfile("validate")
    assert (checked.returncode, checked.stderr) == (0, "1 task file, all valid\n")


def test_everything_that_is_said_is_in_the_file_and_nothing_else() -> None:
    words = ("--toolkit", "gmail", "--toolkit", "github", "--cron", "every weekday at 9", "--timezone", "Asia/Tokyo")
    assert run("report", "--goal", "Do it", *words, "--description", "All of it").exit_code == 0
    assert Path("tasks/report.yaml").read_text() == (
        'goal: Do it\ndescription: All of it\ntoolkit: [gmail, github]\ncron: "0 9 * * 1-5"\ntimezone: Asia/Tokyo\n'
    )
    assert written("tasks/report.yaml").toolkit == ("gmail", "github")


def test_a_goal_alone_is_a_task() -> None:
    said = run("report", "--goal", "Do it")
    assert said.exit_code == 0
    assert Path("tasks/report.yaml").read_text() == "goal: Do it\n"
    assert said.stderr.endswith("runs when asked: goalfile run report\n")


@pytest.mark.parametrize(
    ("words", "cron"),
    [
        (["every 15 minutes"], ("*/15 * * * *",)),
        (["0 9 * * mon"], ("0 9 * * mon",)),
        (["daily"], ("@daily",)),
        (["every monday at 9 and 17:30"], ("0 9 * * 1", "30 17 * * 1")),
        (["every weekday at 9", "saturdays at noon", "@monthly"], ("0 9 * * 1-5", "0 12 * * 6", "@monthly")),
    ],
)
def test_words_become_cron(words: list[str], cron: tuple[str, ...]) -> None:
    said = run("a", "--goal", "x", "--timezone", "UTC", *(part for each in words for part in ("--cron", each)))
    assert said.exit_code == 0, said.output
    assert written("tasks/a.yaml").cron == cron


@pytest.mark.parametrize(("machine", "line"), [("Europe/Berlin", "timezone: Europe/Berlin\n"), ("UTC", "")])
def test_cron_goes_by_this_machine_s_clock(goalfile: Goalfile, machine: str, line: str) -> None:
    said = goalfile("new", "a", "--goal", "x", "--cron", "every day at 9", env={"TZ": machine})
    assert said.returncode == 0
    assert Path("tasks/a.yaml").read_text() == f'goal: x\ncron: "0 9 * * *"\n{line}'
    assert f"\nnext in {machine}:\n" in said.stderr


def test_the_slots_are_those_of_the_file_with_its_defaults(goalfile: Goalfile, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "_defaults.yaml").write_text("timezone: Asia/Tokyo\n")
    said = goalfile("new", "a", "--goal", "x", "--cron", "0 9 1 7 *", "--json", env={"TZ": "UTC"})
    shown = CliRunner().invoke(command, ["show", "a", "--json"])
    assert json.loads(said.stdout)["slots"] == json.loads(shown.stdout)["slots"][:3]


def test_a_task_is_judged_with_the_defaults_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "_defaults.yaml").write_text("labels: {" + ", ".join(f"l{n}: x" for n in range(17)) + "}\n")
    said = run("a", "--goal", "x")
    assert "_defaults.yaml:1:" in said.stderr, "a task below wrong defaults is not scheduled, and nobody is told"


def test_a_name_may_have_folders() -> None:
    assert run("team/eu.west/report", "--goal", "x").stdout == "tasks/team/eu.west/report.yaml\n"
    assert written("tasks/team/eu.west/report.yaml").name == "report"


def test_another_tasks_folder_may_be_named() -> None:
    assert run("ops/a", "--goal", "x", "--tasks", "jobs").stdout == "jobs/ops/a.yaml\n"
    assert written("jobs/ops/a.yaml").name == "a"


@pytest.mark.parametrize(("name", "up"), [("a", ""), ("ops/a", "../"), ("ops/eu/night/a", "../../../")])
def test_editors_are_told_where_the_schema_is(tmp_path: Path, name: str, up: str) -> None:
    schema = tmp_path / "tasks" / ".schema" / "task.schema.json"
    schema.parent.mkdir(parents=True)
    schema.touch()
    assert run(name, "--goal", "x").exit_code == 0
    path = Path(f"tasks/{name}.yaml")
    first = path.read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={up}.schema/task.schema.json"
    assert (path.parent / first.partition("=")[2]).resolve() == schema
    written(str(path))


def test_as_json_it_is_data_only() -> None:
    said = run("ops/a", "--goal", "x", "--cron", "every day at 9", "--timezone", "Asia/Tokyo", "--json")
    data = json.loads(said.stdout)
    assert said.stderr == ""
    assert [slot["local"][10:] for slot in data.pop("slots")] == ["T09:00:00+09:00"] * 3
    assert data == {"name": "a", "file": "tasks/ops/a.yaml", "cron": ["0 9 * * *"]}


class TestTheGoal:
    def test_a_dash_reads_it_from_standard_input(self) -> None:
        text = "Read this: all of it # really\n\n  - and that\n"
        said = subprocess.run([*ARGV, "a", "--goal", "-"], input=text, capture_output=True, text=True, check=False)
        assert (said.returncode, said.stdout) == (0, "tasks/a.yaml\n"), said.stderr
        assert Path("tasks/a.yaml").read_text() == ("goal: |-\n  Read this: all of it # really\n\n    - and that\n")
        assert written("tasks/a.yaml").goal == text.strip()

    def test_the_layout_of_standard_input_is_kept(self) -> None:
        assert run("a", "--goal", "-", stdin="\n  * one\n  * two\n\n").exit_code == 0
        assert {len(line) - len(line.lstrip()) for line in written("tasks/a.yaml").goal.splitlines()} in ({0}, {2})

    def test_what_is_no_text_is_one_line(self) -> None:
        env = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as it is wherever the locale is not C
        said = subprocess.run([*ARGV, "a", "--goal", "-"], input=b"a\xff", env=env, capture_output=True, check=False)
        assert said.returncode in (1, 2)
        assert b"Traceback" not in said.stderr
        assert not Path("tasks").exists()

    def test_without_a_terminal_it_must_be_given(self) -> None:
        said = run("a")
        assert (said.exit_code, said.stdout) == (2, "")
        complaint = 'a task needs a goal: give --goal "…", or --goal - to read it from standard input'
        assert said.stderr == f"error: {complaint}\n"
        assert not Path("tasks").exists()

    def test_a_terminal_asks_for_it_and_for_nothing_else(self) -> None:
        terminal, stdin = pty.openpty()
        os.write(terminal, b"Say hi to all\n")
        said = subprocess.run(
            [*ARGV, "a", "--timezone", "UTC"], stdin=stdin, capture_output=True, text=True, timeout=60, check=False
        )
        os.close(stdin)
        os.close(terminal)
        assert said.returncode == 0, said.stderr
        assert said.stderr.startswith("What do you want done?")
        assert said.stderr.count("?") == 1
        assert written("tasks/a.yaml").goal == "Say hi to all"
        assert said.stdout == "tasks/a.yaml\n", "the question is no data"

    @pytest.mark.parametrize("stdin", ["", " \n\n"])
    def test_an_empty_one_is_told_and_nothing_is_written(self, stdin: str) -> None:
        said = run("a", "--goal", "-", stdin=stdin)
        assert said.exit_code in (1, 2)
        assert said.stdout == ""
        assert "goal" in said.stderr
        assert not Path("tasks").exists()

    @given(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150),
            st.text(" \t\n\r:#'\"-|>&*!%@`0.eE~{}[]ab\x85\u2028", min_size=1, max_size=150),
            st.sampled_from(["no", "null", "1e5", "0o17", "12:30", "- x", "? x", "---", "...", "a\nb\n\n"]),
        )
    )
    def test_whatever_it_is_it_reads_back_as_it_was_said(self, goal: str) -> None:
        text = starter.task_text([("goal", goal), ("description", goal[:100])])
        loaded = load_task(text.encode(), "a.yaml")
        if goal.strip() and goal[:100].strip():
            assert loaded.task is not None, [problem.concise() for problem in loaded.problems]
            assert (loaded.task.goal, loaded.task.description) == (goal, goal[:100])


class TestNothingIsWrittenWhenSomethingIsWrong:
    @pytest.mark.parametrize(
        ("words", "code", "complaint"),
        [
            (("--cron", "sometimes"), 2, "error: `sometimes` is no schedule word; write for example"),
            (("--cron", "61 * * * *"), 2, "error: "),
            (("--cron", ""), 2, "error: "),
            (("--cron", "daily", "--cron", "every 7 minutes"), 2, "error: `every 7 minutes` would not come evenly"),
            (("--toolkit", "GMail"), 1, "error[invalid-value]: `toolkit` cannot be `GMail`"),
            (("--toolkit", "gmail", "--toolkit", "no spaces"), 1, "error[invalid-value]: `toolkit[1]` cannot be"),
            (("--cron", "daily", "--timezone", "Berlin"), 1, "error[bad-timezone]: unknown time zone `Berlin`"),
            (("--description", "x" * 501), 1, "error[invalid-value]: `description` cannot be"),
            (("--goal", f"use {SECRET}"), 1, "error[secret-in-file]: "),
            (("--goal", "for {{ inputs.days }} days"), 1, "error[unknown-placeholder]: "),
            (("--goal", "x" * 20_001), 1, "error[invalid-value]: `goal` cannot be"),
        ],
    )
    def test_what_cannot_be_a_task(self, tmp_path: Path, words: tuple[str, ...], code: int, complaint: str) -> None:
        said = run("a", "--goal", "x", *words)
        assert (said.exit_code, said.stdout) == (code, ""), said.output
        assert said.stderr.startswith(complaint), said.stderr
        assert SECRET not in said.output
        assert code == 2 or said.stderr.endswith("error: nothing was written\n")
        assert everything(tmp_path) == set()

    @pytest.mark.parametrize(
        "name",
        ["../x", "a/../x", "/x", "./x", "X", "a_b", "a/", "-/a", "a.yaml", "_ops/a", ".ops/a", "", "x" * 64, "a\nb"],
    )
    def test_what_cannot_name_a_task(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        (tmp_path / "repository").mkdir()
        monkeypatch.chdir(tmp_path / "repository")
        said = run("--goal", "x", "--", name)
        assert (said.exit_code, said.stdout) == (2, "")
        assert said.stderr.startswith("error: `")
        assert "cannot name a task; use 1 to 63 of a-z, 0-9 and -, and folders before it" in said.stderr
        assert everything(tmp_path) == {"repository"}

    def test_a_file_that_is_there_stays_as_it_is(self) -> None:
        assert run("ops/a", "--goal", "old").exit_code == 0
        said = run("ops/a", "--goal", "new")
        assert (said.exit_code, said.stdout) == (1, "")
        assert said.stderr == "error: tasks/ops/a.yaml is already there; choose another name, or edit it\n"
        assert written("tasks/ops/a.yaml").goal == "old"

    @pytest.mark.parametrize("other", ["ops/night/a.yaml", "a.yml", "named.yaml"])
    def test_a_name_that_another_file_has(self, tmp_path: Path, other: str) -> None:
        path = tmp_path / "tasks" / other
        path.parent.mkdir(parents=True)
        path.write_text("goal: old\nname: a\n")
        before = everything(tmp_path)
        said = run("a", "--goal", "new")
        assert said.exit_code == 1, "both tasks would be held: the old one stops being updated"
        assert f"tasks/{other}" in said.stderr
        assert everything(tmp_path) == before

    def test_a_file_in_the_way_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "tasks").touch()
        said = run("ops/a", "--goal", "x")
        assert (said.exit_code, said.stdout) == (1, "")
        assert said.stderr.startswith("error: tasks")
        assert said.stderr.count("\n") == 1


def test_empty_fields_are_left_out_of_a_file() -> None:
    fields: list[tuple[str, Any]] = [("goal", "x"), ("description", ""), ("toolkit", []), ("cron", ())]
    assert starter.task_text(fields, starter.modeline("")) == f"{starter.modeline('')}goal: x\n"
