"""The worker's address space in the form of OSCQuery, which other programs read to make their own panels. Pure.

    /worker/n/<name>             the numbers; read only
    /worker/trigger/<preset>     1 starts a job from the preset
    /worker/set/<preset>/<key>   what the preset holds, with the range and the unit that the catalogue knows

Nothing is kept but the presets and the numbers: a node is made when somebody asks for it. The proposal that this follows, and the words
in capitals, are those of github.com/Vidvox/OSCQueryProposal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.fields import Field, fields_of
from worker.catalog.params import JobOptions, Value
from worker.core.presets import OPERATION
from worker.protocol import addresses
from worker.protocol.addresses import Peer
from worker.protocol.messages import Number, Set, Trigger, number_as_text

Node = dict[str, Any]
Presets = Mapping[str, Mapping[str, Value]]

NO_VALUE: Final = 0
READ: Final = 1
READ_WRITE: Final = 3

#: What a node may say, and so what may be asked for. HOST_INFO is the only word that is no attribute of a node.
ATTRIBUTES: Final = frozenset(
    {"FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "VALUE", "RANGE", "DESCRIPTION", "UNIT", "EXTENDED_TYPE"},
)
HOST_INFO: Final = "HOST_INFO"
_EXTENSIONS: Final = (
    *("ACCESS", "VALUE", "RANGE", "DESCRIPTION", "UNIT", "EXTENDED_TYPE", "LISTEN"),
    *("PATH_CHANGED", "PATH_ADDED", "PATH_REMOVED"),
)
#: Names that have a letter which OSC gives another meaning, or which is none, cannot be part of an address. One of them in the tree, and a
#: client may refuse all of it.
_NOT_IN_A_NAME = re.compile(r"[\s#*,/?\[\]{}\x00-\x1f\x7f]")
_TAGS: Final = {"int": "i", "float": "f", "bool": "i", "str": "s"}
#: The units of the catalogue, as the proposal names them. The others stand in the description.
_UNITS: Final = {"px": "distance.pixels", "degrees": "angle.degree", "s": "time.second", "ms": "time.ms"}
#: If more than this has come or gone at once, one PATH_CHANGED of all stands for it.
MANY_CHANGES: Final = 100

#: The numbers of `/worker/n`: what each is, and the smallest and largest value as far as they are known.
NUMBERS: Final[Mapping[str, tuple[str, float | None, float | None]]] = {
    "ready": ("1 if the status is Ready, otherwise 0", 0.0, 1.0),
    "busy": ("1 while at least one accepted job has not ended", 0.0, 1.0),
    "queued": ("number of waiting jobs", 0.0, None),
    "running": ("number of running jobs", 0.0, None),
    "progress": ("0 to 1, of the job that made progress last", 0.0, 1.0),
    "done": ("jobs that succeeded since the start", 0.0, None),
    "failed": ("jobs that failed since the start", 0.0, None),
    "last_code": ("how the newest ended job ended: 200, or the code of its error", 0.0, 599.0),
    "last_ms": ("how long that job ran", 0.0, None),
    "beat": ("seconds since the start, counted one by one", 0.0, None),
    "boot": ("another number at each start", 1.0, float(2**24 - 1)),
    "canary_s": ("time in seconds since a child process last showed that it works", 0.0, None),
    "nodes": ("number of machines that work for this worker", 0.0, None),
    "node_slots": ("how many tasks these machines run at a time", 0.0, None),
}
#: What only a worker with a cluster sends.
OF_A_CLUSTER: Final = frozenset({"nodes", "node_slots"})

_ROOT = addresses.ROOT
_WORDS: Final = {
    "/": "TD Image Worker",
    _ROOT: "jobs from presets, and how the worker is",
    addresses.NUMBER: "how the worker is, as numbers",
    addresses.TRIGGER: "a button for each preset",
    addresses.SET: "what each preset holds",
}


@dataclass(frozen=True, slots=True)
class Changes:
    """What an update has changed.

    Attributes:
        commands: for all clients, such as ("PATH_ADDED", "/worker/trigger/logo"), in order.
        messages: the new values, by the address of their nodes.
    """

    commands: tuple[tuple[str, str], ...] = ()
    messages: Mapping[str, Number | Set | Trigger] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: its status, and the value that its JSON holds. A status of 204 has none."""

    status: int
    body: Any = None


