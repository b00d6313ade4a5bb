"""What people are told, word for word: a file for each code, and what it says beside it.

After a change of words, look at the difference: `GOLDEN=renew python -m pytest tests/schemas/test_golden.py`.
"""

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest

from runner.files import TaskFile, scan
from runner.wanted import read_wanted
from schemas.catalog import Catalog, Maxima
from schemas.codes import CODES
from schemas.document import MAX_BYTES
from schemas.problem import Problem
from schemas.task import Task
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "golden"
# What no file in a repository should hold.
MADE = {"too-large": b"goal: " + b"x" * MAX_BYTES, "secret-in-file": b"goal: Post with xoxb-" + b"1" * 12 + b"\n"}
SERVER = Catalog(toolkits=("github", "gmail"), channels=("eng-slack", "ops-pager"), run_as={"finance": ("finance",)})
ONLINE = {
    **dict.fromkeys(("unknown-channel", "unknown-toolkit", "run-as-not-allowed"), SERVER),
    "above-maximum": Catalog(limits=Maxima(turns=50, timeout=timedelta(hours=1), tokens=500_000)),
}


def problems_of(code: str) -> tuple[tuple[Problem, ...], dict[str, bytes]]:
    folder, file = FOLDER / code, FOLDER / f"{code}.yaml"
    if folder.is_dir():
        seen = scan(folder)
        files = [TaskFile(str(Path(each.path).relative_to(FOLDER)), *each[1:]) for each in seen.files]
        problems = (*seen.problems, *read_wanted(files).problems)
    else:
        files = [TaskFile(f"{code}.yaml", MADE[code] if code in MADE else file.read_bytes())]
        problems = read_wanted(files, ONLINE.get(code)).problems
    shown = tuple(each.model_copy(update={"file": each.file.removeprefix(f"{FOLDER}/")}) for each in problems)
    return shown, {each.path: each.raw for each in files}


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_told_as_it_was(code: str) -> None:
    problems, sources = problems_of(code)
    assert code in {problem.code for problem in problems}
    said = "\n\n".join(each.full(sources.get(each.file, b"").decode(errors="replace")) for each in problems) + "\n"
    golden = FOLDER / f"{code}.txt"
    if os.environ.get("GOLDEN") == "renew":
        golden.write_text(said)
    assert said == golden.read_text()


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_problem_says_what_to_do(code: str) -> None:
    for problem in problems_of(code)[0]:
        assert problem.label or problem.help, problem.message


def test_every_code_in_use_is_a_known_one() -> None:
    used: set[str] = set()
    for folder in ("schemas", "runner"):
        for path in (ROOT / folder).glob("*.py"):
            text = path.read_text()
            used |= set(
                re.findall(r'(?:(?:problem|Clash)\(\s*|code=|_stop\(|code, message[^=\n]*= )"([a-z0-9-]+)"', text)
            )
    assert used
    assert used <= set(CODES)


def test_no_golden_file_is_left_over() -> None:
    assert {path.name.partition(".")[0] for path in FOLDER.iterdir()} == set(CODES)


def test_the_reference_names_every_field_and_every_code() -> None:
    reference = (ROOT / "tasks" / "README.md").read_text()
    fields = re.findall(r"^\| `(\w+)` \|", reference.partition("## ")[0], re.MULTILINE)
    assert fields == [*Task.model_fields]
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in reference
