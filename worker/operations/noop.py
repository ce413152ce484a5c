"""Nothing, done in a child process: it proves that a child works, and measures the way to it and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.catalog.noop import Noop


def noop(_params: Noop) -> None:
    """Returns at once."""
