"""`goalfile init`: a repository in which editors, commits and pull requests check task files. It rewrites nothing."""

import json
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from runner import starter
from runner.cli import goalfile as command
from runner.files import scan
from tests.conftest import ROOT

Goalfile = Callable[..., "CompletedProcess[str]"]
EVERYTHING = [
    "tasks/.schema/task.schema.json",
    "tasks/.schema/defaults.schema.json",
    "tasks/hello.yaml",
    ".vscode/settings.json",
    ".vscode/extensions.json",
    ".pre-commit-config.yaml",
    ".github/workflows/goalfile.yaml",
    ".gitignore",
]
HOOK = f"""\
  - repo: https://github.com/goalfile/goalfile
    rev: v{version("goalfile")}
    hooks:
      - id: goalfile-validate
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> Result:
    return CliRunner().invoke(command, ["init", *words])


def states(said: Result) -> dict[str, str]:
    """Each file with its sign."""
    return {line.split()[1]: line.split()[0] for line in said.stdout.splitlines()}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def put(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file


def yaml_of(path: str) -> Any:
    return yaml.safe_load(Path(path).read_text())


def json_of(path: str) -> Any:
    return json.loads(Path(path).read_text())


def test_an_empty_folder_gets_everything_and_it_is_valid(goalfile: Goalfile, tmp_path: Path) -> None:
    said = goalfile("init")
    assert said.returncode == 0
    assert said.stdout == "".join(f"+ {path}  (written)\n" for path in EVERYTHING)
    assert said.stderr.startswith("\nnext: goalfile dev tasks/\n")
    assert sorted(contents(tmp_path)) == sorted(EVERYTHING)
    checked = goalfile("validate")
    assert (checked.returncode, checked.stderr) == (0, "1 task file, all valid\n")


def test_the_second_time_changes_nothing(tmp_path: Path) -> None:
    init()
    before = contents(tmp_path)
    said = init()
    assert said.exit_code == 0
    assert set(states(said).values()) == {"="}
    assert contents(tmp_path) == before


def test_another_folder_may_be_set_up(tmp_path: Path) -> None:
    assert init("some/where").exit_code == 0
    assert {path.removeprefix("some/where/") for path in contents(tmp_path)} == set(EVERYTHING)


def test_as_json_it_is_data_only() -> None:
    put(".gitignore", "*.pyc\n")
    put(".vscode/settings.json", "// mine\n{}\n")
    said = init("--json")
    data = json.loads(said.stdout)
    assert said.stderr == ""
    states = {**dict.fromkeys(EVERYTHING, "written"), ".gitignore": "changed", ".vscode/settings.json": "by hand"}
    assert data["files"] == states
    assert list(data["paste"]) == [".vscode/settings.json"]
    assert "yaml.schemas" in json.loads(data["paste"][".vscode/settings.json"])


class TestWhatIsWritten:
    @pytest.fixture(autouse=True)
    def done(self, here: Path) -> None:
        assert init().exit_code == 0

    @pytest.mark.parametrize("name", ["task.schema.json", "defaults.schema.json"])
    def test_the_schemas_are_those_of_the_package(self, name: str) -> None:
        assert Path("tasks/.schema", name).read_bytes() == (ROOT / "schemas" / name).read_bytes()

    def test_a_scan_passes_the_schemas_over(self) -> None:
        seen = scan(Path("tasks"))
        assert [file.path for file in seen.files] == ["tasks/hello.yaml"]
        assert seen.problems == ()

    def test_editors_are_pointed_to_the_schemas(self) -> None:
        schemas = json_of(".vscode/settings.json")["yaml.schemas"]
        assert all(Path(path).is_file() for path in schemas)
        assert schemas["./tasks/.schema/task.schema.json"] == ["tasks/**/*.yaml", "!tasks/**/_defaults.yaml"]
        assert schemas["./tasks/.schema/defaults.schema.json"] == ["tasks/**/_defaults.yaml"]
        first = Path("tasks/hello.yaml").read_text().splitlines()[0]
        assert Path("tasks", first.partition("$schema=")[2]).is_file()

    def test_the_hook_is_one_that_this_repository_has(self) -> None:
        [repository] = yaml_of(".pre-commit-config.yaml")["repos"]
        [hook] = repository["hooks"]
        assert repository["rev"] == f"v{version('goalfile')}"
        assert hook["id"] in [each["id"] for each in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())]

    def test_the_workflow_may_do_little_and_uses_nothing_that_moves(self) -> None:
        workflow = yaml_of(".github/workflows/goalfile.yaml")
        assert workflow["permissions"] == {"contents": "read"}
        [(_, job)] = workflow["jobs"].items()
        assert "permissions" not in job
        used = [step["uses"] for step in job["steps"] if "uses" in step]
        assert len(used) == 2
        assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", each) for each in used)
        assert workflow[True] == {"pull_request": {"paths": ["tasks/**", "goalfile.config.yaml"]}}  # YAML 1.1's `on`

    def test_the_workflow_runs_commands_that_there_are(self) -> None:
        [(_, job)] = yaml_of(".github/workflows/goalfile.yaml")["jobs"].items()
        lines = [step["run"] for step in job["steps"] if "run" in step]
        assert lines == [
            f"pip install goalfile=={version('goalfile')}",
            "goalfile validate tasks",
            "goalfile plan tasks",
        ]
        assert {line.split()[1] for line in lines[1:]} <= set(command.commands)
        [planning] = [step for step in job["steps"] if step.get("run") == "goalfile plan tasks"]
        assert planning["if"] == "env.TEMPORAL_ADDRESS != ''"

    def test_no_expression_of_the_workflow_reaches_a_shell(self) -> None:
        [(_, job)] = yaml_of(".github/workflows/goalfile.yaml")["jobs"].items()
        assert not any("${{" in step.get("run", "") for step in job["steps"])

    def test_old_schemas_are_renewed(self) -> None:
        schema = put("tasks/.schema/task.schema.json", "{}\n")
        said = init()
        assert states(said)["tasks/.schema/task.schema.json"] == "~"
        assert schema.read_bytes() == (ROOT / "schemas" / "task.schema.json").read_bytes()


class TestTheFirstTask:
    @pytest.mark.parametrize("path", ["tasks/hello.yaml", "tasks/other.yaml", "tasks/ops/a.yml"])
    def test_is_not_written_beside_another(self, tmp_path: Path, path: str) -> None:
        put(path, "goal: mine\n")
        assert init().exit_code == 0
        found = {name: text for name, text in contents(tmp_path).items() if re.search(r"tasks/.*\.ya?ml$", name)}
        assert found == {path: b"goal: mine\n"}

    def test_is_written_beside_defaults(self) -> None:
        put("tasks/_defaults.yaml", "timezone: Europe/Berlin\n")
        assert states(init())["tasks/hello.yaml"] == "+"


class TestSettingsOfTheEditor:
    def test_other_keys_are_kept(self) -> None:
        old = {"editor.rulers": [80], "yaml.schemas": {"./mine.json": ["mine.yaml"]}, "x": {"y": [1, None, "ü"]}}
        put(".vscode/settings.json", json.dumps(old))
        assert states(init())[".vscode/settings.json"] == "~"
        new = json_of(".vscode/settings.json")
        assert {**new, "yaml.schemas": None} == {**old, "yaml.schemas": None}
        assert [*new["yaml.schemas"]] == [
            "./mine.json",
            "./tasks/.schema/task.schema.json",
            "./tasks/.schema/defaults.schema.json",
        ]

    def test_other_lines_stay_as_they_were_written(self) -> None:
        lines = ['    "editor.tabSize": 4,', '    "window.title": "Grüße"']  # as VS Code itself indents
        path = put(".vscode/settings.json", "{\n" + "\n".join(lines) + "\n}\n")
        init()
        now = [line.rstrip(",") for line in path.read_text().splitlines()]
        assert [line for line in lines if line.rstrip(",") not in now] == []

    def test_what_a_person_said_of_our_schema_is_kept(self) -> None:
        mine = {"yaml.schemas": {"./tasks/.schema/task.schema.json": ["tasks/**/*.yaml", "more/*.yaml"]}}
        put(".vscode/settings.json", json.dumps(mine))
        init()
        assert "more/*.yaml" in json_of(".vscode/settings.json")["yaml.schemas"]["./tasks/.schema/task.schema.json"]

    @pytest.mark.parametrize(
        "text",
        [
            '// mine\n{\n  "editor.rulers": [80]\n}\n',
            '{\n  "editor.rulers": [80], // here\n}\n',
            "[]\n",
            "{",
            '{"yaml.schemas": null}\n',
            '{"yaml.schemas": ["./mine.json"]}\n',
            "\ufeff{}\n",
        ],
    )
    def test_what_cannot_be_added_to_is_left_alone_and_told(self, text: str) -> None:
        path = put(".vscode/settings.json", text)
        said = init()
        assert said.exit_code == 0
        assert path.read_bytes() == text.encode()
        assert states(said)[".vscode/settings.json"] == "!"
        paste = said.stderr.partition("add this to .vscode/settings.json:\n\n")[2].partition("\n\n")[0]
        assert set(json.loads(paste)) == {"yaml.schemas"}

    def test_recommended_extensions_are_joined(self) -> None:
        put(".vscode/extensions.json", '{"recommendations": ["ms-python.python"], "unwantedRecommendations": ["a.b"]}')
        init()
        joined = {
            "recommendations": ["ms-python.python", "redhat.vscode-yaml"],
            "unwantedRecommendations": ["a.b"],
        }
        assert json_of(".vscode/extensions.json") == joined
        assert states(init())[".vscode/extensions.json"] == "="

    def test_recommendations_that_are_no_list_are_left_alone(self) -> None:
        path = put(".vscode/extensions.json", '{"recommendations": "ms-python.python"}\n')
        assert states(init())[".vscode/extensions.json"] == "!"
        assert path.read_text() == '{"recommendations": "ms-python.python"}\n'


class TestPreCommit:
    OURS = """\
