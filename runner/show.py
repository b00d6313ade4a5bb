"""What people read in a terminal: problems, rounds of sync, runs and their lines.

Pure text. Model output and tool results are foreign: control characters never reach the terminal.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from runner import effective
from runner.lines import Line
from runner.ways import Run
from schemas.cron import parse_cron
from schemas.duration import format_duration
from schemas.problem import Problem
from schemas.run import RunRequest
from schemas.slots import next_slots
from schemas.sync_status import SyncStatus
from schemas.task import Task

if TYPE_CHECKING:
    from runner.sync import Round

MARKS = {
    "queued": ("…", "bright_black"),
    "running": ("▸", "blue"),
    "waiting": ("?", "yellow"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "stopped": ("■", "yellow"),
    "cancelled": ("-", "bright_black"),
}
_CONTROL = re.compile(  # controls, directions, line breaks of other alphabets, tags, and letters without a shape
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)


def safe(text: str) -> str:
    """Foreign text without anything that could drive a terminal or reorder a line."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def one_line(text: str, width: int = 100) -> str:
    """The first line, shortened."""
    line = safe(text).strip().partition("\n")[0].expandtabs(1)
    return line if len(line) <= width else f"{line[: width - 1]}…"


def in_a_line(text: str) -> str:
    """All of a text in one line: a break in it must not look like a line of ours."""
    return " ".join(safe(text).split())


def mark(status: str) -> str:
    """A status as mark and word; colour is only a help."""
    sign, color = MARKS.get(status, ("·", "white"))
    return click.style(f"{sign} {status}", fg=color)


def problem_text(problem: Problem, sources: Mapping[str, str]) -> str:
    """A problem with its line and caret, coloured."""
    head, _, rest = safe(problem.full(sources.get(problem.file, ""))).partition("\n")
    return f"{click.style(head, fg='red' if problem.severity == 'error' else 'yellow', bold=True)}\n{rest}"


def change_lines(round_: "Round", *, done: bool = True) -> list[str]:
    """What a round of sync changed, or would change."""
    past = {"create": "+ scheduled", "update": "~ updated", "delete": "- removed"}
    verbs = past if done else {"create": "+ create", "update": "~ update", "delete": "- delete"}
    failed = {failure.action.name for failure in round_.failures}
    return [f"{verbs[a.verb]} {a.name}  ({a.reason})" for a in round_.plan.actions if a.name not in failed]


def trouble_lines(done: "Round", *, plan: bool = True) -> list[str]:
    """What a round of sync could not do, and every wrong file."""
    lines = [click.style(f"! {f.action.verb} {f.action.name}: {f.error}", fg="red") for f in done.failures]
    lines += [click.style(f"! {note}", fg="yellow") for note in (*(done.plan.notes if plan else ()), *done.done.notes)]
    lines += [
        click.style(safe(problem.concise()), fg="red" if problem.severity == "error" else "yellow")
        for problem in done.problems
    ]
    return [*lines, click.style(f"! {done.error}", fg="red")] if done.error else lines


def effective_lines(lines: Sequence[effective.Line]) -> list[str]:
    """A task as it runs, as YAML, each value with where it comes from."""
    rows = [(safe(text), source) for text, source in effective.as_yaml(lines)]
    width = min(max((len(text) for text, source in rows if source), default=0), 80)
    return [f"{text:<{width}}  {click.style(f'# {source}', dim=True)}" if source else text for text, source in rows]


def slot_lines(task: Task, slots: Sequence[effective.Slot], now: datetime) -> list[str]:
    """When a task runs next, on its own clock and in UTC."""
    if not task.cron:
        return [f"runs when asked: goalfile run {task.name}"]
    jitter = f", each up to {format_duration(task.jitter)} later" if task.jitter else ""
    head = f"next in {task.timezone}{jitter}{'' if task.enabled else ', once it is enabled'}:"
    rows = [
        (
            f"  {slot.local:%a %d %b %Y %H:%M %Z}",
            f"{slot.at:%H:%M} UTC" if slot.at.date() == slot.local.date() else f"{slot.at:%a %d %b %H:%M} UTC",
            f"in {length(slot.at - now)}",
            "the clock was changed" if slot.clock_changed else "",
        )
        for slot in slots
    ]
    return [head, *table(rows)] if rows else [f"{task.name} does not run any more: no slot is left before 2101"]


