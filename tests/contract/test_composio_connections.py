"""Who is connected to what, as Composio tells it, and the links that people connect by."""

from collections.abc import AsyncIterator, Iterator

import pytest

from runner.adapters.composio import ComposioToolkits
from runner.ports import Missing, PermanentError, TransientError
from tests.contract.test_anthropic_errors import everything_said_by
from tests.standins.composio_api import ComposioApi, Result, folder
from tests.standins.loopback import Drop, Fail, Garble, Hang

KEY = "ak_canary-5f2c9b7e41"
TOOLKITS = ("notes", "mail")


@pytest.fixture
def api() -> Iterator[ComposioApi]:
    acts = [*folder("notes"), *folder("mail"), *folder("search")]
    with ComposioApi(acts, key=KEY, connected=set(), free={"search"}) as standin:
        yield standin


@pytest.fixture
async def toolkits(api: ComposioApi) -> AsyncIterator[ComposioToolkits]:
    made = ComposioToolkits(KEY, api.url, "default", deadline=30)
    yield made
    await made.close()


async def test_with_everything_connected_nothing_is_missing_and_no_link_is_made(
    api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    api.connected = {("ada", "notes"), ("ada", "mail")}

    assert await toolkits.missing(TOOLKITS, "ada") == ()
    assert api.links == []


async def test_what_is_not_connected_is_told_in_order_with_a_link_of_its_own(
    api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    missing = await toolkits.missing(("notes", "mail", "notes"), None)

    assert [each.toolkit for each in missing] == ["notes", "mail"]
    assert all(each.link.startswith(f"{api.url}/link/") for each in missing)
    assert missing[0].link != missing[1].link
    assert api.links == [("default", "notes"), ("default", "mail")]


async def test_a_connection_is_a_persons_own(api: ComposioApi, toolkits: ComposioToolkits) -> None:
    api.connected = {("ada", "notes")}

    assert await toolkits.missing(("notes",), "ada", links=False) == ()
    assert await toolkits.missing(("notes",), "grace", links=False) == (Missing("notes"),)


async def test_a_toolkit_that_needs_no_account_is_never_missing(api: ComposioApi, toolkits: ComposioToolkits) -> None:
    assert [each.toolkit for each in await toolkits.missing(("search", "notes"), None)] == ["notes"]


async def test_looking_again_makes_no_link(api: ComposioApi, toolkits: ComposioToolkits) -> None:
    for _ in range(3):
        assert await toolkits.missing(TOOLKITS, "ada", links=False) == (Missing("notes"), Missing("mail"))

    assert api.links == []
    assert sum(request.method == "POST" for request in api.requests) == 1


@pytest.mark.parametrize("state", ["INITIALIZING", "INITIATED", "FAILED", "EXPIRED", "INACTIVE", "REVOKED"])
async def test_only_an_active_account_is_a_connection(state: str, api: ComposioApi, toolkits: ComposioToolkits) -> None:
    api.accounts["default", "notes"] = state

    assert await toolkits.missing(("notes",), None, links=False) == (Missing("notes"),)


async def test_a_link_that_nobody_used_is_no_connection_and_one_that_was_used_is(
    api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    await toolkits.missing(("notes",), None)
    assert await toolkits.missing(("notes",), None, links=False) == (Missing("notes"),)

    api.connected = {("default", "notes")}

    assert await toolkits.missing(("notes",), None) == ()
    assert len(api.links) == 1


async def test_no_toolkit_asks_nobody(api: ComposioApi, toolkits: ComposioToolkits) -> None:
    assert await toolkits.missing((), None) == ()
    assert api.requests == []


async def test_every_page_is_read() -> None:
    with ComposioApi([*folder("notes"), *folder("mail")], key=KEY, connected=set(), page=1) as api:
        toolkits = ComposioToolkits(KEY, api.url, "default")
        assert await toolkits.missing(TOOLKITS, None, links=False) == (Missing("notes"), Missing("mail"))
        await toolkits.close()


async def test_the_session_that_was_looked_at_is_the_one_that_acts(
    api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    api.connected = {("default", "notes")}
    await toolkits.missing(("notes",), None)
    await toolkits.tools(("notes",), None)
    await toolkits.missing(("notes",), None)

    created = [r for r in api.requests if (r.method, r.path) == ("POST", "/api/v3.1/tool_router/session")]
    assert len(created) == 1


async def test_a_session_deleted_meanwhile_is_replaced(api: ComposioApi, toolkits: ComposioToolkits) -> None:
    await toolkits.missing(("notes",), None, links=False)
    api.forget_sessions()

    assert await toolkits.missing(("notes",), None, links=False) == (Missing("notes"),)


async def test_an_unknown_toolkit_is_a_permanent_error(toolkits: ComposioToolkits) -> None:
    with pytest.raises(PermanentError, match="nosuch"):
        await toolkits.missing(("notes", "nosuch"), None)


async def test_a_toolkit_that_composio_does_not_list_is_not_taken_for_connected(
    api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    api.next["session toolkits"] = [Result({"items": [], "next_cursor": None})]

    with pytest.raises(PermanentError, match="notes"):
        await toolkits.missing(("notes",), None)


@pytest.mark.parametrize("step", ["create", "session toolkits"])
@pytest.mark.parametrize("lost", [Fail(500), Fail(429), Drop(), Garble(b"<html>"), Garble(b"{}")], ids=str)
async def test_what_composio_cannot_tell_now_is_a_transient_error(
    lost: Fail | Drop | Garble, step: str, api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    api.next[step] = [lost]

    with pytest.raises(TransientError) as caught:
        await toolkits.missing(("notes",), None)

    assert (caught.value.sent, api.links) == (False, [])
    assert [each.toolkit for each in await toolkits.missing(("notes",), None)] == ["notes"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_may_not_look_is_a_permanent_error_without_the_key(
    status: int, api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    api.next["session toolkits"] = [Fail(status, f"your key {KEY} is odd")]

    with pytest.raises(PermanentError, match="COMPOSIO_API_KEY") as caught:
        await toolkits.missing(("notes",), None)

    assert KEY not in everything_said_by(caught.value)


@pytest.mark.parametrize(
    "lost",
    [
        Fail(400, "there is no managed way to connect it"),
        Fail(403),
        Fail(500),
        Drop(),
        Garble(b"{}"),
        Garble(b'{"redirect_url": "javascript:alert(1)"}'),
        Garble(b'{"redirect_url": "https://connect.example/ two"}'),
    ],
    ids=str,
)
async def test_a_link_that_cannot_be_made_hides_nothing(
    lost: Fail | Drop | Garble, api: ComposioApi, toolkits: ComposioToolkits
) -> None:
    api.next["link"] = [lost]

    notes, mail = await toolkits.missing(TOOLKITS, None)

    assert notes == Missing("notes")
    assert mail.link.startswith("http")


async def test_silence_about_a_link_ends_at_the_deadline(api: ComposioApi) -> None:
    toolkits = ComposioToolkits(KEY, api.url, "default", deadline=30)
    await toolkits.missing(("notes",), None, links=False)
    await toolkits.close()
    hurried = ComposioToolkits(KEY, api.url, "default", deadline=2)
    api.next["link"] = [Hang()]

    assert await hurried.missing(("notes",), None) == (Missing("notes"),)
    await hurried.close()
