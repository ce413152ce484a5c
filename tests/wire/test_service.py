"""Real UDP on 127.0.0.1, in front of a double that holds tasks until it is told how they end."""

from __future__ import annotations

import random
import socket
import struct

import msgspec
import pytest

from tests.inline import InlineExecutor
from tests.strategies import osc_bundle, osc_message, osc_text
from tests.wire.running import HoldingExecutor, Peer, running
from worker.catalog.table import CATALOG
from worker.config import Limits
from worker.core.events import StopAsked
from worker.core.jobs import Result
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import (
    Accepted,
    Cancel,
    Error,
    Failed,
    Hello,
    Job,
    Number,
    OperationDescription,
    Ping,
    Pong,
    Processing,
    Ready,
    Status,
    Sync,
    Synced,
    Welcome,
)


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def executor():
    return HoldingExecutor()


def test_a_jobs_life(peer, executor):
    """Nobody has to say hello: a command is answered at the default report port."""
    with running(executor, peer):
        peer.send(Job("a", "noop"))
        assert peer.until(Accepted) == Accepted("a", 0, 0)
        assert peer.until(Processing) == Processing("a", 1)
        executor.finish(executor.next_task())
        assert peer.until(Ready).id == "a"
        assert peer.until(lambda report: report == Status("Ready", 0, 0, report.boot) if isinstance(report, Status) else False)


def test_hello_with_port_zero(peer, executor):
    """Text port 0: reports come to the port that commands are sent from."""
    with running(executor, peer):
        peer.send(Hello("test", 0, 0), Ping(3))
        assert peer.until(Welcome, "sending").protocol == 1
        assert peer.until(Pong, "sending").nonce == 3


@pytest.mark.parametrize("bundles", [0, 1])
def test_reports_share_a_datagram_only_if_asked(peer, executor, bundles):
    """With `bundles` the reports of one moment come in few datagrams, in order; without it each has its own, for TouchDesigner's sake."""
    with running(executor, peer):
        peer.send(Hello("test", peer.text_port, 0, bundles=bundles))
        peer.until(Welcome)
        jobs = [Job(f"job-{number}-{'x' * 150}", "noop", (("priority", 0),)) for number in range(20)]
        peer.send_bytes(osc.encode_bundle(jobs))
        sizes, found = [], []
        while len([report for report in found if isinstance(report, Accepted)]) < len(jobs):
            datagram = peer.datagram()
            sizes.append(len(datagram))
            found += osc.decode_reports(datagram)
            assert datagram.startswith(b"#bundle") <= bool(bundles)
        assert max(sizes) <= MAX_DATAGRAM_OUT
        assert (len(sizes) < len(found) / 3) if bundles else (len(sizes) == len(found))
        assert [report.id for report in found if isinstance(report, Accepted)] == [job.id for job in jobs]


def test_hello_to_other_ports(executor):
    """Reports go where hello says."""
    one, other = Peer(), Peer()
    with running(executor, one):
        one.send(Hello("test", other.text_port, other.number_port))
        assert other.until(Welcome).newest_seq == 0
        assert other.until(Number, "numbers").name == "ready"
    one.close()
    other.close()


def test_two_clients(executor):
    """None gets the other's reports, though both hear the status."""
    one, other = Peer(), Peer()
    with running(executor, one) as service:
        other.worker = service.address
        for peer in (one, other):
            peer.send(Hello("test", peer.text_port, 0))
            peer.until(Welcome)
        one.send(Job("a", "noop"))
        other.send(Job("b", "noop"))
        for _ in range(2):
            executor.finish(executor.next_task())
        for peer, name in ((one, "a"), (other, "b")):
            peer.send(Sync(1))
            for report in peer.reports():
                assert getattr(report, "id", name) == name
                if isinstance(report, Synced):
                    assert report == Synced(1, 1, 0)
                    break
    one.close()
    other.close()


