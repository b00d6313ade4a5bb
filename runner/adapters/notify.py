"""Channels: the names under which a server's configuration knows the people to tell.

A channel is a signed webhook, or a URL of Apprise. It refuses hosts that are not public unless the server's
owner names them, redirects, attachments, and senders that touch this machine. No message, repr or log of it
holds a URL or a secret. It does not retry: Temporal does. Where a URL of Apprise has several targets, a try
that reached only some of them is a failed one, and the next reaches those again.
"""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import notices
from runner.adapters.public_address import NOT_PUBLIC, Reach, Resolve, resolve_by_system
from runner.ports import PermanentError, TransientError
from schemas.run import Notice, NoticeKind

if TYPE_CHECKING:
    from runner.adapters.webhook import Webhooks

_KINDS: dict[NoticeKind, str] = {"run.succeeded": "success", "run.recovered": "success", "run.failed": "failure"}
_ALONE = "runner.adapters.apprise_alone"
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONHOME")
_AT_ONCE = 4
"""Processes of Apprise: each is half a second of CPU before it sends."""
_WAIT = 8.0
_TIMES = 4
"""Apprise has four times as long as a webhook: it pauses between targets."""

_WHY = {
    "missing": "Apprise is not installed: pip install 'goalfile[worker]'",
    "url": "Apprise cannot use its URL: see the documentation of its service there",
    "local": "its service is this machine itself, which nobody is told by",
    "private": NOT_PUBLIC,
}


@dataclass(frozen=True)
class Channel:
    """One target, with its secrets in clear: `apprise`, or `webhook` and the `secret` that signs."""

    apprise: str | None = field(default=None, repr=False)
    webhook: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)


class Channels:
    """Tells channels by name.

    `private_hosts` are names and networks that may be reached although they are not public; `timeout` is
    seconds for one notice; `resolve` turns the names of hosts into addresses, for both kinds of channel.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        private_hosts: Sequence[str] = (),
        timeout: float = 10,
        resolve: Resolve = resolve_by_system,
    ) -> None:
        self._channels = dict(channels)
        self._reach = Reach.of(private_hosts)
        self._timeout = timeout
        self._resolve = resolve
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def send(self, channel: str, notice: Notice) -> None:
        """Tell one channel, once. Raises PermanentError or TransientError."""
        target = _named(channel, self._channels)
        if target.webhook and target.secret:
            data = notices.payload(notice)
            await self._webhooks.post(channel, target.webhook, target.secret, notice.id, data)
        elif target.apprise and not target.webhook:
            await self._tell_by_apprise(channel, target.apprise, notice)
        else:
            raise PermanentError(f"channel {channel} needs `apprise`, or `webhook` and `secret`, in the configuration")

    @cached_property
    def _webhooks(self) -> "Webhooks":
        from runner.adapters.webhook import Webhooks  # noqa: PLC0415  an HTTP client, only for who has a webhook

        return Webhooks(self._reach, self._resolve, self._timeout)

    async def _tell_by_apprise(self, channel: str, url: str, notice: Notice) -> None:
        order = {
            "url": url,
            "title": notices.title(notice),
            "body": notices.body(notice),
            "kind": _KINDS.get(notice.type, "warning"),
            "hosts": await self._reachable(url),
        }
        try:
            async with asyncio.timeout(_WAIT):
                await self._turns.acquire()
        except TimeoutError:
            raise TransientError(f"channel {channel} has to wait: many others are told", sent=False) from None
        try:
            answer = await _send_alone(order, self._timeout * _TIMES)
        except TimeoutError:
            raise TransientError(f"channel {channel} did not answer in time") from None
        except OSError as error:
            why = error.strerror or "no reason given"
            raise TransientError(f"channel {channel} is not told: no process for it ({why})", sent=False) from None
        finally:
            self._turns.release()
        _judge(channel, answer)

    async def _reachable(self, url: str) -> list[str]:
        """Networks, and the addresses that the private names in this URL have now: Apprise gets no other answer."""
        found = [str(network) for network in self._reach.networks]
        for name in sorted(self._reach.names):
            if name in url.lower():
                try:
                    found += await self._resolve(name)
                except (OSError, UnicodeError):
                    continue
        return found


class Outbox:
    """Channels that keep what they are told, in order: for tests. `script` is raised first."""

    def __init__(self, channels: Sequence[str], script: Sequence[Exception] = ()) -> None:
        self.sent: list[tuple[str, Notice]] = []
        self._channels = dict.fromkeys(channels, Channel())
        self._script = list(script)

    async def send(self, channel: str, notice: Notice) -> None:
        """Keep it, or raise the next line of the script."""
        _named(channel, self._channels)
        if self._script:
            raise self._script.pop(0)
        self.sent.append((channel, notice))


def _named(channel: str, channels: Mapping[str, Channel]) -> Channel:
    if channel not in channels:
        known = ", ".join(sorted(channels)) or "none"
        raise PermanentError(f"there is no channel {channel}: add it to goalfile.config.yaml (known: {known})")
    return channels[channel]


def _judge(channel: str, answer: dict[str, Any]) -> None:
    """Raise what went wrong, if it did."""
    if answer.get("ok"):
        return
    if why := _WHY.get(str(answer.get("why"))):
        raise PermanentError(f"channel {channel} is not told: {why}")
    if status := answer.get("status"):
        from runner.adapters.webhook import judge  # noqa: PLC0415  as above

        judge(channel, int(status), {})
    raise TransientError(f"channel {channel} was not told: its service did not answer, or refused")


async def _send_alone(order: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What the process says in which Apprise runs, or nothing; it ends with this call, whatever happens."""
    environ = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # This very package, whatever folder we were started in; and no proxy and no password of the machine's.
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    environ |= {"PYTHONPATH": path, "NO_PROXY": "*", "NETRC": os.devnull, "HOME": os.devnull}
    if "SSL_CERT_FILE" in environ:
        environ["REQUESTS_CA_BUNDLE"] = environ["SSL_CERT_FILE"]  # what it is called there
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", _ALONE), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environ
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate(json.dumps(order).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        return dict(json.loads(said))
    except ValueError:
        return {}
