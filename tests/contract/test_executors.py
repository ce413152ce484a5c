"""What the service expects of an executor, held by every one of them; then what only child processes can do wrong."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import queue
import signal
import subprocess
import sys
import time
from collections import Counter
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import psutil
import pytest

from tests.contract import bestiary
from tests.contract.cluster import VERSION, Cluster
from tests.inline import InlineExecutor
from tests.polling import Polled
from tests.reliability import namespaces
from worker.catalog.noop import Noop
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Result, Task
from worker.executors import framing
from worker.executors import pool as pool_module
from worker.executors.cluster import ClusterExecutor
from worker.executors.keeper import Keeper
from worker.executors.pool import PoolExecutor

#: Long enough for the slowest machine; nothing waits for it unless something is wrong.
LONG_S = 60.0
ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="not on this system: reads /proc")


class Bench:
    """An executor at work, and what it has delivered."""

    def __init__(self, executor):
        self.executor = Polled(executor)
        self.inbox = queue.SimpleQueue()
        self.outcomes = {}
        self.finished = Counter()
        self.progress = {}
        self.changes = []
        self.executor.start(self.inbox.put)

    def execute(self, *operations):
        """Executes tasks numbered on from the last one; returns their numbers."""
        first = max(self.finished, default=0) + 1
        numbers = range(first, first + len(operations))
        for number, operation in zip(numbers, operations, strict=True):
            self.finished[number] = 0
            self.executor.execute(Task(number, operation, Noop()))
        return list(numbers)

    def outcomes_of(self, numbers):
        """Waits until all these tasks have finished."""
        deadline = time.monotonic() + LONG_S
        while any(number not in self.outcomes for number in numbers):
            self._take(deadline - time.monotonic())
        return [self.outcomes[number] for number in numbers]

    def _take(self, timeout):
        match self.inbox.get(timeout=timeout):
            case Finished(number, outcome):
                self.finished[number] += 1
                self.outcomes[number] = outcome
            case Progressed(number, done):
                self.progress.setdefault(number, []).append(done)
            case ChildrenChanged() as change:
                self.changes.append(change)

    def events(self):
        """How the children have changed so far."""
        self.all_that_came()
        return self.changes

    def all_that_came(self):
        while not self.inbox.empty():
            self._take(0)


def children():
    """The processes that this one has started, but for the helper that multiprocessing keeps until the end, and those of the cluster."""
    alive = []
    for process in psutil.Process().children():
        command = " ".join(process.cmdline() or ["resource_tracker"])
        if "resource_tracker" not in command and "tests.contract.cluster" not in command:
            alive += [process, *process.children(recursive=True)]
    return alive


def wait_for(condition):
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two nodes, for all tests of this file."""
    made = Cluster(tmp_path_factory.mktemp("cluster") / "cluster.log")
    yield made
    made.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The same, and each node has an address of its own in a network namespace."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    with namespaces.machines(2) as machines:
        made = Cluster(tmp_path_factory.mktemp("network") / "cluster.log", machines=machines)
        yield made
        made.close()


@pytest.fixture(params=["pool", "inline", "cluster", "network"])
def bench(request):
    if request.param in ("cluster", "network"):
        pytest.importorskip("distributed", reason="not in this environment: Dask distributed")
        cluster = request.getfixturevalue(request.param)
        yield from _closed(Bench(ClusterExecutor(cluster.address, version=VERSION)))
        return
    executor = PoolExecutor(2, bestiary.make_run_task) if request.param == "pool" else InlineExecutor(bestiary.run_task)
    yield from _closed(Bench(executor))


@pytest.fixture
def pool():
    yield from _closed(Bench(PoolExecutor(2, bestiary.make_run_task)))


@pytest.fixture
def small_pool():
    """One child and no spare, so that whatever it does wrong, the next task feels it."""
    yield from _closed(Bench(PoolExecutor(1, bestiary.make_run_task, spares=0)))


def _closed(bench):
    yield bench
    bench.executor.close()
    bench.all_that_came()
    assert [number for number, times in bench.finished.items() if times != 1] == []
    assert children() == []


# ----------------------------------------------------------------------------------------------------- all executors


