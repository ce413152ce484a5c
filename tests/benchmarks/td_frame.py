"""How long our code holds up a frame of TouchDesigner, on the fake, with a real worker. Run as `python -m tests.benchmarks.td_frame`.

A frame at 60 Hz is 16.7 ms; ours must stay below 2 ms of it. What is counted is the processor time of all scripts of a frame:
the component's callbacks, with the tables and sockets that they use. `submit` is the artist's own script, once.
"""

from __future__ import annotations

import gc
import pathlib
import sys
import tempfile
import time

from tests.td.conftest import TD, Project, Worker

LIMIT_MS = 2.0


class _Patch:
    """What Project wants of pytest's monkeypatch."""

    @staticmethod
    def setitem(mapping, key, value):
        mapping[key] = value


def measure(name, worker, begin, count):
    """Runs `begin`, then frames until `count` more jobs have ended; prints how long the slowest ones took."""
    project = Project(2025, worker, monkeypatch=_Patch)
    project.td.root.op("/project1").create("tableDAT", "table1")
    project.td.frames(120)  # hello and welcome
    gc.collect()
    del project.td.spent[:]
    started = time.thread_time()
    begin(project)
    submit = time.thread_time() - started
    pace(project, lambda: len(project.words()) >= count and set(project.words().values()) == {"Ready"})
    spent = sorted(seconds * 1000 for seconds in project.td.spent)
    middle, nearly_all, slowest = spent[len(spent) // 2], spent[int(len(spent) * 0.99)], spent[-1]
    print(f"{name:<42} {submit * 1000:6.2f} {middle:7.3f} {nearly_all:7.3f} {slowest:7.3f} {len(spent):7}")
    project.td.crash()
    return max(slowest, submit * 1000)


def pace(project, condition):
    """Frames at 60 Hz."""
    while not condition():
        started = time.monotonic()
        project.td.frame()
        time.sleep(max(0, 1 / 60 - (time.monotonic() - started)))


def submit_many(project, count):
    for _ in range(count):
        project.component.Submit("noop")


def main():
    with tempfile.TemporaryDirectory() as folder:
        root, state = pathlib.Path(folder, "root"), pathlib.Path(folder, "state")
        root.mkdir()
        state.mkdir()
        worker = Worker(root, state).start()
        print(f"{'milliseconds':<42} {'submit':>6} {'median':>7} {'99 %':>7} {'slowest':>7} {'frames':>7}")
        worst = 0.0
        for name in ("text_pyThreads", "text_pyThreads_openCV", "text_pyThreads_queue"):
            worst = max(worst, measure(name, worker, lambda project, name=name: project.run_script(TD / "examples" / f"{name}.py"), 1))
        measure("20 small jobs in one frame, 80 reports", worker, lambda project: submit_many(project, 20), 20)  # for information
        worker.stop()
    print(f"the limit is {LIMIT_MS} ms; the seed's examples took {worst:.2f} ms at most")
    return int(worst > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
