"""The parameters of the operation that does nothing."""

from __future__ import annotations

from worker.catalog.params import Params


class Noop(Params, frozen=True, kw_only=True):
    """No parameters."""
