"""`goalfile sync`, its status and what a person releases, as they are in a terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytestmark = pytest.mark.temporal
Goalfile = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def here(temporal_address: str, unique: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "tasks").mkdir()
    return {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique, "GOALFILE_OWNER": unique}


@pytest.fixture
def watching(here: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `goalfile sync --watch`; whatever is left at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "runner", "sync", "--watch"]
        env = {**os.environ, **here}
        with (tmp_path / "screen").open("a") as screen:
            started.append(subprocess.Popen(words, cwd=tmp_path, env=env, stdout=screen, stderr=screen, text=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


def told(goalfile: Goalfile, here: dict[str, str], seconds: float = 30) -> "CompletedProcess[str]":
    """The status, once there is one."""
    until = time.monotonic() + seconds
    while True:
        said = goalfile("sync", "status", env=here)
        if "has told anything yet" not in said.stderr or time.monotonic() > until:
            return said


def test_a_watching_sync_can_be_asked_how_it_fares(
    goalfile: Goalfile,
    here: dict[str, str],
    tmp_path: Path,
    unique: str,
    watching: Callable[[], "subprocess.Popen[str]"],
) -> None:
    before = goalfile("sync", "status", env=here)
    assert before.returncode != 0
    (tmp_path / "tasks" / f"{unique}.yaml").write_text("goal: x\n")
    process = watching()
    said = told(goalfile, here)
    assert (said.returncode, said.stderr) == (0, "")
    assert f"owner       {unique}\n" in said.stdout
    assert f"create {unique}" in said.stdout
    data = json.loads(goalfile("sync", "status", "--json", env=here).stdout)
    assert (data["owner"], data["tasks"], data["problems"]) == (unique, 1, [])
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "none: it has stopped" in goalfile("sync", "status", env=here).stdout


def test_what_is_wrong_is_in_the_status_and_said_once(
    goalfile: Goalfile, here: dict[str, str], tmp_path: Path, watching: Callable[[], "subprocess.Popen[str]"]
) -> None:
    (tmp_path / "tasks" / "a.yaml").write_text("goal: x\nschedule: y\n")
    watching()
    said = told(goalfile, here)
    assert said.returncode == 1
    assert "tasks/a.yaml:2:1: error[unknown-key]" in said.stdout
    assert (tmp_path / "screen").read_text().count("error[unknown-key]") == 1


def test_a_schedule_of_another_source_is_taken_over_by_name(
    goalfile: Goalfile, here: dict[str, str], tmp_path: Path, unique: str
) -> None:
    (tmp_path / "tasks" / f"{unique}.yaml").write_text("goal: x\n")
    assert goalfile("sync", env=here).returncode == 0
    other = {**here, "GOALFILE_OWNER": f"{unique}b"}
    until = time.monotonic() + 20
    while "conflict" not in (said := goalfile("sync", env=other)).stderr and time.monotonic() < until:
        pass  # until the listing shows the other's
    assert said.returncode == 1
    assert f"goalfile sync --adopt {unique}" in said.stderr
    taken = goalfile("sync", "--adopt", unique, env=other)
    assert f"~ updated {unique}  (tasks/{unique}.yaml takes it over from `{unique}`)" in taken.stdout


def test_a_person_s_word_does_not_go_with_watching(goalfile: Goalfile, here: dict[str, str]) -> None:
    said = goalfile("sync", "--watch", "--adopt", "a", env=here)
    assert said.returncode == 2
    assert "leave --watch out" in said.stderr


def test_every_slot_is_accounted_for_from_a_terminal(
    goalfile: Goalfile, here: dict[str, str], tmp_path: Path, unique: str
) -> None:
    (tmp_path / "tasks" / f"{unique}.yaml").write_text("goal: x\ncron: '0 9 1 1 *'\n")
    assert goalfile("sync", env=here).returncode == 0
    said = goalfile("verify", unique, "--since", "1h", env=here)
    assert (said.returncode, "no gap" in said.stderr) == (0, True)
    assert unique in said.stdout
    assert json.loads(goalfile("verify", unique, "--json", env=here).stdout)
    wrong = goalfile("verify", "--since", "soon", env=here)
    assert wrong.returncode == 2
    assert "--since: a duration is a number and a unit" in wrong.stderr
