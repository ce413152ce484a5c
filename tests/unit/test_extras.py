"""What is typed to add a package is what the tool that installed the worker understands."""

from __future__ import annotations

import sys

import pytest

from worker import extras


@pytest.fixture
def prefix(monkeypatch, tmp_path):
    """An environment that nobody has left a receipt in yet."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "C:/tools/python.exe")
    return tmp_path


def receipt(prefix, requirement):
    (prefix / "uv-receipt.toml").write_text(f"[tool]\nrequirements = [{requirement}]\n", encoding="utf-8")


def test_pip(prefix):
    """Double quotes, because the command prompt of Windows hands single ones on."""
    assert extras.install("page") == 'pip install "td-image-worker[page]"'
    assert extras.install_package("models") == "pip install --no-deps models"


def test_pipx(prefix):
    (prefix / "pipx_metadata.json").write_text("{}")
    assert extras.install("page") == 'pipx runpip td-image-worker install "td-image-worker[page]"'
    assert extras.install_package("av", "--upgrade") == "pipx runpip td-image-worker install --upgrade av"


@pytest.mark.parametrize(
    ("requirement", "command"),
    [
        ('{ name = "td-image-worker", directory = "C:/repo" }', 'uv tool install "C:/repo[page]"'),
        ('{ name = "td-image-worker", extras = ["video"], directory = "C:/repo" }', 'uv tool install "C:/repo[page,video]"'),
        ('{ name = "td-image-worker", extras = ["page"], path = "C:/a.whl" }', 'uv tool install "C:/a.whl[page]"'),
        ('{ name = "td-image-worker" }', 'uv tool install "td-image-worker[page]"'),
        ('{ name = "other", directory = "C:/other" }', 'uv tool install "td-image-worker[page]"'),
        ("1", 'uv tool install "td-image-worker[page]"'),
        ("{", 'uv tool install "td-image-worker[page]"'),
    ],
)
def test_uv(prefix, requirement, command):
    """Where it came from, and the extras that are there already, stand in uv's receipt. One that says nothing is no error."""
    receipt(prefix, requirement)
    assert extras.install("page") == command
    assert extras.install_package("models") == 'uv pip install --python "C:/tools/python.exe" --no-deps models'
