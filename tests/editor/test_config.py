"""`goalfile.config.yaml` in an editor: what is offered, and what is underlined."""

import re

import pytest

from schemas.config import Config
from tests.editor.language_server import LanguageServer
from tests.schemas.test_config import reference_example

PRICE = ("input", "output", "cache_read", "cache_write", "source")
FILE = "goalfile.config.yaml"


def test_the_example_of_the_reference_is_not_underlined(language_server: LanguageServer) -> None:
    assert language_server.problems(reference_example(), FILE) == []


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("‸", set(Config.model_fields)),
        ("channels:\n  ops:\n    ‸", {"apprise", "webhook", "secret"}),
        ("model:\n  ‸", {"provider", "default", "base_url", "prices", "summarize_at"}),
        ("model:\n  provider: ‸", {"anthropic", "bedrock", "vertex"}),
        ("model:\n  prices:\n    acme-1:\n      ‸", {"a price", *PRICE}),
        ("limits:\n  ‸", {"turns", "timeout", "tokens", "cost_usd"}),
    ],
)
def test_only_what_may_stand_there_is_offered(language_server: LanguageServer, text: str, offered: set[str]) -> None:
    assert set(language_server.completions(text, FILE)) == offered


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("chanels: {}\n", (1, 1), "channels"),
        ("channels:\n  ops:\n    apprise: ntfys://acme.example/ops\n", (3, 14), "name of the environment variable"),
        ("channels:\n  ops:\n    webhook: https://acme.example/hook\n", (2, 3), "secret"),
        ("channels:\n  ops: {}\n", (2, 3), "apprise"),
        ("url: http://acme.example\n", (1, 6), "https://"),
        ("model:\n  provider: azure\n", (2, 13), "anthropic.*bedrock.*vertex"),
        ("model:\n  summarize_at: 5\n", (2, 17), "10000"),
        ("limits:\n  timeout: 5\n", (2, 12), "90s"),
        ("pause_after_failures: 1\n", (1, 23), "2"),
        ("encryption: {keys: [{id: a, key: hunter2}]}\n", (1, 34), "name of the environment variable"),
    ],
)
def test_a_mistake_is_underlined_once_with_what_to_write(
    language_server: LanguageServer, text: str, place: tuple[int, int], says: str
) -> None:
    [one] = language_server.problems(text, FILE)
    assert (one.line, one.column) == place
    assert re.search(says, one.message)