# ours
repos:
  - repo: https://example.com/x  # why
    rev: v1
    hooks:
      - id: x
        args: [a]
"""
    SAMPLE = """\
# See https://pre-commit.com for more information
repos:
-   repo: https://github.com/pre-commit/pre-commit-hooks
    rev: v3.2.0
    hooks:
    -   id: trailing-whitespace
    -   id: end-of-file-fixer
"""  # what `pre-commit sample-config` prints

    def appended(self, old: str) -> None:
        path = put(".pre-commit-config.yaml", old)
        assert states(init())[".pre-commit-config.yaml"] == "~"
        new = path.read_bytes()
        assert new.startswith(old.rstrip().encode())
        before, after = yaml.safe_load(old), yaml.safe_load(new)
        assert after == {**before, "repos": [*before["repos"], *yaml.safe_load(HOOK)]}
        assert states(init())[".pre-commit-config.yaml"] == "="
        assert path.read_bytes() == new

    def test_the_hook_is_appended_and_every_byte_before_it_kept(self) -> None:
        self.appended(self.OURS)
        assert Path(".pre-commit-config.yaml").read_text() == self.OURS + HOOK

    @pytest.mark.parametrize(
        "old",
        [
            OURS.rstrip(),
            f"{OURS}\n\n",
            f"default_stages: [pre-push]\n{OURS}# the end\n",
            OURS.replace("\n", "\r\n"),
            OURS.replace("\n  ", "\n"),
            SAMPLE,
        ],
        ids=["no last newline", "empty lines", "keys before", "CRLF", "no indentation", "pre-commit's sample"],
    )
    def test_however_it_is_laid_out(self, old: str) -> None:
        self.appended(old)

    @pytest.mark.parametrize(
        "old",
        [
            "repos: []\n",
            "repos: [{repo: https://example.com/x, rev: v1, hooks: [{id: x}]}]\n",
            f"{OURS}ci:\n  autofix_prs: false\n",
            "repos: [\n",
            "repos:\n\t- x\n",
            "- repo: https://example.com/x\n",
            "ci: {}\n",
            "repos: later\n",
        ],
    )
    def test_what_cannot_be_added_to_is_left_alone_and_told(self, old: str) -> None:
        path = put(".pre-commit-config.yaml", old)
        said = init()
        assert said.exit_code == 0
        assert path.read_text() == old
        assert states(said)[".pre-commit-config.yaml"] == "!"
        assert f"\nadd this to .pre-commit-config.yaml:\n\n{HOOK}" in said.stderr

    def test_an_empty_one_is_as_good_as_none(self) -> None:
        path = put(".pre-commit-config.yaml", "")
        said = init()
        told = said.stderr.partition("add this to .pre-commit-config.yaml:\n\n")[2].partition("\n\n")[0]
        assert yaml.safe_load(path.read_text() or told) == {"repos": yaml.safe_load(HOOK)}


class TestIgnoredFiles:
    @pytest.mark.parametrize("old", ["", "*.pyc\n", "*.pyc", "# mine\n\n*.pyc\n", "*.pyc\r\n"])
    def test_ours_is_appended_once(self, old: str) -> None:
        path = put(".gitignore", old)
        assert states(init())[".gitignore"] == "~"
        assert path.read_bytes().startswith(old.rstrip().encode())
        assert path.read_bytes().startswith(old.encode())
        assert path.read_text().splitlines()[-1] == ".goalfile/"
        new = path.read_bytes()
        assert states(init())[".gitignore"] == "="
        assert path.read_bytes() == new

    @pytest.mark.parametrize("old", [".goalfile\n", "/.goalfile/\n", "*.pyc\n.goalfile/"])
    def test_it_is_known_in_every_spelling(self, old: str) -> None:
        path = put(".gitignore", old)
        assert states(init())[".gitignore"] == "="
        assert path.read_text() == old


def test_a_workflow_of_this_name_is_left_alone() -> None:
    path = put(".github/workflows/goalfile.yaml", "name: mine\n")
    assert states(init())[".github/workflows/goalfile.yaml"] == "="
    assert path.read_text() == "name: mine\n"


@pytest.mark.parametrize("path", [".gitignore", ".pre-commit-config.yaml", ".vscode/settings.json"])
def test_a_file_that_is_no_utf_8_is_left_alone_and_told(path: str) -> None:
    put(path, "")
    Path(path).write_bytes(b"# gr\xfc\xdfe\n")
    said = init()
    assert said.exception is None or isinstance(said.exception, SystemExit), said.exception
    assert path in said.output
    assert Path(path).read_bytes() == b"# gr\xfc\xdfe\n"


@pytest.mark.parametrize("folder", ["file", "file/below"])
def test_a_file_in_the_way_is_one_line(folder: str) -> None:
    put("file", "")
    said = init(folder)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr.startswith("error: file/")
    assert said.stderr.count("\n") == 1


class TestAnotherTasksFolder:
    def test_is_named_in_every_file(self, tmp_path: Path) -> None:
        assert init("--tasks", "jobs").exit_code == 0
        assert sorted(contents(tmp_path)) == sorted(path.replace("tasks/", "jobs/") for path in EVERYTHING)
        for path in (".vscode/settings.json", ".github/workflows/goalfile.yaml"):
            text = Path(path).read_text()
            assert "jobs/" in text
            assert "tasks/" not in text
        assert CliRunner().invoke(command, ["validate", "jobs"]).exit_code == 0

    def test_is_what_the_hook_checks(self) -> None:
        init("--tasks", "jobs")
        [hook] = yaml_of(".pre-commit-config.yaml")["repos"][0]["hooks"]
        [ours] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
        effective = {**ours, **hook}
        assert effective["args"] == ["jobs"]
        assert re.search(effective["files"], "jobs/ops/a.yaml")
        assert re.search(effective["files"], "goalfile.config.yaml")
        assert not re.search(effective["files"], "src/jobs.yaml")

    def test_is_named_in_what_comes_next(self) -> None:
        said = init("--tasks", "jobs")
        assert "goalfile dev jobs/" in said.stderr
        assert "--tasks jobs" in said.stderr, "without it, `goalfile new` writes where nothing looks"

    @pytest.mark.parametrize("spelt", ["jobs/", "./jobs"])
    def test_may_be_spelt_as_a_shell_completes_it(self, tmp_path: Path, spelt: str) -> None:
        init("--tasks", "jobs")
        before = contents(tmp_path)
        said = init("--tasks", spelt)
        assert set(states(said).values()) == {"="}
        assert contents(tmp_path) == before


def test_every_piece_is_its_own_fixed_point() -> None:
    for piece in starter.pieces("tasks", {"task.schema.json": "{}\n"}, "1.2.3"):
        assert piece.added(piece.text) == piece.text, piece.path
