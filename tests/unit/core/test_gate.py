"""Strangers are counted and not let in; nobody sends without end."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.strategies import osc_bundle
from worker.core.gate import Gate
from worker.protocol import osc
from worker.protocol.messages import Hello, Job

JOB = osc.encode(Job("a", "noop"))
HELLO = osc.encode(Hello("td", 0, 0))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_computer_is_let_in(host):
    """Without any setting, and in whichever way its address is written."""
    assert Gate().admits(JOB, (host, 5000))


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.2", "fe80::1%eth0", "not-an-address", ""])
def test_others_are_counted_and_not_let_in(host):
    """Neither their jobs nor their hellos, where there is no token."""
    gate = Gate()
    assert not gate.admits(JOB, (host, 5000))
    assert not gate.admits(HELLO, (host, 5000))
    assert gate.strangers == 2


def test_allowed_networks_are_let_in():
    """Single addresses and networks, of both families."""
    gate = Gate([ip_network("10.0.0.0/24"), ip_network("192.168.0.7"), ip_network("fd00::/8")])
    assert [gate.knows(host) for host in ("10.0.0.255", "10.0.1.0", "192.168.0.7", "192.168.0.8", "fd12::1", "fe80::1")] == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]


def test_a_token_lets_a_computer_in():
    """Before it is told, only a hello is read; the wrong token changes nothing; the right one lets all of that computer's packets in."""
    gate = Gate(token="geheim-ß")
    stranger, other_port = ("10.0.0.1", 5000), ("10.0.0.1", 6000)
    assert gate.admits(HELLO, stranger)
    assert not gate.admits(JOB, stranger)
    assert not gate.introduces("10.0.0.1", "geheim")
    assert not gate.introduces("10.0.0.1", "")
    assert not gate.admits(JOB, stranger)
    assert gate.introduces("10.0.0.1", "geheim-ß")
    assert gate.admits(JOB, other_port)
    assert not gate.knows("10.0.0.2")


def test_a_hello_in_a_bundle_is_read():
    """Wherever it stands in it; a bundle of other commands is not."""
    gate = Gate(token="secret")
    stranger = ("10.0.0.1", 5000)
    assert gate.admits(osc_bundle(HELLO, JOB), stranger)
    assert gate.admits(osc_bundle(JOB, HELLO), stranger)
    assert not gate.admits(osc_bundle(JOB), stranger)
    assert not gate.admits(JOB + HELLO, stranger)
    assert not Gate().admits(osc_bundle(HELLO), stranger)


def test_without_a_token_none_is_right():
    """An empty setting is no password."""
    assert not Gate().is_token("")
    assert not Gate().introduces("10.0.0.1", "")


def test_a_burst_is_let_through_and_a_flood_is_not():
    """A sender has a burst, then its rate; what was dropped is told once a second."""
    gate = Gate(packets_per_s=10, burst=20)
    td = ("127.0.0.1", 5000)
    verdicts = [gate.throttled(td, 0.0) for _ in range(25)]
    assert verdicts == [None] * 20 + [1, 0, 0, 0, 0]
    assert [gate.throttled(td, 0.5) for _ in range(6)] == [None] * 5 + [0]
    assert [gate.throttled(td, 1.0) for _ in range(6)] == [None] * 5 + [6]
    assert gate.throttled(("127.0.0.1", 5001), 1.0) is None


def test_many_senders_take_bounded_memory():
    """Whoever makes up senders does not fill the worker."""
    gate = Gate()
    for number in range(10_000):
        gate.throttled(("127.0.0.1", number), 0.0)
        gate.knows(f"10.0.{number // 256}.{number % 256}")
    assert len(gate._senders) <= 4096
    assert len(gate._verdicts) <= 4096
