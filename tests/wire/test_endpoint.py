"""The socket itself: it delivers, it closes, and it gives its port back whatever state it is in."""

from __future__ import annotations

import errno
import os
import queue
import socket
from ipaddress import ip_network

import psutil
import pytest

from worker.network.endpoint import MAX_UNSENT, Endpoint
from worker.poller import Poller

LONG_S = 60.0


def test_there_and_back():
    """What comes is delivered with its sender, who can be answered."""
    came = queue.SimpleQueue()
    endpoint = Endpoint(("127.0.0.1", 0), lambda *datagram: came.put(datagram))
    endpoint.start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(LONG_S)
        udp.sendto(b"question", endpoint.address)
        datagram, sender = came.get(timeout=LONG_S)
        assert (datagram, sender) == (b"question", udp.getsockname())
        endpoint.send(b"answer", sender)
        assert udp.recvfrom(100) == (b"answer", endpoint.address)
    endpoint.close()


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
def test_close(refused, filtered):
    """The port is free at once: also when a refusal waits on the socket, and when the kernel drops what we send ourselves."""
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None, lambda *_: None)
    endpoint.start()
    if filtered:
        endpoint.keep_only([ip_network("10.0.0.0/8")])
    if refused:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
            nobody.bind(("127.0.0.1", 0))
            gone = nobody.getsockname()
        endpoint.send(b"is anybody there?", gone)
    address = endpoint.address
    endpoint.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(address)


def test_close_before_the_start():
    """An endpoint that never read closes as well."""
    Endpoint(("127.0.0.1", 0), lambda *_: None).close()


@pytest.mark.parametrize(
    "peer", [("127.0.0.1", 0), ("127.0.0.1", 99_999), ("no.such.host.invalid", 1), ("a" * 300, 1), ("a\0b", 1), ("::1", 1)]
)
def test_sending_to_nowhere(peer):
    """A peer that cannot be is no error."""
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None)
    endpoint.send(b"x", peer)
    endpoint.close()


def test_a_datagram_that_is_too_long_is_not_sent(caplog):
    """The limit holds at the place where everything leaves, and the mistake is logged, once."""
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None, longest=1200)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(LONG_S)
        for size in (1201, 60_000, 1200):
            endpoint.send(bytes(size), udp.getsockname())
        assert len(udp.recv(65_535)) == 1200
    endpoint.close()
    assert caplog.text.count("a datagram of 1201 bytes was not sent; the limit is 1200") == 1
    assert "60000" not in caplog.text


def own_addresses():
    """This computer's addresses in its networks."""
    found = [address.address for addresses in psutil.net_if_addrs().values() for address in addresses if address.family == socket.AF_INET]
    return [address for address in found if not address.startswith("127.")]


def test_from_loopback_to_another_computer():
    """What listens on 127.0.0.1 can send reports to other computers: the packet leaves by a socket that may."""
    told = queue.SimpleQueue()
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None, lambda peer, reason: told.put((peer, reason)))
    endpoint.send(b"report", ("192.0.2.1", 9461))  # an address that no computer has (RFC 5737)
    assert os.strerror(errno.EINVAL) not in [reason for _, reason in iter_queue(told)]
    for address in own_addresses()[:1]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((address, 0))
            udp.settimeout(LONG_S)
            endpoint.send(b"report", udp.getsockname())
            datagram, sender = udp.recvfrom(100)
            assert datagram == b"report"
            assert not sender[0].startswith("127.")
    endpoint.close()


def test_to_loopback_from_the_own_port():
    """To this computer everything still comes from the command port, also after something was sent to another."""
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None, lambda *_: None)
    endpoint.send(b"report", ("192.0.2.1", 9461))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(LONG_S)
        endpoint.send(b"answer", udp.getsockname())
        assert udp.recvfrom(100) == (b"answer", endpoint.address)
    endpoint.close()


@pytest.mark.parametrize("here", ["127.0.0.1", "0.0.0.0", "::1", "::", "a network's"])
@pytest.mark.parametrize("there", ["127.0.0.1", "::1"])
def test_to_an_address_of_another_kind(here, there):
    """A fixed target gets its reports wherever the worker listens: at IPv4, at IPv6, at all addresses or at one of a network."""
    here = next(iter(own_addresses()), "127.0.0.1") if here.startswith("a") else here
    told = []
    try:
        endpoint = Endpoint((here, 0), lambda *_: None, lambda *about: told.append(about))
        udp = socket.socket(socket.AF_INET6 if ":" in there else socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((there, 0))
    except OSError:
        pytest.skip("not on this system: no IPv6")
    with udp:
        udp.settimeout(LONG_S)
        endpoint.send(b"report", udp.getsockname()[:2])
        assert told == []
        assert udp.recv(100) == b"report"
    endpoint.close()


class Full:
    """A socket whose system takes nothing for a while, as when a network card is slower than we are."""

    def __init__(self, inner):
        self.inner = inner
        self.takes = 0

    def sendto(self, datagram, peer):
        if not self.takes:
            raise BlockingIOError
        self.takes -= 1
        return self.inner.sendto(datagram, peer)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_what_cannot_be_sent_now_is_sent_later():
    """A system that takes no more for the moment loses nothing: all datagrams leave in order, as soon as it takes them; a limit holds."""
    poller = Poller()
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None, lambda *_: None)
    endpoint.start(poller)
    full = endpoint._own.socket = Full(endpoint._own.socket)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(LONG_S)
        for number in range(MAX_UNSENT + 3):
            endpoint.send(str(number).encode(), udp.getsockname())
        assert len(endpoint._own.unsent) == MAX_UNSENT
        for _ in range(3):
            full.takes = 20
            poller.wait(poller.now())
        assert [udp.recv(100) for _ in range(60)] == [str(number).encode() for number in range(60)]
        endpoint._own.unsent.clear()
        full.takes = 100
        poller.wait(poller.now())
        endpoint.send(b"at once again", udp.getsockname())
        assert udp.recv(100) == b"at once again"
    endpoint.close()
    poller.close()


def iter_queue(told):
    while not told.empty():
        yield told.get()