def test_outcome(bench):
    """A task's outcome comes back."""
    (outcome,) = bench.outcomes_of(bench.execute("works:a.png"))
    assert outcome.files[0].path == "a.png"


def test_many(bench):
    """Each of many tasks finishes, with its own outcome."""
    numbers = bench.execute(*[f"works:{n}" for n in range(500)])
    assert [outcome.files[0].path for outcome in bench.outcomes_of(numbers)] == [str(n) for n in range(500)]


def test_progress(bench):
    """Progress comes in order, and before the end."""
    bench.outcomes_of(bench.execute("works_slowly:a"))
    assert bench.progress[1] == sorted(bench.progress[1])
    assert bench.progress[1]


def test_large_outcome(bench):
    """An outcome may be larger than any pipe's buffer."""
    (outcome,) = bench.outcomes_of(bench.execute("gives_much:200000"))
    assert len(outcome.rows) == 200_000


def test_abort_of_what_has_ended(bench):
    """Aborting a task that has ended, or that never was, is no error and harms no other."""
    (first,) = bench.execute("works:a")
    bench.outcomes_of([first])
    bench.executor.abort(first)
    bench.executor.abort(99)
    assert isinstance(bench.outcomes_of(bench.execute("works:b"))[0], Result)


def test_close_without_work(bench):
    """An executor that never ran anything closes and leaves no child; closing it again is no error."""
    bench.executor.close()
    bench.executor.close()


# ----------------------------------------------------------------------------------------------------- child processes


@pytest.mark.parametrize(
    "beast",
    [
        pytest.param("segfaults", marks=POSIX),
        pytest.param("is_killed", marks=POSIX),
        "exits:0",
        "exits:3",
        "exits_in_python:0",
        "returns_a_lambda",
        "returns_poison",
        "raises",
        "recurses",
        pytest.param("closes_everything", marks=POSIX),
        pytest.param("allocates_without_end", marks=LINUX),
    ],
)
def test_beast(small_pool, beast):
    """Whatever a task does to its child, it fails alone, and those behind it in the same queue do not notice."""
    numbers = small_pool.execute("works:before", beast, *[f"works:{n}" for n in range(20)])
    before, failure, *after = small_pool.outcomes_of(numbers)
    assert isinstance(failure, Failure)
    assert failure.code >= 500
    assert failure.message
    assert [outcome.files[0].path for outcome in (before, *after)] == ["before", *map(str, range(20))]


def test_neighbours(pool):
    """A task that kills its child leaves the one beside it alone."""
    slow, *rest = pool.execute("works_slowly:slow", "exits:1", "exits:2", "returns_poison", "works:after")
    assert isinstance(pool.outcomes_of([slow])[0], Result)
    assert [type(outcome) for outcome in pool.outcomes_of(rest)] == [Failure, Failure, Failure, Result]


@pytest.mark.parametrize("noise", ["prints_much", "tells_much"])
def test_noise(pool, noise):
    """A task that prints 100 MB, or tells its progress 200,000 times, works."""
    assert isinstance(pool.outcomes_of(pool.execute(f"{noise}:a"))[0], Result)


@POSIX
@pytest.mark.parametrize("beast", ["sleeps_in_native_code", "ignores_termination"])
def test_abort(small_pool, tmp_path, beast):
    """An abort ends a task that hears nothing, and the next one runs."""
    marker = tmp_path / "running"
    stuck, waiting = small_pool.execute(f"{beast}:{marker}", "works:next")
    wait_for(marker.exists)
    small_pool.executor.abort(stuck)
    outcome, following = small_pool.outcomes_of([stuck, waiting])
    assert (outcome.code, outcome.word) == (502, "child")
    assert following.files[0].path == "next"


@POSIX
def test_abort_of_a_waiting_task(small_pool, tmp_path):
    """A task that has not begun is taken out of the queue."""
    marker, never = tmp_path / "running", tmp_path / "never"
    stuck, waiting = small_pool.execute(f"sleeps_in_native_code:{marker}", f"ignores_termination:{never}")
    wait_for(marker.exists)
    small_pool.executor.abort(waiting)
    assert isinstance(small_pool.outcomes_of([waiting])[0], Failure)
    small_pool.executor.abort(stuck)
    small_pool.outcomes_of([stuck])
    assert not never.exists()


