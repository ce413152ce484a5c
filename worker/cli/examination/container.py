"""The container of a worker, from outside and from inside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from worker.cli.examination.here import reaches
from worker.cli.examination.steps import Mark, Step
from worker.network.gateways import own_gateways
from worker.network.names import address_of

DESKTOP = "host.docker.internal"
_DOCKER_S = 10.0
_IN_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))


def is_inside() -> bool:
    """Whether this process runs in a container itself."""
    return shutil.which("docker") is None and any(path.exists() for path in _IN_CONTAINER)


def outside(port: int) -> Iterator[Step]:
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
    if program is None or not Path(program).is_absolute():  # Windows looks in the current folder first
        return None
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=_DOCKER_S, check=True)  # noqa: S603 - our words
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout + (done.stderr if both else "")).strip()


def out_of_it(text_port: int) -> Iterator[Step]:
    """What can be known from within: where the sender's computer is, and whether anybody there takes reports."""
    computer = address_of(DESKTOP)
    gateways = sorted(own_gateways())
    target = computer or (gateways[0] if gateways else "")
    if not target:
        yield Step("way out", Mark.BROKEN, "this container has no network", "do not start it with --network none.")
        return
    named = f"{DESKTOP} is {computer}" if computer else f"{DESKTOP} is not known here, so the gateway counts: right on Linux"
    yield Step("way out", Mark.OK, f"{named}; senders seem to be {' or '.join(gateways) or 'themselves'}")
    yield reaches(target, text_port)
