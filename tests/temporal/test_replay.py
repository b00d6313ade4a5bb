"""Yesterday's runs still run: every recorded history replays on today's workflow code."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from runner.making import MakeEffect
from runner.telling import TellPeople
from runner.worker import sandbox
from runner.workflow import RunTask

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def replayer() -> Replayer:
    return Replayer(
        workflows=[RunTask, MakeEffect, TellPeople], data_converter=pydantic_data_converter, workflow_runner=sandbox()
    )


def test_there_are_histories() -> None:
    assert len(HISTORIES) >= 23


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_a_recorded_history_replays(path: Path) -> None:
    said = path.read_text()
    (begin, *_) = json.loads(said)["events"]
    own_id = begin["workflowExecutionStartedEventAttributes"]["workflowId"]  # what a run starts is named after it
    await replayer().replay_workflow(WorkflowHistory.from_json(own_id, said))


async def test_a_history_that_this_code_cannot_have_made_is_refused() -> None:
    """The guard itself works: without it every replay would pass."""
    path = next(path for path in HISTORIES if path.stem == "reads-side-by-side-then-a-write")
    said = path.read_text().replace('"ask-model"', '"ask-somebody"')
    assert json.loads(said)
    with pytest.raises(NondeterminismError):
        await replayer().replay_workflow(WorkflowHistory.from_json(path.stem, said))
