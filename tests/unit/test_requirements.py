"""What the image is built from: pinned, with hashes, without addresses, and fitting to what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
DOCKER = REPOSITORY / "docker"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LINUX = {"sys_platform": "linux", "python_version": "3.11", "platform_system": "Linux"}
FILES = {
    "requirements.txt": [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["page"]],
    "requirements-build.txt": PROJECT["build-system"]["requires"],
    "requirements-cluster.txt": [text for extra in ("cluster", "dashboard") for text in PROJECT["project"]["optional-dependencies"][extra]],
}


def entries(name: str) -> list[str]:
    """One text for each package, with its hashes."""
    lines = [line for line in (DOCKER / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("name", FILES)
def test_each_has_one_version_and_hashes(name):
    """And nothing else: no address, no option, no other source."""
    assert entries(name)
    for entry in entries(name):
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("name", FILES)
def test_they_are_what_the_project_asks_for(name):
    """If this fails, pyproject.toml was changed: run docker/lock.sh."""
    pinned = {canonicalize_name(entry.split("==")[0]): entry.split("==")[1].split()[0] for entry in entries(name)}
    for text in FILES[name]:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate(LINUX):
            assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), text
        else:
            assert canonicalize_name(wanted.name) not in pinned


def test_a_cluster_takes_no_other_versions():
    """What both files name has one version, because both are installed into one environment."""
    ours, cluster = (
        dict(entry.split()[0].split("==") for entry in entries(name)) for name in ("requirements.txt", "requirements-cluster.txt")
    )
    assert {name: cluster[name] for name in ours.keys() & cluster.keys()} == {name: ours[name] for name in ours.keys() & cluster.keys()}


def test_the_image_takes_nothing_without_a_hash():
    """Each call of pip that takes a package from outside asks for hashes; the only other ones take our own wheel."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    calls = re.findall(r"/pip [^&\n]*\binstall\b[^&\n]*", text)
    assert len(calls) == 4
    assert all("--require-hashes" in call or "--no-index --no-deps /wheels/own/" in call for call in calls)
    assert [call for call in re.findall(r"/pip [^&\n]*\b(?:wheel|download)\b [^&\n]*", text) if "--no-index" not in call] == []
