"""What Prometheus gets: read back by its own parser. The names that the dashboard asks for are there."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from worker.core.events import JobEnded
from worker.web.figures import Figures

pytest.importorskip("prometheus_client", reason="the extra page is not installed")

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from worker.web import metrics
from worker.web.metrics import PREFIX, Metrics
from worker.web.tallies import OTHER, Tallies

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana.json"
FIGURES = Figures(10, 1000, 20, 3000, {"stranger": 1, "rate": 2, "inbox": 0, "system": 4}, 3, (5, 2))


def ended(operation="noop", word="ready", code=200):
    return JobEnded("c", "", "j", operation, word, code, 2, 200, 1, 1, wait_s=0.002, run_s=0.2, total_s=0.21)


def levels(word="Processing", **numbers):
    return word, {"queued": 4.0, "running": 2.0, "canary_s": 0.5, "beat": 60.0, **numbers}


def made(tmp_path, *jobs, levels=("Starting", {}), operations=("noop", "find_circles"), figures=FIGURES, journal=None):
    tallies = Tallies(lambda: operations)
    for job in jobs:
        tallies.add(job)
    told = {"tallies": tallies, "levels": lambda: levels, "figures": lambda: figures}
    return Metrics("1.2.3", workers=4, **told, folders=(tmp_path,), journal=journal)


def samples(one):
    """By name and labels; the process's own figures are left out."""
    text, kind = one.text("")
    assert kind.startswith("text/plain")
    families = [family for family in text_string_to_metric_families(text.decode()) if family.name.startswith(PREFIX)]
    assert all(family.documentation for family in families)
    return {(sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_jobs_are_counted_by_operation_and_outcome(tmp_path):
    """And measured: how long they waited, ran, and took in all."""
    found = samples(made(tmp_path, ended(), ended(), ended("find_circles", "file", 404)))
    assert found["jobs_total", "noop", "ready"] == 2
    assert found["jobs_total", "find_circles", "file"] == 1
    assert found["job_wait_seconds_sum", "noop"] == pytest.approx(0.004)
    assert found["job_run_seconds_count", "noop"] == 2
    assert found["job_round_trip_seconds_sum", "find_circles"] == pytest.approx(0.21)
    assert (found["job_run_seconds_bucket", "0.1", "noop"], found["job_run_seconds_bucket", "0.25", "noop"]) == (0, 2)


def test_operations_that_have_gone_are_one_series(tmp_path):
    """An operation of the artist's own that is renamed a thousand times does not fill Prometheus."""
    found = samples(made(tmp_path, *(ended(f"renamed{n}") for n in range(1000))))
    assert found["jobs_total", OTHER, "ready"] == 1000
    assert {key[1] for key in found if key[0] == "jobs_total"} == {OTHER}


def test_the_worker_is_described(tmp_path):
    """Queue, status, packets, drops, bytes, disk, restarts. Of the children those that serve: of five four, and not the spare."""
    found = samples(made(tmp_path, levels=levels(nodes=3.0)))
    assert found["info", "1.2.3"] == 1
    assert {word for word in metrics._WORDS if found["status", word]} == {"Processing"}
    assert (found["jobs_queued",], found["jobs_running",], found["canary_age_seconds",], found["nodes",]) == (4, 2, 0.5, 3)
    assert (found["children", "busy"], found["children", "free"], found["children_wanted",]) == (2, 2, 4)
    assert (found["packets_received_total",], found["received_bytes_total",]) == (10, 1000)
    assert (found["packets_sent_total",], found["sent_bytes_total",]) == (20, 3000)
    assert found["packets_dropped_total", "rate"] == 2
    assert found["children_ended_total",] == 3
    assert found["disk_free_bytes", str(tmp_path)] > 0
    assert found["journal_storing",] == 1


def test_a_worker_of_a_cluster_speaks_of_no_children(tmp_path):
    """Others do the work."""
    assert ("children", "busy") not in samples(made(tmp_path, figures=Figures()))


def test_the_journal_is_measured(tmp_path):
    """With what has not been merged into it yet; and whether it can be written."""
    (tmp_path / "9460.sqlite3").write_bytes(bytes(100))
    (tmp_path / "9460.sqlite3-wal").write_bytes(bytes(11))
    (tmp_path / "9460.sqlite3-commits-2").write_bytes(bytes(7))
    found = samples(made(tmp_path, levels=levels("NotStoring"), journal=tmp_path / "9460.sqlite3"))
    assert (found["journal_bytes",], found["journal_storing",]) == (118, 0)


def test_a_folder_that_has_gone_does_no_harm(tmp_path):
    """Its space is left out."""
    found = samples(made(tmp_path / "gone"))
    assert not [key for key in found if key[0] == "disk_free_bytes"]


def test_a_disk_that_does_not_answer_holds_nobody_up(tmp_path, monkeypatch):
    """A network drive, for example. The other values come all the same, and at most one thread waits for it."""
    answers, asked = threading.Event(), []

    def disk_usage(folder):
        asked.append(folder)
        answers.wait(60)
        return SimpleNamespace(free=7)

    monkeypatch.setattr(metrics.shutil, "disk_usage", disk_usage)
    one = made(tmp_path)
    assert not [key for key in [*samples(one), *samples(one)] if key[0] == "disk_free_bytes"]
    assert asked == [tmp_path]
    answers.set()
    one._space._looking.join(60)
    assert samples(one)["disk_free_bytes", str(tmp_path)] == 7


def test_prometheus_can_have_its_newer_form(tmp_path):
    """OpenMetrics, as it asks for in its header."""
    text, kind = made(tmp_path, ended()).text("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert {f"{PREFIX}jobs"} <= {family.name for family in openmetrics.text_string_to_metric_families(text.decode())}


def test_a_registry_of_its_own(tmp_path):
    """Two workers in one process, or somebody who uses the library as well, do not meet."""
    made(tmp_path, ended())
    assert ("jobs_total", "noop", "ready") not in samples(made(tmp_path))


def expressions():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        yield variable["query"]["query"]


def test_every_name_in_the_dashboard_exists(tmp_path):
    """And so does every label, and every label that it is filtered or grouped by."""
    figures = made(tmp_path, ended(), levels=levels(nodes=1.0))
    text = figures.text("")[0].decode()
    families = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    labels = {sample.name: set() for sample in families}
    for sample in families:
        labels[sample.name] |= sample.labels.keys()
    named = 0
    for expression in expressions():
        names = re.findall(rf"\b({PREFIX}\w+|process_\w+)", expression)
        assert names, expression
        named += len(names)
        for name in names:
            assert name in labels, expression
            used = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
            used |= set(re.findall(r"[{,](\w+)(?:=~|!=|=)", expression)) - {"instance"}
            assert used <= labels[name], expression
    assert named > 20
    shown = {name for expression in expressions() for name in re.findall(rf"\b{PREFIX}\w+", expression)}
    own = {name for name in labels if name.startswith(PREFIX) and not name.endswith(("_created", "_sum", "_count"))}
    assert own - shown == {f"{PREFIX}journal_storing"}, "a figure that is on no panel"


def test_the_dashboard_is_one_that_grafana_takes():
    """As its export for sharing writes it: a source that is asked for on import, panels side by side, numbers of their own."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["id"] is None
    assert dashboard["__inputs"][0]["name"] == "DS_PROMETHEUS"
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${DS_PROMETHEUS}"}
    assert {panel["type"] for panel in panels} == {one["id"] for one in dashboard["__requires"] if one["type"] == "panel"}
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
