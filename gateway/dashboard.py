"""The page: what is planned and what ran last, for a person who glances at it.

Server-rendered and read-only: no script, nothing from another host, and no way to change anything.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway.problems import Unreachable
from gateway.runs import Runs
from gateway.tasks import Tasks
from gateway.views import RunView, TaskView

HERE = Path(__file__).parent
RUNS_SHOWN = 20
FRESH = 2.0
"""Seconds for which many open pages share one look: Temporal limits how often one may list."""

MARKS = {
    "queued": "○",
    "running": "◐",
    "waiting": "◇",
    "succeeded": "✓",
    "failed": "✕",
    "stopped": "■",
    "cancelled": "–",  # noqa: RUF001 - a dash, drawn as wide as the other marks
}
POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of every page of ours: no script, nothing from elsewhere."""
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))

router = APIRouter(include_in_schema=False)


def distance(at: datetime, now: datetime) -> str:
    """How far off an instant is, in one unit: `in 12 min`, `3 h ago`, `now` within a minute."""
    seconds = (at - now).total_seconds()
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            count = f"{int(abs(seconds) // size)} {unit}"
            return f"in {count}" if seconds > 0 else f"{count} ago"
    return "in under 1 min" if seconds > 0 else "just now"


def took(run: RunView, now: datetime) -> str:
    """How long a run took, or has been going: `45 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = max(0, int(((run.ended_at or now) - run.started_at).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3_600} h {seconds % 3_600 // 60} min"


def clock(at: datetime) -> str:
    """An instant as a person writes it: `Mon 23 Nov, 09:00`. UTC, as the page says once."""
    return f"{at.astimezone(UTC):%a %-d %b, %H:%M}"


@dataclass(frozen=True)
class Glance:
    """What the page shows; `trouble` stands instead of both lists."""

    tasks: Sequence[TaskView] = ()
    runs: Sequence[RunView] = ()
    trouble: str = ""


class Page:
    """The page and the one look behind it that everybody who has it open shares."""

    def __init__(self, tasks: Tasks, runs: Runs) -> None:
        self._tasks, self._runs = tasks, runs
        self._glance, self._until = Glance(), 0.0
        self._looking = asyncio.Lock()
        templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
        )
        templates.filters.update(clock=clock, mark=MARKS.__getitem__)
        self._template = templates.get_template("page.html")

    async def render(self, now: datetime) -> tuple[str, bool]:
        """The page's HTML, and whether Temporal answered."""
        glance = await self._look()

        def off(at: datetime) -> str:
            return distance(at, now)

        def length(run: RunView) -> str:
            return took(run, now)

        said: dict[str, Any] = {"glance": glance, "now": now, "off": off, "length": length}
        return await asyncio.to_thread(self._template.render, said), not glance.trouble

    async def _look(self) -> Glance:
        async with self._looking:
            clock_now = asyncio.get_running_loop().time()
            if clock_now >= self._until:
                try:
                    tasks, runs = await asyncio.gather(self._tasks.all(), self._runs.recent(RUNS_SHOWN))
                    self._glance = Glance(tasks, runs)
                except Unreachable as refusal:
                    self._glance = Glance(trouble=str(refusal))
                self._until = asyncio.get_running_loop().time() + FRESH
            return self._glance


@router.get("/")
async def page(request: Request) -> Response:
    """Tasks with their next slot, and the last runs."""
    shown: Page = request.app.state.page
    html, answered = await shown.render(datetime.now(UTC))
    headers = {"Content-Security-Policy": POLICY}
    return HTMLResponse(html, 200 if answered else 503, headers=headers)


@router.get("/static/page.css")
async def style() -> Response:
    """The page's only asset."""
    return FileResponse(HERE / "static" / "page.css", headers={"Cache-Control": "max-age=60"})
