"""What every Notifier must do, asked of the outbox and of real channels over a receiver: a webhook and Apprise."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from runner import notices
from runner.adapters.notify import Channel, Channels, Outbox
from runner.ports import Notifier, PermanentError, TransientError
from schemas.run import Notice
from tests.standins.loopback import Fail
from tests.standins.webhook_receiver import SECRET, WebhookReceiver

NOTICE = Notice(
    id="digest-1-ended",
    type="run.failed",
    at=datetime(2026, 11, 22, 9, tzinfo=UTC),
    task="digest",
    run="digest-1",
    reason="the model refused",
    link="https://goals.acme.example/runs/digest-1",
)
TITLE = "✗ digest failed: the model refused"

Line = PermanentError | TransientError


@dataclass(frozen=True)
class Subject:
    notifier: Notifier
    heard: Callable[[], list[str]]
    """The titles of what has arrived."""
    tries: Callable[[], int]


Make = Callable[[Sequence[Line]], Subject]


def move_of(line: Line) -> Fail:
    return Fail(404, str(line)) if isinstance(line, PermanentError) else Fail(503, str(line))


@pytest.fixture(params=["outbox", "webhook", "apprise"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with ExitStack() as stack:

        def outbox(script: Sequence[Line] = ()) -> Subject:
            box, left = Outbox(["ops", "team"], script), list(script)
            return Subject(box, lambda: [notices.title(n) for _, n in box.sent], lambda: len(left) + len(box.sent))

        def real(script: Sequence[Line] = ()) -> Subject:
            receiver = stack.enter_context(WebhookReceiver(*map(move_of, script)))
            by_apprise = Channel(apprise=receiver.url.replace("http://", "json://"))
            by_webhook = Channel(webhook=f"{receiver.url}/hook", secret=SECRET)
            channel = by_apprise if request.param == "apprise" else by_webhook

            def heard() -> list[str]:
                return [r.body.get("title") or r.body["data"]["title"] for r in receiver.requests[len(script) :]]

            channels = Channels({"ops": channel, "team": channel}, ["127.0.0.0/8"])
            return Subject(channels, heard, lambda: len(receiver.requests))

        yield outbox if request.param == "outbox" else real


async def test_a_notice_arrives_once(make: Make) -> None:
    subject = make(())
    await subject.notifier.send("ops", NOTICE)
    assert subject.heard() == [TITLE]
    assert subject.tries() == 1


async def test_each_channel_is_told_by_itself(make: Make) -> None:
    subject = make(())
    await subject.notifier.send("ops", NOTICE)
    await subject.notifier.send("team", NOTICE.model_copy(update={"type": "run.recovered"}))
    assert subject.heard() == [TITLE, "✓ digest works again"]


async def test_an_unknown_channel_is_permanent_and_the_known_ones_are_named(make: Make) -> None:
    subject = make(())
    with pytest.raises(PermanentError, match=r"no channel pager: .*known: ops, team"):
        await subject.notifier.send("pager", NOTICE)
    assert subject.tries() == 0


async def test_a_refusal_is_permanent_and_an_overload_is_transient(make: Make) -> None:
    subject = make([PermanentError("gone"), TransientError("busy")])
    with pytest.raises(PermanentError):
        await subject.notifier.send("ops", NOTICE)
    with pytest.raises(TransientError):
        await subject.notifier.send("ops", NOTICE)
    await subject.notifier.send("ops", NOTICE)
    assert subject.heard() == [TITLE]


async def test_a_failure_is_not_tried_again_by_itself(make: Make) -> None:
    subject = make([TransientError("busy")])
    with pytest.raises(TransientError):
        await subject.notifier.send("ops", NOTICE)
    assert subject.heard() == []
    assert subject.tries() == 1
