import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dashboard import MARKS, Page, clock, distance, took
from gateway.views import RunView, TaskView
from schemas.run import Status
from tests.gateway.conftest import House

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Shown:
    """Stands where the server's tasks and runs would be."""

    def __init__(self, tasks: tuple[TaskView, ...] = (), runs: tuple[RunView, ...] = ()) -> None:
        self._tasks, self._runs, self.looks = tasks, runs, 0

    async def all(self) -> tuple[TaskView, ...]:
        self.looks += 1
        return self._tasks

    async def recent(self, limit: int) -> tuple[RunView, ...]:
        return self._runs[:limit]


class Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.said, self.tags = "", list[str]()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.said += data


async def read(shown: Shown) -> Text:
    html, _ = await Page(shown, shown).render(NOON)  # type: ignore[arg-type]
    text = Text()
    text.feed(html)
    text.said = re.sub(r"\s+", " ", text.said)
    return text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (30, "in under 1 min"),
        (-30, "just now"),
        (0, "just now"),
        (720, "in 12 min"),
        (-7_200, "2 h ago"),
        (200_000, "in 2 d"),
    ],
)
def test_a_distance_is_said_in_one_unit(seconds: int, said: str) -> None:
    assert distance(NOON + timedelta(seconds=seconds), NOON) == said


def test_how_long_a_run_took_and_how_long_one_has_been_going() -> None:
    run = RunView(id="a", task="a", status="running", started_at=NOON)
    assert took(run, NOON + timedelta(seconds=45)) == "45 s"
    assert took(run.model_copy(update={"ended_at": NOON + timedelta(seconds=200)}), NOON) == "3 min 20 s"
    assert took(run, NOON + timedelta(hours=2, minutes=5)) == "2 h 5 min"
    assert took(run, NOON - timedelta(seconds=1)) == "0 s"


def test_times_are_utc_wherever_they_come_from() -> None:
    assert clock(NOON) == "Sun 22 Nov, 12:00"


async def test_an_empty_page_says_what_to_do() -> None:
    text = await read(Shown())
    assert "Put a file into tasks/" in text.said
    assert "Nothing has run yet" in text.said


async def test_tasks_and_runs_are_shown_in_words_and_marks() -> None:
    tasks = (
        TaskView(name="daily", cron=("@daily",), next_slots=(NOON + timedelta(minutes=12),)),
        TaskView(name="held", cron=("@daily",), paused=True),
        TaskView(name="manual"),
    )
    runs = tuple(
        RunView(id=f"r-{status}", task="daily", status=status, reason=f"why {status}", started_at=NOON)
        for status in get_args(Status)
    )
    text = await read(Shown(tasks, runs))
    assert "daily in 12 min Sun 22 Nov, 12:12 held paused manual on demand" in text.said
    for status in get_args(Status):
        assert f"{MARKS[status]}{status} daily why {status} r-{status}" in text.said


@settings(max_examples=25, deadline=None)
@given(said=st.text(st.characters(codec="utf-8"), min_size=1))
async def test_what_a_task_says_is_text_and_never_markup(said: str) -> None:
    quiet = await read(Shown((TaskView(name="a", description="plain"),)))
    loud = await read(Shown((TaskView(name="a", description=f"{said}<script>alert(1)</script>"),)))
    assert loud.tags == quiet.tags


async def test_everybody_who_has_the_page_open_shares_one_look() -> None:
    shown = Shown()
    page = Page(shown, shown)  # type: ignore[arg-type]
    for _ in range(5):
        await page.render(NOON)
    assert shown.looks == 1


@pytest.mark.temporal
@pytest.mark.asyncio(loop_scope="session")
async def test_the_page_loads_nothing_from_elsewhere_and_runs_no_script(house: House) -> None:
    answer = await house.http.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "<script" not in answer.text
    assert "style=" not in answer.text
    assert set(re.findall(r'(?:src|href)="(?!/v1/)([^"]*)"', answer.text)) == {"/static/page.css"}
    style = await house.http.get("/static/page.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text
