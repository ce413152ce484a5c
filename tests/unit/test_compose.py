"""docker/compose.yaml, as far as it can be checked without compose: the file reads as YAML, and says what the commands understand."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from worker.cli.cluster import cluster
from worker.cli.node import node
from worker.config import Config
from worker.settings import declared

yaml = pytest.importorskip("yaml", reason="not in this environment: PyYAML, which Dask brings along")

TEXT = (Path(__file__).parents[2] / "docker" / "compose.yaml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
OF_THE_CLUSTER = [name for name, service in SERVICES.items() if service.get("profiles") == ["cluster"]]


def test_a_cluster_only_if_it_is_asked_for():
    """A scheduler and two nodes in a profile; the worker in none."""
    assert OF_THE_CLUSTER == ["scheduler", "node-1", "node-2"]
    assert list(SERVICES) == ["worker", *OF_THE_CLUSTER]


@pytest.mark.parametrize("name", OF_THE_CLUSTER)
def test_the_commands(name):
    """Each is one that the program understands."""
    command: click.Command
    word, *arguments = SERVICES[name]["command"]
    command = {"cluster": cluster, "node": node}[word]
    with command.make_context(word, list(arguments)) as context:
        address = context.params.get("cluster")
    assert address in (None, "tcp://scheduler:8786")


@pytest.mark.parametrize("name", SERVICES)
def test_the_environment(name):
    """Each variable is a setting, and each that may be set in .env is described in its example."""
    known = {one.variable for one in declared(Config)}
    assert {key for key in SERVICES[name].get("environment", {}) if key.startswith("TD_")} <= known
    example = (Path(__file__).parents[2] / "docker" / "env.example").read_text(encoding="utf-8")
    wanted = set(re.findall(r"\$\{(TD_[A-Z_]+)", str(SERVICES[name]))) - {"TD_IMAGE", "TD_CONTAINER"}
    assert {key for key in wanted if key not in example} == set()


@pytest.mark.parametrize("name", SERVICES)
def test_what_may_be_reached(name):
    """Ports of this computer only; as few rights as the worker has; and nodes see the worker's folder under the same path."""
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert (service["read_only"], service["cap_drop"], service["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    if name.startswith("node"):
        assert service["volumes"] == SERVICES["worker"]["volumes"][:1]


def test_who_they_run_as():
    """Nodes write the worker's files, so they run as it does; the scheduler has no files, and is not asked to become somebody else."""
    assert {SERVICES[name]["user"] for name in ("worker", "node-1", "node-2")} == {"${TD_USER:-10001:10001}"}
    assert SERVICES["scheduler"]["user"] == "10001:10001"
    assert "volumes" not in SERVICES["scheduler"]
