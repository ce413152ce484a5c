"""`card`: one printed page with what somebody in the venue must know to reach the worker from TouchDesigner."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from worker.cli import show
from worker.cli.card_pages import Card, Section, as_html, as_pdf
from worker.cli.settings import PRESETS, SettingsCommand, config_of, setting_options
from worker.config import Config, installed_version
from worker.core.gate import Gate
from worker.core.presets import OPERATION
from worker.errors import Unavailable
from worker.protocol.addresses import reachable

_ASK_S = 1.0
_MOST_PRESETS = 12
_MOST_ADDRESSES = 8
_MOST_VALUES = 90

Presets = Mapping[str, Mapping[str, object]]


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  td-image-worker card
  td-image-worker card venue.html --config td-image-worker.toml
  td-image-worker card venue.html --pdf venue.pdf

FILE is an HTML page that needs nothing else; print it from a browser on one A4 page. --pdf writes the same as a PDF, with the extra [card].
It holds the addresses of this computer, the ports, the presets and the lines for TouchDesigner. Give the settings that the worker has, best
as the file of --config. The presets come from the worker, if it runs. The token is not on the card.
""",
)
@setting_options("host", "port", "text_port", "number_port", "allow", "token", "http", "root", "read_root", "map")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("worker-card.html"))
@click.option("--pdf", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write a PDF, too.")
def card(*, file: Path, pdf: Path | None, **values: Any) -> None:
    """Write a page to print for the venue.

    It has this computer's addresses, the ports, the presets and the lines for TouchDesigner.
    """
    config = config_of(values)
    if file.suffix.lower() == ".pdf":
        raise click.UsageError(f"FILE is an HTML page, so {file} would not open. Give the PDF with --pdf {file}.")
    presets, running = asyncio.run(_presets(config, click.get_current_context().meta.get(PRESETS, ())))
    made = card_of(config, addresses_here(), presets, running=running)
    try:
        file.write_text(as_html(made), encoding="utf-8")
        show.say(f"{file} is there. Print it from a browser, on one A4 page.")
        if pdf is not None:
            missing = as_pdf(made, pdf)
            show.say(f"{pdf} is there.")
            if missing:
                show.note(f"{missing} letters are question marks in the PDF, because its fonts do not have them; the HTML page has them.")
    except Unavailable as error:
        show.complain(error.message, error.hint)
        sys.exit(show.BAD_ARGUMENTS)
    except OSError as error:
        show.complain(f"{error.filename or file} cannot be written: {error.strerror or error}.")
        sys.exit(show.BAD_ARGUMENTS)


# ------------------------------------------------------------------------------------------------------ what is known here


def addresses_here() -> list[tuple[str, str]]:
    """The addresses that other computers may use, with the name of the interface: IPv4 first, without those that lead nowhere."""
    import psutil

    found: list[tuple[bool, str, str]] = []
    states = psutil.net_if_stats()
    for interface, addresses in psutil.net_if_addrs().items():
        if interface in states and not states[interface].isup:
            continue
        for one in addresses:
            if one.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(one.address.partition("%")[0])
                if not (address.is_loopback or address.is_link_local):
                    found.append((address.version == 6, interface, str(address)))
    return [(interface, address) for _, interface, address in sorted(found)]


async def _presets(config: Config, written: Sequence[tuple[str, str, object]]) -> tuple[Presets, bool]:
    """Those of the running worker; if none answers, those of the settings file."""
    from worker.client.client import Client, RemoteError

    try:
        async with Client(reachable(config.host), config.port, "card", config.token, connect_s=_ASK_S) as client:
            return await client.presets(), True
    except (RemoteError, OSError):
        known: dict[str, dict[str, object]] = {}
        for name, key, value in written:
            known.setdefault(name, {})[key] = value
        return known, False


# ------------------------------------------------------------------------------------------------------------- the content


def card_of(config: Config, here: Sequence[tuple[str, str]], presets: Presets, *, running: bool) -> Card:
    """What stands on the card.

    Args:
        config: the worker's settings.
        here: interface and address of each address of this computer.
        presets: name, then key and value.
        running: the presets are those of a worker that runs.
    """
    local = not _is_open(config.host)
    everywhere = reachable(config.host) != config.host
    others = [] if local else list(here) if everywhere else [("the only one", config.host)]
    best = others[0][1] if others else "127.0.0.1"
    inside = "127.0.0.1" if local or everywhere else ""
    sections = (
        _where(config, others, inside),
        _ports(config, best),
        *_operators(config, best, inside),
        Section("Callbacks of oscin1", code=_CALLBACK, note="Paste this into the callbacks DAT of the OSC In DAT.", wide=True),
        Section("Send a job, from a Text DAT", code=_SEND, note="Its reports, such as ready or failed, come to oscin1.", wide=True),
        _presets_section(presets, running=running),
        _folders(config),
        _help(config, local=local),
    )
    title = f"TD Image Worker on {socket.gethostname()}"
    subtitle = f"Version {installed_version()}, {time.strftime('%Y-%m-%d %H:%M')}. The token, if there is one, is not on this page."
    link = _page(config, best)
    return Card(title, subtitle, sections, link if "127.0.0.1" not in link else "")


def _page(config: Config, best: str) -> str:
    """Where the page is served; "" if it is not."""
    if config.http is None or importlib.util.find_spec("tornado") is None:
        return ""
    host, port = config.http
    host = "127.0.0.1" if not _is_open(host) else best if reachable(host) != host else host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_open(host: str) -> bool:
    return host != "localhost" and not Gate.is_this_computer(host)


def _where(config: Config, others: Sequence[tuple[str, str]], inside: str) -> Section:
    rows = [("on this computer", inside)] if inside else []
    rows += [(f"from others ({interface})", address) for interface, address in others[:_MOST_ADDRESSES]]
    if not others:
        note = "Only programs on this computer reach the worker. To let others in: serve --host 0.0.0.0 --allow NETWORK, or --token."
    else:
        allowed = ", ".join(map(str, config.allow))
        ways = [f"computers of {allowed}"] if allowed else []
        ways += ["any computer whose hello has the token"] if config.token else []
        note = f"Let in: {' and '.join(['this computer', *ways])}."
    if len(others) > _MOST_ADDRESSES:
        note += f" {len(others) - _MOST_ADDRESSES} more addresses are not listed."
    return Section("Where the worker is", tuple(rows), note=note)


def _ports(config: Config, best: str) -> Section:
    rows = [
        ("commands to it", f"UDP {config.port}"),
        ("text reports", f"UDP {config.text_port} of the sender"),
        ("number reports", f"UDP {config.number_port} of the sender"),
    ]
    if page := _page(config, best):
        rows.append(("page in a browser", page))
    return Section("Ports", tuple(rows))


def _operators(config: Config, best: str, inside: str) -> tuple[Section, Section]:
    address = f"{best}, or {inside} on the same computer" if inside and inside != best else best
    sends = (("Network Address", address), ("Network Port", str(config.port)), ("Active", "On"))
    hears = (
        ("OSC In DAT", f"oscin1: Network Port {config.text_port}, Active On"),
        ("OSC In CHOP", f"oscin2: Network Port {config.number_port}, Active On"),
    )
    return Section("OSC Out DAT oscout1", sends), Section("What hears", hears, note="A DAT and a CHOP cannot share a port.")


_CALLBACK = """\
def onReceiveOSC(dat, rowIndex, message, bytes, timeStamp, address, args, peer):
    if address in ('/worker/processing', '/worker/ready', '/worker/failed'):
        debug(address, args)"""

_SEND = """\
op('oscout1').sendOSC('/worker/job', ['', 'find_circles', 'image', 'shots/a.png', 'overlay', 'found.png'], asBundle=False)"""


def _presets_section(presets: Presets, *, running: bool) -> Section:
    rows = []
    for name, values in list(presets.items())[:_MOST_PRESETS]:
        text = " ".join(f"{key}={value}" for key, value in values.items() if key != OPERATION)
        what = f"{values.get(OPERATION, '')} {text if len(text) <= _MOST_VALUES else text[: _MOST_VALUES - 4] + ' ...'}"
        rows.append((name, what.strip(), f"/worker/trigger/{name} 1"))
    more = len(presets) - len(rows)
    origin = "As the running worker has them." if running else "From the settings file; no worker answered when this page was made."
    code = f"op('oscout1').sendOSC('/worker/trigger/{next(iter(presets))}', [1.0], asBundle=False)" if presets else ""
    note = f"{more} more are not listed. {origin}" if more > 0 else origin
    if not presets:
        note = f"There are none. {origin}"
    return Section("Presets, started by a number that rises to 1", tuple(rows), code, note, wide=True)


def _folders(config: Config) -> Section:
    rows = [("reads, writes", str(root.resolve())) for root in config.roots or (Path.cwd(),)]
    rows += [("reads", str(root.resolve())) for root in config.read_roots]
    rows += [("path of others", f"{sender} is {here} there") for sender, here in config.maps]
    return Section("Folders of the jobs", tuple(rows), note="Paths in jobs that do not begin with a folder start at the first of these.")


def _help(config: Config, *, local: bool) -> Section:
    port = "" if config.port == Config().port else f" --port {config.port}"
    rows = (
        ("what it does now", f"td-image-worker watch{port}"),
        ("whether it is well", f"td-image-worker health{port}"),
        ("what is wrong", f"td-image-worker doctor{port}"),
    )
    ports = f"UDP {config.port} at the worker, and UDP {config.text_port} and {config.number_port} at TouchDesigner"
    note = "" if local else f"Firewalls must let through {ports}."
    return Section("If nothing arrives, on the worker's computer", rows, note=note)
