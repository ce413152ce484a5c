"""`doctor`: proves the round trip step by step, and says what to change where it breaks."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import click

from worker.catalog.table import CATALOG
from worker.cli import show
from worker.cli.settings import setting_options
from worker.client.line import Line, NobodyListens
from worker.network.gateways import own_gateways
from worker.network.names import address_of
from worker.protocol import addresses, osc
from worker.protocol.messages import Accepted, Failed, Hello, Job, Number, Pong, Ready, Welcome

_WAIT_S = 3.0
_DOCKER_S = 10.0
_NONCE = 4711
_ADDRESS_HELP = {
    "host": "Where the worker is.",
    "port": "Its command port.",
    "token": "If the worker wants one.",
    "text_port": "Where text reports are awaited; 0 = not.",
    "number_port": "Where number reports are awaited; 0 = not.",
}
_DESKTOP = "host.docker.internal"
_IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


class Mark(StrEnum):
    OK = "ok"
    BROKEN = "BROKEN"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table."""

    name: str
    mark: Mark
    seen: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be examined."""

    host: str
    port: int
    text_port: int
    number_port: int
    token: str


@click.command(
    epilog="""\b
Examples:
  td-image-worker doctor
  td-image-worker doctor --docker
  docker exec td-image-worker td-image-worker doctor --docker     (with nothing installed outside)

