import hashlib
import re
from pathlib import Path

import pytest

from worker.web import page
from worker.web.guard import REQUESTS_BURST

VENDOR = page.STATIC / "vendor"
ROWS = re.findall(r"^\| (\S+) \| .* \| `([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
OWN = sorted(path for path in page.STATIC.glob("*") if path.suffix in (".js", ".html", ".css"))


@pytest.mark.parametrize(("name", "digest"), ROWS)
def test_files_of_others_are_as_they_came(name, digest):
    """Nobody has changed a vendored file, and each stands in the table with its licence."""
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest


def test_all_files_of_others_are_listed():
    """A file that is not in the table has no licence."""
    assert {name for name, _ in ROWS} == {path.name for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.name)
def test_nothing_from_elsewhere(path):
    """The page works without a connection to the world: it names no other host, and has no script or style inline."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", text.replace("http://www.w3.org/2000/svg", "")) == []
    if path.suffix == ".html":
        assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\son[a-z]+=|\sstyle=", text) == []


def test_modules_import_what_is_there():
    """No import map: a module names its neighbours by their files."""
    for path in OWN:
        for name in re.findall(r'from "(\./[^"]+)"', path.read_text(encoding="utf-8")):
            assert (page.STATIC / name).is_file(), f"{path.name} imports {name}"


def test_all_files_can_be_asked_for():
    """What the page is made of is served, each with its type, and a browser may ask for all of it at once, often."""
    names = set(page._names())
    assert {path.name for path in OWN} < names
    assert "vendor/uplot.js" in names
    assert len(names) * 10 < REQUESTS_BURST


def test_columns():
    """The page reads the rows of jobs by the places of their values."""
    from worker.web.state import Row

    text = (Path(page.STATIC) / "store.js").read_text(encoding="utf-8")
    names = re.findall(r'"(\w+)"', text[text.index("const NAMES = [") : text.index("];")])
    renamed = {"id": "job_id", "wait": "wait_ms", "run": "run_ms", "eta": "eta_ms"}
    assert [renamed.get(name, name) for name in names] == list(Row.__struct_fields__)
