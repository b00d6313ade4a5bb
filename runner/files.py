"""The only reader of the tasks folder: a complete scan, or an error.

A scan that cannot see everything says so instead of returning less, because what is missing from a
scan may be deleted from the server. It refuses to leave the folder.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from schemas.document import MAX_BYTES
from schemas.problem import Problem

MAX_FILES = 10_000
MAX_DEPTH = 8
_TASK_FILE = re.compile(r"[a-z0-9][a-z0-9._-]*\.ya?ml")


class SourceUnavailable(Exception):  # noqa: N818 - it reads as a state of the folder
    """The folder could not be read completely; nothing may be concluded from what is missing."""


class TaskFile(NamedTuple):
    """One file below the root: its path as people write it, and its bytes (one more than allowed at most)."""

    path: str
    raw: bytes


@dataclass(frozen=True)
class Scan:
    """Everything that the folder held at one moment, ordered by path."""

    root: Path
    files: tuple[TaskFile, ...]
    problems: tuple[Problem, ...] = ()


def scan(root: Path) -> Scan:
    """Read every task file below `root`. Raises SourceUnavailable if anything could not be read."""
    try:
        before = root.resolve(strict=True)
        if not before.is_dir():
            raise SourceUnavailable(f"{root} is not a folder")
        files: list[TaskFile] = []
        problems: list[Problem] = []
        for entry in _walk(before, before, 0):
            shown = str(root / entry.relative_to(before))
            if not _TASK_FILE.fullmatch(entry.name):
                message = f"`{entry.name}` is not a task file's name; this file is skipped"
                help_ = "use a-z, 0-9, '.', '_' and '-', and end in .yaml"
                problems.append(Problem(code="bad-file-name", message=message, file=shown, help=help_))
            else:
                files.append(TaskFile(shown, _read(entry, before)))
            if len(files) > MAX_FILES:
                raise SourceUnavailable(f"{root} holds more than {MAX_FILES:,} task files")
        if root.resolve(strict=True) != before:
            raise SourceUnavailable(f"{root} was swapped while it was read")
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{error.filename} is not there") from error
    except OSError as error:
        raise SourceUnavailable(f"{error.filename or root}: {error.strerror}") from error
    return Scan(root, tuple(files), tuple(problems))


def _walk(folder: Path, root: Path, depth: int) -> Iterator[Path]:
    if depth > MAX_DEPTH:
        raise SourceUnavailable(f"{folder} is more than {MAX_DEPTH} folders deep")
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith((".", "_")):
            continue  # no tasks; this also skips a ConfigMap mount's `..data`
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), root, depth + 1)
        elif entry.name.endswith((".yaml", ".yml")):
            yield Path(entry.path)


def _read(path: Path, root: Path) -> bytes:
    target = path.resolve(strict=True)
    if not target.is_relative_to(root):
        raise SourceUnavailable(f"{path} points out of the tasks folder")
    return read_file(target)


def read_file(path: Path) -> bytes:
    """At most one byte more than a task file may have. Raises OSError, also for what is no regular file."""
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(MAX_BYTES + 1)
