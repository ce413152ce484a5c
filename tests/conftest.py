"""Settings of all tests."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Workers of the tests run side by side, and the page has one port. Its own tests ask for it.
os.environ.setdefault("TD_IMAGE_WORKER_HTTP", "off")

#: How the reason of a skip starts that no change of the environment could turn into a run.
ELSEWHERE = "not on this system:"

# The first text that Hypothesis makes builds its tables of characters, which takes seconds on a busy machine. How fast a machine is says
# nothing about the code, so no test has a deadline. The parent is the profile in force, which is Hypothesis's own "ci" if CI is set.
settings.register_profile("any-speed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-speed")

# The many workers of the tests need not be found by other programs; tests of that remove it.
os.environ["TD_IMAGE_WORKER_NO_DISCOVERY"] = "true"


# What a script starts in the background ignores Ctrl-C, and so would the commands that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a test may be skipped only where it cannot run; a missing program or package is a failure there."""
    report = yield
    if not hasattr(report, "wasxfail"):
        _fail_if_it_could_run(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a whole file: `pytest.importorskip` at its top skips it before it has a test."""
    report = yield
    _fail_if_it_could_run(report, collector.nodeid)
    return report


def _fail_if_it_could_run(report, name):
    if os.environ.get("CI") and report.skipped:
        _, _, reason = report.longrepr
        if not reason.removeprefix("Skipped: ").startswith(ELSEWHERE):
            report.outcome = "failed"
            report.longrepr = f"{name} was skipped in CI ({reason}); install what it needs, or start the reason with {ELSEWHERE!r}."
