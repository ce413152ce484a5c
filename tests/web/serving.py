"""A real worker with its page, and a real browser that looks at it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AXE = Path(__file__).parent / "node/node_modules/axe-core/axe.min.js"
#: Without these, Chromium looks for its maker's servers, and needs rights that a container does not give.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
STARTS_WITHIN_S = 60.0


@dataclass
class Served:
    """A worker that runs.

    Attributes:
        url: of its page.
        port: for commands.
        folder: what its jobs may read and write.
        lines: what it has said so far.
    """

    process: subprocess.Popen[str]
    url: str
    port: int
    folder: Path
    lines: list[str]

    @property
    def http_port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])


@contextlib.contextmanager
def worker(folder: Path, *options: str, http: str = "127.0.0.1:0", port: int = 0) -> Iterator[Served]:
    """Starts a worker on free ports, and ends it."""
    given = ["--port", str(port), "--http", http, "--root", str(folder), "--no-journal", "--no-discovery", "--workers", "2"]
    command = [sys.executable, "-m", "worker", "serve", *given, "--text-port", "0", "--number-port", "0", *options]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines: list[str] = []
    listens = threading.Event()

    def read() -> None:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if line.startswith("Listening"):
                listens.set()
        listens.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert listens.wait(STARTS_WITHIN_S)
        text = "\n".join(lines)
        url = re.search(r"page +(http://\S+)", text)
        commands = re.search(r"commands +udp \S+:(\d+)", text)
        assert commands, text
        yield Served(process, url[1] if url else "", int(commands[1]), folder, lines)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        assert process.stdout
        process.stdout.close()


@contextlib.contextmanager
def chromium():
    """A browser without a window; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium: apt install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
