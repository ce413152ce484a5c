"""A node, without Dask: how often it says how far a task is."""

import socket
import types

import pytest

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")

from worker.core.events import Progressed
from worker.executors import node as module
from worker.executors.node import Node, _Bundle, _own_address


def test_progress_goes_out_five_times_a_second(monkeypatch):
    """However often a child speaks; for each task of a bundle on its own."""
    said = []
    node = Node(None)
    node._worker = types.SimpleNamespace(log_event=lambda topic, message: said.append((topic, message)))
    bundle = _Bundle("key", "topic", {11: 1, 12: 2}, True, None)
    for tick in range(1000):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda tick=tick: 100.0 + tick / 1024))
        node._stepped(bundle, Progressed(11, tick))
        if tick >= 500:
            node._stepped(bundle, Progressed(12, tick))
    node._poller.close()
    assert [message for _, message in said if message[2] == 1] == [("stepped", "key", 1, done) for done in (0, 205, 410, 615, 820)]
    assert [message[3] for _, message in said if message[2] == 2] == [500, 705, 910]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:8786", "tls://127.0.0.1:8786", "127.0.0.1:8786"])
def test_own_address(address):
    assert _own_address(address) == "127.0.0.1"


def test_no_way_to_the_scheduler():
    """As any scheduler that cannot be reached: the node tries again."""
    with pytest.raises(socket.gaierror):
        _own_address("tcp://nobody.invalid:8786")
