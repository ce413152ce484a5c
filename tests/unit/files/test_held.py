"""The roots are the folders that they were when the worker started, whatever is put in their place."""

from __future__ import annotations

import pickle

import pytest

from worker.errors import MissingFile, PathError, WorkerError
from worker.files import handles
from worker.files.paths import FileRules
from worker.files.whole import append_bytes, read_bytes, write_bytes_whole


@pytest.fixture
def top(tmp_path):
    """A root in a folder in which somebody else may rename, and the folder of a victim."""
    for name in ("root", "victim"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text(name)
    yield tmp_path.resolve()
    handles.hold(())


def as_in_a_child(root):
    """The rules as a child gets them that starts now."""
    rules = pickle.loads(pickle.dumps(FileRules((root,)).pinned()))
    handles.hold(rules.places)
    return rules


@pytest.mark.parametrize("text", ["new.txt", "a.txt", "deep/new.txt"])
def test_a_link_in_the_place_of_the_root(top, text):
    """It is not followed, neither by the children that run nor by those that start later."""
    rules = FileRules((top / "root",)).pinned()
    (top / "root").rename(top / "old")
    (top / "root").symlink_to(top / "victim")
    later = pickle.loads(pickle.dumps(rules))
    handles.hold(later.places)
    for place in (text, (top / "root" / text).as_posix()):
        with pytest.raises(PathError):
            write_bytes_whole(later.to_write(place), (b"evil",))
        with pytest.raises(PathError):
            read_bytes(later.to_read(place))
    assert [(path.name, path.read_text()) for path in (top / "victim").iterdir()] == [("a.txt", "victim")]


def test_another_folder_in_the_place_of_the_root(top):
    """It is not used: the sentence says so, and what to do if it was a disk that was connected anew."""
    rules = as_in_a_child(top / "root")
    (top / "root").rename(top / "old")
    (top / "victim").rename(top / "root")
    for attempt in (
        lambda: write_bytes_whole(rules.to_write("new.txt"), (b"evil",)),
        lambda: append_bytes(rules.to_write("a.txt"), (b"evil",)),
        lambda: read_bytes(rules.to_read("a.txt")),
    ):
        with pytest.raises(PathError, match="root is not the folder any more that the worker started with") as refused:
            attempt()
        assert "start the worker again" in refused.value.hint
    assert [path.read_text() for path in (top / "root").iterdir()] == ["victim"]


def test_a_swap_between_the_check_and_the_opening(top):
    """What was checked is what is opened, the root included."""
    rules = as_in_a_child(top / "root")
    path = rules.to_write("new.txt")
    (top / "root").rename(top / "old")
    (top / "root").symlink_to(top / "victim")
    with pytest.raises(PathError):
        write_bytes_whole(path, (b"evil",))
    assert [path.name for path in (top / "victim").iterdir()] == ["a.txt"]


def test_a_root_behind_a_link(top):
    """Links above a root are followed once, at the start; the files are found as before."""
    (top / "link").symlink_to(top / "root")
    rules = as_in_a_child(top / "link")
    write_bytes_whole(rules.to_write("b.txt"), (b"b",))
    assert read_bytes(rules.to_read((top / "root" / "b.txt").as_posix())) == b"b"


def test_a_root_that_comes_back(top):
    """The same folder under its own name again is the same root."""
    rules = as_in_a_child(top / "root")
    (top / "root").rename(top / "old")
    with pytest.raises(WorkerError):
        rules.to_write("b.txt")
    with pytest.raises(MissingFile):
        read_bytes(rules.to_read("a.txt"))
    (top / "old").rename(top / "root")
    assert read_bytes(rules.to_read("a.txt")) == b"root"


def test_a_root_is_not_made(top):
    """If it goes away between the check and the opening, no folder is made in its place."""
    rules = as_in_a_child(top / "root")
    path = rules.to_write("b.txt")
    (top / "root").rename(top / "old")
    with pytest.raises(WorkerError):
        write_bytes_whole(path, (b"b",))
    assert not (top / "root").exists()
