"""The OSC addresses of `protocol.md`, and the ports where they travel."""

from __future__ import annotations

import ipaddress
from typing import Final

#: Host and UDP port.
Peer = tuple[str, int]

COMMAND_PORT: Final = 9460
TEXT_PORT: Final = 9461
NUMBER_PORT: Final = 9462

#: Raised by one for each change that an older client would misunderstand.
PROTOCOL_VERSION: Final = 1

#: Outward datagrams stay below every usual MTU, so that they are never fragmented.
MAX_DATAGRAM_OUT: Final = 1200
#: The largest UDP payload over IPv4.
MAX_DATAGRAM_IN: Final = 65_507

ROOT: Final = "/worker"

HELLO: Final = "/worker/hello"
BYE: Final = "/worker/bye"
PING: Final = "/worker/ping"
JOB: Final = "/worker/job"
CANCEL: Final = "/worker/cancel"
CLEAR: Final = "/worker/clear"
QUERY: Final = "/worker/query"
ACK: Final = "/worker/ack"
REPLAY: Final = "/worker/replay"
SYNC: Final = "/worker/sync"
STATUS: Final = "/worker/status"
DESCRIBE: Final = "/worker/describe"
SET: Final = "/worker/set"
UNSET: Final = "/worker/unset"
PRESETS: Final = "/worker/presets"
TRIGGER: Final = "/worker/trigger"
WATCH: Final = "/worker/watch"
QUIT: Final = "/worker/quit"

CHALLENGE: Final = "/worker/challenge"
WELCOME: Final = "/worker/welcome"
PONG: Final = "/worker/pong"
HEALTH: Final = "/worker/health"
ACCEPTED: Final = "/worker/accepted"
PROCESSING: Final = "/worker/processing"
PROGRESS: Final = "/worker/progress"
RESULT: Final = "/worker/result"
FILE: Final = "/worker/file"
SKIPPED: Final = "/worker/skipped"
READY: Final = "/worker/ready"
FAILED: Final = "/worker/failed"
ERROR: Final = "/worker/error"
SYNCED: Final = "/worker/synced"
PRESET: Final = "/worker/preset"
OPERATION: Final = "/worker/operation"
CATALOG: Final = "/worker/catalog"
WATCHED: Final = "/worker/watched"
CHILDREN: Final = "/worker/children"
NODES: Final = "/worker/nodes"
NUMBER: Final = "/worker/n"
TRACKED: Final = "/worker/tracked"
SOURCE: Final = "/worker/source"
TRACK_NUMBER: Final = "/worker/n/track"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def reachable(host: str) -> str:
    """Where a client finds a server that listens on this address: one that listens everywhere is on this computer, too.

    >>> reachable("0.0.0.0"), reachable("192.168.0.7")
    ('127.0.0.1', '192.168.0.7')
    """
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
