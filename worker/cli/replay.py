"""`replay`: a recorded session again, against a worker that runs, or against the scheduler alone."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

from worker.cli import show
from worker.cli.settings import AnyNumber, PeerType, setting_options
from worker.protocol.addresses import Peer, reachable
from worker.storage.recording import RecordingError, Run, read
from worker.words import counted

if TYPE_CHECKING:
    from worker.client.playback import Playback, Session

_SHOWN = 20
_MOST_BYTES = 65_535
#: How long one turn waits at most, in seconds, so that Ctrl-C is heard on every system.
_TURN_S = 0.2
_SAY_EVERY_S = 5.0


@click.command(
    epilog="""\b
Examples:
  td-image-worker replay session.jsonl
  td-image-worker replay session.jsonl --list
  td-image-worker replay session.jsonl --core
  td-image-worker replay session.jsonl --to 127.0.0.1:9470 --speed 4
  td-image-worker replay session.jsonl --to 127.0.0.1:9470 --loss 20 --reorder --doubles 20 --seed 1

`td-image-worker serve --record session.jsonl` writes such a file. Without an option this command says what is in it.

With --to it is the clients again: their jobs are sent at their times to a worker that runs, and at the end it says how their finals
compare with the recorded ones. The jobs run again and write their files again, so give that worker a folder of its own.

With --core it needs no worker: the scheduler alone gets the same events, and must want the same effects. This is for a report about a
mistake in the worker.

It has nothing to do with the command /worker/replay, with which a client asks for its finals again.

\b
Exit codes:
  0    the same as recorded
  1    something is different; each sentence says what
  2    the file cannot be used
  3    no worker answers
