"""Every command of the program that the documents and the help texts show is run, in a shell, as it stands there.

Paths of the documents stand for folders of the test. What is not run: other programs (docker, systemctl, pip ...), and lines with a
placeholder such as NAME or three dots, which a reader has to fill in.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from tests import frame_files, small_recording
from tests.ports import free_port
from tests.reliability.running import REPOSITORY, wait_until_it_answers
from worker.catalog.table import CATALOG
from worker.cli import COMMANDS, cli

DOCUMENTS = [REPOSITORY / name for name in ("README.md", "docker/README.md", "td/README.md", "SECURITY.md", "protocol.md")]
OWN = REPOSITORY / "docs" / "own_operations.md"  # its commands need its files: `tests/wire/test_own_operations_page.py` follows it
DOCUMENTS += sorted(path for path in (REPOSITORY / "docs").glob("*.md") if path != OWN)
PLACEHOLDER = re.compile(r"\.\.\.|\b[A-Z]{3,}\b|<|\$|%h")
#: Names of commands in a sentence, which need an argument.
MENTIONS = (["send"], ["run"], ["component"], ["node"], ["replay"])
SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]
END_S = 100
DATA = REPOSITORY / "tests" / "data"
#: Folders of pictures that the documents speak of.
SERIES = ("phone", "takes", "album", "frames", "burst")
#: A camera for pictures of the size of `smarties.png`.
CAMERA = {
    "kind": "camera calibration",
    "version": 1,
    "width": 413,
    "height": 356,
    "camera_matrix": [[400, 0, 206], [0, 400, 178], [0, 0, 1]],
    "distortion": [0, 0, 0, 0, 0],
}

pytestmark = pytest.mark.skipif(not SHELLS, reason="not on this system: bash")


def commands_of(text: str) -> set[str]:
    """The program's own commands in a document: whole lines of blocks, and between back-quotes."""
    lines = re.findall(r"^ *(?:pip install \. && )?(td-image-worker .*)$", text, re.MULTILINE)
    lines += re.findall(r"`(td-image-worker [^`\n]*)`", text)
    jobs = re.findall(rf"`((?:{'|'.join(CATALOG)}) \w+=[^`\n]*)`", text)
    lines += [f"td-image-worker send {job}" for job in jobs if is_whole(job)]
    return {re.split(r"  +\(", line)[0].strip() for line in lines}


def is_whole(job: str) -> bool:
    """Whether all is there that the job needs; otherwise it is a part of one, in a sentence."""
    words = shlex.split(job)
    given = {word.partition("=")[0] for word in words[1:]}
    return {field.name for field in CATALOG[words[0]].parameters if field.required} <= given


def shown() -> list[str]:
    """All of them, those in help texts included."""
    found: set[str] = set()
    for path in DOCUMENTS:
        found |= commands_of(path.read_text(encoding="utf-8"))
    for name in COMMANDS:
        found |= commands_of(CliRunner().invoke(cli, [name, "--help"], terminal_width=500).output)
    whole = (line for line in found if not PLACEHOLDER.search(line) and line.split()[1:] not in MENTIONS)
    return sorted(line for line in whole if line.split()[1] in {*COMMANDS, "--version"})


SHOWN = shown()
SERVING = [line for line in SHOWN if line.split()[1] == "serve" and "--help" not in line]
CLUSTERS = [line for line in SHOWN if line.split()[1] == "cluster"]
ASKING = [line for line in SHOWN if line.split()[1] not in ("serve", "demo", "cluster") or "--help" in line]


