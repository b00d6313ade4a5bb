"""The only reader of the tasks folder: what it sees, what it refuses, and that it is never half of each."""

import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner import files
from runner.files import Scan, SourceUnavailable, scan
from schemas.document import MAX_BYTES

ROOT = Path(__file__).parents[2]
NOBODY = 65534


def write(root: Path, *names: str, text: str = "goal: x\n") -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def config_map(root: Path, state: str, *names: str) -> Path:
    """A ConfigMap as the kubelet mounts it and swaps it: links to `..data`, a link to a folder of its own."""
    write(root / f"..{state}", *names, text=state)
    for first in {name.partition("/")[0] for name in names}:
        if not (root / first).is_symlink():
            (root / first).symlink_to(f"..data/{first}")
    (root / "..data_tmp").symlink_to(f"..{state}")
    (root / "..data_tmp").replace(root / "..data")
    return root


def seen(root: Path) -> dict[str, str]:
    """What a scan finds, by the path below the root."""
    return {str(Path(file.path).relative_to(root)): file.raw.decode() for file in scan(root).files}


def handles() -> int:
    return len([*Path("/proc/self/fd").iterdir()]) if Path("/proc/self/fd").exists() else 0


# What is seen


def test_files_are_in_order_each_with_its_folder_and_the_root(tmp_path: Path) -> None:
    root = write(tmp_path / "tasks", "b.yaml", "a/c.yaml", "a/b/_defaults.yaml", "z.yml", "README.md")
    found = scan(root)
    assert [(Path(file.path).relative_to(root).as_posix(), file.folder) for file in found.files] == [
        ("a/b/_defaults.yaml", "a/b"),
        ("a/c.yaml", "a"),
        ("b.yaml", ""),
        ("z.yml", ""),
    ]
    assert {file.root for file in found.files} == {str(root)}
    assert found.problems == ()


def test_a_root_behind_links_is_read_and_shown_as_it_was_named(tmp_path: Path) -> None:
    write(tmp_path / "trees" / "1" / "tasks", "a.yaml")
    (tmp_path / "link").symlink_to("trees/1")
    [file] = scan(tmp_path / "link" / "tasks").files
    assert (file.path, file.root) == (f"{tmp_path}/link/tasks/a.yaml", f"{tmp_path}/trees/1/tasks")


def test_a_config_map_is_read_through_its_links_folders_included(tmp_path: Path) -> None:
    assert seen(config_map(tmp_path, "1", "a.yaml", "team/b.yaml")) == {"a.yaml": "1", "team/b.yaml": "1"}


def test_a_config_map_below_the_root_is_read_as_well(tmp_path: Path) -> None:
    config_map(tmp_path / "team", "1", "a.yaml")
    assert seen(tmp_path) == {"team/a.yaml": "1"}


def test_a_link_to_a_folder_that_is_seen_anyway_is_not_seen_twice(tmp_path: Path) -> None:
    write(tmp_path, "a/b.yaml")
    (tmp_path / "again").symlink_to("a")
    (tmp_path / "a" / "up.yaml").symlink_to("..")
    assert list(seen(tmp_path)) == ["a/b.yaml"]


