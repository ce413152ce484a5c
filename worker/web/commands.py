"""How what is asked for over HTTP comes to the scheduler: as commands of a client of its own, so that all rules are the same.

A command goes into the worker's thread as if a packet had brought it. Answers about a job come back by its id.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from worker.core.changes import PAGE, PAGE_HOST, Answered
from worker.core.events import CancelAsked, Event, Received
from worker.protocol.messages import Accepted, Command, Error, Failed, Job, Report, Trigger

if TYPE_CHECKING:
    import asyncio

#: How long somebody waits for the first answer about a job, and how many may wait.
ANSWER_S = 10.0
MOST_WAITING = 10_000

Pairs = Iterable[tuple[str, Any]]


class Commands:
    """See the module's docstring. All methods are called in the server's thread.

    Args:
        tell: lets something happen in the worker's thread.
    """

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell
        self._numbers = itertools.count(1)
        self._run = secrets.token_hex(3)
        self._waiting: dict[str, list[asyncio.Future[Report]]] = {}
        self.errors: list[Error] = []

    def send(self, *commands: Command) -> None:
        """Sends commands, each as a packet of its own."""
        for command in commands:
            self._tell(Received(PAGE, (command,)))

    def cancel(self, jobs: Iterable[tuple[str, str]] = (), *, waiting_only: bool = False) -> None:
        """Ends jobs of any client: those of these clients and ids, or without any all of them."""
        self._tell(CancelAsked(tuple(jobs), waiting_only))

    def new_id(self, prefix: str = "page") -> str:
        """An id that no other job has."""
        return f"{prefix}-{self._run}-{next(self._numbers)}"

    async def job(self, operation: str, pairs: Pairs, job_id: str = "") -> Accepted | Failed:
        """Sends a job, and waits until it is accepted or refused (`Failed` with seq 0).

        Raises:
            TimeoutError: the worker does not answer.
            OverflowError: too many wait for an answer.
        """
        job_id = job_id or self.new_id()
        return await self._answer(job_id, Job(job_id, operation, tuple(pairs)))

    async def press(self, preset: str, job_id: str = "") -> Accepted | Failed:
        """Starts a job from a preset, as a button that is pressed and let go. Waits and raises as `job` does."""
        job_id = job_id or self.new_id("trigger")
        return await self._answer(job_id, Trigger(preset, 1.0, job_id), Trigger(preset, 0.0))

    async def _answer(self, job_id: str, *commands: Command) -> Accepted | Failed:
        """Sends commands, and waits for the first answer about a job. Several may wait for the same one."""
        import asyncio  # the caller runs in its loop already

        if len(self._waiting) >= MOST_WAITING:
            raise OverflowError
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, []).append(answer)
        try:
            self.send(*commands)
            found = await asyncio.wait_for(answer, ANSWER_S)
            assert isinstance(found, Accepted | Failed)  # noqa: S101 - no other is put in below
            return found
        finally:
            self._waiting[job_id].remove(answer)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def heard(self, answered: Answered) -> None:
        """A report has come for the page."""
        report = answered.report
        if answered.peer[0] != PAGE_HOST:
            return
        if isinstance(report, Accepted | Failed):
            for waiting in self._waiting.get(report.id, ()):
                if not waiting.done():
                    waiting.set_result(report)
        elif isinstance(report, Error):
            self.errors = [*self.errors[-31:], report]