class AddressSpace:
    """The tree as it is now.

    Args:
        catalog: the operations, which know what the keys of a preset may be.
        presets: all of them.
        numbers: those of `/worker/n`.
    """

    def __init__(self, catalog: Catalog, presets: Presets | None = None, numbers: Mapping[str, float] | None = None) -> None:
        self._catalog = catalog
        self._presets: dict[str, dict[str, Value]] = _copied(presets or {})
        self._numbers = dict(numbers or {})
        self._encoded: dict[str, msgspec.Raw] = {}

    # ------------------------------------------------------------------------------------------------- questions

    def node(self, path: str) -> Node | None:
        """The node at an address, with all that is below it; None if there is none. Presets stand in it as JSON, unless one is asked for.

        >>> from worker.catalog.table import CATALOG
        >>> AddressSpace(CATALOG, numbers={"queued": 4.0}).node("/worker/n/queued")["VALUE"]
        [4.0]
        """
        names = [name for name in path.split("/") if name]
        match names:
            case []:
                return _container("/", {"worker": self._worker()})
            case ["worker"]:
                return self._worker()
            case ["worker", "n"]:
                return self._all_numbers()
            case ["worker", "n", name] if name in self._numbers:
                return self._number(name)
            case ["worker", "trigger"]:
                return self._all_triggers()
            case ["worker", "trigger", name] if self._has(name):
                return self._trigger(name)
            case ["worker", "set"]:
                return self._all_sets()
            case ["worker", "set", name] if self._has(name):
                return self._set(name)
            case ["worker", "set", name, key] if self._has(name):
                return next((leaf for one, leaf in _leaves(self._catalog, name, self._presets[name]) if one == key), None)
        return None

    def answer(self, path: str, query: str, host_info: Mapping[str, Any]) -> Answer:
        """What a request gets.

        Args:
            path: of the request, as it came: percent signs included.
            query: what stands behind the question mark.
            host_info: see `host_info`.

        >>> from worker.catalog.table import CATALOG
        >>> space = AddressSpace(CATALOG, numbers={"queued": 4.0})
        >>> space.answer("/worker/n/queued", "VALUE", {}), space.answer("/worker/n", "TYPE", {}).body
        (Answer(status=200, body={'VALUE': [4.0]}), {})
        >>> [space.answer(*asked, {}).status for asked in (("/none", ""), ("/worker", "NONE"), ("/worker", "VALUE"))]
        [404, 400, 204]
        """
        words = [unquote(part.partition("=")[0]) for part in query.split("&") if part]
        if HOST_INFO in words:  # of whatever path
            return Answer(200, dict(host_info))
        for word in words:
            if word not in ATTRIBUTES:
                known = ", ".join(sorted({*ATTRIBUTES, HOST_INFO}))
                return Answer(400, {"error": f"There is no attribute {word!r:.60}. The attributes are {known}."})
        node = self.node(unquote(path))
        if node is None:
            return Answer(404, {"error": f"There is nothing at {path!r:.200}."})
        if not words:
            return Answer(200, node)
        if "VALUE" in words and not node["ACCESS"] & READ:
            return Answer(204)
        return Answer(200, {word: node[word] for word in words if word in node})

    def message(self, path: str) -> Number | Set | Trigger | None:
        """The value of a node as the message that carries it; None if it has none."""
        node = self.node(path)
        if node is None or "CONTENTS" in node:
            return None
        return _message(path, node["VALUE"][0])

    # --------------------------------------------------------------------------------------------------- updates

    def set_numbers(self, numbers: Mapping[str, float]) -> Changes:
        """The numbers are these from now on."""
        before, self._numbers = self._numbers, dict(numbers)
        commands: list[tuple[str, str]] = []
        if before.keys() != numbers.keys():  # a cluster
            commands = [
                *(("PATH_ADDED", f"{addresses.NUMBER}/{name}") for name in numbers if name not in before),
                *(("PATH_REMOVED", f"{addresses.NUMBER}/{name}") for name in before if name not in numbers),
                ("PATH_CHANGED", addresses.NUMBER),
            ]
        changed = {f"{addresses.NUMBER}/{name}": Number(name, value) for name, value in numbers.items() if before.get(name) != value}
        return Changes(tuple(commands), changed)

    def set_presets(self, presets: Presets) -> Changes:
        """The presets are these from now on."""
        before, self._presets = self._presets, _copied(presets)
        for name in [name for name in self._encoded if self._presets.get(name) != before.get(name)]:
            del self._encoded[name]
        return self._compared(before, self._catalog)

    def set_catalog(self, catalog: Catalog) -> Changes:
        """The operations are these from now on."""
        before, self._catalog = self._catalog, catalog
        self._encoded.clear()
        return self._compared(self._presets, before)

    def _compared(self, before: dict[str, dict[str, Value]], catalog: Catalog) -> Changes:
        """What is different from what there was."""
        gone = [name for name in before if name not in self._presets and _addressable(name)]
        come = [name for name in self._presets if name not in before and _addressable(name)]
        commands = [
            *(("PATH_REMOVED", f"{base}/{name}") for name in gone for base in (addresses.TRIGGER, addresses.SET)),
            *(("PATH_ADDED", f"{base}/{name}") for name in come for base in (addresses.TRIGGER, addresses.SET)),
        ]
        if commands:
            commands += [("PATH_CHANGED", addresses.TRIGGER), ("PATH_CHANGED", addresses.SET)]
        messages: dict[str, Number | Set | Trigger] = {}
        for name in (name for name in self._presets if name in before and _addressable(name)):
            if catalog is self._catalog and before[name] == self._presets[name]:
                continue
            old, new = dict(_leaves(catalog, name, before[name])), self._leaves(name)
            base = f"{addresses.SET}/{name}"
            if without_values(old) != without_values(new):
                commands += [("PATH_REMOVED", f"{base}/{key}") for key in old if key not in new]
                commands += [("PATH_ADDED", f"{base}/{key}") for key in new if key not in old]
                commands.append(("PATH_CHANGED", base))
            for key, leaf in new.items():
                if key in old and old[key]["VALUE"] != leaf["VALUE"]:
                    messages[leaf["FULL_PATH"]] = _message(leaf["FULL_PATH"], leaf["VALUE"][0])
        if len(commands) > MANY_CHANGES:
            commands = [("PATH_CHANGED", _ROOT)]
        return Changes(tuple(commands), messages)

    # ----------------------------------------------------------------------------------------------------- nodes

    def _has(self, name: str) -> bool:
        return name in self._presets and _addressable(name)

    def _names(self) -> Iterator[str]:
        return (name for name in self._presets if _addressable(name))

    def _worker(self) -> Node:
        contents = {"n": self._all_numbers(), "trigger": self._all_triggers(), "set": self._all_sets()}
        return _container(_ROOT, contents)

    def _all_numbers(self) -> Node:
        return _container(addresses.NUMBER, {name: self._number(name) for name in self._numbers})

    def _all_triggers(self) -> Node:
        return _container(addresses.TRIGGER, {name: self._trigger(name) for name in self._names()})

    def _all_sets(self) -> Node:
        return _container(addresses.SET, {name: self._set_encoded(name) for name in self._names()})

    def _number(self, name: str) -> Node:
        description, low, high = NUMBERS.get(name, ("", None, None))
        unit = _UNITS["s"] if name.endswith("_s") else _UNITS["ms"] if name.endswith("_ms") else ""
        return _leaf(f"{addresses.NUMBER}/{name}", "f", READ, float(self._numbers[name]), description, span=_range(low, high), unit=unit)

    def _trigger(self, name: str) -> Node:
        operation = str(self._presets[name].get(OPERATION, ""))
        summary = self._catalog[operation].summary if operation in self._catalog else "The preset has no operation yet."
        description = f"1 starts {operation or 'nothing'}; it starts again after a 0. {summary}"
        return _leaf(f"{addresses.TRIGGER}/{name}", "f", READ_WRITE, 0.0, description, span=_range(0.0, 1.0))

    def _set_encoded(self, name: str) -> msgspec.Raw:
        """As JSON, which is kept: a thousand presets would take the server's thread a fifth of a second each time that somebody asks."""
        if name not in self._encoded:
            self._encoded[name] = msgspec.Raw(msgspec.json.encode(self._set(name)))
        return self._encoded[name]

    def _set(self, name: str) -> Node:
        return _container(f"{addresses.SET}/{name}", self._leaves(name), f"what the preset {name} holds")

    def _leaves(self, name: str) -> dict[str, Node]:
        return dict(_leaves(self._catalog, name, self._presets[name]))