def status_lines(status: SyncStatus, now: datetime) -> list[str]:
    """How a sync fares: who, when, what is wrong, what waits for a person."""
    rows = [
        ("owner", status.owner),
        ("writer", status.instance or "none: it has stopped"),
        ("last look", f"{length(now - status.seen_at)} ago{f', at {status.revision}' if status.revision else ''}"),
        ("tasks", str(status.tasks)),
    ]
    if status.wrote_at:
        rows.append(("last write", f"{length(now - status.wrote_at)} ago: {', '.join(status.wrote)}"))
    lines = table([(f"{click.style(f'{name:<10}', dim=True)}", one_line(value, 200)) for name, value in rows])
    troubles = [status.error] if status.error else []
    lines += [click.style(f"! {one_line(text, 400)}", fg="red") for text in (*troubles, *status.notes)]
    return lines + [click.style(safe(problem.concise()), fg="red") for problem in status.problems]


def task_rows(requests: Iterable[RunRequest], now: datetime) -> list[tuple[str, str]]:
    """Each task with when it runs next, the soonest first."""
    rows: list[tuple[datetime, str, str]] = []
    for request in requests:
        task = request.task
        never = datetime.max.replace(tzinfo=UTC)
        if not task.enabled:
            rows.append((never, task.name, "disabled in its file"))
        elif not task.cron:
            rows.append((never, task.name, f"when asked: goalfile run {task.name}"))
        else:
            slot = next_slots([parse_cron(text) for text in task.cron], task.timezone, now, 1)[0]
            rows.append((slot, task.name, f"next {slot:%a %d %b %H:%M} UTC, in {length(slot - now)}"))
    return [(name, when) for _, name, when in sorted(rows)]


def length(span: timedelta) -> str:
    """A stretch of time in at most two units: `4.2s`, `12m`, `3h 20m`, `2d 4h`."""
    seconds = max(span.total_seconds(), 0)
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 120:
        return f"{seconds:.0f}s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 48 * 60:
        return f"{minutes // 60}h {minutes % 60}m"
    return f"{minutes // 1440}d {minutes // 60 % 24}h"


def run_table(runs: Iterable[Run], now: datetime) -> list[str]:
    """Runs as rows: id, status, how long ago, how long it took."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        took = length((run.ended_at or now) - run.started_at)
        rows.append((run.id, mark(run.status), f"{length(now - run.started_at)} ago", took))
    return table([("RUN", "STATUS", "STARTED", "TOOK"), *rows])


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell; styled text counts without its colour."""
    widths = [max(len(click.unstyle(row[i])) for row in rows) for i in range(len(rows[0]))]

    def padded(cell: str, width: int) -> str:
        return cell + " " * (width - len(click.unstyle(cell)))

    return ["  ".join(map(padded, row, widths)).rstrip() for row in rows]


def run_line(line: Line, *, name: str = "", whole: bool = True) -> str:
    """One line of a run, with the run's name if several share a screen; `whole` shows longer texts, indented."""
    sign, color = {
        "started": ("▸", "blue"),
        "said": ("·", "cyan"),
        "call": ("→", "white"),
        "result": ("←", "white"),
        "trouble": ("!", "yellow"),
        "waiting": ("?", "magenta"),
        "person": ("☞", "magenta"),
    }.get(line.kind, MARKS.get(line.text.partition(":")[0], ("■", "white")))
    whose = f"{click.style(name, dim=True)} " if name else ""
    head = f"{line.at.astimezone():%H:%M:%S} {whose}{click.style(sign, fg=color)} {in_a_line(line.text)}"
    if not line.detail:
        return head
    if whole and line.kind in ("ended", "said"):
        return head + "\n" + "\n".join(f"           {part}" for part in safe(line.detail).splitlines())
    return f"{head}  {click.style(one_line(line.detail), dim=True)}"
