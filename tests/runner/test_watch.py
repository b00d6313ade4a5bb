"""When to look again: six ways in which a folder changes, each twice, listened to and looked at."""

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runner.files import scan
from runner.watch import _look, _spot, changes, is_blind

pytestmark = pytest.mark.slow  # each waits for the quiet after two changes

STILL = 1.7
"""Seconds in which everything late of one change is told: a check every second, half a second of quiet."""
ROOT = Path(__file__).parents[2]
Change = Callable[[], object]


class Hints:
    """The hints so far, counted by a task of its own, as sync has it."""

    def __init__(self, root: Path, *, polling: bool | None) -> None:
        self.count = 0
        self._more = asyncio.Event()
        self._task = asyncio.create_task(self._listen(root, polling))

    async def _listen(self, root: Path, polling: bool | None) -> None:
        async for _ in changes(root, polling=polling):
            self.count += 1
            self._more.set()

    async def one(self, within: float = 10) -> bool:
        """Whether another hint comes in time."""
        done, _ = await asyncio.wait(
            {self._task, more := asyncio.ensure_future(self._more.wait())},
            timeout=within,
            return_when=asyncio.FIRST_COMPLETED,
        )
        more.cancel()
        if self._task in done:
            self._task.result()
        came = self._more.is_set()
        self._more.clear()
        return came

    async def still(self) -> None:
        """Wait until nothing more is told, so that the next hint is for what happens next."""
        while await self.one(STILL):
            pass

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def hints(root: Path, *, polling: bool | None = None) -> AsyncIterator[Hints]:
    told = Hints(root, polling=polling)
    try:
        assert await told.one(), "it did not begin"
        yield told
    finally:
        await told.stop()


async def notices(root: Path, *steps: Change, polling: bool | None) -> None:
    async with hints(root, polling=polling) as told:
        for number, change in enumerate(steps, 1):
            change()
            assert await told.one(), f"change {number} was not noticed"
            if number < len(steps):
                await told.still()


def inotify_handles() -> int:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - they come and go
    return sum(os.path.lexists(link) and "inotify" in str(link.readlink()) for link in links)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)  # a thread of the watcher's closes it: nothing to wait on


