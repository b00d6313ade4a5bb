"""What calling a Composio tool does to the world: the reviewed table, and the rules for what is not in it."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.adapters.composio_effects import digest, effect_of, table

HINTS = ("readOnlyHint", "idempotentHint", "createHint", "updateHint", "destructiveHint", "openWorldHint", "important")
TAGS = st.lists(st.sampled_from(HINTS), max_size=7)
WORDS = st.sampled_from(["GET", "LIST", "FIND", "SEARCH", "A", "MANY", "ITEMS", "BY", "ID", "STATUS", "ALL"])
DELETING = re.compile(
    r"(?:^|_)(DELETE|DELETES|REMOVE|REMOVES|TRASH|ERASE|PURGE|WIPE|DESTROY|EMPTY|CLEAR)(?:_|$)|DELETEV1"
)


def test_the_table_is_the_one_that_was_reviewed() -> None:
    """A change of any line changes this digest: read the lines that changed, then write the new one here."""
    assert digest() == "e6cc44516f2d6944cceac36ef72eed59a1269c3f781d63da3a7a819531e02293"
    assert len(table()) == 1254


@pytest.mark.parametrize(
    ("slug", "effect"),
    [
        ("GMAIL_FETCH_EMAILS", "read"),
        ("GMAIL_ADD_LABEL_TO_EMAIL", "idempotent"),
        ("GMAIL_SEND_EMAIL", "write"),
        ("GMAIL_MOVE_TO_TRASH", "destructive"),
        ("GITHUB_CREATE_AN_ISSUE", "write"),
        ("GITHUB_DELETE_A_REPOSITORY", "destructive"),
        ("GITHUB_UPDATE_A_REPOSITORY", "destructive"),  # it can make one public
        ("GITHUB_RUN_GRAPH_QL_QUERY", "destructive"),  # or a mutation
        ("SLACK_SEND_MESSAGE", "write"),
        ("SLACK_DELETES_A_MESSAGE_FROM_A_CHAT", "destructive"),
        ("SLACK_ENABLE_PUBLIC_SHARING_OF_A_FILE", "destructive"),
        ("GOOGLECALENDAR_UPDATE_EVENT", "write"),  # it writes to the guests each time
        ("GOOGLEDRIVE_CREATE_PERMISSION", "destructive"),
        ("LINEAR_REMOVE_ISSUE_LABEL", "write"),
        ("STRIPE_CREATE_REFUND", "destructive"),
        ("STRIPE_CREATE_PREVIEW_INVOICE", "read"),  # it creates nothing
        ("TELEGRAM_GET_UPDATES", "idempotent"),  # it forgets what was read
        ("HUBSPOT_ARCHIVE_CONTACT", "destructive"),
        ("JIRA_TRANSITION_ISSUE", "write"),
    ],
)
@pytest.mark.parametrize("tags", [[], ["readOnlyHint"], ["destructiveHint"], None])
def test_the_table_beats_every_hint(slug: str, effect: str, tags: Any) -> None:
    assert effect_of(slug, tags) == effect


def test_nothing_that_deletes_is_read_or_repeated() -> None:
    assert [
        slug for slug, effect in table().items() if effect in ("read", "idempotent") and DELETING.search(slug)
    ] == []


def test_nothing_in_the_table_that_sends_or_creates_is_repeated() -> None:
    making = re.compile(r"_(SEND|SENDS|CREATE|CREATES|POST|PAY|REFUND|FORWARD|REPLY|INVITE|UPLOAD|INSERT|APPEND)_")
    allowed = {  # nouns, sets a state by id, or only asks
        "GMAIL_PATCH_SEND_AS",
        "GMAIL_UPDATE_SEND_AS",
        "GOOGLEDRIVE_INSERT_CHILD",
        "GOOGLEDRIVE_UPDATE_REPLY",
        "GOOGLEDRIVE_UPLOAD_UPDATE_FILE",
        "JIRA_SEARCH_FOR_ISSUES_USING_JQL_POST",
        "REDDIT_EDIT_REDDIT_COMMENT_OR_POST",
        "STRIPE_CREATE_PREVIEW_INVOICE",
    }
    gentle = {s for s, effect in table().items() if effect in ("read", "idempotent") and making.search(f"{s}_")}
    assert {slug for slug in gentle if not re.search(r"_(GET|LIST|RETRIEVE|SETTINGS)_", slug)} <= allowed


@pytest.mark.parametrize(
    ("slug", "tags", "effect"),
    [
        ("ACME_LIST_THINGS", ["readOnlyHint"], "read"),
        ("ACME_THINGS_LIST", ["readOnlyHint", "openWorldHint"], "read"),
        ("ACME_LIST_THINGS", ["readOnlyHint", "idempotentHint"], "read"),
        ("ACME_LIST_THINGS", [], "write"),
        ("ACME_LIST_THINGS", None, "write"),
        ("ACME_LIST_THINGS", ["readOnlyHint", "updateHint"], "write"),
        ("ACME_LIST_THINGS", ["readOnlyHint", "destructiveHint"], "destructive"),
        ("ACME_LIST_DELETED_THINGS", ["readOnlyHint"], "read"),
        ("ACME_LIST_REFUND_REASONS", ["readOnlyHint"], "write"),
        ("ACME_FIND_OR_CREATE_THING", ["readOnlyHint"], "write"),
        ("ACME_MARK_THREAD_AS_READ", ["readOnlyHint"], "write"),
        ("ACME_UPDATE_THING", ["idempotentHint", "updateHint"], "write"),
        ("ACME_SEND_MAIL", ["readOnlyHint"], "write"),
        ("ACME_CREATE_THING", ["readOnlyHint", "idempotentHint"], "write"),
        ("ACME_REFUND_ORDER", ["readOnlyHint"], "destructive"),
        ("ACME_TRANSFER_OWNERSHIP", [], "destructive"),
        ("ACME_DELETEV2_THING", ["readOnlyHint"], "destructive"),
        ("acme-deleteThing", ["readOnlyHint"], "destructive"),
        ("GITHUB_MANAGE_SECRETS_IN_SELECTED_REPOSITORIES_WITH_PROPER_ACCESS", ["readOnlyHint"], "write"),
        ("GITHUB_CUSTOM_OIDCSUBJECT_CLAIM_TEMPLATE", ["readOnlyHint"], "write"),
        ("", ["readOnlyHint"], "write"),
    ],
)
def test_outside_of_the_table_the_worse_of_name_and_hints_counts(slug: str, tags: Any, effect: str) -> None:
    """The last two are Composio's own hints, of its catalogue of 2025-08-30."""
    assert effect_of(slug, tags) == effect


