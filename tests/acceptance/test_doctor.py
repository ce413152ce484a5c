"""`doctor` against real workers and staged faults: each is named, with what to change."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port
from tests.reliability.running import REPOSITORY, start, wait_until_it_answers
from worker.cli.examination import here
from worker.network import endpoint
from worker.protocol import osc
from worker.protocol.messages import Number
from worker.service.loop import BYTES_PER_PACKET

posix = pytest.mark.skipif(os.name != "posix", reason="not on this system: no SIGSTOP")
linux = pytest.mark.skipif(sys.platform != "linux", reason="not on this system: needs a folder in which nobody may make a file")


class Desk:
    """A folder with a settings file, in which worker and doctor are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        self.port, self.text, self.number = free_port(), free_port(), free_port()
        self.settings = {"port": self.port, "text-port": self.text, "number-port": self.number, "root": [str(self.root)]}
        self.settings |= {"state": str(folder / "state"), "workers": 1}
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("TD_IMAGE_WORKER_")}
        self.environment["PYTHONPATH"] = str(REPOSITORY)

    @property
    def journal(self) -> Path:
        return self.folder / "state" / f"{self.port}.sqlite3"

    def write(self, **settings: object) -> None:
        """Writes the settings file."""
        lines = [f"{key.replace('_', '-')} = {json.dumps(value)}" for key, value in (self.settings | settings).items()]
        (self.folder / "td-image-worker.toml").write_text("\n".join(lines))

    def doctor(self, *options: str) -> tuple[int, str]:
        """Exit code, and what is said on both outputs."""
        command = [sys.executable, "-m", "worker", "doctor", *options]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=110, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout + done.stderr

    @contextlib.contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker with the settings of the file."""
        command = [sys.executable, "-m", "worker", "serve"]
        with (self.folder / "worker.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment | environment, stdout=log, stderr=log)
        try:
            wait_until_it_answers(self.port)
            yield process
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait(20)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.write()
    return desk


def broken(said: str) -> str:
    """The names of the broken steps."""
    return next((line for line in said.splitlines() if line.startswith("Broken: ")), "nothing")


def test_all_is_well(desk):
    """Each step is ok, nothing is left in the root, the settings are those of the file, and the worker sends no more to its ports."""
    with desk.worker():
        code, said = desk.doctor()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("", desk.text))
            listener.settimeout(1.3)  # there is a heartbeat each second
            with pytest.raises(TimeoutError):
                listener.recv(2000)
    assert code == 0, said
    marks = {line.split("\t")[0]: line.split("\t")[1] for line in said.splitlines() if line.count("\t") == 2}
    assert list(marks)[1:] == [
        "settings",
        "Python",
        "hello",
        "children",
        "job",
        "a file by the worker",
        f"text reports on {desk.text}",
        f"numbers on {desk.number}",
        f"root {desk.root}",
        "journal",
        "receive buffer",
        "sandbox",
    ]
    # What this system has of a sandbox is the kernel's business, and has tests of its own.
    assert set(list(marks.values())[1:-2]) == {"ok"}
    assert said.rstrip().endswith("The round trip works.")
    assert list(desk.root.iterdir()) == []


def test_a_worker_with_maps(desk):
    """It speaks of its files as their sender would; a question without its maps is answered with what is missing."""
    desk.write(map=[f"Q:/show={desk.root}"])
    with desk.worker():
        code, said = desk.doctor()
        assert code == 0, said
        assert f"a file by the worker\tok\twritten and read back below {desk.root}" in said
        desk.write()
        code, said = desk.doctor()
    assert code == 1
    assert broken(said) == "Broken: a file by the worker."
    assert "a file by the worker: give this command the settings of the worker: its --map, or its settings file." in said


def test_no_worker(desk):
    """It says so, and whether one could work here."""
    code, said = desk.doctor()
    assert code == 1
    assert broken(said) == "Broken: hello."
    assert f"nobody listens at 127.0.0.1:{desk.port}" in said
    assert "start the worker (`td-image-worker serve`)" in said
    assert "a child process\tok\tstarts, and has run a job" in said


def test_reports_to_another_port(desk):
    """The worker sends them where the doctor does not listen."""
    other = free_port()
    with desk.worker():
        code, said = desk.doctor("--text-port", str(other), "--number-port", "0")
    assert code == 1
    assert broken(said) == f"Broken: text reports on {other}."
    assert f"--report YOUR-ADDRESS:{other}" in said


@linux
def test_fault_1_root_that_cannot_be_written(desk):
    """/proc holds no files that we make; the worker cannot write there either."""
    desk.write(root=["/proc"])
    with desk.worker():
        code, said = desk.doctor()
    assert code == 1
    assert broken(said) == "Broken: a file by the worker, root /proc."
    assert "root /proc: make the folder and let the worker's user write there, or name another --root." in said


def test_fault_2_deleted_root(desk):
    """The worker runs, and its folder has gone since."""
    with desk.worker():
        shutil.rmtree(desk.root)
        code, said = desk.doctor()
        assert code == 1
        assert "there is no folder" in said
        assert "settings" in broken(said)
        (desk.folder / "td-image-worker.toml").write_text(f"port = {desk.port}\ntext-port = 0\nnumber-port = 0\n")
        code, said = desk.doctor()
    assert code == 1
    assert broken(said) == "Broken: a file by the worker."


def test_fault_3_full_disk(desk):
    """Less is free than must stay free: for the worker, and as the doctor looks itself."""
    desk.write(min_free_mb=2**40)
    with desk.worker():
        code, said = desk.doctor()
    assert code == 1
    assert broken(said) == f"Broken: a file by the worker, root {desk.root}."
    assert "MB must stay free" in said
    assert "--min-free-mb changes this limit" in said


def test_fault_4_wrong_report_host(desk):
    """A name that nobody knows, and a port where nobody listens."""
    closed = free_port()
    desk.write(report=["no.such.host.invalid:9461", f"127.0.0.1:{closed}"])
    with desk.worker():
        code, said = desk.doctor()
    assert code == 1
    assert broken(said) == f"Broken: reports to no.such.host.invalid:9461, reports to 127.0.0.1:{closed}."
    assert "the name no.such.host.invalid is not known here" in said
    assert f"an OSC In DAT with port {closed}" in said


def test_fault_5_another_workers_heartbeat(desk):
    """Numbers that come, but from another worker, prove nothing."""
    other_port = free_port()
    with desk.worker(TD_IMAGE_WORKER_NUMBER_PORT=str(free_port())):
        other = start(other_port, desk.root, "--no-journal", "--report-numbers", f"127.0.0.1:{desk.number}")
        try:
            wait_until_it_answers(other_port)
            code, said = desk.doctor()
        finally:
            other.terminate()
            other.wait(20)
    assert code == 1
    assert broken(said) == f"Broken: numbers on {desk.number}."
    assert f"only another worker's numbers come, from 127.0.0.1:{other_port} (boot " in said


def test_fault_6_small_receive_buffer(monkeypatch):
    """A note with the remedy, since a small one only costs time."""
    monkeypatch.setattr(endpoint, "_BUFFERS", ((socket.SO_RCVBUF, 16 * BYTES_PER_PACKET),))
    step = here.receive_buffer()
    assert step.mark == "note"
    assert "sudo sysctl -w net.core.rmem_max=4194304" in step.change


def test_fault_7_journal_is_damaged(desk):
    """It says what the next start would do, and what to do before."""
    with desk.worker():
        pass
    for file in desk.journal.parent.iterdir():
        file.unlink()
    desk.journal.write_bytes(b"SQLite format 3\0" + b"nonsense" * 1000)
    code, said = desk.doctor()
    assert code == 1
    assert "journal" in broken(said)
    assert f"{desk.journal} is damaged" in said
    assert "put it aside" in said


def test_fault_8_journal_is_locked(desk):
    """By another program than the worker that answers."""
    with desk.worker():
        pass
    with contextlib.closing(sqlite3.connect(desk.journal, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        code, said = desk.doctor()
    assert code == 1
    assert f"{desk.journal} is locked by another program" in said
    with contextlib.closing(sqlite3.connect(desk.journal, isolation_level=None)) as newer:
        newer.execute("PRAGMA user_version = 999")
    assert "has format 999; this version knows formats up to" in desk.doctor()[1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("prot = 1", "there is no setting 'prot'"), ("port =", "is not valid TOML"), ('root = ["C:\\show"]', "In TOML a back-slash")],
)
def test_fault_9_settings_file_is_wrong(desk, text, sentence):
    """It is one step of the table, and the others go on."""
    (desk.folder / "td-image-worker.toml").write_text(text)
    code, said = desk.doctor("--port", str(desk.port), "--text-port", "0", "--number-port", "0")
    assert code == 1
    assert broken(said) == "Broken: settings, hello."
    assert sentence in said


@posix
def test_fault_10_the_port_is_held(desk):
    """By whom: another program, or a worker that is stopped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", desk.port))
        code, said = desk.doctor()
    assert code == 1
    assert f"(process {os.getpid()}) holds the port and is no worker" in said
    with desk.worker() as process:
        os.kill(process.pid, signal.SIGSTOP)
        code, said = desk.doctor()
    assert code == 1
    assert f"the worker in process {process.pid} holds the port: it is stopped" in said
    assert f"kill -CONT {process.pid}" in said


