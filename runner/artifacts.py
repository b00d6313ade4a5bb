"""The full text of results that were too long for a run's history, one file each.

Kept where the worker's owner says, or nowhere. Sealed with the same keys as histories, where there are any.
"""

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from schemas.sealing import Keyring


@dataclass(frozen=True)
class Artifacts:
    """A folder of texts: `RUN/CALL.txt`, or `RUN/CALL.sealed` where there are keys: the key's id in its first line."""

    folder: Path
    keys: Keyring | None = None

    async def keep(self, run: str, call: str, text: str) -> str:
        """Keep one text; returns its name, or nothing if it could not be kept (a full disk fails no run)."""
        return await asyncio.to_thread(self._keep, run, call, text)

    def _keep(self, run: str, call: str, text: str) -> str:
        data = text.encode(errors="replace")
        name = f"{_safe(run)}/{_safe(call)}"
        try:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = f"{name}.sealed" if self.keys else f"{name}.txt"
            if self.keys:
                key, sealed = self.keys.seal(data, file_bound(name))
                data = key.encode() + b"\n" + sealed
            (self.folder / file).write_bytes(data)
        except OSError:
            return ""
        return file

    def read(self, name: str) -> str:
        """A kept text. Raises OSError if it is not here, and `schemas.sealing.CannotOpen`."""
        run, _, file = name.partition("/")
        call, _, kind = file.rpartition(".")
        run, call = _safe(run), _safe(call)
        data = (self.folder / run / f"{call}.{_safe(kind)}").read_bytes()
        if kind != "sealed":
            return data.decode()
        if self.keys is None:
            raise OSError("it is sealed, and no keys are configured")
        key, _, sealed = data.partition(b"\n")
        return self.keys.open(key.decode(errors="replace"), sealed, file_bound(f"{run}/{call}")).decode()


def file_bound(name: str) -> bytes:
    """What a sealed text is bound to: it opens under its own name only."""
    return f"artifact {name}".encode()


def _safe(part: str) -> str:
    """A part of a path that cannot leave its folder."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", part).lstrip(".")[:150] or "_"
