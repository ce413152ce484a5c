"""On Linux the kernel drops strangers' packets before they reach the worker."""

from __future__ import annotations

import socket
import sys
from ipaddress import ip_network

import pytest

from worker.network import kernel_filter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="not on this system: the filter is Linux's")


def bound(host: str) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((host, 0))
    udp.settimeout(0.2)
    return udp


def test_only_allowed_senders_arrive():
    """Packets of the allowed networks arrive whole, the others are counted as dropped."""
    with bound("127.0.0.1") as worker, bound("127.0.0.1") as known, bound("127.0.7.7") as allowed, bound("127.0.8.8") as stranger:
        assert kernel_filter.keep_only(worker, [ip_network("::1/128"), ip_network("127.0.0.1/32"), ip_network("127.0.7.0/24")])
        for sender in (stranger, known, stranger, allowed, stranger):
            sender.sendto(b"x" * 1000, worker.getsockname())
        received = [worker.recvfrom(65_535) for _ in range(2)]
        assert [(len(data), sender[0]) for data, sender in received] == [(1000, "127.0.0.1"), (1000, "127.0.7.7")]
        with pytest.raises(TimeoutError):
            worker.recvfrom(65_535)
        assert kernel_filter.dropped(worker) == 3


def test_without_an_ipv4_network_nobody_arrives():
    """An empty list lets nobody in, and not everybody."""
    with bound("127.0.0.1") as worker, bound("127.0.0.1") as sender:
        assert kernel_filter.keep_only(worker, [])
        sender.sendto(b"x", worker.getsockname())
        with pytest.raises(TimeoutError):
            worker.recvfrom(10)


def test_an_ipv6_socket_is_left_alone():
    """There the gate does it alone."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp:
        assert not kernel_filter.keep_only(udp, [ip_network("127.0.0.1/32")])
