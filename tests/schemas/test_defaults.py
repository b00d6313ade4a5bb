"""`_defaults.yaml`: what a folder's tasks share, and in which file its mistakes are told."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.files import SourceUnavailable, TaskFile, read_alone, scan
from runner.wanted import Wanted, read_wanted
from schemas.catalog import Catalog
from schemas.load import Defaults, load_defaults, load_task, merged
from schemas.task import Task


def folder(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def wanted(root: Path, catalog: Catalog | None = None) -> Wanted:
    return read_wanted(scan(root).files, catalog)


def task(root: Path, name: str) -> Task:
    found = wanted(root)
    assert found.problems == ()
    return found.requests[name].task


def defaults(*texts: str) -> list[Defaults]:
    return [load_defaults(text.encode(), "_defaults.yaml") for text in texts]


def test_a_folder_supplies_what_a_task_does_not_say(tmp_path: Path) -> None:
    folder(
        tmp_path, {"_defaults.yaml": "timezone: Europe/Berlin\noverlap: queue\n", "a.yaml": "goal: x\noverlap: allow\n"}
    )
    assert (task(tmp_path, "a").timezone, task(tmp_path, "a").overlap) == ("Europe/Berlin", "allow")


def test_the_nearest_folder_wins_and_maps_merge_by_key(tmp_path: Path) -> None:
    files = {
        "_defaults.yaml": "limits: {turns: 5, timeout: 1h}\nlabels: {team: all, env: prod}\ntoolkit: [gmail, github]\n",
        "ops/_defaults.yaml": "limits: {turns: 9}\nlabels: {team: ops}\ntoolkit: linear\n",
        "ops/night/a.yaml": "goal: x\nlimits: {tokens: 5000}\n",
        "b.yaml": "goal: x\n",
    }
    found = task(folder(tmp_path, files), "a")
    assert (found.limits.turns, found.limits.timeout.total_seconds(), found.limits.tokens) == (9, 3600, 5000)
    assert found.labels == {"team": "ops", "env": "prod"}
    assert found.toolkit == ("linear",)
    assert task(tmp_path, "b").limits.turns == 5


def test_the_tasks_of_another_folder_are_left_alone(tmp_path: Path) -> None:
    folder(tmp_path, {"ops/_defaults.yaml": "timezone: Europe/Berlin\n", "opsy/a.yaml": "goal: x\n"})
    assert task(tmp_path, "a").timezone == "UTC"


@pytest.mark.parametrize("field", ["goal: x", "cron: '@daily'", "inputs: {a: 1}", "output: {type: object}", "name: a"])
def test_what_is_each_task_s_own_cannot_be_a_default(field: str) -> None:
    [problem] = load_defaults(field.encode(), "_defaults.yaml").problems
    assert problem.code == "unknown-key"
    assert "each task's own" in problem.label


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n"])
def test_empty_defaults_are_no_mistake(text: str) -> None:
    assert load_defaults(text.encode(), "_defaults.yaml").problems == ()


def test_a_mistake_in_the_defaults_is_told_once_and_there(tmp_path: Path) -> None:
    folder(tmp_path, {"_defaults.yaml": "timezone: Berlin\n", "a.yaml": "goal: x\n", "b.yaml": "goal: x\n"})
    found = wanted(tmp_path)
    assert [(problem.code, Path(problem.file).name) for problem in found.problems] == [
        ("bad-timezone", "_defaults.yaml")
    ]


def test_tasks_below_wrong_defaults_are_held_and_not_lost(tmp_path: Path) -> None:
    files = {"ops/_defaults.yaml": "tmezone: UTC\n", "ops/a.yaml": "goal: x\n", "b.yaml": "goal: x\n"}
    found = wanted(folder(tmp_path, files))
    assert found.held == {"a"}
    assert set(found.requests) == {"b"}


def test_a_contradiction_of_two_files_is_told_where_it_can_be_mended(tmp_path: Path) -> None:
    files = {
        "_defaults.yaml": "overlap: allow\n",
        "a.yaml": "goal: x\nmemory: last\n",
        "b.yaml": "goal: x\nmemory: last\n",
    }
    told = [each for each in wanted(folder(tmp_path, files)).problems if each.code == "contradiction"]
    assert [(Path(each.file).name, each.span.line) for each in told] == [("_defaults.yaml", 1)]


def test_labels_of_two_files_are_counted_together(tmp_path: Path) -> None:
    def labels(start: int) -> str:
        return "labels: {" + ", ".join(f"l{number}: x" for number in range(start, start + 9)) + "}\n"

    folder(tmp_path, {"_defaults.yaml": labels(0), "a.yaml": f"goal: x\n{labels(20)}"})
    assert [problem.label for problem in wanted(tmp_path).problems] == ["write at most 16 entries; these are 18"]


def test_changed_defaults_change_the_digest_of_every_task_below(tmp_path: Path) -> None:
    folder(tmp_path, {"_defaults.yaml": "timezone: UTC\n", "a.yaml": "goal: x\n"})
    before = wanted(tmp_path).requests["a"].source.digest
    folder(tmp_path, {"_defaults.yaml": "timezone: Europe/Berlin\n"})
    assert wanted(tmp_path).requests["a"].source.digest != before


def test_a_misnamed_defaults_file_is_told(tmp_path: Path) -> None:
    [problem] = scan(folder(tmp_path, {"_defaults.yml": "timezone: UTC\n", "_notes.yaml": "- x\n"})).problems
    assert (problem.code, problem.help) == ("bad-file-name", "what a folder's tasks share stands in _defaults.yaml")


def test_a_defaults_file_that_leads_out_of_the_folder_is_no_complete_scan(tmp_path: Path) -> None:
    folder(tmp_path, {"tasks/a.yaml": "goal: x\n", "elsewhere.yaml": "timezone: UTC\n"})
    (tmp_path / "tasks" / "_defaults.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(SourceUnavailable, match="points out of the tasks folder"):
        scan(tmp_path / "tasks")


def test_a_task_may_run_as_whom_its_folder_may_or_one_above(tmp_path: Path) -> None:
    server = Catalog(run_as={".": ("bot",), "finance": ("finance", "audit")})
    files = {
        "a.yaml": "goal: x\nrun_as: finance\n",
        "b.yaml": "goal: x\nrun_as: bot\n",
        "finance/c.yaml": "goal: x\nrun_as: finance\n",
        "finance/eu/d.yaml": "goal: x\nrun_as: audit\n",
        "finance/eu/e.yaml": "goal: x\nrun_as: bot\n",
        "x/finance/f.yaml": "goal: x\nrun_as: finance\n",
    }
    found = wanted(folder(tmp_path, files), server)
    assert set(found.requests) == {"b", "c", "d", "e"}
    assert {problem.code for problem in found.problems} == {"run-as-not-allowed"}


@pytest.mark.parametrize("mark", [".git", "goalfile.config.yaml"])
@pytest.mark.parametrize("here", [".", "tasks", "tasks/ops"])
def test_one_file_alone_finds_the_defaults_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str, here: str
) -> None:
    files = {
        "tasks/_defaults.yaml": "timezone: Europe/Berlin\n",
        "tasks/ops/a.yaml": "goal: x\n",
        "_defaults.yaml": "x: 1\n",
    }
    folder(tmp_path, files)
    (tmp_path / mark).mkdir()
    monkeypatch.chdir(tmp_path / here)
    path = Path("tasks/ops/a.yaml").relative_to(here)
    found = read_wanted(read_alone(path))
    assert found.problems == ()
    assert found.requests["a"].task.timezone == "Europe/Berlin"
    assert found.requests["a"].source.path == str(path)


def test_without_a_repository_the_folder_we_are_in_is_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(
        tmp_path, {"_defaults.yaml": "x: 1\n", "tasks/_defaults.yaml": "timezone: EST\n", "tasks/a.yaml": "goal: x\n"}
    )
    monkeypatch.chdir(tmp_path)
    assert [file.path for file in read_alone(Path("tasks/a.yaml"))] == ["tasks/_defaults.yaml", "tasks/a.yaml"]


LAYERS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
            "limits": st.dictionaries(st.sampled_from(["turns", "tokens"]), st.integers(1000, 1003)),
            "toolkit": st.lists(st.sampled_from(["gmail", "github"]), max_size=2),
        },
    ),
    max_size=4,
)


@given(LAYERS)
def test_merging_is_the_same_in_one_go_or_step_by_step(layers: list[dict[str, object]]) -> None:
    *outer, own = layers or [{}]
    above = [Defaults(read.document, layer) for layer, read in zip(outer, defaults(*[""] * len(outer)), strict=True)]
    at_once = merged(own, above)
    step_by_step: dict[str, object] = {}
    for layer in (*outer, own):
        [only] = defaults("")
        step_by_step = merged(layer, [Defaults(only.document, step_by_step)])
    assert at_once == step_by_step


@given(LAYERS)
def test_what_the_task_says_itself_always_holds(layers: list[dict[str, object]]) -> None:
    above = [Defaults(read.document, layer) for layer, read in zip(layers, defaults(*[""] * len(layers)), strict=True)]
    own = {"timezone": "EST", "limits": {"turns": 7}, "toolkit": ["linear"]}
    said = merged(own, above)
    assert (said["timezone"], said["limits"]["turns"], said["toolkit"]) == ("EST", 7, ["linear"])


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_of_defaults_raise(raw: bytes) -> None:
    found = load_defaults(raw, "_defaults.yaml")
    assert load_task(b"goal: x\n", "a.yaml", [found]).name == "a"
    assert read_wanted([TaskFile("_defaults.yaml", raw), TaskFile("a.yaml", b"goal: x\n")])
