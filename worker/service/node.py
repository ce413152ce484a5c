"""A node of a cluster from its settings to its end, and a whole cluster on one machine. See `worker.executors.node`."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from worker import extras
from worker.config import Config, installed_version
from worker.errors import Unavailable
from worker.executors import sandbox
from worker.executors.dask import library
from worker.files import shipped
from worker.protocol.addresses import reachable
from worker.service.children import certificates_of, pool_of, rules_of

#: How long a node's first child may take.
WARM_WITHIN_S = 60.0
GONE_WITHIN_S = 10.0
#: How many of the last events of each kind the scheduler keeps, instead of 1,000: nobody asks for them.
EVENTS_KEPT = 100
#: How long tasks may still run after a stop was asked for.
END_WITHIN_S = 3.0


def work(config: Config, announce: Callable[[str], None] = print) -> int:
    """Works for the cluster until Ctrl-C or SIGTERM.

    Args:
        config: settings; `config.cluster` says for which cluster.
        announce: is called with each line for the person who has started the node.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 if no child process can be started.

    Raises:
        Unavailable: Dask is not installed.
    """
    library()
    from worker.executors.node import Node, run

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the work begins it means the same as Ctrl-C
    version = installed_version()
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as stack:
        scratch = stack.enter_context(shipped.scratch())
        seen = replace(config, roots=(*config.roots, scratch), kept=(*config.kept, scratch))
        node = stack.enter_context(contextlib.closing(Node(pool_of(config, rules_of(seen)), scratch)))
        node.start()
        if not node.working.wait(WARM_WITHIN_S):
            announce(f"No child process has become ready within {WARM_WITHIN_S:g} s; the log says why.")
            return 1
        announce(f"TD Image Worker {version}, a node")
        announce(f"  scheduler       {config.cluster.address}{'' if certificates_of(config) else ', without TLS'}")
        for root in config.roots:
            announce(f"  reads, writes   {root.resolve()}")
        for root in config.read_roots:
            announce(f"  reads           {root.resolve()}")
        for sender, here in config.maps:
            announce(f"  maps            {sender} -> {here}")
        announce(f"  children        {config.workers}, and one in reserve")
        announce(f"  sandbox         {sandbox.offer() if config.sandbox == 'on' else 'off'}")
        announce("Working. Ctrl-C stops it; its tasks go to other nodes.")
        _until_asked(lambda: run(config.cluster.address, node, config.workers, version=version, certificates=certificates_of(config)))
    announce(f"Stopped, after {node.tasks} tasks.")
    return 0


def try_out(
    config: Config, nodes: int, place: tuple[str, int], dashboard: int | None = None, announce: Callable[[str], None] = print
) -> int:
    """A scheduler in this process, and nodes in processes of their own, until Ctrl-C or SIGTERM.

    Args:
        config: settings, which the nodes have, too.
        nodes: how many.
        place: host and port of the scheduler.
        dashboard: the port of its page, on the same host; None for none.
        announce: is called with each line for the person who has started it.

    Raises:
        Unavailable: Dask is not installed, or for a page Bokeh.
    """
    from worker.executors.dask import security

    host, port = place
    if dashboard and not find_spec("bokeh"):
        raise Unavailable("The page of the scheduler needs Bokeh, which is not installed.", f"Install it: {extras.install('dashboard')}.")

    distributed, how = library(), security(certificates_of(config))

    async def schedule() -> None:
        try:
            scheduler = _scheduler(distributed, how, place, dashboard)
            await scheduler
        except (OSError, RuntimeError) as error:
            announce(f"The scheduler cannot listen on {host}:{port}: {error.__cause__ or error}. Choose another --scheduler-port.")
            return
        started = [_start_node(scheduler.address, config) for _ in range(nodes)]
        announce(f"Scheduler at {scheduler.address}, {nodes} nodes. Now, in another window:")
        announce(f"  td-image-worker serve --cluster {scheduler.address}")
        if dashboard:
            announce(f"Page: http://{reachable(host)}:{dashboard}/status")
        announce("Ctrl-C stops it.")
        try:
            await scheduler.finished()
        finally:
            _end(started)
            await scheduler.close()

    _until_asked(schedule)
    return 0


def _scheduler(distributed: Any, how: Any, place: tuple[str, int], dashboard: int | None) -> Any:
    import dask

    dask.config.set({"distributed.admin.low-level-log-length": EVENTS_KEPT})
    host, port = place
    address = f"{host}:{dashboard}" if dashboard else "127.0.0.1:0"  # without a page, too, Dask serves some figures over HTTP
    protocol, more = ("tls", {"security": how}) if how else ("tcp", {})
    return distributed.Scheduler(host=host, port=port, protocol=protocol, dashboard=bool(dashboard), dashboard_address=address, **more)


def _end(started: list[subprocess.Popen[bytes]]) -> None:
    for process in started:
        process.terminate()
    for process in started:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GONE_WITHIN_S)


def _start_node(address: str, config: Config) -> subprocess.Popen[bytes]:
    command = [sys.executable, *(() if getattr(sys, "frozen", False) else ("-P", "-m", "worker")), "node", "--cluster", address]
    for option, values in (("--root", config.roots or (Path.cwd(),)), ("--read-root", config.read_roots)):
        command += [word for value in values for word in (option, str(value))]
    command += [word for sender, here in config.maps for word in ("--map", f"{sender}={here}")]
    files = (("--cluster-ca", config.cluster.ca), ("--cluster-cert", config.cluster.cert), ("--cluster-key", config.cluster.key))
    command += [word for option, file in files if file for word in (option, str(file))]
    command += ["--workers", str(config.workers), "--log-level", config.log.level]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 # nosec B603 - this program, with our own settings


def _until_asked(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a coroutine until it ends, or Ctrl-C or SIGTERM."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())  # not Ctrl-C's way from here on: it would break off the making of the loop
    loop = asyncio.new_event_loop()

    async def both() -> None:
        task = asyncio.ensure_future(main())
        signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(task.cancel))
        if asked.is_set():
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    with contextlib.suppress(KeyboardInterrupt):
        loop.run_until_complete(both())
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:  # not `asyncio.run`, which waits for ever: a task of Dask's that looks for a scheduler does not end when it is cancelled
        loop.run_until_complete(asyncio.wait(left, timeout=END_WITHIN_S))
