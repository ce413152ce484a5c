"""The thread that talks to a Dask cluster: connects, submits tasks, and tells what has become of each. See `cluster.py`.

One submission of Dask's is one task, or a bundle of short ones (`bundles.py`). How each of its tasks ended comes as an event of the
scheduler as soon as it is known, in the same stream as the end of the submission and so before it. The submission's own result holds what
is too large for that, because Dask fetches results in a further round.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import platform
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.core.events import Progressed
from worker.core.jobs import Failure, Outcome, Phase, Task
from worker.errors import InternalError, LimitExceeded, NodeLost, ResultLost
from worker.executors import framing
from worker.executors.bundles import Bundles
from worker.executors.dask import TOPIC, library, resource_of, versions
from worker.executors.roll import Attendance, Nodes
from worker.executors.shipping import OUTPUT_TIMES, Shipper

if TYPE_CHECKING:
    from distributed import Client, Future
    from distributed.security import Security

log = logging.getLogger(__name__)

#: More tasks than this wait here, not in the scheduler's memory.
MAX_OPEN = 2000
#: Dask's client collects messages for 10 ms, for those who submit thousands in a loop. Ours come from a queue, together already.
SEND_EVERY_S = 0.001
#: So often the nodes are counted.
COUNT_EVERY_S = 1.0
CONNECT_WITHIN_S = 5.0
#: How long to wait after the cluster could not be reached: twice as long each time, up to the maximum.
AGAIN_S = 1.0
AGAIN_MAX_S = 30.0
#: A task that may be repeated is given up after it has lost so many nodes.
MAX_LOST = 3
#: A task that takes a larger file with operations along travels alone.
MOST_OWN_BYTES = 2**16
#: Takes what nodes report. It has the same name after each start, because a scheduler keeps the last events of each topic for ever; what
#: another worker on this machine hears of ours has a key that it does not know.
EVENTS = f"{TOPIC} {platform.node()}"
#: What a node is asked to do beside Dask's own requests.
ABORT = "td_image_worker_abort"

_LOST = "The connection to the cluster {} is lost."


@dataclass(frozen=True, slots=True)
class Ended:
    """A task has ended; its child worked on it for so long, or it is not known how long."""

    task_id: int
    outcome: Outcome
    took_s: float | None = None


#: What the thread says. Called in it, with all that has happened at a time.
Hear = Callable[[Sequence[Progressed | Ended | Nodes]], None]
#: What a node has to say about a task at its end: its number, the frame that ended it (None: not begun), the seconds, the files.
Said = tuple[int, bytes | None, float | None, list[bytes]]


@dataclass(eq=False, slots=True)
class _Sent:
    """One submission of Dask's.

    Attributes:
        key: its name in the cluster.
        tasks: those of it that have not ended yet, by their numbers.
        once: its task may not be repeated.
        is_short: it takes a place among the bundles.
        marked: it leaves a mark with the scheduler before it begins, and does not run if there is one.
        node: the address of the node that has begun it; "" as long as that is not known.
        carrying: waits for its end.
    """

    key: str
    tasks: dict[int, Task]
    once: bool
    is_short: bool
    marked: bool
    node: str = ""
    carrying: asyncio.Task[None] | None = None
    aborted: list[int] = field(default_factory=list)


class Link:
    """The cluster's thread.

    Args:
        address: of the scheduler.
        how: certificates, as Dask has them.
        version: ours.
        hear: takes everything that happens, in this thread.
        shipper: takes the files of tasks along; None if the nodes see them.
    """

    def __init__(self, address: str, how: Security | None, version: str, hear: Hear, shipper: Shipper | None = None) -> None:
        self._address = address
        self._security = how
        self._resource = resource_of(version)  # each submission takes one
        self._hear = hear
        self._name = f"{TOPIC}-{secrets.token_hex(4)}"
        self._orders: deque[Task | int] = deque()
        self._bundles = Bundles()
        self._tries: dict[int, int] = {}
        self._submitted = itertools.count()
        self._sent: dict[str, _Sent] = {}
        self._carried: dict[int, _Sent] = {}
        self._short = 0
        self._slots = 0
        self._client: Client | None = None
        self._shipper = shipper
        self._attendance = Attendance(address, self._resource, versions(version))
        self._luggage = _Luggage()
        self._asking: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._wake = asyncio.Event()  # a pause is over
        self._stream: Any = None
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    # ---------------------------------------------------------------------------------------- from the poller's thread

    def start(self) -> None:
        self._thread.start()

    def tell(self, order: Task | int) -> None:
        """A task to be carried out, or the number of one that is not wanted any more."""
        self._orders.append(order)
        if len(self._orders) == 1:
            self._call(self._take_orders)

    def close(self) -> None:
        """Gives all tasks up, and waits until the scheduler has heard of it."""
        self._call(self._ending.set)
        self._call(self._wake.set)
        if self._thread.is_alive():
            self._thread.join(2 * CONNECT_WITHIN_S)

    def _call(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(what)

    # --------------------------------------------------------------------------------------------- the cluster's thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stay_connected())

    async def _stay_connected(self) -> None:
        failed, said = 0, ""
        while not self._ending.is_set():
            reason = await self._connected()
            if self._ending.is_set():
                return
            self._slots = 0
            self._hear([self._attendance.nobody(reason, time.monotonic())])
            failed = 1 if reason == _LOST.format(self._address) else failed + 1
            if reason != said:
                log.error("%s The next attempt follows by itself.", reason)
            said = reason
            self._wake.clear()
            await self._pause(min(AGAIN_MAX_S, AGAIN_S * 2 ** min(failed - 1, 30)))

    async def _connected(self) -> str:
        """Works with the cluster for as long as it is there; says why it is not, or not any more."""
        client = library().Client(
            self._address, asynchronous=True, security=self._security, timeout=CONNECT_WITHIN_S, set_as_default=False, name=TOPIC
        )
        try:
            async with client:
                log.info("connected to the cluster %s", self._address)
                client.subscribe_topic(EVENTS, self._said)
                await self._work(client)
        except (asyncio.CancelledError, RuntimeError):  # so Dask ends what waits for a connection that it closes
            log.debug("the connection was closed", exc_info=True)
        except (OSError, ValueError, TypeError) as error:  # CommClosedError is an OSError
            log.debug("the cluster cannot be reached", exc_info=True)
            return _unreachable(self._address, error, secure=self._security is not None)
        except Exception:  # whatever it is, this thread must go on
            log.exception("the cluster's client failed")
        return _LOST.format(self._address)

    async def _work(self, client: Client) -> None:
        self._client, self._stream = client, client.scheduler_comm
        if client.scheduler_comm is not None:
            client.scheduler_comm.interval = SEND_EVERY_S
        self._attendance.begin()
        try:
            while client.status == "running" and not _is_lost(client, self._stream) and not self._ending.is_set():
                found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), CONNECT_WITHIN_S)
                nodes = self._attendance.count(found["workers"], time.monotonic())
                self._slots = sum(nodes.slots.values())
                self._hear([nodes])
                self._take_orders()
                await self._pause(COUNT_EVERY_S)
        finally:
            self._client = None
            carrying = [sent.carrying for sent in self._sent.values() if sent.carrying is not None]
            for one in (*carrying, *self._asking):
                one.cancel()
            await asyncio.gather(*carrying, *self._asking, return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)

    # ----------------------------------------------------------------------------------------------------------- tasks

    def _take_orders(self) -> None:
        aborted: dict[str, _Sent] = {}
        while self._orders:
            order = self._orders.popleft()
            if isinstance(order, Task):
                self._bundles.add(order, alone=self._goes_alone(order))
                continue
            self._tries.pop(order, None)
            if (sent := self._carried.pop(order, None)) is not None:
                del sent.tasks[order]
                sent.aborted.append(order)
                aborted[sent.key] = sent
            else:
                self._bundles.remove(order)
        for sent in aborted.values():
            self._abort(sent)
        if self._client is not None and _is_lost(self._client, self._stream):
            self._wake.set()
            return
        while self._client is not None and (tasks := self._bundles.take(self._slots, self._short, MAX_OPEN - len(self._carried))):
            self._send(self._client, tasks)

    def _goes_alone(self, task: Task) -> bool:
        """What is large, or may not be repeated: if its node is lost, it must be known whether it had begun."""
        large = self._shipper is not None or task.phase is Phase.FINISH or (task.own is not None and len(task.own.text) > MOST_OWN_BYTES)
        return large or not task.params.repeatable()

    def _send(self, client: Client, tasks: list[Task]) -> None:
        key = f"{self._name}-{tasks[0].id}-{next(self._submitted)}"
        once = not tasks[0].params.repeatable()
        is_short = len(tasks) > 1 or self._bundles.is_short(tasks[0])
        sent = _Sent(key, {task.id: task for task in tasks}, once, is_short, marked=once or len(tasks) > 1)
        self._sent[key] = sent
        self._carried |= dict.fromkeys(sent.tasks, sent)
        self._short += sent.is_short
        sent.carrying = asyncio.ensure_future(self._carry_out(client, sent))

    def _abort(self, sent: _Sent) -> None:
        """Of a bundle only some may be unwanted. Its node is asked to end those; while none has begun it, the others are sent anew."""
        aborted, sent.aborted = sent.aborted, []
        assert sent.carrying is not None  # noqa: S101 - it was sent
        if sent.tasks and sent.node and self._client is not None:
            asking = asyncio.ensure_future(self._ask_to_abort(self._client, sent, aborted))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            return
        self._send_again(sent)
        sent.carrying.cancel()

    async def _ask_to_abort(self, client: Client, sent: _Sent, task_ids: list[int]) -> None:
        """If the node does not hear, the whole bundle is taken from it."""
        heard = False
        with contextlib.suppress(Exception):
            message = {"op": ABORT, "key": sent.key, "task_ids": task_ids}
            heard = sent.node in await client.scheduler.broadcast(msg=message, workers=[sent.node], on_error="ignore")
        if not heard and sent.key in self._sent and sent.carrying is not None:
            self._send_again(sent)
            sent.carrying.cancel()
            self._take_orders()

    def _send_again(self, sent: _Sent) -> None:
        for task in reversed(sent.tasks.values()):
            del self._carried[task.id]
            self._bundles.add_again(task)
        sent.tasks.clear()

    async def _carry_out(self, client: Client, sent: _Sent) -> None:
        left: list[Said] = []
        try:
            left = await self._left(client, sent)
        except asyncio.CancelledError:  # aborted, and then no task is left; or the connection is lost, and with it what ran
            pass
        except _NotSubmittedError:  # it waits for the next connection
            self._send_again(sent)
        finally:
            del self._sent[sent.key]
            self._short -= sent.is_short
            if sent.marked and self._client is not None:
                client.loop.add_callback(_forget, client, sent.key)
        self._end_some(sent, left)
        for task in reversed(sent.tasks.values()):
            del self._carried[task.id]
            if not sent.once and self._tries.get(task.id, 0) < MAX_LOST:
                self._bundles.add_again(task)
            else:
                self._tries.pop(task.id, None)
                self._hear([Ended(task.id, Failure.of(NodeLost()))])
        self._take_orders()

    async def _left(self, client: Client, sent: _Sent) -> list[Said]:
        """What is still to be said when a submission has ended. Tasks of which nothing is said are lost with their node, or scheduler."""
        if self._shipper is None:
            return await self._result(client, sent, list(sent.tasks.values()), None)
        (task,) = sent.tasks.values()
        try:
            ended = await self._shipped_outcome(client, self._shipper, sent, task)
        except LimitExceeded as error:
            ended = Ended(task.id, Failure.of(error))
        except _NotSubmittedError:
            raise
        except Exception:
            log.exception("the files of a task of %s cannot travel", task.operation)
            ended = Ended(task.id, Failure.of(InternalError()))
        if ended is not None:
            self._end(sent, ended)
        return []

    async def _shipped_outcome(self, client: Client, shipper: Shipper, sent: _Sent, task: Task) -> Ended | None:
        """How it ended, after its files have been written here; None if that is said already, or it is lost."""
        wanted = threading.Event()
        wanted.set()
        async with self._luggage.of(shipper, task) as (travels, files):
            try:
                for _, body, took_s, made in await self._result(client, sent, [travels], files):
                    outcome = await asyncio.to_thread(shipper.written, task, _outcome_of(body), made, wanted.is_set)
                    return Ended(task.id, outcome, took_s)
            except asyncio.CancelledError:
                wanted.clear()
                raise
        return None

    async def _result(self, client: Client, sent: _Sent, tasks: list[Task], files: list[bytes] | None) -> list[Said]:
        """Submits it and waits until it has ended."""
        from distributed import KilledWorker

        packed = self._packed(sent, tasks)
        if not packed:
            return []
        most = OUTPUT_TIMES * self._shipper.most if self._shipper is not None else 0
        try:
            future = client.submit(
                *(carry_out, packed, sent.key, EVENTS, files, most),
                marked=sent.marked,
                key=sent.key,
                pure=False,
                retries=0,
                resources={self._resource: 1},
                priority=-tasks[0].id,  # in the worker's order, also what is sent once more
            )
        except Exception as error:
            log.debug("a task could not be submitted", exc_info=True)
            raise _NotSubmittedError from error
        try:
            why = await future.exception()
            if why is not None:
                raise why
            if sent.tasks:
                found: list[Said] | None = await future
                if not found:  # another node had begun it; or what was said has not arrived
                    self._count_lost(sent)
                return found or []
        except asyncio.CancelledError:
            await asyncio.shield(_cancel(client, future))
            raise
        except KilledWorker:
            self._count_lost(sent)
        except (CancelledError, OSError):  # the scheduler was lost or started again
            pass
        except Exception as error:
            names = ", ".join(sorted({task.operation for task in sent.tasks.values()}))
            log.exception("a node could not run %s", names)
            failure = Failure.of(InternalError(f"A node of the cluster could not run {names}: {type(error).__name__}."))
            for task_id in list(sent.tasks):
                self._end(sent, Ended(task_id, failure))
        return []

    def _packed(self, sent: _Sent, tasks: list[Task]) -> list[bytes]:
        """The frames of the tasks; one that has none ends here."""
        packed = []
        for task in tasks:
            try:
                packed.append(framing.packed(task))
            except (InternalError, TypeError, ValueError):
                log.exception("a task of %s cannot be sent to a node", task.operation)
                self._end(sent, Ended(task.id, Failure.of(InternalError())))
        return packed

    def _count_lost(self, sent: _Sent) -> None:
        for task_id in sent.tasks:
            self._tries[task_id] = self._tries.get(task_id, 0) + 1

    # ---------------------------------------------------------------------------------------------------- what nodes say

    def _said(self, event: tuple[float, Any]) -> None:
        """An event that a node has logged; Dask logs others of its own, which are mappings."""
        _, message = event
        if not isinstance(message, (list, tuple)):
            return
        what, key, *rest = message
        sent = self._sent.get(key)
        if sent is None:  # it was cancelled, or runs once more after it had ended
            return
        if what == "begun":
            sent.node = str(rest[0])
        elif what == "stepped":
            self._hear([Progressed(int(rest[0]), int(rest[1]))])
        elif what == "ended":
            self._end_some(sent, [(*said, []) for said in rest[0]])
            self._take_orders()

    def _end_some(self, sent: _Sent, said: Sequence[Said]) -> None:
        heard = []
        for task_id, body, took_s, _ in said:
            task = sent.tasks.get(task_id)
            if task is None:
                continue
            if body is None:  # it was not begun, because others of its bundle took too long
                del sent.tasks[task_id], self._carried[task_id]
                self._bundles.add_again(task)
                continue
            heard.append(Ended(task_id, _outcome_of(body), took_s))
            self._close(sent, heard[-1])
        if heard:
            self._hear(heard)

    def _end(self, sent: _Sent, ended: Ended) -> None:
        if ended.task_id in sent.tasks:
            self._close(sent, ended)
            self._hear([ended])

    def _close(self, sent: _Sent, ended: Ended) -> None:
        task = sent.tasks.pop(ended.task_id)
        del self._carried[task.id]
        self._tries.pop(task.id, None)
        if ended.took_s is not None:
            self._bundles.took(task, ended.took_s)


class _Luggage:
    """The files that are under way with tasks. All of them are in memory here, so there is a limit for all together."""

    def __init__(self) -> None:
        self._size = 0
        self._packing = asyncio.Lock()
        self._freed = asyncio.Event()

    @contextlib.asynccontextmanager
    async def of(self, shipper: Shipper, task: Task) -> AsyncIterator[tuple[Task, list[bytes]]]:
        """The task and the files that travel with it. It waits while too much is under way."""
        async with self._packing:
            while self._size >= shipper.most:
                self._freed.clear()
                await self._freed.wait()
            travels, files = await asyncio.to_thread(shipper.packed, task)
        size = sum(map(len, files))
        self._size += size
        try:
            yield travels, files
        finally:
            self._size -= size
            self._freed.set()


class _NotSubmittedError(Exception):
    """The client has no connection any more."""


def _is_lost(client: Client, stream: object) -> bool:
    """Whether the connection has ended.

    Dask's client makes itself a new one, and forgets to ask that one's scheduler for events. So another client takes its place.
    """
    return client.scheduler_comm is not stream


def _unreachable(address: str, error: Exception, *, secure: bool) -> str:
    if secure:
        remedy = "Is the scheduler running there, with TLS, and are --cluster-ca, --cluster-cert and --cluster-key made for it?"
    else:
        remedy = "Is the scheduler running there? If it uses TLS, give --cluster-ca, --cluster-cert and --cluster-key."
    return f"The cluster {address} cannot be reached ({type(error).__name__}). {remedy}"


def _outcome_of(body: bytes | None) -> Outcome:
    """What a node has said about the end of a task, checked as if a child had said it."""
    try:
        return framing.outcome_of(framing.said(body or b""))  # type: ignore[arg-type]
    except (framing.BadFrame, AttributeError) as error:
        log.error("a node has sent what is no outcome: %s", error)  # noqa: TRY400 - the sentence is enough
        return Failure.of(ResultLost())


async def _cancel(client: Client, future: Future[Any]) -> None:
    """The node kills the child when it sees that the task is not wanted any more. Without a connection there is nothing to be done."""
    with contextlib.suppress(Exception):
        await client.cancel([future], force=True)


async def _forget(client: Client, key: str) -> None:
    """A mark is not needed after the end."""
    with contextlib.suppress(Exception):
        await client.scheduler.event_clear(name=key)


async def carry_out(
    packed: list[bytes], key: str, topic: str, files: list[bytes] | None = None, most: int = 0, *, marked: bool
) -> list[Said] | None:
    """What Dask calls on a node: runs tasks in children there.

    Args:
        packed: the tasks, each as a child of the worker's own machine would get it.
        key: the name of the submission in the cluster.
        topic: takes the reports: what has begun, how far it is, how it has ended.
        files: those that have come with the only task; None if the node sees them.
        most: how many bytes of files may travel back.
        marked: it may not run twice, so it first leaves a mark with the scheduler.

    Returns:
        What could not be reported, because it is too large; None if there was a mark, because an earlier try was lost.
    """
    from distributed import get_worker

    worker = get_worker()
    if marked:
        if await worker.scheduler.event_is_set(name=key):
            return None
        await worker.scheduler.event_set(name=key)
    found: list[Said] = await worker.plugins[TOPIC].carry_out(packed, key, topic, files, most)
    return found
