"""The defaults that depend on the machine, and the version."""

from __future__ import annotations

import re
from importlib import metadata

import pytest

from worker import config
from worker.config import Config, default_workers, installed_version


@pytest.mark.parametrize(("cores", "workers"), [(None, 1), (1, 1), (2, 2), (3, 2), (8, 7)])
def test_default_workers(monkeypatch, cores, workers):
    """One child per core; from three cores on, one core is left for TouchDesigner."""
    monkeypatch.setattr(config.os, "cpu_count", lambda: cores)
    assert default_workers() == workers


def test_version():
    """The version in the code is that of the distribution, as it is installed."""
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", installed_version())
    assert installed_version() == metadata.version("td-image-worker")


def test_children_give_way_unless_somebody_wants_otherwise():
    """TouchDesigner's frame comes first."""
    assert Config().nice == 10
