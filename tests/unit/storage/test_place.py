"""Unit tests of `worker.storage.place`."""

import os

import pytest

from worker.storage.place import Place


@pytest.fixture(params=["just made", "made long ago"])
def place(request, tmp_path):
    """A journal's place; in one case it has been looked at often enough that only the folder's time is looked at."""
    folder = tmp_path / "state"
    folder.mkdir()
    for name in ("a.sqlite3", "a.sqlite3-wal"):
        (folder / name).write_text(name)
    if request.param == "made long ago":
        os.utime(folder, (1e9, 1e9))
    made = Place(folder / "a.sqlite3", folder / "a.sqlite3-wal")
    assert made.is_same()
    assert made.is_same()
    return made, folder


def removed(folder):
    (folder / "a.sqlite3").unlink()


def log_removed(folder):
    (folder / "a.sqlite3-wal").unlink()


def moved(folder):
    (folder / "a.sqlite3").rename(folder / "b.sqlite3")


def replaced(folder):
    (folder / "other").write_text("other")
    (folder / "other").replace(folder / "a.sqlite3")


def folder_moved(folder):
    folder.rename(folder.with_name("elsewhere"))


def folder_replaced(folder):
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    for name in ("a.sqlite3", "a.sqlite3-wal"):
        (folder / name).write_text(name)


@pytest.mark.parametrize("change", [removed, log_removed, moved, replaced, folder_moved, folder_replaced])
def test_change(place, change):
    """Whatever happens to the files or to their folder is seen at the next look."""
    made, folder = place
    change(folder)
    assert not made.is_same()
    assert not made.is_same()


def test_others_in_the_folder(place):
    """Files of other programs in the same folder change nothing."""
    made, folder = place
    for _ in range(2):
        (folder / "notes.txt").write_text("other")
        assert made.is_same()
        (folder / "notes.txt").unlink()
        assert made.is_same()
    removed(folder)
    assert not made.is_same()