def host_info(osc: Peer, http: Peer, name: str) -> dict[str, Any]:
    """What HOST_INFO says: where OSC and WebSocket are, and what this server can do.

    Args:
        osc: where the worker listens for OSC.
        http: where the HTTP server listens, and with it the WebSocket. OSC_IP is left out if OSC can be reached at the address that the
            client has used for HTTP.
        name: of this worker, for people.

    >>> info = host_info(("10.0.0.5", 9460), ("0.0.0.0", 9463), "a worker")
    >>> info["OSC_IP"], info["OSC_PORT"], info["WS_PORT"]
    ('10.0.0.5', 9460, 9463)
    """
    everywhere = osc[0] in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    return {
        "NAME": name,
        "EXTENSIONS": dict.fromkeys(_EXTENSIONS, True),
        **({} if everywhere or osc[0] == http[0] else {"OSC_IP": osc[0]}),
        "OSC_PORT": osc[1],
        "OSC_TRANSPORT": "UDP",
        "WS_PORT": http[1],
    }


def without_values(leaves: Mapping[str, Node]) -> dict[str, Node]:
    """What of nodes is their structure."""
    return {key: {word: said for word, said in leaf.items() if word != "VALUE"} for key, leaf in leaves.items()}


def _copied(presets: Presets) -> dict[str, dict[str, Value]]:
    return {name: dict(values) for name, values in presets.items()}


