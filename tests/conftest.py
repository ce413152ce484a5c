"""Settings of all tests."""

from __future__ import annotations

import os

import pytest

#: How the reason of a skip starts that no change of the environment could turn into a run.
ELSEWHERE = "not on this system:"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a test may be skipped only where it cannot run; a missing program or package is a failure there."""
    report = yield
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        if not reason.removeprefix("Skipped: ").startswith(ELSEWHERE):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped in CI ({reason}); install what it needs, or start the reason with {ELSEWHERE!r}."
    return report
