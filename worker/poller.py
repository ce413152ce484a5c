"""One thread that waits for many sockets, for times, and for calls from other threads. Built on the standard library's selectors.

    poller.watch(link, readable)        readable() is called whenever there is something to read
    poller.at(when, call)               call(now) is called at that time
    poller.call(something)              from any thread: something() is called in the thread that waits
    poller.wait(deadline)               sleeps until one of them, or the deadline, and makes the calls that are due

Why not asyncio: its datagram endpoint on Windows can fall deaf after a peer has closed its port, and a callback there goes through a
handle, a context and a queue, which a worker that answers in 200 us would feel.

The time here stands still while this process does not run: a laptop that sleeps, a container that is paused. No work is done then, neither
here nor in the children, so it counts against nobody's timeout.
"""

from __future__ import annotations

import contextlib
import math
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable

from worker.timers import Call, Timers

#: How much longer than meant a round takes if the machine slept meanwhile. A busy machine is late by less.
ASLEEP_S = 2.0


class Poller:
    """See the module's docstring. All methods but `call` belong to the thread that waits.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers = Timers()
        self._calls: deque[Callable[[], None]] = deque()
        self._waking, self._woken = socket.socketpair()
        self._waking.setblocking(False)
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, (self._drain, None))
        self._forgotten: set[object] = set()  # since the newest look
        self._alert: tuple[float, Callable[[bool], None]] | None = None
        self._asleep_s = 0.0
        self._last = clock()

    def now(self) -> float:
        """The time, without that in which this process did not run."""
        return self._awake(ASLEEP_S)

    def watch(self, link: socket.socket, readable: Callable[[], None], writable: Callable[[], None] | None = None) -> None:
        """Calls `readable` whenever there is something to read, and `writable`, if it is given, whenever there is room to write."""
        self._forgotten.discard(link)
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)
        if link in self._selector.get_map():
            self._selector.modify(link, mask, (readable, writable))
        else:
            self._selector.register(link, mask, (readable, writable))

    def forget(self, link: socket.socket) -> None:
        """Watches it no longer, and calls nothing for it, not even what is ready by now. One that is not watched is no error."""
        self._forgotten.add(link)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(link)

    def at(self, when: float, call: Call) -> int:
        """Makes a call as soon as the time is `when`; gives a number for `cancel`."""
        return self._timers.at(when, call)

    def cancel(self, number: int) -> None:
        self._timers.cancel(number)

    def call(self, something: Callable[[], None]) -> None:
        """Has the thread that waits call something, soon. From any thread or signal handler."""
        self._calls.append(something)
        with contextlib.suppress(OSError):  # full: it will wake up anyhow; closed: nobody waits any more
            self._waking.send(b"\0")

    def stay_awake(self, seconds: float, looked: Callable[[bool], None]) -> None:
        """Has the next `wait` look again and again for so long before it sleeps.

        Args:
            seconds: for how long at most.
            looked: is called then with whether something had happened.
        """
        self._alert = seconds, looked

    def wait(self, deadline: float | None = None) -> float:
        """Sleeps until something happens or it is `deadline`, then makes the calls that are due. Whatever they raise goes up.

        Returns:
            the time at which it woke.
        """
        own = self._timers.next_deadline()
        if own is not None and (deadline is None or own < deadline):
            deadline = own
        timeout = None if deadline is None else max(0.0, deadline - self.now())
        ready = self._look(timeout) if self._alert is not None else None
        if not ready:
            ready = self._selector.select(timeout)
        now = self._awake(math.inf if timeout is None else timeout + ASLEEP_S)
        forgotten = self._forgotten
        forgotten.clear()
        for key, mask in ready:
            readable, writable = key.data
            if mask & selectors.EVENT_READ and key.fileobj not in forgotten:
                readable()
            if mask & selectors.EVENT_WRITE and writable is not None and key.fileobj not in forgotten:
                writable()
        self._timers.run_due(now)
        return now

    def close(self) -> None:
        self._selector.close()
        self._waking.close()
        self._woken.close()

    def _look(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What has happened within the time for which we are to stay awake."""
        assert self._alert is not None  # noqa: S101 - the caller has looked
        (seconds, looked), self._alert = self._alert, None
        if timeout == 0:
            return []
        select, until = self._selector.select, self._clock() + (seconds if timeout is None else min(seconds, timeout))
        while not (ready := select(0)) and self._clock() < until:
            pass  # and no `sched_yield`: where others want this core, they would have it for milliseconds
        looked(bool(ready))
        return ready

    def _awake(self, at_most: float) -> float:
        """The time; if more than `at_most` has passed since it was last asked for, all but what was planned was sleep."""
        now = self._clock() - self._asleep_s
        if now - self._last > at_most:
            awake = self._last + at_most - ASLEEP_S
            self._asleep_s += now - awake
            now = awake
        self._last = now
        return now

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        for _ in range(len(self._calls)):  # what they call for in turn waits for the next round
            self._calls.popleft()()
