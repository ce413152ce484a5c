"""The page's thread, from its start to its end."""

from __future__ import annotations

import socket

import pytest

from worker.config import Config
from worker.web.thread import Web


def test_a_page_that_has_ended_keeps_nothing(monkeypatch, caplog):
    """Whatever goes wrong in it, the worker goes on. What happens then is not kept for nobody, and browsers do not wait for an answer."""
    pytest.importorskip("tornado")
    web = Web(("127.0.0.1", 0), Config())

    def fails(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(web, "_hub", fails)
    web.tap.put("before")
    web.start(9460, None, None, None, None)
    web._thread.join()
    web.tap.put("after")
    assert web.tap.take()[0] == []
    assert "the page has ended; the worker goes on" in caplog.text
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(web.address)
    web.close()