def test_fault_11_opencv_cannot_be_imported(desk):
    """The last line of the traceback, and which Python it is; a child cannot start then, and is not tried."""
    packages = desk.folder / "packages"
    packages.mkdir()
    (packages / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    desk.environment["PYTHONPATH"] = f"{packages}{os.pathsep}{REPOSITORY}"
    code, said = desk.doctor()
    assert code == 1
    assert broken(said) == "Broken: Python, hello."
    assert f"{sys.executable} (" in said
    assert "ImportError: libGL.so.1: cannot open shared object file" in said


def test_an_old_python(monkeypatch):
    """It is named with its version."""
    monkeypatch.setattr(here.sys, "version_info", (3, 10, 4))
    step = here.python()
    assert (step.mark, step.change) == ("BROKEN", "the worker needs Python 3.11 or later.")


def test_fault_12_children_cannot_start(desk):
    """The worker answers, but no child of it ever worked."""
    packages = desk.folder / "packages"
    packages.mkdir()
    (packages / "cv2.py").write_text("raise ImportError('broken')")
    with desk.worker(PYTHONPATH=f"{packages}{os.pathsep}{REPOSITORY}"):
        code, said = desk.doctor()
    assert code == 1
    assert "children" in broken(said)
    assert "the worker says Starting: no child process can start (502 no-child)" in said


@posix
def test_children_that_hang(desk):
    """Doctor reports a child that does not end its job, and does not call it busy."""
    with desk.worker() as process:
        assert desk.doctor()[0] == 0
        for child in psutil.Process(process.pid).children(recursive=True):
            child.suspend()
        code, said = desk.doctor("--text-port", "0", "--number-port", "0")
    assert code == 1
    assert "job" in broken(said)
    assert "the child hangs" in said


def test_a_heartbeat_is_known_by_its_boot():
    """What the doctor relies on: a worker's numbers carry its boot in the same bundle as its beat."""
    bundle = osc.encode_bundle([Number("beat", 3.0), Number("boot", 77.0)])
    assert [report.value for report in osc.decode_reports(bundle) if report.name == "boot"] == [77.0]
