"""Every command of the program that the documents and the help texts show is run, in a shell, as it stands there.

Paths of the documents stand for folders of the test. Commands are run by bash; zsh makes the same words of them. Of all other lines of
the documents' blocks `ELSEWHERE` says which test runs them, and `NOWHERE` why none can on this computer.
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
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner

from tests import frame_files, gallery, small_recording
from tests.examples import EXAMPLES
from tests.ports import free_port
from tests.reliability.running import REPOSITORY, wait_until_it_answers
from worker.catalog.table import CATALOG
from worker.cli import COMMANDS, cli

DOCUMENTS = [REPOSITORY / name for name in ("README.md", "docker/README.md", "td/README.md", "SECURITY.md", "protocol.md")]
DOCUMENTS += sorted((REPOSITORY / "docs").glob("*.md"))
#: What they and these show that is no command of the program is looked at, too.
OTHERS = [REPOSITORY / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "tests/README.md", "docs/gallery/README.md")]
OWN = REPOSITORY / "docs" / "own_operations.md"
PLACEHOLDER = re.compile(r"\.\.\.|\b[A-Z]{3,}\b|<|\$|%h")
#: Names of commands in a sentence, which need an argument.
MENTIONS = (["send"], ["run"], ["component"], ["node"], ["replay"])
END_S = 100
SH = r"^ *```sh\n(.*?)^ *```$"
BLOCK = r"^ *```(?:sh|powershell)\n(.*?)^ *```$"
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

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="not on this system: bash")

#: Lines of blocks that a test elsewhere runs, taken from the text.
ELSEWHERE = {
    r"curl(\.exe)? ": "tests/web/test_clients.py::test_the_commands_of_the_page_about_http",
    r"python -m (tests\.docs|pytest|worker) ": "tests/unit/test_contributing.py::test_adding_an_operation",
    r"python3 -m venv \.venv && |pip install \. && ": "tests/td/test_installing.py::test_with_pip",
    r"uv tool install --python 3\.13 \.$": "tests/td/test_installing.py::test_with_uv",
    r"docker build -f docker/Dockerfile -t td-image-worker \.$": "tests/acceptance/test_docker.py::image",
    r"docker (run -d --name|exec) td-image-worker ": "tests/acceptance/test_docker.py::test_doctor_from_inside",
    r"docker compose up ": "tests/acceptance/test_docker.py::test_the_compose_file_comes_up",
    r"docker compose --profile cluster up ": "tests/acceptance/test_docker.py::the_profile_cluster_comes_up",
    r"PIP_CONFIG_FILE=\S+ .* docker/build\.sh$": "tests/acceptance/test_documents.py::test_an_image_from_sources_of_your_own",
    r"td-image-worker send style ": "tests/wire/test_own_operations_page.py::test_the_model",
    r"td-image-worker serve .*--operations night$": "tests/wire/test_own_operations.py::test_an_installed_package",
}
CI = " ".join((REPOSITORY / ".ci" / name).read_text(encoding="utf-8") for name in ("run", "checks"))
#: Lines of blocks that no test runs: why, and whether that is so on this computer.
NOWHERE: dict[str, tuple[str, bool]] = {
    r"(systemctl|journalctl) --user |loginctl ": ("systemd starts no services here", not Path("/run/systemd/system").is_dir()),
    r"launchctl ": ("there is no launchd", sys.platform != "darwin"),
    r"\$\w+ = |(Register|Start)-ScheduledTask |New-NetFirewallRule ": ("there is no PowerShell", not shutil.which("powershell")),
    r"uv tool install --python 3\.13 C:/path/to/|python3 -m venv ~/worker$|~/worker/bin/python ": (
        "it is the README's way under another path",
        True,
    ),
    r"py -m venv |C:/worker/Scripts/python ": ("this is not Windows", sys.platform != "win32"),
    r"docker pull |docker image inspect -f '{{index": ("it asks a registry of images", True),
    r"pip download -d docker/wheels |printf 'FROM debian|docker build --network none ": (
        "it takes 250 MB, and asks a registry of images",
        True,
    ),
    r"docker/engine\.sh (start|stop)$": (
        ".ci/run does it before and after all tests",
        "docker/engine.sh start" in CI and "engine.sh stop" in CI,
    ),
    r"TD_IMAGE_WORKER_REQUIRE_DOCKER=1 pytest ": (".ci/run does it", "TD_IMAGE_WORKER_REQUIRE_DOCKER=1" in CI),
    r'pip install "\.\[test\]" && pytest$': (".ci/run does it", 'install --quiet --disable-pip-version-check ".[test]"' in CI),
    r'pip install -e "\.\[test,dev\]"$|python -m venv ': (".ci/checks does it", '".[test,dev]"' in CI and "-m venv" in CI),
    r"pytest tests/unit worker$": ("it runs them, and this is one of them", True),
    r"ruff format --check \. && ruff check \. && mypy$": (".ci/checks does it", "ruff format --check .\nruff check .\nmypy\n" in CI),
}


def commands_of(text: str) -> set[str]:
    """The program's own commands in a document: whole lines of blocks, and between back-quotes."""
    lines = re.findall(r"^ *(?:pip install \. && )?(td-image-worker .*)$", text, re.MULTILINE)
    lines += re.findall(r"`(td-image-worker [^`\n]*)`", text)
    jobs = re.findall(rf"`((?:{'|'.join(CATALOG)}) \w+=[^`\n]*)`", text)
    lines += [f"td-image-worker send {job}" for job in jobs if is_whole(job)]
    return {re.split(r"  +\(", line)[0].strip() for line in lines}


