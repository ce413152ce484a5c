from __future__ import annotations

import pytest
from msgspec.structs import replace

from worker.config import Config, Limits
from worker.core.delivery import Delivery
from worker.core.events import Send
from worker.protocol.messages import Error, Hello, Ready
from worker.timers import Timers

TD = ("10.0.0.1", 50_000)
READY = Ready("a", 0, 1, 0, 0, 0, "noop")


class Desk:
    """A delivery with its timers, and what it has sent."""

    def __init__(self, **limits):
        self.sent = []
        self.timers = Timers()
        self.delivery = Delivery(Config(limits=Limits(**limits)), self.timers, self.sent.append)

    def times(self, until):
        """When something was sent, up to a time."""
        times = []
        while (deadline := self.timers.next_deadline()) is not None and deadline <= until:
            before = len(self.sent)
            self.timers.run_due(deadline)
            times += [round(deadline, 3)] * (len(self.sent) - before)
        return times

    def final(self, client, now):
        final = replace(READY, seq=self.delivery.next_seq(client.key))
        self.delivery.deliver(client.key, final, now)
        return final


def test_unknown_sender():
    """A command from an address that nobody knows makes it a client with the default report ports."""
    client = Desk().delivery.heard_from(TD, 0.0)
    assert (client.key, client.text, client.numbers) == ("10.0.0.1:9461", ("10.0.0.1", 9461), ("10.0.0.1", 9462))


def test_hello():
    """A hello says where reports go; later packets from the same address belong to the same client."""
    delivery = Desk().delivery
    client = delivery.hello(TD, Hello("td", 7001, 7002), 0.0)
    assert (client.key, client.numbers) == ("10.0.0.1:7001", ("10.0.0.1", 7002))
    assert delivery.heard_from(TD, 1.0) is client


def test_hello_with_port_zero():
    """Port 0 is the port that the packet came from for text, and none for numbers."""
    client = Desk().delivery.hello(TD, Hello("td", 0, 0), 0.0)
    assert (client.text, client.numbers) == (TD, None)


def test_bundles():
    """Only what goes to a client that asked for bundles may share a datagram; a fixed target of the same report never has to."""
    desk = Desk()
    client = desk.delivery.hello(TD, Hello("td", 7001, 0, bundles=1), 0.0)
    desk.delivery.send(client.key, READY)
    desk.delivery.hello(TD, Hello("td", 7001, 0), 1.0)
    desk.delivery.answer(client.key, READY)
    assert desk.sent == [Send(("10.0.0.1", 7001), READY, bundled=True), Send(("10.0.0.1", 7001), READY)]


def test_hello_for_another_host():
    """Reports may go to another machine than the one that asks."""
    client = Desk().delivery.hello(TD, Hello("td", 7001, 7002, "10.0.0.9"), 0.0)
    assert (client.text, client.numbers) == (("10.0.0.9", 7001), ("10.0.0.9", 7002))


def test_two_senders_of_one_client():
    """Who wants its reports at the same place is the same client: TouchDesigner after a restart, or a second operator in it."""
    delivery = Desk().delivery
    assert delivery.heard_from(TD, 0.0) is delivery.heard_from(("10.0.0.1", 50_001), 1.0)


def test_numbers_without_a_gap():
    """Each client's finals are numbered from 1, without a gap."""
    delivery = Desk().delivery
    one, two = delivery.heard_from(TD, 0.0), delivery.heard_from(("10.0.0.2", 1), 0.0)
    assert [delivery.next_seq(client.key) for client in (one, two, one, one, two)] == [1, 1, 2, 3, 2]


def test_numbers_of_a_forgotten_client():
    """A client that was forgotten goes on where it was."""
    delivery = Desk(clients=1).delivery
    delivery.next_seq(delivery.heard_from(TD, 0.0).key)
    delivery.heard_from(("10.0.0.2", 1), 1.0)
    assert delivery.next_seq(delivery.heard_from(TD, 2.0).key) == 2


def test_twice():
    """A final goes twice to a client that does not acknowledge."""
    desk = Desk()
    desk.final(desk.delivery.heard_from(TD, 0.0), 0.0)
    assert len(desk.sent) == 1
    assert desk.times(until=100.0) == [0.1]


def test_until_acknowledged():
    """To one that does it goes until it is acknowledged, at intervals that double up to five seconds."""
    desk = Desk(lease_ms=1_000_000)
    client = desk.delivery.hello(TD, Hello("td", 1, 0, acknowledges=1), 0.0)
    final = desk.final(client, 0.0)
    assert desk.times(until=20.0) == [0.1, 0.3, 0.7, 1.5, 3.1, 6.3, 11.3, 16.3]
    desk.delivery.acknowledged(client.key, final.seq, 0.0)
    assert desk.times(until=100.0) == []
    assert {send.report for send in desk.sent} == {final}


