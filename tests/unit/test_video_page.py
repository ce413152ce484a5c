"""What docs/video.md says of codecs is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from worker.operations.video import CODECS
from worker.pictures.video import _KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "video.md").read_text(encoding="utf-8")


def test_the_table_of_codecs():
    """Each ending with its codecs, the one of `auto` first."""
    rows = re.findall(r"^\| `(\.\w+)` \| ([\w, ]+) \|$", PAGE, re.MULTILINE)
    assert {ending: tuple(codecs.split(", ")) for ending, codecs in rows} == CODECS


def test_the_kinds_that_are_read():
    """In the words of the error sentence."""
    assert f"Read are {_KINDS}," in PAGE
