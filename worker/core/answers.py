"""Long answers, a slice at a time: whoever asks for much waits for it, and nobody else does. Pure.

An answer is an iterator of reports. The first slice goes out at once, so that short answers are whole where the question stood; the rest
follows, with a turn for each client. A client has a budget of bytes, and a report counts more than its bytes, because it takes time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator

import msgspec

from worker.core.delivery import Delivery
from worker.protocol.messages import Report
from worker.timers import Timers

#: How many reports of all answers are sent in a slice, and how often there is one: 12,800 a second.
SLICE = 64
SLICE_EVERY_S = 0.005
#: How many answers to one client may be under way.
MAX_OPEN = 16
#: What one client's answers may amount to, and what each report counts beside its bytes.
BYTES_PER_S = 2 * 2**20
BURST_BYTES = 512 * 2**10
REPORT_COST = 150
#: Clients whose budgets are known; a client that is forgotten has its whole budget again.
MAX_BUDGETS = 1024


class _Asker(msgspec.Struct):
    """A client: what it may still be sent, and the answers that are under way."""

    left: float = BURST_BYTES
    filled_at: float = 0.0
    open: OrderedDict[Hashable, Iterator[Report]] = msgspec.field(default_factory=OrderedDict)

    def fill(self, now: float) -> None:
        self.left = min(BURST_BYTES, self.left + (now - self.filled_at) * BYTES_PER_S)
        self.filled_at = now


class Answers:
    """All answers that are under way.

    Args:
        delivery: sends the reports.
        timers: of the scheduler.
    """

    def __init__(self, delivery: Delivery, timers: Timers) -> None:
        self._delivery = delivery
        self._timers = timers
        self._askers: OrderedDict[str, _Asker] = OrderedDict()
        self._waiting: OrderedDict[str, _Asker] = OrderedDict()  # those with open answers, in the order of their turns
        self._timer: int | None = None
        self._slice_at = float("-inf")
        self._sent = 0

    def __len__(self) -> int:
        """How many answers are under way."""
        return sum(len(asker.open) for asker in self._waiting.values())

    def begin(self, client: str, question: Hashable, reports: Iterator[Report], now: float) -> bool:
        """Begins an answer. False if too many of this client are under way; the same question again changes nothing.

        Args:
            client: its key.
            question: tells the client's questions from each other.
            reports: the answer; the next one is asked for when it can be sent.
            now: the time.
        """
        asker = self._askers.get(client)
        if asker is None:
            asker = self._askers[client] = _Asker(filled_at=now)
            self._forget()
        self._askers.move_to_end(client)
        if question in asker.open:
            return True
        if len(asker.open) >= MAX_OPEN:
            return False
        asker.open[question] = reports
        self._waiting[client] = asker
        self._go_on(now)
        return True

    def _forget(self) -> None:
        """Those with open answers are kept; there are no more of them than clients."""
        if len(self._askers) > MAX_BUDGETS:
            idle = next((client for client, asker in self._askers.items() if not asker.open), "")
            self._askers.pop(idle, None)

    def _go_on(self, now: float) -> None:
        """Sends what may be sent now."""
        if now >= self._slice_at + SLICE_EVERY_S:
            self._slice_at, self._sent = now, 0
        for asker in self._waiting.values():
            asker.fill(now)
        able = True
        while able and self._sent < SLICE:
            able = False
            for client in list(self._waiting):
                able |= self._sent < SLICE and self._send_one(client)
        if self._waiting and self._timer is None:
            self._timer = self._timers.at(now + SLICE_EVERY_S, self._rang)

    def _rang(self, now: float) -> None:
        self._timer = None
        self._go_on(now)

    def _send_one(self, client: str) -> bool:
        """Sends the next report to a client, if its budget allows one; its other answers, and other clients, are next."""
        asker = self._waiting[client]
        if asker.left <= 0:
            return False
        self._waiting.move_to_end(client)
        question, reports = next(iter(asker.open.items()))
        report = next(reports, None)
        if report is None:
            del asker.open[question]
            if not asker.open:
                del self._waiting[client]
            return True
        asker.left -= REPORT_COST + size_of(report)
        self._sent += 1
        self._delivery.answer_late(client, report)
        return True


def size_of(report: Report) -> int:
    """About how many bytes a report takes: its texts, and eight for each number.

    >>> from worker.protocol.messages import File
    >>> size_of(File("a", "images/out.png", 5, 4, 3))
    39
    """
    return sum(len(value) if isinstance(value, str) else 8 for value in report.arguments())
