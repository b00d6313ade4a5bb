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
from pathlib import Path, PurePath
from typing import NamedTuple

from schemas.config import CONFIG_FILE
from schemas.document import MAX_BYTES
from schemas.load import DEFAULTS_FILE
from schemas.problem import Problem, clipped

MAX_FILES = 20_000
MAX_DEPTH = 8
_TASK_FILE = re.compile(r"[a-z0-9][a-z0-9._-]*\.ya?ml")


class SourceUnavailable(Exception):  # noqa: N818 - it reads as a state of the folder
    """The folder could not be read completely; nothing may be concluded from what is missing."""


class TaskFile(NamedTuple):
    """One file below the tasks folder, a `_defaults.yaml` included.

    Its path as people write it, its bytes (one more than allowed at most), its folder below the tasks
    folder ("" is that folder itself), and the tasks folder.
    """

    path: str
    raw: bytes
    folder: str = ""
    root: str = ""

    @property
    def is_defaults(self) -> bool:
        """True for what supplies defaults, and is no task."""
        return self.path.rpartition("/")[2] == DEFAULTS_FILE


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
        for folder, entry in _walk(str(before), "", 0):
            shown = os.path.join(root, folder, entry.name)  # noqa: PTH118 - ten thousand times a round
            if entry.name == DEFAULTS_FILE or _TASK_FILE.fullmatch(entry.name):
                files.append(TaskFile(shown, _read(entry, before), folder, str(before)))
            else:
                message = f"`{clipped(entry.name)}` is not a task file's name; this file is skipped"
                help_ = "use a-z, 0-9, '.', '_' and '-', and end in .yaml"
                if entry.name.startswith("_"):
                    help_ = f"what a folder's tasks share stands in {DEFAULTS_FILE}"
                problems.append(Problem(code="bad-file-name", message=message, file=shown, help=help_))
            if len(files) > MAX_FILES:
                raise SourceUnavailable(f"{root} holds more than {MAX_FILES:,} task files")
        if root.resolve(strict=True) != before:
            raise SourceUnavailable(f"{root} was swapped while it was read")
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{error.filename} is not there") from error
    except OSError as error:
        raise SourceUnavailable(f"{error.filename or root}: {error.strerror}") from error
    return Scan(root, tuple(files), tuple(problems))


def _walk(path: str, folder: str, depth: int) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file that looks like YAML, with its folder below the root."""
    if depth > MAX_DEPTH:
        raise SourceUnavailable(f"{path} is more than {MAX_DEPTH} folders deep")
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith(".") or (entry.name.startswith("_") and not entry.name.startswith("_defaults.")):
            continue  # no tasks; this also skips a ConfigMap mount's `..data`
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{folder}/{entry.name}" if folder else entry.name, depth + 1)
        elif entry.name.endswith((".yaml", ".yml")):
            yield folder, entry


def _read(entry: os.DirEntry[str], root: Path) -> bytes:
    if not entry.is_symlink():
        return _read_regular(entry.path, os.O_NOFOLLOW)
    target = Path(entry.path).resolve(strict=True)
    if not target.is_relative_to(root):
        raise SourceUnavailable(f"{entry.path} points out of the tasks folder")
    return read_file(target)


def read_file(path: Path) -> bytes:
    """At most one byte more than a task file may have. Raises OSError, also for what is no regular file."""
    return _read_regular(str(path))


def _read_regular(path: str, flags: int = 0) -> bytes:
    # O_NONBLOCK: opening a FIFO must not wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    with open(handle, "rb", buffering=0) as file:  # noqa: PTH123 - a handle, not a path
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return file.read(MAX_BYTES + 1)


def read_alone(path: Path) -> list[TaskFile]:
    """One task file and the `_defaults.yaml` files that apply to it, the outermost first. Raises OSError.

    The tasks folder is taken to be the outermost one below the folder that holds `.git` or the server's
    configuration; without either, below the folder we are in.
    """
    root = _root_of(path)
    below = _folder_of(path).relative_to(root)
    found: list[TaskFile] = []
    for folder in (*reversed(below.parents), below) if below.parts else (below,):
        defaults = _shown(root / folder / DEFAULTS_FILE, path)
        if path.name != DEFAULTS_FILE and defaults.is_file():
            found.append(TaskFile(str(defaults), read_file(defaults), _folder(folder / DEFAULTS_FILE), str(root)))
    return [*found, TaskFile(str(path), read_file(path), _folder(below / path.name), str(root))]


def _root_of(path: Path) -> Path:
    folder = _folder_of(path)
    line = (folder, *folder.parents)
    for mark in (".git", CONFIG_FILE):
        for above in line:
            if (above / mark).exists():
                return line[max(line.index(above) - 1, 0)]
    here = Path.cwd()
    return line[max(line.index(here) - 1, 0)] if here in line else folder


def _folder_of(path: Path) -> Path:
    """Where a file is; `..` is taken away by name, as the shell does it."""
    return Path(os.path.normpath(path.parent.absolute()))


def _shown(path: Path, beside: Path) -> Path:
    """A path as a person would write it who wrote `beside`."""
    return Path(os.path.relpath(path)) if not beside.is_absolute() else path


def _folder(below: PurePath) -> str:
    return "" if below.parent == PurePath() else str(below.parent)
