"""The command line as a person or a script uses it: real processes, real UDP on 127.0.0.1, real files."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from worker.cli import show
from worker.cli.examples import png_size
from worker.client.line import Line
from worker.protocol.messages import Hello, Job, Ready

END_S = 30


def environment() -> dict[str, str]:
    """Ours, without settings of a worker."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TD_IMAGE_WORKER_")}


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One command to its end, with its output in pipes."""
    command = [sys.executable, "-m", "worker", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, encoding="utf-8", timeout=100, check=False)


@dataclass
class Worker:
    """A running `serve`."""

    process: subprocess.Popen[str]
    port: int
    root: Path
    announced: list[str]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands run in other folders, and must find the package all the same where it is not installed."""
    source = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH", "")])))


@pytest.fixture
def worker(tmp_path: Path, importable: None) -> Iterator[Worker]:
    """A worker on a free port, which it says itself."""
    command = [sys.executable, "-m", "worker", "serve", "--port", "0", "--no-journal", "--root", ".", "--parent-pid", str(os.getpid())]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True, encoding="utf-8")
    assert process.stdout is not None
    try:
        announced: list[str] = []
        while not (announced and announced[-1].startswith("Listening")):
            announced.append(process.stdout.readline())
            assert announced[-1], "the worker ended before it was ready"
        port = next(int(found[1]) for line in announced if (found := re.search(r"commands\s+udp 127\.0\.0\.1:(\d+)", line)))
        yield Worker(process, port, tmp_path, announced)
    finally:
        process.terminate()
        process.communicate(timeout=END_S)


def send(worker: Worker, *arguments: str) -> subprocess.CompletedProcess[str]:
    return call("send", *arguments, "--port", str(worker.port), cwd=worker.root)


def test_serve_says_where_it_listens_reads_and_writes(worker: Worker) -> None:
    """Before it says that it is ready."""
    text = "".join(worker.announced)
    assert str(worker.root.resolve()) in text
    assert f"127.0.0.1:{worker.port}" in text


def test_send_waits_and_prints_what_was_found(worker: Worker) -> None:
    """Draw the truth, then find it; as lines that other programs can cut."""
    drawn = send(worker, "draw_circles", "output={n}.png", "count=1", "centers=200 300")
    assert drawn.returncode == show.READY, drawn.stderr
    found = send(worker, "find_circles", "image=0.png", "overlay=found.png")
    assert found.returncode == show.READY, found.stderr
    head, row, files, file = found.stdout.splitlines()
    assert head.split("\t") == ["x", "y", "radius", "u", "v", "score"]
    assert [float(number) for number in row.split("\t")[:3]] == pytest.approx([200, 300, 63], abs=2)
    assert files.split("\t") == ["file", "bytes", "size"]
    assert file.split("\t")[1] == str((worker.root / "found.png").stat().st_size)
    assert "find_circles: ready in" in found.stderr


def test_send_as_json(worker: Worker) -> None:
    """One object with everything, and nothing else on either output."""
    done = send(worker, "write_text", "output=Grüße 日本.txt", "text=Grüße, 日本", "--json", "--id", "mine", "--priority", "live")
    assert done.returncode == show.READY, done.stderr
    value = json.loads(done.stdout)
    assert (value["id"], value["outcome"], value["operation"], value["items"]) == ("mine", "ready", "write_text", [])
    assert [(Path(file["path"]).name, file["bytes"]) for file in value["files"]] == [("Grüße 日本.txt", 15)]
    assert {"wait_ms", "run_ms"} < set(value)
    assert done.stderr == ""
    assert (worker.root / "Grüße 日本.txt").read_text(encoding="utf-8") == "Grüße, 日本"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["find_circle"], show.BAD_ARGUMENTS, "did you mean find_circles?"),
        (["draw_circles", "output={n}.png", "count=0"], show.BAD_ARGUMENTS, "count must be a whole number from 1"),
        (["find_circles", "image=nowhere.png"], show.BAD_ARGUMENTS, "nowhere.png"),
        (["write_text", "output=../outside.txt", "text=x"], show.BAD_ARGUMENTS, "outside"),
        (["draw_circles", "output={n}.png", "count=100000", "timeout_ms=300"], show.STOPPED, ""),
        (["draw_circles", "output={n}.png", "count=100000", "--timeout", "0.3"], show.STOPPED, "cancelled"),
    ],
)
def test_send_exit_codes(worker: Worker, arguments: list[str], code: int, sentence: str) -> None:
    """Each outcome has its own, and its sentence."""
    done = send(worker, *arguments)
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a console event cannot be sent to one process there")
def test_send_says_what_becomes_of_a_live_source(worker: Worker) -> None:
    """A live job whose camera is not there waits for it. Whoever has sent it sees why nothing comes."""
    command = [sys.executable, "-m", "worker", "send", "track", "source=camera:63", "--port", str(worker.port)]
    process = subprocess.Popen(command, cwd=worker.root, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = next((line for line in process.stderr if "Lost" in line), "")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=END_S)
    assert said.startswith("track: Lost: camera:63: Camera 63 cannot be opened.")


