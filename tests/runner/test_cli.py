"""The command line: exit codes, one clear line for each mistake, data on stdout and nothing else there."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from runner.adapters.scripted import ScriptedToolkits
from runner.artifacts import Artifacts
from runner.equipment import choose_toolkits, is_scripted
from runner.ports import PermanentError
from runner.settings import Settings
from schemas.config import Config

Goalfile = Callable[..., "CompletedProcess[str]"]
NOBODY = {"TEMPORAL_ADDRESS": "127.0.0.1:1"}


def test_validate_says_all_is_well(goalfile: Goalfile, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.yaml").write_text("goal: x\n")
    said = goalfile("validate")
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "1 task file, all valid\n")


def test_validate_shows_every_problem_of_every_file(goalfile: Goalfile, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("goal: x\nschedule: y\n")
    (tmp_path / "b.yaml").write_text("cron: '* *'\n")
    said = goalfile("validate", "a.yaml", "b.yaml")
    assert said.returncode == 1
    assert said.stderr == "3 problems in 2 of 2 task files\n"
    assert " --> a.yaml:2:1" in said.stdout
    assert "error[missing-goal]" in said.stdout


def test_validate_as_json_is_data_only(goalfile: Goalfile, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("gaol: x\n")
    said = goalfile("validate", "a.yaml", "--json")
    assert said.returncode == 1
    assert {problem["code"] for problem in json.loads(said.stdout)} == {"unknown-key"}
    assert said.stderr == ""


@pytest.mark.parametrize("words", [("validate", "nowhere.yaml"), ("run", "-f", "nowhere.yaml")])
def test_a_missing_file_is_one_line(goalfile: Goalfile, words: tuple[str, ...], temporal_address: str) -> None:
    said = goalfile(*words, env={"TEMPORAL_ADDRESS": temporal_address})
    assert (said.returncode, said.stderr) == (1, "error: nowhere.yaml: No such file or directory\n")


def test_a_missing_folder_is_one_line(goalfile: Goalfile) -> None:
    said = goalfile("validate")
    assert said.returncode == 1
    assert said.stderr == "error: tasks: No such file or directory\n"


@pytest.mark.parametrize(
    "words", [("ps",), ("run", "hello"), ("logs", "x"), ("cancel", "x"), ("sync", "."), ("worker",)], ids=" ".join
)
def test_an_unreachable_server_is_exit_3_and_names_the_address(goalfile: Goalfile, words: tuple[str, ...]) -> None:
    said = goalfile(*words, env=NOBODY)
    assert said.returncode == 3
    assert said.stderr.startswith("error: no Temporal server answers at 127.0.0.1:1; start one with `goalfile dev`")
    assert said.stdout == ""


@pytest.mark.parametrize(
    "words",
    [("run",), ("run", "a", "--goal", "b"), ("run", "a", "--toolkit", "b"), ("run", "a", "--timeout", "3"), ("nope",)],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2(goalfile: Goalfile, words: tuple[str, ...]) -> None:
    assert goalfile(*words).returncode == 2


def test_a_wrong_setting_is_exit_2_and_names_it(goalfile: Goalfile) -> None:
    said = goalfile("ps", env={"GOALFILE_GRACE": "soon"})
    assert said.returncode == 2
    assert "GOALFILE_GRACE must be a number of seconds" in said.stderr


def test_version_and_help(goalfile: Goalfile) -> None:
    assert goalfile("version").stdout == "0.1.0\n"
    assert json.loads(goalfile("version", "--json").stdout) == {"version": "0.1.0"}
    assert "durable agents" in goalfile("--help").stdout


@pytest.mark.temporal
def test_a_worker_without_a_key_does_not_pretend(goalfile: Goalfile, temporal_address: str) -> None:
    said = goalfile("worker", env={"TEMPORAL_ADDRESS": temporal_address})
    assert said.returncode == 2
    assert said.stderr.startswith("error: no model to think with: set ANTHROPIC_API_KEY")


async def test_a_worker_without_a_key_for_tools_refuses_them() -> None:
    settings = Settings(anthropic_key="k")
    toolkits = choose_toolkits(settings, Config(), scripted=False)
    with pytest.raises(PermanentError, match="cannot use gmail: set COMPOSIO_API_KEY"):
        await toolkits.tools(("gmail",), None)


def test_a_scripted_model_never_drives_real_tools() -> None:
    settings = Settings(composio_key="k")
    assert is_scripted(settings, Config())
    assert isinstance(choose_toolkits(settings, Config(), scripted=True), ScriptedToolkits)


def test_a_result_too_long_for_history_is_read_by_the_name_that_the_run_was_told(
    goalfile: Goalfile, tmp_path: Path
) -> None:
    name = Artifacts(tmp_path / "kept")._keep("run-1", "call-1", "the whole of it")
    env = {"GOALFILE_ARTIFACTS": "kept"}
    assert goalfile("artifact", name, env=env).stdout == "the whole of it\n"
    lost = goalfile("artifact", "run-1/../../secret.txt", env=env)
    assert (lost.returncode, lost.stdout) == (1, "")
    assert "GOALFILE_ARTIFACTS names the folder" in lost.stderr


@pytest.mark.temporal
class TestAgainstAServer:
    @pytest.fixture
    def here(self, temporal_address: str, unique: str) -> dict[str, str]:
        return {"TEMPORAL_ADDRESS": temporal_address, "GOALFILE_QUEUE": unique, "GOALFILE_OWNER": unique}

    def test_an_unknown_task_names_the_one_that_was_meant(
        self, goalfile: Goalfile, here: dict[str, str], tmp_path: Path, unique: str
    ) -> None:
        (tmp_path / "tasks").mkdir()
        (tmp_path / "tasks" / f"{unique}.yaml").write_text("goal: x\n")
        assert goalfile("sync", env=here).stdout == f"+ scheduled {unique}  (tasks/{unique}.yaml is new)\n"
        said = goalfile("run", f"{unique}x", env=here)
        assert (said.returncode, said.stdout) == (1, "")
        assert f"did you mean `{unique}`?" in said.stderr
        assert goalfile("sync", env=here).stderr == "nothing to do\n"

    def test_a_wrong_file_is_shown_and_not_run(self, goalfile: Goalfile, here: dict[str, str], tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("goal: x\nlimits: {turns: 0}\n")
        said = goalfile("run", "-f", "a.yaml", env=here)
        assert said.returncode == 1
        assert "`limits.turns` cannot be `0`" in said.stderr
        assert "a.yaml is not a task that can run" in said.stderr

    @pytest.mark.parametrize("given", ["days=soon", "other=1", "days"])
    def test_a_wrong_input_is_exit_2(
        self, goalfile: Goalfile, here: dict[str, str], tmp_path: Path, given: str
    ) -> None:
        (tmp_path / "a.yaml").write_text("goal: x\ninputs: {days: 1}\n")
        said = goalfile("run", "-f", "a.yaml", "-i", given, env=here)
        assert said.returncode == 2
        assert given.partition("=")[0] in said.stderr

    def test_giving_up_waiting_is_exit_5_and_the_run_goes_on(self, goalfile: Goalfile, here: dict[str, str]) -> None:
        said = goalfile("run", "--goal", "x", "--wait", "--timeout", "0.5", env=here)
        assert said.returncode == 5
        assert "goes on" in said.stderr
        listed = json.loads(goalfile("ps", "--json", env=here).stdout)
        assert "queued" in {run["status"] for run in listed}

    def test_a_queued_run_can_be_cancelled_once(self, goalfile: Goalfile, here: dict[str, str]) -> None:
        run = goalfile("run", "--goal", "x", env=here).stdout.strip()
        assert goalfile("cancel", run, env=here).returncode == 0

    @pytest.mark.parametrize("command", ["logs", "cancel"])
    @pytest.mark.parametrize("run", ["no-such-run", "'; drop", ""])
    def test_an_unknown_run_is_one_line(self, goalfile: Goalfile, here: dict[str, str], command: str, run: str) -> None:
        said = goalfile(command, run, env=here)
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr.startswith("error: ")
        assert said.stderr.count("\n") == 1
