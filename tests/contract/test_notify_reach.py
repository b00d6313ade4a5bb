"""Where notices can be sent: to the public, and nowhere inside, whatever a name, a redirect or a URL says."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.adapters.notify import Channel, Channels
from runner.adapters.public_address import Reach, is_public
from runner.ports import PermanentError, TransientError
from tests.conftest import ROOT
from tests.contract.test_notifier_contract import NOTICE
from tests.standins.loopback import Fail
from tests.standins.webhook_receiver import SECRET, Trap, WebhookReceiver

NOT_PUBLIC = "channel ops is not told: its host is not public"
NOWHERE = "2d00::1"
"""A public address that nobody was given, so that no packet of a test reaches anybody."""

DISGUISED = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "127.0.0.01",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::1]",
    "0.0.0.0",  # noqa: S104
    "[::]",
]
INSIDE = [
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "192.0.2.1", "198.18.0.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "ff0e::1", "fec0::1", "2001:db8::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2002:a9fe:a9fe::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


def webhook(url: str) -> Channel:
    return Channel(webhook=url, secret=SECRET)


class Names:
    """A resolver that gives each answer once, the last one for ever, and keeps what it was asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), list[str]()

    async def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize("host", DISGUISED)
async def test_this_machine_is_not_reached_by_any_spelling(host: str) -> None:
    with Trap() as trap:
        channels = Channels({"ops": webhook(f"https://{host}:{trap.port}/")})
        with pytest.raises(PermanentError, match=f"{NOT_PUBLIC}|no usable address"):
            await channels.send("ops", NOTICE)
    assert trap.count == 0


async def test_the_trap_sees_a_connection_that_is_allowed() -> None:
    with Trap() as trap:
        channels = Channels({"ops": webhook(f"https://127.0.0.1:{trap.port}/")}, ["127.0.0.0/8"])
        with pytest.raises(TransientError):
            await channels.send("ops", NOTICE)
    assert trap.count == 1


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_a_number_is_no_name_even_where_its_address_is_allowed(host: str) -> None:
    with Trap() as trap:
        channels = Channels({"ops": webhook(f"https://{host}:{trap.port}/")}, ["127.0.0.0/8"])
        with pytest.raises(PermanentError):
            await channels.send("ops", NOTICE)
    assert trap.count == 0


@pytest.mark.parametrize("address", INSIDE)
async def test_a_name_that_leads_inside_is_refused(address: str) -> None:
    for answer in ([address], [NOWHERE, address], [address, NOWHERE]):
        channels = Channels({"ops": webhook("https://metadata.acme.example/")}, resolve=Names(answer))
        with pytest.raises(PermanentError, match=NOT_PUBLIC):
            await channels.send("ops", NOTICE)


async def test_a_name_is_resolved_once_so_that_a_second_answer_leads_nowhere() -> None:
    with Trap() as trap:
        names = Names([NOWHERE], ["127.0.0.1"])
        url = f"https://rebinding.acme.example:{trap.port}/"
        with pytest.raises(TransientError):
            await Channels({"ops": webhook(url)}, timeout=0.5, resolve=names).send("ops", NOTICE)
        assert names.asked == ["rebinding.acme.example"]
        assert trap.count == 0
        with pytest.raises(PermanentError, match=NOT_PUBLIC):
            await Channels({"ops": webhook(url)}, resolve=names).send("ops", NOTICE)
    assert trap.count == 0


async def test_a_name_that_is_not_found_is_transient_and_nothing_was_sent() -> None:
    async def resolve(host: str) -> list[str]:
        raise OSError(f"{host} is not known")

    with pytest.raises(TransientError, match="channel ops is not told: its host is not found") as caught:
        await Channels({"ops": webhook("https://hooks.acme.example/")}, resolve=resolve).send("ops", NOTICE)
    assert not caught.value.sent


async def test_without_encryption_only_a_private_host_is_told() -> None:
    channels = Channels({"ops": webhook("http://hooks.acme.example/")}, ["10.0.0.0/8"], resolve=Names([NOWHERE]))
    with pytest.raises(PermanentError, match="https://"):
        await channels.send("ops", NOTICE)


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
@pytest.mark.parametrize("status", [302, 308])
async def test_a_redirect_is_not_followed(kind: str, status: int) -> None:
    with WebhookReceiver() as inside:
        redirect = Fail(status, headers={"location": f"{inside.url}/latest/meta-data"})
        with WebhookReceiver(redirect) as receiver:
            by_apprise = Channel(apprise=f"{receiver.url.replace('http', 'json', 1)}/?redirect=yes&retry=3&wait=0")
            target = by_apprise if kind == "apprise" else webhook(receiver.url)
            with pytest.raises(PermanentError, match=f"channel ops answered {status}: redirects are not followed"):
                await Channels({"ops": target}, ["127.0.0.0/8"]).send("ops", NOTICE)
    assert (len(receiver.requests), inside.requests) == (1, [])


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1:{}",
        "json://localhost:{}",
        "jsons://localhost:{}",
        "mailto://a:b@localhost:{}/?to=ada@acme.example&mode=insecure",
    ],
)
async def test_apprise_reaches_nothing_inside_whatever_an_earlier_answer_was(url: str) -> None:
    """The first answer is public, and the one that Apprise gets from the system is this machine."""
    with Trap() as trap:
        channels = {"ops": Channel(apprise=url.format(trap.port))}
        with pytest.raises(PermanentError, match=NOT_PUBLIC):
            await Channels(channels, resolve=Names([NOWHERE])).send("ops", NOTICE)
        assert trap.count == 0
        with pytest.raises(TransientError):  # the trap sees what the owner allows
            await Channels(channels, ["127.0.0.0/8", "::1"]).send("ops", NOTICE)
        assert trap.count > 0