def test_send_says_what_max_items_leaves_out(worker: Worker) -> None:
    """The final carries how many items were found beyond the limit, and `send` says so."""
    shutil.copy(Path(__file__).parents[1] / "data" / "smarties.png", worker.root / "many.png")
    done = send(worker, "find_circles", "image=many.png", "max_items=2")
    assert re.search(r"Found \d+, 2 listed \(max_items\)\.", done.stderr), done.stderr
    value = json.loads(send(worker, "find_circles", "image=many.png", "max_items=2", "--json").stdout)
    assert len(value["items"]) == 2
    assert value["left_out"] > 3


def test_send_without_waiting(worker: Worker) -> None:
    """The id is printed, and asking for the same job again finds it."""
    done = send(worker, "write_text", "output=a.txt", "text=x", "--no-wait")
    assert done.returncode == show.READY
    assert re.fullmatch(r"[0-9a-f]{12}-\d+\n", done.stdout)


def test_nobody_there(tmp_path: Path) -> None:
    """One sentence and an exit code of its own."""
    done = call("send", "noop", "--port", "1", cwd=tmp_path)
    assert done.returncode == show.SILENT
    assert (
        done.stderr
        == "Error: No worker answers at 127.0.0.1:1 (UDP); start one with `td-image-worker serve`, or give the address of one.\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a console event cannot be sent to one process there")
def test_control_c_cancels_the_job(worker: Worker) -> None:
    """Whoever stops waiting does not leave the work behind."""
    command = [sys.executable, "-m", "worker", "send", "draw_circles", "output={n}.png", "count=2000", "--port", str(worker.port)]
    process = subprocess.Popen(command, cwd=worker.root, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "10 %" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=END_S)
    assert process.returncode == show.INTERRUPTED
    assert "is cancelled" in errors
    assert send(worker, "noop").returncode == show.READY


