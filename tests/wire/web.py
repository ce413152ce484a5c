"""A real service with its HTTP server, on free ports of this machine, and what a test asks it with."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import msgspec
from msgspec.structs import replace

from tests.wire.running import LONG_S, HoldingExecutor, Peer, wait_for
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.executors.base import Executor
from worker.files.paths import FileRules
from worker.service.loop import Service
from worker.web.making import NoPictures
from worker.web.thread import Web


@dataclass
class Answer:
    """Of HTTP."""

    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Served:
    """A running service and its server."""

    service: Service
    web: Web

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.web.address[1]}"

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """One request."""
        connection = HTTPConnection("127.0.0.1", self.web.address[1], timeout=LONG_S)
        content = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if content is not None else {}
        try:
            connection.request(method, path, content, {**kind, **headers})
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.headers)
        finally:
            connection.close()

    def until(self, path: str, is_so: Any) -> Answer:
        """Asks again until this is true of the answer."""
        found: list[Answer] = []

        def asked() -> bool:
            found.append(self.ask(path))
            return bool(is_so(found[-1]))

        wait_for(asked)
        return found[-1]


@contextlib.contextmanager
def served(executor: Executor, peer: Peer, port: int = 0, http_port: int = 0, **settings: Any) -> Iterator[Served]:
    """A service whose default report ports are the peer's, and its server."""
    http = ("127.0.0.1", http_port)
    config = replace(
        Config(host="127.0.0.1", port=port, workers=2, text_port=peer.text_port, number_port=peer.number_port, http=http), **settings
    )
    web = Web(http, config)
    service = Service(config, executor, CATALOG, web.tap)
    if isinstance(executor, HoldingExecutor):
        executor.is_canary = lambda task: service._scheduler.is_canary(task.id)
    web.figures, web.journal = service.figures, service.journal_path
    web.start(service.address[1], FileRules(roots=config.roots), CATALOG, service.tell, NoPictures())
    thread = threading.Thread(target=service.run)
    thread.start()
    peer.worker = service.address
    try:
        yield Served(service, web)
    finally:
        service.stop("end of the test", at_once=True)
        thread.join(LONG_S)
        web.close()
        assert not thread.is_alive()


def text_of(command: str, path: str) -> str:
    """A text of OSCQuery's WebSocket."""
    return msgspec.json.encode({"COMMAND": command, "DATA": path}).decode()
