"""No sequence of edits, faults and accidents deletes, duplicates or loses a schedule that its author did not remove.

The machine keeps what the author meant apart from what the disk shows at the moment; a folder that is
unmounted or half checked out changes the second, never the first.
"""

import asyncio
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runner.plan import MASS, MASS_FROM
from runner.sync import Round, Sync
from schemas.load import load_task
from tests.sync.schedules import Kept, Killed, Line, Memory

ME, OTHER = "me", "other"
FILES = [f"{name}.yaml" for name in "abcdefghijklm"] + ["team/a.yaml", "team/n.yaml"]
NAMES = st.sampled_from(["a", "b", "n", "p", "q"])
BROKEN = st.sampled_from(
    ["goal: [\n", "goall: x\n", "goal: x\ncron: '61 * * * *'\n", "", "\tx", "name: A b\ngoal: x\n"]
)


class SyncMachine(RuleBasedStateMachine):
    """One folder of `ME`, a second owner, and a server."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.home = Path(mkdtemp(prefix="goalfile-"))
        self.root = self.home / "tasks"
        self.root.mkdir()
        self.meant: dict[str, str] = {}  # what the author has written, by path
        self.mounted = True
        self.memory = self.make_memory()
        self.syncs = [Sync(self.memory, self.root, ME), Sync(self.memory, self.root, ME)]
        self.paused: set[str] = set()
        self.confirm = ""

    def make_memory(self) -> Memory:
        return Memory()

    def teardown(self) -> None:
        self.loop.close()
        shutil.rmtree(self.home)

    # What the author does.

    @initialize(names=st.sets(st.sampled_from(FILES), min_size=0, max_size=13))
    def begin(self, names: set[str]) -> None:
        for path in sorted(names):
            self._author(path, "goal: x\ncron: '@daily'\n")
        self._settle()

    @rule(path=st.sampled_from(FILES), goal=st.sampled_from("xyz"), more=st.sampled_from(["", "enabled: false\n"]))
    def write(self, path: str, goal: str, more: str) -> None:
        self._author(path, f"goal: {goal}\ncron: '@daily'\n{more}")

    @rule(path=st.sampled_from(FILES), name=NAMES)
    def write_with_a_name(self, path: str, name: str) -> None:
        self._author(path, f"goal: x\nname: {name}\n")

    @rule(path=st.sampled_from(FILES), text=BROKEN)
    def break_a_file(self, path: str, text: str) -> None:
        self._author(path, text)

    @rule(path=st.sampled_from(FILES), name=NAMES)
    def break_a_file_that_tells_another_name(self, path: str, name: str) -> None:
        self._author(path, f"goall: x\nname: {name}\n")

    @precondition(lambda self: self.meant)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.meant)))
        del self.meant[path]
        self._show()

    @precondition(lambda self: len(self.meant) > 4)
    @rule(data=st.data())
    def remove_many_and_look_twice(self, data: st.DataObject) -> None:
        for path in data.draw(st.sets(st.sampled_from(sorted(self.meant)), min_size=3, max_size=len(self.meant) - 1)):
            del self.meant[path]
        self._show()
        self._round(0)
        self._round(0)

    @precondition(lambda self: self.meant)
    @rule(data=st.data(), to=st.sampled_from(FILES))
    def move(self, data: st.DataObject, to: str) -> None:
        path = data.draw(st.sampled_from(sorted(self.meant)))
        self._author(to, self.meant.pop(path))

    # What happens to the folder.

    @rule()
    def unmount(self) -> None:
        self.mounted = False
        self._show()
        before = len(self.memory.writes)
        for done in (self._round(0), self._round(0)):
            assert done is None or done.error
        assert len(self.memory.writes) == before, "an unmounted folder changes nothing"

    @rule()
    def mount_again(self) -> None:
        self.mounted = True
        self._show()

    @precondition(lambda self: self.mounted and self.meant)
    @rule(data=st.data())
    def check_out_half(self, data: st.DataObject) -> None:
        """One scan sees a part of the folder; the ones before and after see all of it."""
        self._round(0)
        hidden = data.draw(st.sets(st.sampled_from(sorted(self.meant))))
        for path in hidden:
            (self.root / path).unlink()
        self._round(0)
        self._show()
        self._round(0)

    # What happens on the server.

    @precondition(lambda self: self.memory.kept)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.memory.kept)))
        self.memory.person(name, paused=True, note="the vendor is down")
        self.paused.add(name)

    @precondition(lambda self: self.memory.kept)
    @rule(data=st.data(), by_hand=st.sampled_from(["", "its times"]))
    def resume_and_edit(self, data: st.DataObject, by_hand: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.memory.kept)))
        self.memory.person(name, paused=False, note="", by_hand=by_hand)
        self.paused.discard(name)

    @rule(name=NAMES)
    def somebody_else_makes_one(self, name: str) -> None:
        if name not in self.memory.kept and self.memory.kept:
            some = next(iter(self.memory.kept.values()))
            digest = some.request.source.digest
            self.memory.others(name, Kept(OTHER, digest, some.request, paused=False, note=""))

    @rule(lag=st.integers(0, 3))
    def listings_lag(self, lag: int) -> None:
        self.memory.lag = lag

    # Rounds.

    @rule(which=st.integers(0, 1))
    def round(self, which: int) -> None:
        self._round(which)

    @rule(which=st.integers(0, 1))
    def confirm_what_is_blocked(self, which: int) -> None:
        self._round(which, confirmed=self.confirm)

    @rule()
    def two_rounds_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(*(sync.round() for sync in self.syncs))

        self._watched(both())

    @rule(which=st.integers(0, 1), fails=st.lists(st.booleans(), max_size=12))
    def a_round_with_failing_calls(self, which: int, fails: list[bool]) -> None:
        self._through(which, Line(self.memory, iter(fails)))

    @rule(which=st.integers(0, 1), calls=st.integers(0, 8))
    def killed_after_some_calls(self, which: int, calls: int) -> None:
        self._through(which, Line(self.memory, iter(()), kill_after=calls))
        self.syncs[which] = Sync(self.memory, self.root, ME)  # it is started again, and remembers nothing

    @rule()
    def quiet(self) -> None:
        """Once nothing is wrong with the outside, files and server become equal, and stay so without a write."""
        self._settle()
        loaded = [load_task(text.encode(), path) for path, text in self.meant.items()]
        told = [each.name for each in loaded]
        for each in loaded:
            if each.task and told.count(each.task.name) == 1:  # two files of one name hold it
                kept = self.memory.kept.get(each.task.name)
                assert kept, f"{each.task.name} is lost"
                assert kept.owner != ME or (kept.request.task == each.task and not kept.by_hand)
        before = len(self.memory.writes)
        self._round(0)
        assert len(self.memory.writes) == before, self.memory.writes[before:]

    # Laws.

    @invariant()
    def what_others_own_is_never_touched(self) -> None:
        assert not [write for write in self.memory.writes if write[2] not in ("", ME)]

    @invariant()
    def a_pause_by_a_person_stays(self) -> None:
        self.paused &= self.memory.kept.keys()
        for name in self.paused:
            assert self.memory.kept[name].note == "the vendor is down"

    def _must_stay(self) -> set[str]:
        """The names that a file tells, and those whose own file is there but wrong."""
        loaded = {path: load_task(text.encode(), path) for path, text in self.meant.items()}
        told = {each.name for each in loaded.values() if each.name}
        made_from = {name: str(Path(each.request.source.path).relative_to(self.root)) for name, each in self._ours()}
        return told | {name for name, path in made_from.items() if path in loaded and loaded[path].task is None}

    def _ours(self) -> list[tuple[str, Kept]]:
        return [(name, each) for name, each in self.memory.kept.items() if each.owner == ME]

    def _author(self, path: str, text: str) -> None:
        self.meant[path] = text
        self._show()

    def _show(self) -> None:
        """Make the disk what the author means, or unmounted."""
        away = self.home / "away"
        if not self.mounted:
            if self.root.exists():
                self.root.replace(away)
            return
        if away.exists():
            away.replace(self.root)
        for path in [*self.root.rglob("*.yaml")]:
            if str(path.relative_to(self.root)) not in self.meant:
                path.unlink()
        for path, text in self.meant.items():
            (self.root / path).parent.mkdir(exist_ok=True)
            (self.root / path).write_text(text)

    def _settle(self) -> None:
        self.mounted = True
        self._show()
        for _ in range(4):
            self.memory.caught_up()
            self._round(0)
        self.memory.caught_up()

    def _round(self, which: int, confirmed: str = "") -> Round | None:
        done: list[Round] = []

        async def one() -> None:
            done.append(await self.syncs[which].round(confirmed))

        self._watched(one(), confirmed)
        if done and done[0].plan.hash:
            self.confirm = done[0].plan.hash
        return done[0] if done else None

    def _through(self, which: int, line: Line) -> None:
        sync = self.syncs[which]
        sync._schedules, usual = line, sync._schedules

        async def one() -> None:
            try:
                await sync.round()
            except Killed:
                await asyncio.sleep(0)

        try:
            self._watched(one())
        finally:
            sync._schedules = usual

    def _watched(self, work: Any, confirmed: str = "") -> None:
        """Do it, and judge every write that came of it."""
        before, owned, must_stay = len(self.memory.writes), self._ours(), self._must_stay()
        shown = sum(each.owner == ME for each in self.memory.shown.values())
        self.loop.run_until_complete(work)
        for task in asyncio.all_tasks(self.loop):  # what a killed process had in flight
            task.cancel()
            self.loop.run_until_complete(asyncio.wait([task]))
        deleted = [name for verb, name, _, _ in self.memory.writes[before:] if verb == "delete"]
        assert len(deleted) == len(set(deleted))
        for name in deleted:
            assert name not in must_stay, f"{name} was deleted, and its author did not remove it"
        if not confirmed:
            assert not deleted or len(deleted) < len(owned), "the last one goes only on a person's word"
            # How many there are is what the list shows: nobody knows of one that it leaves out.
            few, many = sorted((len(owned), shown))
            assert few < MASS_FROM or len(deleted) <= MASS * many, "a mass is never deleted by itself"


def machine(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        SyncMachine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_no_sequence_loses_a_schedule() -> None:
    machine(60, 15)


@pytest.mark.slow
def test_no_sequence_of_a_thousand_loses_a_schedule() -> None:
    machine(1000, 20)
