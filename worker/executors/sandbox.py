"""The walls around a child process, for the day on which a hostile picture takes it over. Linux only, by `ctypes` alone.

Landlock (files): the child writes below the roots, reads below the roots, the read roots and what Python itself is made of, and opens
nothing else. Whatever the code of the worker would do: it is the kernel that refuses.
seccomp (system calls): no socket, no program, no other process, no signal to anybody but itself, nothing that only administrators do, no
rights or times of files changed, no limit raised, no key pressed in the terminal.

Both count for the thread that asks for them and for those that it starts, so `confine` comes while there is one thread. It takes 2 to 3 ms.
Afterwards there is no way back. Sources: Linux's `Documentation/userspace-api/landlock.rst` and `seccomp_filter.rst`, and the tables of
system calls in `arch/x86/entry/syscalls/syscall_64.tbl` and `include/uapi/asm-generic/unistd.h`.

Not here: macOS (its `sandbox_init` is not for programs of others any more) and Windows (a restricted token has to be given when a process
is made, which `multiprocessing` cannot do). There the bounds are those of `worker.files` and of the memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from worker.errors import InternalError

#: What an operation may need beyond files below the roots; see `OperationInfo.needs`.
NETWORK, DEVICES = "network", "devices"

# ------------------------------------------------------------------------------------------------------------------ Landlock
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 5
_MAKE_DIR, _MAKE_REG, _TRUNCATE, _IOCTL_DEV = 1 << 7, 1 << 8, 1 << 14, 1 << 15
_READING = _READ_FILE | _READ_DIR
#: No links, pipes, sockets or devices are made; no folder is removed; nothing is moved from one folder to another; nothing is run.
_WRITING = _READING | _WRITE_FILE | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _TRUNCATE
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
#: How many rights of files each version of Landlock knows, from version 1 on.
_RIGHTS_OF_VERSION = (13, 14, 15, 15, 16)
_NETWORK_VERSION, _SCOPE_VERSION = 4, 6
_BIND_AND_CONNECT, _SIGNALS_AND_ABSTRACT_SOCKETS = 3, 3
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION, _BENEATH = 1, 1
#: What a running Python, NumPy and OpenCV read. What is not there is left out.
_SYSTEM = (
    "/usr",
    "/lib",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/self",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
)
_DEVICE_FILES = "/dev"
#: What looking names up and TLS read.
_NETWORK_FILES = (
    "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services",
    "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/run/systemd/resolve",
)  # fmt: skip

# ------------------------------------------------------------------------------------------------------------------- seccomp
_PR_SET_PDEATHSIG, _PR_GET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 21, 38
_SET_MODE_FILTER, _TO_ALL_THREADS = 1, 1
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _REFUSE = 0x80000000, 0x7FFF0000, 0x00050000 | errno.EPERM
_NOT_THERE = 0x00050000 | errno.ENOSYS
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

#: System calls that are refused, by their numbers on x86_64 and aarch64; -1 where there is none.
_REFUSED: dict[str, tuple[int, int]] = {
    # programs and processes (threads are allowed, see `_filter`)
    "fork": (57, -1), "vfork": (58, -1), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "kcmp": (312, 272),
    "setpriority": (141, 140), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "sched_setaffinity": (203, 122), "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # limits: the cap of memory is one
    "setrlimit": (160, 164),
    # talk between processes that has no name in the file system
    "shmget": (29, 194), "shmat": (30, 196), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    # rights, owners, times and attributes of files, which Landlock does not know
    "chmod": (90, -1), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, -1), "lchown": (94, -1),
    "fchown": (93, 55), "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "file_setattr": (469, 469), "utime": (132, -1), "utimes": (235, -1), "futimesat": (261, -1),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    # what only administrators do, and what has often been a way into the kernel
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268), "unshare": (272, 97),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467), "bpf": (321, 280), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "userfaultfd": (323, 282), "perf_event_open": (298, 241),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224),
    "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60), "syslog": (103, 116),
    "personality": (135, 92), "vhangup": (153, 58), "fanotify_init": (300, 262), "iopl": (172, -1), "ioperm": (173, -1),
    "modify_ldt": (154, -1),
}  # fmt: skip
_REFUSED_NETWORK: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242),
}  # fmt: skip
#: It depends on what these are asked for.
_ASKED = {"kill": (62, 129), "tgkill": (234, 131), "clone": (56, 220), "clone3": (435, 435), "prlimit64": (302, 261), "ioctl": (16, 29),
          "prctl": (157, 167), "utimensat": (280, 88)}  # fmt: skip
#: The place of a machine in the tables above, and what the kernel calls it.
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_WITHOUT = "--sandbox off starts without one."
_Instruction = tuple[int, int, int, int]


class CannotConfine(InternalError):
    """A child process cannot be put into its sandbox."""


class Offer(msgspec.Struct, frozen=True):
    """What this system has for a sandbox.

    Attributes:
        landlock: the version of Landlock, which bounds files; 0 is none.
        seccomp: whether system calls can be refused.
    """

    landlock: int = 0
    seccomp: bool = False

    def __bool__(self) -> bool:
        return bool(self.landlock or self.seccomp)

    def __str__(self) -> str:
        """For the lines at the start, and for `doctor`.

        >>> print(Offer(7, True))
        files outside the folders, network, programs and other processes are refused by the kernel (Landlock 7, seccomp)
        >>> print(Offer(0, True))
        network, programs and other processes are refused by the kernel (seccomp); this kernel has no Landlock, which would refuse files
        """
        rest = "network, programs and other processes are refused by the kernel"
        if self.landlock and self.seccomp:
            return f"files outside the folders, {rest} (Landlock {self.landlock}, seccomp)"
        if self.seccomp:
            return f"{rest} (seccomp); this kernel has no Landlock, which would refuse files"
        if self.landlock:
            return f"files outside the folders are refused by the kernel (Landlock {self.landlock}); no seccomp here"
        return f"none: {_system()} offers nothing that this worker uses; its own checks of paths and the limits hold"


class Reach(msgspec.Struct, frozen=True):
    """What stays open to a process in the sandbox.

    Attributes:
        write: handles of the folders below which it may write, and read.
        read: handles of the folders below which it may only read.
        programs: further folders in which code stands, which may only be read.
        needs: `NETWORK` leaves sockets open, `DEVICES` the files below /dev.
    """

    write: Sequence[int]
    read: Sequence[int] = ()
    programs: Sequence[Path] = ()
    needs: frozenset[str] = frozenset()


def offer() -> Offer:
    """Asks the kernel. Changes nothing."""
    if sys.platform != "linux":
        return Offer()
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    return Offer(max(0, version), platform.machine() in _MACHINES and libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0)


def confine(reach: Reach) -> Offer:
    """Closes this process in, for ever. Returns what holds now: an empty offer if the system has nothing.

    Raises:
        CannotConfine: the system has it, and it did not work. Then the process must not go on.
    """
    found = offer()
    if not found or sys.platform != "linux":
        return Offer()
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if found.landlock:
        threads = sum(1 for _ in Path("/proc/self/task").iterdir())
        if threads > 1:
            raise CannotConfine(f"Landlock would leave out {threads - 1} threads of this process that run already.", _WITHOUT)
        _landlock(libc, found.landlock, reach)
    if found.seccomp:
        index, architecture = _MACHINES[platform.machine()]
        _seccomp(libc, _filter(index, architecture, os.getpid(), reach.needs))
    return found


def _landlock(libc: ctypes.CDLL, version: int, reach: Reach) -> None:
    handled = (1 << _RIGHTS_OF_VERSION[min(version, len(_RIGHTS_OF_VERSION)) - 1]) - 1
    attributes = struct.pack("=Q", handled)
    if version >= _NETWORK_VERSION:
        attributes += struct.pack("=Q", 0 if NETWORK in reach.needs else _BIND_AND_CONNECT)
    if version >= _SCOPE_VERSION:
        attributes += struct.pack("=Q", _SIGNALS_AND_ABSTRACT_SOCKETS)
    rules = _check(libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0), "a set of rules")
    try:
        for handle in reach.write:
            _allow(libc, rules, handle, _WRITING & handled)
        for handle in reach.read:
            _allow(libc, rules, handle, _READING & handled)
        for path in (*_SYSTEM, *_code(reach.programs), *(_NETWORK_FILES if NETWORK in reach.needs else ())):
            with _opened(path) as found:
                _allow(libc, rules, found, _READING & handled)
        with _opened(os.devnull) as found:
            _allow(libc, rules, found, (_READ_FILE | _WRITE_FILE) & handled)
        if DEVICES in reach.needs:
            with _opened(_DEVICE_FILES) as found:
                _allow(libc, rules, found, (_READING | _WRITE_FILE | _IOCTL_DEV) & handled)
        _check(libc.syscall(_RESTRICT_SELF, rules, 0), "the rules")
    finally:
        os.close(rules)


def _code(programs: Iterable[Path]) -> Iterator[str]:
    """Where Python looks for modules. Not the current folder, from which a worker may have been started: it may be anybody's home."""
    here = os.path.realpath(os.curdir)
    yield from (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    yield from (path for path in sys.path if path and os.path.realpath(path) != here)
    yield from map(str, programs)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int | None]:
    """A handle that says only where; None if there is nothing."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)  # type: ignore[attr-defined,unused-ignore]  # Linux only
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _allow(libc: ctypes.CDLL, rules: int, handle: int | None, rights: int) -> None:
    if handle is None:
        return
    if not os.path.isdir(handle):
        rights &= _FOR_FILES
    _check(libc.syscall(_ADD_RULE, rules, _BENEATH, struct.pack("=Qi", rights, handle), 0), "a rule")


def _seccomp(libc: ctypes.CDLL, program: Sequence[_Instruction]) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *instruction) for instruction in program))
    pointer = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    call = {"x86_64": 317, "aarch64": 277}[platform.machine()]
    _check(libc.syscall(call, _SET_MODE_FILTER, _TO_ALL_THREADS, pointer), "the filter of system calls")


def _filter(index: int, architecture: int, pid: int, needs: frozenset[str]) -> tuple[_Instruction, ...]:
    """The program that the kernel runs at each system call. Every `_case` ends in an answer of its own, so there are no long jumps.

    `clone3` is said not to exist, because a filter cannot read what it points to: the C library then takes `clone`, whose flags it can.
    """
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _X32),  # on x86_64 the same calls once more, for pointers of 32 bits
        (_RETURN, 0, 0, _REFUSE),
    ]
    refused = _REFUSED if NETWORK in needs else {**_REFUSED, **_REFUSED_NETWORK}
    for numbers in refused.values():
        if numbers[index] >= 0:
            program += _case(numbers[index], (_RETURN, 0, 0, _REFUSE))
    answers = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)
    to_itself = ((_LOAD, 0, 0, _argument(0)), (_EQUAL, 0, 1, pid), *answers)
    asked: dict[str, tuple[_Instruction, ...]] = {
        "kill": to_itself,
        "tgkill": to_itself,
        "clone": ((_LOAD, 0, 0, _argument(0)), (_ANY_BIT, 0, 1, _CLONE_THREAD), *answers),
        "clone3": ((_RETURN, 0, 0, _NOT_THERE),),
        "prlimit64": (  # of this process, and only to read: no new limit, in either half of the pointer
            (_LOAD, 0, 0, _argument(0)),
            (_EQUAL, 1, 0, 0),
            (_EQUAL, 0, 5, pid),
            (_LOAD, 0, 0, _argument(2)),
            (_EQUAL, 0, 3, 0),
            (_LOAD, 0, 0, _argument(2) + 4),
            (_EQUAL, 0, 1, 0),
            *answers,
        ),
        "ioctl": ((_LOAD, 0, 0, _argument(1)), (_EQUAL, 2, 0, _TIOCSTI), (_EQUAL, 1, 0, _TIOCLINUX), *answers),
        "prctl": ((_LOAD, 0, 0, _argument(0)), (_EQUAL, 1, 0, _PR_SET_PDEATHSIG), *answers),
        "utimensat": (  # without a path it sets the times of an open file, which `copy` keeps; Landlock says which files can be opened
            (_LOAD, 0, 0, _argument(1)),
            (_EQUAL, 0, 3, 0),
            (_LOAD, 0, 0, _argument(1) + 4),
            (_EQUAL, 0, 1, 0),
            *answers,
        ),
    }
    for name, block in asked.items():
        program += _case(_ASKED[name][index], *block)
    return (*program, (_RETURN, 0, 0, _ALLOW))


def _case(number: int, *block: _Instruction) -> tuple[_Instruction, ...]:
    return ((_EQUAL, 0, len(block), number), *block)


def _argument(index: int) -> int:
    """Where the lower half of an argument stands, on machines that put it first."""
    return 16 + 8 * index


def _check(result: int, what: str) -> int:
    """Raises CannotConfine for what the kernel refuses. `seccomp` gives the number of a thread that could not follow."""
    if result < 0 or (result > 0 and what.startswith("the filter")):
        reason = os.strerror(ctypes.get_errno()) if result < 0 else f"thread {result} has another one"
        raise CannotConfine(f"The kernel has a sandbox and refuses {what}: {reason}.", _WITHOUT)
    return result


def _system() -> str:
    return {"darwin": "macOS", "win32": "Windows"}.get(sys.platform, f"this {platform.system()}")
