"""What must not get out does not: every secret, and with encryption every word of a run, is looked for everywhere.

A whole house (`goalfile dev` with a file database, worker, gateway, channel, metrics) in which each secret and each
kind of content is a text of its own that stands nowhere else. Then everything that was stored, logged, counted,
answered, told and printed is searched for it, plain and in base64.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from runner.devserver import free_port
from tests.e2e.house import House
from tests.standins.anthropic_api import AnthropicApi, Say, use
from tests.standins.composio_api import ComposioApi, Ran, Result, folder
from tests.standins.loopback import Fail
from tests.standins.webhook_receiver import WebhookReceiver

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


SECRETS = {
    "ANTHROPIC_API_KEY": "sk-ant-canary-7Qm2xVt9LrZp4Kd8Ws1Y",
    "COMPOSIO_API_KEY": "ak_canary-3Hn6jBq8Tf5Rv0Cg2XzE",
    "HOOK_SECRET": f"whsec_{base64.b64encode(b'canary-webhook-secret-0123456').decode()}",
    "SEAL": base64.b64encode(b"canary-encryption-key-0123456789").decode(),
    "GOALFILE_TOKEN": "canary-token-5Dk8uMw1Py4Js7Lb",
}
CONTENT = {
    name: f"zzcanary{name}zz"
    for name in (
        *("goal", "description", "input", "result", "argument", "thought", "report", "failure", "lost", "vendor"),
        *("denied", "note", "broken", "large", "cancel"),
    )
}
"""One word for each place that a run's content may come from."""

TASK = f"""
goal: "Read the note. {CONTENT["goal"]} {{{{ inputs.about }}}}"
description: {CONTENT["description"]}
inputs: {{about: {CONTENT["input"]}}}
toolkit: notes
notify: ops
memory: notes
cron: "0 5 1 1 *"
"""
CONFIG = """
channels:
  ops: {webhook: "${HOOK_URL}", secret: "${HOOK_SECRET}"}
private_hosts: [127.0.0.0/8]
"""
ENCRYPTION = """
encryption: {keys: [{id: one, key: "${SEAL}"}]}
"""