@given(st.text(), TAGS)
@settings(deadline=None)
def test_what_nobody_knows_is_a_write_or_worse(slug: str, tags: list[str]) -> None:
    if not re.search(r"(GET|LIST|FIND|READ|SEARCH|FETCH|QUERY|COUNT|LOOKUP|RETRIEVE|DESCRIBE|DOWNLOAD)", slug.upper()):
        assert effect_of(slug, tags) in ("write", "destructive")


@given(st.lists(WORDS, max_size=4), st.sampled_from(["DELETE", "REMOVES", "TRASH", "PURGE"]), st.integers(0, 4), TAGS)
@settings(deadline=None)
def test_a_deleting_word_anywhere_is_destructive_whatever_the_hints_say(
    words: list[str], word: str, place: int, tags: list[str]
) -> None:
    words.insert(place, word)
    assert effect_of("_".join(["ACME", *words]), tags) == "destructive"


@given(st.lists(WORDS, min_size=1, max_size=4), TAGS, st.sampled_from(HINTS[2:5]))
@settings(deadline=None)
def test_one_more_hint_of_danger_never_makes_a_tool_safer(words: list[str], tags: list[str], hint: str) -> None:
    harm = ("read", "idempotent", "write", "destructive").index
    slug = "_".join(["ACME", *words])
    assert harm(effect_of(slug, [*tags, hint])) >= harm(effect_of(slug, tags))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), st.lists, max_leaves=5))
@settings(deadline=None)
def test_tags_that_are_no_tags_say_nothing(tags: Any) -> None:
    assert effect_of("ACME_LIST_THINGS", tags) == "write"