both = pytest.mark.parametrize("polling", [None, True], ids=["automatic", "polling"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tasks" / "team").mkdir(parents=True)
    (tmp_path / "tasks" / "a.yaml").write_text("0")
    (tmp_path / "tasks" / "team" / "b.yaml").write_text("0")
    return tmp_path / "tasks"


# Six layouts


@both
async def test_an_edit(root: Path, polling: bool | None) -> None:
    file = root / "team" / "b.yaml"
    await notices(root, lambda: file.write_text("1"), lambda: file.write_text("2"), polling=polling)


@both
async def test_a_file_renamed_over_another_with_its_time_and_size(root: Path, polling: bool | None) -> None:
    def replace(text: str) -> None:
        told = (root / "a.yaml").stat()
        new = root.parent / "new"
        new.write_text(text)
        os.utime(new, ns=(told.st_atime_ns, told.st_mtime_ns))
        new.replace(root / "a.yaml")

    await notices(root, lambda: replace("1"), lambda: replace("2"), polling=polling)


@both
async def test_a_config_map_swap(tmp_path: Path, polling: bool | None) -> None:
    def swap(number: int) -> None:
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "a.yaml").write_text(str(number))
        (tmp_path / "..data_tmp").symlink_to(f"..{number}")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        shutil.rmtree(tmp_path / f"..{number - 1}", ignore_errors=True)

    swap(0)
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    await notices(tmp_path, lambda: swap(1), lambda: swap(2), polling=polling)


@pytest.mark.parametrize("stays", [False, True], ids=["removed", "kept"])
@pytest.mark.parametrize("polling", [None, True, False], ids=["automatic", "polling", "listening"])
async def test_a_git_sync_swap(tmp_path: Path, polling: bool | None, stays: bool) -> None:
    def swap(number: int) -> None:
        (tmp_path / "trees" / str(number) / "tasks").mkdir(parents=True)
        (tmp_path / "trees" / str(number) / "tasks" / "a.yaml").write_text(str(number))
        (tmp_path / "new").symlink_to(f"trees/{number}")
        (tmp_path / "new").replace(tmp_path / "link")
        if not stays:  # git-sync may keep the old tree for a while
            shutil.rmtree(tmp_path / "trees" / str(number - 1), ignore_errors=True)

    swap(0)
    await notices(tmp_path / "link" / "tasks", lambda: swap(1), lambda: swap(2), polling=polling)


@both
async def test_the_folder_is_removed_and_made_again(root: Path, polling: bool | None) -> None:
    def again() -> None:
        root.mkdir()
        (root / "a.yaml").write_text("1")

    edit = lambda: (root / "a.yaml").write_text("2")  # noqa: E731 - as its neighbours
    await notices(root, lambda: shutil.rmtree(root), again, edit, polling=polling)


@both
async def test_the_folder_is_made_again_at_once_with_the_same_inode(root: Path, polling: bool | None) -> None:
    def again() -> None:
        shutil.rmtree(root)
        root.mkdir()

    await notices(root, again, lambda: (root / "a.yaml").write_text("2"), polling=polling)


@both
async def test_another_folder_takes_its_place(root: Path, polling: bool | None) -> None:
    def swap() -> None:
        root.rename(root.parent / "old")
        root.mkdir()

    await notices(root, swap, lambda: (root / "a.yaml").write_text("2"), polling=polling)


MOUNTS = """
import asyncio, subprocess
from pathlib import Path
from tests.runner.test_watch import notices
root = Path({root!r})
def mount():
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", {over!r}], check=True)
edit = lambda text: lambda: Path({over!r}, "b.yaml").write_text(text)
unmount = lambda: subprocess.run(["umount", "--lazy", {over!r}], check=True)
asyncio.run(notices(root, mount, edit("1"), unmount, polling={polling}))
"""


def isolated(*why: str) -> list[str]:
    """The words that run something in a namespace of its own; the test is skipped where that is not allowed."""
    words = ["unshare", *why, *([] if os.geteuid() == 0 else ["--map-root-user"])]
    tried = shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True, check=False)
    if not tried or tried.returncode:
        pytest.skip(f"`{' '.join(words)}` is not allowed here")
    return words


