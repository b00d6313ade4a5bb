"""What a run waits for a person to say, and what was said: first word wins, used once, for exactly one call.

Plain state of a workflow; it decides what a decision is good for, and knows neither clock nor Temporal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from runner.effects import fingerprint
from runner.moves import Person
from runner.ports import Missing
from schemas.run import Decision, Waiting


class NotWaiting(ValueError):  # noqa: N818 - it reads as a state
    """Nothing waits for this decision; the message says what happened instead."""


@dataclass
class Desk:
    """One run's open questions."""

    waiting: dict[str, Waiting] = field(default_factory=dict[str, Waiting])
    decisions: dict[str, Decision] = field(default_factory=dict[str, Decision])
    asked: set[str] = field(default_factory=set[str])
    """Every id that ever waited."""

    @property
    def unanswered(self) -> tuple[Waiting, ...]:
        """What still waits for a word."""
        return tuple(each for each in self.waiting.values() if each.id not in self.decisions)

    def open(self, questions: Iterable[Waiting]) -> None:
        """Put questions before people."""
        for question in questions:
            self.waiting[question.id] = question
            self.asked.add(question.id)

    def still_missing(self, missing: Iterable[Missing], now: datetime, until: datetime) -> tuple[Waiting, ...]:
        """What is not connected by now. What waited before keeps its time, and its link if there is no new one."""
        before = dict(self.waiting)
        self.waiting.clear()
        return tuple(
            each.model_copy(update={"since": was.since, "link": each.link or was.link})
            for each in connections(missing, now, until)
            for was in (before.get(each.id, each),)
        )

    def check(self, decision: Decision, now: datetime) -> None:
        """Raise NotWaiting unless this decision is one that somebody waits for."""
        question = self.waiting.get(decision.id)
        if question is None or decision.id in self.decisions:
            if decision.id not in self.asked:
                raise NotWaiting("nothing of that id waits for a decision here")
            said = self.decisions.get(decision.id)
            by = f" by {said.by}" if said and said.by else ""
            how = f"{'approved' if said.approve else 'denied'}{by}" if said else "closed: its time was over"
            raise NotWaiting(f"it was already {how}")
        if question.kind == "connection":
            raise NotWaiting(f"it waits for a connection of {question.toolkit}, not for an approval")
        if now >= question.until:
            raise NotWaiting("its time is over")
        if decision.fingerprint != question.fingerprint:
            raise NotWaiting("the decision is about other arguments than those that wait; look at them again")

    def take(self, decision: Decision) -> None:
        """Keep a decision that was checked."""
        self.decisions.setdefault(decision.id, decision)

    def close(self, ids: Iterable[str]) -> None:
        """These questions are answered, or their time is over."""
        for each in list(ids):
            self.waiting.pop(each, None)


def questions(person: Person, since: datetime, until: datetime, link: str) -> tuple[Waiting, ...]:
    """What a person is asked about calls."""
    return tuple(
        Waiting(
            kind=person.kind,
            id=call.effect_id if person.kind == "approval" else f"{call.effect_id}-again",
            toolkit=call.toolkit,
            tool=call.tool,
            arguments=call.arguments,
            fingerprint=fingerprint(call.tool, call.arguments),
            why=person.why,
            link=link,
            since=since,
            until=until,
        )
        for call in person.calls
    )


def connections(missing: Iterable[Missing], since: datetime, until: datetime) -> tuple[Waiting, ...]:
    """What a person is asked to connect."""
    return tuple(
        Waiting(
            kind="connection",
            id=each.toolkit,
            toolkit=each.toolkit,
            link=each.link,
            why=f"{each.toolkit} is not connected",
            since=since,
            until=until,
        )
        for each in missing
    )
