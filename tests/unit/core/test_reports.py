"""What is said about jobs and operations fits into datagrams, and nothing of it is lost."""

from __future__ import annotations

import itertools
import json

import pytest

from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions
from worker.catalog.table import CATALOG
from worker.core.reports import EVERY, descriptions
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.osc import encode


def texts():
    """Name and whole text of everything that is described."""
    for name, parts in itertools.groupby(descriptions(CATALOG), key=lambda report: report.name):
        yield name, json.loads("".join(report.description for report in parts))


@pytest.mark.parametrize("name", ["", *CATALOG, EVERY])
def test_datagrams(name):
    """Each part fits, and says which of how many it is."""
    for _, group in itertools.groupby(descriptions(CATALOG, name), key=lambda report: report.name):
        parts = list(group)
        assert [report.part for report in parts] == list(range(len(parts)))
        assert {report.parts for report in parts} == {len(parts)}
        assert all(len(encode(report)) <= MAX_DATAGRAM_OUT for report in parts)


def test_several_parts():
    """The catalogue holds an operation that needs more than one datagram, so that the tests here test something."""
    assert max(report.parts for report in descriptions(CATALOG)) > 1


def test_every_help_text():
    """No parameter's help is left out to save room."""
    described = dict(texts())
    assert [*described] == [*CATALOG, EVERY]
    for row in CATALOG.values():
        helps = {name: parameter["help"] for name, parameter in described[row.name]["parameters"].items()}
        assert helps == {field.name: field.description for field in fields_of(row.params)}


def test_what_all_have_in_common():
    """The names of all operations, and the keys of every job with range, choices and help."""
    common = dict(texts())[EVERY]
    assert common["operations"] == [*CATALOG]
    assert [*common["every_job"]] == [field.name for field in fields_of(JobOptions)]
    assert common["every_job"]["priority"] == {"type": "int", "default": 1, "choices": [0, 1, 2], "help": "0 live, 1 normal, 2 batch"}
    assert common["every_job"]["retries"]["max"] == 10
