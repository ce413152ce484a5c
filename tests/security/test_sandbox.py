"""The sandbox of the children, tried from inside: each attempt is made in a real child of the pool, with the sandbox and without."""

from __future__ import annotations

import functools
import itertools
import os
import queue
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.examples import EXAMPLES, copy_data
from tests.polling import Polled
from worker.catalog.table import CATALOG
from worker.core.events import Finished
from worker.core.jobs import Failure, Phase, Plan, Result, Task
from worker.errors import Unavailable
from worker.executors import sandbox
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules

if sys.platform != "linux":
    pytest.skip("not on this system: Landlock and seccomp are Linux's", allow_module_level=True)

from tests.security import taken_over

PATIENCE_S = 60.0
OFFER = sandbox.offer()
whole = pytest.mark.skipif(not (OFFER.landlock >= 6 and OFFER.seccomp), reason=f"this kernel offers less: {OFFER}")


class Pool:
    """One child, and its outcomes."""

    def __init__(self, root, outside, *, confined):
        rules = FileRules((root,), (root.parent / "read",)).pinned()
        make = functools.partial(taken_over.make_run_task, rules, outside, confined=confined)
        self._told = queue.SimpleQueue()
        self._ids = itertools.count(1)
        self._pool = Polled(PoolExecutor(1, make, spares=0))
        self._pool.start(lambda event: self._told.put(event.outcome) if isinstance(event, Finished) else None)

    def run(self, operation, phase=Phase.PLAN, part=None, joined=None, **values):
        params, _ = CATALOG.parse_job(operation, values.items())
        more = {} if joined is None else {"joined": joined}
        self._pool.execute(Task(next(self._ids), operation, params, phase, part=part, **more))
        return self._told.get(timeout=PATIENCE_S)

    def job(self, operation, **values):
        """All phases of it."""
        outcome = self.run(operation, **values)
        if not isinstance(outcome, Plan):
            return outcome
        result = outcome.base
        for part in outcome.parts:
            done = self.run(operation, Phase.PART, part, **values)
            if isinstance(done, Failure):
                return done
            result = result.joined(done)
        return result.joined(self.run(operation, Phase.FINISH, joined=result, **values)) if outcome.finish else result

    def attempt(self, name):
        return self.run("write_text", output="a.txt", text=name).message

    @property
    def pid(self):
        (pid,) = self._pool.pids
        return pid

    def close(self):
        self._pool.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A root, a folder to read, and a folder outside."""
    top = tmp_path_factory.mktemp("top").resolve()
    for name in ("root", "read", "outside"):
        (top / name).mkdir()
    picture = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(picture, (90, 110), 40, (200, 180, 40), -1)
    cv2.putText(picture, "walls", (10, 190), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 2)
    picture ^= np.random.default_rng(1).integers(0, 32, picture.shape, np.uint8)
    for folder in ("root", "read"):
        cv2.imwrite(str(top / folder / "a.png"), picture)
        cv2.imwrite(str(top / folder / "b.png"), np.roll(picture, (3, 5), (0, 1)))
    (top / "outside" / "secret.txt").write_text("secret")
    (top / "root" / "link.txt").symlink_to(top / "outside" / "secret.txt")
    return top


@pytest.fixture(autouse=True)
def outside(place):
    """As it was, before each test."""
    for name in ("evil.txt", "new.txt"):
        (place / "outside" / name).unlink(missing_ok=True)
    (place / "outside" / "old.txt").write_text("old")
    (place / "root" / "a.txt").write_text("a")


@pytest.fixture(scope="module")
def closed_in(place):
    pool = Pool(place / "root", place / "outside", confined=True)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def free(place):
    pool = Pool(place / "root", place / "outside", confined=False)
    yield pool
    pool.close()


REFUSED = sorted(taken_over.ATTEMPTS.keys() - taken_over.ALLOWED.keys())


@whole
@pytest.mark.parametrize("name", REFUSED)
def test_refused(closed_in, name):
    """What somebody tries who has taken over a child is refused by the kernel."""
    assert closed_in.attempt(name) == "PermissionError"


@pytest.mark.parametrize(
    "name", ["write outside", "read outside", "open a UDP socket", "run a program", "signal to the parent", "fork", "raise its own limit"]
)
def test_without(free, name):
    """The attempts work in a child without the sandbox; otherwise the test above would show nothing."""
    assert free.attempt(name) == taken_over.WORKS


@pytest.mark.parametrize("name", sorted(taken_over.ALLOWED))
def test_allowed(closed_in, name):
    """What the worker and its libraries do goes on."""
    assert closed_in.attempt(name) == taken_over.WORKS


@whole
def test_every_thread(closed_in):
    """No thread of a child stands outside."""
    closed_in.run("find_circles", image="a.png")
    threads = list(Path(f"/proc/{closed_in.pid}/task").iterdir())
    for thread in threads:
        status = dict(line.split(":\t", 1) for line in (thread / "status").read_text().splitlines() if ":\t" in line)
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")


def test_ended_first(closed_in):
    """If memory runs out, Linux ends a child before its parent."""
    child, parent = (int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in (closed_in.pid, os.getpid()))
    assert child > parent


@pytest.mark.parametrize("operation", sorted(EXAMPLES))
def test_every_operation_works(tmp_path, operation):
    """What the walls leave open is enough for each operation, with its example on real pictures, and for every format."""
    root = (tmp_path / "root").resolve()
    root.mkdir()
    (tmp_path / "read").mkdir()
    copy_data(root)
    EXAMPLES[operation].prepare(root)
    pool = Pool(root, tmp_path, confined=True)
    try:
        outcome = pool.job(operation, **EXAMPLES[operation].pairs)
    finally:
        pool.close()
    if isinstance(outcome, Failure) and outcome.code == Unavailable.code:
        pytest.skip(f"not on this system: {outcome.message}")
    assert isinstance(outcome, Result), outcome
    assert all((root / file.path).exists() for file in outcome.files)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif", "bmp", "jp2", "gif", "ppm"])
def test_every_format_works(closed_in, place, ending):
    """Decoders and encoders find what they load late; a picture in a read root can be read."""
    if not cv2.haveImageWriter(f".{ending}"):
        pytest.skip(f"not on this system: this build of OpenCV writes no {ending}")
    source = f"deep/er/{ending}.{ending}"
    first = closed_in.job("convert", image=(place / "read" / "a.png").as_posix(), output=source)
    assert isinstance(first, Result), first
    assert isinstance(closed_in.job("convert", image=source, output=f"back-{ending}.png"), Result)


@whole
def test_a_read_root_is_not_written(closed_in, place):
    """Not even if the worker's own check were gone: the same file that was read above."""
    assert closed_in.attempt("write into a read root") == "PermissionError"
    assert (place / "read" / "a.png").stat().st_size > 100


def test_not_asked_for(free):
    """--sandbox off leaves a child as it was."""
    assert "Seccomp:\t0" in Path(f"/proc/{free.pid}/status").read_text()


def test_another_thread_is_a_mistake():
    """Landlock would leave it out, so the process is not closed in, and a child would not start."""
    done = subprocess.run(
        [sys.executable, "-c", _WITH_A_THREAD],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert "Landlock would leave out 1 threads" in done.stdout


_WITH_A_THREAD = """
import threading
from worker.executors import sandbox
wait = threading.Event()
threading.Thread(target=wait.wait).start()
try:
    sandbox.confine(sandbox.Reach(()))
except sandbox.CannotConfine as error:
    print(error.message)
wait.set()
"""


def test_needs():
    """A row of the catalogue that needs the network leaves sockets open, and nothing else."""
    closed, open_ = (sandbox._filter(0, 1, 2, needs) for needs in (frozenset(), frozenset({sandbox.NETWORK})))
    assert set(closed) - set(open_) == {(0x15, 0, 1, numbers[0]) for numbers in sandbox._REFUSED_NETWORK.values()}
