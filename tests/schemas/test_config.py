"""`goalfile.config.yaml`: what it may say, how its mistakes are told, and that no secret in it is ever repeated."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from schemas.catalog import Maxima
from schemas.config import Channel, Config, LoadedConfig, MissingSecret, load_config, references, resolved
from schemas.prices import PRICES, Price
from tests.conftest import ROOT

SCHEMA = Draft7Validator(json.loads((ROOT / "schemas" / "config.schema.json").read_text()))
FILE = "goalfile.config.yaml"


def load(text: str) -> LoadedConfig:
    return load_config(text.encode(), FILE)


def config(text: str) -> Config:
    loaded = load(text)
    assert loaded.problems == ()
    assert loaded.config is not None
    return loaded.config


def reference_example() -> str:
    """The one in the reference that people copy."""
    section = (ROOT / "tasks" / "README.md").read_text().partition("## Configuration of the server")[2]
    [example] = re.findall(r"```yaml\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    return str(example)


class TestTheExampleOfTheReference:
    def test_it_is_valid_and_says_everything_that_can_be_said(self) -> None:
        found = config(reference_example())
        assert found.model_fields_set == Config.model_fields.keys()
        for part in (found.model, found.limits, found.encryption, found.encryption.keys[0]):
            assert part.model_fields_set == type(part).model_fields.keys()
        assert {
            name for each in found.channels.values() for name in each.model_fields_set
        } == Channel.model_fields.keys()

    def test_it_is_read_as_it_is_meant(self) -> None:
        found = config(reference_example())
        assert found.url == "https://goals.acme.example"
        assert found.channels["eng-slack"] == Channel(apprise="${ENG_SLACK_URL}")
        assert found.channels["oncall"] == Channel(webhook="${ONCALL_URL}", secret="${ONCALL_SECRET}")  # noqa: S106
        assert found.private_hosts == ("hooks.acme.internal", "10.20.0.0/16")
        assert (found.model.provider, found.model.summarize_at) == ("anthropic", 150_000)
        assert found.model.prices["acme-large-2"].cache_read == 0.2
        assert found.limits == Maxima(turns=100, timeout=timedelta(hours=2), tokens=2_000_000, cost_usd=20)
        assert [key.id for key in found.encryption.keys] == ["2026-11", "2026-05"]

    def test_every_secret_in_it_is_the_name_of_a_variable(self) -> None:
        names = references(config(reference_example()))
        assert names == (
            *("ENG_SLACK_URL", "ONCALL_URL", "ONCALL_SECRET"),
            *("GOALFILE_KEY_2026_11", "GOALFILE_KEY_2026_05"),
        )


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n"])
def test_everything_may_be_left_out(text: str) -> None:
    found = config(text)
    assert found == Config()
    assert (found.url, found.channels, found.encryption.keys, found.pause_after_failures) == (None, {}, (), None)
    assert found.model.summarize_at == 150_000
    assert references(found) == ()


CHANNEL = "channels:\n  ops:\n    "
KEYS = "encryption:\n  keys:\n    - "


@pytest.mark.parametrize(
    ("text", "code", "place", "says"),
    [
        ("chanels: {}\n", "unknown-key", (1, 1), "did you mean `channels`?"),
        ("modle: {}\n", "unknown-key", (1, 1), "did you mean `model`?"),
        ("channels: ops\n", "invalid-value", (1, 11), "a mapping"),
        ("channels: {Ops: {apprise: '${OPS}'}}\n", "invalid-value", (1, 12), "name a channel"),
        ("channels: {ops: {}}\n", "missing-key", (1, 17), "write `apprise: ${NAME}`, or `webhook: …`"),
        (f"{CHANNEL}webhook: https://acme.example/hook\n", "missing-key", (3, 5), "a webhook is signed"),
        (f"{CHANNEL}aprise: ${{OPS}}\n    apprise: ${{OPS}}\n", "unknown-key", (3, 5), "did you mean `apprise`?"),
        (f"{CHANNEL}apprise: ${{A}}\n    webhook: ${{B}}\n    secret: ${{C}}\n", "invalid-value", (3, 14), "not both"),
        (f"{CHANNEL}apprise: ${{A}}\n    secret: ${{C}}\n", "invalid-value", (4, 13), "only a webhook is signed"),
        (f"{CHANNEL}apprise:\n", "invalid-value", (3, 5), "write a value, or remove the line"),
        ("url: http://goals.acme.example\n", "invalid-value", (1, 6), "write an https:// address"),
        ("url: goals.acme.example\n", "invalid-value", (1, 6), "write an https:// address"),
        ("url: http://localhost.acme.example\n", "invalid-value", (1, 6), "write an https:// address"),
        ("private_hosts: hooks.acme.internal\n", "invalid-value", (1, 16), "a list"),
        ("private_hosts: [https://a.example]\n", "invalid-value", (1, 17), "10.1.0.0/16"),
        ("private_hosts: [10.0.0.1/8]\n", "invalid-value", (1, 17), "has host bits set"),
        ("private_hosts: [10.0.0.0/64]\n", "invalid-value", (1, 17), "write a network such as"),
        ("model: claude-sonnet-5-5\n", "invalid-value", (1, 8), "provider, default, base_url"),
        ("model: {provider: bedrok}\n", "invalid-value", (1, 19), "did you mean `bedrock`?"),
        ("model: {base_url: ftp://acme.example}\n", "invalid-value", (1, 19), "write an https:// address"),
        ("model: {summarise_at: 20000}\n", "unknown-key", (1, 9), "did you mean `summarize_at`?"),
        ("model: {summarize_at: 9999}\n", "invalid-value", (1, 23), "at least 10000"),
        ("model: {prices: {a: 2}}\n", "invalid-value", (1, 21), "input, output"),
        ("model: {prices: {a: {input: 2}}}\n", "missing-key", (1, 21), "add `output: …`"),
        ("model: {prices: {a: {input: 2, ouput: 3, output: 3}}}\n", "unknown-key", (1, 32), "did you mean `output`?"),
        ("model: {prices: {a: {input: -1, output: 3}}}\n", "invalid-value", (1, 29), "dollars per million tokens"),
        ("limits: {turns: 501}\n", "invalid-value", (1, 17), "from 1 to 500"),
        ("limits: {timeout: 90}\n", "invalid-value", (1, 19), "a number and a unit"),
        ("limits: {cost: 5}\n", "unknown-key", (1, 10), "known keys: turns, timeout, tokens, cost_usd"),
        ("pause_after_failures: 1\n", "invalid-value", (1, 23), "from 2 to 100"),
        ("encryption: {}\n", "missing-key", (1, 13), "add `keys: …`"),
        ("encryption: {keys: []}\n", "invalid-value", (1, 20), "write at least one"),
        (f"{KEYS}id: a\n", "missing-key", (3, 7), "add `key: …`"),
        (f"{KEYS}{{id: A/b, key: '${{K}}'}}\n", "invalid-value", (3, 12), "never the key itself"),
        (f"{KEYS}{{id: a, key: '${{K}}'}}\n    - {{id: a, key: '${{L}}'}}\n", "invalid-value", (4, 12), "two keys"),
        ("- a\n", "invalid-value", (1, 1), "a mapping of keys to values"),
    ],
)
def test_each_mistake_has_its_place_and_its_remedy(text: str, code: str, place: tuple[int, int], says: str) -> None:
    loaded = load(text)
    assert loaded.config is None
    assert [problem.code for problem in loaded.problems] == [code]
    [problem] = loaded.problems
    assert (problem.span.line, problem.span.column) == place
    assert says in f"{problem.message} {problem.label} {problem.help}"


@pytest.mark.parametrize(
    "text",
    [
        "url: http://127.0.0.1:8233\n",
        "url: http://localhost:8233/goals/\n",
        "url: https://[2001:db8::1]:8443\n",
        "model: {base_url: 'http://[::1]:9'}\n",
        "private_hosts: [ntfy, 10.0.0.7, 'fd00::/8', 'fd00::7', 192.168.1.0/24]\n",
        "channels: {ops: {webhook: 'https://acme.example/h?room=1', secret: '${S}'}}\n",
        "channels: {ops: {webhook: 'http://127.0.0.1:9/h', secret: '${S}'}}\n",
        "model: {prices: {free: {input: 0, output: 0}}}\n",
    ],
)
def test_what_people_need_is_taken(text: str) -> None:
    assert config(text)


SECRET = "hunter2-and-more"
WRITTEN_OUT = (
    f"{CHANNEL}apprise: mailto://ops:{SECRET}@acme.example\n",
    f"{CHANNEL}apprise: ntfys://{SECRET}\n",
    f"{CHANNEL}apprise: ${{OPS}} {SECRET}\n",
    f"{CHANNEL}apprise: [{SECRET}]\n",
    f"{CHANNEL}aprise: {SECRET}\n",
    f"channels: {{ops: {SECRET}}}\n",
    f"channels: {{ops: {{apprise: {SECRET}, colour: red}}}}\n",
    f"{CHANNEL}webhook: https://acme.example/hook\n    secret: {SECRET}\n",
    f"{CHANNEL}webhook: http://acme.example/{SECRET}\n    secret: ${{S}}\n",
    f"{CHANNEL}webhook: https://a:{SECRET}@acme.example\n    secret: ${{S}}\n",
    f"{KEYS}{{id: a, key: {SECRET}}}\n",
    f"{KEYS}{{id: a, kee: {SECRET}}}\n",
    f"encryption: {SECRET}\n",
    f"model: {{base_url: 'https://a:{SECRET}@acme.example'}}\n",
    f"chanel: {{ops: {{apprise: 'mailto://ops:{SECRET}@acme.example'}}}}\n",
)


@pytest.mark.parametrize("text", WRITTEN_OUT)
def test_a_secret_that_is_written_out_is_refused_and_never_repeated(text: str) -> None:
    problems = load(text).problems
    assert {problem.code for problem in problems} == {"secret-in-file"}
    for problem in problems:
        said = f"{problem.full(text)}\n{problem.concise()}\n{problem.model_dump_json()}"
        assert SECRET not in said
        assert problem.help
        assert problem.span.line == next(n for n, line in enumerate(text.splitlines(), 1) if SECRET in line)


@pytest.mark.parametrize("key", [123456789, 1.5, True])
def test_a_key_that_is_no_text_is_not_repeated_either(key: object) -> None:
    text = f"{KEYS}{{id: a, key: {json.dumps(key)}}}\n"
    [problem] = load(text).problems
    assert problem.code == "secret-in-file"
    assert json.dumps(key) not in problem.full(text)


ENVIRON = {"OPS_URL": "ntfys://acme.example/ops\n", "BLANK": " ", "_X1": "x"}


class TestReferences:
    def test_a_variable_that_is_named_twice_is_one(self) -> None:
        found = config("channels: {a: {apprise: '${X}'}, b: {webhook: '${Y}', secret: '${X}'}}\n")
        assert references(found) == ("X", "Y")

    def test_a_name_is_resolved_to_the_value_of_its_variable(self) -> None:
        assert resolved("${OPS_URL}", ENVIRON) == "ntfys://acme.example/ops"
        assert resolved("${_X1}", ENVIRON) == "x"

    @pytest.mark.parametrize(
        "text", ["https://x.example/$OPS_URL", "${ops_url}", "${OPS_URL}/x", "${1X}", "${}", "", None]
    )
    def test_anything_else_is_itself(self, text: str | None) -> None:
        assert resolved(text, ENVIRON) == text

    @pytest.mark.parametrize("name", ["GONE", "BLANK"])
    def test_a_variable_that_is_not_set_is_named_with_what_to_do(self, name: str) -> None:
        with pytest.raises(MissingSecret, match=rf"set {name} where this runs") as refused:
            resolved(f"${{{name}}}", ENVIRON)
        assert "ntfys" not in str(refused.value)


class TestTheCatalog:
    def test_it_holds_names_and_numbers_only(self) -> None:
        found = config(reference_example()).catalog()
        assert found.channels == ("eng-slack", "oncall")
        assert found.limits is not None
        assert (found.limits.turns, found.default_model) == (100, "claude-sonnet-5-5")
        assert found.priced is not None
        assert {"acme-large-2", *PRICES} == set(found.priced)
        text = found.model_dump_json()
        assert type(found).model_validate_json(text) == found
        assert not re.search(r"https://|\$\{", text)

    def test_without_maxima_it_has_none(self) -> None:
        assert Config().catalog().limits is None
        assert Config(model={"prices": {"a": Price(input=1, output=1)}}).catalog().default_model == ""  # pyright: ignore[reportArgumentType]


REFERENCE = st.sampled_from(["${OPS}", "https://acme.example/x"])
WORD = st.sampled_from(["a", "A b", "", "https://acme.example", "http://acme.example", "10.0.0.0/8", "claude-x"])
ODD = st.one_of(st.none(), st.booleans(), st.integers(-9, 200_000), st.floats(-10, 1e6), WORD, st.just([]), st.just({}))
CHANNELS = st.dictionaries(
    st.sampled_from(["ops", "Ops"]),
    st.fixed_dictionaries(
        {}, optional={"apprise": REFERENCE, "webhook": REFERENCE, "secret": REFERENCE, "x": REFERENCE}
    ),
    max_size=2,
)
PRICE = st.fixed_dictionaries({}, optional={"input": ODD, "output": st.just(3), "cache_read": ODD, "source": WORD})
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "url": ODD,
        "channels": CHANNELS | st.just([]),
        "private_hosts": st.lists(WORD, max_size=2) | ODD,
        "model": st.fixed_dictionaries(
            {},
            optional={
                "provider": st.sampled_from(["anthropic", "bedrock", "azure"]),
                "default": ODD,
                "base_url": ODD,
                "prices": st.dictionaries(WORD, PRICE | ODD, max_size=1) | ODD,
                "summarize_at": ODD,
            },
        ),
        "limits": st.fixed_dictionaries({}, optional=dict.fromkeys(Maxima.model_fields, ODD)) | ODD,
        "pause_after_failures": ODD,
        "encryption": st.fixed_dictionaries(
            {}, optional={"keys": st.lists(st.fixed_dictionaries({"id": WORD, "key": REFERENCE}), max_size=2)}
        ),
        "colour": ODD,
    },
)


@given(DOCUMENTS)
@settings(max_examples=300)
def test_the_loader_and_the_schema_take_the_same_configurations(document: dict[str, Any]) -> None:
    loaded = load(json.dumps(document))
    if SCHEMA.is_valid(document):  # pyright: ignore[reportUnknownMemberType]
        assert all("two keys" in each.message or "no network" in each.message for each in loaded.problems)
    else:
        assert loaded.config is None, "the schema refuses it, the loader does not"
    assert (loaded.config is None) == bool(loaded.problems)


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_raise(raw: bytes) -> None:
    loaded = load_config(raw, FILE)
    assert (loaded.config is None) == bool(loaded.problems)