def test_hidden_folders_and_other_files_are_not_ours(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", ".git/b.yaml", "_old/c.yaml", ".d.yaml", "notes.txt")
    (tmp_path / "elsewhere").symlink_to("/etc/hostname")
    (tmp_path / "nowhere").symlink_to("gone")
    assert list(seen(tmp_path)) == ["a.yaml"]


@pytest.mark.parametrize("name", ["A.yaml", "-a.yml", "a b.yaml", "\udcff.yaml", "\x1b[31m.yaml"])
def test_a_bad_name_is_told_in_plain_text_and_its_file_is_not_read(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)  # reading it would wait, or fail
    found = scan(tmp_path)
    assert found.files == ()
    [problem] = found.problems
    assert problem.code == "bad-file-name"
    assert problem.file.isprintable()
    assert problem.message.encode()


def test_a_folder_whose_name_is_no_text_is_read_and_shown_as_text(tmp_path: Path) -> None:
    write(tmp_path, "\udcff/a.yaml")
    [file] = scan(tmp_path).files
    assert file.path == f"{tmp_path}/\ufffd/a.yaml"


def test_no_more_is_read_of_a_file_than_tells_that_it_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(2**40)  # a hole: it takes no room
    assert [len(file.raw) for file in scan(tmp_path).files] == [MAX_BYTES + 1]


# What is refused


def test_what_is_not_there_and_what_is_no_folder(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml")
    (tmp_path / "loop").symlink_to("loop")
    for name, said in (("gone", "is not there"), ("a.yaml", "is not a folder"), ("loop", "Too many levels")):
        with pytest.raises(SourceUnavailable, match=f"{name}.*{said}"):
            scan(tmp_path / name)


@pytest.mark.parametrize("name", ["a.yaml", "a.yml", "_defaults.yaml", "folder", "a/b.yaml", "a/b"])
def test_nothing_leads_out_of_the_root(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out", "x.yaml")
    write(tmp_path / "in", "z.yaml", "a/z.yaml")
    target = tmp_path / "out" if "." not in name else tmp_path / "out" / "x.yaml"
    (tmp_path / "in" / name).symlink_to(target)
    with pytest.raises(SourceUnavailable, match=f"{name} points out of the tasks folder"):
        scan(tmp_path / "in")


def test_a_folder_whose_name_begins_as_the_roots_is_out(tmp_path: Path) -> None:
    write(tmp_path / "tasks-old", "x.yaml")
    write(tmp_path / "tasks", "z.yaml")
    (tmp_path / "tasks" / "a.yaml").symlink_to("../tasks-old/x.yaml")
    with pytest.raises(SourceUnavailable, match="points out"):
        scan(tmp_path / "tasks")


def test_a_task_that_leads_nowhere_is_no_complete_scan(tmp_path: Path) -> None:
    for target in ("gone.yaml", "a.yaml"):
        (tmp_path / "a.yaml").unlink(missing_ok=True)
        (tmp_path / "a.yaml").symlink_to(target)
        with pytest.raises(SourceUnavailable, match=r"a\.yaml"):
            scan(tmp_path)


def test_a_folder_of_a_config_map_that_lost_its_data_is_no_complete_scan(tmp_path: Path) -> None:
    config_map(tmp_path, "1", "team/b.yaml")
    (tmp_path / "..data").unlink()
    with pytest.raises(SourceUnavailable, match="team leads nowhere"):
        scan(tmp_path)


@pytest.mark.parametrize("through_a_link", [False, True])
@pytest.mark.parametrize(
    ("kind", "said"), [(stat.S_IFIFO, "a named pipe"), (stat.S_IFSOCK, "a socket"), (stat.S_IFCHR, "a device")]
)
def test_what_is_no_file_is_named_and_never_opened(
    tmp_path: Path, kind: int, said: str, *, through_a_link: bool
) -> None:
    name = "thing" if through_a_link else "x.yaml"
    try:
        os.mknod(tmp_path / name, kind | 0o600, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make a device")
    if through_a_link:
        (tmp_path / "x.yaml").symlink_to(name)
    with pytest.raises(SourceUnavailable, match=rf"x\.yaml is {said}, no file"):
        scan(tmp_path)


def test_too_deep_and_too_many_are_refused_and_not_cut(tmp_path: Path) -> None:
    write(tmp_path / "deep", "1/2/3/4/5/6/7/8/a.yaml")
    assert len(scan(tmp_path / "deep").files) == 1
    write(tmp_path / "deep", "1/2/3/4/5/6/7/8/9/a.yaml")
    with pytest.raises(SourceUnavailable, match="more than 8 folders deep"):
        scan(tmp_path / "deep")
    (tmp_path / "loop" / ".h").mkdir(parents=True)
    (tmp_path / "loop" / "in").symlink_to(".h")
    (tmp_path / "loop" / ".h" / "in").symlink_to(".")
    with pytest.raises(SourceUnavailable, match="more than 8 folders deep"):
        scan(tmp_path / "loop")
    (tmp_path / "many").mkdir()
    for number in range(files.MAX_FILES + 1):
        (tmp_path / "many" / f"t{number}.yaml").touch()
    with pytest.raises(SourceUnavailable, match="more than 20,000 task files"):
        scan(tmp_path / "many")


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of one's own, without root's right to read everything."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        root = os.geteuid() == 0
        if root:
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)


@pytest.mark.parametrize("closed", [".", "team", "team/a.yaml"])
def test_what_may_not_be_read_is_no_complete_scan(closed: str) -> None:
    with as_nobody() as root:
        write(root, "a.yaml", "team/a.yaml")
        (root / closed).chmod(0)
        try:
            with pytest.raises(SourceUnavailable, match=f"{root / closed}: Permission denied"):
                scan(root)
        finally:
            (root / closed).chmod(0o700)
        assert len(scan(root).files) == 2


def test_no_handle_stays_open_whatever_happens(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "b/c/d.yaml")
    before = handles()
    scan(tmp_path)
    (tmp_path / "b" / "c" / "e.yaml").symlink_to("gone")
    error: BaseException | None = None
    try:
        scan(tmp_path)
    except SourceUnavailable as caught:
        error = caught  # held, and with it every frame
    assert error is not None
    assert handles() == before


# Any tree

GOOD, BAD = ("a.yaml", "b.yml", "_defaults.yaml"), ("A.yaml", "-.yml")
FOLDERS = ("f", "g.yaml", ".h", "_k")
Node = tuple[str, str, str]  # a kind, a name, and where a link leads
LEAVES = st.one_of(
    st.tuples(st.sampled_from(["file", "pipe"]), st.sampled_from([*GOOD, *GOOD, *BAD, "notes"]), st.just("")),
    st.tuples(
        st.just("link"),
        st.sampled_from([*GOOD, *BAD, *FOLDERS]),
        st.sampled_from(["a.yaml", "f", "f/a.yaml", ".h/a.yaml", ".h", "_k/f", "..", "gone", "OUT/x.yaml", "OUT"]),
    ),
)
WHERE = st.lists(st.sampled_from(FOLDERS), max_size=3).map("/".join)
TREES = st.lists(st.tuples(WHERE, LEAVES), max_size=12)


def real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # `Path.resolve` raises for a loop


def build(top: Path, tree: list[tuple[str, Node]]) -> Path:
    write(top / "out", "x.yaml", "f/a.yaml", text="OUTSIDE")
    root = top / "in"
    root.mkdir()
    for where, (kind, name, leads) in tree:
        path = root / where / name
        with suppress(FileExistsError, NotADirectoryError, OSError):  # what was there first stays
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path) or not real(path.parent).is_relative_to(real(root)):
                continue
            if kind == "file":
                path.write_text(f"{where}/{name}")
            elif kind == "pipe":
                os.mkfifo(path)
            else:
                path.symlink_to(leads.replace("OUT", str(top / "out")))
    return root


def ours(name: str) -> bool:
    return not name.startswith((".", "_")) or name.startswith("_defaults.")


@given(TREES)
@settings(max_examples=150)
def test_a_scan_of_any_tree_is_complete_and_stays_inside_or_says_why_not(tree: list[tuple[str, Node]]) -> None:
    with TemporaryDirectory() as folder:
        root = build(Path(folder).resolve(), tree)
        must: set[str] = set()
        pipes = leads_out = False
        links = False
        for where, folders, names in os.walk(root):
            folders[:] = [each for each in folders if ours(each)]
            for name in (*folders, *names):
                path = Path(where, name)
                links |= path.is_symlink()
                if path.is_symlink() and ours(name) and not real(path).is_relative_to(root):
                    leads_out |= path.is_dir() or name in GOOD
                elif name in GOOD and not path.is_symlink():
                    pipes |= path.is_fifo()
                    must |= {str(path)} if path.is_file() else set()
        try:
            found = scan(root)
        except SourceUnavailable:
            assert links or pipes
            return
        assert not leads_out
        assert not pipes
        assert must <= {file.path for file in found.files}
        assert all(file.raw != b"OUTSIDE" for file in found.files)
        assert all(real(Path(file.path)).is_relative_to(root) for file in found.files)
        assert links or must == {file.path for file in found.files}
        assert found == scan(root)


# What changes while it is read


def while_scanning(root: Path, change: Callable[[int], None], times: int = 300) -> Iterator[Scan | None]:
    """Scan many times, each while one change happens; None for a scan that said it could not.

    One, because there is no end to what three changes at the right instants could hide; a delete takes
    two scans for that reason.
    """
    dice = random.Random(1)  # noqa: S311 - timing, no secret
    begun = time.perf_counter()
    scan(root)
    span = 3 * (time.perf_counter() - begun)  # each thread slows the other
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def later(number: int) -> None:
        until = time.perf_counter() + dice.random() * span
        while time.perf_counter() < until:
            pass
        change(number)

    try:
        with ThreadPoolExecutor(1) as pool:
            for number in range(times):
                changing = pool.submit(later, number)
                try:
                    found = scan(root)
                except SourceUnavailable:
                    found = None
                changing.result()
                yield found
    finally:
        sys.setswitchinterval(switch)


NAMES = tuple(f"{folder}{number}.yaml" for folder in ("", "f/", "g/h/") for number in range(12))
LAST = max(NAMES)


def one_state(found: Scan | None) -> bool:
    """True for a scan of the whole of one state; its text is in every file."""
    if found is None:
        return False
    assert len(found.files) == len(NAMES)
    assert len({file.raw for file in found.files}) == 1
    return True


def test_a_git_sync_link_swapped_while_it_is_read(tmp_path: Path) -> None:
    def swap(number: int) -> None:
        write(tmp_path / "trees" / str(number) / "tasks", *NAMES, text=str(number))
        (tmp_path / "new").symlink_to(f"trees/{number}")
        (tmp_path / "new").replace(tmp_path / "link")
        shutil.rmtree(tmp_path / "trees" / str(number - 1), ignore_errors=True)

    swap(-1)
    outcomes = [one_state(found) for found in while_scanning(tmp_path / "link" / "tasks", swap, 100)]
    assert any(outcomes)


def test_a_config_map_swapped_while_it_is_read(tmp_path: Path) -> None:
    def swap(number: int) -> None:
        config_map(tmp_path / "tasks", str(number), *NAMES)
        shutil.rmtree(tmp_path / "tasks" / f"..{number - 1}", ignore_errors=True)

    swap(-1)
    outcomes = [one_state(found) for found in while_scanning(tmp_path / "tasks", swap, 100)]
    assert any(outcomes)


def test_a_folder_put_in_the_roots_place_while_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "tasks", *NAMES, text="1")
    write(tmp_path / "other", *NAMES, text="2")

    def swap(_: int) -> None:
        (tmp_path / "tasks").rename(tmp_path / "third")
        (tmp_path / "other").rename(tmp_path / "tasks")
        (tmp_path / "third").rename(tmp_path / "other")

    outcomes = [one_state(found) for found in while_scanning(tmp_path / "tasks", swap)]
    assert any(outcomes)


@pytest.mark.parametrize("name", ["g", LAST])
def test_what_is_swapped_for_a_link_while_it_is_read_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    root = write(tmp_path / "tasks", *NAMES)
    out = write(tmp_path / "out", *NAMES, text="OUTSIDE")

    def swap(number: int) -> None:
        if number % 2:
            (root / name).unlink()
            (tmp_path / "kept").rename(root / name)
        else:
            (root / name).rename(tmp_path / "kept")
            (root / name).symlink_to(out / name)

    gone = sum(each.startswith(name) for each in NAMES)
    for found in while_scanning(root, swap):
        if found is not None:  # between the two steps of a swap, it is really gone
            assert {file.raw for file in found.files} == {b"goal: x\n"}
            assert len(found.files) in (len(NAMES), len(NAMES) - gone)


def test_a_file_that_moves_or_goes_while_it_is_read_is_never_lost(tmp_path: Path) -> None:
    root = write(tmp_path / "tasks", *NAMES, "a/moves.yaml", "z/other.yaml", "goes.yaml")

    def change(number: int) -> None:
        there, back = root / "a" / "moves.yaml", root / "z" / "moves.yaml"
        if number % 4 < 2:
            there, back = (back, there) if number % 2 else (there, back)
            there.rename(back)
        elif number % 2:
            write(root, "goes.yaml")
        else:
            (root / "goes.yaml").unlink()

    for found in while_scanning(root, change, 400):
        if found is not None:
            names = [file.path.rpartition("/")[2] for file in found.files]
            assert names.count("moves.yaml") == 1
            assert len(found.files) - names.count("goes.yaml") == len(NAMES) + 2


def test_a_checkout_that_moves_on_while_it_is_read_is_not_called_by_its_old_commit(tmp_path: Path) -> None:
    root = write(tmp_path / "tasks", *NAMES, text="0")
    write(tmp_path, ".git/HEAD", text=f"{0:040}")

    def move_on(number: int) -> None:
        write(tmp_path, ".git/new", text=f"{number + 1:040}")
        (tmp_path / ".git" / "new").replace(tmp_path / ".git" / "HEAD")
        write(root, LAST, text=str(number + 1))  # after its commit is told

    for found in while_scanning(root, move_on):
        if found is not None:  # a file is empty for the instant in which it is written
            assert all(int(file.raw or b"0") <= int(found.revision) for file in found.files)


REMOUNTS = """
import ctypes
from pathlib import Path
from tests.runner.test_files import NAMES, one_state, while_scanning, write
libc = ctypes.CDLL(None)
top = Path({top!r})
write(top / "tasks", *NAMES, text="1")
write(top / "other", *NAMES, text="2")
def remount(number):
    if number % 2:
        done = libc.umount2(str(top / "tasks").encode(), 2)
    else:
        done = libc.mount(str(top / "other").encode(), str(top / "tasks").encode(), None, 4096, None)
    assert done == 0
outcomes = [one_state(found) for found in while_scanning(top / "tasks", remount)]
assert any(outcomes)
assert not all(outcomes), "no mount fell into a scan"
"""


def test_a_mount_over_the_root_while_it_is_read(tmp_path: Path) -> None:
    words = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if not shutil.which("unshare") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace of one's own is allowed here")
    code = REMOUNTS.format(top=str(tmp_path))
    done = subprocess.run([*words, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What its source calls it


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    argv = ["git", *who, *words]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    repository = write(tmp_path / "repository", "tasks/a.yaml")
    git(repository, "init")
    git(repository, "add", ".")
    git(repository, "commit", "--message", "one")
    return repository


def test_a_checkout_is_called_by_its_commit(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert scan(checkout / "tasks").revision == head
    assert scan(checkout).revision == head
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git" / "refs" / "heads" / "main").exists()
    assert scan(checkout / "tasks").revision == head
    git(checkout, "commit", "--allow-empty", "--message", "two")
    assert scan(checkout / "tasks").revision == git(checkout, "rev-parse", "HEAD") != head
    git(checkout, "checkout", "--detach", head)
    assert scan(checkout / "tasks").revision == head


def test_so_is_a_worktree(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "-b", "side/line", str(tmp_path / "tree"))
    git(tmp_path / "tree", "commit", "--allow-empty", "--message", "two")
    head = git(tmp_path / "tree", "rev-parse", "HEAD")
    assert scan(tmp_path / "tree" / "tasks").revision == head != git(checkout, "rev-parse", "HEAD")
    git(checkout, "pack-refs", "--all")
    assert scan(tmp_path / "tree" / "tasks").revision == head


def test_a_git_sync_link_and_a_config_map_are_called_by_their_folder(tmp_path: Path) -> None:
    write(tmp_path / "trees" / "0123abc" / "tasks", "a.yaml")
    (tmp_path / "link").symlink_to("trees/0123abc")
    assert scan(tmp_path / "link" / "tasks").revision == "0123abc"
    config_map(tmp_path / "map", "2026_10_01", "a.yaml")
    assert scan(tmp_path / "map").revision == "..2026_10_01"


def test_a_plain_folder_has_no_name(tmp_path: Path) -> None:
    assert scan(write(tmp_path, "a.yaml")).revision == ""


@pytest.mark.parametrize(
    "head", ["", "\xff", "ref: refs/heads/gone", "ref: refs/heads/../../../secret", "ref: /secret", "not a commit"]
)
def test_a_damaged_checkout_is_no_error_and_tells_no_secret(tmp_path: Path, head: str) -> None:
    write(tmp_path, "a.yaml")
    write(tmp_path, "secret", ".git/refs/secret", text="0123456789" * 4 if ".." in head else "hush")
    (tmp_path / ".git" / "HEAD").write_text(head, "latin-1")
    assert scan(tmp_path).revision == ""
    shutil.rmtree(tmp_path / ".git")
    (tmp_path / ".git").write_text("gitdir: nowhere")
    assert scan(tmp_path).revision == ""