def _addressable(name: str) -> bool:
    return bool(name) and not _NOT_IN_A_NAME.search(name)


def _container(path: str, contents: Mapping[str, Node | msgspec.Raw], description: str = "") -> Node:
    return {"FULL_PATH": path, "DESCRIPTION": description or _WORDS[path], "ACCESS": NO_VALUE, "CONTENTS": contents}


def _leaf(
    path: str, tag: str, access: int, value: Any, description: str, *, span: Node | None = None, unit: str = "", extended: str = ""
) -> Node:
    """Every array is as long as TYPE. There is always a VALUE: without one a known client refuses the whole tree."""
    node: Node = {"FULL_PATH": path, "DESCRIPTION": description, "TYPE": tag, "ACCESS": access, "VALUE": [value]}
    if span:
        node["RANGE"] = [span]
    if unit:
        node["UNIT"] = [unit]
    if extended:
        node["EXTENDED_TYPE"] = [extended]
    return node


def _range(low: float | None, high: float | None) -> Node:
    return {key: value for key, value in (("MIN", low), ("MAX", high)) if value is not None}


def _leaves(catalog: Catalog, preset: str, values: Mapping[str, Value]) -> Iterator[tuple[str, Node]]:
    """What can be set of a preset: its operation, all parameters of that, the keys of every job, and whatever else it holds."""
    base = f"{addresses.SET}/{preset}"
    operation = str(values.get(OPERATION, ""))
    yield OPERATION, _leaf(f"{base}/{OPERATION}", "s", READ_WRITE, operation, "what the preset does", span={"VALS": list(catalog)})
    fields = catalog[operation].parameters if operation in catalog else ()
    known = {OPERATION}
    for parameter in (*fields, *(fields_of(JobOptions) if fields else ())):
        known.add(parameter.name)
        yield parameter.name, _parameter(f"{base}/{parameter.name}", parameter, values.get(parameter.name))
    for key, value in values.items():
        if key not in known and _addressable(key):
            tag = "s" if isinstance(value, str) or value is None else "f" if isinstance(value, float) else "i"
            yield key, _leaf(f"{base}/{key}", tag, READ_WRITE, _as(tag, value), "not checked, because the preset has no operation yet")