def test_number_port(peer, executor):
    """The number port gets bundles of one float per address, nothing else: an OSC In CHOP takes numbers only."""
    with running(executor, peer):
        peer.send(Job("a", "noop"))
        datagram = peer.datagram("numbers")
        numbers = osc.decode_reports(datagram)
    assert datagram.startswith(b"#bundle\0")
    assert all(isinstance(number, Number) and isinstance(number.value, float) for number in numbers)
    names = [number.name for number in numbers]
    assert len(names) == len(set(names))
    assert {"ready", "busy", "queued", "running", "progress", "done", "failed", "last_code", "last_ms", "beat", "boot"} <= set(names)


@pytest.mark.parametrize("time_tag", [0, 1, 2**63, 2**64 - 1])
def test_time_tags(peer, executor, time_tag):
    """A bundle is executed at once, whatever its time tag says."""
    with running(executor, peer):
        peer.send_bytes(osc_bundle(osc.encode(Job("a", "noop")), osc.encode(Ping(1)), time_tag=time_tag))
        assert peer.until(Accepted).id == "a"
        assert executor.next_task().operation == "noop"


def test_touchdesigners_type_tags(peer, executor):
    """T F N I h d and arrays, as TouchDesigner's sendOSC makes them, do what they say or are refused in a sentence."""
    with running(executor, peer):
        parts = (osc_text("a"), osc_text("draw_circles"), osc_text("output"), osc_text("{n}.png"), osc_text("count"), struct.pack(">q", 2))
        parts += (osc_text("centers"), struct.pack(">4d", 1, 2, 3, 4), osc_text("seed"))
        peer.send_bytes(osc_message("/worker/job", "sssssh" + "s[dddd]" + "sN", *parts))
        task = executor.next_task()
        assert (task.params.count, task.params.centers, task.params.seed) == (2, "1.0 2.0 3.0 4.0", 0)
        peer.send_bytes(osc_message("/worker/job", "sssssI", *parts[:5]))
        assert "count must be a whole number" in peer.until(Failed).message
        peer.send_bytes(
            osc_message(
                "/worker/job",
                "sssssTsF",
                osc_text("t"),
                osc_text("write_text"),
                osc_text("output"),
                osc_text("t.txt"),
                osc_text("append"),
                osc_text("count"),
            )
        )
        assert executor.next_task().params.append is True


def test_garbage(peer, executor):
    """What is no OSC is answered with an error, a few times a second; and the next valid job runs."""
    rubbish = random.Random(1)
    with running(executor, peer):
        for _ in range(500):
            peer.send_bytes(rubbish.randbytes(rubbish.randrange(1, 2000)))
            peer.send_bytes(b"#bundle\0" + rubbish.randbytes(100))
        peer.send(Job("a", "noop"))
        complaints = 0
        for report in peer.reports():
            complaints += isinstance(report, Error)
            if isinstance(report, Accepted):
                break
        assert executor.next_task().operation == "noop"
    assert 1 <= complaints < 100


def test_the_largest_datagram(peer, executor):
    """A command of 65,507 bytes arrives whole."""
    job = Job("a", "draw_circles", (("output", "{n}.png"), ("count", 1), ("centers", "")))
    size = 65_507 - len(osc.encode(job))
    text = ("1 2 " * size)[: size - size % 4]
    with running(executor, peer):
        peer.send(msgspec.structs.replace(job, pairs=(*job.pairs[:2], ("centers", text))))
        assert executor.next_task().params.centers == text


def test_a_peer_that_has_gone_away(peer, executor):
    """A client whose ports are closed harms nobody: the worker goes on to hear and answer the others."""
    with running(executor, peer):
        gone = Peer()
        gone.worker = peer.worker
        gone.send(Hello("gone", gone.text_port, gone.number_port))
        gone.until(Welcome)
        gone.send(*[Job(f"g{n}", "noop") for n in range(50)])
        gone.close()
        for _ in range(50):
            executor.finish(executor.next_task())
        for n in range(20):
            peer.send(Ping(n))
            assert peer.until(Pong).nonce == n


