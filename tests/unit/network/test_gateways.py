"""Who sent a packet to a worker in a container."""

from __future__ import annotations

from worker.network.gateways import Senders
from worker.protocol.messages import Hello, Ping

GATEWAY = "172.17.0.1"


def test_a_hello_without_a_port_goes_back_through_the_gateway():
    """Its reports go to the gateway, which brings them to its source port; a hello with a port, or a host, is left as it is."""
    senders = Senders("192.168.65.254", frozenset({GATEWAY}))
    asked = (Hello("a", 0, 0), Hello("b", 9461, 0), Hello("c", 0, 0, "10.0.0.9"), Ping(1))
    received = senders.received((GATEWAY, 50000), asked)
    assert received.peer == ("192.168.65.254", 50000)
    assert received.commands == (Hello("a", 0, 0, GATEWAY), *asked[1:])
    assert senders.received(("10.0.0.7", 50000), asked).commands == asked
