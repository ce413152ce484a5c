"""Named jobs that are set key by key and started by a number, for people who have only an OSC Out CHOP. Pure.

A CHOP sends its channels as floats, again and again. So a press is a rise through 0.5, it counts once until the number has fallen
again, and each sender (host and source port) has a level of its own: two clients that press are two presses.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable

from worker.catalog.catalog import Catalog
from worker.catalog.params import Value
from worker.errors import ArgumentError, ClientError, LimitExceeded, WorkerError
from worker.protocol.addresses import Peer
from worker.words import composed, did_you_mean

THRESHOLD = 0.5
OPERATION = "operation"
MAX_PRESETS = 1000
MAX_KEYS = 100
MAX_LEVELS = 4096
#: Of a preset's or key's name, of one value, and of all presets together.
MAX_NAME_BYTES = 200
MAX_VALUE_BYTES = 16 * 2**10
MAX_BYTES = 2 * 2**20
_SHOWN = 10  # names of presets in a sentence


class UnknownPreset(ClientError):
    """There is no such preset."""

    code = 404
    word = "preset"


class Presets:
    """All presets by name, and the level of every trigger.

    Args:
        catalog: the operations that a preset can name. It may be replaced.

    Attributes:
        version: another number after each change.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._presets: dict[str, dict[str, Value]] = {}
        self._bytes = 0
        self.version = 0
        self._pressed: OrderedDict[tuple[Peer, str], bool] = OrderedDict()

    def restore(self, name: str, key: str, value: Value) -> None:
        """Sets a stored value without a check. A key that is no longer known is reported when the preset is triggered."""
        self._put(name, key, value)

    def get(self, name: str, key: str) -> Value:
        """One value; None if there is none."""
        return self._presets.get(name, {}).get(key)

    def known_as(self, name: str) -> str:
        """The name that a preset has if it was sent in the other Unicode form, as a Mac may do; otherwise this name."""
        if name.isascii() or name in self._presets:
            return name
        form = composed(name)
        return next((other for other in self._presets if composed(other) == form), name)

    def _put(self, name: str, key: str, value: Value) -> None:
        preset = self._presets.setdefault(name, {})
        if key in preset:
            self._bytes -= _size(name, key, preset[key])
        self.version += 1
        preset[key] = value
        self._bytes += _size(name, key, value)

    def set(self, name: str, key: str, value: Value) -> None:
        """Sets one value. A new preset comes into being with its first key.

        Raises:
            WorkerError: the operation or the key is unknown, or the value does not fit it. The preset stays as it was.
        """
        preset = self._presets.get(name, {})
        if name not in self._presets and len(self._presets) >= MAX_PRESETS:
            raise LimitExceeded(f"There are {MAX_PRESETS} presets already, which is the limit.")
        if key not in preset and len(preset) >= MAX_KEYS:
            raise LimitExceeded(f"The preset {name!r} has {MAX_KEYS} keys already, which is the limit.")
        self._check_size(name, key, value, preset)
        if key == OPERATION:
            self.catalog.find(str(value))
        elif OPERATION in preset:
            self.catalog.check_pair(str(preset[OPERATION]), key, value)
        if isinstance(value, float) and not math.isfinite(value):  # JSON has no such number, so no journal keeps it
            raise ArgumentError(f"{key} must be a number or text; got {value}.")
        self._put(name, key, value)

    def fill(self, name: str, operation: str, pairs: Iterable[tuple[str, Value]]) -> bool:
        """Sets the operation and several values. What the preset had for this operation before stays; for another one, it begins anew.

        Returns:
            whether it began anew.

        Raises:
            WorkerError: as `set` does. The preset stays as it was.
        """
        before = dict(self._presets.get(name, {}))
        anew = bool(before) and before.get(OPERATION) != operation
        if anew:
            self.unset(name)
        try:
            for key, value in ((OPERATION, operation), *pairs):
                self.set(name, key, value)
        except WorkerError:
            if name in self._presets:
                self.unset(name)
            for key, value in before.items():
                self._put(name, key, value)
            raise
        return anew

    def _check_size(self, name: str, key: str, value: Value, preset: dict[str, Value]) -> None:
        for what, text, limit in (("name", name, MAX_NAME_BYTES), ("key", key, MAX_NAME_BYTES), ("value", str(value), MAX_VALUE_BYTES)):
            if len(text.encode()) > limit:
                raise LimitExceeded(f"The {what} of a preset may have {limit:,} bytes; this one has {len(text.encode()):,}.")
        before = _size(name, key, preset[key]) if key in preset else 0
        if self._bytes - before + _size(name, key, value) > MAX_BYTES:
            raise LimitExceeded(
                f"All presets together may have {MAX_BYTES // 2**20} MB, and there is no more room.", "Delete some with unset."
            )

    def unset(self, name: str, key: str = "") -> None:
        """Deletes one value, or without a key the whole preset. A preset without values is none.

        Raises:
            UnknownPreset: there is no such preset, or it has no such key.
        """
        preset = self._known(name, _there_are)
        if key and key not in preset:
            near = did_you_mean(key, preset, f"it has {', '.join(preset)}.")
            raise UnknownPreset(f"The preset {name!r} has no key {key!r}; {near}")
        self.version += 1
        left = {other: value for other, value in preset.items() if key and other != key}
        self._bytes -= sum(_size(name, other, value) for other, value in preset.items() if other not in left)
        if left:
            self._presets[name] = left
        else:
            del self._presets[name]

    def _known(self, name: str, otherwise: Callable[[Collection[str]], str]) -> dict[str, Value]:
        if name not in self._presets:

            def advice() -> str:
                return did_you_mean(name, self._presets, otherwise(self._presets))

            raise UnknownPreset(f"There is no preset {name!r}; ", advice=advice)
        return self._presets[name]

    def pressed(self, peer: Peer, name: str, value: float) -> bool:
        """Whether this number is a press: the first one above the threshold since the last one below. Infinity is one that is over."""
        if value == math.inf:
            self._pressed.pop((peer, name), None)
            return True
        if len(name) > MAX_NAME_BYTES:  # no preset has it, and nothing of it is kept
            return value >= THRESHOLD
        before = self._pressed.get((peer, name), False)
        self._pressed[peer, name] = value >= THRESHOLD
        self._pressed.move_to_end((peer, name))
        while len(self._pressed) > MAX_LEVELS:
            self._pressed.popitem(last=False)
        return value >= THRESHOLD and not before

    def job(self, name: str) -> tuple[str, tuple[tuple[str, Value], ...]]:
        """The operation of a preset, and the pairs of its job.

        Raises:
            UnknownPreset: nothing was ever set under this name.
            ArgumentError: it has no operation.
        """
        pairs = dict(self._known(name, lambda _: f"send /worker/set/{name}/operation first."))
        operation = pairs.pop(OPERATION, None)
        if operation is None:
            raise ArgumentError(f"The preset {name!r} has no operation; send /worker/set/{name}/operation first.")
        return str(operation), tuple(pairs.items())

    def as_dict(self) -> dict[str, dict[str, Value]]:
        """All presets, for those who list them."""
        return {name: dict(preset) for name, preset in self._presets.items()}


def _there_are(names: Collection[str]) -> str:
    shown = ", ".join(itertools.islice(names, _SHOWN)) + (f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return f"there are {shown}." if names else "there are none."


def _size(name: str, key: str, value: Value) -> int:
    return len(name.encode()) + len(key.encode()) + len(str(value).encode())
