"""What the README promises and the tests that keep it: neither stands without the other."""

import ast
import re
import tomllib
from pathlib import Path

from tests.conftest import ROOT

HERE = Path(__file__).parent
KEPT = tomllib.loads((HERE / "promises.toml").read_text())["promise"]


def promised() -> list[str]:
    """The first column of the table under the README's heading."""
    section = (ROOT / "README.md").read_text().partition("## What it promises")[2].partition("\n## ")[0]
    return re.findall(r"^\| (?!promise|---)(.+?) \|", section, re.MULTILINE)


def names_in(path: Path) -> set[str]:
    """The tests of one file: functions, and names that are bound to a state machine's test case."""
    tree = ast.parse(path.read_text())
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    bound = {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    return functions | bound


def test_every_promise_of_the_readme_is_kept_by_tests_and_none_other_is_listed() -> None:
    said = promised()
    assert len(said) >= 16
    without = [row for row in said if sum(row.startswith(each["says"]) for each in KEPT) != 1]
    unsaid = [each["says"] for each in KEPT if not any(row.startswith(each["says"]) for row in said)]
    assert (without, unsaid) == ([], [])


def test_every_test_that_keeps_a_promise_is_there() -> None:
    named = [test.partition("::") for each in KEPT for test in each["tests"]]
    gone = [f"{path}::{name}" for path, _, name in named if name not in names_in(HERE / path)]
    assert named
    assert gone == []
