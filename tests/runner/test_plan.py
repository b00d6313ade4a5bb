"""The plan: the table in runner/plan.py row by row, and laws over many rounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.files import TaskFile
from runner.plan import Existing, Plan, make_plan
from runner.wanted import Wanted, read_wanted

ME, OTHER = "mine", "theirs"


def files(**goals: str) -> Wanted:
    return read_wanted([TaskFile(f"tasks/{name}.yaml", f"goal: {goal}\n".encode()) for name, goal in goals.items()])


def applied(plan: Plan, existing: tuple[Existing, ...]) -> tuple[Existing, ...]:
    """The server after a plan was applied without a failure."""
    by_name = {schedule.name: schedule for schedule in existing}
    for action in plan.actions:
        if action.request is None:
            del by_name[action.name]
        else:
            by_name[action.name] = Existing(action.name, ME, action.request.source.digest)
    return tuple(by_name.values())


def verbs(plan: Plan) -> list[tuple[str, str]]:
    return [(action.verb, action.name) for action in plan.actions]


def many(count: int) -> dict[str, str]:
    return {f"t{i:02}": "x" for i in range(count)}


def test_a_new_file_is_created() -> None:
    assert verbs(make_plan(files(a="x"), (), ME)) == [("create", "a")]


def test_a_second_sync_has_nothing_to_do() -> None:
    wanted = files(a="x", b="y")
    existing = applied(make_plan(wanted, (), ME), ())
    assert make_plan(wanted, existing, ME).actions == ()


def test_a_changed_file_is_updated() -> None:
    existing = applied(make_plan(files(a="x"), (), ME), ())
    assert verbs(make_plan(files(a="y"), existing, ME)) == [("update", "a")]


def test_a_schedule_of_another_owner_is_a_conflict_and_not_touched() -> None:
    plan = make_plan(files(a="x"), (Existing("a", OTHER, "d"),), ME)
    assert plan.actions == ()
    assert "conflict" in plan.notes[0]


def test_what_others_own_is_not_missed() -> None:
    plan = make_plan(files(a="x"), (Existing("z", OTHER, "d"),), ME, missing_before={"z"})
    assert verbs(plan) == [("create", "a")]
    assert plan.missing == frozenset()


def test_a_file_that_is_gone_is_deleted_only_when_two_scans_agree() -> None:
    existing = applied(make_plan(files(a="x", b="y"), (), ME), ())
    first = make_plan(files(a="x"), existing, ME)
    assert (first.actions, first.waiting) == ((), {"b"})
    second = make_plan(files(a="x"), existing, ME, missing_before=first.missing)
    assert verbs(second) == [("delete", "b")]


def test_a_file_that_turned_wrong_keeps_its_schedule() -> None:
    existing = applied(make_plan(files(a="x", b="y"), (), ME), ())
    wanted = read_wanted([TaskFile("tasks/a.yaml", b"goal: x\n"), TaskFile("tasks/b.yaml", b"goall: y\n")])
    plan = make_plan(wanted, existing, ME, missing_before={"b"})
    assert (plan.actions, plan.missing, plan.notes) == ((), frozenset(), ())


def test_while_a_file_hides_its_name_nothing_is_deleted() -> None:
    existing = applied(make_plan(files(a="x", b="y"), (), ME), ())
    wanted = read_wanted([TaskFile("tasks/a.yaml", b"goal: x\n"), TaskFile("tasks/c.yaml", b"name: b\ngoal: [\n")])
    plan = make_plan(wanted, existing, ME, missing_before={"b"})
    assert plan.actions == ()
    assert "tasks/c.yaml cannot be read" in plan.notes[0]


def test_two_files_of_one_name_hold_it() -> None:
    existing = applied(make_plan(files(a="x", b="y"), (), ME), ())
    wanted = read_wanted(
        [
            TaskFile("tasks/a.yaml", b"goal: x\n"),
            TaskFile("tasks/b.yaml", b"goal: z\n"),
            TaskFile("tasks/s/b.yaml", b"goal: q\n", "s"),
        ]
    )
    plan = make_plan(wanted, existing, ME, missing_before={"b"})
    assert plan.actions == ()
    assert [problem.code for problem in wanted.problems] == ["duplicate-name"]


@pytest.mark.parametrize(
    ("left", "blocked"),
    [(0, True), (6, True), (7, False), (9, False)],
)
def test_a_mass_deletion_waits_for_a_person(left: int, blocked: bool) -> None:
    existing = applied(make_plan(files(**many(10)), (), ME), ())
    wanted = files(**many(left))
    gone = {f"t{i:02}" for i in range(left, 10)}
    plan = make_plan(wanted, existing, ME, missing_before=gone)
    assert (plan.actions == ()) is blocked
    assert bool(plan.hash) is blocked
    if blocked:
        released = make_plan(wanted, existing, ME, missing_before=gone, confirmed=plan.hash)
        assert {name for _, name in verbs(released)} == gone
        assert make_plan(wanted, existing, ME, missing_before=gone, confirmed="0" * 12).actions == ()


def test_a_listing_that_lags_makes_no_mass_smaller_than_it_is() -> None:
    """Ten there are, and the list shows nine: four of them are a mass all the same, whichever it leaves out."""
    existing = applied(make_plan(files(**many(10)), (), ME), ())
    gone = frozenset(list(many(10))[6:])
    for unlisted in range(10):
        listed = tuple(each for index, each in enumerate(existing) if index != unlisted)
        plan = make_plan(files(**many(6)), listed, ME, missing_before=gone)
        assert plan.blocked
        assert "delete" not in dict(verbs(plan))


def test_the_last_schedule_is_not_deleted_without_a_person() -> None:
    existing = applied(make_plan(files(a="x"), (), ME), ())
    assert make_plan(files(b="x"), existing, ME, missing_before={"a"}).actions[0].verb == "create"
    assert "all of them" in make_plan(files(b="x"), existing, ME, missing_before={"a"}).notes[0]


NAMES = st.sampled_from([f"t{i}" for i in range(14)])
FOLDER = st.dictionaries(NAMES, st.sampled_from(["x", "y"]))


@given(
    folders=st.lists(FOLDER, min_size=1, max_size=6),
    foreign=st.sets(NAMES, max_size=3),
)
def test_over_any_edits_only_ours_is_touched_and_deletes_come_last(
    folders: list[dict[str, str]], foreign: set[str]
) -> None:
    theirs = {Existing(name, OTHER, "d") for name in foreign}
    existing: tuple[Existing, ...] = tuple(theirs)
    missing: frozenset[str] = frozenset()
    for folder in folders:
        plan = make_plan(files(**folder), existing, ME, missing_before=missing)
        touched = {action.name for action in plan.actions}
        assert not touched & foreign
        order = [action.verb for action in plan.actions]
        assert order == sorted(order, key=["create", "update", "delete"].index)
        gone = {action.name for action in plan.actions if action.verb == "delete"}
        assert gone <= missing, "absence is seen twice"
        assert not gone & folder.keys()
        existing, missing = applied(plan, existing), plan.missing
        assert theirs <= set(existing)
        assert {s.name for s in existing} >= folder.keys()
    again = make_plan(files(**folders[-1]), existing, ME, missing_before=frozenset())
    assert again.actions == ()