def lines_of(text: str) -> list[str]:
    """The lines of the blocks for a shell."""
    blocks = re.findall(BLOCK, text, re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


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
    return sorted(line for line in whole if line.split()[1] in {*COMMANDS, "--version"} and not first(ELSEWHERE, line))


def first(table: Iterable[str], line: str) -> str | None:
    """The first of these patterns that the line begins with."""
    return next((pattern for pattern in table if re.match(pattern, line)), None)


SHOWN = shown()
GALLERY = {gallery.command(name) for name, example in EXAMPLES.items() if example.shown}
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
        for name in (*SERIES, "shots"):
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
            ["bash", "-c", f"exec {self.here(line)}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", self.here(line)]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=END_S, check=False)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def busy_desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One with a worker."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    process = desk.start("td-image-worker serve --root . --operations my_ops.py")
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


@pytest.mark.parametrize("line", ASKING)
def test_a_command_works_as_shown(busy_desk: Desk, line: str) -> None:
    """It ends with 0. The doctor may find something broken on this computer, and then says what."""
    if line.split()[1:2] == ["presets"]:
        made = busy_desk.run("td-image-worker presets set logo operation=find_circles image=a.png overlay=b.png")
        assert made.returncode == 0, made.stderr
    done = busy_desk.run(line)
    assert "Traceback" not in done.stderr
    if line.split()[1] == "doctor":
        assert done.returncode in (0, 1)
        assert re.search(r"^(Broken: |The round trip works\.)", done.stdout, re.MULTILINE)
    else:
        if "is not available here" in done.stderr and not os.environ.get("CI"):
            pytest.skip(f"not in this environment: {done.stderr.strip()}")
        assert done.returncode == 0, done.stdout + done.stderr


