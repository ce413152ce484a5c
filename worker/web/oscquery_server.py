"""OSCQuery over HTTP and its WebSocket: the address space for those who ask, values for those who listen, OSC packets from both sides.

A packet that comes over the WebSocket counts as one that comes over UDP: a computer that may look here is known to the gate there, and the
same rates hold. All connections of one computer are one client. Reports come back over a connection that says hello with the port 0, which
stands for its own; without that they are left out.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any

import tornado.routing
import tornado.websocket

from worker.core.changes import Answered, LevelsChanged, PresetsChanged, visitor
from worker.core.events import CatalogChanged, Received, Throttled
from worker.core.gate import Gate
from worker.core.presets import MAX_LEVELS, THRESHOLD
from worker.errors import DecodeError
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_IN, Peer
from worker.protocol.messages import Bye, Command, Hello, Message, Report, Set, Trigger
from worker.web.guard import Refused
from worker.web.handlers import Guarded, asked_of
from worker.web.hub import Hub
from worker.web.oscquery import MANY_CHANGES, MAX_ADDRESS, NUMBERS, OF_A_CLUSTER, AddressSpace, Changes, Listener, host_info

#: How many clients may be connected, all together and from one computer.
MAX_CLIENTS = 64
MAX_CLIENTS_OF_ONE = 24
#: This time after a client has set a value, it gets the one that holds, if it listens: the worker may have refused it.
TRUTH_AFTER_S = 0.5
#: What a client that is slow has yet to get is the newest value of each address, so many presses and reports, and this for all changes.
MAX_PRESSES = 256
MAX_REPORTS = 2048
_ALL_CHANGED = ("PATH_CHANGED", "/worker")


class AddressSpaceMatcher(tornado.routing.Matcher):
    """`/` and everything below `/worker`. The page at `/` is asked for in another way, and stands before this."""

    def match(self, request: Any) -> dict[str, Any] | None:
        """An empty dict for an address of OSC, or a question about the host, which may come with any path."""
        path = str(request.path)
        is_ours = path in ("/", "/worker") or path.startswith("/worker/") or request.query.partition("=")[0] == "HOST_INFO"
        return {} if is_ours else None


class OscQuery(Guarded, tornado.websocket.WebSocketHandler):
    """A question about the address space, or a client of the WebSocket."""

    def initialize(self, clients: Clients) -> None:
        """Args: as the routes give them."""
        self.clients = clients
        self.slot = 0
        self.listener = Listener()
        self.knows_texts: bool | None = None  # one that begins with a packet may know packets only, and end at a text
        self.waiting_values: dict[str, Message] = {}
        self.waiting_commands: list[tuple[str, str]] = []
        self.waiting_presses: deque[Trigger] = deque(maxlen=MAX_PRESSES)
        self.has_set: dict[str, float] = {}
        self.has_greeted = False
        self.waiting_reports: deque[Report] = deque(maxlen=MAX_REPORTS)

    async def get(self, *_: str) -> None:
        """Becomes a WebSocket if that is asked for; otherwise answers with JSON."""
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            if self.clients.has_room(self):
                await super().get()
            else:
                self.refuse(503, f"{MAX_CLIENTS} clients are connected, or {MAX_CLIENTS_OF_ONE} from this computer, which is the limit.")
            return
        answer = self.clients.space.answer(self.request.path, self.request.query, self.clients.host_info)
        self.set_status(answer.status)
        if answer.body is None:
            self.finish()
        else:
            self.answer(answer.body)

    def head(self, *_: str) -> None:
        """Whether there is a server."""
        self.finish()

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - the guard finds it among the headers
        """The guard has looked at it already, and looks again."""
        return not isinstance(self.hub.guard.access(asked_of(self.request), time.monotonic()), Refused)

    def open(self, *_: str) -> None:
        """Takes the client in, if there is room."""
        if not self.clients.add(self):
            self.close(1013, "too many clients")
            return
        self.set_nodelay(True)

    def on_message(self, message: str | bytes) -> None:
        """A text is LISTEN or IGNORE, bytes are OSC."""
        if not self.slot:
            return
        if not self.clients.lets_in(self, len(message)):
            return
        if isinstance(message, bytes):
            self.knows_texts = bool(self.knows_texts)
            self.clients.packet(self, message)
            return
        self.knows_texts = True
        path = self.listener.told(message)
        value = self.clients.space.message(path) if path else None
        if path and value is not None:
            self.waiting_values[path] = value
            self.send_waiting()

    def on_close(self) -> None:
        """It has gone."""
        self.clients.remove(self)

    @property
    def peer(self) -> Peer:
        """The sender of its packets, as the worker sees it. Its button is another one than that of the next client."""
        return visitor(str(self.request.remote_ip), self.slot)

    def send_waiting(self) -> None:
        """Sends what waits, unless the last of it has not left yet."""
        stream = getattr(self.ws_connection, "stream", None)
        if stream is None or stream.writing():
            return
        commands, self.waiting_commands = self.waiting_commands, []
        values, self.waiting_values = self.waiting_values, {}
        others = [*self.waiting_presses, *self.waiting_reports]
        self.waiting_presses.clear()
        self.waiting_reports.clear()
        try:
            for text in Listener.texts(() if self.knows_texts is False else commands):
                self.write_message(text)
            for message in (*values.values(), *others):
                self.write_message(osc.encode(message), binary=True)
        except tornado.websocket.WebSocketClosedError:
            self.clients.remove(self)

    def tell_truth(self, now: float) -> None:
        """Tells what holds of values that it has set, once it sets them no more. A fader that was moved too far goes back."""
        for path in [path for path, at in self.has_set.items() if now >= at + TRUTH_AFTER_S]:
            del self.has_set[path]
            if (value := self.clients.space.message(path)) is not None:
                self.waiting_values[path] = value

    def hear(self, changes: Changes) -> None:
        """Takes in what has changed."""
        self.waiting_commands += changes.commands
        if len(self.waiting_commands) > MANY_CHANGES:
            self.waiting_commands = [_ALL_CHANGED]
        heard = self.listener.heard(changes)
        self.waiting_values.update(heard)
        for path in heard:
            self.has_set.pop(path, None)
        for path in self.listener.come(changes):
            if (value := self.clients.space.message(path)) is not None:
                self.waiting_values[path] = value


class Clients:
    """All clients, and the address space that they see.

    Args:
        hub: what the handlers share.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.space = AddressSpace(hub.catalog, numbers=dict.fromkeys(NUMBERS.keys() - OF_A_CLUSTER, 0.0))
        limits = hub.config.limits
        self._gate = Gate(hub.config.allow, hub.config.token, limits.packets_per_s, limits.packets_burst)
        self._slots: dict[int, OscQuery] = {}
        self._down: OrderedDict[tuple[Peer, str], bool] = OrderedDict()
        host = "127.0.0.1" if hub.config.host == "localhost" else hub.config.host
        self.host_info = host_info((host, hub.command_port), hub.address, hub.name)

    def add(self, client: OscQuery) -> bool:
        """Whether there was room for it."""
        if not self.has_room(client):
            return False
        client.slot = next(slot for slot in range(1, MAX_CLIENTS + 1) if slot not in self._slots)
        self._slots[client.slot] = client
        return True

    def has_room(self, client: OscQuery) -> bool:
        """Whether another one of this computer may connect."""
        mine = sum(one.request.remote_ip == client.request.remote_ip for one in self._slots.values())
        return len(self._slots) < MAX_CLIENTS and mine < MAX_CLIENTS_OF_ONE

    def remove(self, client: OscQuery) -> None:
        """It has gone, or was never there. The buttons that it has left pressed are let go: another client may get its place."""
        if self._slots.get(client.slot) is not client:
            return
        del self._slots[client.slot]
        if client.has_greeted:
            self._hub.tell(Received(client.peer, (Bye(),)))
        left = tuple(Trigger(preset, 0.0) for (peer, preset), is_down in self._down.items() if peer == client.peer and is_down)
        if left:
            self._hub.tell(Received(client.peer, left))
            self._press(client.peer, left)

    def lets_in(self, client: OscQuery, size_bytes: int) -> bool:
        """Whether a client is within its rates, which are those of UDP. What is beyond is dropped, and told to the worker."""
        sender = str(client.request.remote_ip), 1 + client.slot
        dropped = self._gate.throttled(sender, time.monotonic(), size_bytes)
        if dropped:
            self._hub.tell(Throttled(client.peer, dropped))
        return dropped is None

    def packet(self, client: OscQuery, datagram: bytes) -> None:
        """An OSC packet of a client."""
        if len(datagram) > MAX_DATAGRAM_IN:
            return
        commands = osc.decode_commands(datagram)
        self._hub.tell(Received(client.peer, commands))
        self._press(client.peer, commands, but=client)
        for command in commands:
            client.has_greeted = client.has_greeted or isinstance(command, Hello)
            if isinstance(command, Set | DecodeError) and (path := _address(command)) in client.listener:
                client.has_set[path] = time.monotonic()

    def watch(self, happened: Sequence[Any], _now: float) -> None:
        """Hears of everything in the worker, 20 times a second; then every client is sent what has changed."""
        for one in happened:
            kind = type(one)
            if kind is LevelsChanged:
                self._tell(self.space.set_numbers({number.name: number.value for number in one.numbers}))
            elif kind is PresetsChanged:
                self._tell(self.space.set_presets(one.presets))
            elif kind is CatalogChanged:
                self._tell(self.space.set_catalog(one.catalog))
            elif kind is Received and self._slots:
                self._press(one.peer, one.commands)
            elif kind is Answered:
                self._report(one)
        now = time.monotonic()
        for client in list(self._slots.values()):
            client.tell_truth(now)
            client.send_waiting()

    def _report(self, answered: Answered) -> None:
        """A report for one of them, which may have got the place of one that has gone."""
        client = self._slots.get(answered.peer[1])
        if client is not None and client.has_greeted and client.peer == answered.peer:
            client.waiting_reports.append(answered.report)

    def close(self) -> None:
        """Ends all connections, in order."""
        for client in list(self._slots.values()):
            client.close(1001, "the worker ends")

    def _press(self, peer: Peer, commands: Sequence[Command | Exception], but: OscQuery | None = None) -> None:
        """Tells of buttons that were pressed or let go. A channel that is sent with every frame is passed on when it changes."""
        for command in commands:
            if type(command) is not Trigger or len(command.preset) > MAX_ADDRESS:
                continue
            for is_down in (True, False) if command.is_impulse else (command.value >= THRESHOLD,):
                self._level(peer, command, but, is_down=is_down)

    def _level(self, peer: Peer, command: Trigger, but: OscQuery | None, *, is_down: bool) -> None:
        if self._down.get((peer, command.preset), False) is is_down:
            return
        self._down[peer, command.preset] = is_down
        self._down.move_to_end((peer, command.preset))
        if len(self._down) > MAX_LEVELS:
            self._down.popitem(last=False)
        for client in self._slots.values():
            if client is not but and command.full_address in client.listener:
                client.waiting_presses.append(Trigger(command.preset, float(is_down)))

    def _tell(self, changes: Changes, but: OscQuery | None = None) -> None:
        if not changes.commands and not changes.messages:
            return
        for client in self._slots.values():
            if client is not but:
                client.hear(changes)


def _address(command: Set | DecodeError) -> str:
    return command.full_address if isinstance(command, Set) else command.address


def routes(hub: Hub) -> Sequence[Any]:
    """The routes of this file."""
    clients = Clients(hub)
    hub.watchers.append(clients.watch)
    hub.tell_newest(clients.watch)
    hub.at_end.append(clients.close)
    return [tornado.routing.Rule(AddressSpaceMatcher(), OscQuery, {"clients": clients})]
