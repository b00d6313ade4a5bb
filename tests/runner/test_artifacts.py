"""Texts too long for history: kept under a name that stays in the folder, sealed under that name alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.artifacts import Artifacts
from schemas.sealing import KEY_BYTES, CannotOpen, Keyring

KEYS = Keyring((("new", b"n" * KEY_BYTES), ("old-2025", b"o" * KEY_BYTES)))
NASTY = st.text(max_size=40) | st.sampled_from(["..", ".", "../../etc/passwd", "/etc/passwd", "a/../..", "\0", "~", ""])


@pytest.mark.parametrize("keys", [None, KEYS])
async def test_what_is_kept_is_read_again_under_the_name_that_was_told(tmp_path: Path, keys: Keyring | None) -> None:
    shelf = Artifacts(tmp_path / "new" / "folder", keys)
    name = await shelf.keep("hello-2026-11-22T09:00:00Z", "toolu_01", "a long text \U0001f600")
    assert name.startswith("hello-2026-11-22T09_00_00Z/toolu_01.")
    assert shelf.read(name) == "a long text \U0001f600"
    assert (tmp_path / "new" / "folder" / name).is_file()


@given(run=NASTY, call=NASTY)
def test_no_name_leaves_the_folder(tmp_path_factory: pytest.TempPathFactory, run: str, call: str) -> None:
    outside = tmp_path_factory.mktemp("outside")
    shelf = Artifacts(outside / "shelf")
    name = shelf._keep(run, call, "text")
    assert shelf.read(name) == "text"
    kept = [path for path in outside.rglob("*") if path.is_file()]
    assert len(kept) == 1
    assert kept[0].parent.parent == outside / "shelf"
    assert not kept[0].name.startswith(".")


@pytest.mark.parametrize(
    "name", ["../secret", "../../secret", "run/../../secret", "/secret", "run/..", "..", "run", ""]
)
def test_nothing_outside_of_the_folder_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "shelf" / "run").mkdir(parents=True)
    with pytest.raises(OSError):
        Artifacts(tmp_path / "shelf").read(name)


def test_what_is_sealed_shows_nothing_of_its_text(tmp_path: Path) -> None:
    name = Artifacts(tmp_path, KEYS)._keep("run", "call", "the very words")
    assert b"very" not in (tmp_path / name).read_bytes()
    assert name == "run/call.sealed"


@pytest.mark.parametrize("other", ["run/other.sealed", "other/call.sealed"])
def test_what_is_sealed_opens_under_its_own_name_only(tmp_path: Path, other: str) -> None:
    shelf = Artifacts(tmp_path, KEYS)
    name = shelf._keep("run", "call", "text")
    (tmp_path / other).parent.mkdir(exist_ok=True)
    (tmp_path / name).rename(tmp_path / other)
    with pytest.raises(CannotOpen):
        shelf.read(other)


@pytest.mark.parametrize("instead", [b"old-2025", b"gone", b"", b"\xff\n"])
def test_what_is_sealed_opens_with_its_own_key_only(tmp_path: Path, instead: bytes) -> None:
    shelf = Artifacts(tmp_path, KEYS)
    file = tmp_path / shelf._keep("run", "call", "text")
    file.write_bytes(file.read_bytes().replace(b"new", instead, 1))
    with pytest.raises(CannotOpen):
        shelf.read("run/call.sealed")


def test_what_was_sealed_before_a_new_key_came_is_still_read(tmp_path: Path) -> None:
    name = Artifacts(tmp_path, Keyring(KEYS.keys[1:]))._keep("run", "call", "text")
    assert Artifacts(tmp_path, KEYS).read(name) == "text"
    with pytest.raises(CannotOpen, match="old-2025"):
        Artifacts(tmp_path, Keyring(KEYS.keys[:1])).read(name)


@pytest.mark.parametrize("key", ["2026.11", "a.b.c", "k"])
@pytest.mark.parametrize("call", ["toolu_01", "call.with.dots"])
def test_a_key_and_a_call_may_have_dots_in_their_names(tmp_path: Path, key: str, call: str) -> None:
    shelf = Artifacts(tmp_path, Keyring(((key, b"k" * KEY_BYTES),)))
    assert shelf.read(shelf._keep("run", call, "text")) == "text"


def test_a_sealed_text_without_keys_says_so(tmp_path: Path) -> None:
    name = Artifacts(tmp_path, KEYS)._keep("run", "call", "text")
    with pytest.raises(OSError, match="no keys"):
        Artifacts(tmp_path).read(name)


@pytest.mark.parametrize("length", [149, 150, 151, 4000])
@pytest.mark.parametrize("keys", [None, KEYS])
def test_a_long_name_is_cut_and_still_found(tmp_path: Path, keys: Keyring | None, length: int) -> None:
    shelf = Artifacts(tmp_path, keys)
    assert shelf.read(shelf._keep("r" * length, "c" * length, "text")) == "text"


async def test_where_nothing_can_be_kept_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file stands where the folder should be")
    assert await Artifacts(tmp_path / "file").keep("run", "call", "text") == ""
    assert await Artifacts(tmp_path / "file", KEYS).keep("run", "call", "text") == ""
    (tmp_path / "shelf" / "run" / "call.txt").mkdir(parents=True)
    assert await Artifacts(tmp_path / "shelf").keep("run", "call", "text") == ""


async def test_half_a_character_is_kept_as_a_question_mark(tmp_path: Path) -> None:
    shelf = Artifacts(tmp_path, KEYS)
    assert shelf.read(await shelf.keep("run", "call", "sent \ud800 ok")) == "sent ? ok"


def test_only_its_owner_reads_a_runs_folder(tmp_path: Path) -> None:
    name = Artifacts(tmp_path)._keep("run", "call", "text")
    assert (tmp_path / name).parent.stat().st_mode & 0o077 == 0
