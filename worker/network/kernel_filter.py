"""Lets the Linux kernel drop strangers' packets, so that a flood of them costs the worker nothing and fills no buffer of its socket.

A classic BPF program on the socket (SO_ATTACH_FILTER, see Documentation/networking/filter.rst of the kernel) that compares the packet's
IPv4 source with the allowed networks. On other systems, and if a token may let anybody in, only the gate in the reading thread does it.
"""

from __future__ import annotations

import ctypes
import ipaddress
import socket
import struct
import sys
from collections.abc import Sequence

from worker.protocol.addresses import Network

_SO_ATTACH_FILTER = 26
_SO_MEMINFO = 55
_MEMINFO_DROPS = 8
# BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
_LOAD, _AND, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF: offsets from here count from the IP header
_SOURCE = 12  # offset of the source in an IPv4 header
_WHOLE_PACKET = 0xFFFFFFFF


def program(networks: Sequence[ipaddress.IPv4Network]) -> bytes:
    """The BPF program that keeps packets from these networks. Each instruction: u16 code, u8 jump if true, u8 if false, u32 operand."""
    instructions = []
    for network in networks:
        instructions += [
            (_LOAD, 0, 0, _NETWORK_HEADER + _SOURCE),
            (_AND, 0, 0, int(network.netmask)),
            (_JUMP_IF_EQUAL, 0, 1, int(network.network_address)),
            (_RETURN, 0, 0, _WHOLE_PACKET),
        ]
    instructions.append((_RETURN, 0, 0, 0))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)


def keep_only(udp: socket.socket, networks: Sequence[Network]) -> bool:
    """Makes the kernel drop packets of all other senders. False if it cannot; then nothing is changed."""
    if sys.platform != "linux" or udp.family != socket.AF_INET:
        return False
    code = program([network for network in networks if isinstance(network, ipaddress.IPv4Network)])
    if len(code) // 8 > 4096:  # the kernel's limit
        return False
    buffer = ctypes.create_string_buffer(code)
    try:
        udp.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(code) // 8, ctypes.addressof(buffer)))
    except OSError:
        return False
    return True


def dropped(udp: socket.socket) -> int:
    """How many packets the kernel dropped here: those of strangers, and those that found the buffer full. 0 if it does not say."""
    if sys.platform != "linux":
        return 0
    try:
        information = udp.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
    except OSError:
        return 0
    return int(struct.unpack_from("I", information, 4 * _MEMINFO_DROPS)[0])
