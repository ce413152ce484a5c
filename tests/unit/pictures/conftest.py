"""Pictures that a test has just written are whole."""

from __future__ import annotations

import pytest

from worker.files import whole


@pytest.fixture(autouse=True)
def _nobody_writes(monkeypatch):
    """So none is read twice to see whether it grows; `tests/security/test_pictures.py` tries those that do."""
    monkeypatch.setattr(whole, "SETTLED_S", -1.0)
