"""`goalfile key`: what it prints is a key that the gateway takes, and a configuration that takes the key."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gateway.api_keys import ApiKeys
from runner.cli import goalfile as command
from schemas.access import KEY_PATTERN, SCOPES, Auth
from schemas.config import load_config
from schemas.load import load_task

Goalfile = Callable[..., "CompletedProcess[str]"]


def run(*words: str) -> Result:
    """`goalfile key` in this process."""
    return CliRunner().invoke(command, ["key", *words])


def auth_of(text: str) -> Auth:
    """The `auth` of a configuration file of just these lines."""
    loaded = load_config(text.encode(), "goalfile.config.yaml")
    assert loaded.problems == ()
    assert loaded.config is not None
    return loaded.config.auth


def test_the_key_is_on_stdout_and_the_lines_for_the_configuration_are_on_stderr(
    goalfile: Goalfile, tmp_path: Path
) -> None:
    said = goalfile("key", "ci", "--scope", "runs:write", "--scope", "runs:read", "--run-as", "ada")
    assert said.returncode == 0
    assert re.fullmatch(KEY_PATTERN + "\n", said.stdout)
    auth = auth_of(said.stderr)
    assert (auth.keys[0].id, auth.keys[0].scopes, auth.keys[0].run_as) == ("ci", ("runs:write", "runs:read"), ("ada",))
    who = ApiKeys(auth.keys).holder(said.stdout.strip())
    assert who is not None
    assert (who.name, who.may("runs:write"), who.may("admin"), who.run_as) == ("key ci", True, False, ("ada",))
    assert said.stdout.strip() not in said.stderr
    assert list(tmp_path.iterdir()) == []  # it is kept nowhere


def test_as_json_stdout_has_both_and_stderr_nothing() -> None:
    said = run("ops", "--scope", "admin", "--json")
    assert (said.exit_code, said.stderr) == (0, "")
    printed = json.loads(said.stdout)
    auth = auth_of(json.dumps({"auth": {"keys": [printed["config"]]}}))
    who = ApiKeys(auth.keys).holder(printed["key"])
    assert who is not None
    assert who.may("admin")
    assert who.run_as == ()  # not said: none at all


def test_each_key_is_another_one_even_of_the_same_id() -> None:
    made = {run("ci", "--scope", "admin").stdout for _ in range(20)}
    assert len(made) == 20


# What YAML would take for something else than text, and the longest.
IDS = ("no", "on", "null", "123", "0x1f", "1e3", "2026-11-01", "a" * 31, "a-", "1-")
USERS = ("no", "123", "a:b", "#1", "[a]", "it's", '"', "*", "ада", "&a", "!", "x,y", "{}")


@pytest.mark.parametrize("name", IDS)
def test_every_id_is_read_back_as_it_was_given(name: str) -> None:
    said = run(name, "--scope", "tasks:read")
    [key] = auth_of(said.stderr).keys
    assert key.id == name
    assert ApiKeys((key,)).holder(said.stdout.strip()) is not None


@pytest.mark.parametrize("user", USERS)
def test_every_user_is_read_back_as_it_was_given(user: str) -> None:
    [key] = auth_of(run("ci", "--scope", "tasks:read", "--run-as", user, "--run-as", user).stderr).keys
    assert key.run_as == (user,)


@given(st.lists(st.sampled_from(SCOPES), min_size=1))
def test_every_scope_can_be_given_and_counts_once(scopes: list[str]) -> None:
    said = run("ci", *(word for scope in scopes for word in ("--scope", scope)))
    [key] = auth_of(said.stderr).keys
    assert list(key.scopes) == list(dict.fromkeys(scopes))


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("ci", "--scope", "runs:wrte"), "--scope cannot be 'runs:wrte': did you mean `runs:write`?"),
        (("ci", "--scope", "admin", "--scope", "all"), "--scope cannot be 'all': write runs:read, runs:write,"),
        (("ci",), "Missing option '--scope'"),
        (("--scope", "admin"), "Missing argument 'ID'"),
        (("Ci", "--scope", "admin"), "ID cannot be 'Ci': a key's id has 1 to 31 of a-z, 0-9 and -"),
        (("a_b", "--scope", "admin"), "ID cannot be 'a_b'"),
        (("a" * 32, "--scope", "admin"), "ID cannot be"),
        (("", "--scope", "admin"), "ID cannot be ''"),
        (("a\nb", "--scope", "admin"), "ID cannot be 'a\\nb'"),
        (("ci", "--scope", "admin", "--run-as", "a b"), "--run-as cannot be 'a b': the Composio user"),
    ],
)
def test_what_the_configuration_would_not_take_makes_no_key(words: tuple[str, ...], remedy: str) -> None:
    said = run(*words)
    assert (said.exit_code, said.stdout) == (2, "")
    assert remedy in said.stderr


@pytest.mark.parametrize("around", ["{}", "use {} now", "'{}'", "Bearer {}", "{}.", "{}-old", "{}_2", "GF={}\\n"])
def test_a_key_in_a_task_file_is_a_secret_and_is_not_shown(around: str) -> None:
    key = run("ci", "--scope", "admin").stdout.strip()
    text = f'goal: "{around.format(key)}"\n'
    loaded = load_task(text.encode(), "a.yaml")
    assert [problem.code for problem in loaded.problems] == ["secret-in-file"]
    assert loaded.task is None
    assert "a key of Goalfile" in loaded.problems[0].message
    assert key[6:] not in loaded.problems[0].full(text)


def test_a_key_in_place_of_its_digest_is_a_secret_too() -> None:
    key = run("ci", "--scope", "admin").stdout.strip()
    text = f"auth:\n  keys:\n    - {{id: ci, sha256: {key}, scopes: [admin]}}\n"
    loaded = load_config(text.encode(), "goalfile.config.yaml")
    assert [problem.code for problem in loaded.problems] == ["secret-in-file"]
    assert key[6:] not in loaded.problems[0].full(text)


KEY = "{id: ci, sha256: DIGEST, scopes: [admin]}"
OIDC = "issuer: https://login.example, audience: goalfile, jwks_url: https://login.example/keys"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("keys: [{id: ci, sha256: DIGEST, scopes: [runs:wrte]}]", "did you mean `runs:write`?"),
        ("keys: [{id: ci, sha256: DIGEST, scopes: [everything]}]", "write runs:read, runs:write,"),
        ("keys: [{id: ci, sha256: DIGEST, scopes: []}]", "write at least one"),
        ("keys: [{id: ci, sha256: DIGEST}]", "`auth.keys[0].scopes` is missing"),
        ("keys: [{sha256: DIGEST, scopes: [admin]}]", "`auth.keys[0].id` is missing"),
        ("keys: [{id: ci, scopes: [admin]}]", "`auth.keys[0].sha256` is missing"),
        ("keys: [{id: ci, sha256: abc, scopes: [admin]}]", "64 hex digits, as `goalfile key` prints them"),
        ("keys: [{id: C I, sha256: DIGEST, scopes: [admin]}]", "a key's id has 1 to 31 of a-z, 0-9 and -"),
        ("keys: [{id: ci, sha256: DIGEST, scopes: [admin], key: x}]", "unknown key `auth.keys[0].key`"),
        (f"keys: [{KEY}, {KEY}]", "two keys have the id `ci`"),
        ("keys: []", "write at least one, or remove the line"),
        ("oidc: {}", "`auth.oidc.jwks_url` is missing"),
        (f"oidc: {{{OIDC}, algorithm: HS256}}", "write RS256, PS256, ES256 or EdDSA"),
        (f"oidc: {{{OIDC}, grants: {{ops: [amdin]}}}}", "did you mean `admin`?"),
        (f"oidc: {{{OIDC}, grants: {{}}}}", "write a value of the claim and its scopes"),
        (f"oidc: {{{OIDC.replace('https://login.example/k', 'http://login.example/k')}}}", "write an https:// address"),
        (f"oidc: {{{OIDC.replace('https://login.example/k', 'https://a:b@login.example/k')}}}", "holds a password"),
        (f"oidc: {{{OIDC}, leeway: 3600}}", "unknown key `auth.oidc.leeway`"),
    ],
)
def test_a_configuration_that_cannot_be_meant_says_what_to_write(said: str, problem: str) -> None:
    text = f"auth:\n  {said.replace('DIGEST', 'a1' * 32)}\n"
    loaded = load_config(text.encode(), "goalfile.config.yaml")
    assert loaded.config is None
    assert any(problem in each.full(text) for each in loaded.problems), loaded.problems


@pytest.mark.parametrize("url", ["https://login.example/keys", "http://127.0.0.1:8080/keys", "http://localhost/keys"])
def test_keys_come_by_https_or_from_this_machine(url: str) -> None:
    auth = auth_of(f"auth:\n  oidc: {{{OIDC.replace('https://login.example/keys', url)}}}\n")
    assert auth.oidc is not None
    assert (auth.oidc.jwks_url, auth.oidc.algorithm, auth.oidc.claim) == (url, "RS256", "scope")
    assert (auth.oidc.run_as, auth.is_open) == ((), False)


def test_talking_about_keys_is_no_secret() -> None:
    for goal in ("make a gf_ci_ key", "gf_ci_...", "rename gf_old_name to gf_new_name", f"gf_ci_{'a' * 42}"):
        assert load_task(f"goal: {goal}\n".encode(), "a.yaml").problems == ()
