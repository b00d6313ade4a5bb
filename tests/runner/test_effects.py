from hypothesis import given
from hypothesis import strategies as st

from runner.effects import clip, fingerprint, lost, needs_approval, offered
from runner.ports import Tool, ToolCall
from schemas.task import Tools

SEND = Tool("GMAIL_SEND_EMAIL", "gmail", "", {}, "write")
DELETE = Tool("GMAIL_DELETE_EMAIL", "gmail", "", {}, "destructive")
FETCH = Tool("GMAIL_FETCH_EMAILS", "gmail", "", {}, "read")


def test_deny_beats_allow() -> None:
    rule = Tools(allow=("GMAIL_*",), deny=("*_DELETE_*",))
    assert offered((SEND, DELETE, FETCH), rule) == (SEND, FETCH)


def test_globs_do_not_care_about_case() -> None:
    assert offered((SEND, FETCH), Tools(allow=("gmail_fetch_*",))) == (FETCH,)


def test_destructive_tools_need_a_person_even_if_the_task_does_not_say_so() -> None:
    assert needs_approval(DELETE, Tools())
    assert not needs_approval(SEND, Tools())
    assert needs_approval(SEND, Tools(ask=("*_SEND_*",)))


def test_a_lost_read_is_a_failure_and_a_lost_write_is_unknown() -> None:
    def call(effect: str) -> ToolCall:
        return ToolCall("c", "T", "t", effect, {}, "e")  # type: ignore[arg-type]

    assert [lost(call(e), "gone").state for e in ("read", "idempotent", "write", "destructive")] == [
        "refused",
        "refused",
        "unknown",
        "unknown",
    ]


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4), st.randoms())
def test_a_fingerprint_does_not_depend_on_the_order_of_arguments(arguments: dict[str, object], random: object) -> None:
    items = list(arguments.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert fingerprint("T", arguments) == fingerprint("T", dict(items))
    assert fingerprint("T", arguments) != fingerprint("U", arguments)


@given(st.text(max_size=400), st.integers(100, 300))
def test_clipped_text_is_never_longer_than_its_limit_and_keeps_both_ends(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    assert clipped == text or (text.startswith(clipped[:10]) and text.endswith(clipped[-10:]))


def test_half_a_character_in_a_result_does_not_lose_the_result() -> None:
    assert clip("sent \ud800 ok") == "sent ? ok"
