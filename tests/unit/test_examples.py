"""The table of examples has one for each operation."""

from __future__ import annotations

from tests.examples import EXAMPLES
from worker.catalog.table import CATALOG


def test_an_example_for_each_operation():
    """An operation without an example in tests/examples.py would never be run over real OSC, and not stand in the gallery."""
    assert set(EXAMPLES) == set(CATALOG)


def test_examples_are_accepted():
    """Each is a job as a client would send it; what it shows is one of its own outputs, and has a caption."""
    for name, example in EXAMPLES.items():
        params, _ = CATALOG.parse_job(name, example.pairs.items())
        patterns = [getattr(params, parameter.name) for parameter in CATALOG[name].parameters if parameter.role == "write"]
        written = {pattern.replace("{n}", n) for pattern in patterns for n in ("0", "*")}
        assert example.shown in written | {""}, name
        assert bool(example.shown) == bool(example.about), name
