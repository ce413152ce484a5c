"""The bill of materials names what is installed, and what the worker needs."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from tests.security.sbom import bill

ROOT = Path(__file__).parents[2]


def test_every_dependency_with_its_version():
    """What pyproject.toml names for this system stands there, with the version that is installed; what tests need does not."""
    found = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in bill()["components"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower() for line in project["dependencies"] if "platform" not in line}
    assert named
    assert named <= found.keys()
    assert all(version(name) == number for name, number in found.items())
    assert not {"pytest", "ruff", "mypy", "hypothesis"} & found.keys()


def test_the_worker_itself():
    """It is what the bill is about."""
    assert bill()["metadata"]["component"]["name"] == "td-image-worker"