def test_aborts_at_the_last_moment(pool):
    """An abort that comes just as its task ends harms no other task: each finishes once, and the innocent ones well."""
    for _ in range(30):
        victim, *others = pool.execute("works:victim", "works:a", "works:b", "works:c")
        pool.executor.abort(victim)
        assert all(isinstance(outcome, Result) for outcome in pool.outcomes_of([victim, *others])[1:])


def test_idle_children_are_killed(pool):
    """Children that die while they have nothing to do are replaced, and the tasks after that run."""
    pool.outcomes_of(pool.execute("works:a"))
    wait_for(lambda: len(pool.executor.pids) == 3)
    before = pool.executor.pids
    for pid in before:
        psutil.Process(pid).kill()
    wait_for(lambda: not set(before) & set(pool.executor.pids))
    outcomes = pool.outcomes_of(pool.execute(*[f"works:{n}" for n in range(10)]))
    assert all(isinstance(outcome, Result) for outcome in outcomes)
    wait_for(lambda: len(pool.executor.pids) == 3)


def test_killed_before_it_began(pool):
    """Tasks that are given to children which have just been killed are no reason for it: the next children run them."""
    pool.outcomes_of(pool.execute("works:a"))
    wait_for(lambda: len(pool.executor.pids) == 3)
    for _ in range(3):
        numbers = []

        def kill_and_execute(numbers=numbers):
            for pid in pool.executor.pids:
                psutil.Process(pid).kill()
            first = max(pool.finished) + 1
            for number in range(first, first + 3):
                pool.finished[number] = 0
                numbers.append(number)
                pool.executor.inner.execute(Task(number, "works:b", Noop()))

        pool.executor.call(kill_and_execute)
        wait_for(lambda numbers=numbers: len(numbers) == 3)
        assert all(isinstance(outcome, Result) for outcome in pool.outcomes_of(numbers))
        wait_for(lambda: len(pool.executor.pids) == 3)


@POSIX
def test_stopped_children(monkeypatch):
    """An idle child that was stopped is replaced; a task that was given to it runs in another."""
    monkeypatch.setattr(pool_module, "LOOK_EVERY_S", 0.5)
    bench = Bench(PoolExecutor(1, bestiary.make_run_task))
    wait_for(lambda: len(bench.executor.pids) == 2)
    before = bench.executor.pids
    for pid in before:
        psutil.Process(pid).suspend()
    (outcome,) = bench.outcomes_of(bench.execute("works:a"))
    assert outcome.files[0].size_bytes not in before
    wait_for(lambda: len(bench.executor.pids) == 2 and not set(before) & set(bench.executor.pids))
    bench.executor.close()
    assert children() == []


@POSIX
def test_a_child_that_works_for_long_shows_it(monkeypatch, tmp_path):
    """A task that reports no progress counts as going on while its child uses the processor, and no longer once the child hangs."""
    monkeypatch.setattr(pool_module, "LOOK_EVERY_S", 0.1)
    marker = tmp_path / "go"

    def progress():
        bench.all_that_came()
        return bench.progress.get(number, [])

    bench = Bench(PoolExecutor(1, bestiary.make_run_task, spares=0))
    with contextlib.closing(bench.executor):
        (number,) = bench.execute(f"works_until:{marker}")
        wait_for(lambda: len(progress()) > 1)
        hung = psutil.Process(int(marker.with_name("go.begun").read_text()))
        hung.suspend()
        wait_for(lambda: hung.status() == psutil.STATUS_STOPPED)
        time.sleep(0.3)  # a look that came before it stopped may tell what it did until then
        before = list(progress())
        time.sleep(0.5)
        assert progress() == before
        assert set(before) == {0}
        marker.touch()
        hung.resume()
        assert isinstance(bench.outcomes_of([number])[0], Result)


