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
from tests.ports import free_port
from tests.reliability import namespaces
from worker.catalog.noop import Noop
from worker.catalog.text import WriteText
from worker.core.jobs import NOTHING, Failure, Result, Task
from worker.executors import bundles, link
from worker.executors import cluster as executor_module
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


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cluster for tests after which it is whole again."""
    made = Cluster(tmp_path_factory.mktemp("shared") / "cluster.log")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """No test but one is about how long a task waits for a node; on a busy machine a scheduler takes its time to start."""
    monkeypatch.setattr(executor_module, "NO_NODE_S", 300.0)


@pytest.fixture
def bench(cluster):
    yield from _bench(cluster)


@pytest.fixture
def shared_bench(shared):
    """Waits until both nodes are there again, whatever the test before has done to them."""
    yield from _bench(shared, nodes=2)


def _bench(cluster, nodes=0):
    made = Bench(ClusterExecutor(cluster.address, version=VERSION))
    wait_for(lambda: not nodes or (slots(made) and made.events()[-1].nodes == nodes))
    yield made
    made.executor.close()
    made.all_that_came()
    assert [number for number, times in made.finished.items() if times != 1] == []


def slots(bench):
    """How many tasks the executor says may run, by its latest word."""
    changes = bench.events()
    return changes[-1].slots if changes and changes[-1].working else 0


def begin(bench, operation, params, joined=NOTHING):
    number = max(bench.finished, default=0) + 1
    bench.finished[number] = 0
    bench.executor.execute(Task(number, operation, params, joined=joined))
    return number


def begin_short(bench, *whats):
    """Tasks of one operation that is known to be short, whatever they do."""
    return [begin(bench, "as_told", Noop(), Result(kind=what)) for what in whats]


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


def test_abort_stops_native_code(shared, shared_bench, tmp_path):
    """The child of a task that is not wanted any more is killed on its node, although it never leaves native code."""
    marker = tmp_path / "marker"
    number = begin(shared_bench, f"sleeps_in_native_code:{marker}", Noop())
    wait_for(marker.exists)
    before = shared.own()
    shared_bench.executor.abort(number)
    assert isinstance(shared_bench.outcomes_of([number])[0], Failure)
    wait_for(lambda: len(before - shared.own()) == 1)
    assert isinstance(shared_bench.outcomes_of(shared_bench.execute(*["works:a"] * 8))[0], Result)


@pytest.mark.parametrize(("params", "repeated"), [(Noop(), True), (APPEND, False)], ids=["repeatable", "append"])
def test_a_node_is_lost(shared, shared_bench, tmp_path, params, repeated):
    """What it ran runs again on another one; what may not be repeated ends as 502, and ran once."""
    trace = tmp_path / "trace"
    number = begin(shared_bench, f"leaves_a_line:{trace}", params)
    wait_for(lambda: lines(trace))
    shared.restart_node(shared.nodes.index(node_of(shared, int(lines(trace)[0]))))
    if repeated:
        wait_for(lambda: len(lines(trace)) >= 2)
    trace.with_suffix(".go").touch()
    (outcome,) = shared_bench.outcomes_of([number])
    if repeated:
        assert isinstance(outcome, Result)
    else:
        assert (outcome.code, outcome.word) == (502, "node")
        assert len(lines(trace)) == 1


@pytest.mark.parametrize(("params", "repeated"), [(Noop(), True), (APPEND, False)], ids=["repeatable", "append"])
def test_the_scheduler_is_lost(shared, shared_bench, tmp_path, params, repeated):
    """The executor and the nodes find the next one by themselves; what ran runs again, or ends as 502."""
    trace = tmp_path / "trace"
    number = begin(shared_bench, f"leaves_a_line:{trace}", params)
    wait_for(lambda: lines(trace))
    shared.restart_scheduler()
    if repeated:
        wait_for(lambda: len(lines(trace)) >= 2)
    trace.with_suffix(".go").touch()
    (outcome,) = shared_bench.outcomes_of([number])
    assert isinstance(outcome, Result) if repeated else (outcome.code, outcome.word) == (502, "node")
    assert isinstance(shared_bench.outcomes_of(shared_bench.execute("works:b"))[0], Result)
    assert repeated or len(lines(trace)) == 1  # what may be repeated may run more than twice, if a node comes and goes


def test_an_append_runs_once_and_leaves_no_mark(shared_bench, tmp_path):
    """Without any loss a task that may not be repeated ends as every other."""
    trace = tmp_path / "trace"
    trace.with_suffix(".go").touch()
    assert isinstance(shared_bench.outcomes_of([begin(shared_bench, f"leaves_a_line:{trace}", APPEND)])[0], Result)
    assert len(lines(trace)) == 1


# ------------------------------------------------------------------------------------- short tasks that travel together


def test_dask_connects_again_by_itself(shared, shared_bench, tmp_path, monkeypatch):
    """If its client does so before nodes are counted, it hears of no events over the new connection. What ran ends all the same."""
    trace = tmp_path / "trace"
    monkeypatch.setattr(link, "COUNT_EVERY_S", 8.0)
    time.sleep(1.5)  # the next count comes in more than six seconds
    number = begin(shared_bench, f"leaves_a_line:{trace}", Noop())
    wait_for(lambda: lines(trace))
    shared.restart_scheduler()
    trace.with_suffix(".go").touch()
    assert all(isinstance(outcome, Result) for outcome in shared_bench.outcomes_of([number, *shared_bench.execute(*["works:b"] * 4)]))


@pytest.fixture
def bundled(shared_bench, monkeypatch):
    """A bench whose tasks `as_told` are known to be short. `together` gives some to the cluster as one bundle."""
    made = shared_bench
    made.outcomes_of(begin_short(made, *["works:first"] * 8))
    for limit in ("SHORT_S", "BUNDLE_S"):  # however slow this machine is today
        monkeypatch.setattr(bundles, limit, 60.0)
    link, sizes = made.executor.inner._link, []
    whole = link._send
    monkeypatch.setattr(link, "_send", lambda client, tasks: sizes.append(len(tasks)) or whole(client, tasks))

    def together(*whats):
        monkeypatch.setattr(bundles, "PLACES_PER_SLOT", 0)
        numbers = begin_short(made, *whats)
        wait_for(lambda: len(link._bundles) == len(whats))
        monkeypatch.setattr(bundles, "PLACES_PER_SLOT", 1 / (2 * SLOTS))
        link._call(link._take_orders)
        wait_for(lambda: sizes[-1:] == [len(whats)])
        return numbers

    made.sizes, made.together = sizes, together
    return made


@pytest.mark.usefixtures("bundled")
def test_nothing_listens_elsewhere(shared):
    """A node of a scheduler on this machine is reached from this machine only."""
    for node in shared.nodes:
        listening = [one.laddr.ip for one in psutil.Process(node.pid).net_connections("tcp") if one.status == psutil.CONN_LISTEN]
        assert set(listening) == {"127.0.0.1"}


def test_short_tasks_travel_together(bundled):
    """Of many, each has its own outcome, and the scheduler has had to place far fewer."""
    numbers = begin_short(bundled, *[f"works:{n}" for n in range(300)])
    assert [outcome.files[0].path for outcome in bundled.outcomes_of(numbers)] == [str(n) for n in range(300)]
    assert len(bundled.sizes) < 100


def test_outcomes_of_a_bundle(bundled):
    """Large ones and small ones, a crash and a bad end: each task of a bundle ends as it would alone, and reports how far it is."""
    numbers = bundled.together("works:a", "gives_much:20000", "exits:3", "raises", "works_slowly:b", "returns_a_lambda", "works:c")
    a, much, died, raised, slowly, unsendable, c = bundled.outcomes_of(numbers)
    assert [outcome.files[0].path for outcome in (a, slowly, c)] == ["a", "b", "c"]
    assert len(much.rows) == 20_000
    assert [outcome.code for outcome in (died, raised, unsendable)] == [502, 500, 502]
    assert list(bundled.progress) == [numbers[4]]


def test_a_slow_task_of_a_bundle_keeps_none_waiting(bundled, tmp_path):
    """What has ended before it is reported at once; what waits behind it goes to another child."""
    marker = tmp_path / "go"
    first, slow, *late = bundled.together("works:first", f"works_until:{marker}", *[f"works:{n}" for n in range(6)])
    assert [outcome.files[0].path for outcome in bundled.outcomes_of([first, *late])] == ["first", *map(str, range(6))]
    assert slow not in bundled.outcomes
    marker.touch()
    assert isinstance(bundled.outcomes_of([slow])[0], Result)


def test_abort_in_a_bundle(shared, bundled, tmp_path):
    """It ends the child of that task alone, and those that wait behind it run once."""
    marker, trace = tmp_path / "native", tmp_path / "trace"
    trace.with_suffix(".go").touch()
    stuck, unwanted, *others = bundled.together(
        f"sleeps_in_native_code:{marker}", f"leaves_a_line:{tmp_path / 'never'}", f"leaves_a_line:{trace}", "works:last"
    )
    wait_for(marker.exists)
    before = shared.own()
    bundled.executor.abort(unwanted)
    bundled.executor.abort(stuck)
    assert [outcome.word for outcome in bundled.outcomes_of([stuck, unwanted])] == ["child", "child"]
    wait_for(lambda: len(before - shared.own()) == 1)
    assert [outcome.files[0].path for outcome in bundled.outcomes_of(others)] == [str(trace), "last"]
    assert len(lines(trace)) == 1
    assert not (tmp_path / "never").exists()


def test_abort_of_a_whole_bundle(shared, bundled, tmp_path):
    """Its child ends, and what waits behind it never begins."""
    marker, never = tmp_path / "native", tmp_path / "never"
    numbers = bundled.together(f"sleeps_in_native_code:{marker}", f"leaves_a_line:{never}")
    wait_for(marker.exists)
    before = shared.own()
    for number in numbers:
        bundled.executor.abort(number)
    assert {outcome.word for outcome in bundled.outcomes_of(numbers)} == {"child"}
    wait_for(lambda: len(before - shared.own()) == 1)
    assert isinstance(bundled.outcomes_of(begin_short(bundled, "works:after"))[0], Result)
    assert not never.exists()


def test_the_node_of_a_bundle_is_lost(shared, bundled, tmp_path):
    """What had ended does not run again; what ran, or waited there, does, on another node."""
    ended, ran, waited = (tmp_path / name for name in ("ended", "ran", "waited"))
    for trace in (ended, waited):
        trace.with_suffix(".go").touch()
    first, *others = bundled.together(*(f"leaves_a_line:{trace}" for trace in (ended, ran, waited)))
    bundled.outcomes_of([first])
    wait_for(lambda: lines(ran))
    shared.restart_node(shared.nodes.index(node_of(shared, int(lines(ran)[0]))))
    wait_for(lambda: len(lines(ran)) == 2)
    ran.with_suffix(".go").touch()
    assert [outcome.files[0].path for outcome in bundled.outcomes_of(others)] == [str(ran), str(waited)]
    assert len(lines(ended)) == 1


def test_machines_of_a_network(tmp_path):
    """In the middle of work the machine of a node is cut off, another node is killed, and the scheduler: each task has one end, and no
    append runs twice.
    """
    if reason := namespaces.why_not():
        pytest.skip(reason)
    with namespaces.machines(2) as machines:
        cluster = Cluster(tmp_path / "cluster.log", machines=machines)
        bench = Bench(ClusterExecutor(cluster.address, version=VERSION))
        try:
            _take_apart(cluster, bench, tmp_path)
        finally:
            bench.executor.close()
            cluster.close()
    assert [number for number, times in bench.finished.items() if times != 1] == []


def _take_apart(cluster, bench, folder):
    wait_for(lambda: slots(bench) and bench.events()[-1].nodes == 2)
    appends = {}

    def work(name):
        """One append for each slot, and three times as many others, which wait for a file; some that are short; then all of that runs."""
        numbers = []
        for n in range(2 * SLOTS):
            trace = folder / f"{name}-{n}"
            appends[begin(bench, f"leaves_a_line:{trace}", APPEND)] = trace
        numbers += [begin(bench, f"leaves_a_line:{folder / f'{name}-x{n}'}", Noop()) for n in range(6 * SLOTS)]
        numbers += begin_short(bench, *[f"works:{n}" for n in range(100)])
        wait_for(lambda: any(lines(trace) for trace in appends.values() if trace.name.startswith(name)))
        return numbers

    def finish(name, numbers):
        for n in (*range(2 * SLOTS), *(f"x{n}" for n in range(6 * SLOTS))):
            (folder / f"{name}-{n}.go").touch()
        assert [outcome for outcome in bench.outcomes_of(numbers) if not isinstance(outcome, Result)] == []
        for outcome in bench.outcomes_of(appends):
            assert isinstance(outcome, Result) or (outcome.code, outcome.word) == (502, "node")
        assert [trace.name for trace in appends.values() if len(lines(trace)) > 1] == []

    numbers = work("cut")
    cluster.machines[0].pull_the_cable()
    finish("cut", numbers)
    wait_for(lambda: bench.events()[-1].nodes == 1)
    cluster.machines[0].put_the_cable_back()
    wait_for(lambda: bench.events()[-1].nodes == 2)
    numbers = work("killed")
    cluster.restart_node(1)
    finish("killed", numbers)
    wait_for(lambda: bench.events()[-1].nodes == 2)
    numbers = work("scheduler")
    cluster.restart_scheduler()
    finish("scheduler", numbers)


# ------------------------------------------------------------------------------------------------- what is no node of ours


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
    bench = Bench(ClusterExecutor(f"tcp://127.0.0.1:{free_port()}", version=VERSION))
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