@dataclass
class Found:
    """Everything that got out, by where it was found."""

    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    logged: dict[str, bytes] = field(default_factory=dict[str, bytes])
    told: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What people are meant to see: answers of the gateway, notices, the terminal."""


def hits(places: Mapping[str, bytes], words: Mapping[str, str]) -> list[str]:
    """`WORD in PLACE` for every word that stands in a place, plain or within base64."""
    return [
        f"{name} in {place}"
        for place, data in places.items()
        for name, word in words.items()
        if any(form in data for form in _forms(word.encode()))
    ]


def _forms(word: bytes) -> Iterator[bytes]:
    yield word
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + word)
        yield encoded[(before * 8 + 5) // 6 : (before + len(word)) * 8 // 6]


def live_through(folder_: Path, *, encrypted: bool) -> Found:
    """Runs that succeed, fail, wait, are denied, lose a call and are cancelled; and all that is left of them."""
    (folder_ / "goalfile.config.yaml").write_text(CONFIG + (ENCRYPTION if encrypted else ""))
    (folder_ / "tasks").mkdir()
    (folder_ / "tasks" / "canary.yaml").write_text(TASK)
    (folder_ / "tasks" / "broken.yaml").write_text(f"goal: x\nnotify: ops\nmodel: [{CONTENT['broken']}]\n")
    found, metrics = Found(), f"127.0.0.1:{free_port()}"
    with ExitStack() as stack:
        model = stack.enter_context(AnthropicApi(key=SECRETS["ANTHROPIC_API_KEY"]))
        tools = stack.enter_context(ComposioApi(folder("notes"), key=SECRETS["COMPOSIO_API_KEY"]))
        channel = stack.enter_context(WebhookReceiver())
        env = {"ANTHROPIC_BASE_URL": model.url, "COMPOSIO_BASE_URL": tools.url, "HOOK_URL": channel.url}
        env |= {"GOALFILE_METRICS": metrics, "NO_COLOR": "1", **SECRETS}
        house = House(folder_, env=env).up()
        stack.callback(house.stop)
        life = _Life(house, model, tools, found)
        life.runs_that_end()
        life.runs_that_wait()
        life.questions()
        found.logged["metrics"] = httpx.get(f"http://{metrics}/metrics").content
        assert b"goalfile_runs" in found.logged["metrics"]
        house.stop()
        found.told |= {f"notice {i}": each.raw for i, each in enumerate(channel.requests)}
        kinds = {each.body["type"] for each in channel.requests}
        assert {"run.succeeded", "run.failed", "run.waiting", "run.cancelled"} <= kinds
        found.told["screen"] = house.screen.encode()
    for path in (folder_ / ".goalfile").rglob("*"):
        if path.is_file():
            (found.logged if path.suffix == ".log" else found.stored)[path.name] = path.read_bytes()
    assert {"temporal.db"} <= found.stored.keys()
    assert {"worker.log", "gateway.log", "temporal.log"} <= found.logged.keys()
    return found


@dataclass
class _Life:
    """What happens in one house."""

    house: House
    model: AnthropicApi
    tools: ComposioApi
    found: Found

    def goalfile(self, *words: str) -> str:
        said = self.house.goalfile(*words)
        self.found.told[f"goalfile {words[0]} #{len(self.found.told)}"] = (said.stdout + said.stderr).encode()
        return said.stdout

    def runs_that_end(self) -> None:
        word = CONTENT
        self.tools.items["notes"] = {"a": word["result"], "big": word["large"] * 3000}
        failing = {"data": {}, "error": f"status 503: {word['failure']}", "log_id": "l", "result_type": "failed"}
        self.tools.next["NOTES_LIST_ITEMS"] = [Result(failing)]
        thought = {"type": "thinking", "thinking": word["thought"], "signature": "s"}
        self.model.script.extend(
            [
                Say([thought, use("NOTES_READ_ITEM", {"name": "a"}, "r"), use("NOTES_LIST_ITEMS", {}, "l")]),
                Say([use("NOTES_READ_ITEM", {"name": "big"}, "b"), use("KEEP_NOTE", {"text": word["note"]}, "n")]),
                Say([use("NOTES_WRITE_ITEM", {"name": "b", "text": word["argument"]}, "w")]),
                word["report"],
            ]
        )
        self.goalfile("run", "canary", "--wait")

        self.model.script.append(Fail(400, f"invalid: {word['vendor']} with x-api-key {self.model.key}"))
        self.goalfile("run", "canary", "--wait")

        self.tools.next["NOTES_WRITE_ITEM"] = [Ran(Fail(500, f"upstream said {word['lost']}"))]
        self.model.script.extend([Say([use("NOTES_WRITE_ITEM", {"name": "c", "text": "c"}, "w")]), "Lost."])
        self.goalfile("run", "canary", "--wait")

    def runs_that_wait(self) -> None:
        for decide, name in (("approve", "a"), ("deny", CONTENT["denied"]), ("cancel", CONTENT["cancel"])):
            self.model.script.append(Say([use("NOTES_DELETE_ITEM", {"name": name}, "d")]))
            run = self.goalfile("run", "canary").strip()
            self.house.sees(rf"{run}.*waits for approval")
            self.goalfile("approvals")
            page = self.house.addresses()["gateway"]
            self.found.told[f"page of a run to {decide}"] = httpx.get(f"{page}/runs/{run}").content
            note = () if decide == "cancel" else ("--note", CONTENT["note"])
            self.goalfile(decide, run, *note)
            self.goalfile("logs", "-f", run)

    def questions(self) -> None:
        """Everything that people ask afterwards, also in ways that make no sense."""
        for words in (("ps",), ("effects",), ("ls",), ("show", "canary"), ("doctor",), ("validate", "tasks")):
            self.goalfile(*words)
        runs = json.loads(self.goalfile("ps", "--json"))
        assert sorted({each["status"] for each in runs}) == ["cancelled", "failed", "succeeded"]
        page = self.house.addresses()["gateway"]
        sign = {"Authorization": f"Bearer {SECRETS['GOALFILE_TOKEN']}"}
        paths = ["/", "/nope", "/v1/runs", "/v1/runs/nope", "/v1/tasks", "/v1/sync", "/v1/catalog", "/readyz"]
        for path in (*paths, *(f"/v1/runs/{each['id']}" for each in runs)):
            self.found.told[f"GET {path}"] = httpx.get(f"{page}{path}", headers=sign).content
        for content in (b"{", b'{"goal": 5}', b'{"goal": "x", "bogus": 1}'):
            headers = {**sign, "content-type": "application/json"}
            answer = httpx.post(f"{page}/v1/runs", content=content, headers=headers)
            assert answer.status_code >= 400
            self.found.told[f"POST {content!r}"] = answer.content


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return live_through(tmp_path_factory.mktemp("sealed"), encrypted=True)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return live_through(tmp_path_factory.mktemp("plain"), encrypted=False)


def test_no_secret_is_stored_logged_counted_answered_told_or_printed(sealed: Found, plain: Found) -> None:
    for found in (sealed, plain):
        assert hits({**found.stored, **found.logged, **found.told}, SECRETS) == []


def test_with_encryption_no_word_of_a_run_is_stored(sealed: Found) -> None:
    assert hits(sealed.stored, CONTENT) == []


def test_with_encryption_no_word_of_a_run_is_logged_or_counted(sealed: Found) -> None:
    assert hits(sealed.logged, CONTENT) == []


def test_people_are_told_all_the_same(sealed: Found) -> None:
    told = b"".join(sealed.told.values())
    for name in ("result", "report", "argument", "denied", "description"):
        assert CONTENT[name].encode() in told, name


def test_without_encryption_the_words_are_found_so_the_search_finds_them(plain: Found) -> None:
    stored = {name for name, word in CONTENT.items() if hits(plain.stored, {name: word})}
    assert stored >= set(CONTENT) - {"broken", "failure"}
    assert hits({"x": base64.b64encode(b"a word: zzcanarygoalzz!")}, CONTENT) == ["goal in x"]
