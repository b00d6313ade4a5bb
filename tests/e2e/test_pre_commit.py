"""The hook as another repository uses it: cloned, installed and run by pre-commit itself."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

PRE_COMMIT = Path(sys.executable).parent / "pre-commit"
Run = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A command in a repository of its own, with nothing of the person at the keyboard."""
    (tmp_path / "repository").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PRE_COMMIT"))}
    env = {**kept, "PRE_COMMIT_HOME": str(tmp_path / "home"), "PRE_COMMIT_COLOR": "never"}
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

    def start(*words: str | Path, cwd: Path = tmp_path / "repository") -> CompletedProcess[str]:
        return subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False)

    return start


def test_the_manifest_is_valid(run: Run) -> None:
    said = run(PRE_COMMIT, "validate-manifest", ".pre-commit-hooks.yaml", cwd=ROOT)
    assert said.returncode == 0, said.stdout


def test_a_repository_that_init_set_up_refuses_a_wrong_task(run: Run, tmp_path: Path) -> None:
    clone, repository = tmp_path / "clone", tmp_path / "repository"
    assert run("git", "clone", "--quiet", "--local", ROOT, clone).returncode == 0
    head = run("git", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    run("git", "init", "--quiet")
    assert run(sys.executable, "-m", "runner", "init").returncode == 0
    config = repository / ".pre-commit-config.yaml"
    [rev] = [line for line in config.read_text().splitlines() if line.strip().startswith("rev: ")]
    # As released, but for where it is released: the clone, in the state of its last commit.
    text = config.read_text().replace("https://github.com/goalfile/goalfile", str(clone))
    config.write_text(text.replace(rev, f"    rev: {head}"))

    def checked(*words: str) -> CompletedProcess[str]:
        run("git", "add", "--all")
        return run(PRE_COMMIT, "run", *words)

    task = repository / "tasks" / "ops" / "report.yaml"
    task.parent.mkdir()
    task.write_text("goal: Report\nschedule: daily\n")
    said = checked("--all-files")
    assert said.returncode == 1, said.stdout + said.stderr
    assert "error[unknown-key]: unknown key `schedule`" in said.stdout
    assert " --> tasks/ops/report.yaml:2:1\n" in said.stdout
    assert "did you mean `cron`?" in said.stdout
    assert "1 problem in 1 of 2 task files" in said.stdout

    task.write_text('goal: Report\ncron: "@daily"\n')
    said = checked("--all-files")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "Passed" in said.stdout

    # What is staged decides whether it runs; then it looks at the whole folder: names are unique in it.
    (repository / "tasks" / "report.yaml").write_text("goal: Another report\n")
    said = checked("--files", "tasks/report.yaml")
    assert said.returncode == 1
    assert "error[duplicate-name]" in said.stdout
    (repository / "README.md").write_text("Tasks\n")
    said = checked("--files", "README.md")
    assert said.returncode == 0
    assert "no files to check" in said.stdout
    said = checked("--files", "tasks/.schema/task.schema.json")
    assert "no files to check" in said.stdout
