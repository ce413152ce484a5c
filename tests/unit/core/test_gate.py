"""Strangers are counted and not let in; nobody sends without end."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from tests.strategies import osc_bundle
from worker.core.gate import (
    CHALLENGE_S,
    MAX_SENDERS,
    MAX_STRANGER_BYTES,
    MAX_TOKEN,
    STRANGERS_BURST,
    STRANGERS_PER_S,
    WRONG_BURST,
    WRONG_PER_S,
    Gate,
)
from worker.protocol import osc
from worker.protocol.messages import Hello, Job

JOB = osc.encode(Job("a", "noop"))
HELLO = osc.encode(Hello("td", 0, 0))
STRANGER = ("10.0.0.1", 5000)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_computer_is_let_in(host):
    """Without any setting, and in whichever way its address is written."""
    assert Gate().knows(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "127.0.0.2", "fe80::1%eth0", "not-an-address", ""])
def test_others_are_counted_and_not_let_in(host):
    """Neither their jobs nor their hellos, where there is no token."""
    gate = Gate()
    assert not gate.knows(host)
    assert not gate.hears(JOB, 0.0)
    assert not gate.hears(HELLO, 0.0)
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
    """Only a hello is looked into; the wrong token is not trusted; the number that comes back lets that computer in, and no other."""
    gate = Gate(token="geheim-ß", secret=b"s")
    assert gate.hears(HELLO, 0.0)
    assert not gate.hears(JOB, 0.0)
    assert [gate.trusts(token, 0.0) for token in (b"geheim", b"", "geheim-ß".encode())] == [False, False, True]
    assert not gate.knows("10.0.0.1")
    assert gate.introduces(STRANGER, gate.challenge(STRANGER, 0.0), 0.0)
    assert gate.knows("10.0.0.1")
    assert not gate.knows("10.0.0.2")


def test_the_number_is_of_one_address_one_time_and_one_start():
    """So that no other computer, port or start of the worker is let in by it, and nobody long after."""
    gate = Gate(token="secret", secret=b"one")
    number = gate.challenge(STRANGER, 10.0)
    assert 0 < number < 2**31
    others = [("10.0.0.1", 5001), ("10.0.0.2", 5000)]
    assert not any(gate.introduces(other, number, 10.0) for other in others)
    assert not Gate(token="secret", secret=b"two").introduces(STRANGER, number, 10.0)
    assert not any(gate.introduces(STRANGER, wrong, 10.0) for wrong in (0, -1, number + 1, number + 2**32))
    assert not gate.introduces(STRANGER, number, 2 * CHALLENGE_S)
    assert not gate.introduces(STRANGER, number, 10.0 - CHALLENGE_S)
    assert gate.introduces(STRANGER, number, 2 * CHALLENGE_S - 0.1)


def test_a_hello_in_a_bundle_is_read():
    """Wherever it stands in it; a bundle of other commands is not."""
    gate = Gate(token="secret")
    assert gate.hears(osc_bundle(HELLO, JOB), 0.0)
    assert gate.hears(osc_bundle(JOB, HELLO), 0.0)
    assert not gate.hears(osc_bundle(JOB), 0.0)
    assert not gate.hears(JOB + HELLO, 0.0)
    assert not Gate().hears(osc_bundle(HELLO), 0.0)


def test_a_hello_with_the_longest_token_is_short_enough():
    """And anything longer is not looked into, whatever it is."""
    gate = Gate(token="t" * MAX_TOKEN)
    longest = osc.encode(Hello("a TouchDesigner in a rack", 65_535, 65_535, "255.255.255.255", "t" * MAX_TOKEN, 1))
    assert len(longest) <= MAX_STRANGER_BYTES
    assert gate.hears(longest, 0.0)
    assert not gate.hears(HELLO + b"/worker/ping\0\0\0\0,\0\0\0" * 20, 0.0)


def test_strangers_share_one_bucket():
    """However many there are, few of their hellos are looked into."""
    gate = Gate(token="secret")
    assert sum(gate.hears(HELLO, 0.0) for _ in range(10_000)) == STRANGERS_BURST
    assert sum(gate.hears(HELLO, 1.0) for _ in range(10_000)) == STRANGERS_PER_S


def test_wrong_tokens_slow_all_strangers():
    """So a token cannot be tried out, from however many computers. Those that are let in notice nothing."""
    gate = Gate(token="secret")
    gate.introduces(STRANGER, gate.challenge(STRANGER, 0.0), 0.0)
    compared = 0
    for step in range(6_000):  # ten minutes
        now = step / 10
        for _ in range(20):
            if gate.hears(HELLO, now):
                compared += 1
                gate.trusts(b"wrong", now)
    assert compared < 600 * (WRONG_PER_S + 1) + WRONG_BURST
    assert gate.knows(STRANGER[0])
    assert gate.hears(HELLO, 700.0)


def test_without_a_token_none_is_right():
    """An empty setting is no password."""
    assert not Gate().is_token("")
    assert not Gate().trusts(b"", 0.0)


def test_a_burst_is_let_through_and_a_flood_is_not():
    """A sender has a burst, then its rate; what was dropped is told once a second."""
    gate = Gate(packets_per_s=10, burst=20)
    td = ("127.0.0.1", 5000)
    verdicts = [gate.throttled(td, 0.0) for _ in range(25)]
    assert verdicts == [None] * 20 + [1, 0, 0, 0, 0]
    assert [gate.throttled(td, 0.5) for _ in range(6)] == [None] * 5 + [0]
    assert [gate.throttled(td, 1.0) for _ in range(6)] == [None] * 5 + [6]
    assert gate.throttled(("127.0.0.1", 5001), 1.0) is None


def test_the_ports_of_one_computer_share_its_rate():
    """Otherwise a program with a thousand sockets sends a thousand times as much; and another computer has a rate of its own."""
    gate = Gate(packets_per_s=10, burst=20)
    admitted = [gate.throttled(("10.0.0.1", port), 0.0) for port in range(1000)]
    assert admitted.count(None) == 40
    assert gate.throttled(("10.0.0.2", 1), 0.0) is None


def test_large_packets_cost_more():
    """A rate of packets alone would allow 65 kB each."""
    gate = Gate(packets_per_s=10, burst=32)
    assert [gate.throttled(("127.0.0.1", 5000), 0.0, 65_507) for _ in range(4)] == [None, None, 1, 0]


def test_many_senders_take_bounded_memory():
    """Whoever makes up senders does not fill the worker, not even with the token."""
    gate = Gate(token="secret")
    for number in range(10_000):
        host = f"10.0.{number // 256}.{number % 256}"
        gate.throttled((host, number), 0.0)
        gate.knows(host)
        gate.introduces((host, 1), gate.challenge((host, 1), 0.0), 0.0)
    assert max(map(len, (gate._senders, gate._hosts, gate._verdicts, gate._introduced))) <= MAX_SENDERS