Close TouchDesigner's OSC In operators first if their ports are to be tested from here. Exit code 1 if a step is broken.
"""
)
@setting_options(*_ADDRESS_HELP, texts=_ADDRESS_HELP)
@click.option("--docker", is_flag=True, help="Also look at the container, from outside or from inside.")
def doctor(*, host: str, port: int, text_port: int, number_port: int, token: str, docker: bool) -> None:
    """Prove the round trip to a worker and back, and say what to change."""
    question = Question(host, port, text_port, number_port, token)
    inside = docker and shutil.which("docker") is None and any(path.exists() for path in _IN_CONTAINER)
    steps = list(examine(question, docker=docker, inside=inside))
    show.table("", ("step", "", "what was seen"), [(step.name, step.mark, step.seen) for step in steps])
    for step in steps:
        if step.change:
            show.say(f"{step.name}: {step.change}")
    broken = [step.name for step in steps if step.mark is Mark.BROKEN]
    show.say(f"Broken: {', '.join(broken)}." if broken else "The round trip works.")
    sys.exit(bool(broken))


def examine(question: Question, *, docker: bool, inside: bool) -> Iterator[Step]:
    """All steps, one after the other; those that cannot work after a broken one are left out."""
    if docker and not inside:
        yield from _container(question.port)
    arrived = yield from _there_and_back(question)
    if inside:
        yield from _out_of_the_container(question.text_port)
    elif arrived:
        yield _text_reports(question)
        yield _number_reports(question)


# -------------------------------------------------------------------------------------------------------- round trip


def _there_and_back(question: Question) -> Generator[Step, None, bool]:
    """Whether the worker answers the very port that it is asked from. Returns whether the later steps make sense."""
    where = f"{question.host}:{question.port}"
    try:
        with Line(question.host, question.port) as line:
            hello = Hello("doctor", 0, 0, "", question.token)
            welcome = line.ask((hello,), lambda report: isinstance(report, Welcome), _WAIT_S)
            if not isinstance(welcome, Welcome):
                change = (
                    "start the worker there (`td-image-worker serve`); if it is started: another --port, a firewall, or a worker that "
                    "listens on 127.0.0.1 only while you ask from another machine (serve --host 0.0.0.0); a container that has just "
                    "been started needs some seconds."
                )
                yield Step("hello", Mark.BROKEN, f"{where} (UDP) says nothing for {_WAIT_S:g} s", change)
                return False
            yield _welcomed(where, welcome)
            yield _job(line, "job", _WAIT_S)
            line.leave()
    except NobodyListens:
        yield Step(
            "hello", Mark.BROKEN, f"nobody listens at {where} (UDP)", "start the worker (`td-image-worker serve`), or give its --port."
        )
        return False
    except OSError as error:
        yield Step("hello", Mark.BROKEN, f"{where}: {error.strerror or error}", "check --host.")
        return False
    return True


def _welcomed(where: str, welcome: Welcome) -> Step:
    seen = f"welcome from {where}: version {welcome.version or '?'}, protocol {welcome.protocol}, boot {welcome.boot}"
    if welcome.protocol != addresses.PROTOCOL_VERSION:
        return Step(
            "hello", Mark.BROKEN, seen, f"use a worker and a command line of one version; here it is protocol {addresses.PROTOCOL_VERSION}."
        )
    return Step("hello", Mark.OK, seen)


def _job(line: Line, name: str, wait_s: float, answers: Line | None = None) -> Step:
    """A job that does nothing: accepted, then ready. Its reports may come on another line."""
    job = Job(f"doctor-{uuid.uuid4().hex[:12]}", CATALOG.probe.name, (("priority", 0),))
    started = time.monotonic()
    accepted = False
    while time.monotonic() - started < wait_s:
        if not accepted:
            line.tell(job)
        for report in (answers or line).hear(0.25):
            if getattr(report, "id", "") != job.id:
                continue
            if isinstance(report, Failed):
                return Step(name, Mark.BROKEN, f"{report.code} {report.word}: {report.message}", report.hint or "see the worker's log.")
            if isinstance(report, Ready):
                return Step(name, Mark.OK, f"accepted and ready after {show.duration((time.monotonic() - started) * 1000)}")
            accepted |= isinstance(report, Accepted)
    if accepted:
        return Step(
            name, Mark.BROKEN, f"accepted, but not ready after {wait_s:g} s", "the worker is busy, or `td-image-worker health` says more."
        )
    return Step(name, Mark.BROKEN, f"no report for {wait_s:g} s")


# ------------------------------------------------------------------------------------------- reports to ports of their own


def _text_reports(question: Question) -> Step:
    """A sender that says no hello, like an OSC Out DAT, has its reports on the default port."""
    name = f"text reports on {question.text_port}"
    if not question.text_port:
        return Step("text reports", Mark.SKIPPED, "not asked for")
    try:
        answers = Line(question.host, question.port, local_port=question.text_port, connected=False)
    except OSError:
        return _taken(name, question.text_port)
    with answers, Line(question.host, question.port, connected=False) as line:
        step = _job(line, name, _WAIT_S, answers)
        if step.mark is Mark.OK or step.change:
            return step
        return Step(name, Mark.BROKEN, step.seen, _no_reports(question.text_port, "--report"))


def _number_reports(question: Question) -> Step:
    name = f"numbers on {question.number_port}"
    if not question.number_port:
        return Step("numbers", Mark.SKIPPED, "not asked for")
    try:
        answers = Line(question.host, question.port, local_port=question.number_port, connected=False)
    except OSError:
        return _taken(name, question.number_port)
    with answers:
        beat = next((report for report in answers.hear(_WAIT_S) if isinstance(report, Number) and report.name == "beat"), None)
    if beat is None:
        return Step(name, Mark.BROKEN, f"no number for {_WAIT_S:g} s", _no_reports(question.number_port, "--report-numbers"))
    return Step(name, Mark.OK, f"/worker/n/beat {beat.value:.0f}")


def _taken(name: str, port: int) -> Step:
    return Step(
        name, Mark.SKIPPED, f"port {port} is in use here: by TouchDesigner, if all is well", "close its OSC In to have this step tested."
    )


def _no_reports(port: int, option: str) -> str:
    return (
        f"the worker's log says where its reports find nobody. Start it with {option} YOUR-ADDRESS:{port} "
        f"(in a container {option} {_DESKTOP}:{port}), and let UDP {port} through this machine's firewall."
    )


# ------------------------------------------------------------------------------------------------ the container, outside


def _container(port: int) -> Iterator[Step]:
    version = _docker("version", "--format", "{{.Server.Version}}")
    if version is None:
        yield Step("docker", Mark.BROKEN, "`docker version` gets no answer", "install or start Docker Desktop, or the Docker service.")
        return
    yield Step("docker", Mark.OK, f"engine {version}")
    names = (_docker("ps", "--filter", f"publish={port}/udp", "--format", "{{.Names}}") or "").split()
    if not names:
        change = f"start it with `-p 127.0.0.1:{port}:9460/udp`, or `docker compose up -d`; `docker ps -a` shows what has ended."
        yield Step("container", Mark.BROKEN, f"no running container publishes {port}/udp", change)
        return
    yield _container_state(names[0])
    log = _docker("logs", "--since", "10m", names[0], both=True) or ""
    lost = [line for line in log.splitlines() if "nobody listens" in line]
    if lost:
        target = lost[-1].partition("nobody listens at ")[2].partition(",")[0]
        yield Step(
            "its log", Mark.OK, f"reports to {target} found nobody", f"no matter if nothing is meant to listen there; else open {target}."
        )


def _container_state(name: str) -> Step:
    words = (
        _docker("inspect", "-f", "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}unchecked{{end}}", name) or "? ?"
    )
    ports = _docker("port", name) or ""
    seen = f"{name}: {words}, {', '.join(line for line in ports.splitlines() if '/udp' in line)}"
    if words.endswith("unhealthy"):
        return Step("container", Mark.BROKEN, seen, f"`docker logs {name}`, then `docker restart {name}`; no accepted job is lost by that.")
    return Step("container", Mark.OK, seen)


def _docker(*arguments: str, both: bool = False) -> str | None:
    """What the docker command prints; None if there is none, or it fails."""
    program = shutil.which("docker")
    if program is None:
        return None
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_DOCKER_S, check=True)  # noqa: S603 - our words
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout + (done.stderr if both else "")).strip()


# ------------------------------------------------------------------------------------------------- the container, inside


def _out_of_the_container(text_port: int) -> Iterator[Step]:
    """What can be known from within: where the sender's computer is, and whether anybody there takes reports."""
    computer = address_of(_DESKTOP)
    gateways = sorted(own_gateways())
    target = computer or (gateways[0] if gateways else "")
    if not target:
        yield Step("way out", Mark.BROKEN, "this container has no network", "do not start it with --network none.")
        return
    named = f"{_DESKTOP} is {computer}" if computer else f"{_DESKTOP} is not known here, so the gateway counts: right on Linux"
    yield Step("way out", Mark.OK, f"{named}; senders seem to be {' or '.join(gateways) or 'themselves'}")
    yield _reaches(target, text_port)


def _reaches(target: str, port: int) -> Step:
    name = f"reports to {target}:{port}"
    with socket.socket(socket.AF_INET6 if ":" in target else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((target, port))
        try:
            for _ in range(3):  # the answer to one is met by the next
                udp.send(osc.encode(Pong(_NONCE, 0, 0.0)))
                time.sleep(0.2)
        except ConnectionError:
            change = f"in TouchDesigner: an OSC In DAT with port {port} and no local address, active; on Linux also a firewall may refuse."
            return Step(name, Mark.BROKEN, "nobody listens there", change)
    return Step(
        name,
        Mark.OK,
        "sent, and not refused",
        f"an OSC In DAT on port {port} must show `/worker/pong {_NONCE}` now; if not, a firewall took it.",
    )