def test_ports_and_hosts_that_cannot_be(peer, executor):
    """A hello that could not be answered is refused, and the worker goes on."""
    with running(executor, peer):
        for port, host in ((99_999, ""), (-1, ""), (1, "no.such.host.invalid"), (1, "x" * 300)):
            peer.send_bytes(osc_message("/worker/hello", "siis", osc_text("x"), struct.pack(">ii", port, 0), osc_text(host)))
            assert peer.until(Error).at == "/worker/hello"
        peer.send(Ping(1))
        assert peer.until(Pong).nonce == 1


def test_duplicates_and_wrong_order(peer, executor):
    """Datagrams that come twice and shuffled, as UDP may bring them: each job runs once."""
    jobs = [osc.encode(Job(f"j{n}", "noop")) for n in range(200)]
    shuffled = jobs * 3
    random.Random(1).shuffle(shuffled)
    ran = []

    def run_task(task, progress):
        ran.append(task.id)
        return Result()

    with running(InlineExecutor(run_task), peer):
        for datagram in shuffled:
            peer.send_bytes(datagram)
        finals = {}
        for report in peer.reports():
            if isinstance(report, Ready):
                assert finals.setdefault(report.id, report.seq) == report.seq
                if len(finals) == 200:
                    break
        peer.send(Sync(1))
        assert peer.until(Synced) == Synced(1, 200, 0)
    assert sorted(finals.values()) == list(range(1, 201))
    assert len(ran) == 200


def test_burst(peer, executor):
    """5,000 commands from one socket without a pause get 5,000 answers, each accepted or 429."""
    datagrams = [osc.encode(Job(f"j{n}", "noop")) for n in range(5000)]
    with running(executor, peer, limits=Limits(queue_jobs=3000)):
        for datagram in datagrams:
            peer.send_bytes(datagram)
        answers = {}
        for report in peer.reports():
            if isinstance(report, Accepted):
                answers[report.id] = 0
            elif isinstance(report, Failed):
                answers[report.id] = report.code
            if len(answers) == 5000:
                break
    assert list(answers.values()).count(0) == 3002  # two of them run
    assert list(answers.values()).count(429) == 1998


def test_cancel_reaches_the_executor(peer, executor):
    """A running job that is cancelled is aborted."""
    with running(executor, peer):
        peer.send(Job("a", "noop"))
        task = executor.next_task()
        peer.send(Cancel("a"))
        assert executor.aborted.get(timeout=60) == task.id
        assert peer.until(Failed).code == 499


def test_describe(peer, executor):
    """Each operation in datagrams of its own."""
    with running(executor, peer):
        peer.send_bytes(osc_message("/worker/describe", ""))
        missing = set(CATALOG)
        while missing:
            missing.discard(peer.until(OperationDescription).name)


def test_taken_port(peer, executor):
    """A port that somebody has is an error at once, and stays theirs."""
    with running(executor, peer) as service:
        host, port = service.address
        with pytest.raises(OSError, match=r"[Aa]ddress|[Ss]ocket"), running(HoldingExecutor(), Peer(), host=host, port=port):
            pass
        peer.send(Ping(1))
        assert peer.until(Pong).nonce == 1


def test_stop(peer, executor):
    """Asked to stop, it ends its jobs first, and gives the port back."""
    with running(executor, peer) as service:
        peer.send(Job("a", "noop"))
        task = executor.next_task()
        service.stop("test")
        assert peer.until(lambda report: isinstance(report, Status) and report.word == "Draining")
        executor.finish(task)
        assert peer.until(Ready).id == "a"
        assert peer.until(lambda report: isinstance(report, Status) and report.word == "Stopping")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(peer.worker)


def test_an_error_inside_harms_nobody(peer, executor, monkeypatch, caplog):
    """A mistake of ours in one event is logged, and the worker lives on."""
    with running(executor, peer) as service:
        take = service._scheduler.take

        def fails(event, now):
            if isinstance(event, StopAsked) and event.reason == "bad":
                raise RuntimeError("a mistake of ours")
            take(event, now)

        monkeypatch.setattr(service._scheduler, "take", fails)
        service.stop("bad")
        peer.send(Ping(1))
        assert peer.until(Pong).nonce == 1
    assert "a mistake of ours" in caplog.text
