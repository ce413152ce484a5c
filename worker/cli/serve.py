"""`serve`: the worker itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from worker.cli.logs import begin_logging
from worker.cli.settings import CONFIG_FILE, MAP, NETWORK, PEER, PORT, PRESETS, ROOT, read_config_file, variable
from worker.config import Config, Limits, default_workers
from worker.core.gate import Gate
from worker.files.limits import DEFAULT_LIMITS, OPTIONS, FileLimits
from worker.protocol import addresses
from worker.protocol.addresses import Network, Peer

_DEFAULTS = Limits()


def default_state() -> Path:
    """Where this system keeps the state of a program."""
    from platformdirs import user_state_path

    return user_state_path("td-image-worker", appauthor=False)


def option(name: str, **settings: Any) -> Callable[[Any], Any]:
    """An option that can also be given by its environment variable."""
    return click.option(name, envvar=variable(name), **settings)


#: What the help says of each limit of `FileLimits`.
_FILE_LIMITS = {
    "file_mb": "A file may be so large, read or written.",
    "megapixels": "A picture may be so large, read or written.",
    "frames": "An animation may hold so many pictures.",
    "inputs": "A folder or pattern may stand for so many images.",
    "entries": "So many files and folders are looked through for them.",
    "outputs": "A job may write so many files.",
    "rows": "A result may have so many rows.",
    "child_mb": "A child process may take so much memory; 0 = all there is.",
    "min_free_mb": "So much must stay free on a disk that is written to.",
}


def file_limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that make a `FileLimits`, under the names of `OPTIONS`."""
    for attribute, text in reversed(_FILE_LIMITS.items()):
        may_be_zero = attribute in ("child_mb", "min_free_mb")
        command = option(
            OPTIONS[attribute],
            type=click.IntRange(0 if may_be_zero else 1),
            default=getattr(DEFAULT_LIMITS, attribute),
            show_default=True,
            metavar="MB" if attribute.endswith("_mb") else "N",
            help=text,
        )(command)
    return command


def file_limits(values: dict[str, int]) -> FileLimits:
    """From the options' values, by the names that click gives them."""
    return FileLimits(**{attribute: values[name.removeprefix("--").replace("-", "_")] for attribute, name in OPTIONS.items()})


