import base64
import json
import logging
import subprocess
import sys
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.redaction import HIDDEN, Redacting, redact
from tests.conftest import ROOT

SECRET = 'tr0ub4dor&3/"q\\ü+='
DISGUISES = {
    "as it is": SECRET,
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 for a URL": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
    "URL": quote(SECRET, safe=""),
    "URL in small letters": quote(SECRET, safe="").lower(),
    "URL path": quote(SECRET),
    "form": quote_plus(SECRET),
    "JSON": json.dumps(SECRET),
    "JSON without escapes": json.dumps(SECRET, ensure_ascii=False),
    "JSON in JSON": json.dumps(json.dumps(SECRET)),
    "repr": repr(SECRET),
    "repr of bytes": repr(SECRET.encode()),
}


@pytest.mark.parametrize("written", DISGUISES.values(), ids=DISGUISES)
def test_a_secret_is_hidden_however_it_is_written(written: str) -> None:
    hidden = redact(f"before {written} after", [SECRET])
    assert HIDDEN in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")
    assert not {"tr0ub4dor", written} & {hidden, *hidden.replace("'", " ").replace('"', " ").split()}


@pytest.mark.parametrize("user", ["", "u", "us", "use"])
def test_a_secret_is_hidden_wherever_it_begins_in_base64(user: str) -> None:
    basic = base64.b64encode(f"{user}:correct-horse-battery".encode()).decode()
    hidden = redact(f"Authorization: Basic {basic}", ["correct-horse-battery"])
    assert HIDDEN in hidden
    left = max(hidden.removeprefix("Authorization: Basic ").split(HIDDEN), key=len)
    assert len(left) <= 6  # what is left is the user's


@given(st.text(min_size=8, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_no_secret_is_ever_left(secret: str, before: str, after: str) -> None:
    assume(secret.strip())
    assume(secret not in HIDDEN)
    for written in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]):
        assert written not in redact(before + written + after, [secret]).replace(HIDDEN, "")


@given(st.text(alphabet="ab", max_size=60), st.lists(st.text(alphabet="ab", min_size=4, max_size=9), max_size=5))
def test_secrets_that_overlap_leave_no_end_of_each_other(text: str, secrets: list[str]) -> None:
    told = {n for s in secrets for at in range(len(text)) if text.startswith(s, at) for n in range(at, at + len(s))}
    kept = "".join(letter for n, letter in enumerate(text) if n not in told)
    assert redact(text, secrets).replace(HIDDEN, "") == kept


@given(st.text(max_size=200))
def test_a_text_without_secrets_is_left_as_it_is(text: str) -> None:
    assume("q9X!zk-4711" not in text)
    assert redact(text, ["q9X!zk-4711"]) == text


@pytest.mark.parametrize("secret", ["", "  ", "    \n    ", "abc"])
def test_what_is_too_short_to_be_a_secret_does_not_blot_out_the_log(secret: str) -> None:
    assert redact("abc    \n    def", [secret]) == "abc    \n    def"


@pytest.mark.parametrize(
    "token",
    [
        "xoxb-1234567890-abcdefghij",
        "https://hooks.slack.com/services/T0AB/B0CD/zyxwvutsrq",
        "https://discord.com/api/webhooks/123/abcd-efgh_ijkl",
        "sk-ant-" + "a" * 30,
        "whsec_" + "a" * 32,
    ],
)
def test_what_looks_like_a_secret_is_hidden_whole(token: str) -> None:
    assert redact(f"posting to {token}, as told", []) in {
        f"posting to {HIDDEN}, as told",
        f"posting to https://{HIDDEN}, as told",
    }
    assert redact(json.dumps({"url": token, "n": 1}), []).endswith(f'{HIDDEN}", "n": 1}}')


def test_a_private_key_is_hidden_to_its_end() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIr\nabc\n-----END EC PRIVATE KEY-----"
    assert redact(f"read {key} from disk", []) == f"read {HIDDEN} from disk"
    assert redact(f"read {key[:50]}", []) == f"read {HIDDEN}"


def test_each_line_of_a_long_secret_is_hidden_by_itself() -> None:
    secret = "first-line-of-the-key\nsecond-line-of-the-key\n"
    assert redact("  |  second-line-of-the-key", [secret]) == f"  |  {HIDDEN}"


class Holder:
    def __repr__(self) -> str:
        return f"Holder(key={SECRET!r})"


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


def written(write: str, *args: object, error: bool = False, stack: bool = False) -> str:
    """What a log's reader is shown of one record."""
    record = logging.LogRecord("gateway", logging.ERROR, __file__, 1, write, args, None)
    if error:
        outer = RuntimeError("outer")
        outer.__cause__ = ValueError(f"cause {SECRET}")
        record.exc_info = (RuntimeError, outer, None)
    record.stack_info = f"Stack (most recent call last):\n  key = {SECRET!r}" if stack else None
    return Redacting(logging.Formatter("%(levelname)s %(message)s"), [SECRET]).format(record)


@pytest.mark.parametrize(
    "text",
    [
        written(f"in the message {SECRET}"),
        written("in an argument %s", SECRET),
        written("in a repr %r and %s", [Holder()], {"key": Holder()}),
        written("in a traceback", error=True),
        written("in a stack", stack=True),
        written(f"in arguments that do not fit {SECRET}", "one", "two"),
        written("in an argument that cannot be written: %s", Broken()),
    ],
)
def test_no_part_of_a_record_shows_a_secret(text: str) -> None:
    assert text.startswith("ERROR ")
    assert "tr0ub4dor" not in text


def test_the_rest_of_a_record_is_still_told() -> None:
    text = written("asked with %s", SECRET, error=True)
    assert text.startswith(f"ERROR asked with {HIDDEN}\n")
    assert f"ValueError: cause {HIDDEN}" in text
    assert "RuntimeError: outer" in text


def process(*lines: str) -> str:
    """What a process of its own writes to the terminal: handlers are everybody's in this one."""
    code = "\n".join(("import logging", "from schemas.redaction import quiet_secrets", *lines))
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout + said.stderr


def test_a_process_that_set_up_no_logging_is_quiet_too() -> None:
    said = process("quiet_secrets(['hunter22222', None])", "logging.getLogger('x').warning('it is %s', 'hunter22222')")
    assert said == f"it is {HIDDEN}\n"


def test_a_library_with_a_handler_of_its_own_is_quiet_too() -> None:
    said = process(
        "logging.basicConfig(format='root %(message)s')",
        "own, handler = logging.getLogger('own'), logging.StreamHandler()",
        "handler.setFormatter(logging.Formatter('own %(message)s'))",
        "own.addHandler(handler)",
        "quiet_secrets(['hunter22222'])",
        "own.error('hunter22222')",
    )
    assert said.splitlines() == [f"own {HIDDEN}", f"root {HIDDEN}"]


def test_what_is_told_later_is_hidden_besides() -> None:
    said = process(
        "quiet_secrets(['hunter22222'])",
        "quiet_secrets(['swordfish33'])",
        "logging.error('hunter22222 swordfish33')",
    )
    assert f"{HIDDEN} {HIDDEN}" in said
