"""Packets that wait are bounded in number and in bytes, whatever they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.service.inbox import PACKET_COST, Inbox

SENDER = ("10.0.0.1", 5000)


@given(st.lists(st.integers(0, 3000) | st.none(), max_size=60), st.integers(1, 20), st.integers(1, 10_000))
def test_bounds(steps, packets, size_bytes):
    """What is taken in comes out in order, and all that waits is within both limits; the rest is counted as lost. None takes one out."""
    inbox, waiting, lost = Inbox(packets, size_bytes), [], 0
    for number, step in enumerate(steps):
        if step is None:
            if waiting:
                assert inbox.take() == (waiting.pop(0), SENDER)
            continue
        datagram = number.to_bytes(2, "big") + bytes(step)
        cost = sum(len(one) + PACKET_COST for one in (*waiting, datagram))
        fits = len(waiting) < packets and cost <= size_bytes
        assert inbox.add(datagram, SENDER) == fits
        waiting += [datagram] if fits else []
        lost += not fits
        assert (len(inbox), inbox.lost) == (len(waiting), lost)
