"""What `goalfile init` and `goalfile new` write: task files, and what makes editors and pull requests check them.

Pure texts and merges. A file that is there is added to or left alone, never rewritten: where nothing can
be added safely, a person is told what to paste.
"""

import json
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import yaml

from runner.writing import field_lines

SCHEMA_FOLDER = ".schema"
"""Below the tasks folder, where its editors find the schemas; a scan passes it over."""
_REPOSITORY = "https://github.com/goalfile/goalfile"


class Unmergeable(Exception):  # noqa: N818 - it reads as a state of the file
    """Nothing can be added to this file without rewriting it."""


@dataclass(frozen=True)
class Piece:
    """One file to be there. `text` is what it holds if it is new; `added` gives what an old one becomes.

    `added` raises Unmergeable; `paste` is then for a person to put into it.
    """

    path: str
    text: str
    added: Callable[[str], str]
    paste: str = ""


def pieces(tasks: str, schemas: dict[str, str], version: str) -> tuple[Piece, ...]:
    """Everything that `init` writes, for a tasks folder such as `tasks` and schema texts by file name."""
    folder = f"{tasks}/{SCHEMA_FOLDER}"
    settings = {
        "yaml.schemas": {
            f"./{folder}/task.schema.json": [f"{tasks}/**/*.yaml", f"!{tasks}/**/_defaults.yaml"],
            f"./{folder}/defaults.schema.json": [f"{tasks}/**/_defaults.yaml"],
        }
    }
    recommended = {"recommendations": ["redhat.vscode-yaml"]}
    hook = _hook(version, tasks)
    return (
        *(Piece(f"{folder}/{name}", text, lambda _old, text=text: text) for name, text in schemas.items()),
        Piece(f"{tasks}/hello.yaml", _hello(), lambda old: old),
        Piece(".vscode/settings.json", _json(settings), lambda old: _with_json(old, settings), _json(settings)),
        Piece(
            ".vscode/extensions.json", _json(recommended), lambda old: _with_json(old, recommended), _json(recommended)
        ),
        Piece(".pre-commit-config.yaml", f"repos:\n{hook}", lambda old: _with_hook(old, hook), hook),
        Piece(".github/workflows/goalfile.yaml", _workflow(tasks, version), lambda old: old),
        Piece(".gitignore", ".goalfile/\n", _with_ignored, ".goalfile/\n"),
    )


def modeline(folder: str) -> str:
    """The comment by which an editor finds the schema; `folder` is the file's, below the tasks folder."""
    up = "../" * len([part for part in folder.split("/") if part])
    return f"# yaml-language-server: $schema={up}{SCHEMA_FOLDER}/task.schema.json\n"


def task_text(fields: Iterable[tuple[str, Any]], first_line: str = "") -> str:
    """A task file of the fields that are not empty."""
    return first_line + "".join(f"{line}\n" for key, value in fields if value for line in field_lines(key, value))


def _hello() -> str:
    note = "# A task is a goal. Start it with: goalfile run hello --wait\n"
    return modeline("") + note + "goal: Say hello to whoever reads this, in one sentence.\n"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def _with_json(old: str, more: dict[str, Any]) -> str:
    try:
        there = json.loads(old)
    except ValueError:  # comments, most likely: editors allow them, and rewriting would lose them
        raise Unmergeable from None
    if not isinstance(there, dict):
        raise Unmergeable
    both = _deeper(cast("dict[str, Any]", there), more)
    found = re.search(r"^[ \t]+", old, re.MULTILINE)
    text = json.dumps(both, indent=found[0] if found else 2, ensure_ascii=False) + "\n"
    return old if both == there else text.replace("\n", "\r\n") if "\r\n" in old else text


def _deeper(there: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(there)
    for key, value in more.items():
        before = there.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            both[key] = _deeper(cast("dict[str, Any]", before), cast("dict[str, Any]", value))
        elif isinstance(before, list) and key == "recommendations":
            both[key] = [*before, *(item for item in value if item not in before)]
        elif key not in there:
            both[key] = value
        elif not isinstance(before, list) or not isinstance(value, list):  # a list that is there is a person's choice
            raise Unmergeable
    return both


def _hook(version: str, tasks: str) -> str:
    """The entry of `.pre-commit-config.yaml`; what it checks is said unless it is the hook's own default."""
    entry = f"  - repo: {_REPOSITORY}\n    rev: v{version}\n    hooks:\n      - id: goalfile-validate\n"
    if tasks == "tasks":
        return entry
    files = rf"^{re.escape(tasks)}/.*\.ya?ml$|(^|/)goalfile\.config\.yaml$"
    return f"{entry}        args: [{tasks}]\n        files: {files}\n"


def _with_hook(old: str, hook: str) -> str:
    """Appended as text, so that comments stay; taken only if it then reads as the old file and the hook."""
    if "goalfile-validate" in old:
        return old
    if not old.strip():
        return f"repos:\n{hook}"
    for indent in ("  ", "", "    "):
        new = f"{old.rstrip()}\n{textwrap.indent(textwrap.dedent(hook), indent)}"
        if _is_appended(old, new, hook):
            return new
    raise Unmergeable


def _is_appended(old: str, new: str, hook: str) -> bool:
    try:
        before, after, entry = (yaml.safe_load(text) for text in (old, new, hook))
        return bool(after == {**before, "repos": [*before["repos"], *entry]})
    except (yaml.YAMLError, TypeError, KeyError, AttributeError):
        return False


def _with_ignored(old: str) -> str:
    if any(line.strip().strip("/") == ".goalfile" for line in old.splitlines()):
        return old
    end = "" if not old or old.endswith("\n") else "\n"
    return f"{old}{end}.goalfile/\n"


def _workflow(tasks: str, version: str) -> str:
    return f"""\
# Checks every task file in a pull request, and says what merging it would change on the server.
name: goalfile
on:
  pull_request:
    paths: ["{tasks}/**", "goalfile.config.yaml"]
permissions:
  contents: read
jobs:
  tasks:
    runs-on: ubuntu-latest
    env:
      # Without an address only the files are checked. A pull request from a fork is given no secrets.
      TEMPORAL_ADDRESS: ${{{{ vars.TEMPORAL_ADDRESS }}}}
      TEMPORAL_NAMESPACE: ${{{{ vars.TEMPORAL_NAMESPACE || 'default' }}}}
    steps:
      - uses: actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2
        with:
          persist-credentials: false
      - uses: actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065 # v5.6.0
        with:
          python-version: "3.12"
      - run: pip install goalfile=={version}
      - run: goalfile validate {tasks}
      - if: env.TEMPORAL_ADDRESS != ''
        run: goalfile plan {tasks}
        env:
          TEMPORAL_API_KEY: ${{{{ secrets.TEMPORAL_API_KEY }}}}
"""
