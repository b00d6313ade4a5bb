"""Says when to look again at the tasks folder: a hint, never the truth.

Listens to the kernel where that tells everything, and looks for itself where it does not: behind links,
in ConfigMaps, at mounts and on network file systems. It does not say what changed, it may say so for
nothing, and it never fails for the folder's sake: one that is gone is watched until it is back.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType]

QUIET = 0.5  # seconds without a change that end a burst of them
AT_MOST = 10.0  # from a burst's first change to its hint, if it does not end
AGAIN = 1.0  # between two checks that what is listened to is still the folder
LOOK_EVERY = 0.3  # more in a large folder, where looking may cost a twentieth of a core
_MOUNTS = Path("/proc/self/mountinfo")  # Linux only
_REMOTE = re.compile(r"9p|afs|autofs|beegfs|ceph|cifs|coda|fuse.*|gpfs|lustre|nfs4?|smb3|smbfs|vboxsf|virtiofs")


class _Spot(NamedTuple):
    """What the folder is just now; without a target, it is not there."""

    target: str = ""
    identity: tuple[int, ...] = ()
    blind: bool = True


async def changes(root: Path, *, polling: bool | None = None) -> AsyncGenerator[None]:
    """Yield once the watch stands, and then after every burst of changes below `root`, for ever.

    Who looks at the folder after each misses nothing that can be seen. `polling` overrides what `is_blind` says.
    """
    told = asyncio.Event()
    watching = asyncio.create_task(_watch(root, told, polling=polling))
    watching.add_done_callback(lambda _: told.set())
    try:
        patience = 0.0  # the first hint comes at once
        while True:
            await told.wait()
            until = time.monotonic() + patience
            while told.is_set() and not watching.done() and (left := until - time.monotonic()) > 0:
                told.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), min(QUIET, left))
            if watching.done():
                await watching  # only a mistake of ours ends it; here it comes to light
            told.clear()
            yield
            patience = AT_MOST
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def is_blind(mounts: str, target: str, *, linked: bool, config_map: bool) -> bool:
    """Whether the kernel may not tell of every change below a folder, from the text of /proc/self/mountinfo."""
    # inotify follows what a folder is, not its path: a swapped link, a mount over it or in it, other machines.
    nearest, kind, inside = "", "", target.rstrip("/") + "/"
    for line in mounts.splitlines():
        where, _, what = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), f"{where}     ".split(" ")[4]).rstrip("/")
        if what and f"{point}/".startswith(inside) and point:
            return True
        if what and inside.startswith(f"{point}/") and len(point) >= len(nearest):
            nearest, kind = point, what.partition(" ")[0]  # of two at one place, the later covers the other
    return linked or config_map or _REMOTE.fullmatch(kind) is not None


def _spot(root: Path) -> _Spot:
    try:
        mounts = os.fsdecode(_MOUNTS.read_bytes()) if _MOUNTS.exists() else ""
        target = os.path.realpath(root, strict=True)
        linked = target != os.path.abspath(root)  # noqa: PTH100 - takes `..` away, which is no link
        blind = is_blind(mounts, target, linked=linked, config_map=Path(target, "..data").is_symlink())
        identity = Path(target).stat()[:3]  # mode, inode, device
    except OSError:
        return _Spot()
    return _Spot(target, identity, blind)


async def _watch(root: Path, told: asyncio.Event, *, polling: bool | None) -> None:
    """Set `told` when the watch stands, and when anything may have changed."""
    deaf, seen = _Spot(), None  # where the kernel refused, as its watches are limited; what was looked at
    while True:
        begun = time.monotonic()
        here = await asyncio.to_thread(_spot, root)
        if here.target and here != deaf and not (here.blind if polling is None else polling):
            deaf, seen = (_Spot() if await _listen(root, here, told) else here), None
            told.set()
            continue
        now = (here, await asyncio.to_thread(_look, here.target))
        if now != seen:
            told.set()
        seen = now
        await asyncio.sleep(max(LOOK_EVERY, 20 * (time.monotonic() - begun)))


def _look(target: str) -> int:
    """A number made of what is below a folder; the same while nothing changes."""
    # The watcher's own polling compares whole seconds, and misses the second of two quick edits.
    number, folders = 0, [target]
    while folders:
        folder = folders.pop()
        with suppress(OSError), os.scandir(folder) as found:
            for entry in found:
                if entry.name != ".git":
                    told = entry.stat(follow_symlinks=False)  # what a link leads to is seen as well
                    number ^= hash((entry.path, told.st_mode, told.st_size, told.st_mtime_ns, told.st_ctime_ns))
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return number


async def _listen(root: Path, here: _Spot, told: asyncio.Event) -> bool:
    """Listen until the folder is another or gone. False if the kernel would not tell."""
    stop = asyncio.Event()
    hearing = asyncio.create_task(_hear(here.target, told, stop))
    try:
        await asyncio.sleep(0)  # it runs to its first wait, and by then its watch stands
        told.set()
        while not hearing.done() and await asyncio.to_thread(_spot, root) == here:
            await asyncio.wait({hearing}, timeout=AGAIN)
    finally:
        stop.set()
        [refused] = await asyncio.gather(hearing, return_exceptions=True)
    return refused is None


async def _hear(target: str, told: asyncio.Event, stop: asyncio.Event) -> None:
    def ours(_: Change, path: str) -> bool:  # the watcher's own filter hides names that may be a task's
        return "/.git/" not in f"{path[len(target) :]}/"

    async for found in awatch(
        target, watch_filter=ours, stop_event=stop, debounce=200, force_polling=False, ignore_permission_denied=True
    ):
        told.set()
        if (Change.deleted, target) in found:
            stop.set()  # what is made in its place has its name and often its inode, and is not heard