def test_a_taken_port(worker: Worker) -> None:
    """The second worker says so in a sentence and ends with 1."""
    done = call("serve", "--port", str(worker.port), "--no-journal", cwd=worker.root)
    assert done.returncode == 1
    assert str(worker.port) in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_demo(tmp_path: Path) -> None:
    """Everything arrives, both words are seen, and no process is left."""
    done = call("demo", "--gif", "demo.gif", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    output = tmp_path / "demo-output"
    assert len(list((output / "temp-files" / "imgs").glob("attempt*.png"))) == 500
    for name in ("attempt1.txt", "attempt2.txt"):
        assert (output / "temp-files" / name).stat().st_size == 2_088_936
    for word in ("/worker/status Processing", "/worker/status Ready", "together", "circles marked"):
        assert word in done.stdout
    shares = [int(share) for share in re.findall(r"text_pyThreads_openCV: (\d+) %", done.stdout)]
    assert len(shares) > 2, "progress is shown on the way"  # which tenths depends on when the children report
    assert shares == sorted(shares)
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 5]
    assert rows[0][2:4] == ["TD waits with worker", "TD waits without"]
    with_ms, without_ms = (float(cell.removesuffix(" ms")) for cell in rows[-1][2:4])
    assert with_ms > 0
    assert without_ms > 0  # which of them is how much smaller: tests/benchmarks/demo.py
    assert png_size((output / "contact-sheet.png").read_bytes()) == (800, 640)
    assert png_size((output / "smarties-circles.png").read_bytes()) == png_size((output / "smarties.png").read_bytes())
    commands = [line.strip() for line in done.stdout.partition("Next:")[2].splitlines() if line.startswith("    ")]
    assert [re.split(" -m worker | ", command)[1] for command in commands] == ["ops", "run", "serve"]
    for command in commands[:2]:
        pasted = subprocess.run(command, shell=True, cwd=tmp_path, env=environment(), capture_output=True, check=False, timeout=END_S)
        assert pasted.returncode == 0, pasted.stderr
    assert png_size((tmp_path / "found.png").read_bytes()) == png_size((output / "smarties.png").read_bytes())
    assert not workers_below(output)
    assert (tmp_path / "demo.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.skipif(sys.platform == "win32", reason="a console event cannot be sent to one process there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_demo_leaves_no_worker(tmp_path: Path, number: signal.Signals) -> None:
    """Not on Ctrl-C, not when it is terminated, and not even when it is killed."""
    command = [sys.executable, "-m", "worker", "demo"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    while "Processing" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    process.stdout.read()
    assert process.wait(END_S) == (-signal.SIGKILL if number == signal.SIGKILL else show.INTERRUPTED)
    process.stdout.close()
    deadline = time.monotonic() + END_S
    while workers_below(tmp_path / "demo-output") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not workers_below(tmp_path / "demo-output")


def workers_below(folder: Path) -> list[int]:
    """The processes that serve this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "serve" in words and str(folder) in words:
            found.append(process.pid)
    return found


def test_output_that_the_console_cannot_show(tmp_path: Path) -> None:
    """A character that is missing there, as in a pipe on Windows, becomes a question mark."""
    command = [sys.executable, "-m", "worker", "run", "write_text", "output=日本.txt", "text=x"]
    done = subprocess.run(command, cwd=tmp_path, env={**environment(), "PYTHONIOENCODING": "cp1252"}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"??.txt" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: no pseudo-terminals")
@pytest.mark.parametrize(("no_color", "term", "coloured"), [("", "xterm", True), ("1", "xterm", False), ("", "dumb", False)])
def test_no_color(tmp_path: Path, no_color: str, term: str, coloured: bool) -> None:
    """On a terminal an error is coloured, unless NO_COLOR says no, see https://no-color.org, or the terminal can show text only."""
    import pty

    ours, its = pty.openpty()
    command = [sys.executable, "-m", "worker", "ops", "nothing"]
    colors = {"NO_COLOR": no_color, "TERM": term}
    subprocess.run(command, cwd=tmp_path, env={**environment(), **colors}, stderr=its, check=False, timeout=END_S)
    said = os.read(ours, 10_000)
    os.close(its)
    os.close(ours)
    assert b"There is no operation" in said
    assert (b"\x1b[31m" in said) == coloured


@pytest.mark.skipif(sys.platform == "win32", reason="a console event cannot be sent to one process there")
@pytest.mark.parametrize("options", [("--no-journal",), ("--state", "state")])
def test_control_c_in_serve_says_what_it_waits_for(tmp_path: Path, importable: None, options: tuple[str, ...]) -> None:
    """The first says how many jobs it lets end and what a second one does; the second stops at once."""
    command = [sys.executable, "-m", "worker", "serve", "--port", "0", "--root", ".", "--workers", "1", *options]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    port = 0
    while not (line := process.stdout.readline()).startswith("Listening"):
        port = int(found[1]) if (found := re.search(r"commands\s+udp 127\.0\.0\.1:(\d+)", line)) else port
    worker = Worker(process, port, tmp_path, [])
    for _ in range(2):
        assert send(worker, "draw_circles", "output={n}.png", "count=100000", "width=16", "height=16", "--no-wait").returncode == 0
    process.send_signal(signal.SIGINT)
    first = process.stdout.readline()
    assert first.startswith("Ctrl-C: 1 running and 1 waiting jobs are being finished. A second Ctrl-C stops at once; unfinished jobs ")
    assert ("go on at the next start" in first) == (options[0] == "--state")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=END_S)
    assert rest.startswith("Ctrl-C again: 1 running and 1 waiting jobs are stopped;")
    assert rest.endswith("Stopped.\n")
    assert process.returncode == 0


#: What lies in the folders of projects. Python itself reads others, such as `types.py`, before any line of ours.
IN_THE_WAY = ("queue", "socket", "random", "cv2", "numpy", "json", "logging", "multiprocessing", "click", "sitecustomize", "usercustomize")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with such files. Afterwards none of them was imported."""
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    folder = tmp_path / "project"
    folder.mkdir()
    for name in IN_THE_WAY:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'imported.txt')!r}, 'a').write('{name} ')\nraise SystemExit('{name}.py')\n"
        )
    yield folder
    assert not (tmp_path / "imported.txt").exists()


def test_the_current_folder_is_not_imported_from(project: Path, importable: None) -> None:
    """As a person starts it there; and not by its child processes either, of which one has run a job."""
    for name in ("worker", "types", "typing"):
        (project / f"{name}.py").write_text((project / "queue.py").read_text())
    words = [str(Path(sys.executable).with_name("td-image-worker")), "serve", "--no-journal", "--port", "0", "--workers", "1"]
    process = subprocess.Popen(words, cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        announced = "".join(itertools.takewhile(lambda line: not line.startswith("Listening"), process.stdout))
        found = re.search(r"commands\s+udp 127\.0\.0\.1:(\d+)", announced)
        assert found is not None, announced
        with Line("127.0.0.1", int(found[1])) as line:
            job = Job("here", "draw_circles", (("output", "{n}.png"), ("count", 1)))
            ready = line.ask((Hello("test", 0, 0), job), lambda report: isinstance(report, Ready), END_S)
        assert ready is not None
    finally:
        process.terminate()
        process.communicate(timeout=END_S)


def test_nor_by_the_module(project: Path, importable: None) -> None:
    """Where the interpreter itself has put that folder first."""
    done = call("run", "write_text", "output=a.txt", "text=x", cwd=project)
    assert done.returncode == 0, done.stderr
