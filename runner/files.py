"""The only reader of the tasks folder: a complete scan, or an error.

A scan that cannot see everything says so instead of returning less, because what is missing from a
scan may be deleted from the server. The folder is listed twice, and read in between through the folders
once opened, so what moves meanwhile is noticed. It refuses to leave the folder, and to open a device.
"""

import errno
import os
import re
import stat
from collections.abc import Generator
from contextlib import closing
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
_YAML = (".yaml", ".yml")
_HIDDEN = (".", "_")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # opening a FIFO must not wait for a writer
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
    revision: str = ""
    """What the folder's source calls this state: a commit, or a git-sync or ConfigMap folder; "" if it has no word."""


class _Entry(NamedTuple):
    """What a folder holds of ours; `leads` is where a link leads to, below the root."""

    name: str
    is_folder: bool = False
    leads: str = ""


class _Listed(NamedTuple):
    """One folder: how people write it (with a slash), its name below the root, and what it holds."""

    shown: str
    folder: str
    entries: list[_Entry]


def scan(root: Path) -> Scan:
    """Read every task file below `root`. Raises SourceUnavailable if anything could not be read."""
    try:
        base = os.path.realpath(root, strict=True)
        if not Path(base).is_dir():
            raise SourceUnavailable(f"{root} is not a folder")
        revision = _revision(root, base)
        top = os.open(base, _FOLDER)
        try:
            files, problems = _read_below(root, base, top)
            # A link that leads elsewhere by now, a folder put in its place, a mount over it, a checkout in it.
            same = os.path.samestat(os.fstat(top), root.stat()) and os.path.realpath(root, strict=True) == base
        finally:
            os.close(top)
        if not same or _revision(root, base) != revision:
            raise SourceUnavailable(f"{root} was swapped while it was read")
    except FileNotFoundError as error:
        raise SourceUnavailable(f"{error.filename} is not there") from error
    except OSError as error:
        where = root if isinstance(error.filename, int | None) else error.filename  # or a folder's handle
        raise SourceUnavailable(f"{where}: {error.strerror}") from error
    return Scan(root, tuple(files), tuple(problems), revision)


def _read_below(root: Path, base: str, top: int) -> tuple[list[TaskFile], list[Problem]]:
    files: list[TaskFile] = []
    problems: list[Problem] = []
    before = [listed for _, listed in _walk(root, base, top)]
    after: list[_Listed] = []
    with closing(_walk(root, base, top)) as folders:
        for handle, listed in folders:
            after.append(listed)
            for name, is_folder, leads in listed.entries:
                shown = listed.shown + name
                if is_folder:
                    continue
                if name == DEFAULTS_FILE or _TASK_FILE.fullmatch(name):
                    opened = _open_below(top, leads, shown, _FILE) if leads else _open(name, handle, shown, _FILE)
                    files.append(TaskFile(shown, _read_and_close(opened, shown), listed.folder, base))
                else:
                    problems.append(_bad_name(name, listed.shown))
    # What moves from a folder still unread into one already read would be in neither: it changes two lists.
    if before != after:
        raise SourceUnavailable(f"{root} was changed while it was read")
    return sorted(files), problems


def _walk(root: Path, base: str, top: int) -> Generator[tuple[int, _Listed]]:
    """Every folder, opened, the outer before the inner; through no link that was not looked at."""
    count = 0

    def below(handle: int, folder: str, depth: int) -> Generator[tuple[int, _Listed]]:
        nonlocal count
        shown = os.path.join(root, _printable(folder), "")  # noqa: PTH118 - ends in a slash
        if depth > MAX_DEPTH:
            raise SourceUnavailable(f"{shown} is more than {MAX_DEPTH} folders deep")
        with os.scandir(handle) as found:
            entries = sorted(each for entry in found if (each := _entry(entry, base, folder, shown)))
        count += len(entries)
        if count > MAX_FILES:
            raise SourceUnavailable(f"{root} holds more than {MAX_FILES:,} task files and folders")
        yield handle, _Listed(shown, _printable(folder), entries)
        for name, is_folder, leads in entries:
            if is_folder:
                path = shown + _printable(name)
                inner = _open_below(top, leads, path, _FOLDER) if leads else _open(name, handle, path, _FOLDER)
                try:
                    yield from below(inner, f"{folder}/{name}" if folder else name, depth + 1)
                finally:
                    os.close(inner)

    return below(top, "", 0)


def _entry(entry: os.DirEntry[str], base: str, folder: str, shown: str) -> _Entry | None:
    """What an entry is to us; None for what is no folder of tasks and does not look like YAML."""
    name = entry.name
    if name.startswith(".") or (name.startswith("_") and not name.startswith("_defaults.")):
        return None  # no tasks; this also skips a ConfigMap mount's `..data`
    if entry.is_dir(follow_symlinks=False):
        return _Entry(name, is_folder=True)
    if entry.is_symlink():
        return _link(name, base, folder, shown)
    if not name.endswith(_YAML):
        return None
    if _TASK_FILE.fullmatch(name) and not entry.is_file(follow_symlinks=False):
        _refuse(entry.stat(follow_symlinks=False).st_mode, shown + name)
    return _Entry(name)


