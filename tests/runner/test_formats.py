"""Formats that machines read: parsed back by what reads them, whatever a file says."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.formats import github, junit, sarif
from schemas.problem import Problem, Span

Goalfile = Callable[..., "CompletedProcess[str]"]
PROBLEM = Problem(
    code="bad-cron",
    message="hour 25 is out of range 0-23",
    file="tasks/a.yaml",
    span=Span(line=2, column=10, end_line=2, end_column=12),
    help="hours run from 0 to 23",
)
TEXT = st.text(max_size=20)
PROBLEMS = st.lists(st.builds(Problem, code=st.just("c"), message=TEXT, file=TEXT, label=TEXT, help=TEXT), max_size=3)


def test_github_annotations_stand_beside_the_code() -> None:
    assert github([PROBLEM]) == (
        "::error file=tasks/a.yaml,line=2,col=10,endLine=2,endColumn=12,title=bad-cron"
        "::hour 25 is out of range 0-23%0Ahours run from 0 to 23"
    )


@given(PROBLEMS)
def test_a_foreign_text_makes_no_command_of_its_own(problems: list[Problem]) -> None:
    lines = github(problems).split("\n") if problems else []
    assert len(lines) == len(problems)
    assert all(line.startswith("::error file=") and "\r" not in line for line in lines)


@given(PROBLEMS)
def test_sarif_holds_every_problem_with_its_place(problems: list[Problem]) -> None:
    [run] = json.loads(sarif(problems))["runs"]
    assert [result["ruleId"] for result in run["results"]] == [problem.code for problem in problems]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {problem.code for problem in problems}


@given(PROBLEMS, st.lists(TEXT, max_size=3))
def test_junit_is_xml_with_a_case_for_each_file(problems: list[Problem], files: list[str]) -> None:
    suite = ET.fromstring(junit(problems, files))[0]
    assert len(suite) == len({*files, *(problem.file for problem in problems)})
    assert len(suite.findall("testcase/failure")) == len(problems)


@pytest.mark.parametrize("style", ["json", "sarif", "junit"])
def test_a_machine_s_format_is_data_only(goalfile: Goalfile, tmp_path: Path, style: str) -> None:
    (tmp_path / "a.yaml").write_text("gaol: x\n")
    said = goalfile("validate", "a.yaml", "--format", style)
    assert (said.returncode, said.stderr) == (1, "")
    assert "unknown-key" in said.stdout


def test_in_a_github_workflow_annotations_come_by_themselves(goalfile: Goalfile, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("goal: x\nschedule: y\n")
    said = goalfile("validate", "a.yaml", env={"GITHUB_ACTIONS": "true"})
    assert "error[unknown-key]" in said.stdout
    assert "::error file=a.yaml,line=2,col=1,endLine=2,endColumn=9,title=unknown-key::" in said.stdout


def test_a_secret_is_never_shown(goalfile: Goalfile, tmp_path: Path) -> None:
    secret = "xoxb-1234567890-abcdefghij"
    (tmp_path / "a.yaml").write_text(f"goal: post with {secret}\nlabels: {{team: a}}\n")
    for style in ("full", "concise", "json", "github", "sarif", "junit"):
        said = goalfile("validate", "a.yaml", "--format", style)
        assert said.returncode == 1
        assert "secret-in-file" in said.stdout
        assert secret not in said.stdout + said.stderr


def test_no_color_is_obeyed(goalfile: Goalfile, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("gaol: x\n")
    assert "\x1b[" in goalfile("validate", "a.yaml", env={"FORCE_COLOR": "1"}).stdout
    assert "\x1b[" not in goalfile("validate", "a.yaml", env={"NO_COLOR": "1"}).stdout
