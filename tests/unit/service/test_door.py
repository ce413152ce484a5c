"""What strangers send ends at the door: unread if it is long or too much, and kept nowhere."""

from __future__ import annotations

import struct
import types

import pytest
from msgspec.structs import replace

from tests.strategies import osc_bundle, osc_message, osc_text
from worker.core.events import Throttled
from worker.core.gate import MIN_TOKEN, STRANGERS_BURST, Gate
from worker.network.gateways import Senders
from worker.protocol import osc
from worker.protocol.messages import Challenge, Hello, Job
from worker.service import door as door_module
from worker.service.door import Door

TOKEN = "sixteen-letters-at-least"
HELLO = Hello("td", 0, 0, "", TOKEN)
RIGHT = osc.encode(HELLO)
WRONG = osc.encode(Hello("td", 0, 0, "", "another"))
STRANGER = ("10.0.0.1", 5000)
SENDERS = Senders("", frozenset())


@pytest.fixture
def at_once(monkeypatch):
    """All comes at the same moment, however long the test takes."""
    monkeypatch.setattr(door_module, "time", types.SimpleNamespace(monotonic=lambda: 100.0))


class Entrance(Door):
    """A door that notes what is sent."""

    def __init__(self, senders: Senders = SENDERS, **settings) -> None:
        self.gate = Gate(token=TOKEN, secret=b"s", **settings)
        self.sent = []
        super().__init__(self.gate, senders, lambda report, peer: self.sent.append((report, peer)))

    def answered(self, hello: Hello) -> bytes:
        """This hello, with the number that was sent last."""
        return osc.encode(replace(hello, nonce=self.sent[-1][0].nonce))


def test_a_large_hello_is_not_decoded(monkeypatch):
    """60 of them a second stopped the heartbeat when they were."""
    monkeypatch.setattr(osc, "decode_commands", lambda _datagram: pytest.fail("it was decoded"))
    door = Entrance()
    large = b"/worker/hello\0\0\0," + b"T" * 60_000
    assert door.arrived(large + b"\0" * (-len(large) % 4), STRANGER) is None


def test_nothing_is_decoded_before_the_token_is_right(monkeypatch, at_once):
    """However much strangers send; and none of it is kept or answered."""
    monkeypatch.setattr(osc, "decode_commands", lambda _datagram: pytest.fail("it was decoded"))
    door = Entrance()
    packets = [WRONG, RIGHT[:-8], osc_bundle(WRONG, RIGHT), osc_bundle(osc.encode(Job("a", "noop")), WRONG)]
    for number in range(5000):
        assert door.arrived(packets[number % len(packets)], (f"10.0.{number % 200}.1", number)) is None
    assert door.gate.strangers >= 5000 - STRANGERS_BURST
    assert door.sent == []


def test_a_job_that_looks_like_a_hello_lets_nobody_in():
    """The bytes of a hello may stand within something else: then what was decoded counts."""
    door = Entrance()
    assert (
        door.arrived(osc_bundle(osc_message("/worker/job", "sb", osc_text("a"), struct.pack(">i", len(RIGHT)) + RIGHT)), STRANGER) is None
    )
    assert door.sent == []


def test_the_token_lets_in():
    """With the number. Then everything goes on that this computer sends, and too much of it is reported."""
    door = Entrance(packets_per_s=1, burst=2)
    assert door.arrived(b"/worker/ping\0\0\0\0,\0\0\0", STRANGER) is None
    assert door.sent == []
    assert door.arrived(RIGHT, STRANGER) is None
    answer = door.answered(HELLO)
    assert door.arrived(answer, STRANGER) == (answer, STRANGER)
    assert door.arrived(b"rubbish", STRANGER) == (b"rubbish", STRANGER)
    assert door.arrived(b"rubbish", STRANGER) == Throttled(STRANGER, 1)
    assert door.arrived(b"rubbish", ("10.0.0.2", 5000)) is None


def test_a_stranger_is_not_told_that_he_sends_too_much():
    """What is said about dropped packets makes a client of its sender, so it is said to those only who are let in."""
    door = Entrance(packets_per_s=1, burst=1)
    assert {door.arrived(WRONG, STRANGER) for _ in range(50)} == {None}


def test_the_number_goes_where_the_reports_would_go():
    """Back to the sender's port, or to the port that the hello names: a TouchDesigner sends from one port and listens at another."""
    door = Entrance()
    for hello in (HELLO, replace(HELLO, text_port=9461), replace(HELLO, text_port=9461, host="10.0.0.9")):
        door.arrived(osc.encode(hello), STRANGER)
    assert [peer for _, peer in door.sent] == [STRANGER, ("10.0.0.1", 9461), ("10.0.0.1", 9461)]
    answer = door.answered(HELLO)
    assert door.arrived(answer, STRANGER) is None  # the number was sent to another port
    assert door.arrived(door.answered(HELLO), STRANGER) is not None


def test_the_number_takes_the_way_of_the_reports_through_a_gateway():
    """To a report port that the hello names at the computer behind it; back to the sender's port at the gateway itself."""
    door = Entrance(Senders("192.168.65.254", frozenset({"172.17.0.1"})))
    gateway = ("172.17.0.1", 5000)
    for hello in (HELLO, replace(HELLO, text_port=9461)):
        assert door.arrived(osc.encode(hello), gateway) is None
    assert [peer for _, peer in door.sent] == [gateway, ("192.168.65.254", 9461)]
    assert door.arrived(door.answered(replace(HELLO, text_port=9461)), gateway) is not None


def test_a_stranger_is_sent_less_than_came():
    """The shortest hello that can have a token is longer than the number; a wrong number is answered as none."""
    shortest = Hello("", 0, 0, "", "t" * MIN_TOKEN)
    assert len(osc.encode(Challenge(2**31 - 1))) <= len(osc.encode(shortest)) / 2
    door = Entrance()
    assert door.arrived(osc.encode(replace(HELLO, nonce=7)), STRANGER) is None
    assert len(door.sent) == 1


def test_strangers_with_the_token_are_sent_few_numbers(at_once):
    """However many hellos somebody forges."""
    door = Entrance()
    for number in range(5000):
        door.arrived(RIGHT, (f"10.0.{number % 200}.1", number))
    assert 0 < len(door.sent) <= STRANGERS_BURST
