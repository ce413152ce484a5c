"""Builds a folder that runs without a Python: `python .ci/freeze.py` on the system that it is for. Then tries it.

The folder is `dist/td-image-worker`; zip it and give it away. It is one folder and not one file, because one file unpacks itself at each
start, which is slow, and virus scanners suspect it. It is not signed: Windows SmartScreen and macOS Gatekeeper ask before its first start.

An environment of its own is made for the build, so that nothing gets into the folder that the worker does not need.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "td-image-worker"


def main() -> None:
    """Builds, then proves that the program works: its version, a job without a server, and the demo with real children."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder to write to (default: dist)")
    parser.add_argument("--no-demo", action="store_true", help="leave the demo out at the end")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary), wanted.dist.resolve())
        try_out(wanted.dist.resolve() / NAME / executable(NAME), Path(temporary), demo=not wanted.no_demo)


def build(temporary: Path, dist: Path) -> None:
    """Installs the project and PyInstaller into a new environment, and freezes the program."""
    venv.create(temporary / "venv", with_pip=True)
    python = temporary / "venv" / ("Scripts" if os.name == "nt" else "bin") / executable("python")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT), "pyinstaller>=6.11")
    run(
        *(python, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--onedir", "--name", NAME),
        *("--distpath", dist, "--workpath", temporary / "work", "--specpath", temporary),
        *("--collect-submodules", "worker", "--collect-data", "worker", "--copy-metadata", NAME),
        *("--add-data", f"{ROOT / 'td'}{os.pathsep}worker/td"),
        ROOT / "worker" / "__main__.py",
        cwd=temporary,  # not the project: what is frozen is what was installed
    )
    size = sum(file.stat().st_size for file in (dist / NAME).rglob("*") if file.is_file())
    print(f"{dist / NAME}: {size / 2**20:.0f} MB")


def try_out(program: Path, temporary: Path, *, demo: bool) -> None:
    """Runs the program as a user would. Ends with an error if anything fails."""
    began = time.monotonic()
    run(program, "--version")
    print(f"started in {time.monotonic() - began:.2f} s")
    run(program, "run", "draw_circles", "output=a{n}.png", "count=4", cwd=temporary)
    if len(list(temporary.glob("a*.png"))) != 4:
        sys.exit("The frozen program wrote no pictures.")
    run(program, "component", "component", cwd=temporary)
    if demo:
        run(program, "demo", cwd=temporary)


def executable(name: str) -> str:
    return f"{name}.exe" if os.name == "nt" else name


def run(*command: object, cwd: Path | None = None) -> None:
    """Runs a command. Ends this program with its exit code if it fails."""
    words = [str(word) for word in command]
    if code := subprocess.run(words, cwd=cwd, check=False).returncode:
        sys.exit(f"exit code {code}: {' '.join(words)}")


if __name__ == "__main__":
    main()
