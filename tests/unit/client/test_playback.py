"""The clients of a recorded session, played against a scheduler through a bad network: the finals are the same.

Both sides are the real decisions, without a socket and without waiting; each task takes a moment of a time that is made up.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter

import pytest

from worker.client.playback import BadNetwork, Listener, Playback, Session, outcome
from worker.config import Config
from worker.core.events import Commit, Execute, Finished, Received, Send, Stored, Woke
from worker.core.jobs import Failure, Phase, Result
from worker.core.scheduler import Scheduler
from worker.files.whole import WrittenFile
from worker.protocol import osc
from worker.protocol.messages import Bye, Cancel, Failed, Hello, Job, Ping, Quit, Ready, Set, Trigger

TASK_S = 0.03
TD, OTHER = ("127.0.0.1", 50_000), ("127.0.0.1", 50_001)


class Worker:
    """A scheduler whose tasks end after a moment. `write_text` writes a file; `find_circles` finds one in a file that was written."""

    def __init__(self, boot=7):
        self.scheduler = Scheduler(Config(workers=2), boot, 0.0, "0.1.0")
        self.files = set()
        self.due = []
        self.count = itertools.count()
        self.ran = Counter()

    def packet(self, now, peer, datagram):
        return self._effects(self.scheduler.handle(Received(peer, osc.decode_commands(datagram)), now), now)

    def next_at(self):
        times = [self.due[0][0]] if self.due else []
        return min([*times, *([deadline] if (deadline := self.scheduler.next_deadline()) is not None else [])])

    def until(self, now):
        reports = []
        while self.next_at() <= now:
            at = self.next_at()
            if self.due and self.due[0][0] <= at:
                at, _, task = heapq.heappop(self.due)
                reports += self._effects(self.scheduler.handle(Finished(task.id, self._outcome(task)), at), at)
            else:
                reports += self._effects(self.scheduler.handle(Woke(), at), at)
        return reports

    def _outcome(self, task):
        if task.operation == "write_text":
            self.ran[task.params.text] += 1
            self.files.add(task.params.output)
            return Result("", (), (), (WrittenFile(task.params.output, 1),))
        if task.operation == "find_circles" and task.params.image not in self.files:
            return Failure(404, "file", f"There is no file {task.params.image}.")
        return Result("circles", ("x", "y", "radius", "u", "v", "score"), ((1.0,) * 6,)) if task.operation == "find_circles" else Result()

    def _effects(self, effects, now):
        reports = []
        for effect in effects:
            if isinstance(effect, Execute):
                assert effect.task.phase is Phase.PLAN
                heapq.heappush(self.due, (now + TASK_S, next(self.count), effect.task))
            elif isinstance(effect, Send):
                reports.append((now, effect.peer, effect.report))
            elif isinstance(effect, Commit):
                reports += self._effects(self.scheduler.handle(Stored(effect.number), now), now)
        return reports


def recorded(*packets, text_port=9461):
    """The session of these packets: (time, peer, commands of one datagram or its bytes)."""
    session, worker = Session(), Worker()
    listener = Listener(session, text_port)

    def sent(reports):
        for _, peer, report in reports:
            listener.sent(peer, report)

    for at, peer, what in packets:
        sent(worker.until(at))
        datagram = what if isinstance(what, bytes) else osc.encode(what[0]) if len(what) == 1 else osc.encode_bundle(what)
        listener.came(at, peer, datagram, osc.decode_commands(datagram))
        sent(worker.packet(at, peer, datagram))
    sent(worker.until(packets[-1][0] + 30))
    return session, worker


def played(session, worker, *, limit_s=600.0, **how):
    """Plays it to this worker, and gives the playback when it is done."""
    network = BadNetwork(random.Random(how.pop("seed", 1)), how.pop("loss", 0), how.pop("doubles", 0), how.pop("reorder", False))
    playback = Playback(session, 0.0, network=network, **how)
    ports = {client: ("127.0.0.1", 60_000 + number) for number, client in enumerate(playback.clients)}
    clients = {peer: client for client, peer in ports.items()}
    now, started = 0.0, False

    def out(sendings):
        for sending in sendings:
            back(worker.packet(now, ports[sending.client], sending.datagram))

    def back(reports):
        for _, peer, report in reports:
            if peer in clients:
                playback.came(clients[peer], osc.encode(report), now)

    out(playback.begin(now))
    while not playback.is_done:
        if playback.is_connected and not started:
            started = True
            playback.start(now)
        now = max(now + 1e-6, min(playback.next_deadline(), worker.next_at()))
        assert now < limit_s, "it does not end"
        back(worker.until(now))
        out(playback.due(now))
    playback.took_s = now
    return playback


def write(name, text=None, **more):
    return Job(name, "write_text", (("output", f"{name}.txt"), ("text", text or name), ("append", 1), *more.items()))


def find(name, image):
    return Job(name, "find_circles", (("image", image),))


HELLO = Hello("td", 9461, 0, "", "", 1)


def a_show():
    """Jobs of two clients that need each other's files, one that fails, one that waits for another, bundles, presets."""
    packets = [(0.0, TD, (HELLO,)), (0.1, OTHER, (Hello("other", 0, 0),))]
    for number in range(40):
        at = 0.2 + number * 0.1
        packets += [
            (at, TD, (HELLO, write(f"w{number}"))),
            (at + 0.05, OTHER, (find(f"f{number}", f"w{number}.txt" if number % 3 else "nowhere.png"),)),
            (at + 0.06, TD, (Ping(number),)),
        ]
    packets += [
        (5.0, TD, (Set("logo", "operation", "noop"), Set("logo", "operation", "noop"))),
        (5.1, TD, (Trigger("logo", 1.0),)),
        (5.15, TD, (Trigger("logo", 0.0),)),
        (5.16, TD, (Trigger("logo", 1.0, "pressed"),)),
        (5.2, TD, (write("first"),)),
        (5.21, TD, (Job("second", "noop", (("after", "first"),)),)),
        (5.3, TD, (Job("", "noop", ()),)),
        (5.4, TD, (Job("b1", "noop", ()), Job("b2", "nothing", ()))),
        (5.5, TD, (Job("c1", "noop", ()), Job("c2", "noop", ()))),
        (5.6, TD, b"rubbish"),
        (5.7, TD, (Job("w1", "noop", ()),)),
        (5.8, TD, (Bye(),)),
    ]
    return packets


