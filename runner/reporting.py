"""What a run has to say to people, and to whom: notices made from how it ended or what it waits for. Pure.

How often an equal failure is told, and what a notice reads like, is `runner.notices`'s.
"""

from datetime import datetime

from runner.moves import Finish
from runner.notices import same_failure, whom_to_tell
from schemas.run import Notice, RunResult, Waiting
from schemas.task import Task

Notices = list[tuple[str, Notice]]

_FAILURES = ("failed", "stopped")


def in_a_row(end: Finish, before: RunResult | None) -> int:
    """Equal failures in a row, this one included. A cancelled run adds none; the failure after it counts anew."""
    was = before.in_a_row if before else 0
    if end.outcome == "cancelled":
        return was
    if end.outcome not in _FAILURES:
        return 0
    same = before is not None and before.status in _FAILURES and same_failure(before.reason, end.reason)
    return was + 1 if same else 1


def why_it_waits(asked: tuple[Waiting, ...]) -> str:
    """One line for a status."""
    tools = ", ".join(dict.fromkeys(each.tool or each.toolkit for each in asked))
    kind = asked[0].kind if asked else "approval"
    what = {"approval": "approval of", "unknown": "word on an unknown outcome of", "connection": "connection of"}[kind]
    return f"{what} {tools}"


def waiting(task: Task, run: str, asked: tuple[Waiting, ...], now: datetime, link: str) -> Notices:
    """A run waits for a person: everybody who hears of failures is told, with the exact arguments."""
    notice = Notice(
        id=f"{run}-waiting-{asked[0].id}",
        type="run.waiting",
        at=now,
        task=task.name,
        run=run,
        reason=why_it_waits(asked),
        waiting=asked,
        link=link,
    )
    channels = dict.fromkeys(each.to for each in task.notify if each.when != "success")
    return [(channel, notice) for channel in channels]


def ended(
    task: Task, run: str, result: RunResult, before: RunResult | None, *, unknown: tuple[str, ...], link: str
) -> Notices:
    """How a run ended, for those who want to hear it."""
    told = whom_to_tell(task.notify, result.status, result.in_a_row, before.in_a_row if before else 0)
    return [
        (
            channel,
            Notice(
                id=f"{run}-ended",
                type=kind,
                at=result.ended_at,
                task=task.name,
                run=run,
                reason=result.reason,
                summary=result.summary,
                output=result.output,
                in_a_row=result.in_a_row,
                unknown=unknown,
                cost_usd=result.cost_usd,
                link=link,
            ),
        )
        for channel, kind in told
    ]


def paused(task: Task, run: str, said: str, result: RunResult, link: str) -> Notices:
    """The schedule was paused, for it fails the same way again and again."""
    notice = Notice(
        id=f"{run}-paused",
        type="schedule.paused",
        at=result.ended_at,
        task=task.name,
        run=run,
        reason=said,
        in_a_row=result.in_a_row,
        link=link,
    )
    return [(channel, notice) for channel in dict.fromkeys(each.to for each in task.notify if each.when != "success")]
