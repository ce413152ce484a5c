"""Free ports for the workers, nodes and pictures of TouchDesigner that the tests start."""

from __future__ import annotations

import contextlib
import random
import socket
import sys

#: Below those that systems give to sockets which ask for any port (RFC 6335: from 49152 on; Linux: from 32768 on): one of those that is
#: free now may be another test's a moment later, before the program that was to have it has started.
FIRST, LAST = 10_000, 30_000

_random = random.SystemRandom()  # the tests' seeds do not count: runs beside each other would choose the same
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody uses now, by UDP or TCP, and that was not given before."""
    while True:
        port = _random.randrange(FIRST, LAST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        for host in ("127.0.0.1", "0.0.0.0"):  # macOS lets a program have one of the two
            with contextlib.closing(socket.socket(socket.AF_INET, kind)) as probe:
                if kind == socket.SOCK_STREAM and sys.platform != "win32":
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what was closed a moment ago does not count
                try:
                    probe.bind((host, port))
                except OSError:
                    return False
    return True
