"""A worker with an executor: takes the port, says where it is, and stops when it is asked to."""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from worker.catalog.catalog import Catalog
from worker.config import Config, installed_version
from worker.executors import sandbox
from worker.executors.base import Executor
from worker.files import results, sweep
from worker.files.paths import FileRules
from worker.network.discovery import OSC, OSCQUERY, Announced, Discovery, name_of
from worker.protocol.addresses import Peer
from worker.service import parent
from worker.service.children import certificates_of, followers_of, own_files
from worker.service.loop import Service
from worker.storage.errors import StorageError

if TYPE_CHECKING:
    from worker.storage.recording import Recorder
    from worker.web.thread import Web

ENOUGH_PACKETS = 5_000


def lead(
    config: Config, announce: Callable[[str], None], executor: Executor, rules: FileRules, *, catalog: Catalog, operations: str
) -> int:
    """Runs a worker until it is asked to stop; its exit code. Arguments as for `serve`, which has made the executor and the rules."""
    if config.replace:
        from worker.service import takeover

        for line in takeover.ask_to_leave(config.host, config.port):
            announce(line)
    web = _web(config, announce)
    recorder: Recorder | None = None
    try:
        recorder = recorder_of(config)
        live = followers_of(config, rules, catalog, operations)
        service = Service(config, executor, catalog, web.tap if web is not None else None, live=live, recorder=recorder)
    except OSError as error:
        _close(recorder)
        from worker.service import takeover

        holder = takeover.holder(config.host, config.port) if error.errno == errno.EADDRINUSE else ""
        _close(web)
        announce(f"Cannot listen on {config.host}:{config.port}: {error.strerror or error}. {holder or 'Choose another --host or --port.'}")
        return 1
    except StorageError as error:
        _close(web)
        _close(recorder)
        announce(str(error))
        return 1
    _stop_on_signals(service, announce)
    if config.parent_pid:
        parent.watch(config.parent_pid, lambda: service.stop(f"the parent process {config.parent_pid} has ended", at_once=True))
    for line in announcement(config, service, web.url if web is not None else ""):
        announce(line)
    if not config.show:
        service.soon(lambda: sweep.begin(rules.roots))
    service.soon(lambda: results.begin(rules.roots[0], config.files))
    with contextlib.closing(discovery_of(config, service, web)):
        _run(config, service, web, rules, catalog)
    announce("Stopped.")
    return 0


def _web(config: Config, announce: Callable[[str], None]) -> Web | None:
    """The HTTP server, its port bound; None if there is none to be. A worker works without its page, so a reason why is a line only."""
    if config.http is None:
        return None
    from worker.web.thread import NotServed, Web

    try:
        return Web(config.http, config)
    except NotServed as error:
        announce(f"No page: {error}.")
        return None


def _run(config: Config, service: Service, web: Web | None, rules: FileRules, catalog: Catalog) -> None:
    if web is None:
        service.run()
        return
    with contextlib.closing(web), contextlib.ExitStack() as ends:

        def serve() -> None:
            from worker.service.thumbnails import Thumbnails

            thumbnails = ends.enter_context(contextlib.closing(Thumbnails(config, rules)))
            web.figures, web.journal, web.name = service.figures, service.journal_path, _name(service)
            web.start(service.address[1], rules, catalog, service.tell, thumbnails)

        service.soon(serve)  # its imports would take the processor from the first answers
        service.run()


def _close(part: Web | Recorder | None) -> None:
    if part is not None:
        part.close()


def recorder_of(config: Config) -> Recorder | None:
    """Who writes everything down, if somebody is to.

    Raises:
        RecordingError: the file cannot be written.
    """
    if config.record.file is None:
        return None
    from worker.storage.recording import Recorder  # few workers write everything down

    return Recorder(config.record.file, round(config.record.max_mb * 2**20), (config.token,))


def discovery_of(config: Config, service: Service, web: Web | None) -> Discovery:
    """What lets other programs find this worker; has begun already, unless the settings say no."""
    says = {"version": installed_version()}
    services = [Announced(OSC, service.address, says)]
    if web is not None:
        services.insert(0, Announced(OSCQUERY, web.address, says))
    found = Discovery(_name(service), services)
    if not config.no_discovery:
        found.start()
    return found


