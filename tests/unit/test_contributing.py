"""CONTRIBUTING.md is followed step by step in a copy of the project; what it says about files is looked up in them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_FILES = re.findall(r"^`([\w/.]+)`(, [^\n]*)?\n\n```python\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)
_COMMANDS = re.search(r"\*\*6\. Run it\.\*\*.*?```sh\n(.*?)```", PAGE, re.DOTALL)
_NEEDED = ("worker", "tests", "td", "docs", "protocol.md", "pyproject.toml", "README.md")


def _copy(target: Path) -> None:
    for name in _NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(ROOT / name, target / name)


def _follow(target: Path, name: str, where: str, code: str) -> None:
    """Does with a block of code what the words above it say."""
    path = target / name
    if not where:
        assert not path.exists()
        path.write_text(code, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    if where == ", with the imports":
        begin = "from __future__ import annotations\n\n"
        assert begin in text
        path.write_text(text.replace(begin, begin + code, 1), encoding="utf-8")
        return
    table = re.fullmatch(r", at the end of `(\w+)`", where)
    assert table is not None
    end = re.compile(rf"^({table[1]}\b.*?)(^(?:    \)\n\)|}})\n)", re.MULTILINE | re.DOTALL)
    assert len(end.findall(text)) == 1
    path.write_text(end.sub(lambda found: found[1] + code + found[2], text), encoding="utf-8")


@pytest.mark.timeout(600)  # it runs other tests
def test_adding_an_operation(tmp_path):
    """The page leads from nothing to a green test, and the new operation runs."""
    assert [name for name, _, _ in _FILES] == [
        "worker/catalog/blur.py",
        "worker/operations/blur.py",
        "worker/catalog/table.py",
        "worker/catalog/table.py",
        "worker/operations/table.py",
        "worker/operations/table.py",
        "tests/docs.py",
        "tests/unit/operations/test_blur.py",
    ]
    _copy(tmp_path)
    for name, where, code in _FILES:
        _follow(tmp_path, name, where, code)
    commands = _COMMANDS[1].splitlines()
    assert len(commands) == 3
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in commands:
        python, *arguments = shlex.split(command)
        assert python == "python"
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "soft.png").read_bytes().startswith(b"\x89PNG")
    assert "### blur\n\nBlurs images." in (tmp_path / "protocol.md").read_text(encoding="utf-8")
    above = (tmp_path / "README.md").read_text(encoding="utf-8").partition("| `blur` | ")[0]
    assert above.rpartition("### ")[2].splitlines()[0] == "Blurs"


_MAP = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and "?" in line]


def test_the_map_has_ten_questions():
    assert len(_MAP) == 10


@pytest.mark.parametrize(("question", "answer"), _MAP)
def test_the_map_is_right(question, answer):
    """Each file of the map is there, and holds what the map names."""
    places = re.findall(r"`(worker/[\w/]+\.py)`(?:[^`]*?: `([^`]+)`)?", answer)
    assert places, question
    for name, word in places:
        assert word in (ROOT / name).read_text(encoding="utf-8")


def test_the_folders_are_those_of_the_worker():
    """The table of folders names each of them once."""
    table = PAGE[PAGE.index("| folder of") : PAGE.index("Ten questions")]
    named = re.findall(r"`(\w+)/`", table.replace("`worker/`", ""))
    assert sorted(named) == sorted(path.parent.name for path in (ROOT / "worker").glob("*/__init__.py"))