def _link(name: str, base: str, folder: str, shown: str) -> _Entry | None:
    try:
        target = os.path.realpath(os.path.join(base, folder, name))  # noqa: PTH118 - a ConfigMap is all links
    except OSError as error:  # a link that leads nowhere is none
        raise SourceUnavailable(f"{shown}{_printable(name)} was swapped while it was read") from error
    inside = os.path.commonpath((base, target)) == base
    leads = os.path.relpath(target, base)
    hidden = inside and leads != "." and any(part.startswith(_HIDDEN) for part in leads.split("/"))
    try:
        mode = os.stat(target).st_mode  # noqa: PTH116 - as above
    except OSError as error:
        if hidden:  # it may have been a folder of tasks, which are seen through this link only
            raise SourceUnavailable(f"{shown}{_printable(name)} leads nowhere") from error
        mode = stat.S_IFREG  # if that matters, it fails as a file
    is_folder = stat.S_ISDIR(mode)
    if not is_folder and not _TASK_FILE.fullmatch(name) and name != DEFAULTS_FILE:
        return _Entry(name) if name.endswith(_YAML) else None
    if not inside:
        raise SourceUnavailable(f"{shown}{_printable(name)} points out of the tasks folder")
    if is_folder and not hidden:
        return None  # what it leads to is seen in its own place
    if not is_folder:
        _refuse(mode, shown + name)
    return _Entry(name, is_folder, leads)


def _refuse(mode: int, shown: str) -> None:
    """Say what is no file before it is opened: opening a device may do something."""
    if not stat.S_ISREG(mode):
        raise SourceUnavailable(f"{shown} is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, no file")


def _bad_name(name: str, folder: str) -> Problem:
    message = f"`{clipped(name)}` is not a task file's name; this file is skipped"
    help_ = "use a-z, 0-9, '.', '_' and '-', and end in .yaml"
    if name.startswith("_"):
        help_ = f"what a folder's tasks share stands in {DEFAULTS_FILE}"
    return Problem(code="bad-file-name", message=message, file=folder + _printable(name), help=help_)


def _printable(name: str) -> str:
    """A name from the disk as text that can be shown: bytes that are no text, and what drives a terminal, marked."""
    return name if name.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in name)


def _open(name: str, folder: int, shown: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):  # it was a file or a folder when it was listed
            raise SourceUnavailable(f"{shown} was swapped while it was read") from error
        raise OSError(error.errno, error.strerror, shown) from error


def _open_below(top: int, path: str, shown: str, flags: int) -> int:
    """Open where a link leads, folder by folder: once it was resolved, no part of its path may be a link."""
    *folders, name = path.split("/")
    handle = os.dup(top)
    try:
        for folder in folders:
            inner = _open(folder, handle, shown, _FOLDER)
            os.close(handle)
            handle = inner
        return _open(name, handle, shown, flags)
    finally:
        os.close(handle)


def read_file(path: Path) -> bytes:
    """At most one byte more than a task file may have. Raises OSError, also for what is no regular file."""
    return _read_and_close(os.open(path, os.O_RDONLY | os.O_NONBLOCK), str(path))


def _read_and_close(handle: int, shown: str, most: int = MAX_BYTES + 1) -> bytes:
    try:
        return _read(handle, most)
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown) from error
    finally:
        os.close(handle)


def _read(handle: int, most: int) -> bytes:
    told = os.fstat(handle)
    if not stat.S_ISREG(told.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    raw = os.read(handle, most)
    while len(raw) < min(told.st_size, most):  # a network file system may give less than was asked for
        more = os.read(handle, most - len(raw))
        if not more:
            break
        raw += more
    return raw


def _revision(root: Path, base: str) -> str:
    """What the source calls its present state; a guess at most, so no error is one."""
    try:
        if (data := Path(base, "..data")).is_symlink():
            return _printable(data.readlink().name)
        checkout = next((each for each in (Path(base), *Path(base).parents) if (each / ".git").exists()), None)
        if checkout is not None:
            return _head(checkout / ".git")
        way = root.absolute()
        link = next((each for each in (way, *way.parents) if each.is_symlink()), None)
        return _printable(Path(os.path.realpath(link)).name) if link else ""
    except (OSError, ValueError):
        return ""


def _head(git: Path) -> str:
    """The commit that is checked out, read as git keeps it; nothing that is no commit is ever returned."""

    def line(path: Path) -> str:
        return read_file(path).decode().strip()

    if git.is_file():  # a worktree, or a submodule
        git = git.parent / line(git).removeprefix("gitdir: ")
    head = line(git / "HEAD")
    shared = git / line(git / "commondir") if (git / "commondir").is_file() else git
    if head.startswith("ref: refs/") and ".." not in head:
        ref = head.removeprefix("ref: ")
        if (shared / ref).is_file():
            head = line(shared / ref)
        else:
            packed = _read_and_close(os.open(shared / "packed-refs", os.O_RDONLY | os.O_NONBLOCK), "", 2**24).decode()
            head = next((each.partition(" ")[0] for each in packed.splitlines() if each.endswith(f" {ref}")), "")
    return head if _COMMIT.fullmatch(head) else ""


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
