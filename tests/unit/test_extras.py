"""What is typed to add a package is what the tool that installed the worker understands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from worker import extras

#: uv would take another Python, perhaps one with which nobody has tried the worker.
VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def prefix(monkeypatch, tmp_path):
    """An environment that nobody has left a receipt in yet."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "C:/tools/python.exe")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(extras.importlib.util, "find_spec", {"pip": "there"}.get)
    monkeypatch.setattr(extras.shutil, "which", {"pip": "C:/tools/pip.exe"}.get)
    return tmp_path


def receipt(prefix, requirement):
    (prefix / "uv-receipt.toml").write_text(f"[tool]\nrequirements = [{requirement}]\n", encoding="utf-8")


def test_pip(prefix):
    """Double quotes, because the command prompt of Windows hands single ones on."""
    assert extras.install("page") == 'pip install "td-image-worker[page]"'
    assert extras.install_package("models") == "pip install --no-deps models"
    assert extras.install_again() == "pip install --force-reinstall opencv-python numpy"


@pytest.mark.parametrize("found", ["C:/python/Scripts/pip.exe", None])
def test_the_pip_of_another_python(prefix, monkeypatch, found):
    """It would install where the worker is not, as after `C:/worker/Scripts/python -m worker`. So the command names the worker's Python."""
    monkeypatch.setattr(extras.shutil, "which", lambda _: found)
    assert extras.install("page") == 'C:/tools/python.exe -m pip install "td-image-worker[page]"'
    monkeypatch.setattr(sys, "executable", "C:/my tools/python.exe")
    assert extras.install_package("models") == '"C:/my tools/python.exe" -m pip install --no-deps models'


def test_an_environment_without_pip(prefix, monkeypatch):
    """`uv venv` makes one."""
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda _: None)
    assert extras.install("page") == 'uv pip install --python "C:/tools/python.exe" "td-image-worker[page]"'
    assert extras.install_again() == 'uv pip install --python "C:/tools/python.exe" --reinstall opencv-python numpy'


def test_a_frozen_program(prefix, monkeypatch):
    """There is no Python to install into; the folder is built again, and keeps what each such folder has."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert extras.install("video") == "python .ci/freeze.py --extras page,discovery,video"
    assert extras.install("page") == "python .ci/freeze.py --extras page,discovery"
    assert 'default="page,discovery"' in (Path(__file__).parents[2] / ".ci" / "freeze.py").read_text(encoding="utf-8")
    assert extras.install_package("models") == "python .ci/freeze.py --package models"
    assert extras.install_again() == "python .ci/freeze.py"


def test_pipx(prefix):
    (prefix / "pipx_metadata.json").write_text("{}")
    assert extras.install("page") == 'pipx runpip td-image-worker install "td-image-worker[page]"'
    assert extras.install_package("av", "--upgrade") == "pipx runpip td-image-worker install --upgrade av"
    assert extras.install_again() == "pipx runpip td-image-worker install --force-reinstall opencv-python numpy"


@pytest.mark.parametrize(
    ("requirement", "wanted"),
    [
        ('{ name = "td-image-worker", directory = "C:/repo" }', '"C:/repo[page]"'),
        ('{ name = "td-image-worker", extras = ["video"], directory = "C:/repo" }', '"C:/repo[page,video]"'),
        ('{ name = "td-image-worker", extras = ["page"], path = "C:/a.whl" }', '"C:/a.whl[page]"'),
        ('{ name = "td-image-worker" }', '"td-image-worker[page]"'),
        ('{ name = "other", directory = "C:/other" }', '"td-image-worker[page]"'),
        ("1", '"td-image-worker[page]"'),
        ("{", '"td-image-worker[page]"'),
    ],
)
def test_uv(prefix, requirement, wanted):
    """Where it came from, and the extras that are there already, stand in uv's receipt. One that says nothing is no error."""
    receipt(prefix, requirement)
    assert extras.install("page") == f"uv tool install --python {VERSION} {wanted}"
    assert extras.install_package("models") == 'uv pip install --python "C:/tools/python.exe" --no-deps models'


def test_uv_again(prefix):
    """With the extras that are there."""
    receipt(prefix, '{ name = "td-image-worker", extras = ["video", "page"], directory = "C:/repo" }')
    assert extras.install_again() == f'uv tool install --reinstall --python {VERSION} "C:/repo[page,video]"'
