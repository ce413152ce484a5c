"""Containers of the real image, and what stands in for TouchDesigner outside of them, for the tests of the image."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from tests.ports import free_port
from worker.protocol import osc
from worker.protocol.messages import Accepted, Command, Failed, Job, Ready, Report

REPOSITORY = Path(__file__).parents[2]
TAG = "td-image-worker:test"
#: By this, `docker/engine.sh stop` finds what a killed test run has left.
LABEL = "td-image-worker.test=1"
#: The user who owns the volume: nobody that the image knows.
OWNER = (4321, 4322) if os.geteuid() == 0 else (os.getuid(), os.getgid())
#: As tight as the README recommends, and on a machine smaller than any.
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "512m", "--cpus", "1")
#: Docker Desktop knows these names anyway; so that a container needs no name service outside.
NAMES = ("--add-host", "host.docker.internal:host-gateway", "--add-host", "gateway.docker.internal:host-gateway")


def docker(*arguments: str, check: bool = True, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Runs the docker command; its output is in the error if it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def why_not() -> str:
    """Why no container can be run here; "" if one can."""
    if shutil.which("docker") is None:
        return "there is no docker command on this machine"
    try:
        done = docker("info", check=False, timeout_s=20)
    except subprocess.TimeoutExpired:
        return "`docker info` does not answer"
    return "" if done.returncode == 0 else f"no engine answers: {done.stderr.strip().splitlines()[-1:]}"


def until(what: Callable[[], Any], within_s: float, sentence: str, every_s: float = 0.2) -> Any:
    """Waits for something that is true; the sentence says what was waited for."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if value := what():
            return value
        time.sleep(every_s)
    raise AssertionError(f"within {within_s:g} s not {sentence}")


class Container:
    """A running worker."""

    def __init__(self, name: str, port: int) -> None:
        self.name = name
        self.port = port

    def inspect(self) -> dict[str, Any]:
        """All that the engine knows."""
        found: dict[str, Any] = json.loads(docker("inspect", self.name).stdout)[0]
        return found

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.inspect()["State"]
        return found

    @property
    def health(self) -> str:
        """The engine's word: starting, healthy or unhealthy."""
        word: str = self.state["Health"]["Status"]
        return word

    @property
    def checks(self) -> str:
        """What the health checks said."""
        return "\n".join(f"{check['ExitCode']}: {check['Output'].strip()}" for check in self.state["Health"]["Log"])

    @property
    def log(self) -> str:
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def exec(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return docker("exec", self.name, *command, check=check)

    def processes(self) -> dict[int, str]:
        """Process ids as seen from outside, and command lines."""
        lines = docker("top", self.name, "-eo", "pid,args").stdout.splitlines()[1:]
        return {int(pid): args for pid, args in (line.split(None, 1) for line in lines)}

    def worker_pid(self) -> int:
        """The process that listens: process 1 is tini, and the children are spawned."""
        return next(pid for pid, args in self.processes().items() if "td-image-worker serve" in args and "tini" not in args)

    def child_pids(self) -> list[int]:
        return [pid for pid, args in self.processes().items() if "spawn_main" in args]

    def wait_until_well(self, within_s: float = 60.0) -> None:
        """By the command of the health check, without waiting for its interval."""
        until(lambda: self.exec("td-image-worker", "health", check=False).returncode == 0, within_s, "healthy")


@contextlib.contextmanager
def running(folder: Path, *options: str, user: tuple[int, int] | None = OWNER, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """A container that runs while the block does: hardened, with `folder` as its volume, its port published on loopback."""
    name = f"tdiw-{uuid.uuid4().hex[:10]}"
    port = free_port()
    volume = f"{name}-state"
    docker("volume", "create", "--label", LABEL, volume)
    try:
        docker(
            "run", "-d", "--name", name, "--label", LABEL, *HARDENED, *NAMES,
            *(("--user", f"{user[0]}:{user[1]}") if user else ()),
            "-p", f"127.0.0.1:{port}:9460/udp", "-v", f"{folder}:/data", "-v", f"{volume}:/state", *options, TAG, *command,
        )  # fmt: skip
        container = Container(name, port)
        try:
            yield container
        except BaseException:
            print(f"--- log of {name}\n{container.log}")
            raise
    finally:
        docker("rm", "-f", "-v", name, check=False)
        docker("volume", "rm", "-f", volume, check=False)


class TouchDesigner:
    """What an OSC Out DAT and an OSC In DAT do: sends from one port, listens on another, and says no hello."""

    def __init__(self) -> None:
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        self._in.bind(("", 0))
        self.text_port: int = self._in.getsockname()[1]
        self.reports: list[Report] = []
        self.of_job: dict[str, list[Report]] = defaultdict(list)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def options(self) -> tuple[str, ...]:
        """What a container is to be told, because our ports are not the usual ones."""
        return ("-e", f"TD_IMAGE_WORKER_TEXT_PORT={self.text_port}", "-e", "TD_IMAGE_WORKER_NUMBER_PORT=0")

    def send(self, port: int, *commands: Command) -> None:
        """Sends each once, to the published port."""
        for command in commands:
            self._out.sendto(osc.encode(command), ("127.0.0.1", port))

    def submit(self, port: int, *jobs: Job, within_s: float = 30.0) -> None:
        """Sends jobs again until each is answered."""
        deadline = time.monotonic() + within_s
        while missing := [job for job in jobs if not self.of_job[job.id]]:
            assert time.monotonic() < deadline, f"{len(missing)} of {len(jobs)} jobs were not answered"
            self.send(port, *missing)
            time.sleep(0.5)

    def finals(self, job_id: str) -> set[Ready | Failed]:
        """The different finals of a job; each may come several times."""
        return {report for report in list(self.of_job[job_id]) if isinstance(report, Ready | Failed)}

    def accepted(self) -> list[str]:
        return [job_id for job_id, reports in list(self.of_job.items()) if any(isinstance(report, Accepted) for report in list(reports))]

    def _listen(self) -> None:
        while True:
            try:
                datagram = self._in.recv(65_535)
            except OSError:
                return
            for report in osc.decode_reports(datagram):
                if isinstance(report, Exception):
                    continue
                self.reports.append(report)
                if hasattr(report, "id"):
                    self.of_job[report.id].append(report)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._in.shutdown(socket.SHUT_RDWR)
        self._in.close()
        self._out.close()
        self._thread.join(2)