async def test_apprise_sends_no_datagram_inside() -> None:
    class Ear(asyncio.DatagramProtocol):
        heard = 0

        def datagram_received(self, data: bytes, addr: object) -> None:
            self.heard += 1

    loop = asyncio.get_running_loop()
    transport, ear = await loop.create_datagram_endpoint(Ear, local_addr=("127.0.0.1", 0))
    url = f"rsyslog://127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    with pytest.raises(PermanentError, match=NOT_PUBLIC):
        await Channels({"ops": Channel(apprise=url)}).send("ops", NOTICE)
    assert ear.heard == 0
    await Channels({"ops": Channel(apprise=url)}, ["127.0.0.1"]).send("ops", NOTICE)
    await asyncio.sleep(0)
    assert ear.heard == 1
    transport.close()


async def test_apprise_reaches_a_private_name_at_the_address_that_it_has() -> None:
    with WebhookReceiver() as receiver:
        url = f"{receiver.url.replace('http://127.0.0.1', 'json://localhost')}/"
        channels, names = {"ops": Channel(apprise=url)}, Names(["127.0.0.1"], ["10.0.0.1"])
        await Channels(channels, ["localhost"], resolve=names).send("ops", NOTICE)
        with pytest.raises(PermanentError, match=NOT_PUBLIC):  # and at no other, if it is led elsewhere
            await Channels(channels, ["localhost"], resolve=names).send("ops", NOTICE)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("url", ["syslog://", "syslog://local5", "dbus://", "gnome://", "windows://", "macosx://"])
async def test_a_service_of_this_machine_is_refused(url: str) -> None:
    with pytest.raises(PermanentError, match="channel ops is not told"):
        await Channels({"ops": Channel(apprise=url)}).send("ops", NOTICE)


@pytest.mark.parametrize("url", ["ops", "nosuch://a/b", "/etc/passwd", "file:///etc/passwd", "https://acme.example/x"])
async def test_what_apprise_does_not_know_is_permanent(url: str) -> None:
    with pytest.raises(PermanentError, match="channel ops is not told: Apprise cannot use its URL"):
        await Channels({"ops": Channel(apprise=url)}).send("ops", NOTICE)


async def test_apprise_uses_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebhookReceiver() as proxy, WebhookReceiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        channel = Channel(apprise=receiver.url.replace("http", "json", 1))
        await Channels({"ops": channel}, ["127.0.0.0/8"]).send("ops", NOTICE)
    assert (len(receiver.requests), proxy.requests) == (1, [])


@pytest.mark.parametrize("end", ["time", "cancel"])
async def test_the_process_of_apprise_ends_with_its_notice(end: str) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()  # until the other side is no more
        gone.set()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        channel = Channel(apprise=f"json://127.0.0.1:{server.sockets[0].getsockname()[1]}/?rto=60")
        channels = Channels({"ops": channel}, ["127.0.0.0/8"], timeout=0.5 if end == "time" else 20)
        sending = asyncio.create_task(channels.send("ops", NOTICE))
        if end == "cancel":
            await asyncio.wait_for(arrived.wait(), 30)
            sending.cancel()
        with pytest.raises(asyncio.CancelledError if end == "cancel" else TransientError):
            await sending
        if arrived.is_set():  # on a slow machine its time may be over before it has connected
            await asyncio.wait_for(gone.wait(), 5)


@pytest.mark.parametrize(
    "deed",
    [
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "socket.socket(socket.AF_UNIX).connect('/run/docker.sock')",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.socket().connect_ex(('localhost', 9))",
        "threading.Thread(target=lambda: (refused(lambda: socket.create_connection(('localhost', 9))))).run()",
    ],
)
def test_the_process_of_apprise_starts_no_program_and_connects_to_nothing_inside(deed: str) -> None:
    code = f"""
import os, socket, subprocess, sys, threading
from runner.adapters.apprise_alone import guard
from runner.adapters.public_address import Reach
def refused(deed):
    try:
        deed()
    except PermissionError:
        print("refused")
guard(Reach())
refused(lambda: {deed})
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "refused\n"


@given(st.ip_addresses())
def test_what_is_public_is_no_address_within_another(address: object) -> None:
    found = ip_address(str(address))
    assert not is_public(found) or found.is_global
    if found.version == 4:
        six_to_four = f"2002:{int(found) >> 16:x}:{int(found) & 0xFFFF:x}::1"
        wrapped = [f"::ffff:{found}", f"64:ff9b::{found}", f"::{found}", six_to_four]
        assert not any(is_public(ip_address(text)) for text in wrapped)


def test_public_is_what_everybody_reaches() -> None:
    assert all(is_public(ip_address(text)) for text in ("1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", NOWHERE))


def test_private_hosts_are_names_addresses_and_networks() -> None:
    reach = Reach.of(["Hooks.Acme.Internal.", "10.1.0.0/16", "192.168.1.7", "fd00::/8", "[::1]"])
    assert all(reach.allows(text) for text in ("10.1.2.3", "192.168.1.7", "fd00::9", "::1"))
    assert not any(reach.allows(text) for text in ("10.2.0.1", "192.168.1.8", "fe80::1", "::ffff:10.1.2.3", "10.1", ""))
    assert reach.allows("172.16.0.1", "hooks.acme.internal")
    assert not reach.allows("172.16.0.1", "hooks.acme.internal.evil.example")