def test_what_is_kept_of_a_session():
    """Each client's finals, in their order; jobs that the worker gave an id apart."""
    session, _ = recorded(*a_show())
    assert session.names == {"127.0.0.1:9461": "td", "127.0.0.1:50001": "other"}
    finals = {job_id: outcome(final) for (_, job_id), final in session.finals.items()}
    assert finals["f1"] == ("ready", "find_circles", 1, 0, 0)
    assert finals["f3"] == ("failed", "file", 404, 0, 0)
    assert (finals["b1"][2], finals["b2"][2], finals["c1"][0]) == (400, 404, "ready")
    assert finals["w1"][0] == "ready"  # the second one with this id is refused, and is not what became of the first
    assert len(session.made) == 2  # the trigger's, and the one without an id
    assert len(session.order) == len(session.finals) == 40 + 40 + 2 + 2 + 2 + 1


@pytest.mark.parametrize(
    "network", [{}, {"loss": 0.2}, {"loss": 0.2, "doubles": 0.2, "reorder": True}, {"loss": 0.5, "reorder": True, "seed": 2}]
)
def test_the_finals_are_the_same(network):
    """Whatever the network does; and no job runs twice."""
    session, first = recorded(*a_show())
    second = Worker(boot=8)
    playback = played(session, second, **network)
    found = playback.compared()
    assert (found.differences, found.by_timing, found.without) == ((), (), 0)
    assert found.same == found.recorded == 89
    assert second.ran == first.ran
    if network:
        assert playback._network.counts["lost"] > 0