@click.command(
    epilog=f"""\b
Examples:
  td-image-worker serve
  td-image-worker serve --root D:/show --root D:/cache --workers 4
  td-image-worker serve --report 192.168.0.20:9461     (a second screen)
  td-image-worker serve --host 0.0.0.0 --allow 192.168.0.0/24 --root /data --map C:/show=/data

\b
Every option can also come from its environment variable or from a TOML file;
the command line counts first, then the environment, then the file.
  TD_IMAGE_WORKER_QUEUE_JOBS=500     a - of the option's name becomes _
  TD_IMAGE_WORKER_ROOT="D:/show;D:/my cache"        a ; stands between parts
  {CONFIG_FILE}:
    port = 9470
    root = ["D:/show", "D:/cache"]
    map  = ["C:/show=/data"]
    [presets.logo]                (started by /worker/trigger/logo)
    operation = "find_circles"
    image = "logo.png"
"""
)
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="HOST",
    help="Where to listen; 0.0.0.0 can be reached from other computers (see --allow).",
)
@option(
    "--port",
    type=PORT,
    default=addresses.COMMAND_PORT,
    show_default=True,
    metavar="PORT",
    help="UDP port for commands; 0 takes a free one.",
)
@option(
    "--root", type=ROOT, multiple=True, metavar="DIR", help="Folder that jobs may read and write; repeatable.  [default: the current one]"
)
@option(
    "--allow",
    type=NETWORK,
    multiple=True,
    metavar="NETWORK",
    help="Other computers that may send jobs, such as 192.168.0.0/24; repeatable. In a container: gateway.",
)
@option("--token", default="", metavar="TEXT", help="A computer whose hello has this token may send jobs, too.")
@option(
    "--packets-per-second",
    type=click.IntRange(1),
    default=_DEFAULTS.packets_per_s,
    show_default=True,
    metavar="N",
    help="So many packets of one sender are read; more are dropped.",
)
@option("--read-root", type=ROOT, multiple=True, metavar="DIR", help="Folder that jobs may only read; repeatable.")
@file_limit_options
@option("--map", type=MAP, multiple=True, metavar="SENDER=WORKER", help="How a path starts for the sender, and here; repeatable.")
@option("--report", type=PEER, multiple=True, metavar="HOST:PORT", help="Send all text reports there, too; repeatable.")
@option("--report-numbers", type=PEER, multiple=True, metavar="HOST:PORT", help="Send all number reports there, too; repeatable.")
@option(
    "--text-port", type=PORT, default=addresses.TEXT_PORT, show_default=True, metavar="PORT", help="The sender's port for text reports."
)
@option(
    "--number-port",
    type=PORT,
    default=addresses.NUMBER_PORT,
    show_default=True,
    metavar="PORT",
    help="The sender's port for number reports.",
)
@option(
    "--gateway-is",
    default="",
    metavar="HOST",
    help="In a container all packets seem to come from its gateway; this is where they come from in truth, if it can be found.",
)
@option("--workers", type=click.IntRange(1, 256), default=default_workers, show_default="cores - 1", metavar="N", help="Child processes.")
@option(
    "--queue-jobs",
    type=click.IntRange(1),
    default=_DEFAULTS.queue_jobs,
    show_default=True,
    metavar="N",
    help="So many jobs may wait; more are refused with 429.",
)
@option(
    "--timeout-ms",
    type=click.IntRange(0),
    default=_DEFAULTS.timeout_ms,
    show_default=True,
    metavar="MS",
    help="Timeout of a job that brings none of its own; 0 = none.",
)
@option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_state,
    show_default="the system's place for it",
    metavar="DIR",
    help="Folder of the journal, where accepted jobs survive a crash.",
)
@option("--no-journal", is_flag=True, help="Keep nothing; unfinished jobs do not survive a crash.")
@option(
    "--durability",
    type=click.Choice(["process", "power"]),
    default="process",
    show_default=True,
    help="What an accepted job survives: a crash of the worker, or also of the machine (slower).",
)
@option(
    "--remember-jobs",
    type=click.IntRange(1),
    default=_DEFAULTS.remembered_jobs,
    show_default=True,
    metavar="N",
    help="So many ended jobs are known by their id.",
)
@option(
    "--remember-hours",
    type=click.FloatRange(0, min_open=True),
    default=_DEFAULTS.remembered_hours,
    show_default=True,
    metavar="H",
    help="So long are they known across restarts.",
)
@option("--parent-pid", type=click.IntRange(0), default=0, metavar="PID", help="End together with this process, such as TouchDesigner.")
@option("--replace", is_flag=True, help="If a worker listens on the port already, ask it to leave first.")
@option(
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the log there and not to standard error; five files of 10 MB are kept.",
)
@option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: one object per line.")
@option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="How much is logged.",
)
@click.option(
    "--http", is_flag=False, flag_value="", default=None, metavar="[HOST:PORT]", help="Web page and metrics; not in this version yet."
)
@click.option(
    "--config",
    is_eager=True,
    expose_value=False,
    callback=read_config_file,
    envvar=variable("--config"),
    metavar="FILE",
    help=f"TOML file with these settings.  [default: {CONFIG_FILE} in the current folder, if it is there]",
)
def serve(
    *,
    host: str,
    port: int,
    root: tuple[Path, ...],
    read_root: tuple[Path, ...],
    allow: tuple[tuple[Network, ...], ...],
    token: str,
    packets_per_second: int,
    map: tuple[tuple[str, str], ...],  # noqa: A002 - the option's name
    report: tuple[Peer, ...],
    report_numbers: tuple[Peer, ...],
    text_port: int,
    number_port: int,
    gateway_is: str,
    workers: int,
    queue_jobs: int,
    timeout_ms: int,
    state: Path,
    no_journal: bool,
    durability: Literal["process", "power"],
    remember_jobs: int,
    remember_hours: float,
    parent_pid: int,
    replace: bool,
    log_file: Path | None,
    log_format: str,
    log_level: str,
    http: str | None,
    **file_limit_values: int,
) -> None:
    """Start a worker. It runs until Ctrl-C, SIGTERM or /worker/quit."""
    if http is not None:
        raise click.UsageError("--http is not in this version yet; leave it out.")
    if not (is_this_computer(host) or allow or token):
        raise click.UsageError(
            f"--host {host} lets other computers send jobs, so say which: --allow with their network, or --token with a password."
        )
    begin_logging(log_level, log_format, log_file)
    config = Config(
        host=host,
        port=port,
        report=report,
        report_numbers=report_numbers,
        text_port=text_port,
        number_port=number_port,
        roots=root or (Path.cwd(),),
        read_roots=read_root,
        kept=(log_file.absolute(),) if log_file else (),
        maps=map,
        gateway_is=gateway_is,
        allow=tuple(network for networks in allow for network in networks),
        token=token,
        presets=click.get_current_context().meta.get(PRESETS, ()),
        workers=workers,
        state=None if no_journal else state,
        durability=durability,
        parent_pid=parent_pid,
        replace=replace,
        files=file_limits(file_limit_values),
        limits=Limits(
            queue_jobs=queue_jobs,
            timeout_ms=timeout_ms,
            remembered_jobs=remember_jobs,
            remembered_hours=remember_hours,
            packets_per_s=packets_per_second,
            packets_burst=2 * packets_per_second,
        ),
    )
    if not root:
        click.echo(f"No --root was given, so jobs may read and write in {Path.cwd()} only.")
    sys.exit(start(config))


def is_this_computer(host: str) -> bool:
    """Whether a worker that listens on this address can be reached from this computer only."""
    return host == "localhost" or Gate.is_this_computer(host)


def start(config: Config) -> int:
    """Runs the worker; its exit code."""
    from worker.service.serve import serve as run_service

    return run_service(config, _announce)


def _announce(line: str) -> None:
    """At once, although standard output may be a file or a pipe that somebody reads while we run."""
    click.echo(line)
    sys.stdout.flush()
