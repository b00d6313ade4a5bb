"""Names that processes know each other by: workflow, queue, query, search attributes, ids.

Renaming one strands what is already stored under the old name. Ids and search attributes are not
encrypted by Temporal: nothing secret may enter them.
"""

import hashlib
import re
from datetime import UTC, datetime

from schemas.run import RunRequest
from schemas.task import Task

RUN_TASK = "goalfile-run"
"""Workflow type: one run of one task. Takes a RunRequest, returns a RunResult."""

QUEUE = "goalfile"
"""Default task queue of the workers."""

EFFECT = "goalfile-effect"
"""Workflow type: one write, made at most once. Its id is the effect's, and an id is used once."""

TELL = "goalfile-tell"
"""Workflow type: tells channels about a run. Its id is the notice's, and an id is used once."""

# Activity types, as histories name the steps of a run.
ASK_MODEL = "ask-model"
CALL_TOOL = "call-tool"
OPEN_RUN = "open-run"
LIST_TOOLS = "list-tools"
"""What opened a run of the first release."""

PROGRESS = "progress"
"""Query without arguments; answers Progress."""

DECIDE = "decide"
"""Update that takes a Decision. Refused if nothing of that id and fingerprint waits for one."""

RECHECK = "recheck"
"""Signal without arguments: somebody connected a toolkit, look again now."""

WAITING = "waiting"
"""Memo of a run: what it waits for, a list of Waiting. Readable without a worker."""

ASKED = "asked"
"""Memo of a run that was started under an idempotency key: a digest of what was asked."""

DISABLED = "disabled in the task file"
"""The note on a schedule that the file pauses; any other pause is a person's and is kept."""

STOP_SWITCH = "goalfile-stop"
"""Id of the schedule that is there while a person has stopped everything. It starts nothing."""

# Keyword search attributes. SQL visibility stores have ten Keyword slots per namespace: these are all.
# The owner of a schedule is a source of task files; that of a run the mark of whoever started it over HTTP.
OWNER = "GoalfileOwner"
TASK = "GoalfileTask"
DIGEST = "GoalfileDigest"
STATUS = "GoalfileStatus"
SEARCH_ATTRIBUTES = (OWNER, TASK, DIGEST, STATUS)

ALL_RUNS = f"WorkflowType = '{RUN_TASK}'"
"""Visibility query of every run."""

LISTED_RUNS = f"{ALL_RUNS} AND ExecutionStatus != 'ContinuedAsNew'"
"""The same, each run once: a long one has its history in parts."""

AD_HOC = "ad-hoc"
"""What a run without a task is called in lists."""


def schedule_id(task_name: str) -> str:
    """The id of the schedule that a task owns. One per task name and namespace, whoever owns it."""
    return f"task-{task_name}"


def status_id(owner: str) -> str:
    """The id of the schedule that keeps the status of an owner's sync, and starts nothing."""
    return f"sync-{owner}"


def effect_workflow_id(effect_id: str) -> str:
    """The workflow that makes one write."""
    return f"effect-{effect_id}"


def notice_workflow_id(notice_id: str) -> str:
    """The workflow that tells people one thing."""
    return f"notice-{notice_id}"


def run_id(task_name: str, at: datetime, unique: str) -> str:
    """The id of a run that a person or a program starts; sorts by time within a task.

    A scheduled run is named by Temporal: task name and slot, `hello-2026-11-22T09:00:00Z`.
    """
    return f"{task_name or AD_HOC}-{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{unique}"


def keyed_run_id(mark: str, key: str) -> str:
    """The id of a run that is started under an idempotency key: one for each principal and key, for any task."""
    return "keyed-" + hashlib.sha256(f"{len(mark)}:{mark}{key}".encode()).hexdigest()[:32]


def digest(task: Task, path: str) -> str:
    """What a schedule was made from: 16 hex digits that change when the task or its path does.

    Fields at their default do not count, so a new field in a later version changes no digest.
    """
    said = task.model_dump_json(exclude_defaults=True)
    return hashlib.sha256(f"1\n{path}\n{said}".encode()).hexdigest()[:16]


def search_attributes(request: RunRequest) -> dict[str, str]:
    """What a run is found by, from the moment it is started."""
    return {TASK: request.task.name or AD_HOC, STATUS: "queued"}


def quoted(value: str) -> str:
    """A value inside a visibility query. Raises ValueError for what no name of ours can contain."""
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,200}", value):
        raise ValueError(f"not a name: {value!r}")
    return f"'{value}'"
