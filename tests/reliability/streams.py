"""Streams of programs that are not ours, which can be cut off and come back: Debian's ffmpeg (HTTP) and rtsp-server-perl (RTSP)."""

from __future__ import annotations

import contextlib
import math
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from tests.ports import free_port

#: Circles of the film: each keeps to a lane of its own, so its place says which one it is.
RADII = (12, 18, 15, 21)
WIDTH, HEIGHT, FPS, FILM_S = 640, 360, 25, 8
#: Pixels to each side. Slow enough that a machine with much else to do, which leaves pictures out, can still tell who is who.
SWING = 60
LANE = HEIGHT / len(RADII)


def lane_of(y: float) -> int:
    """Which circle of the film is at this height."""
    return min(len(RADII) - 1, max(0, int(y // LANE)))


def film(path: Path) -> Path:
    """A video of circles that go to and fro, and is the same at its end as at its beginning. Needs ffmpeg."""
    ground = np.clip(np.random.default_rng(7).normal(60, 4, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
    pictures = []
    for number in range(FPS * FILM_S):
        picture = ground.copy()
        for lane, radius in enumerate(RADII):
            phase = math.tau * (number / FPS / FILM_S + lane / len(RADII))
            center_x, center_y = WIDTH / 2 + SWING * math.sin(phase), (lane + 0.5) * LANE
            center = round(center_x * 16), round(center_y * 16)
            cv2.circle(picture, center, radius * 16, (230 - 12 * lane,), -1, cv2.LINE_AA, 4)
        pictures.append(picture.tobytes())
    size = f"{WIDTH}x{HEIGHT}"
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "gray", "-s", size, "-r", str(FPS), "-i", "-"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-bf", "0", "-g", str(FPS // 2), "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=b"".join(pictures), check=True, timeout=120)
    return path


@dataclass
class Stream:
    """A film that is shown over and over, at the speed of its clock, while `on`.

    Attributes:
        path: the film.
        log: where the programs write what they have to say.
    """

    path: Path
    log: Path
    port: int = field(default_factory=free_port)
    _on: threading.Event = field(default_factory=threading.Event)
    _closed: bool = False
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    needs: Sequence[str] = ("ffmpeg",)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._keep, name="stream", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.ts"

    @classmethod
    def missing(cls) -> str:
        """The programs that are not installed; empty if all are."""
        return ", ".join(name for name in cls.needs if shutil.which(name) is None)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self.off()
        self._on.set()
        self._thread.join(30)

    def on(self) -> None:
        """It can be opened from now on, or soon."""
        self._on.set()

    def off(self) -> None:
        """It is cut off, in the middle of whatever is sent."""
        self._on.clear()
        with self._lock:
            for process in self._processes:
                process.kill()

    def commands(self) -> Iterator[Sequence[str]]:
        """The programs, each once the one before it takes connections. The last one serves one client; then it is started again."""
        yield [*_show(self.path), "-f", "mpegts", "-listen", "1", self.url]

    def _keep(self) -> None:
        while not self._closed:
            self._on.wait()
            with contextlib.ExitStack() as stack:
                output = stack.enter_context(self.log.open("ab"))
                last = None
                for command in self.commands():
                    with self._lock:
                        if not self._on.is_set() or self._closed:
                            break
                        last = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
                        self._processes.append(last)
                if last is not None:
                    last.wait()
                with self._lock:
                    ended, self._processes = self._processes, []
                for process in ended:
                    process.kill()
                    process.wait()


class Rtsp(Stream):
    """The same over RTSP and RTP: ffmpeg shows the film to a server, which passes it on."""

    needs = ("ffmpeg", "rtsp-server-perl")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.source_port = free_port()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def commands(self) -> Iterator[Sequence[str]]:
        ports = [
            "--clientport",
            str(self.port),
            "--serverport",
            str(self.source_port),
            "--rtp_start_port",
            str(self.port // 2 * 2 % 20000 + 20000),
        ]
        addresses = ["--client_listen_address", "127.0.0.1", "--source_listen_address", "127.0.0.1"]
        yield ["rtsp-server-perl", *ports, *addresses]
        while self._on.is_set() and not _listens(self.source_port):
            time.sleep(0.1)
        yield [*_show(self.path), "-f", "rtsp", f"rtsp://127.0.0.1:{self.source_port}/live"]


def _show(path: Path) -> list[str]:
    return ["ffmpeg", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", str(path), "-c", "copy"]


def _listens(port: int) -> bool:
    with socket.socket() as tcp:
        return tcp.connect_ex(("127.0.0.1", port)) == 0
