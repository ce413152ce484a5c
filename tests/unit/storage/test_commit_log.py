"""What is read back is a beginning of what was written, in whole commits, whatever became of the file."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.storage import commit_log
from worker.storage.commit_log import HEADER, Commit, CommitLog, framed, names, whole_commits

ROW = ["job", "10.0.0.1:9461", "a", b'["noop",{},{}]']
ROWS = st.lists(
    st.lists(st.one_of(st.text(max_size=5), st.binary(max_size=20), st.integers(-(2**40), 2**40), st.booleans()), max_size=5), max_size=3
)


def encoded(first: int, contents: list[list[list[object]]]) -> tuple[list[Commit], list[bytes]]:
    commits = [Commit(number, 1.7e9, 5.0, rows) for number, rows in enumerate(contents, first)]
    return commits, [framed(msgspec.msgpack.encode(commit)) for commit in commits]


def read(data: bytes) -> list[Commit]:
    return list(whole_commits(io.BytesIO(data), len(data)))


@given(st.integers(1, 2**40), st.lists(ROWS, max_size=6))
def test_what_was_written_is_read(first, contents):
    """Every commit comes back as it was."""
    commits, frames = encoded(first, contents)
    assert read(b"".join(frames)) == commits


@given(st.lists(ROWS, min_size=1, max_size=6), st.data())
def test_any_cut(contents, data):
    """A file that ends anywhere gives back the commits that are whole, and no other."""
    commits, frames = encoded(7, contents)
    whole = b"".join(frames)
    end = data.draw(st.integers(0, len(whole)))
    ends = [sum(map(len, frames[:number])) for number in range(1, len(frames) + 1)]
    assert read(whole[:end]) == commits[: sum(one <= end for one in ends)]


@given(st.lists(ROWS, min_size=1, max_size=6), st.data())
def test_any_damaged_byte(contents, data):
    """A byte that has changed costs its commit and those behind it. Nothing is made up."""
    commits, frames = encoded(7, contents)
    whole = bytearray(b"".join(frames))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    ends = [sum(map(len, frames[:number])) for number in range(1, len(frames) + 1)]
    assert read(bytes(whole)) == commits[: sum(one <= place for one in ends)]


@given(st.lists(ROWS, max_size=3), st.binary(max_size=100))
def test_anything_behind(contents, rest):
    """Whatever stands behind the last commit is no commit, unless it is the next one."""
    commits, frames = encoded(7, contents)
    assert read(b"".join(frames) + rest) == commits


def test_zeros_and_older_commits_behind():
    """What some file systems leave after a loss of power: zeros, whose checksum is right, and what stood there before."""
    commits, frames = encoded(7, [[ROW], [ROW]])
    assert read(b"".join(frames) + bytes(4096)) == commits
    assert read(b"".join([*frames, frames[0]])) == commits


# ------------------------------------------------------------------------------------------------------------------- the files


def opened(path: Path, folded: int = 0, mark: bytes | None = None) -> tuple[CommitLog, list[Commit]]:
    """The log as the next start opens it, and what it finds."""
    made = CommitLog(path, mark, folded)
    left = [commit for part in made.left() for commit in part]
    made.begin()
    return made, left


@pytest.fixture
def path(tmp_path):
    return tmp_path / "9460.sqlite3"


def written_to_both(path: Path, last: int, turn_after: int, mark: bytes | None = None) -> None:
    """A log of an earlier run with the commits from 1 to `last`. Those after `turn_after` are in the other file."""
    made, _ = opened(path, mark=mark)
    for number in range(1, last + 1):
        made.append([ROW], 0.0, 0.0)
        if number == turn_after:
            assert made.turn()
    made.close()


def numbers(commits: list[Commit]) -> list[int]:
    return [commit.number for commit in commits]


def test_turns(path):
    """Commits go to the other file after a turn; the next start finds those of both files in order, and none that is folded."""
    made, _ = opened(path)
    for number in range(1, 8):
        made.append([ROW], 1.7e9, float(number))
        if number in (3, 5):
            assert made.turn() is (number == 3)  # the other file is not emptied yet
    assert numbers(made.part()) == [1, 2, 3]
    made.close()
    _, left = opened(path)
    assert numbers(left) == [1, 2, 3, 4, 5, 6, 7]
    made, left = opened(path, folded=7)
    assert left == []
    made.append([ROW], 1.7e9, 8.0)
    made.close()
    assert numbers(opened(path, folded=7)[1]) == [8]


def test_a_turned_file_is_emptied(path):
    """It is as short as at the beginning, and takes the commits after the next turn."""
    made, _ = opened(path)
    one, two = names(path)
    assert not made.turn()  # nothing is there
    made.append([ROW], 0.0, 0.0)
    assert made.turn()
    made.append([ROW], 0.0, 0.0)
    made.drop(made.part())
    made.empty()
    assert one.stat().st_size == HEADER < two.stat().st_size
    assert made.turn()
    made.append([ROW], 0.0, 0.0)
    made.drop(made.part())
    made.empty()
    assert one.stat().st_size > HEADER == two.stat().st_size
    made.close()
    assert numbers(opened(path, folded=2)[1]) == [3]


@pytest.mark.parametrize("cut_fails", [False, True])
def test_a_full_disk(path, monkeypatch, cut_fails):
    """A commit that is written in part is taken back, at once or before the next one, and its number is used again."""
    made, _ = opened(path)
    made.append([ROW], 0.0, 0.0)
    write, cut = os.write, commit_log._cut

    def in_part(file: int, data: bytes) -> int:
        if len(data) > 100:
            return write(file, data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fails(file: int, size: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", in_part)
        if cut_fails:
            patched.setattr(commit_log, "_cut", fails)
        with pytest.raises(OSError, match="No space left"):
            made.append([["job", "x" * 150]], 0.0, 0.0)
    assert commit_log._cut is cut
    made.append([["job", "second"]], 0.0, 0.0)
    made.close()
    _, left = opened(path)
    assert [(commit.number, commit.rows) for commit in left] == [(1, [ROW]), (2, [["job", "second"]])]


def test_a_torn_end_is_told(path, caplog):
    """What a kill cut off is left out, and said."""
    made, _ = opened(path)
    for _ in range(2):
        made.append([ROW], 0.0, 0.0)
    made.close()
    one, _ = names(path)
    with one.open("rb+") as file:
        file.truncate(one.stat().st_size - 5)
    made, left = opened(path)
    assert numbers(left) == [1]
    assert f"bytes of {one} are no whole commits" in caplog.text
    made.append([ROW], 0.0, 0.0)
    made.close()
    assert numbers(opened(path, folded=1)[1]) == [2]


def test_a_gap_between_the_files(path, caplog):
    """A loss of power may take the end of the older file and leave the newer one: its commits stand on some that are lost."""
    written_to_both(path, 6, turn_after=3)
    one, two = names(path)
    with one.open("rb+") as file:
        file.truncate(one.stat().st_size - 5)
    rest = two.stat().st_size - HEADER
    made, left = opened(path)
    made.close()
    assert numbers(left) == [1, 2]
    assert f"The last {rest} bytes of {two} are no whole commits of the journal, or some before them are lost." in caplog.text


def test_a_file_without_its_beginning(path, caplog):
    """The same, if nothing of the older file is left but its size. A database that knows what it has believes nothing behind a gap."""
    written_to_both(path, 4, turn_after=2, mark=b"our mark")
    one, _ = names(path)
    one.write_bytes(bytes(one.stat().st_size))
    made, left = opened(path, mark=b"our mark")
    assert left == []
    assert f"bytes of {one} are no whole commits" in caplog.text
    assert not list(path.parent.glob("*.damaged-*"))
    made.append([["job", "next"]], 0.0, 0.0)
    made.close()
    assert [commit.rows for commit in opened(path, mark=b"our mark")[1]] == [[["job", "next"]]]


def test_what_was_left_out_does_not_come_back(path, monkeypatch):
    """The numbers of lost commits come again. So the old ones are off the disk before that."""
    made, _ = opened(path)
    made.append([ROW], 0.0, 0.0)
    made.close()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_size))
    opened(path)[0].close()
    assert synced == [HEADER]
    opened(path)[0].close()
    assert synced == [HEADER]  # there was nothing to cut: no start waits for the disk without need


def test_large_logs_come_in_parts(path, monkeypatch):
    """So that a log of any size is brought in with little memory."""
    monkeypatch.setattr(commit_log, "PART_BYTES", 3 * len(framed(msgspec.msgpack.encode((1, 0.0, 0.0, [ROW])))) - 1)
    made, _ = opened(path)
    for _ in range(8):
        made.append([ROW], 0.0, 0.0)
    made.close()
    made = CommitLog(path, None, 0)
    assert [numbers(part) for part in made.left()] == [[1, 2, 3], [4, 5, 6], [7, 8]]
    made.begin()
    made.close()


@pytest.mark.parametrize("content", [b"another program's" * 10, commit_log.MAGIC + b"another!" + b"rest"])
def test_a_file_of_another_is_set_aside(path, content, caplog):
    """What belongs to another journal is not brought into this one, and is not lost."""
    made, _ = opened(path, mark=b"our mark")
    made.close()
    names(path)[0].write_bytes(content)
    made, left = opened(path, mark=b"our mark")
    made.close()
    assert left == []
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == content
    assert aside.name in caplog.text


def test_the_mark_is_taken_from_the_files(path):
    """If the database was damaged and does not know it any more, what was committed last is still brought in."""
    made, _ = opened(path)
    made.append([ROW], 0.0, 0.0)
    made.close()
    again, left = opened(path)
    assert (again.mark, numbers(left)) == (made.mark, [1])
    again.close()


def test_a_header_that_is_cut_off(path):
    """The worker died while it made the file: it is made again."""
    made, _ = opened(path, mark=b"our mark")
    made.close()
    names(path)[0].write_bytes(commit_log.MAGIC[:5])
    made, _ = opened(path, mark=b"our mark")
    made.close()
    assert names(path)[0].read_bytes() == commit_log.MAGIC + b"our mark"


@pytest.mark.parametrize("make", [os.mkdir, getattr(os, "mkfifo", os.mkdir)])
def test_what_is_no_file(path, make):
    """A folder or a pipe in its place is named. Nobody waits for it."""
    make(names(path)[1])
    with pytest.raises(OSError, match=f"{names(path)[1].name} beside it is no file"):
        CommitLog(path, b"12345678", 0)
