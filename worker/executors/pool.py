"""Warm child processes, one task at a time each, every one on a socket pair of its own. Built on the standard library's multiprocessing.

    the loop's thread                                                   child
    execute -> a child that is free  ------------- Given ------------>  run_task
    deliver <- poller: its socket can be read  <-- Stepped, Done, ... --
    keeper thread: starts children, and waits until killed ones are gone

Nothing is shared between children, so one that crashes or is killed harms no other; its socket ends, so its death is noticed at once and
without polling. Timeouts are the scheduler's: it knows a job's deadline over all its tasks, and aborts them.

A death is a task's own only if the child had begun it, which it notes in memory that it shares with the parent (`mark.py`). One that had
not is given to the next child, and counts against nobody.

Why no ready-made pool: `noop` through a worker took 455 us at p50 on `ProcessPoolExecutor` (one per child, so that they cannot break each
other; two more threads for each, and every task goes through both) and 293 us on plain pipes, measured in one run. Pebble's pool is as
fast as `ProcessPoolExecutor`, but its children share locks, it looks for dead ones every 0.1 s, and gives a hanging one 3 s.

There is one child more than tasks run at a time: a warm spare, so that after a kill the next task does not wait for a start.
"""

from __future__ import annotations

import logging
import math
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from multiprocessing.process import BaseProcess

import msgspec

from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Phase, Task
from worker.errors import ChildDied, InternalError, NoChild, ResultLost
from worker.executors import child, framing
from worker.executors.base import Deliver, FindMissing, MakeRunTask
from worker.executors.keeper import Keeper, cause, death, processor_s
from worker.executors.mark import Mark
from worker.executors.spin import AWAKE_S, Spin, cores
from worker.poller import Poller

log = logging.getLogger(__name__)

#: How long to wait after a child could not even be started, before the next is tried: twice as long each time, up to the maximum.
START_AGAIN_S = 1.0
START_AGAIN_MAX_S = 60.0
#: So often each child is looked at: one that is idle is asked whether it hears. If nothing came from it since the last look although
#: it had been asked, or had been given a task, it is stopped or hangs: another takes its place.
LOOK_EVERY_S = 5.0
#: Looks in which a child must have become warm.
LOOKS_TO_BE_WARM = 24
#: A task ends if so many children more than there are have died before they had begun it: none can even read it.
TRIES_TO_BEGIN = 3

_READ_AT_ONCE = 2**16

_ABORTED = Failure.of(ChildDied("The task was aborted."))


class KeeperEnded(InternalError):
    """The thread that starts child processes has ended, so no more can be started."""


class _Child(msgspec.Struct, eq=False):
    """One child process.

    Attributes:
        warm: it has imported everything and waits for tasks, or runs one.
        aborted: it is being killed because its task is not wanted any more, or because it hangs.
        reason: the traceback of a child that could not make itself ready.
        mark: the task that it began last.
        unsent: what it has yet to be told. One task at most: it is given none before the last one has ended.
        heard: something came from it since it was last looked at.
        asked: it was looked at and owes a sign of life.
        looks: how often it was looked at while it was not warm.
        steps: how far it says that its task is.
        used_s: its processor time at the last look, if it had the same task then; otherwise infinite.
        lost: why its outcome is not to be trusted; then the task fails with this.
        taught: the version of each file with operations that it has been sent.
    """

    process: BaseProcess
    link: socket.socket
    mark: Mark
    pieces: framing.Frames = msgspec.field(default_factory=framing.Frames)
    warm: bool = False
    aborted: bool = False
    reason: str = ""
    task: Task | None = None
    unsent: bytes | memoryview = b""
    heard: bool = True
    asked: bool = False
    looks: int = 0
    steps: int = 0
    used_s: float = math.inf
    lost: Failure | None = None
    taught: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def free(self) -> bool:
        return self.warm and self.task is None and not self.aborted

    @property
    def begun(self) -> bool:
        """Whether it has begun its task, so that what happens from then on is the task's."""
        return self.task is not None and self.mark.task_id == self.task.id

    def has_worked(self) -> bool:
        """Whether it has used the processor for its task since this was last asked. A task of one long step says nothing by itself."""
        if not self.begun or self.aborted:
            return False
        try:
            before, self.used_s = self.used_s, processor_s(self.process)
        except OSError:  # it has just ended, as the next reading will notice
            return False
        return self.used_s > before


