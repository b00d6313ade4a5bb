"""`goalfile dev` as a person uses it: drop a file in, watch it run, kill the worker, press Ctrl-C."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.house import House, alive

pytestmark = pytest.mark.temporal

FIVE_STEPS = """\
goal: |
  Write one to box. Write two to box. Write three to box. Write four to box. Write five to box.
toolkit: box
cron: "0 9 * * 1-5"
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "hello.yaml").write_text("goal: Say hello\n")
    house = House(tmp_path)
    try:
        yield house.up()
    finally:
        house.stop()


def wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)  # other processes: their files and ports are all there is to see


def test_a_dropped_file_is_scheduled_and_its_run_survives_a_killed_worker(house: House) -> None:
    (house.tasks / "steps.yaml").write_text(FIVE_STEPS)
    house.sees(r"\+ scheduled steps")

    started = house.goalfile("run", "steps")
    assert started.returncode == 0, started.stderr
    run = started.stdout.strip()
    wait_for(lambda: len(house.journal()) >= 3)
    killed = house.worker()
    assert killed in house.children()
    os.kill(killed, signal.SIGKILL)
    house.sees("worker ended .SIGKILL. and was started again")
    assert house.worker() != killed

    told = house.goalfile("logs", "-f", run, "--json", seconds=120)
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert lines[-1]["text"] == "succeeded"
    effects = [entry["effect_id"] for entry in house.journal() if entry["effect"] == "write"]
    assert len(effects) == len(set(effects)), "no write was made twice"
    done = [
        line["text"] for line in lines if line["kind"] == "result" and line["text"].startswith("BOX_WRITE_ITEM done")
    ]
    lost = [line["text"] for line in lines if "BOX_WRITE_ITEM" in line["text"] and line["kind"] == "trouble"]
    assert len(done) + len(lost) == 5, "every step is accounted for"
    assert len(lost) <= 1, "only the step in flight may be lost"
    assert len(done) <= len(effects) <= len(done) + len(lost)


def test_ctrl_c_stops_everything_it_started_and_a_restart_remembers(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "hello.yaml").write_text("goal: Say hello\n")
    house = House(tmp_path).up()
    try:
        run = house.goalfile("run", "hello", "--wait", "--json")
        result = json.loads(run.stdout)
        assert (run.returncode, result["status"]) == (0, "succeeded")
        children = house.children()
        assert len(children) == 3
    finally:
        assert house.stop() == 0
    assert not any(alive(pid) for pid in children)
    assert not (tmp_path / ".goalfile" / "dev.json").exists()
    assert "Traceback" not in house.screen

    again = House(tmp_path).up()
    try:
        listed = json.loads(again.goalfile("ps", "--json").stdout)
        assert [(entry["id"], entry["status"]) for entry in listed] == [(result["id"], "succeeded")]
        assert "+ scheduled" not in again.screen, "schedules survived too"
    finally:
        again.stop()


def test_the_gateway_starts_and_tells_a_run(house: House) -> None:
    gateway = house.addresses()["gateway"]
    started = httpx.post(f"{gateway}/v1/tasks/hello/runs", json={})
    assert started.status_code == 202
    where = gateway + started.headers["location"]
    wait_for(lambda: httpx.get(where).json()["status"] == "succeeded")
    assert "Scripted report" in httpx.get(where).json()["summary"]
    assert httpx.get(f"{gateway}/readyz").status_code == 200
    assert "hello" in httpx.get(f"{gateway}/").text
    house.sees(r"hello-\S+ ✓ succeeded")


def test_children_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    house = House(tmp_path).up()
    children = house.children()
    house.process.kill()
    house.process.wait()
    wait_for(lambda: not any(alive(pid) for pid in children), 30)


def test_a_broken_file_is_said_once_with_its_place(house: House) -> None:
    (house.tasks / "bad.yaml").write_text("goal: x\nschedule: daily\n")
    house.sees(r"tasks/bad.yaml:2:1: error\[unknown-key\]")
    (house.tasks / "other.yaml").write_text("goal: y\n")
    house.sees(r"\+ scheduled other")
    assert house.screen.count("unknown-key") == 1


def refused(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    (folder / "tasks").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "runner", "dev", *words],
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def one_line(said: subprocess.CompletedProcess[str], words: str) -> None:
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1, said.stderr
    assert words in said.stderr


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("--port", "--temporal-port", "--ui-port"):
            one_line(refused(tmp_path, option, port), f"port {port} is taken; choose another with {option}")


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / ".goalfile").write_text("in the way")
    one_line(refused(tmp_path), ".goalfile cannot be written")


def test_a_missing_tasks_folder_is_one_clear_line(tmp_path: Path) -> None:
    one_line(refused(tmp_path, "nowhere"), "nowhere is not a folder")


def test_a_missing_server_is_one_clear_line(tmp_path: Path) -> None:
    lonely = tmp_path / "bin" / "python"
    lonely.parent.mkdir()
    lonely.symlink_to(Path(sys.executable).resolve())
    (tmp_path / "tasks").mkdir()
    said = subprocess.run(
        [lonely, "-m", "runner", "dev"],
        cwd=tmp_path,
        env={**os.environ, "PATH": "/nowhere", "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    one_line(said, "pip install 'goalfile[dev]'")


def test_a_second_dev_in_the_same_folder_is_one_clear_line(house: House) -> None:
    one_line(refused(house.folder), "another `goalfile dev` is running")
