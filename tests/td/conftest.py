"""A fake TouchDesigner with the component built, and real workers on free ports."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import runpy
import signal
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))  # `tests.td.fake` under plain `pytest`, too

from tests.ports import free_port  # noqa: E402
from tests.td.fake import TouchDesigner  # noqa: E402

TD = REPOSITORY / "td"


def load(name):
    """A file of td/ that needs nothing of TouchDesigner, as a module under a name of its own."""
    spec = importlib.util.spec_from_file_location("td_" + name, TD / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Worker:
    """A real `serve` on a port of its own. Started and stopped as often as the test wants, with the same journal."""

    def __init__(self, root, state):
        self.port = free_port()
        self.text_port, self.number_port = free_port(), free_port()  # of those who never say hello
        self.root, self.state = root, state
        self.log = state / "worker.log"
        self._process = None

    def options(self):
        return ["--state", str(self.state), "--workers", "2", "--nice", "0"]

    def start(self):
        ports = ["--port", str(self.port), "--text-port", str(self.text_port), "--number-port", str(self.number_port)]
        command = [sys.executable, "-m", "worker", "serve", *ports, "--root", str(self.root), *self.options()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=log, start_new_session=True, text=True)
        for line in self._process.stdout:
            if line.startswith("Listening"):
                return self
        raise AssertionError("the worker did not start: " + self.log.read_text())

    def kill(self):
        """As a crash does, with its children."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._ended()

    def stop(self):
        """It finishes what it has accepted."""
        self._process.terminate()
        self._ended()

    def _ended(self):
        self._process.wait(20)
        self._process.stdout.close()
        self._process = None


@pytest.fixture
def worker(tmp_path):
    root, state = tmp_path / "root", tmp_path / "state"
    root.mkdir()
    state.mkdir()
    made = Worker(root, state)
    yield made
    made.kill()


class Project:
    """A TouchDesigner with the component in /project1, whose ports fit the worker."""

    def __init__(self, year, worker=None, *, text_port=None, number_port=None, folder=REPOSITORY, monkeypatch=None):
        self.td = TouchDesigner(year, folder)
        self.network = self.td.root.create("baseCOMP", "project1")
        self.component = self.build(monkeypatch)
        par = self.component.par
        par.Port = worker.port if worker else free_port()
        par.Textport = text_port or (worker.text_port if worker else free_port())
        par.Numberport = number_port or (worker.number_port if worker else free_port())
        self.td.frame()  # the OSC In DAT listens at its port from here on

    def build(self, monkeypatch):
        """Runs the builder as the Textport does."""
        monkeypatch.setitem(sys.modules, "td", self.td.td)
        runpy.run_path(str(TD / "build.py"), run_name="__main__")
        self.td.frame()  # the extension is made anew with the next frame
        return self.network.op("ImageWorker")

    def table(self, name):
        return self.component.op(name)

    def words(self):
        """The word of each job, by its id."""
        jobs = self.table("jobs")
        return {jobs[row, "id"].val: jobs[row, "word"].val for row in range(1, jobs.numRows)}

    def watch_words(self):
        """Every word that any job has had, in order."""
        seen = []
        tables = self.component.ext.ImageWorkerExt._tables
        show_job = tables.show_job

        def spy(job, word):
            show_job(job, word)
            if not seen or seen[-1] != (job.id, word):
                seen.append((job.id, word))

        tables.show_job = spy
        return seen

    def run_script(self, path):
        """Runs a script as a Text DAT beside the component does."""
        dat = self.network.create("textDAT", path.stem)
        dat.text = path.read_text(encoding="utf-8")
        dat.run()
        return dat


@pytest.fixture
def projects(monkeypatch):
    """Makes projects, and closes their ports in the end. Nothing may have gone wrong in TouchDesigner's own eyes."""
    made = []

    def make(year=2025, worker=None, **options):
        made.append(Project(year, worker, monkeypatch=monkeypatch, **options))
        return made[-1]

    yield make
    for project in made:
        project.td.crash()
    assert [error for project in made for error in project.td.errors] == []