class PoolExecutor:
    """See the module's docstring. Everything but the keeper happens in the thread of the poller, so there are no locks.

    Args:
        workers: how many tasks run at a time.
        make_run_task: called once in each child; gives the function that carries out its tasks. Importable by name.
        spares: how many warm children more are kept.
        find_missing: called in each child after that, and importable likewise.
        patient: a spare is started only while no task runs, because starting one takes half a second of a core; and this process never
            stays awake for a task (`spin`).

    Attributes:
        children_ended: how many child processes have ended so far, and were replaced.
    """

    def __init__(
        self, workers: int, make_run_task: MakeRunTask, spares: int = 1, find_missing: FindMissing = dict, *, patient: bool = False
    ) -> None:
        self._size = workers + spares
        self.workers = workers
        self._patient = patient
        self._spin = None if patient else Spin(cores())
        self._keeper = Keeper(child.main, (make_run_task, find_missing, not patient))
        self._deliver: Deliver = lambda _: None
        self._poller: Poller | None = None
        self._children: dict[_Child, None] = {}
        self._dying: dict[_Child, None] = {}
        self._starting = 0
        self._waiting: deque[Task] = deque()
        self._tries: dict[int, int] = {}
        self._start_at = 0.0
        self._failed_starts = 0
        self._reason = ""
        self._working = False
        self._closing = False
        self.children_ended = 0

    def begin(self) -> None:
        """Starts the first child before `start`, so that it warms up while the worker still imports what it does not need for that."""
        self._starting += 1
        self._keeper.run(self._ended_unseen)
        self._keeper.begin(self._started, self._not_started)

    def start(self, deliver: Deliver, poller: Poller) -> None:
        self._deliver = deliver
        self._poller = poller
        self._keeper.start(poller.call, self._ended_unseen)
        self._fill()
        poller.at(poller.now() + LOOK_EVERY_S, self._look)

    @property
    def counts(self) -> tuple[int, int]:
        """How many children are warm, and how many of these have a task."""
        warm = [one for one in list(self._children) if one.warm and not one.aborted]
        return len(warm), sum(one.task is not None for one in warm)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the warm children."""
        return tuple(one.process.pid or 0 for one in list(self._children) if one.warm)

    def seen(self) -> Iterator[tuple[int, str, int]]:
        """Each child: its process id, `starting`, `free`, `works` or `ends`, and its task, 0 for none."""
        for one in (*self._children, *self._dying):
            state = "ends" if one.aborted or one in self._dying else "starting" if not one.warm else "works" if one.task else "free"
            yield one.process.pid or 0, state, one.task.id if one.task else 0

    def execute(self, task: Task) -> None:
        if self._failed_starts and not self._has_warm and self._now < self._start_at:
            self._deliver(Finished(task.id, Failure.of(NoChild())))
            return
        self._waiting.append(task)
        self._assign()

    def abort(self, task_id: int) -> None:
        for task in [task for task in self._waiting if task.id == task_id]:
            self._waiting.remove(task)
            self._end(task, _ABORTED)
        for one in self._children:
            if one.task is not None and one.task.id == task_id:
                self._kill(one)

    def close(self) -> None:
        self._closing = True
        for one in self._children:
            self._poller_of().forget(one.link)
            self._kill(one)
            one.link.close()
        self._keeper.close()
        tasks = [one.task for one in (*self._children, *self._dying) if one.task is not None]
        self._children.clear()
        self._dying.clear()
        for task in (*tasks, *self._waiting):
            self._deliver(Finished(task.id, _ABORTED))
        self._waiting.clear()

    # ------------------------------------------------------------------------------------------------------------- tasks

    def _assign(self) -> None:
        """Gives waiting tasks to free children."""
        if not self._waiting:
            return
        for one in self._children:
            if one.free:
                self._give(one, self._waiting.popleft())
                if not self._waiting:
                    return

    def _give(self, one: _Child, task: Task) -> None:
        try:
            frame = framing.given(task)
            if task.own is not None and one.taught.get(task.own.where) != task.own.digest:
                frame = framing.taught(task.own) + frame
                one.taught[task.own.where] = task.own.digest
        except (InternalError, TypeError, ValueError):
            log.exception("a task of %s cannot be sent to a child", task.operation)
            self._end(task, Failure.of(InternalError()))
            return
        one.task, one.steps, one.used_s = task, 0, math.inf
        self._tell(one, frame)
        if self._spin is not None and (record := self._spin.given(task.operation, self._now)) is not None:
            self._poller_of().stay_awake(AWAKE_S, record.looked)

    def _tell(self, one: _Child, frame: bytes) -> None:
        """Never waits: what the child does not read now is sent when it does."""
        one.unsent = bytes(one.unsent) + frame if one.unsent else frame
        self._send_rest(one)
        if one.unsent:
            self._poller_of().watch(one.link, lambda: self._read(one), lambda: self._send_rest(one))

    def _send_rest(self, one: _Child) -> None:
        try:
            sent = one.link.send(one.unsent)
        except BlockingIOError:
            one.unsent = memoryview(one.unsent)  # it is watched from now on, as one of which a part was sent
            return
        except OSError:  # it has just died, as the next reading will notice
            sent = len(one.unsent)
        waited = isinstance(one.unsent, memoryview)
        one.unsent = memoryview(one.unsent)[sent:] if sent < len(one.unsent) else b""
        if waited and not one.unsent:
            self._poller_of().watch(one.link, lambda: self._read(one))

    def _end(self, task: Task, outcome: Failure) -> None:
        self._tries.pop(task.id, None)
        self._deliver(Finished(task.id, outcome))

    # ----------------------------------------------------------------------------------------------- what a child says

    def _read(self, one: _Child) -> None:
        """Reads some of what there is. A long message comes in pieces, and others are heard in between."""
        try:
            data = one.link.recv(_READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(one)
            return
        one.heard = True
        try:
            for body in one.pieces.received(data):
                self._heard(one, framing.said(body))
        except framing.BadFrame as error:
            log.error("child %s is ended: %s", one.process.pid, error.message)  # noqa: TRY400 - the sentence is enough
            one.lost = Failure.of(ResultLost())
            self._gone(one)

    def _heard(self, one: _Child, said: framing.Said) -> None:
        if isinstance(said, framing.ENDED):  # first and without `match`: most of what a child says
            self._ended(one, said)
            return
        match said:
            case framing.Stepped(task_id, done):
                self._check_task(one, task_id)
                one.steps = done
                self._deliver(Progressed(task_id, done))
            case framing.Logged(level, name, text):
                logging.getLogger(name).log(level, "child %s: %s", one.process.pid, text)
            case framing.Warm(missing):
                one.warm = True
                self._assign()
                self._can_start(missing)
            case framing.CannotStart(reason):
                one.reason = reason
            case framing.Alive():
                pass
            case framing.Looked() | framing.SourceSaid():
                raise framing.BadFrame("A child process of the pool speaks of a live job.")

    def _ended(self, one: _Child, said: framing.Ended) -> None:
        self._check_task(one, said.task_id)
        if not one.begun:
            raise framing.BadFrame("A child process has ended a task that it has not begun.")
        if isinstance(said, framing.Described) and (one.task is None or one.task.phase is not Phase.DESCRIBE):
            raise framing.BadFrame("A child process describes a file that nobody asked about.")
        one.task = None
        if self._tries:
            self._tries.pop(said.task_id, None)
        self._assign()
        if self._patient:
            self._fill()
        self._deliver(Finished(said.task_id, framing.outcome_of(said)))

    @staticmethod
    def _check_task(one: _Child, task_id: int) -> None:
        if one.task is None or one.task.id != task_id:
            raise framing.BadFrame(f"A child process speaks of task {task_id}, which it does not have.")

    # ------------------------------------------------------------------------------------------------ life and death

    def _look(self, now: float) -> None:
        """Finds children that have stopped: by a debugger, by the system, by a disk that does not answer."""
        for one in list(self._children):
            if one.task is not None and one.has_worked():
                self._deliver(Progressed(one.task.id, one.steps))
            if not one.warm:
                one.looks += 1
                if one.looks > LOOKS_TO_BE_WARM:
                    self._replace(one, f"was not ready within {LOOKS_TO_BE_WARM * LOOK_EVERY_S:g} s")
            elif one.heard:
                one.heard = one.asked = False
            elif one.begun:
                one.asked = False  # it works; how long it may is the scheduler's to say
            elif one.asked:
                self._replace(one, "does not answer")
            else:
                one.asked = True
                if one.task is None:
                    self._tell(one, framing.frame(framing.Probe()))
        self._poller_of().at(now + LOOK_EVERY_S, self._look)

    def _replace(self, one: _Child, why: str) -> None:
        log.warning("child %s %s; another takes its place", one.process.pid, why)
        one.process.kill()
        self._gone(one)

    def _kill(self, one: _Child) -> None:
        one.aborted = True
        one.process.kill()  # native code hears nothing else

    def _gone(self, one: _Child) -> None:
        """Its socket has ended, or is not listened to any longer. The rest is said when the keeper knows how it ended."""
        self._poller_of().forget(one.link)
        one.link.close()
        del self._children[one]
        self._dying[one] = None
        if one.task is not None and not one.begun and not one.aborted and one.lost is None:
            self._try_again(one.task)
            one.task = None
        one.mark.close()
        self._keeper.bury(one.process, lambda: self._buried(one))
        self._assign()
        self._fill()

    def _try_again(self, task: Task) -> None:
        """The child had not begun it, so it is not the task's fault; unless it is one that no child can even read."""
        self._tries[task.id] = self._tries.get(task.id, 0) + 1
        if self._tries[task.id] >= self._size + TRIES_TO_BEGIN:
            self._end(task, Failure.of(NoChild()))
        else:
            self._waiting.appendleft(task)

    def _buried(self, one: _Child) -> None:
        if self._dying.pop(one, one) is one:  # closed meanwhile
            return
        self.children_ended += 1
        if one.task is not None:
            self._end(one.task, one.lost or (_ABORTED if one.aborted else death(one.process)))
        elif not one.warm:
            why = one.reason.rstrip().rpartition("\n")[2] or f"it ended while it was starting, {cause(one.process)}"
            self._cannot_start(why, one.reason)
        self._fill()

    def _fill(self) -> None:
        """Starts children if some are missing. While none works, one at a time: several would share the cores, and be ready later."""
        while len(self._children) + self._starting < self._wanted and self._now >= self._start_at and not self._closing:
            if not self._has_warm and (self._children or self._starting):
                return
            self._starting += 1
            self._keeper.begin(self._started, self._not_started)

    @property
    def _wanted(self) -> int:
        """How many children there should be."""
        waits = self._patient and any(one.task is not None for one in self._children)
        return self.workers if waits else self._size

    def _started(self, process: BaseProcess, link: socket.socket, mark: Mark) -> None:
        self._starting -= 1
        one = _Child(process, link, mark)
        self._children[one] = None
        self._poller_of().watch(link, lambda: self._read(one))
        self._fill()

    def _not_started(self, error: Exception) -> None:
        self._starting -= 1
        self._cannot_start(f"the system starts none: {error}")

    def _ended_unseen(self) -> None:
        """No children without the keeper: the process ends, and who watches over it sees that."""
        if not self._closing:
            raise KeeperEnded

    def _can_start(self, missing: Mapping[str, str]) -> None:
        """A child has made itself ready, and has said what it cannot do."""
        failed, self._failed_starts, self._start_at, self._reason = self._failed_starts, 0, 0.0, ""
        if failed:
            log.info("a child process works, after %d attempts", failed)
        self._fill()
        if not self._working:
            self._working = True
            self._deliver(ChildrenChanged(working=True, missing=missing))

    def _cannot_start(self, cause: str, reason: str = "") -> None:
        """The next attempt follows after a pause. If no child is left, a job fails now instead of waiting for its timeout."""
        if self._closing:
            return
        now = self._now
        if now >= self._start_at:  # the others that were started together with one that failed say nothing new
            self._failed_starts += 1
            pause = min(START_AGAIN_MAX_S, START_AGAIN_S * 2 ** min(self._failed_starts - 1, 30))
            self._start_at = now + pause
            self._poller_of().at(self._start_at, lambda _: self._fill())
            traceback = f"\n{reason.rstrip()}" if reason != self._reason else ""  # once, then only the count
            self._reason = reason
            log.error("a child process cannot start: %s; attempt %d, the next in %g s%s", cause, self._failed_starts, pause, traceback)
        if self._has_warm:
            return
        while self._waiting:
            self._end(self._waiting.popleft(), Failure.of(NoChild()))
        if self._working:
            self._working = False
            self._deliver(ChildrenChanged(working=False))

    # ------------------------------------------------------------------------------------------------------- shorthands

    def _poller_of(self) -> Poller:
        assert self._poller is not None, "start() comes first"  # noqa: S101
        return self._poller

    @property
    def _now(self) -> float:
        return self._poller_of().now()

    @property
    def _has_warm(self) -> bool:
        return any(one.warm and not one.aborted for one in self._children)
