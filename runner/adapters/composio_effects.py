"""What calling a Composio tool does to the world: our reviewed table first, then its name, then its hints.

The table is `composio_effects.txt` beside this file, one deliberate line a tool. Its names were read, on
2026-11-25, in ComposioHQ/composio (`docs/public/data/toolkits.json` at 06cdcd46, Gmail 20260817_00; and the
catalogue `tools-as-enums.json` of 2025-08-30) and in the tool manifests of hith3sh/clawlink (2026-05-20, toolkit
versions 20260407 to 20260512). What each line says is ours:

- `read`: no side effect at all; reading that marks something as read is a write.
- `idempotent`: sets a state, so that doing it twice is doing it once. Retried without asking anybody.
- `write`: creates, sends, posts; also what can only be trusted to do more than it says.
- `destructive`: deletes, trashes, archives, cancels, takes or gives away access, makes public, moves money,
  or runs whatever it is told (GraphQL, batches). Never called without a person's word.

Outside the table nothing is `idempotent`, and a tool is `read` only where its name and its hints both say so:
Composio's hints are best effort, and its own catalogue has called a tool that manages secrets read-only. Hints
can make a tool more dangerous than its name, never less. Refuses to guess: what nobody knows is a `write`.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, cast, get_args

from runner.ports import Effect


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_HARM: tuple[Effect, ...] = ("read", "idempotent", "write", "destructive")

# In any place of a name; `DELETED` and the like describe what is listed.
_DELETING = re.compile(r"DELET(?!ED)|_(?:REMOV(?!ED|AL)|TRASH(?!ED)|ERAS(?!ED)|PURG(?!ED)|WIPE|DESTROY|EMPTY_|CLEAR_)")
# Words that are nouns as well: `LIST_REFUND_REASONS` ends nothing, `CREATE_REFUND` does.
_ENDING = _words(
    "ABORT ARCHIVE BAN BLOCK CANCEL DEACTIVATE DETACH DISABLE DISMISS DROP EXPIRE KICK KILL LEAVE MERGE PAY PAYOUT "
    "PURCHASE REFUND RESET REVOKE ROLLBACK SUSPEND TERMINATE TRANSFER UNINSTALL UNPUBLISH UNSHARE VOID"
)
_READING = _words("COUNT DESCRIBE DOWNLOAD FETCH FIND GET LIST LISTS LOOKUP QUERY READ RETRIEVE SEARCH")
_ACTING = _words(
    "ACCEPT ACTIVATE ADD APPEND APPLY APPROVE ASSIGN ATTACH BATCH BOOK CALL CAPTURE CHANGE CLONE CLOSE COMPLETE "
    "CONFIRM CONVERT COPY CREATE CREATES CUSTOMIZE DECLINE DENY DUPLICATE EDIT ENABLE EXECUTE FOLLOW FORWARD GENERATE "
    "GRANT IMPORT INSERT INVITE INVOKE JOIN LIKE LINK LOCK MANAGE MARK MODIFY MOVE MUTATE MUTATION OPEN OR PATCH PIN "
    "POST PUBLISH PUSH PUT REJECT RENAME REPLACE REPLY REQUEST RERUN RESTORE RUN SAVE SCHEDULE SEND SENDS SET SHARE "
    "START STOP SUBMIT SUBSCRIBE SYNC TOGGLE TRIGGER UNASSIGN UNSUBSCRIBE UPDATE UPDATES UPLOAD UPSERT WATCH "
    "WRITE"
)


def effect_of(slug: str, tags: Any) -> Effect:
    """The class of a tool, by its Composio name (`GMAIL_SEND_EMAIL`) and the tags it is listed with.

    Pure: the same on every worker. `tags` is whatever Composio sent; what is no list of strings says nothing.
    """
    if known := table().get(slug):
        return known
    by_name, by_hints = _by_name(slug), _by_hints(tags)
    return by_name if _HARM.index(by_name) >= _HARM.index(by_hints) else by_hints


@cache
def table() -> Mapping[str, Effect]:
    """The reviewed table. Raises ValueError for a line that is none or says a tool twice."""
    rows: dict[str, Effect] = {}
    text = files(__package__ or "").joinpath("composio_effects.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        effect, _, slug = line.partition(" ")
        if effect not in get_args(Effect) or not re.fullmatch(r"[A-Z0-9_]+", slug) or slug in rows:
            raise ValueError(f"composio_effects.txt: {line!r} is no `class SLUG`, or the tool stands there twice")
        rows[slug] = cast("Effect", effect)
    return MappingProxyType(rows)


def digest() -> str:
    """SHA-256 of the table: changes with any class of any tool, not with comments or order."""
    said = "\n".join(sorted(f"{slug} {effect}" for slug, effect in table().items()))
    return hashlib.sha256(said.encode()).hexdigest()


def _by_name(slug: str) -> Effect:
    """The least that the name admits: the toolkit comes first, so the verb is the second or third word."""
    words = re.findall(r"[A-Z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", slug).upper())
    if _DELETING.search(f"_{'_'.join(words)}_"):
        return "destructive"
    reads = not _READING.isdisjoint(words[1:3])
    if not _ENDING.isdisjoint(words):
        return "write" if reads else "destructive"
    return "read" if reads and _ACTING.isdisjoint(words) else "write"


def _by_hints(tags: Any) -> Effect:
    """The least that the hints admit. Alone, `idempotentHint` is nothing to retry a write on."""
    hints = {str(tag) for tag in cast("list[Any]", tags)} if isinstance(tags, list) else set[str]()
    if "destructiveHint" in hints:
        return "destructive"
    return "read" if "readOnlyHint" in hints and not hints & {"createHint", "updateHint"} else "write"
