"""One language server for each test process, with our schemas; it is skipped only by a person, never in CI."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT
from tests.editor.language_server import MAIN, LanguageServer

SCHEMAS = {
    "./schemas/task.schema.json": ["tasks/**/*.yaml", "!tasks/**/_defaults.yaml"],
    "./schemas/defaults.schema.json": ["tasks/**/_defaults.yaml"],
    "./schemas/config.schema.json": ["goalfile.config.yaml"],
}


@pytest.fixture(scope="session")
def language_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """An editor in a workspace of its own, where `schemas/` is ours and `tasks/` is whatever a test writes."""
    if shutil.which("node") is None or not MAIN.is_file():
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up("no node, or no language server in tests/editor/node_modules; run: make editor")
    missing = [name for name in SCHEMAS if not (ROOT / name).is_file()]
    assert not missing, missing
    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "schemas").symlink_to(ROOT / "schemas")
    with LanguageServer(workspace, SCHEMAS) as server:
        yield server
