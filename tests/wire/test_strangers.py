"""Who does not belong here gets no answer, whatever he sends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Self

import msgspec
import pytest

from tests.inline import InlineExecutor
from tests.strategies import osc_bundle
from worker.client.client import Client
from worker.client.line import Line
from worker.config import Config, Limits
from worker.core.jobs import Result
from worker.protocol import osc
from worker.protocol.messages import Challenge, Hello, Job, Ping, Pong, Quit, Ready, Report, Status, Welcome
from worker.service.loop import Service


@contextlib.contextmanager
def running(on_port: int = 0, **settings) -> Iterator[Service]:
    config = Config(port=on_port, text_port=1, number_port=1, **settings)
    service = Service(config, InlineExecutor(lambda _task, _progress: Result()))
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield service
    finally:
        service.stop("the test is over", at_once=True)
        thread.join(10)
        assert not thread.is_alive()


class Sender:
    """A socket on an address of this machine that may be a stranger's."""

    def __init__(self, host: str, service: Service) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(5)
        self.worker = service.address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *commands) -> None:
        for command in commands:
            self.socket.sendto(osc.encode(command), self.worker)

    def wait_for(self, kind) -> Report:
        while True:
            for report in osc.decode_reports(self.socket.recv(65_535)):
                if isinstance(report, kind):
                    return report

    def is_let_in(self, hello: Hello) -> None:
        self.send(hello)
        self.send(msgspec.structs.replace(hello, nonce=self.wait_for(Challenge).nonce))
        self.wait_for(Welcome)

    def everything(self, wait_s: float) -> list[bytes]:
        """What comes within this time."""
        datagrams = []
        deadline = time.monotonic() + wait_s
        with contextlib.suppress(TimeoutError):
            while (left := deadline - time.monotonic()) > 0:
                self.socket.settimeout(left)
                datagrams.append(self.socket.recv(65_535))
        return datagrams

    def hears_nothing(self) -> bool:
        self.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            self.socket.recv(65_535)
        self.socket.settimeout(5)
        return True


def test_a_stranger_gets_no_answer():
    """Neither to a hello, nor a job, nor rubbish; and he ends nothing."""
    with running() as service, Sender("127.0.0.2", service) as stranger, Sender("127.0.0.1", service) as known:
        stranger.send(Hello("x", 0, 0), Job("a", "noop"), Ping(1), Quit())
        stranger.socket.sendto(b"rubbish", service.address)
        assert stranger.hears_nothing()
        known.send(Hello("known", 0, 0), Ping(1))
        assert known.wait_for(Pong).nonce == 1


def test_a_token_lets_in_and_a_wrong_one_does_not(caplog):
    """Without the right token there is silence, and one line in the log; with it there are jobs, from any port of that computer."""
    with running(token="secret") as service, Sender("127.0.0.2", service) as stranger, Sender("127.0.0.2", service) as other_port:
        for token in ("", "Secret", "secret "):
            stranger.send(Hello("x", 0, 0, "", token), Job("a", "noop"))
        assert stranger.hears_nothing()
        assert caplog.text.count("no token or a wrong one") == 1
        stranger.is_let_in(Hello("x", 0, 0, "", "secret"))  # what he sends before is a stranger's still
        stranger.send(Job("a", "noop"))
        assert stranger.wait_for(Ready).id == "a"
        other_port.send(Hello("y", 0, 0), Ping(2))
        assert other_port.wait_for(Pong).nonce == 2
        stranger.send(Quit())
        stranger.send(Ping(3))
        assert stranger.wait_for(Pong).nonce == 3
        stranger.send(Quit("secret"))
        while stranger.wait_for(Status).word not in ("Draining", "Stopping"):
            pass


def test_a_hello_in_a_bundle_lets_in():
    """With the right token and the number, and the jobs beside it are taken."""
    with running(token="secret") as service, Sender("127.0.0.2", service) as stranger:
        nonce = 0
        for token in ("wrong", "secret", "secret"):
            packets = [osc.encode(Hello("x", 0, 0, "", token, 0, nonce)), osc.encode(Job(f"{token}-{nonce}", "noop"))]
            stranger.socket.sendto(osc_bundle(*packets), service.address)
            if token == "secret" and not nonce:
                nonce = stranger.wait_for(Challenge).nonce
        assert stranger.wait_for(Ready).id == f"secret-{nonce}"


@pytest.mark.parametrize("reports_to", ["its own port", "another port"])
def test_a_forged_sender_is_not_flooded(reports_to):
    """Somebody who has the token sends hellos and jobs in the name of a computer that has not asked for anything.

    That computer gets fewer bytes than were sent in its name, at any of its ports, at once and later: no heartbeat, no report.
    """
    with (
        running(token="secret", limits=Limits(lease_ms=3000)) as service,
        Sender("127.0.0.2", service) as victim,
        Sender("127.0.0.2", service) as other,
    ):
        text_port = 0 if reports_to == "its own port" else other.socket.getsockname()[1]
        hello = Hello("x", text_port, other.socket.getsockname()[1], "", "secret", 1)
        guessed = msgspec.structs.replace(hello, nonce=1)
        packets = [osc.encode(hello), osc_bundle(osc.encode(hello), osc.encode(Job("a", "noop"))), osc.encode(guessed)]
        for packet in packets:
            victim.socket.sendto(packet, service.address)
        came = [len(datagram) for sender in (victim, other) for datagram in sender.everything(1.5)]
        assert len(came) == len(packets)
        assert sum(came) < sum(map(len, packets)) / 2
        assert not service.load[0]


def test_our_own_client_answers_the_number():
    """From a computer that only the token lets in; and again when the worker has been started anew, whose numbers are others."""

    async def two_starts() -> None:
        with running(host="0.0.0.0", token="secret") as service:
            port = service.address[1]
            client = await Client("127.0.0.2", port, token="secret").connect()
            await (await client.submit("noop")).result()
        with running(host="0.0.0.0", token="secret", on_port=port):
            await (await client.submit("noop")).result()
            await client.__aexit__()

    asyncio.run(two_starts())


def test_a_line_answers_the_number():
    """What `health` and `doctor` use; the commands beside the hello are sent again with it."""
    heard = []

    def worker() -> None:
        while (packet := udp.recvfrom(65_535))[0]:
            (command,) = osc.decode_commands(packet[0])
            heard.append(command)
            if isinstance(command, Hello):
                answer = Welcome("1", 1, 1, 1, 0) if command.nonce == 5 else Challenge(5)
                udp.sendto(osc.encode(answer), packet[1])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=worker)
        thread.start()
        with Line(*udp.getsockname()) as line:
            assert line.ask((Hello("x", 0, 0), Ping(1)), lambda report: isinstance(report, Welcome), 5.0) is not None
        udp.sendto(b"", udp.getsockname())
        thread.join()
    assert heard[:3] == [Hello("x", 0, 0), Ping(1), Hello("x", 0, 0, nonce=5)]


def test_a_stranger_who_sends_too_much_hears_nothing():
    """What is said about dropped packets goes to those who are let in only: otherwise it would make a client of a stranger."""
    with running(token="secret", limits=Limits(packets_per_s=1, packets_burst=2)) as service, Sender("127.0.0.2", service) as stranger:
        for _ in range(50):
            stranger.send(Hello("x", 0, 0, "", "wrong"))
        assert stranger.hears_nothing()
