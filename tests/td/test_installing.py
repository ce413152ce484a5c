"""What the README says about installing is done as it stands there. What was installed builds the component without the repository."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from tests.td.conftest import REPOSITORY
from tests.td.test_component import FILES, build, textport_line, written

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "worker/web/static").rglob("*") if path.is_file()}
CLASSIFIERS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]
PROJECT = ("worker", "td", "README.md", "LICENSE", "pyproject.toml")
END_S = 240  # a slow line brings OpenCV

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="not on this system: bash")


@pytest.fixture
def project(tmp_path):
    """A copy of what is installed, because a build leaves files."""
    copy = tmp_path / "project"
    for name in PROJECT:
        place = REPOSITORY / name
        shutil.copytree(place, copy / name, ignore=shutil.ignore_patterns("__pycache__")) if place.is_dir() else shutil.copy(place, copy)
    return copy


def line_of(kind, words):
    """The line of the README's block of this kind that has these words."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    (line,) = [line for block in blocks for line in block.splitlines() if words in line]
    return line


def shell(script, folder, environment):
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=END_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clean(tmp_path, **more):
    """An environment in which neither the repository nor this Python's packages are in reach."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TD_IMAGE_WORKER_", "VIRTUAL_ENV"))}
    return {**ours, "HOME": str(tmp_path), "PYTHONSAFEPATH": "1", **more}


def is_whole(packages):
    """What was installed: all of the worker and the component, and the licences of what is not ours."""
    (installed,) = importlib.metadata.distributions(name="td-image-worker", path=[str(packages)])
    names = {file.as_posix() for file in installed.files or ()}
    sources = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "worker").rglob("*.py")}
    assert len(PAGES) > 10
    assert sources | PAGES | {f"worker/td/{name}" for name in FILES} | {"worker/cli/pictures/smarties.png"} <= names
    assert not [name for name in names if name.startswith(("tests/", "td/"))]
    licences = {name.rpartition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert {"LICENSE", "worker/cli/pictures/NOTICE.md"} | {name for name in PAGES if "LICENSE" in name} <= licences
    assert installed.metadata["License-Expression"] == "MIT AND Apache-2.0"


@needs_bash
def test_with_pip(project, tmp_path, monkeypatch):
    """As on Debian, where pip wants an environment first. What the worker needs is taken from the tests' Python."""
    make, install = line_of("sh", "python3 -m venv"), line_of("sh", "pip install . &&")
    assert install == "pip install . && td-image-worker demo"  # the demo: tests/acceptance/test_cli.py
    environment = clean(tmp_path, PIP_NO_DEPS="1", PIP_NO_INDEX="1", PIP_NO_BUILD_ISOLATION="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    borrow = "import sys, sysconfig; open(sysconfig.get_path('purelib') + '/borrowed.pth', 'w').write(sys.argv[1])"
    packages = sysconfig.get_path("purelib")
    installed = install.replace("demo", f"component '{tmp_path}/td'")
    script = f"set -e\n{make}\npython -c \"{borrow}\" '{packages}'\n{installed}\npython -c 'import worker; print(worker.__file__)'"
    said = shell(script, project, environment)
    place = Path(said.splitlines()[-1]).parents[1]
    assert place.is_relative_to(project / ".venv")
    is_whole(place)
    assert written(tmp_path / "td") == FILES
    assert build(monkeypatch, tmp_path, textport_line(said)) == "Unknown"


@needs_bash
@pytest.mark.timeout(300)
def test_with_uv(project, tmp_path, monkeypatch):
    """The first way for Windows; here with the Python of the tests. It leaves nothing when it goes."""
    install = line_of("powershell", "uv tool install").split()
    newest = [line for line in CLASSIFIERS if line.startswith("Programming Language :: Python :: 3.")][-1].rpartition(" ")[2]
    assert install[3:5] == ["--python", newest]  # uv alone would take one with which nobody has tried the worker
    install[4] = sys.executable
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    environment = clean(tmp_path, **folders)
    environment["UV_CACHE_DIR"] = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    environment["PATH"] = os.pathsep.join([folders["UV_TOOL_BIN_DIR"], str(Path(sys.executable).parent), environment["PATH"]])
    done = subprocess.run(install, cwd=project, env=environment, capture_output=True, text=True, timeout=END_S, check=False)
    if "error sending request" in done.stderr or "dns error" in done.stderr:
        pytest.skip(f"packages cannot be reached: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project)
    packages = Path(next((tmp_path / "tools").glob("td-image-worker/**/site-packages")))
    is_whole(packages)
    said = shell(f"td-image-worker component '{tmp_path}/td'", tmp_path, environment)
    assert written(tmp_path / "td") == FILES
    assert said.rstrip().endswith(f"set Worker Program on the component's page Process to {tmp_path}/bin/td-image-worker")
    assert build(monkeypatch, tmp_path, textport_line(said)) == "Unknown"
    hint = shell(
        f"'{packages.parents[2]}/bin/python' -c 'from worker import extras; print(extras.install(\"page\"))'", tmp_path, environment
    )
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert hint.strip() == f'uv tool install --python {version} "{project}[page]"'
    uninstall = "uv tool uninstall td-image-worker"
    assert f"`{uninstall}`" in (REPOSITORY / "docs" / "operating.md").read_text(encoding="utf-8")
    shell(uninstall, tmp_path, environment)
    assert not [path for folder in ("tools", "bin") for path in (tmp_path / folder).rglob("*image*worker*")]
