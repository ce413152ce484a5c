"""`node`: this machine works for a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from worker.cli import show
from worker.cli.logs import begin_logging
from worker.cli.settings import SettingsCommand, config_of, setting_options

_SETTINGS = {
    "cluster": "The scheduler of the Dask cluster to work for, such as tcp://10.0.0.5:8786.",
    "cluster_ca": "",
    "cluster_cert": "",
    "cluster_key": "",
    "root": "Folder that jobs may read and write on this machine; repeatable. Relative paths start at the first.",
    "read_root": "",
    "map": "How a path starts in the job, and on this machine; repeatable.",
    "workers": "Child processes: how many tasks run on this machine at a time.",
    "sandbox": "",
    "max_megapixels": "",
    "max_image_mb": "",
    "child_mb": "",
    "log_file": "",
    "log_format": "",
    "log_level": "",
}


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  td-image-worker cluster                                      (a scheduler and a node here, for a try)
  td-image-worker node --cluster tcp://HOST:8786 --root /mnt/show
  td-image-worker node --cluster tls://HOST:8786 --root /mnt/show --cluster-ca ca.pem --cluster-cert me.pem --cluster-key me.key

\b
The worker itself is started with the same address:
  td-image-worker serve --cluster tcp://HOST:8786 --root /mnt/show
""",
)
@setting_options(*_SETTINGS, texts=_SETTINGS)
def node(**values: Any) -> None:
    """Let this machine do the work of a worker elsewhere. It runs until Ctrl-C or SIGTERM."""
    config = config_of(values)
    if not config.cluster.address:
        raise click.UsageError("Give the scheduler's address: --cluster tcp://HOST:8786. `td-image-worker cluster` starts one for a try.")
    begin_logging(config.log.level, config.log.format, config.log.file)
    if not config.roots:
        show.say(f"No --root was given, so jobs may read and write in {Path.cwd()} only.")
        config = replace(config, roots=(Path.cwd(),))
    from worker.errors import WorkerError

    try:
        from worker.service.node import work

        sys.exit(work(config))
    except WorkerError as error:
        raise click.ClickException(f"{error.message} {error.hint}".strip()) from None