"""
)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to", type=PeerType(), metavar="HOST:PORT", help="Play the clients against the worker there.")
@click.option("--core", is_flag=True, help="Play the events to the scheduler alone, and compare what it wants.")
@click.option("--list", "as_list", is_flag=True, help="Print every packet and event, one a line.")
@click.option("--speed", type=AnyNumber(0, min_open=True), default=1.0, show_default=True, metavar="X", help="X times as fast.")
@click.option(
    "--loss", type=AnyNumber(0, 90), default=0.0, metavar="PERCENT", help="Percentage of packets that are lost, both ways.  [default: 0]"
)
@click.option(
    "--doubles", type=AnyNumber(0, 100), default=0.0, metavar="PERCENT", help="Percentage of packets that arrive twice.  [default: 0]"
)
@click.option("--reorder", is_flag=True, help="Let packets overtake each other.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="The same seed gives the same losses, in the same order.")
@setting_options("token", texts={"token": "If the worker wants one."})  # nosec B105 - a sentence
def replay(file: Path, *, to: Peer | None, core: bool, as_list: bool, token: str, **bad: Any) -> None:
    """Play a recorded session again.

    At the end it says what came out differently.
    """
    if sum((to is not None, core, as_list)) > 1:
        raise click.UsageError("--to, --core and --list exclude each other.")
    try:
        runs = read(file)
        if as_list:
            _list(runs)
        elif core:
            sys.exit(_play_to_core(runs))
        elif to is not None:
            sys.exit(_play_to_worker(runs, to, token, **bad))
        else:
            _describe(file, runs)
    except RecordingError as error:
        show.complain(str(error))
        sys.exit(show.BAD_ARGUMENTS)
    except KeyboardInterrupt:
        sys.exit(show.INTERRUPTED)


def _describe(file: Path, runs: Sequence[Run]) -> None:
    show.say(f"{file}: {file.stat().st_size / 2**20:.1f} MB, {counted(len(runs), 'run')} of a worker.")
    for number, run in enumerate(runs, 1):
        times = [line["t"] for _, line in run.lines if "t" in line]
        packets = sum("in" in line for _, line in run.lines)
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.head.get("time", 0)))
        lasted = times[-1] - run.head["t"] if times else 0.0
        came = f"{lasted:.1f} s, {counted(packets, 'packet')} in"
        show.say(f"Run {number}: version {run.head.get('version')}, from {began}, {came}. {_about_end(run)}")
    session = session_of(runs)
    clients = {step.client for step in session.steps}
    show.say(f"{counted(len(clients), 'client')}, {counted(len(session.finals) + len(session.made), 'final')}.")


def _about_end(run: Run) -> str:
    if run.lost:
        return f"{counted(run.lost, 'line')} missing, because the disk was too slow."
    if run.is_whole:
        return "It is whole."
    if any(line.get("end") == "full" for _, line in run.lines):
        return "It ends at the limit of the file (--record-mb)."
    return "It breaks off: the worker was killed, or still runs."


def _list(runs: Sequence[Run]) -> None:
    from worker.service.recorded import described

    for number, run in enumerate(runs, 1):
        show.say(f"Run {number}, version {run.head.get('version')}, boot {run.head.get('boot')}")
        for line in described(run):
            show.say(show.printable(line))


# -------------------------------------------------------------------------------------------------------------- the core


def _play_to_core(runs: Sequence[Run]) -> int:
    from worker.config import installed_version
    from worker.service.recorded import play

    different = 0
    for number, run in enumerate(runs, 1):
        played = play(run)
        what = f"{played.events} events in {played.rounds} rounds, {played.effects} effects"
        if not played.difference:
            show.say(f"Run {number}: {what}: all as recorded.")
            continue
        different += 1
        show.say(f"Run {number}: {what} are as recorded. Then the first difference.")
        show.say(show.printable(played.difference))
        if run.head["version"] != installed_version():
            show.say(f"It was recorded with version {run.head['version']}, and this is {installed_version()}: that may be the reason.")
    return 1 if different else 0


# ------------------------------------------------------------------------------------------------------------ the clients


def session_of(runs: Sequence[Run]) -> Session:
    """What the clients of all runs sent and were sent.

    Raises:
        RecordingError: a line cannot be read.
    """
    from worker.client.playback import Listener, Session
    from worker.core.plain import peer_of
    from worker.protocol import messages
    from worker.service.recorded import received

    session = Session()
    for run in runs:
        listener = Listener(session, run.head["text_port"], run.head["report"])
        begun = run.head["time"] - runs[0].head["time"] - run.head["t"]
        for number, line in run.lines:
            try:
                if "in" in line:
                    event = received(line)
                    listener.came(line["t"] + begun, event.peer, line["packet"].encode("latin-1"), event.commands)
                for name, *rest in line.get("effects", ()):
                    if name == "Send" and rest[2] in (messages.Ready.address, messages.Failed.address):
                        listener.sent(peer_of(rest[0]), messages.parse_report(rest[2], rest[3:]))
            except (KeyError, ValueError, TypeError, IndexError) as error:
                raise RecordingError(f"Line {number} cannot be played: {type(error).__name__}: {error}") from None
    return session


def _play_to_worker(runs: Sequence[Run], to: Peer, token: str, **bad: Any) -> int:
    from worker.client.playback import BadNetwork, Playback

    network = BadNetwork(random.Random(bad["seed"]), bad["loss"] / 100, bad["doubles"] / 100, bad["reorder"])  # noqa: S311 # nosec B311
    session = session_of(runs)
    if not session.steps:
        raise RecordingError("No client sends anything in this recording, so there is nothing to play.")
    playback = Playback(session, time.monotonic(), token=token, speed=bad["speed"], network=network)
    begun = time.monotonic()
    try:
        with Sockets(playback.clients, to) as sockets:
            connected = _run(playback, sockets)
    except OSError as error:
        show.complain(f"{to[0]}:{to[1]} cannot be reached: {error.strerror or error}.")
        return show.SILENT
    if not connected:
        show.complain(f"No worker answers at {to[0]}:{to[1]}.")
        return show.SILENT
    counts = network.counts
    show.say(
        f"Played {counted(len(session.steps), 'packet')} of {counted(len(playback.clients), 'client')} "
        f"in {time.monotonic() - begun:.1f} s. "
        f"Of {counted(counts['packets'], 'packet')} both ways {counts['lost']} were lost and {counts['doubled']} doubled."
    )
    return _say_compared(playback)


def _say_compared(playback: Playback) -> int:
    found = playback.compared()
    show.say(f"Finals: {found.recorded} recorded, {found.same} the same, {len(found.differences)} different.")
    if found.by_timing:
        show.say(f"{len(found.by_timing)} more differ as timeouts, cancels and full queues do, which depend on when things happen.")
    if found.without:
        show.say(f"Not compared, because the recording has no final: {counted(found.without, 'job')}.")
    for sentence in (*found.differences[:_SHOWN], *found.by_timing[: max(0, _SHOWN - len(found.differences))]):
        show.say("  " + show.printable(sentence))
    return 1 if found.differences else 0


class Sockets:
    """A UDP socket for each client.

    Raises:
        OSError: the worker's name cannot be resolved, or there are not enough sockets.
    """

    def __init__(self, clients: Sequence[str], to: Peer) -> None:
        family, _, _, _, resolved = socket.getaddrinfo(reachable(to[0]), to[1], type=socket.SOCK_DGRAM)[0]
        self._to: Any = resolved
        self._sockets: dict[str, socket.socket] = {}
        try:
            for client in clients:
                self._sockets[client] = udp = socket.socket(family, socket.SOCK_DGRAM)
                udp.setblocking(False)
                udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
                udp.bind(("", 0))
        except OSError:
            self.close()
            raise

    def send(self, client: str, datagram: bytes) -> None:
        """Sends it, or loses it, as a network does."""
        with contextlib.suppress(ConnectionError, BlockingIOError):
            self._sockets[client].sendto(datagram, self._to)

    def hear(self, playback: Playback, until: float) -> None:
        """Waits until something comes, or for a time, and hands it over."""
        wait_s = max(0.0, min(_TURN_S, until - time.monotonic()))
        by_socket = {udp: client for client, udp in self._sockets.items()}
        ready, _, _ = select.select([*by_socket], [], [], wait_s)
        for udp in ready:
            while True:
                try:
                    datagram = udp.recv(_MOST_BYTES)
                except BlockingIOError:
                    break
                except ConnectionError:  # nobody listens there, or not yet
                    break
                playback.came(by_socket[udp], datagram, time.monotonic())

    def close(self) -> None:
        """Gives the ports back."""
        for udp in self._sockets.values():
            udp.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _run(playback: Playback, sockets: Sockets) -> bool:
    """Plays until everything has ended. False if no worker answers."""
    from worker.client.playback import CONNECT_S

    begun = said = time.monotonic()
    for sending in playback.begin(begun):
        sockets.send(sending.client, sending.datagram)
    started = False
    while not playback.is_done:
        now = time.monotonic()
        if not started and playback.is_connected:
            started = True
            playback.start(now)
        if not started and now - begun > CONNECT_S:
            return False
        for sending in playback.due(now):
            sockets.send(sending.client, sending.datagram)
        if now - said >= _SAY_EVERY_S and show.is_terminal(error=True):
            said = now
            show.note(f"{counted(playback.left, 'packet')} yet to be played.")
        sockets.hear(playback, playback.next_deadline())
    for sending in playback.leave():
        sockets.send(sending.client, sending.datagram)
    return True