@POSIX
def test_stopped_in_the_middle_of_an_outcome(pool, tmp_path):
    """A child that stops with half a large outcome sent keeps no other task waiting; when it goes on, its outcome is whole."""
    marker = tmp_path / "pid"
    (large,) = pool.execute(f"stops_while_it_answers:{marker}:3000000")
    wait_for(lambda: marker.exists() and marker.read_text())
    stopped = psutil.Process(int(marker.read_text()))
    wait_for(lambda: stopped.status() == psutil.STATUS_STOPPED)
    for _ in range(50):
        (outcome,) = pool.outcomes_of(pool.execute("works:b"))
        assert isinstance(outcome, Result)
    assert large not in pool.outcomes
    stopped.resume()
    (outcome,) = pool.outcomes_of([large])
    assert len(outcome.rows) == 3_000_000


def test_a_task_larger_than_any_buffer(pool):
    """A task of 20 MB reaches its child whole, and others run meanwhile."""
    rows = tuple((n, n + 0.5) for n in range(1_000_000))
    joined = Result("circles", ("n", "x"), rows)
    pool.finished |= {1: 0, 2: 0}
    pool.executor.execute(Task(1, "gives_back", Noop(), joined=joined))
    pool.executor.execute(Task(2, "works:b", Noop()))
    large, _ = pool.outcomes_of([1, 2])
    assert large == joined
    assert [type(value) for value in large.rows[7]] == [int, float]


@POSIX
def test_killed_with_half_a_task(pool):
    """Children that die while a large task is still being sent to them: it is given to the next ones, and nothing else happens."""
    wait_for(lambda: len(pool.executor.pids) == 3)
    stopped = [psutil.Process(pid) for pid in pool.executor.pids]
    for one in stopped:
        one.suspend()
    joined = Result("circles", ("n",), tuple((n,) for n in range(300_000)))
    pool.finished[1] = 0
    pool.executor.execute(Task(1, "gives_back", Noop(), joined=joined))
    wait_for(lambda: any(state == "works" for _, state, _ in pool.executor.inner.seen()))
    for one in stopped:
        one.kill()
    (outcome,) = pool.outcomes_of([1])
    assert outcome == joined


class _Evil:
    def __reduce__(self):
        return os.system, (f"touch {_Evil.marker}",)


@pytest.mark.parametrize(
    "said",
    [
        b"\x01\0\0\0\xc1",  # no msgpack
        b"\xff\xff\xff\xff",  # 4 GB
        framing.frame(framing.Done(99)),  # of a task that it does not have
        framing.frame(framing.Found(1, Result("circles", ("x", "y"), ((1.0,),)))),
        framing.frame(framing.Found(1, Result("/worker/quit", ("x",), ((1.0,),)))),
        framing.frame(framing.Described(1, ())),
    ],
    ids=["noise", "size", "other", "columns", "kind", "description"],
)
def test_child_that_was_taken_over(small_pool, said):
    """A child that says what no child says is ended, its task fails, and the next one runs."""
    lied, following = small_pool.execute(f"speaks_for_itself:{said.hex()}", "works:b")
    outcome, after = small_pool.outcomes_of([lied, following])
    assert (outcome.code, outcome.word) == (502, "result")
    assert isinstance(after, Result)


def test_parent_unpickles_nothing(small_pool, tmp_path):
    """The parent unpickles nothing, so the code in a pickle never runs there."""
    _Evil.marker = tmp_path / "owned"
    poison = ForkingPickler.dumps((1, _Evil())).tobytes()
    lied, following = small_pool.execute(f"speaks_for_itself:{(len(poison).to_bytes(4, 'little') + poison).hex()}", "works:b")
    assert small_pool.outcomes_of([lied, following])[0].code == 502
    assert not _Evil.marker.exists()


