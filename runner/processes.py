"""Child processes of `goalfile dev`: started, watched, restarted, and ended with it.

It ends only what it started. A child outlives its parent in no way: our own exit when their standard
input closes; the Temporal server is told by the kernel where the kernel can (Linux).
"""

import asyncio
import ctypes
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Child:
    """One process, with its output in a log file."""

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._argv = argv
        self._env = env
        self._process: Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.alive and self._process else None

    @property
    def alive(self) -> bool:
        """True while it runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, in a session of its own: a terminal's Ctrl-C reaches the parent alone."""
        # A first start begins a new log; a restart must not wipe away why it was needed.
        with self.log.open("wb" if self._process is None else "ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                env=dict(self._env),
                stdin=PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    async def keep_alive(self, tell: Callable[[str], None]) -> None:
        """Start it again whenever it ends, until `stop`."""
        quick = 0
        while self._process is not None:
            started = asyncio.get_running_loop().time()
            code = await self._process.wait()
            if self._stopping:
                return
            quick = quick + 1 if asyncio.get_running_loop().time() - started < 5 else 0
            how = signal.Signals(-code).name if code < 0 else f"exit {code}"
            # A child that cannot start must not keep a processor busy.
            await asyncio.sleep(min(2.0**quick - 1, 30))
            if self._stopping:
                return
            await self.start()
            log = f"; see {self.log}" if quick else ""
            tell(f"{self.name} ended ({how}) and was started again as process {self.pid}{log}")

    async def stop(self, grace: float) -> None:
        """Ask it to end; make it end after `grace` seconds."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def says(self, words: str, seconds: float) -> bool:
        """Wait until its log holds these words; False if it ends or the time is up first.

        Its own log and not, say, an answer on its port: somebody else could answer there.
        """
        for _ in range(int(seconds / 0.05)):
            if words in self.log.read_text(errors="replace"):
                return True
            if not self.alive:
                return False
            await asyncio.sleep(0.05)
        return False

    def last_words(self) -> str:
        """The last line of its log, for an error message."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
