"""The process in which Apprise sends one notice and ends: `python -m runner.adapters.apprise_alone`.

Apprise resolves names by itself, may follow redirects, and brings two hundred senders. So it runs where an
audit hook of Python judges each address in the moment of connecting, for every sender and every thread:
no second answer of a name server gets past it. Refused are addresses that are not allowed, sockets of this
machine, and other programs. A sender that connects by a name, without resolving it first, is refused as well.

It reads one order as JSON: `{url, title, body, kind, hosts}`, `hosts` being what may be reached although it
is not public. It answers with one `Answer` as JSON, which holds nothing of the URL, and logs nothing.
"""

import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable
from typing import Any, TypedDict, cast

from runner.adapters.public_address import Reach

_PROGRAMS = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
_SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class Answer(TypedDict):
    """What came of it. `why`: "" or `missing`, `url`, `local`, `private`. `status`: the last HTTP status, or 0."""

    ok: bool
    why: str
    status: int


class _Statuses(logging.Handler):
    """Takes the HTTP status, and nothing else, out of what Apprise would log of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Senders log `error=404`."""
        if found := re.search(r"error=([1-5]\d\d)\b", record.getMessage()):
            self.last = int(found[1])


def guard(reach: Reach) -> Callable[[], bool]:
    """Let this process connect only to what is allowed, for ever. The answer tells whether it tried to elsewhere."""
    refused: list[str] = []

    def judge(event: str, args: tuple[Any, ...]) -> None:
        if event in _PROGRAMS:
            raise PermissionError("no programs here")
        if event in _SENDS and not _is_allowed(args[1], reach):
            refused.append(event)
            raise PermissionError("this address is not public")

    sys.addaudithook(judge)
    return lambda: bool(refused)


def _is_allowed(address: Any, reach: Reach) -> bool:
    if address is None:  # it is connected, and was judged then
        return True
    return isinstance(address, tuple) and reach.allows(str(cast("tuple[Any, ...]", address)[0]))


def send(order: dict[str, Any]) -> Answer:
    """Send it. The process is of no other use afterwards."""
    has_strayed = guard(Reach.of(order["hosts"]))
    logger, statuses = logging.getLogger("apprise"), _Statuses()
    logger.addHandler(statuses)
    logger.propagate = False
    try:
        apprise: Any = importlib.import_module("apprise")
    except ImportError:
        return Answer(ok=False, why="missing", status=0)
    # In memory: nothing is kept on disk. One try is one try, for Temporal repeats it.
    asset = apprise.AppriseAsset(
        async_mode=False,
        default_service_retry=0,
        http_redirects=False,
        interpret_emojis=False,
        pem_autogen=False,
        pgp_autogen=False,
        secure_logging=True,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    sender = apprise.Apprise.instantiate(order["url"], asset=asset)
    if not isinstance(sender, apprise.NotifyBase):
        return Answer(ok=False, why="url", status=0)
    if sender.category != "native" or "{schema}://" in sender.templates:  # needs no target: it is this machine
        return Answer(ok=False, why="local", status=0)
    sender.redirects, sender.retry = False, 0  # whatever its URL asks for
    if sender.overflow_mode == apprise.OverflowMode.UPSTREAM:  # which is to have it refused
        sender.overflow_mode = apprise.OverflowMode.TRUNCATE
    one = apprise.Apprise(sender, asset=asset)
    kind = apprise.NotifyType(order["kind"])
    text = apprise.NotifyFormat.TEXT
    ok = bool(one.notify(body=order["body"], title=order["title"], notify_type=kind, body_format=text))
    return Answer(ok=ok, why="private" if has_strayed() and not ok else "", status=statuses.last)


def main() -> None:
    """One order in, one answer out. Standard output is ours alone: what a sender prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with answers:
        json.dump(send(json.load(sys.stdin)), answers)


if __name__ == "__main__":
    main()
