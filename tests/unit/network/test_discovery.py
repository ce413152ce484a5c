"""Other programs find the worker, know when it has gone, and tell two workers apart. Over the real library; what it needs is a loopback."""

from __future__ import annotations

import sys
import threading
import time
import types

import pytest

from worker.network import discovery
from worker.network.discovery import OSC, OSCQUERY, Announced, Discovery, name_of, our_addresses

PATIENCE_S = 15.0


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No test waits for a start of the worker."""
    monkeypatch.setattr(discovery, "START_AFTER_S", 0.0)


def test_names_fit_and_differ():
    """A name that is too long for the protocol is cut, and the port stays."""
    assert name_of("a", 1) != name_of("a", 2)
    assert len(name_of("ö" * 100, 65535).encode()) <= 63
    assert name_of("ö" * 100, 65535).endswith(", 65535")


def test_our_addresses_hold_the_loopback():
    """Each once, always in the same order."""
    assert discovery.LOOPBACK in our_addresses()
    assert our_addresses() == our_addresses()


class Heard:
    """Notes what a browser tells."""

    def __init__(self):
        self.there = {}
        self.gone = []

    def add_service(self, browser, kind, name):
        self.there[name] = browser.get_service_info(kind, name)

    def update_service(self, browser, kind, name):
        pass

    def remove_service(self, browser, kind, name):
        self.gone.append(name)

    def wait(self, is_so):
        until = time.monotonic() + PATIENCE_S
        while not is_so() and time.monotonic() < until:
            time.sleep(0.02)
        assert is_so()


def test_it_is_found_and_known_to_have_gone():
    """By a browser that was there before. A second worker of the same name gets another one."""
    zeroconf = pytest.importorskip("zeroconf", reason="the extra discovery is not installed")
    name = name_of("test", 40_000 + time.time_ns() % 10_000)
    browser, heard = zeroconf.Zeroconf(interfaces=["127.0.0.1"]), Heard()
    watching = zeroconf.ServiceBrowser(browser, [OSC, OSCQUERY], heard)
    both = [Discovery(name, [Announced(kind, ("127.0.0.1", port), {"version": "1"})]) for kind, port in ((OSC, 9), (OSCQUERY, 10))]
    twin = Discovery(name, [Announced(OSC, ("127.0.0.1", 11))])
    try:
        for one in both:
            one.start()
        heard.wait(lambda: {f"{name}.{OSC}", f"{name}.{OSCQUERY}"} <= heard.there.keys())
        info = heard.there[f"{name}.{OSCQUERY}"]
        assert (info.parsed_addresses(), info.port, info.properties) == (["127.0.0.1"], 10, {b"version": b"1"})
        twin.start()
        heard.wait(lambda: f"{name}-2.{OSC}" in heard.there)
        both[0].close()
        heard.wait(lambda: f"{name}.{OSC}" in heard.gone)
    finally:
        for one in (*both, twin):
            one.close()
        watching.cancel()
        browser.close()


class Library(types.ModuleType):
    """Stands for zeroconf, and notes what is asked of it."""

    class Error(Exception):
        pass

    def __init__(self, failures=0):
        super().__init__("zeroconf")
        library = self
        self.opened, self.registered, self.closed = [], [], 0
        self.failures = failures
        self.changed = threading.Condition()

        class Zeroconf:
            def __init__(self, interfaces):
                with library.changed:
                    library.opened.append(interfaces)
                    library.changed.notify_all()
                if len(library.opened) <= library.failures:
                    raise OSError(101, "Network is unreachable")

            def register_service(self, info, allow_name_change):
                assert allow_name_change
                with library.changed:
                    library.registered.append(info)
                    library.changed.notify_all()

            def close(self):
                library.closed += 1

        self.Zeroconf = Zeroconf
        self.ServiceInfo = lambda kind, name, **rest: types.SimpleNamespace(kind=kind, name=name, **rest)

    def wait(self, is_so):
        with self.changed:
            assert self.changed.wait_for(is_so, PATIENCE_S)


def test_other_addresses_are_announced_anew(monkeypatch):
    """A computer that gets its network after the worker has started, or another one later."""
    library, ours = Library(), [("127.0.0.1",)]
    monkeypatch.setitem(sys.modules, "zeroconf", library)
    monkeypatch.setattr(discovery, "our_addresses", lambda: ours[-1])
    monkeypatch.setattr(discovery, "LOOK_EVERY_S", 0.01)
    one = Discovery("w", [Announced(OSC, ("0.0.0.0", 9460))])
    one.start()
    library.wait(lambda: library.registered)
    ours.append(("127.0.0.1", "10.0.0.5"))
    library.wait(lambda: len(library.registered) == 2)
    one.close()
    assert [info.parsed_addresses for info in library.registered] == [["127.0.0.1"], ["10.0.0.5"]]
    assert library.opened == [["127.0.0.1"], ["10.0.0.5", "127.0.0.1"]]
    assert library.closed == 2


def test_a_network_that_fails_is_tried_again_and_told_of_once(monkeypatch, caplog):
    """Months without a network are one line in the log."""
    library = Library(failures=3)
    monkeypatch.setitem(sys.modules, "zeroconf", library)
    monkeypatch.setattr(discovery, "LOOK_EVERY_S", 0.01)
    caplog.set_level("INFO", "worker.network.discovery")
    one = Discovery("w", [Announced(OSC, ("127.0.0.1", 9460))])
    one.start()
    library.wait(lambda: library.registered)
    one.close()
    assert [record.getMessage() for record in caplog.records] == [
        "the worker cannot be announced: [Errno 101] Network is unreachable",
        "announced to OSC programs as 'w'",
    ]


def test_without_the_library_nothing_is_said(monkeypatch, caplog):
    """Nobody has asked for it. Closing takes no time."""
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    caplog.set_level("INFO", "worker.network.discovery")
    one = Discovery("w", [Announced(OSC, ("127.0.0.1", 9460))])
    one.start()
    one._thread.join(PATIENCE_S)
    one.close()
    assert caplog.records == []


def test_one_that_was_never_started_can_be_closed():
    """With `--no-discovery`."""
    Discovery("w", []).close()
