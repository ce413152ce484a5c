"""What makes a fresh clone's first `pytest` the same as every other one."""

from __future__ import annotations

from hypothesis import HealthCheck, settings


def test_hypothesis_asks_for_no_speed():
    """Neither the first example, which builds tables of characters for seconds, nor a busy machine fails a test. Also without CI=true."""
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check