def test_starts_fail_for_a_while(monkeypatch, caplog):
    """No handles, no threads: whatever starting a child meets, it is tried again, and the work goes on. The keeper lives on."""
    monkeypatch.setattr(pool_module, "START_AGAIN_S", 0.05)
    errors = [OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start new thread"), MemoryError()]
    whole = Keeper._child

    def failing(keeper):
        if errors and keeper._links:
            raise errors.pop(0)
        return whole(keeper)

    monkeypatch.setattr(Keeper, "_child", failing)
    bench = Bench(PoolExecutor(2, bestiary.make_run_task, spares=0))
    wait_for(lambda: len(bench.executor.pids) == 2)
    assert errors == []
    assert "Too many open files" in caplog.text
    assert all(isinstance(outcome, Result) for outcome in bench.outcomes_of(bench.execute("works:a", "works:b")))
    bench.executor.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_keeper_does_not_end_unseen(monkeypatch):
    """If the thread that starts children ends all the same, the process ends with an error, which a supervisor sees."""

    def ended(_keeper, _started, _failed):
        raise SystemExit

    monkeypatch.setattr(Keeper, "_begin", ended)
    bench = Bench(PoolExecutor(1, bestiary.make_run_task))
    wait_for(lambda: bench.executor.error is not None)
    with pytest.raises(pool_module.KeeperEnded):
        bench.executor.close()


def test_begun_before_start():
    """The first child can be started before the loop is there; it is that one that runs the first task."""
    pool = PoolExecutor(1, bestiary.make_run_task, spares=0)
    pool.begin()
    wait_for(children)
    (early,) = children()
    bench = Bench(pool)
    (outcome,) = bench.outcomes_of(bench.execute("works:a"))
    assert outcome.files[0].size_bytes == early.pid
    assert len(children()) == 1
    bench.executor.close()
    assert children() == []


def test_begun_and_never_started():
    """A worker that does not get as far as its loop leaves no child behind."""
    pool = PoolExecutor(1, bestiary.make_run_task)
    pool.begin()
    wait_for(children)
    pool.close()
    pool.close()
    assert children() == []


def test_first_child_alone(monkeypatch):
    """At the start one child is warmed up alone, so that it is ready sooner; then the others."""
    begun = []
    whole = Keeper.begin
    bench = Bench(PoolExecutor(3, bestiary.make_run_task))
    monkeypatch.setattr(Keeper, "begin", lambda keeper, *calls: begun.append(len(bench.executor.pids)) or whole(keeper, *calls))
    wait_for(lambda: len(bench.executor.pids) == 4)
    assert begun[:3] == [1, 1, 1]
    bench.executor.close()


@POSIX
def test_patient(tmp_path):
    """In a show a spare that died is replaced when no task runs; a child that serves is replaced at once."""
    bench = Bench(PoolExecutor(1, bestiary.make_run_task, patient=True))
    wait_for(lambda: len(bench.executor.pids) == 2)
    slow, marker = tmp_path / "slow", tmp_path / "native"
    (first,) = bench.execute(f"works_until:{slow}")
    wait_for(lambda: Path(f"{slow}.begun").exists())
    busy = int(Path(f"{slow}.begun").read_text())
    (spare,) = set(bench.executor.pids) - {busy}
    psutil.Process(spare).kill()
    wait_for(lambda: not psutil.pid_exists(spare))
    time.sleep(0.5)
    assert bench.executor.pids == (busy,)
    slow.touch()
    assert isinstance(bench.outcomes_of([first])[0], Result)
    wait_for(lambda: len(bench.executor.pids) == 2)
    (second,) = bench.execute(f"sleeps_in_native_code:{marker}")
    wait_for(marker.exists)
    for pid in bench.executor.pids:
        psutil.Process(pid).kill()
    assert bench.outcomes_of([second])[0].code == 502
    assert isinstance(bench.outcomes_of(bench.execute("works:a"))[0], Result)
    bench.executor.close()


def test_whole_again(pool):
    """After a row of deaths all children are there again, spare included."""
    pool.outcomes_of(pool.execute(*["exits:1"] * 6))
    wait_for(lambda: len(pool.executor.pids) == 3)
    assert len(children()) == 3


def test_one_task_at_a_time(pool):
    """A child is not given a second task before the first one is done."""
    outcomes = pool.outcomes_of(pool.execute(*[f"works_slowly:{n}" for n in range(6)]))
    assert len({outcome.files[0].size_bytes for outcome in outcomes}) <= 3


@pytest.mark.parametrize("make", [bestiary.make_run_task_that_fails, bestiary.make_run_task_that_exits])
def test_children_that_cannot_start(make):
    """Where no child can start, a task is told so and does not wait for ever; closing works."""
    bench = Bench(PoolExecutor(1, make, spares=0))
    (outcome,) = bench.outcomes_of(bench.execute("works:a"))
    assert outcome.code == 502
    bench.executor.close()
    assert children() == []


def test_crash_loop(tmp_path, monkeypatch, caplog):
    """While no child can start: growing pauses up to a maximum, one attempt at a time, one traceback; then all children are there."""
    monkeypatch.setattr(pool_module, "START_AGAIN_S", 0.05)
    monkeypatch.setattr(pool_module, "START_AGAIN_MAX_S", 0.2)
    marker = tmp_path / "now"
    caplog.set_level("INFO", pool_module.__name__)
    bench = Bench(PoolExecutor(3, functools.partial(bestiary.make_run_task_after, str(marker))))
    attempts = [0.05, 0.1, 0.2, 0.2, 0.2]
    wait_for(lambda: len(caplog.records) >= len(attempts))
    assert [record.args[2] for record in caplog.records[:5]] == attempts
    assert [record.args[1] for record in caplog.records[:5]] == [1, 2, 3, 4, 5]
    assert caplog.text.count("Traceback (most recent call last)") == 1
    assert "cannot start: RuntimeError: This child cannot start yet.; attempt 5" in caplog.text
    assert ChildrenChanged(working=True) not in bench.events()
    assert len(children()) <= 1
    (outcome,) = bench.outcomes_of(bench.execute("works:too early"))
    assert outcome.code == 502
    marker.touch()
    wait_for(lambda: len(bench.executor.pids) == 4)
    assert isinstance(bench.outcomes_of(bench.execute("works:b"))[0], Result)
    assert bench.changes == [ChildrenChanged(working=True)]
    assert "a child process works, after " in caplog.text
    marker.unlink()
    for pid in bench.executor.pids:
        psutil.Process(pid).kill()
    wait_for(lambda: ChildrenChanged(working=False) in bench.events())
    bench.executor.close()
    assert children() == []


@POSIX
def test_close_in_the_middle(tmp_path):
    """Closing ends children that hear nothing, and finishes every task."""
    bench = Bench(PoolExecutor(2, bestiary.make_run_task, spares=0))
    markers = [tmp_path / "a", tmp_path / "b"]
    numbers = bench.execute(f"sleeps_in_native_code:{markers[0]}", f"ignores_termination:{markers[1]}", "works:never")
    wait_for(lambda: all(marker.exists() for marker in markers))
    bench.executor.close()
    assert all(isinstance(outcome, Failure) for outcome in bench.outcomes_of(numbers))
    assert children() == []
    assert set(bench.finished.values()) == {1}


def test_close_while_starting():
    """Closing at once, before any child is warm, leaves none behind."""
    bench = Bench(PoolExecutor(3, bestiary.make_run_task))
    bench.executor.close()
    assert children() == []


_PARENT = """
import sys, time
from pathlib import Path
from tests.contract import bestiary
from tests.polling import Polled
from tests.reliability import namespaces
from worker.catalog.noop import Noop
from worker.executors.keeper import Keeper
from worker.executors.pool import PoolExecutor
from worker.core.jobs import Task

if __name__ == "__main__":
    pool = Polled(PoolExecutor(2, bestiary.make_run_task))
    pool.start(lambda event: None)
    pool.execute(Task(1, f"sleeps_in_native_code:{sys.argv[1]}", Noop()))
    while not (Path(sys.argv[1]).exists() and len(pool.pids) == 3):
        time.sleep(0.01)
    print(*pool.pids, flush=True)
    time.sleep(1000)
"""


@POSIX
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM"])
def test_parent_is_killed(tmp_path, number):
    """No child outlives its parent, not even when that is killed and the child never leaves native code."""
    if number == "SIGKILL" and sys.platform != "linux":
        pytest.skip("not on this system: only Linux ends a child that never leaves native code together with its parent")
    script = tmp_path / "parent.py"
    script.write_text(_PARENT, encoding="utf-8")
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "running")], stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        processes = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(processes) == 3
        parent.send_signal(getattr(signal, number))
        parent.wait(LONG_S)
    _, alive = psutil.wait_procs(processes, LONG_S)
    assert alive == []
