"""Every command in the README runs, and what it shows is what comes back."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.house import House

pytestmark = pytest.mark.temporal

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Each `$ command` with the lines shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shape(text: str) -> list[str]:
    """Lines without what differs from run to run: clock, ids, lengths of time, counts."""
    text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{4}", "ID", text)
    text = re.sub(r"\b\d\d:\d\d:\d\d\b", "CLOCK", text)
    text = re.sub(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d\d [A-Z][a-z][a-z] \d{4}\b", "DATE", text)
    text = re.sub(r"\bCES?T\b", "ZONE", text)
    text = re.sub(r"\b[\d.,]+(s|m|h|d)?\b", "N", text)
    text = re.sub(r"in N N$", "in N", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def shown_is_what_comes_back(said: subprocess.CompletedProcess[str], shown: list[str]) -> None:
    came = iter(shape(f"{said.stderr}\n{said.stdout}"))
    for line in shape("\n".join(shown)):
        assert line in came, f"{line!r} did not come, or not in this order:\n{said.stderr}\n{said.stdout}"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "tasks", folder / "tasks")
    house = House(folder)
    try:
        yield house.up()
    finally:
        house.stop()


def test_the_second_terminal_shows_what_the_readme_shows(house: House) -> None:
    for command, shown in commands(BLOCKS[1]):
        said = run(command.replace("http://127.0.0.1:7700", house.addresses()["gateway"]), house.folder)
        assert said.returncode == 0, f"{command}\n{said.stderr}{said.stdout}"
        shown_is_what_comes_back(said, shown)


def test_a_mistake_is_told_as_the_readme_tells_it(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("goal: x\ntoolkits: github\n")
    [(command, shown)] = commands(BLOCKS[2])
    said = run(command, tmp_path)
    assert said.returncode == 1
    shown_is_what_comes_back(said, shown)


def test_a_repository_is_set_up_as_the_readme_tells_it(tmp_path: Path) -> None:
    for command, shown in commands(BLOCKS[3]):
        said = run(command, tmp_path)
        assert said.returncode == 0, f"{command}\n{said.stderr}{said.stdout}"
        shown_is_what_comes_back(said, shown)


def test_the_gateway_answers_what_the_readme_asks_it(house: House) -> None:
    for command, _ in commands(BLOCKS[4]):
        asked = command.replace("http://127.0.0.1:7700", house.addresses()["gateway"])
        said = run(asked.replace("curl -s", "curl -s --fail-with-body"), house.folder)
        assert said.returncode == 0, f"{command}\n{said.stderr}{said.stdout}"
        assert said.stdout


def test_the_screen_shows_what_the_readme_shows(house: House) -> None:
    block = next(block for block in re.findall(r"```text\n(.*?)```", README, re.DOTALL) if "Ctrl-C" in block)
    names = [line.split()[0] for line in block.splitlines() if line.startswith("  ") and line.strip()]
    said = [line.split()[0] for line in house.screen.splitlines() if line.startswith("  ") and line.strip()]
    tasks = said.index("tasks")  # which of them comes next depends on the time of day
    assert (said[:tasks], sorted(said[tasks:])) == (names[:tasks], sorted(names[tasks:]))


def test_every_example_task_runs_to_its_end(house: House) -> None:
    for path in sorted((ROOT / "tasks").glob("*.yaml")):
        said = house.goalfile("run", path.stem, "--wait")
        assert said.returncode == 0, said.stderr


def test_the_readme_s_task_is_valid(tmp_path: Path) -> None:
    text = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    (tmp_path / "task.yaml").write_text(text)
    assert run("goalfile validate task.yaml", tmp_path).returncode == 0


@pytest.mark.slow
def test_make_dev_works_in_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--local", ROOT, clone], check=True)
    assert commands(BLOCKS[0])[0][0] == "make dev"
    screen = tmp_path / "screen"
    with screen.open("w") as out:
        process = subprocess.Popen(["make", "dev"], cwd=clone, stdout=out, stderr=out, start_new_session=True)
    try:
        for _ in range(600):
            if "Ctrl-C stops everything" in screen.read_text() or process.poll() is not None:
                break
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
        assert "Ctrl-C stops everything" in screen.read_text(), screen.read_text()
        python = clone / ".venv" / "bin" / "goalfile"
        said = subprocess.run(
            [python, "run", "hello", "--wait"], cwd=clone, capture_output=True, text=True, timeout=60, check=False
        )
        assert said.returncode == 0, said.stderr
    finally:
        os.killpg(process.pid, 2)
        process.wait(60)
