"""What the operator wants, who comes by way of the page and not as a client. Pure."""

from __future__ import annotations

from worker.core.events import CancelAsked, ReportAsked, WatchAsked
from worker.core.questions import Questions
from worker.core.status import StatusBoard
from worker.core.telling import Telling

Wish = CancelAsked | ReportAsked | WatchAsked


class Wishes:
    """Has each carried out by the part that can.

    Args:
        questions: ends jobs.
        board: reports to everybody.
        telling: tells those who watch.
    """

    def __init__(self, questions: Questions, board: StatusBoard, telling: Telling) -> None:
        self._questions = questions
        self._board = board
        self._telling = telling

    def take(self, wish: Wish, now: float) -> None:
        """Carries one out."""
        match wish:
            case CancelAsked():
                self._questions.cancel_asked(wish, now)
            case ReportAsked():
                self._board.report_again(now)
            case WatchAsked():
                self._telling.all(now)
