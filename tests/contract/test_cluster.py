"""What only a cluster can do wrong: nodes and schedulers that are lost in the middle of work. Real processes, real Dask.

What every executor owes stands in `test_executors.py`, which runs over a cluster, too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import trustme

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")

from tests.contract import cluster as cluster_module
from tests.contract.cluster import SLOTS, VERSION, Cluster
from tests.contract.test_executors import POSIX, Bench, wait_for
from worker.catalog.noop import Noop
from worker.catalog.text import WriteText
from worker.core.jobs import Failure, Result, Task
from worker.executors import cluster as executor_module
from worker.executors import link
from worker.executors.cluster import OPEN_PER_SLOT, ClusterExecutor
from worker.executors.dask import NO_CERTIFICATES, Certificates

pytestmark = [POSIX, pytest.mark.timeout(240)]

#: What may not run twice.
APPEND = WriteText(output="a.txt", text="x", append=True)


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path / "cluster.log")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """No test but one is about how long a task waits for a node; on a busy machine a scheduler takes its time to start."""
    monkeypatch.setattr(executor_module, "NO_NODE_S", 300.0)


@pytest.fixture
def bench(cluster):
    made = Bench(ClusterExecutor(cluster.address, version=VERSION))
    yield made
    made.executor.close()
    made.all_that_came()
    assert [number for number, times in made.finished.items() if times != 1] == []


def slots(bench):
    """How many tasks the executor says may run, by its latest word."""
    changes = bench.events()
    return changes[-1].slots if changes and changes[-1].working else 0


def begin(bench, operation, params):
    number = max(bench.finished, default=0) + 1
    bench.finished[number] = 0
    bench.executor.execute(Task(number, operation, params))
    return number


def lines(path):
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def node_of(cluster, pid):
    """The node that has this child."""
    for node in cluster.nodes:
        if node.poll() is None and pid in {child.pid for child in psutil.Process(node.pid).children(recursive=True)}:
            return node
    raise AssertionError(f"no node has the child {pid}")


def test_nodes_are_counted(cluster, bench):
    """Slots follow the nodes: two of them, one, none, and one again."""
    wait_for(lambda: slots(bench) == 2 * SLOTS * OPEN_PER_SLOT)
    cluster_module.end(cluster.nodes[0])
    wait_for(lambda: slots(bench) == SLOTS * OPEN_PER_SLOT)
    cluster_module.end(cluster.nodes[1])
    wait_for(lambda: bench.events()[-1].working is False)
    cluster.start_node()
    wait_for(lambda: slots(bench) == SLOTS * OPEN_PER_SLOT)


def test_abort_stops_native_code(cluster, bench, tmp_path):
    """The child of a task that is not wanted any more is killed on its node, although it never leaves native code."""
    marker = tmp_path / "marker"
    number = begin(bench, f"sleeps_in_native_code:{marker}", Noop())
    wait_for(marker.exists)
    before = cluster.own()
    bench.executor.abort(number)
    assert isinstance(bench.outcomes_of([number])[0], Failure)
    wait_for(lambda: len(before - cluster.own()) == 1)
    assert isinstance(bench.outcomes_of(bench.execute(*["works:a"] * 8))[0], Result)


@pytest.mark.parametrize(("params", "repeated"), [(Noop(), True), (APPEND, False)], ids=["repeatable", "append"])
def test_a_node_is_lost(cluster, bench, tmp_path, params, repeated):
    """What it ran runs again on another one; what may not be repeated ends as 502, and ran once."""
    trace = tmp_path / "trace"
    number = begin(bench, f"leaves_a_line:{trace}", params)
    wait_for(lambda: lines(trace))
    cluster_module.end(node_of(cluster, int(lines(trace)[0])))
    if repeated:
        wait_for(lambda: len(lines(trace)) >= 2)
    trace.with_suffix(".go").touch()
    (outcome,) = bench.outcomes_of([number])
    if repeated:
        assert isinstance(outcome, Result)
    else:
        assert (outcome.code, outcome.word) == (502, "node")
        assert len(lines(trace)) == 1


@pytest.mark.parametrize(("params", "repeated"), [(Noop(), True), (APPEND, False)], ids=["repeatable", "append"])
def test_the_scheduler_is_lost(cluster, bench, tmp_path, params, repeated):
    """The executor and the nodes find the next one by themselves; what ran runs again, or ends as 502."""
    trace = tmp_path / "trace"
    number = begin(bench, f"leaves_a_line:{trace}", params)
    wait_for(lambda: lines(trace))
    cluster.restart_scheduler()
    if repeated:
        wait_for(lambda: len(lines(trace)) >= 2)
    trace.with_suffix(".go").touch()
    (outcome,) = bench.outcomes_of([number])
    assert isinstance(outcome, Result) if repeated else (outcome.code, outcome.word) == (502, "node")
    assert isinstance(bench.outcomes_of(bench.execute("works:b"))[0], Result)
    assert repeated or len(lines(trace)) == 1  # what may be repeated may run more than twice, if a node comes and goes


def test_an_append_runs_once_and_leaves_no_mark(bench, tmp_path):
    """Without any loss a task that may not be repeated ends as every other."""
    trace = tmp_path / "trace"
    trace.with_suffix(".go").touch()
    assert isinstance(bench.outcomes_of([begin(bench, f"leaves_a_line:{trace}", APPEND)])[0], Result)
    assert len(lines(trace)) == 1


def test_another_major_version_gets_no_task(cluster, bench):
    """A node that does not fit is not counted, and no task goes there."""
    wait_for(lambda: slots(bench))
    for node in cluster.nodes:
        cluster_module.end(node)
    wait_for(lambda: not slots(bench))
    number = begin(bench, "works:a", Noop())
    cluster.start_node("7.0.0")
    time.sleep(3)
    bench.all_that_came()
    assert number not in bench.outcomes
    cluster.start_node()
    assert isinstance(bench.outcomes_of([number])[0], Result)


def test_no_node(tmp_path, monkeypatch):
    """A cluster that is not there, or has no nodes, fails its tasks after a while, with a sentence."""
    monkeypatch.setattr(executor_module, "NO_NODE_S", 0.5)
    monkeypatch.setattr(link, "CONNECT_WITHIN_S", 0.5)
    bench = Bench(ClusterExecutor(f"tcp://127.0.0.1:{cluster_module.free_port()}", version=VERSION))
    try:
        (outcome,) = bench.outcomes_of([begin(bench, "works:a", Noop())])
        assert (outcome.code, outcome.word, outcome.transient) == (503, "no-node", True)
        assert "cannot be reached" in outcome.message
    finally:
        bench.executor.close()


def test_a_worker_of_dask_gets_no_task(cluster, bench):
    """A plain one that somebody else has started for this scheduler."""
    for node in cluster.nodes:
        cluster_module.end(node)
    plain = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.address, "--no-nanny", "--no-dashboard"]
    process = subprocess.Popen(plain, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        number = begin(bench, "works:a", Noop())
        time.sleep(5)
        bench.all_that_came()
        assert number not in bench.outcomes
        assert process.poll() is None
    finally:
        os.kill(process.pid, signal.SIGTERM)
        process.wait(20)


def test_tls(tmp_path):
    """With certificates the tasks come through; without them, or with another authority's, the sentence says what to look at."""
    authority, stranger = trustme.CA(), trustme.CA()
    ours, other = (files(tmp_path / name, ca) for name, ca in (("ours", authority), ("other", stranger)))
    cluster = Cluster(tmp_path / "cluster.log", nodes=1, files=ours)
    try:
        bench = Bench(ClusterExecutor(cluster.address, Certificates(*ours), VERSION))
        assert isinstance(bench.outcomes_of(bench.execute("works:a"))[0], Result)
        bench.executor.close()
        for wrong, address in ((NO_CERTIFICATES, cluster.address.replace("tls:", "tcp:")), (Certificates(*other), cluster.address)):
            executor = ClusterExecutor(address, wrong, VERSION)
            bench = Bench(executor)
            wait_for(lambda: "cannot be reached" in executor.reason)  # noqa: B023
            assert "--cluster-ca" in executor.reason
            bench.executor.close()
    finally:
        cluster.close()


def files(folder, authority):
    """An authority, a certificate for this machine and its key, as PEM files."""
    folder.mkdir()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
