"""Who does not belong here gets no answer, whatever he sends."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Self

import pytest

from tests.inline import InlineExecutor
from tests.strategies import osc_bundle
from worker.config import Config, Limits
from worker.core.jobs import Result
from worker.protocol import osc
from worker.protocol.messages import Hello, Job, Ping, Pong, Quit, Ready, Report, Status, Welcome
from worker.service.loop import Service


@contextlib.contextmanager
def running(**settings) -> Iterator[Service]:
    service = Service(Config(port=0, text_port=1, number_port=1, **settings), InlineExecutor(lambda _task, _progress: Result()))
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
        stranger.send(Hello("x", 0, 0, "", "secret"))
        stranger.wait_for(Welcome)  # what he sends before is a stranger's still
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
    """With the right token, and the jobs beside it are taken."""
    with running(token="secret") as service, Sender("127.0.0.2", service) as stranger:
        for token in ("wrong", "secret"):
            packets = [osc.encode(Hello("x", 0, 0, "", token)), osc.encode(Job(token, "noop"))]
            stranger.socket.sendto(osc_bundle(*packets), service.address)
        assert stranger.wait_for(Ready).id == "secret"


def test_a_stranger_who_sends_too_much_hears_nothing():
    """What is said about dropped packets goes to those who are let in only: otherwise it would make a client of a stranger."""
    with running(token="secret", limits=Limits(packets_per_s=1, packets_burst=2)) as service, Sender("127.0.0.2", service) as stranger:
        for _ in range(50):
            stranger.send(Hello("x", 0, 0, "", "wrong"))
        assert stranger.hears_nothing()