def _parameter(path: str, parameter: Field, value: Value) -> Node:
    tag = _TAGS[parameter.type]
    given = parameter.default if value is None else value
    if given is None:  # it has to be set, and has not been yet
        given = parameter.choices[0] if parameter.choices else "" if tag == "s" else parameter.minimum or 0
    if parameter.choices:
        span: Node = {"VALS": list(parameter.choices)}
    elif parameter.type == "bool":
        span = {"MIN": 0, "MAX": 1}
    else:
        low, high = parameter.minimum, parameter.maximum
        span = _range(*(None if bound is None else float(bound) if tag == "f" else int(bound) for bound in (low, high)))
    unit = _UNITS.get(parameter.unit, "")
    text = parameter.description + (f" ({parameter.unit})" if parameter.unit and not unit else "")
    return _leaf(path, tag, READ_WRITE, _as(tag, given), text, span=span, unit=unit, extended="filepath" if parameter.role else "")


def _as(tag: str, value: Value) -> int | float | str:
    """A value in the type that its node says. One of an earlier run may fit no longer; then it is the type's nothing."""
    try:
        match tag:
            case "s":
                return "" if value is None else value if isinstance(value, str) else number_as_text(value)
            case "f":
                return float(value or 0)
            case _:
                return int(float(value or 0))
    except (ValueError, OverflowError):
        return 0.0 if tag == "f" else 0


def _message(path: str, value: Any) -> Number | Set | Trigger:
    """The message that carries a value to its address."""
    names = path.removeprefix(_ROOT).split("/")[1:]
    match names:
        case ["n", name]:
            return Number(name, value)
        case ["trigger", preset]:
            return Trigger(preset, value)
        case _:
            return Set(names[1], names[2], value)


# ------------------------------------------------------------------------------------------------- over the WebSocket


class Command(msgspec.Struct, frozen=True):
    """A text of the WebSocket, in either direction."""

    command: str = msgspec.field(name="COMMAND")
    data: Any = msgspec.field(name="DATA", default=None)


#: Of one client: how many addresses it may listen to, and how long each may be.
MAX_LISTENED = 1024
MAX_ADDRESS = 1000
_decode = msgspec.json.Decoder(Command).decode


class Listener:
    """What one client of the WebSocket listens to.

    >>> listener = Listener()
    >>> listener.told('{"COMMAND": "LISTEN", "DATA": "/worker/n/queued"}'), listener.told("nonsense"), "/worker/n/queued" in listener
    ('/worker/n/queued', None, True)
    """

    def __init__(self) -> None:
        self._paths: set[str] = set()

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def told(self, text: str | bytes) -> str | None:
        """Hears a text; the address that it listens to from now on, if there is a new one. What means nothing is left out."""
        try:
            said = _decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        path = said.data
        if not isinstance(path, str) or len(path) > MAX_ADDRESS:
            return None
        if said.command == "IGNORE":
            self._paths.discard(path)
        elif said.command == "LISTEN" and path.startswith("/") and len(self._paths) < MAX_LISTENED:
            self._paths.add(path)
            return path
        return None

    def heard(self, changes: Changes) -> dict[str, Number | Set | Trigger]:
        """The values of those addresses to which it listens. It stops to listen to what has gone."""
        for command, path in changes.commands:
            if command == "PATH_REMOVED":
                self._paths.difference_update(self._at_or_below(path))
        return {path: message for path, message in changes.messages.items() if path in self._paths}

    def come(self, changes: Changes) -> list[str]:
        """The addresses to which it listens, and that were not there before: a client may be quicker than what it waits for."""
        added = (come for command, come in changes.commands if command == "PATH_ADDED" or come == _ROOT)
        return [path for come in added for path in self._at_or_below(come)]

    def _at_or_below(self, path: str) -> list[str]:
        return [one for one in self._paths if one == path or one.startswith(path + "/")]

    @staticmethod
    def texts(commands: Iterable[tuple[str, str]]) -> list[str]:
        """Changes of the tree as they are sent, to every client, whatever it listens to.

        >>> Listener.texts([("PATH_CHANGED", "/worker/n")])
        ['{"COMMAND":"PATH_CHANGED","DATA":"/worker/n"}']
        """
        return [msgspec.json.encode(Command(command, path)).decode() for command, path in commands]