def test_until_the_lease_ends():
    """A client that is not heard any more is not sent to for ever; it can ask for a replay when it is back."""
    desk = Desk(lease_ms=2000)
    client = desk.delivery.hello(TD, Hello("td", 1, 0, acknowledges=1), 0.0)
    desk.final(client, 0.0)
    assert desk.times(until=1000.0) == [0.1, 0.3, 0.7, 1.5]
    assert desk.delivery.unacknowledged(client.key) == []


@pytest.mark.parametrize("seq", [0, -1, 2, 2**63])
def test_acknowledged_what_never_was(seq):
    """An acknowledgement of something else is no error and stops nothing."""
    desk = Desk()
    client = desk.delivery.hello(TD, Hello("td", 1, 0, acknowledges=1), 0.0)
    desk.final(client, 0.0)
    desk.delivery.acknowledged(client.key, seq, 0.0)
    assert desk.delivery.unacknowledged(client.key) == [1]


def test_bye():
    """Nothing more is sent to a client that has left, until it is heard again."""
    desk = Desk()
    client = desk.delivery.heard_from(TD, 0.0)
    desk.delivery.bye(client, 0.0)
    desk.delivery.send(client.key, READY)
    assert desk.sent == []
    assert list(desk.delivery.present(0.0)) == []
    desk.delivery.heard_from(TD, 1.0)
    desk.delivery.send(client.key, READY)
    assert desk.sent == [Send(client.text, READY)]


def test_present():
    """One that never said hello counts as present for good, one that did until its lease ends."""
    delivery = Desk(lease_ms=1000).delivery
    silent = delivery.heard_from(TD, 0.0)
    leased = delivery.hello(("10.0.0.2", 1), Hello("td", 1, 0), 0.0)
    assert list(delivery.present(0.9)) == [silent, leased]
    assert list(delivery.present(1.1)) == [silent]
    delivery.heard_from(("10.0.0.2", 1), 2.0)
    assert leased in delivery.present(2.5)


def test_bounded():
    """However many addresses send, only so many clients are kept, the newest ones."""
    desk = Desk(clients=10)
    for n in range(1000):
        desk.delivery.heard_from((f"10.0.{n // 250}.{n % 250}", n + 1), float(n))
    present = [client.key for client in desk.delivery.present(1000.0)]
    assert len(present) == 10
    assert present[-1] == "10.0.3.249:9461"
    assert len(desk.delivery._keys) <= 40


def test_errors_are_limited():
    """At most five errors at once, and five more for each second that passes."""
    desk = Desk()
    client = desk.delivery.heard_from(TD, 0.0)
    for now in [0.0] * 50 + [1.0] * 50 + [1.25] * 50:
        desk.delivery.complain(client, lambda: Error(404, "/x", "Unknown."), now)
    assert len(desk.sent) == 5 + 5 + 1


def test_clients_of_an_earlier_run():
    """A client of an earlier run is known by where its reports went, IPv6 included."""
    delivery = Desk().delivery
    for key in ("10.0.0.1:9461", "10.0.0.1:7001", "::1:9461"):
        delivery.restore_client(key, 0.0)
    assert [(client.text, client.numbers) for client in delivery.present(0.0)] == [
        (("10.0.0.1", 9461), ("10.0.0.1", 9462)),
        (("10.0.0.1", 7001), None),
        (("::1", 9461), ("::1", 9462)),
    ]
    present = {client.key: client for client in delivery.present(3600.0)}
    assert present.keys() == {"10.0.0.1:9461", "::1:9461"}, "no heartbeat for ever to a client that said hello to an earlier run only"
    delivery.restore_client("10.0.0.1:9461", 0.0)
    assert delivery.heard_from(TD, 0.0) is present["10.0.0.1:9461"]


def test_a_client_that_is_not_known_any_more():
    """Its key says where its reports go, and its acknowledgement counts when it comes back."""
    desk = Desk(clients=1)
    key = desk.delivery.hello(TD, Hello("td", 7001, 0, acknowledges=1), 0.0).key
    desk.delivery.heard_from(("10.0.0.2", 1), 0.0)
    desk.delivery.send(key, READY)
    desk.delivery.answer(key, READY)
    assert desk.sent == [Send(("10.0.0.1", 7001), READY)] * 2
    desk.delivery.deliver(key, replace(READY, seq=desk.delivery.next_seq(key)), 0.0)
    desk.delivery.acknowledged(desk.delivery.hello(TD, Hello("td", 7001, 0, acknowledges=1), 0.05).key, 1, 0.05)
    assert desk.times(until=100.0) == []
    assert [*desk.delivery.violations()] == []
