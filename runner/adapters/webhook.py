"""A notice as a signed webhook, per Standard Webhooks, to an address that was judged before it is used.

Made of one request and no client: nothing is followed, remembered, proxied or logged, and of the answer
only the status and `retry-after` are read. It does not retry: Temporal does.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpx

from runner.adapters.answers import retry_after
from runner.adapters.public_address import NOT_PUBLIC, NotPublic, Reach, Resolve, addresses_of
from runner.ports import PermanentError, TransientError

_CONNECT = 5.0
_TRIED = 4


@dataclass(frozen=True)
class Webhooks:
    """Sends to any webhook. `timeout` is seconds for all of it."""

    reach: Reach
    resolve: Resolve
    timeout: float = 10

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()  # SSL_CERT_FILE, where set, says whom to trust

    async def post(self, channel: str, url: str, secret: str, id: str, payload: Mapping[str, Any]) -> None:  # noqa: A002
        """Send one payload under an id. Raises PermanentError or TransientError, and names only the channel."""
        request = _signed(channel, url, secret, id, payload)
        try:
            async with asyncio.timeout(self.timeout):
                status, headers = await self._send(channel, request)
        except (TimeoutError, httpx.TimeoutException):
            raise TransientError(f"channel {channel} did not answer in time") from None
        except httpx.TransportError as error:
            raise TransientError(f"channel {channel} broke the connection ({type(error).__name__})") from None
        judge(channel, status, headers)

    async def _send(self, channel: str, request: httpx.Request) -> tuple[int, httpx.Headers]:
        host = request.url.raw_host.decode()
        try:
            addresses = await addresses_of(host, self.reach, self.resolve)
        except NotPublic:
            raise PermanentError(f"channel {channel} is not told: {NOT_PUBLIC}") from None
        except (OSError, UnicodeError):
            raise TransientError(f"channel {channel} is not told: its host is not found", sent=False) from None
        if request.url.scheme != "https" and not self.reach.is_private(addresses, host):
            raise PermanentError(f"channel {channel} is not told: its address must begin with https://")
        why = "cannot be reached"
        for address in addresses[:_TRIED]:
            try:
                return await self._send_to(address, request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:  # nothing was sent yet
                why = "shows no valid certificate" if "CERTIFICATE" in str(error) else why
        raise TransientError(f"channel {channel} {why}", sent=False)

    async def _send_to(self, address: str, request: httpx.Request) -> tuple[int, httpx.Headers]:
        """To this address, and to no other: the name in the URL is only shown to the server."""
        limits = {"connect": _CONNECT, **dict.fromkeys(("read", "write", "pool"), self.timeout)}
        shown = {"sni_hostname": request.url.raw_host.decode().rstrip(".")}  # and its certificate is for this name
        pinned = httpx.Request(
            "POST",
            request.url.copy_with(host=address),
            headers=request.headers,
            content=request.content,
            extensions={"timeout": limits, **(shown if request.url.scheme == "https" else {})},
        )
        async with httpx.AsyncHTTPTransport(verify=self._trusted, trust_env=False) as transport:
            response = await transport.handle_async_request(pinned)
            await response.aclose()
        return response.status_code, response.headers


def judge(channel: str, status: int, headers: Mapping[str, str]) -> None:
    """Raise what an HTTP status means for a channel, if it is no success."""
    if 200 <= status < 300:
        return
    if status in (408, 425, 429) or status >= 500:
        raise TransientError(f"channel {channel} answered {status}", retry_after=retry_after(headers))
    if 300 <= status < 400:
        raise PermanentError(f"channel {channel} answered {status}: redirects are not followed, set its final address")
    raise PermanentError(f"channel {channel} answered {status}: check its address and its secret")


def _signed(channel: str, url: str, secret: str, id: str, payload: Mapping[str, Any]) -> httpx.Request:  # noqa: A002
    from standardwebhooks import Webhook  # noqa: PLC0415  only who has a webhook needs it

    place, now = _place(channel, url), datetime.now(UTC)
    content = json.dumps(payload)
    try:
        signature = Webhook(secret).sign(id, now, content)
    except Exception:  # noqa: BLE001 - whatever it says may hold the secret
        raise PermanentError(f"channel {channel} has no usable secret: set one such as whsec_ and base64") from None
    headers = {
        "host": place.netloc.decode(),
        "user-agent": "goalfile",
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signature,
    }
    return httpx.Request("POST", place, headers=headers, content=content.encode())


def _place(channel: str, url: str) -> httpx.URL:
    try:
        place = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        place = None
    if place is None or place.scheme not in ("https", "http") or not place.raw_host or place.userinfo:
        raise PermanentError(f"channel {channel} has no usable address: set https:// and a host, no user")
    return place