class Desk:
    """A folder with all that the documents speak of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, text, number = free_port(), free_port(), free_port()
        for name in ("shots", "show", "project", "second", "data", "cache", "other", *SERIES):
            (folder / name).mkdir()
        for name in (
            "a.png",
            "logo.png",
            "smarties.png",
            "cam.png",
            "shots/a.png",
            *(f"{name}/{n}.png" for name in SERIES for n in (1, 2)),
        ):
            shutil.copy(DATA / "smarties.png", folder / name)
        for name in SERIES:
            cv2.imwrite(str(folder / name / "3.jpg"), cv2.imread(str(DATA / "smarties.png")))
        shutil.copy(DATA / "board.jpg", folder / "night.jpg")
        for name in ("a.mp4", "take1.mov"):
            shutil.copy(DATA / "numbered.mp4", folder / name)
        (folder / "camera.json").write_text(json.dumps(CAMERA), encoding="utf-8")
        (folder / "my_ops.py").write_text(
            re.findall(r"^```python\n(.*?)^```", OWN.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)[0], "utf-8"
        )
        (folder / "frames" / "cam1.frame").write_bytes(frame_files.whole(frame_files.plain(7)))
        small_recording.write(folder / "session.jsonl")
        (folder / "letter.txt").write_text("Dear ...\n", encoding="utf-8")
        for name, port in (("td-image-worker.toml", self.port), ("second.toml", self.port)):
            (folder / name).write_text(f"port = {port}\n", encoding="utf-8")
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TD_IMAGE_WORKER_")}
        bin_folder = str(Path(sys.executable).parent)
        self.environment = ours | {"PATH": f"{bin_folder}{os.pathsep}{ours['PATH']}", "PYTHONPATH": str(REPOSITORY), "HOME": str(folder)}
        self.environment |= {"TD_IMAGE_WORKER_PORT": str(self.port), "TD_IMAGE_WORKER_STATE": str(folder / "state")}
        self.environment |= {"TD_IMAGE_WORKER_TEXT_PORT": str(text), "TD_IMAGE_WORKER_NUMBER_PORT": str(number)}
        self.environment |= {"TD_IMAGE_WORKER_WORKERS": "1"}

    def here(self, line: str) -> str:
        """The line with this folder's paths and port in the place of the document's; nothing else is changed."""
        line = re.sub(r"(?<![\w/])(?:/home/show|/Users/show|[CD]:[/\\]Users[/\\]me)(?=[/\\\s]|$)", str(self.folder), line)
        line = re.sub(r"(?<![\w/=])[CD]:[/\\](show|cache)\b", rf"{self.folder}/\1", line)
        line = re.sub(r"(?<=[ =])/data\b", f"{self.folder}/data", line)
        line = re.sub(r"--host 192\.168\.\d+\.\d+", "--host 127.0.0.1", line)
        line = re.sub(r"--to 127\.0\.0\.1:\d+", f"--to 127.0.0.1:{self.port}", line)
        line = re.sub(r"^td-image-worker watch(?!.* --(?:seconds|help))", "td-image-worker watch --seconds 1", line)
        line = re.sub(r"(?<==)E:/backup\b", "backup", line)
        line = re.sub(r"(?<=[ =])/mnt/show\b", f"{self.folder}/show", line)
        return re.sub(r"--port \d+", f"--port {self.port}", line)

    def start(self, line: str) -> subprocess.Popen[str]:
        """In a shell, which then becomes the program."""
        return subprocess.Popen(
            [SHELLS[0], "-c", f"exec {self.here(line)}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, shell: str, line: str) -> subprocess.CompletedProcess[str]:
        command = [shell, *(["-f"] if shell == "zsh" else []), "-c", self.here(line)]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=END_S, check=False)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def busy_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One with a worker."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    process = desk.start("td-image-worker serve --root .")
    try:
        wait_until_it_answers(desk.port)
        yield desk
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=END_S)
        process.kill()


def test_there_is_something_to_run() -> None:
    """The documents are found, and show at least these."""
    assert len(SERVING) >= 4
    assert len(ASKING) >= 12
    assert {line.split()[1] for line in SHOWN} >= {"serve", "demo", "send", "run", "ops", "presets", "health", "doctor"}


@pytest.mark.parametrize("line", SERVING)
def test_a_worker_starts_as_shown(desk: Desk, line: str) -> None:
    """It listens, reports go out without an error, and it ends when it is asked to."""
    process = desk.start(line)
    said = []
    assert process.stdout is not None
    for text in process.stdout:
        said.append(text)
        if text.startswith("Listening"):
            break
    else:
        pytest.fail("".join(said))
    wait_until_it_answers(desk.port)
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=END_S)
    assert process.returncode == 0, "".join(said) + rest
    assert "Traceback" not in rest
    assert "Invalid argument" not in rest


@pytest.mark.parametrize("line", CLUSTERS)
def test_a_cluster_starts_as_shown(desk: Desk, line: str) -> None:
    """It says what to do next, and ends with its nodes when it is asked to."""
    process = desk.start(f"{line} --scheduler-port 0")
    said = []
    assert process.stdout is not None
    for text in process.stdout:
        said.append(text)
        if "".join(said).count("Working") == 2:
            break
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=END_S)
    assert process.returncode == 0, "".join(said) + rest
    assert "td-image-worker serve --cluster tcp://127.0.0.1:" in "".join(said)
    assert "Traceback" not in rest


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line", ASKING)
def test_a_command_works_as_shown(busy_desk: Desk, shell: str, line: str) -> None:
    """It ends with 0. The doctor may find something broken on this computer, and then says what."""
    if line.split()[1:2] == ["presets"]:
        made = busy_desk.run(shell, "td-image-worker presets set logo operation=find_circles image=a.png overlay=b.png")
        assert made.returncode == 0, made.stderr
    done = busy_desk.run(shell, line)
    assert "Traceback" not in done.stderr
    if line.split()[1] == "doctor":
        assert done.returncode in (0, 1)
        assert re.search(r"^(Broken: |The round trip works\.)", done.stdout, re.MULTILINE)
    else:
        if "is not available here" in done.stderr and not os.environ.get("CI"):
            pytest.skip(f"not in this environment: {done.stderr.strip()}")
        assert done.returncode == 0, done.stdout + done.stderr
