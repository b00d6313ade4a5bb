"""The house itself: what is loaded when, what is pinned, what must not stand in the repository."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

VENDORS = ("anthropic", "composio", "composio_client")


def loaded_by(statement: str) -> set[str]:
    """The modules in memory after one import in a fresh process."""
    code = f"{statement}\nimport sys; print(' '.join(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(said.stdout.split())


@pytest.mark.parametrize("module", ["gateway.app", "runner.workflow", "runner.sync", "runner.dev", "runner.cli_runs"])
def test_no_vendor_is_loaded_by(module: str) -> None:
    assert not loaded_by(f"import {module}") & set(VENDORS)


def test_the_gateway_does_not_load_the_runner() -> None:
    assert not [name for name in loaded_by("import gateway.app") if name.partition(".")[0] == "runner"]


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("import runner.cli") & {"temporalio", "pydantic", "yaml", "asyncio", *VENDORS}


def test_importing_a_worker_loads_no_vendor_until_it_is_asked() -> None:
    assert not loaded_by("import runner.worker, runner.adapters.anthropic, runner.adapters.composio") & set(VENDORS)


def test_whoever_asks_a_gateway_loads_no_temporal() -> None:
    assert not loaded_by("import runner.afar, runner.cli_runs, runner.cli_people") & {"temporalio", *VENDORS}


@pytest.mark.parametrize("name", ["dev", "test"])
def test_every_requirement_is_pinned_by_hash_and_names_no_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    pinned = re.findall(r"^[a-z0-9][^\n]*==[^\n]*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE)
    assert len(pinned) == len([line for line in text.splitlines() if line and not line.startswith(" ")])


def test_no_source_file_holds_two_nouns() -> None:
    """A file that wants 400 lines wants to be two."""
    long = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for folder in ("schemas", "runner", "gateway")
        for path in Path(ROOT / folder).rglob("*.py")
    }
    assert {path: lines for path, lines in long.items() if lines > 400} == {}