def test_a_client_that_does_not_wait():
    """Its jobs arrive in their order, so with one thing after the other a job finds what the one before it has made."""
    packets = [(0.0, TD, (HELLO,))]
    for number in range(30):
        packets += [(0.1 + number / 10, TD, (write(f"w{number}"),)), (0.101 + number / 10, TD, (write(f"v{number}"),))]
    session, _ = recorded(*packets)
    worker, arrived = Worker(), []
    worker.packet_ = worker.packet

    def packet(now, peer, datagram):
        arrived.extend(command.id for command in osc.decode_commands(datagram) if isinstance(command, Job) and command.id not in arrived)
        return worker.packet_(now, peer, datagram)

    worker.packet = packet
    assert played(session, worker, loss=0.3, reorder=True).compared().differences == ()
    assert arrived == [f"{letter}{number}" for number in range(30) for letter in "wv"]


def test_speed():
    """Twice as fast takes half the time; the jobs still find the files that they found."""
    session, _ = recorded(*a_show())
    slow, fast = (played(session, Worker(), speed=speed) for speed in (1.0, 4.0))
    assert fast.compared().differences == ()
    assert fast.took_s < slow.took_s / 2


def test_a_job_waits_for_what_had_ended_before_it():
    """However fast it is played: the picture is there when its circles are looked for."""
    session, _ = recorded((0.0, TD, (HELLO, write("a"))), (1.0, OTHER, (find("b", "a.txt"),)))
    assert played(session, Worker(), speed=1000.0).compared().differences == ()


def test_what_is_different_is_said():
    """Another worker has other files: each job that ends in another way is a sentence."""
    session, _ = recorded((0.0, TD, (find("a", "nowhere.png"),)), (1.0, TD, (Job("", "noop", ()),)))
    worker = Worker()
    worker.files.add("nowhere.png")
    found = played(session, worker).compared()
    assert found.differences == (
        "a of 127.0.0.1:9461 was file 404 (There is no file nowhere.png.) and is ready, find_circles with 1 item.",
    )
    assert (found.recorded, found.same) == (2, 1)


def test_a_cancel_is_a_matter_of_time():
    """It is played; whether it comes in time is no difference."""
    session, _ = recorded((0.0, TD, (HELLO, write("a"))), (0.01, TD, (Cancel("a"),)))
    ((_, final),) = session.finals.items()
    assert final.code == 499
    found = played(session, Worker(), speed=0.1).compared()
    assert found.differences == ()
    assert len(found.by_timing) == 1


def test_quit_is_not_played():
    """The worker that runs now is not ended by the end of the recorded one; nor is anything sent to where reports went then."""
    session, _ = recorded((0.0, TD, (HELLO, Job("a", "noop", ()), Job("b", "noop", ()), Quit("secret"))), (1.0, TD, (Quit(),)))
    assert [step.commands for step in session.steps] == [(Job("a", "noop", ()), Job("b", "noop", ()))]
    assert b"hello" not in session.steps[0].raw
    assert b"quit" not in session.steps[0].raw


def test_a_job_sent_again_is_one_job():
    """As a client does that gets no answer."""
    session, first = recorded(*[(at, TD, (HELLO, write("a"))) for at in (0.0, 0.1, 0.3)])
    second = Worker()
    assert played(session, second).compared().same == 1
    assert second.ran == first.ran == {"a": 1}


def test_a_worker_that_goes_away():
    """It ends, and says that the job has no final."""
    session, _ = recorded((0.0, TD, (HELLO, write("a"))))
    worker = Worker()
    worker.packet_ = worker.packet
    worker.packet = lambda now, peer, datagram: worker.packet_(now, peer, datagram) if now < 0.001 and b"job" not in datagram else []
    found = played(session, worker).compared()
    (sentence,) = found.differences
    assert "is open: The worker" in sentence


def test_what_two_runs_have_in_common():
    """Not the number, not the times, not a text with a path."""
    assert outcome(Ready("j", 1, 2, 3, 4, 5, "noop", 1, 2)) == outcome(Ready("j", 9, 9, 9, 9, 5, "noop", 1, 2))
    assert outcome(Failed("j", 1, 2, 404, "file", "a", "b")) == outcome(Failed("j", 9, 9, 404, "file", "x", ""))