@pytest.mark.parametrize(
    ("below", "polling"), [("", None), ("", True), ("team", None)], ids=["automatic", "polling", "in it"]
)
def test_a_mount_over_the_folder_or_in_it(root: Path, below: str, polling: bool | None) -> None:
    code = MOUNTS.format(root=str(root), over=str(root / below), polling=polling)
    argv = [*isolated("--mount"), sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What is no change, and what is many


@both
async def test_quiet_gives_no_hint_nor_does_a_scan(root: Path, polling: bool | None) -> None:
    async with hints(root, polling=polling) as told:
        assert not await told.one(1.5)
        for _ in range(20):
            scan(root)
        assert not await told.one(1.5)


@both
async def test_what_git_does_for_itself_gives_no_hint(root: Path, polling: bool | None) -> None:
    (root / ".git").mkdir()
    async with hints(root, polling=polling) as told:
        (root / ".git" / "index.lock").write_text("")
        (root / ".git" / "index.lock").rename(root / ".git" / "index")
        assert not await told.one(1.5)
        (root / "git.yaml").write_text("")
        assert await told.one()


@both
async def test_a_burst_gives_few_hints_and_one_after_its_end(root: Path, polling: bool | None) -> None:
    async with hints(root, polling=polling) as told:
        for number in range(200):
            (root / f"{number}.yaml").write_text("1")
            await asyncio.sleep(0.005)  # an editor's or a checkout's pace
        assert await told.one()
        await told.still()
        assert told.count <= 4  # the first is for the beginning


@both
async def test_a_burst_without_an_end_is_told_after_ten_seconds(root: Path, polling: bool | None) -> None:
    async with hints(root, polling=polling) as told:

        async def write() -> None:
            for number in itertools.count():
                (root / f"{number}.yaml").write_text("1")
                await asyncio.sleep(0.05)

        writing = asyncio.create_task(write())
        try:
            assert not await told.one(9)
            assert await told.one(2)
        finally:
            writing.cancel()


# What goes wrong


@both
async def test_a_folder_that_is_not_there_yet_is_awaited(tmp_path: Path, polling: bool | None) -> None:
    root = tmp_path / "later" / "tasks"
    edit = lambda text: lambda: (root / "a.yaml").write_text(text)  # noqa: E731 - as its neighbours
    await notices(root, lambda: root.mkdir(parents=True), edit("1"), polling=polling)


NO_WATCHES = """
import asyncio, ctypes
from pathlib import Path
from tests.runner.test_watch import hints
Path("/proc/sys/user/max_inotify_instances").write_text("0")
assert ctypes.CDLL(None).inotify_init() == -1
async def main():
    async with hints(Path({root!r}), polling=False) as told:
        for text in "12":
            await told.still()
            Path({root!r}, "a.yaml").write_text(text)
            assert await told.one(4)
asyncio.run(main())
"""


def test_where_the_kernel_has_no_watch_left_it_looks_for_itself(root: Path) -> None:
    words = isolated("--user", *(["--map-root-user"] if os.geteuid() == 0 else []))
    argv = [*words, sys.executable, "-c", NO_WATCHES.format(root=str(root))]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux tells which handles are open")
async def test_it_listens_where_it_can_and_lets_go_of_everything(root: Path) -> None:
    before = inotify_handles()
    async with hints(root) as told:
        assert inotify_handles() == before + 1
        shutil.rmtree(root)
        root.mkdir()
        assert await told.one()
        await told.still()
        await until(lambda: inotify_handles() == before + 1)
    await until(lambda: inotify_handles() == before)
    async with hints(root, polling=True):
        assert inotify_handles() == before
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left


def test_a_look_sees_two_edits_in_one_second_and_an_edit_that_keeps_size_and_time(root: Path) -> None:
    numbers = {_look(str(root))}
    for text, time in (("1", 5_000_000_001), ("2", 5_000_000_002), ("3", 5_000_000_002)):
        (root / "a.yaml").write_text(text)
        os.utime(root / "a.yaml", ns=(time, time))
        numbers.add(_look(str(root)))
    assert len(numbers) == 4
    assert _look(str(root)) in numbers


# Where to listen, and where to look

MOUNTINFO = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
40 27 0:40 / /data rw - nfs4 server:/data rw,vers=4.2
41 40 254:1 / /data/local rw - xfs /dev/vdb rw
42 27 0:42 / /my\040share rw master:3 - cifs //host/share rw
43 27 0:43 / /s3 rw - fuse.s3fs s3fs rw
44 27 0:44 / /home/me/tasks rw - ext4 /dev/vdc rw
45 27 0:45 / /srv rw - ext4 /dev/vdd rw
46 45 0:46 / /srv rw - 9p host rw
47 27 0:47 / /back rw - 9p host rw
48 47 0:48 / /back rw - ext4 /dev/vde rw
damaged
49 27 -
"""


@pytest.mark.parametrize(
    ("target", "blind"),
    [
        ("/opt/tasks", False),
        ("/", True),  # something is mounted in it
        ("/data/tasks", True),
        ("/data/local/tasks", False),
        ("/datastore/tasks", False),
        ("/my share/tasks", True),
        ("/s3/tasks", True),
        ("/home/me/tasks", True),  # it is a mount: it may be unmounted
        ("/home/me", True),
        ("/home/me/tasks/team", False),
        ("/home/me/tasks2", False),
        ("/srv/tasks", True),  # the later mount covers the earlier
        ("/back/tasks", False),
    ],
)
def test_what_the_mounts_say(target: str, blind: bool) -> None:
    assert is_blind(MOUNTINFO, target, linked=False, config_map=False) is blind


def test_without_mounts_links_and_config_maps_decide() -> None:
    assert not is_blind("", "/tasks", linked=False, config_map=False)
    assert is_blind("", "/tasks", linked=True, config_map=False)
    assert is_blind("", "/tasks", linked=False, config_map=True)


def test_what_the_folder_says(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _spot(root).blind
    assert not _spot(root / ".." / "tasks").blind
    monkeypatch.chdir(root)
    assert not _spot(Path()).blind
    assert _spot(root / "gone").blind
    (root.parent / "link").symlink_to("tasks")
    assert _spot(root.parent / "link").blind
    assert _spot(root.parent / "link" / "team").blind
    (root / "..data").symlink_to("team")
    assert _spot(root).blind
