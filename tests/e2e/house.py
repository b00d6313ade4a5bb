"""A running `goalfile dev`, as a person has it in a terminal."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


class House:
    """`goalfile dev tasks/` in a folder of its own."""

    def __init__(self, folder: Path, *words: str, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.tasks = folder / "tasks"
        self.tasks.mkdir(exist_ok=True)
        self._screen = folder / "screen"
        self._env = {**os.environ, "GOALFILE_SCRIPTED_PAUSE": "0.3", **(env or {})}
        with self._screen.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "runner", "dev", "tasks/", *words],
                cwd=folder,
                env=self._env,
                stdout=out,
                stderr=out,
            )

    @property
    def screen(self) -> str:
        return self._screen.read_text()

    def sees(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait until the screen shows something."""
        until = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.screen, re.MULTILINE)
            if found:
                return found
            assert time.monotonic() < until, f"never saw {pattern!r}:\n{self.screen}"
            assert self.process.poll() is None, f"ended before {pattern!r}:\n{self.screen}"
            time.sleep(0.05)  # another process: nothing to wait on but its screen

    def up(self) -> "House":
        self.sees("Ctrl-C stops everything")
        return self

    def goalfile(self, *words: str, seconds: float = 90) -> subprocess.CompletedProcess[str]:
        """Another terminal in the same folder."""
        return subprocess.run(
            [sys.executable, "-m", "runner", *words],
            cwd=self.folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def addresses(self) -> dict[str, str]:
        return json.loads((self.folder / ".goalfile" / "dev.json").read_text())

    def worker(self) -> int:
        """The process id that the screen last named."""
        return int(re.findall(r"(?:worker +process|worker ended .* as process) (\d+)", self.screen)[-1])

    def journal(self) -> list[dict[str, Any]]:
        """Every call that the scripted toolkits carried out."""
        path = self.folder / ".goalfile" / "workspace" / "journal.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def children(self) -> list[int]:
        said = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(pid) for pid in said.stdout.split()]

    def stop(self) -> int:
        """Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
