"""Sends jobs to a worker and waits for their finals: `from worker.client import Client`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.client.client import Client as Client


def __getattr__(name: str) -> object:
    """Imports the client when it is asked for: `line` and `core` start without asyncio."""
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from worker.client.client import Client

    return Client
