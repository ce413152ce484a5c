"""The command that runs all benchmarks: its places in the document, and what it puts there. No benchmark runs here."""

from __future__ import annotations

import dataclasses
import importlib.util

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import races

DOCUMENT = benchmarks.DOCUMENT.read_text(encoding="utf-8")
NOTHING_PLOTTED = [dataclasses.replace(section, plot=None) for section in benchmarks.SECTIONS]


@pytest.mark.parametrize("section", NOTHING_PLOTTED, ids=lambda section: section.module)
def test_each_has_a_module_and_a_place(section):
    assert importlib.util.find_spec(f"tests.benchmarks.{section.module}") is not None
    said = f"first\n{section.shown_from}last"
    text = benchmarks.entry(section, ["--rounds", "1"], said, None, "0.1")
    document = benchmarks.placed(DOCUMENT, section.module, text)
    assert f"`python -m tests.benchmarks.{section.module} --rounds 1`" in document
    assert ("first" in text) is not bool(section.shown_from)
    assert text.rstrip() in document
    assert benchmarks.placed(document, section.module, text) == document


def test_a_document_without_the_place_is_an_error():
    with pytest.raises(ValueError, match="has no place for races"):
        benchmarks.placed("# Nothing", "races", "text")


def test_a_peer_that_is_missing_or_has_failed_is_a_row_that_says_so():
    sent = {"what": "here", "seconds": [1e-4, 2e-4, 3e-4], "rate": 50.0, "lost": 1, "doubled": 2}
    table = races.figures({"pool": {"rounds": [sent]}, "ray": {"missing": "not installed: ray"}, "dask": {"failed": "it fell"}})
    rows = {line.split(" | ")[0]: line for line in races.markdown(table).splitlines()[2:]}
    assert "| 200 | 300 | 300 |" in rows["| ProcessPoolExecutor"]
    assert rows["| ProcessPoolExecutor"].endswith("| 50 | 1 | 2 |")
    assert "not installed: ray" in rows["| ray"]
    assert "failed: it fell" in rows["| dask"]


def test_a_plot_names_the_peers_as_its_table_does():
    """And not as their files are called."""
    axes = Axes()
    benchmarks.plot_races(axes, {name: {"p50": at, "p99": at + 1} for at, name in enumerate(races.ORDER)})
    assert set(axes.bars) == {races.NAMES.get(name, name) for name in races.ORDER}
    assert "ours" not in axes.bars


class Axes:
    """What a plot is drawn on, and what was drawn."""

    def barh(self, names, *_, **__):
        self.bars = names

    def __getattr__(self, _):
        return lambda *_, **__: None


def test_each_peer_names_its_package_and_redis_is_missed_only_by_those_that_need_it():
    missed = {name for name in races.ORDER if races.missing(name, "") == "not installed: redis-server"}
    assert missed <= set(races.OVER_REDIS)
    assert {name for name in races.ORDER if not races._module(name, package_only=True)} == {"floor", "no_journal", "ours", "pool"}
    assert races.missing("pool", "") == ""
