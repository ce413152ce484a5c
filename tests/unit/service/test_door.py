"""What strangers send ends at the door: unread if it is long or too much, and kept nowhere."""

from __future__ import annotations

import pytest

from worker.core.events import Throttled
from worker.core.gate import STRANGERS_BURST, Gate
from worker.network.gateways import Senders
from worker.protocol import osc
from worker.protocol.messages import Hello
from worker.service.door import Door

TOKEN = "sixteen-letters-at-least"
RIGHT = osc.encode(Hello("td", 0, 0, "", TOKEN))
WRONG = osc.encode(Hello("td", 0, 0, "", "another"))
STRANGER = ("10.0.0.1", 5000)


def test_a_large_hello_is_not_decoded(monkeypatch):
    """60 of them a second stopped the heartbeat when they were."""
    monkeypatch.setattr(osc, "decode_commands", lambda _datagram: pytest.fail("it was decoded"))
    door = Door(Gate(token=TOKEN), Senders("", frozenset()))
    large = b"/worker/hello\0\0\0," + b"T" * 60_000
    assert door.arrived(large + b"\0" * (-len(large) % 4), STRANGER) is None


def test_only_a_few_hellos_of_strangers_are_decoded(monkeypatch):
    """Of all strangers together, however fast they send; and none of them is kept or answered."""
    sizes = []
    decode = osc.decode_commands
    monkeypatch.setattr(osc, "decode_commands", lambda datagram: (sizes.append(len(datagram)), decode(datagram))[1])
    gate = Gate(token=TOKEN)
    door = Door(gate, Senders("", frozenset()))
    assert {door.arrived(WRONG, (f"10.0.{number % 200}.1", number)) for number in range(5000)} == {None}
    assert 0 < len(sizes) <= STRANGERS_BURST
    assert gate.strangers >= 5000 - STRANGERS_BURST


def test_the_token_lets_in():
    """Then everything goes on that this computer sends, and too much of it is reported."""
    door = Door(Gate(token=TOKEN, packets_per_s=1, burst=2), Senders("", frozenset()))
    assert door.arrived(b"/worker/ping\0\0\0\0,\0\0\0", STRANGER) is None
    assert door.arrived(RIGHT, STRANGER) == (RIGHT, STRANGER)
    assert door.arrived(b"rubbish", STRANGER) == (b"rubbish", STRANGER)
    assert door.arrived(b"rubbish", STRANGER) == Throttled(STRANGER, 1)
    assert door.arrived(b"rubbish", ("10.0.0.2", 5000)) is None


def test_a_stranger_is_not_told_that_he_sends_too_much():
    """What is said about dropped packets makes a client of its sender, so it is said to those only who are let in."""
    door = Door(Gate(token=TOKEN, packets_per_s=1, burst=1), Senders("", frozenset()))
    assert {door.arrived(WRONG, STRANGER) for _ in range(50)} == {None}
