"""The defaults that depend on the machine, and the version."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.metadata import PackageNotFoundError

import pytest

from worker import config
from worker.config import default_workers, installed_version


@pytest.mark.parametrize(("cores", "workers"), [(None, 1), (1, 1), (2, 2), (3, 2), (8, 7)])
def test_default_workers(monkeypatch, cores, workers):
    """One child per core; from three cores on, one core is left for TouchDesigner."""
    monkeypatch.setattr(config.os, "cpu_count", lambda: cores)
    assert default_workers() == workers


def test_version():
    """The version of the distribution, as it is installed."""
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", installed_version())


def test_version_of_a_source_tree(monkeypatch):
    """Code that was never installed has no version, and says 0 instead of failing."""

    def missing(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(metadata, "version", missing)
    assert installed_version() == "0"
