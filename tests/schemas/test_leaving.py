"""A process that leaves says all it had to say, and its exit code is the one it meant."""

import subprocess
import sys

import pytest

ENDINGS = {
    "pass": (0, "said\n", ""),
    "return 3": (3, "said\n", ""),
    "sys.exit()": (0, "said\n", ""),
    "sys.exit(4)": (4, "said\n", ""),
    "raise KeyboardInterrupt": (130, "said\n", ""),
    "sys.exit('why')": (1, "said\n", "why\n"),
    "threading.Thread(target=threading.Event().wait).start()": (0, "said\n", ""),
    "atexit.register(print, 'and this')": (0, "said\nand this\n", ""),
}


def run(ending: str, **how: int) -> subprocess.CompletedProcess[str]:
    program = (
        "import atexit, sys, threading\n"
        "from schemas.leaving import leave\n"
        f"def work():\n    print('said')\n    {ending}\n"
        "leave(work)"
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.run([sys.executable, "-c", program], text=True, timeout=30, check=False, **streams)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_said_is_flushed_and_the_code_is_the_one_that_was_meant(ending: str) -> None:
    ended = run(ending)
    assert (ended.returncode, ended.stdout, ended.stderr) == ENDINGS[ending]


def test_an_accident_is_reported_as_python_reports_it() -> None:
    ended = run("raise RuntimeError('oh')")
    assert ended.returncode == 1
    assert ended.stderr.endswith("RuntimeError: oh\n")


def test_a_full_disk_is_no_success() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        assert run("pass", stdout=full.fileno()).returncode == 1


def test_a_program_without_an_output_leaves_too() -> None:
    command = ["sh", "-c", f"exec {sys.executable} -c 'from schemas.leaving import leave; leave(lambda: 7)' >&- 2>&-"]
    assert subprocess.run(command, timeout=30, check=False).returncode == 7
