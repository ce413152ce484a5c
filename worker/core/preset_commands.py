"""The commands about presets: `set`, `unset` and `trigger`. Pure."""

from __future__ import annotations

import math

from worker.core.admission import Admission
from worker.core.delivery import Client
from worker.core.events import StorePreset, StoreUnset
from worker.core.presets import Presets
from worker.core.shared import Shared
from worker.errors import ArgumentError, WorkerError
from worker.protocol import messages as wire
from worker.protocol.addresses import Peer


class PresetCommands:
    """Changes presets, has that stored, and starts jobs from them.

    Args:
        shared: the scheduler's parts.
        admission: takes the jobs, and answers commands that are bad.
        presets: all of them.
    """

    def __init__(self, shared: Shared, admission: Admission, presets: Presets) -> None:
        self._barrier = shared.barrier
        self._admission = admission
        self._presets = presets

    def set(self, client: Client, command: wire.Set, now: float) -> None:
        """Sets one value."""
        name = self._presets.known_as(command.preset)
        before = self._presets.get(name, command.key)
        if type(before) is type(command.value) and before == command.value:  # a CHOP sends it again and again
            return
        try:
            self._presets.set(name, command.key, command.value)
        except WorkerError as error:
            self._admission.complain(client, command.full_address, error, now)
        else:
            self._barrier.store(StorePreset(name, command.key, command.value))

    def unset(self, client: Client, command: wire.Unset, now: float) -> None:
        """Deletes one value, or a whole preset."""
        name = self._presets.known_as(command.preset)
        try:
            self._presets.unset(name, command.key)
        except WorkerError as error:
            self._admission.complain(client, command.full_address, error, now)
        else:
            self._barrier.store(StoreUnset(name, command.key))

    def trigger(self, peer: Peer, client: Client, command: wire.Trigger, now: float) -> None:
        """Starts a job if a button was pressed."""
        name = self._presets.known_as(command.preset)
        is_number = not math.isnan(command.value)
        if is_number and not self._presets.pressed(peer, name, command.value):
            return
        try:
            if not is_number:  # neither pressed nor let go
                raise ArgumentError("value must be a number; got nan.")
            operation, pairs = self._presets.job(name)
        except WorkerError as error:
            if command.id:  # its sender waits for this job
                self._admission.reject(client, command.id, error, now)
            else:
                self._admission.complain(client, command.full_address, error, now)
        else:
            self._admission.job(client, wire.Job(command.id, operation, pairs), now, name)
