"""The hints that tell an artist what to do about an error."""

from __future__ import annotations

import pytest
from tests.td.conftest import load
from worker import errors

tables = load("tables")


def test_hints_are_for_errors_that_exist():
    words = {error.word for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.WorkerError)}
    assert set(tables.HINTS) <= words
    assert len(words) > 10


@pytest.mark.parametrize("word", tables.HINTS)
def test_no_hint_speaks_of_a_terminal(word):
    assert "td-image-worker" not in tables.hint(word, "", "`td-image-worker ops` lists them.", True)


@pytest.mark.parametrize(
    ("word", "message", "told", "is_local", "expected"),
    [
        ("file", "There is no file a.png.", "Near is b.png.", True, "Near is b.png."),
        ("limit", "The file has 2000 MB; the limit is 1024 (--max-file-mb).", "", True, tables.SET_OPTION),
        ("limit", "The file is too large.", "Raise --max-file-mb.", True, "Raise --max-file-mb. " + tables.SET_OPTION),
        ("limit", "The file is too large.", "Raise --max-file-mb.", False, "Raise --max-file-mb."),
        ("path", "It lies outside.", "See --root.", False, "See --root."),
    ],
)
def test_an_option_is_set_in_touchdesigner_if_the_worker_is_on_this_computer(word, message, told, is_local, expected):
    assert tables.hint(word, message, told, is_local) == expected