def _name(service: Service) -> str:
    return name_of(socket.gethostname(), service.address[1])


def announcement(config: Config, service: Service, page: str = "") -> Iterator[str]:
    """What a person who has started a worker wants to know; `page` is the address of its page, if there is one."""
    yield f"TD Image Worker {installed_version()}"
    yield f"  commands        udp {_joined([service.address])}"
    yield f"  text reports    to each sender's port {_joined([config.text_port, *config.report])}"
    yield f"  number reports  to each sender's port {_joined([config.number_port, *config.report_numbers])}"
    if page:
        yield f"  page            {page}"
    for root in config.roots:
        yield f"  reads, writes   {root.resolve()}"
    for root in config.read_roots:
        yield f"  reads           {root.resolve()}"
    for sender, here in config.maps:
        yield f"  maps            {sender} -> {here}"
    for where in config.operations:
        yield f"  operations      {where}"
    for path in own_files(config.operations):
        if any(path.is_relative_to(root.resolve()) for root in config.roots):
            yield f"                  {path.name} lies in a folder that jobs write; another folder is safer"
    yield f"  journal         {service.journal_path or 'none: unfinished jobs do not survive a crash'}"
    if config.record.file:
        yield f"  recording       {config.record.file}, up to {config.record.max_mb:g} MB"
    if config.cluster.address:
        open_door = "" if certificates_of(config) else ", without TLS: everybody who reaches it can run code"
        yield f"  cluster         {config.cluster.address}{open_door}"
        yield "  files           " + (
            f"of each part travel with it, up to {config.cluster.ship_mb} MB"
            if config.cluster.files == "ship"
            else "the nodes see the same ones"
        )
    if not config.cluster.address or config.cluster.or_local or config.cluster.files == "ship":
        when = (
            ", while the cluster has no node" if config.cluster.or_local else ", for what does not travel" if config.cluster.address else ""
        )
        yield f"  children        {config.workers}, and one in reserve{when}"
        off = "off: a child that was taken over can do what this user can"
        yield f"  sandbox         {sandbox.offer() if config.sandbox == 'on' else off}"
    if service.burst < ENOUGH_PACKETS:
        remedy = "Linux: sysctl -w net.core.rmem_max=4194304"
        yield f"  at once         about {service.burst} packets; more may be lost and sent again ({remedy})"
    yield "Listening. Ctrl-C stops it."


def _joined(targets: Sequence[int | Peer]) -> str:
    return ", and to ".join(f"{target[0]}:{target[1]}" if isinstance(target, tuple) else str(target) for target in targets)


def _stop_on_signals(service: Service, announce: Callable[[str], None]) -> None:
    """The first signal lets the accepted jobs end, a second one does not wait. Each says what happens."""
    asked = threading.Event()

    def stop(number: int, _frame: object) -> None:
        again = asked.is_set()
        asked.set()  # before anything is said: a second signal may come while the first is being answered
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        running, queued = service.load
        with contextlib.suppress(RuntimeError):  # the signal came in the middle of another print
            announce(_about_stop(name, running, queued, again=again, kept=service.journal_path is not None))
        service.stop(signal.Signals(number).name, at_once=again)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _about_stop(name: str, running: int, queued: int, *, again: bool, kept: bool) -> str:
    """What a signal does, in a sentence.

    >>> _about_stop("Ctrl-C", 2, 30, again=False, kept=True)
    'Ctrl-C: 2 running and 30 waiting jobs are being finished. A second Ctrl-C stops at once; unfinished jobs go on at the next start.'
    >>> _about_stop("Ctrl-C", 0, 0, again=False, kept=True)
    'Ctrl-C: stopping.'
    """
    if not running + queued:
        return f"{name}: stopping."
    jobs = f"{running} running and {queued} waiting jobs"
    later = "unfinished jobs go on at the next start" if kept else "unfinished jobs are lost, because there is no journal"
    if again:
        return f"{name} again: {jobs} are stopped; {later}."
    return f"{name}: {jobs} are being finished. A second {name} stops at once; {later}."