def words(shell: list[str], lines: list[str], folder: Path) -> list[str]:
    """What the shell makes of each line, in a folder without files: no program is found, and the shell says what it has looked for."""
    say = "printf '<%s>\\n' \"$@\""
    script = f"command_not_found_handle() {{ {say}; }}\ncommand_not_found_handler() {{ {say}; }}\n"
    script += "\n".join(f"( {line}\n)\nprintf '\\1'" for line in lines)
    environment = {"PATH": "/nowhere", "HOME": str(folder)}
    program = shutil.which(shell[0])
    assert program
    done = subprocess.run([program, *shell[1:], "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split("\1")[:-1]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="apt install zsh")
def test_zsh_reads_them_as_bash_does(tmp_path: Path) -> None:
    """The shell of macOS hands the same words to the programs, and stops at no line."""
    blocks = [
        block for path in [*DOCUMENTS, *OTHERS] for block in re.findall(SH, path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    ]
    lines = sorted({*SHOWN, *(line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip())})
    made = words(["bash"], lines, tmp_path)
    assert len(made) == len(lines)
    missing = [line for line, said in zip(lines, made, strict=True) if "<" not in said]
    assert all(re.match(r"(\w+=\S+ )*docker/\w+\.sh|~/worker/|td-image-worker watch .* > ", line) for line in missing), missing
    assert dict(zip(lines, words(["zsh", "-f"], lines, tmp_path), strict=True)) == dict(zip(lines, made, strict=True))


@pytest.mark.parametrize("line", SHOWN)
def test_windows_reads_them_as_bash_does(line: str) -> None:
    """By rule, because there is no PowerShell here. It takes a comma for a list and @ for a splat; 5.1 takes double quotes out of single
    ones. The command prompt knows no single quotes. In double quotes PowerShell knows $ and the back-quote, and the command prompt %.
    """
    command = line.removesuffix(" > jobs.txt")  # both write output into a file with it
    assert "'" not in command
    inside = re.findall(r'"[^"]*"', command)
    bare = re.sub(r'"[^"]*"', "", command)
    assert '"' not in bare
    assert not re.search(r"[,;&|<>(){}$`%^!\\#*?]|(^| )@", bare)
    assert not any(re.search(r"[$`%!\\]", words) for words in inside)


def test_every_line_is_accounted_for() -> None:
    """Each line of a block for a shell is run here or by another test, or cannot be on this computer, or the reader fills something in."""
    used = set()
    for path in [*DOCUMENTS, *OTHERS]:
        for line in lines_of(path.read_text(encoding="utf-8")):
            command = re.split(r"  +\(", line)[0].strip()
            if command in SHOWN or command in GALLERY or (command.startswith("td-image-worker ") and PLACEHOLDER.search(command)):
                continue
            pattern = first(ELSEWHERE, line) or first(NOWHERE, line)
            assert pattern, f"{path.name}: who runs `{line}`?"
            used.add(pattern)
    assert {*ELSEWHERE, *NOWHERE} == used


@pytest.mark.parametrize("name", sorted(set(ELSEWHERE.values())))
def test_the_test_elsewhere_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert re.search(rf"^def {function}\b", (REPOSITORY / path).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("pattern", NOWHERE)
def test_the_reason_is_true(pattern: str) -> None:
    reason, holds = NOWHERE[pattern]
    if not holds:
        pytest.skip(f"no test runs {pattern} on this computer, although it could: it is not so that {reason}")


def test_blocks_that_are_no_commands_hold_none() -> None:
    """A block without a language is not looked at."""
    program = r"^ *(td-image-worker|uv|uvx|pipx?|pip3|py|python3?|docker|curl|git|npm|sudo|cd|pytest|systemctl|launchctl) [^\s\d]"
    for path in [*DOCUMENTS, *OTHERS]:
        blocks = re.findall(r"^ *```([^\n]*)\n(.*?)^ *```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        others = [block for kind, block in blocks if kind not in ("sh", "powershell")]
        assert [line for block in others for line in block.splitlines() if re.match(program, line)] == [], path.name


def test_the_gallery_shows_the_examples() -> None:
    """They are run over OSC by `tests/wire/test_operations.py`. If not: python -m tests.gallery."""
    assert (REPOSITORY / "docs" / "gallery" / "README.md").read_text(encoding="utf-8") == gallery.page()


def test_an_image_from_sources_of_your_own(tmp_path: Path) -> None:
    """The command of docker/README.md makes the files secrets of the build, for each step. A stand-in takes docker's place."""
    (line,) = [line for line in lines_of((REPOSITORY / "docker" / "README.md").read_text(encoding="utf-8")) if line.endswith("build.sh")]
    files = {"pip.conf": "", "debian.sources": "", "our-ca.pem": ""}
    for name in files:
        (tmp_path / name).write_text("mine\n", encoding="utf-8")
    stand_in = tmp_path / "docker"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\ncat\n', encoding="utf-8")
    stand_in.chmod(0o755)
    line = line.replace("/etc/ssl/certs/our-ca.pem", str(tmp_path / "our-ca.pem"))
    environment = {**os.environ, "HOME": str(tmp_path), "DOCKER": str(stand_in)}
    done = subprocess.run(["bash", "-c", line], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=END_S, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    for name in files:
        assert any(word.endswith(f",src={tmp_path / name}") for word in said), name
    steps = [step for step in said if step.startswith("RUN ")]
    assert steps
    assert all(step.count("--mount=type=secret,id=") == 3 for step in steps)
