"""`cluster`: a scheduler and nodes on this machine, in one line."""

from __future__ import annotations

import sys
from typing import Any

import click

from worker.cli.logs import begin_logging
from worker.cli.settings import SettingsCommand, WholeNumber, config_of, setting_options

_SETTINGS = {
    "root": "",
    "read_root": "",
    "map": "",
    "workers": "Child processes of each node.",
    "cluster_ca": "",
    "cluster_cert": "",
    "cluster_key": "",
    "log_level": "",
}


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  td-image-worker cluster --root /mnt/show                     (then: td-image-worker serve --cluster tcp://127.0.0.1:8786)
  td-image-worker cluster --nodes 0 --scheduler-host HOST  (the scheduler only; nodes are started on the other machines)

Whoever reaches the scheduler without TLS can run code on every node. Give it an address that only your machines can reach, or certificates.
""",
)
@setting_options(*_SETTINGS, texts=_SETTINGS)
@click.option("--nodes", type=WholeNumber(0, 16), default=2, show_default=True, help="How many nodes to start on this machine.")
@click.option("--scheduler-host", metavar="HOST", default="127.0.0.1", show_default=True, help="Where the scheduler listens.")
@click.option("--scheduler-port", metavar="PORT", type=WholeNumber(0, 65535), default=8786, show_default=True, help="Its port.")
@click.option(
    "--dashboard-port",
    metavar="PORT",
    type=WholeNumber(1, 65535),
    help="Serve the page of Dask's scheduler there, on the same host; who reaches it sees all tasks (extra dashboard).  [default: none]",
)
def cluster(nodes: int, scheduler_host: str, scheduler_port: int, dashboard_port: int | None, **values: Any) -> None:
    """Start a scheduler, and nodes on this machine: a cluster for a try. It runs until Ctrl-C or SIGTERM."""
    config = config_of(values)
    begin_logging(config.log.level, config.log.format, config.log.file)
    from worker.errors import WorkerError

    try:
        from worker.service.node import try_out

        sys.exit(try_out(config, nodes, (scheduler_host, scheduler_port), dashboard_port))
    except WorkerError as error:
        raise click.ClickException(f"{error.message} {error.hint}".strip()) from None
