"""Machines of a small network on this one: Linux network namespaces, each with an address of its own, whose cable can be pulled.

Making them needs root and the program `ip` (Debian: iproute2). All of them go away at the end, and their names begin with `tdiw`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

#: Addresses of this kind are for measurements (RFC 2544), so nobody's network has them.
_NET = "198.18"


@dataclass(frozen=True, slots=True)
class Machine:
    """One namespace, joined to this machine by a pair of virtual network cards.

    Attributes:
        name: of the namespace, and of the card on this side.
        here: the address of this machine as that one sees it.
        there: its own address.
    """

    name: str
    here: str
    there: str

    @property
    def prefix(self) -> list[str]:
        """Before a command that is to run there."""
        return ["ip", "netns", "exec", self.name]

    def pull_the_cable(self) -> None:
        """From now on nothing comes through, and neither side gets an error."""
        _ip("link", "set", self.name, "down")

    def put_the_cable_back(self) -> None:
        """Packets come through again."""
        _ip("link", "set", self.name, "up")


def why_not() -> str:
    """Why there can be no namespaces here; "" if there can be some."""
    if sys.platform != "linux":
        return "not on this system: network namespaces are Linux's"
    if os.geteuid() != 0:
        return "not on this system: network namespaces need root"
    if shutil.which("ip") is None:
        return "not on this system: there is no program ip (Debian: iproute2)"
    try:
        with machines(1):
            return ""
    except subprocess.CalledProcessError as error:
        return f"not on this system: a network namespace cannot be made: {error.stderr.decode(errors='replace').strip()}"


@contextlib.contextmanager
def machines(count: int) -> Iterator[list[Machine]]:
    """This number of them, while the block runs.

    Raises:
        subprocess.CalledProcessError: the system does not allow it.
    """
    mark = secrets.token_hex(3)
    third = secrets.randbelow(200)
    found = [Machine(f"tdiw{mark}{n}", f"{_NET}.{third}.{4 * n + 1}", f"{_NET}.{third}.{4 * n + 2}") for n in range(count)]
    with contextlib.ExitStack() as stack:
        for machine in found:
            _ip("netns", "add", machine.name)
            stack.callback(_ip, "netns", "del", machine.name)
            _ip("link", "add", machine.name, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
            _ip("addr", "add", f"{machine.here}/30", "dev", machine.name)
            _ip("link", "set", machine.name, "up")
            for card in ("lo", "eth0"):
                _ip("-n", machine.name, "link", "set", card, "up")
            _ip("-n", machine.name, "addr", "add", f"{machine.there}/30", "dev", "eth0")
        yield found


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)
