"""A plan carried out: in which order, what stops it, and which slot is said to have passed meanwhile."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner.apply import apply
from runner.files import TaskFile
from runner.plan import Existing, Plan, make_plan
from runner.sync import Sync
from runner.wanted import read_wanted
from tests.sync.schedules import Kept, Line, Memory

ME = "me"


def plan(memory: Memory, **texts: str) -> Plan:
    files = [TaskFile(f"tasks/{name}.yaml", text.encode()) for name, text in texts.items()]
    there = tuple(Existing(name, kept.owner, kept.digest, kept.paused, kept.note) for name, kept in memory.kept.items())
    return make_plan(read_wanted(files), there, ME, missing_before=set(memory.kept))


async def test_deletes_come_last() -> None:
    memory, now = Memory(), datetime.now(UTC)
    await apply(memory, plan(memory, a="goal: x\n", b="goal: x\n"), ME, now)
    await apply(memory, plan(memory, b="goal: y\n", c="goal: x\n"), ME, now)
    assert [verb for verb, *_ in memory.writes[2:]] == ["create", "update", "delete"]


async def test_nothing_is_deleted_in_a_round_in_which_a_write_failed() -> None:
    memory, now = Memory(), datetime.now(UTC)
    await apply(memory, plan(memory, a="goal: x\n", b="goal: x\n"), ME, now)
    done = await apply(Line(memory, iter([True])), plan(memory, b="goal: x\n", c="goal: x\n"), ME, now)
    assert [failure.action.name for failure in done.failures] == ["c"]
    assert set(memory.kept) == {"a", "b"}


async def test_what_a_lagging_listing_hides_is_updated_if_it_is_ours_and_left_alone_if_not() -> None:
    memory, now = Memory(), datetime.now(UTC)
    first = plan(memory, a="goal: x\n", b="goal: x\n")
    await apply(memory, first, ME, now)
    memory.others("b", Kept("other", "theirs", memory.kept["b"].request, paused=False, note=""))
    done = await apply(memory, first, ME, now)
    assert [(failure.action.name, failure.error) for failure in done.failures] == [
        ("b", "it belongs to `other` by now; it was left alone")
    ]
    assert memory.writes[-1] == ("update", "a", ME, ME)


async def test_a_slot_that_passes_while_its_schedule_is_made_is_said() -> None:
    memory, now = Memory(), datetime.now(UTC)
    late = plan(memory, often="goal: x\ncron: '* * * * *'\n", yearly="goal: x\ncron: '@yearly'\n")
    done = await apply(memory, late, ME, now - timedelta(minutes=2))
    [note] = done.notes
    assert note.startswith("often: its slot ")
    assert "passed while its schedule was being made" in note


async def test_a_file_that_is_renamed_and_keeps_its_name_is_an_update(tmp_path: Path) -> None:
    memory = Memory()
    (tmp_path / "a.yaml").write_text("goal: x\nname: weekly\n")
    (tmp_path / "other.yaml").write_text("goal: x\n")
    sync = Sync(memory, tmp_path, ME)
    await sync.round()
    memory.person("weekly", paused=True, note="on holiday")
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
    await sync.round()
    await sync.round()
    assert [write[:2] for write in memory.writes[2:]] == [("update", "weekly")]
    assert memory.kept["weekly"].note == "on holiday"
