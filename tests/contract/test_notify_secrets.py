"""No URL and no secret of a channel is repeated anywhere, whatever happens with it."""

import logging
import traceback

import httpx
import pytest

from runner.adapters.notify import Channel, Channels
from runner.ports import PermanentError, TransientError
from tests.contract.test_notifier_contract import NOTICE
from tests.standins.loopback import Drop, Fail
from tests.standins.webhook_receiver import WebhookReceiver

TOKEN = "canary-token-3141592653"
KEY = "Y2FuYXJ5LXNlY3JldC0yNzE4Mjg"
SECRET = f"whsec_{KEY}"


async def said_by(channel: Channel, hosts: list[str], caplog: pytest.LogCaptureFixture) -> str:
    """Everything that sending says: logs at the lowest level, the error, its traceback and all reprs."""
    channels = Channels({"ops": channel}, hosts, timeout=2)
    said = [repr(channel), repr(channels), str(vars(channels))]
    with caplog.at_level(logging.DEBUG):
        try:
            await channels.send("ops", NOTICE)
        except (PermanentError, TransientError) as error:
            said += [str(error), repr(error), "".join(traceback.format_exception(error))]
    return "\n".join([*said, caplog.text])


@pytest.mark.parametrize(
    "move", [None, Fail(404, f"no {TOKEN}"), Fail(503), Fail(302, headers={"location": "/a"}), Drop()]
)
@pytest.mark.parametrize("kind", ["webhook", "apprise"])
async def test_whatever_the_answer_nothing_is_repeated(
    kind: str, move: Fail | Drop | None, caplog: pytest.LogCaptureFixture
) -> None:
    with WebhookReceiver(*([move] if move else [])) as receiver:
        url = f"{receiver.url}/{TOKEN}?key={TOKEN}"
        webhook, apprise = Channel(webhook=url, secret=SECRET), Channel(apprise=url.replace("http", "json", 1))
        said = await said_by(webhook if kind == "webhook" else apprise, ["127.0.0.0/8"], caplog)
    assert len(receiver.requests) == 1
    assert TOKEN in str(receiver.requests)
    assert TOKEN not in said
    assert KEY not in said


@pytest.mark.parametrize(
    "channel",
    [
        Channel(webhook=f"https://127.0.0.1:9/{TOKEN}", secret=SECRET),
        Channel(webhook=f"https://{TOKEN}:{TOKEN}@127.0.0.1/", secret=SECRET),
        Channel(webhook=f"https://[{TOKEN}/", secret=SECRET),
        Channel(webhook=f"https://{TOKEN}.invalid/", secret=SECRET),
        Channel(webhook="https://127.0.0.1:9/", secret=f"é{KEY}"),
        Channel(apprise=f"json://{TOKEN}@127.0.0.1:9/"),
        Channel(apprise=f"nosuch://{TOKEN}"),
        Channel(apprise=f"slack://{TOKEN}"),
        Channel(apprise=TOKEN),
    ],
)
async def test_a_channel_that_cannot_be_used_does_not_say_what_it_holds(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    said = await said_by(channel, [], caplog)
    assert "channel ops" in said
    assert TOKEN not in said
    assert KEY not in said


async def test_the_search_finds_a_url_that_a_client_logs(caplog: pytest.LogCaptureFixture) -> None:
    with WebhookReceiver() as receiver, caplog.at_level(logging.DEBUG):
        async with httpx.AsyncClient() as client:
            await client.post(f"{receiver.url}/{TOKEN}")
    assert TOKEN in caplog.text
