"""`serve`: the worker itself."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from msgspec.structs import replace

from worker.cli import show
from worker.cli.logs import begin_logging
from worker.cli.settings import CONFIG_FILE, FILE, PRESETS, SettingsCommand, check_presets, config_of, setting_options
from worker.config import Config, nights_beside
from worker.core.gate import Gate, check_token


@click.command(
    cls=SettingsCommand,
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
""",
)
@setting_options()
def serve(**values: Any) -> None:
    """Start a worker. It runs until Ctrl-C, SIGTERM or /worker/quit."""
    config = config_of(values)
    check_presets(click.get_current_context().meta, config)
    for sentence in _cannot_be(config):
        raise click.UsageError(sentence)
    if not (is_this_computer(config.host) or config.allow or config.token):
        raise click.UsageError(
            f"--host {config.host} lets other computers send jobs, so say which: --allow with their network, or --token with a password."
        )
    if sentence := check_token(config.token):
        import secrets  # only here: with it comes a library of ciphers

        raise click.UsageError(f"{sentence} Give --token another one, such as {secrets.token_urlsafe(18)}.")
    begin_logging("warning" if config.show and config.log.level == "info" else config.log.level, config.log.format, config.log.file)
    if (file := click.get_current_context().meta.get(FILE)) is not None:
        show.say(f"Settings from {file.resolve()}.")
    if not config.roots:
        show.say(f"No --root was given, so jobs may read and write in {Path.cwd()} only.")
    context = click.get_current_context()
    chosen = context.get_parameter_source("workers") is not ParameterSource.DEFAULT
    sys.exit(start(completed(config, context.meta.get(PRESETS, ()), chosen=chosen)))


def completed(config: Config, presets: tuple[tuple[str, str, Any], ...] = (), *, chosen: bool = True) -> Config:
    """With what follows from the settings: the current folder, the worker's own files, how many packets may come at once.

    Args:
        config: the settings.
        presets: those of the file.
        chosen: whether somebody has said how many children there are. If not, a worker that TouchDesigner has started leaves a core to it,
            also if there are only two. A worker in a show always does.
    """
    leaves_a_core = config.show or (config.parent_pid > 0 and not chosen)
    return replace(
        config,
        roots=config.roots or (Path.cwd(),),
        kept=tuple(file.absolute() for file in (config.log.file, nights_beside(config.log.file), config.record.file) if file),
        workers=min(config.workers, max(1, (os.cpu_count() or 1) - 1)) if leaves_a_core else config.workers,
        presets=presets,
        state=None if config.no_journal else config.state,
        limits=replace(config.limits, packets_burst=2 * config.limits.packets_per_s),
    )


def _cannot_be(config: Config) -> Iterator[str]:
    """What is wrong with places that do not fit together, as sentences."""
    host = config.host
    if not host or host.strip() != host:
        yield f"--host {host!r} is no address; 127.0.0.1 is this computer, 0.0.0.0 all of its networks."
    elif ":" in host and not _is_address(host):
        yield f"--host {host} is no address. The port has an option of its own, --port, and an IPv6 address stands without brackets."
    if not config.port or not is_this_computer(host):  # on another computer somebody may well listen there
        return
    for option, port in (("--text-port", config.text_port), ("--number-port", config.number_port)):
        if port == config.port:
            yield f"{option} {port} is the worker's own port, so its reports would come back to itself. Give it another one."
    for option, targets in (("--report", config.report), ("--report-numbers", config.report_numbers)):
        if any(port == config.port and is_this_computer(where) for where, port in targets):
            yield f"{option} names the worker's own port {config.port}, so its reports would come back to itself. Give it another one."


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_this_computer(host: str) -> bool:
    """Whether a worker that listens on this address can be reached from this computer only."""
    return host == "localhost" or Gate.is_this_computer(host)


def start(config: Config) -> int:
    """Runs the worker; its exit code."""
    from worker.service.serve import serve as run_service

    return run_service(config, _announce)


def _announce(line: str) -> None:
    """At once, although standard output may be a file or a pipe that somebody reads while we run."""
    show.say(line)
