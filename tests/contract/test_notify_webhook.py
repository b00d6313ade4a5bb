"""Signed webhooks: what goes over the wire, what each answer means, and whom a certificate must name."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from runner.adapters.notify import Channel, Channels
from runner.ports import PermanentError, TransientError
from tests.contract.test_notifier_contract import NOTICE, TITLE
from tests.standins.loopback import Drop, Fail, Garble, Hang
from tests.standins.webhook_receiver import SECRET, Move, WebhookReceiver

LOOPBACK = ["127.0.0.0/8"]


def channels(url: str, secret: str = SECRET, **more: Any) -> Channels:
    more.setdefault("private_hosts", LOOPBACK)
    return Channels({"ops": Channel(webhook=url, secret=secret)}, **more)


async def answered(*script: Move, **more: Any) -> None:
    with WebhookReceiver(*script) as receiver:
        await channels(receiver.url, **more).send("ops", NOTICE)


async def test_a_receiver_can_verify_the_signature_and_no_changed_body_passes() -> None:
    with WebhookReceiver() as receiver:
        await channels(f"{receiver.url}/hook?team=a").send("ops", NOTICE)
    (request,) = receiver.requests
    said = Webhook(SECRET).verify(request.raw, request.headers)
    assert (said["type"], said["timestamp"]) == ("run.failed", "2026-11-22T09:00:00Z")
    assert said["data"]["title"] == TITLE
    assert request.headers["content-type"] == "application/json"
    assert (request.path, request.query) == ("/hook", {"team": ["a"]})
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.raw.replace(b"refused", b"agreed!"), request.headers)


async def test_the_id_stays_the_same_when_a_notice_is_sent_again() -> None:
    with WebhookReceiver(Fail(503)) as receiver:
        sender = channels(receiver.url)
        with pytest.raises(TransientError):
            await sender.send("ops", NOTICE)
        await sender.send("ops", NOTICE)
    assert [request.headers["webhook-id"] for request in receiver.requests] == [NOTICE.id, NOTICE.id]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
async def test_what_the_receiver_rejects_is_permanent(status: int) -> None:
    with pytest.raises(PermanentError, match=f"channel ops answered {status}"):
        await answered(Fail(status))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_transient_and_the_wish_of_the_receiver_is_kept(status: int) -> None:
    with pytest.raises(TransientError, match=f"channel ops answered {status}") as caught:
        await answered(Fail(status, headers={"retry-after": "7"}))
    assert caught.value.retry_after == 7


async def test_a_receiver_that_hangs_is_transient() -> None:
    with pytest.raises(TransientError, match="channel ops did not answer in time"):
        await answered(Hang(), timeout=0.2)


async def test_nobody_at_the_port_is_transient_and_nothing_was_sent() -> None:
    with WebhookReceiver() as receiver:
        url = receiver.url
    with pytest.raises(TransientError, match="channel ops cannot be reached") as caught:
        await channels(url).send("ops", NOTICE)
    assert not caught.value.sent


@pytest.mark.parametrize("move", [Drop(), Garble(b"x" * 1_000_000)])
async def test_only_the_status_of_an_answer_counts(move: Move) -> None:
    await answered(move)


@pytest.mark.parametrize("secret", ["whsec_", "", "whsec_a", "sécret"])
async def test_a_secret_that_cannot_sign_is_permanent_and_nothing_is_sent(secret: str) -> None:
    with WebhookReceiver() as receiver, pytest.raises(PermanentError, match=r"channel ops .*secret"):
        await channels(receiver.url, secret).send("ops", NOTICE)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "url", ["", "ops", "https://", "ftp://127.0.0.1/", "file:///etc/passwd", "https://a:b@127.0.0.1/", "https://[::1/"]
)
async def test_an_address_that_is_none_is_permanent(url: str) -> None:
    with pytest.raises(PermanentError, match="channel ops"):
        await channels(url).send("ops", NOTICE)


async def test_a_private_name_is_shown_to_the_server_that_its_address_leads_to() -> None:
    async def resolve(host: str) -> list[str]:
        assert host == "hooks.acme.internal"
        return ["127.0.0.2", "127.0.0.1"]  # nobody listens at the first

    with WebhookReceiver() as receiver:
        port = receiver.url.rpartition(":")[2]
        url = f"http://hooks.acme.internal:{port}/"
        await channels(url, private_hosts=["Hooks.ACME.internal"], resolve=resolve).send("ops", NOTICE)
    assert [request.headers["host"] for request in receiver.requests] == [f"hooks.acme.internal:{port}"]


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with WebhookReceiver() as proxy, WebhookReceiver() as receiver:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await channels(receiver.url).send("ops", NOTICE)
    assert (len(receiver.requests), proxy.requests) == (1, [])


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate that signs itself, for one host name, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(hours=1))
        .not_valid_after(datetime.now(UTC) + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    kind = serialization.Encoding.PEM
    private = key.private_bytes(kind, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(private + made.public_bytes(kind))
    return file


async def told_over_tls(file: Path, url: Callable[[int], str]) -> list[str | None]:
    """Send to a server with this certificate; the names that it was asked for."""
    context, asked = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), list[str | None]()
    context.load_cert_chain(file)
    context.sni_callback = lambda _, name, __: asked.append(name)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async def resolve(host: str) -> list[str]:
        return ["127.0.0.1"]

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        await channels(url(port), resolve=resolve).send("ops", NOTICE)
    return asked


async def test_over_tls_the_name_is_asked_for_and_its_certificate_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, "hooks.acme.internal")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    asked = await told_over_tls(file, lambda port: f"https://hooks.acme.internal:{port}/")
    assert asked == ["hooks.acme.internal"]


@pytest.mark.parametrize("host", ["other.acme.internal", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_refused(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, "hooks.acme.internal")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(TransientError, match="channel ops shows no valid certificate"):
        await told_over_tls(file, lambda port: f"https://{host}:{port}/")
