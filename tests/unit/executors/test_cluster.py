"""The executor over a cluster, without one: what it does while there is no node, and how much is under way."""

import asyncio
import types

import pytest

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")

from worker.catalog.noop import Noop
from worker.catalog.text import WriteText
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Result, Task
from worker.executors import cluster as module
from worker.executors import link as link_module
from worker.executors.cluster import ClusterExecutor
from worker.executors.link import Ended
from worker.executors.roll import Nodes

APPEND = WriteText(output="a.txt", text="x", append=True)
REASON = "The cluster tcp://127.0.0.1:1 cannot be reached (OSError)."


class Local:
    """Children of this machine, which only note what they are given."""

    workers = 3

    def __init__(self):
        self.tasks, self.aborted = [], []

    def start(self, deliver, _poller):
        self.deliver = deliver
        deliver(ChildrenChanged(working=True, missing={"find_features": "no AKAZE"}))

    def execute(self, task):
        self.tasks.append(task.id)

    def abort(self, task_id):
        self.aborted.append(task_id)

    def close(self):
        pass


class Bench:
    """An executor whose thread does not run, and what it has delivered and told it."""

    def __init__(self, local=None):
        self.now, self.heard, self.told = 0.0, [], []
        self.executor = ClusterExecutor("tcp://127.0.0.1:1", local=local)
        self.executor._link.start = lambda: None
        self.executor._link.tell = self.told.append
        poller = types.SimpleNamespace(now=lambda: self.now, call=lambda something: something())
        self.executor.start(self.heard.append, poller)

    def nodes(self, *slots, reason=""):
        self.executor.hear([Nodes({f"tcp://{n}": count for n, count in enumerate(slots)}, {}, reason)])

    def sent(self):
        return [task.id for task in self.told if isinstance(task, Task)]

    def close(self):
        self.executor._link._loop.close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


@pytest.fixture
def either():
    """`--cluster-or-local`."""
    made = Bench(Local())
    yield made
    made.close()


def test_local_children_until_a_node_comes(either):
    """While there is no node they run all tasks, and their slots and lacks count; then the nodes'."""
    local = either.executor._local
    assert either.heard[-1] == ChildrenChanged(working=True, missing={"find_features": "no AKAZE"}, slots=3, nodes=0)
    either.executor.execute(Task(1, "noop", Noop()))
    assert (local.tasks, either.sent()) == ([1], [])
    either.nodes(2, 6)
    assert either.heard[-1] == ChildrenChanged(working=True, slots=16, nodes=2, node_slots=8)
    either.executor.execute(Task(2, "noop", Noop()))
    assert (local.tasks, either.sent()) == ([1], [2])
    local.deliver(Finished(1, Result()))
    assert either.heard[-1] == Finished(1, Result())


def test_local_children_take_over(either):
    """If the last node is lost they run what may be repeated. What may not waits for a node, and fails after a while."""
    either.nodes(2)
    either.executor.execute(Task(1, "noop", Noop()))
    either.executor.execute(Task(2, "write_text", APPEND))
    either.nodes(reason=REASON)
    assert either.executor._local.tasks == [1]
    assert either.told[-1] == 1
    either.now = module.NO_NODE_S + 1
    either.nodes(reason=REASON)
    ended = [event for event in either.heard if isinstance(event, Finished)]
    assert [(event.task_id, event.outcome.code, event.outcome.message) for event in ended] == [(2, 503, REASON)]
    either.executor.abort(1)
    assert either.executor._local.aborted == [1]


def test_without_local_children_tasks_wait_a_while(bench):
    """Then they fail, and the message says why there is no node; later ones fail at once."""
    bench.executor.execute(Task(1, "noop", Noop()))
    assert bench.sent() == [1]
    bench.now = module.NO_NODE_S + 1
    bench.nodes(reason=REASON)
    bench.executor.execute(Task(2, "noop", Noop()))
    ended = [event for event in bench.heard if isinstance(event, Finished)]
    assert [(event.task_id, event.outcome.word, event.outcome.message) for event in ended] == [
        (1, "no-node", REASON),
        (2, "no-node", REASON),
    ]


def test_late_words(bench):
    """After its end nothing more is delivered about a task."""
    bench.nodes(1)
    bench.executor.execute(Task(1, "noop", Noop()))
    bench.executor.abort(1)
    before = len(bench.heard)
    bench.executor.hear([Progressed(1, 5), Ended(1, Result(), 0.1), Ended(7, Result(), 0.1)])
    assert len(bench.heard) == before
    assert isinstance(bench.heard[-1].outcome, Failure)


def test_no_more_than_the_limit_is_under_way(bench, monkeypatch):
    """The rest waits here, not in the memory of Dask's scheduler."""
    link = bench.executor._link
    sent = []
    monkeypatch.setattr(link_module, "MAX_OPEN", 5)
    monkeypatch.setattr(link, "_send", lambda _, tasks: (sent.extend(tasks), link._carried.update((task.id, None) for task in tasks)))
    link._client = types.SimpleNamespace(scheduler_comm=link._stream)
    link._orders.extend(Task(n, "noop", Noop()) for n in range(1, 12))
    link._take_orders()
    assert [task.id for task in sent] == [1, 2, 3, 4, 5]
    del link._carried[2], link._carried[4]
    link._take_orders()
    assert [task.id for task in sent] == [1, 2, 3, 4, 5, 6, 7]


class Scheduler:
    """Of Dask, as far as a link asks it to pass something on."""

    def __init__(self, heard):
        self.asked, self._heard = [], heard

    async def broadcast(self, msg, workers, on_error):
        self.asked.append((msg["task_ids"], workers, on_error))
        return dict.fromkeys(workers) if self._heard else {}


@pytest.mark.parametrize("heard", [True, False])
def test_abort_in_a_bundle(bench, monkeypatch, heard):
    """The node is asked to end that task alone. One that does not hear loses the whole bundle, and the others go again, alone."""
    link, scheduler = bench.executor._link, Scheduler(heard)
    client = types.SimpleNamespace(scheduler=scheduler, scheduler_comm=link._stream)

    async def carry_out(_client, _sent):
        await asyncio.sleep(60)

    async def play():
        monkeypatch.setattr(link, "_carry_out", carry_out)
        for _ in range(2):
            link._bundles.took(Task(0, "noop", Noop()), 0.0001)
        link._client, link._slots = client, 1
        link._short = 1  # so that one place is left
        link._orders.extend(Task(n, "noop", Noop()) for n in (1, 2, 3))
        link._take_orders()
        (sent,) = link._sent.values()
        link._said((0.0, ("begun", sent.key, "tcp://node")))
        link._short = 2  # and none, for what goes again
        monkeypatch.setattr(link, "_send", lambda _, tasks: again.extend(tasks))
        link._orders.append(2)
        link._take_orders()
        await asyncio.gather(*link._asking)
        cancelled = sent.carrying.cancelling()
        sent.carrying.cancel()
        return list(sent.tasks), bool(cancelled)

    again = []
    left, cancelled = asyncio.run(play())
    assert scheduler.asked == [([2], ["tcp://node"], "ignore")]
    assert (left, cancelled, [task.id for task in again]) == (([1, 3], False, []) if heard else ([], True, [1, 3]))
