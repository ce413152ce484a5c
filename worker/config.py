"""All settings of a worker, as one frozen value. Each is declared here once; see `worker/settings.py`.

Annotations are values here (there is no `from __future__ import annotations`): as texts they would be compiled anew at each start.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, NewType

import msgspec

from worker import __version__
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.protocol import addresses
from worker.protocol.addresses import Network, Peer
from worker.settings import NONE, Setting

PROGRAM = "td-image-worker"

NETWORK = "Network"
FILES = "Files"
JOBS = "Jobs"
JOURNAL = "Journal"
PROCESS = "Process"
CLUSTER = "Cluster"
LOG = "Log"

_MAX_PORT = 2**16 - 1

#: Where the page is served, unless somebody wants it elsewhere.
PAGE_PLACE: Peer = ("127.0.0.1", 9463)

#: Host and port; port 0 takes a free one.
HttpPlace = NewType("HttpPlace", tuple)  # type: ignore[type-arg]  # a `NewType` cannot be made of `Peer`

#: Minutes after midnight.
DayTime = NewType("DayTime", int)

#: A name, an address or a network, in small letters.
StreamHost = NewType("StreamHost", str)

#: A path that ends in .py, or the name of an entry point.
OwnPlace = NewType("OwnPlace", str)


def default_state() -> Path:
    """The folder in which this system keeps the state of a program."""
    from platformdirs import user_state_path

    return user_state_path(PROGRAM, appauthor=False)


def default_page() -> HttpPlace:
    """Where the page is served. A function of its own: in Python 3.11 a lambda in an annotation does not see this module's names."""
    return HttpPlace(PAGE_PLACE)


def default_night() -> DayTime:
    """When the night log is written."""
    return DayTime(6 * 60)


def nights_beside(log_file: Path | None) -> Path | None:
    """The file of the night log beside the log.

    >>> nights_beside(Path("worker.log")).name
    'worker-nights.txt'
    """
    return log_file.with_name(f"{log_file.stem}-nights.txt") if log_file is not None else None


def default_workers() -> int:
    """One child per core, and one core left for TouchDesigner if there are more than two."""
    cores = os.cpu_count() or 1
    return max(1, cores - 1) if cores > 2 else cores


class Limits(msgspec.Struct, frozen=True):
    """What the scheduler bounds.

    Attributes:
        queue_jobs: how many jobs may wait, over all clients.
        queue_bytes: how large all waiting jobs together may be.
        remembered_jobs: how many ended jobs are known by their id.
        remembered_hours: how long, across restarts.
        timeout_ms: the timeout of a job that brings none of its own; 0 is none.
        lease_ms: how long a client that said hello counts as present after its last packet.
        result_rows_kept: how many rows and files of ended jobs are kept for `query`.
        packets_per_s: how many packets one sender may send, on the long run; a packet counts once more for each 4 kB.
        packets_burst: how many at once.
        inbox: how many packets of all senders together may wait to be read.
        inbox_bytes: how large they may be together.
        result_bytes_kept: how much memory the results of ended jobs may take, beside `result_rows_kept`.
    """

    queue_jobs: Annotated[int, Setting(JOBS, "How many jobs may wait; more are refused with 429.", unit="N", minimum=1)] = 10_000
    queue_bytes: int = 64 * 2**20
    remembered_jobs: Annotated[
        int, Setting(JOURNAL, "How many ended jobs are known by their id.", option="--remember-jobs", unit="N", minimum=1)
    ] = 10_000
    remembered_hours: Annotated[
        float,
        Setting(JOURNAL, "How long ended jobs are known across restarts.", option="--remember-hours", unit="H", minimum=0, above=True),
    ] = 24.0
    timeout_ms: Annotated[int, Setting(JOBS, "Timeout of a job that brings none of its own; 0 = none.", unit="MS", minimum=0)] = 60_000
    lease_ms: int = 15_000
    clients: int = 256
    result_rows_kept: int = 100_000
    packets_per_s: Annotated[
        int,
        Setting(
            NETWORK,
            "How many packets of one sender are read per second, and twice as many of one computer; more are dropped.",
            option="--packets-per-second",
            unit="N",
            minimum=1,
        ),
    ] = 10_000
    packets_burst: int = 20_000
    inbox: int = 100_000
    inbox_bytes: int = 64 * 2**20
    result_bytes_kept: int = 64 * 2**20


class LogSettings(msgspec.Struct, frozen=True):
    """Where the log of the worker goes, and in which form."""

    file: Annotated[
        Path | None,
        Setting(
            LOG,
            "Write the log there and not to standard error; five files of 10 MB are kept.",
            option="--log-file",
            unit="FILE",
            shown=NONE,
        ),
    ] = None
    format: Annotated[Literal["text", "json"], Setting(LOG, "json: one object per line.", option="--log-format")] = "text"
    level: Annotated[Literal["debug", "info", "warning", "error"], Setting(LOG, "How much is logged.", option="--log-level")] = "info"
    night: Annotated[
        DayTime | None,
        Setting(
            LOG,
            "When one summary of the day is written, by the clock on the wall: into the log, and into a file beside it; off for never.",
            option="--night-log",
            unit="HH:MM",
            shown="06:00",
            default=default_night,
        ),
    ] = None


class RecordSettings(msgspec.Struct, frozen=True):
    """Where everything that the worker is sent and sends is written down."""

    file: Annotated[
        Path | None,
        Setting(
            LOG,
            "Add every packet and event to this file; `td-image-worker replay` plays it back. It holds names of files, and no token.",
            option="--record",
            unit="FILE",
            shown=NONE,
        ),
    ] = None
    max_mb: Annotated[
        float,
        Setting(LOG, "How large that file may become; then the recording ends.", option="--record-mb", unit="MB", minimum=0, above=True),
    ] = 200.0


class ClusterSettings(msgspec.Struct, frozen=True):
    """The Dask cluster that does the work, if there is one, and the certificates for it."""

    address: Annotated[
        str,
        Setting(
            CLUSTER,
            "Let the machines of this Dask cluster do the work, such as tcp://10.0.0.5:8786; see docs/cluster.md.",
            option="--cluster",
            unit="ADDRESS",
            shown=NONE,
        ),
    ] = ""
    or_local: Annotated[
        bool, Setting(CLUSTER, "Work with child processes of this machine while the cluster has no node.", option="--cluster-or-local")
    ] = False
    files: Annotated[
        Literal["shared", "ship"],
        Setting(
            CLUSTER,
            "How the nodes see the files: shared = each has the same folders; ship = the files of each part travel with it and come back.",
            option="--cluster-files",
        ),
    ] = "shared"
    ship_mb: Annotated[
        int,
        Setting(
            CLUSTER,
            "With --cluster-files ship: how large the files of one part may be together; batches are cut accordingly.",
            option="--cluster-ship-mb",
            unit="MB",
            minimum=1,
            maximum=2048,
        ),
    ] = 256
    ca: Annotated[
        Path | None,
        Setting(CLUSTER, "TLS: the authority that has signed the certificates (PEM).", option="--cluster-ca", unit="FILE", shown=NONE),
    ] = None
    cert: Annotated[
        Path | None, Setting(CLUSTER, "TLS: this machine's certificate (PEM).", option="--cluster-cert", unit="FILE", shown=NONE)
    ] = None
    key: Annotated[Path | None, Setting(CLUSTER, "TLS: the key to it (PEM).", option="--cluster-key", unit="FILE", shown=NONE)] = None


class LiveSettings(msgspec.Struct, frozen=True):
    """What live jobs may do."""

    sessions: Annotated[
        int, Setting(JOBS, "How many live jobs (`track`) may run; each has a process of its own.", option="--live", unit="N", minimum=0)
    ] = 4
    hosts: Annotated[
        tuple[StreamHost, ...],
        Setting(
            NETWORK,
            "A computer whose streams live jobs may open (rtsp, http): a name, an address or a network; repeatable.",
            option="--live-host",
            unit="HOST",
            shown=NONE,
        ),
    ] = ()


class Config(msgspec.Struct, frozen=True):
    """Where the worker listens, reports, reads and writes.

    Attributes:
        report: fixed targets that get every text report.
        report_numbers: fixed targets that get every number.
        text_port: port for text reports of clients that never said hello.
        number_port: port for their number reports.
        roots: the directories that jobs may use; relative paths start at the first.
        read_roots: further directories, which jobs may only read.
        kept: files of the worker's own, which no job may write.
        maps: pairs of a path of the sender's machine and the same path here.
        allow: other computers that may send commands to the worker, beside this one.
        token: a computer whose `hello` has it may send commands, too; "" is none.
        no_discovery: other programs cannot find the worker by themselves.
        gateway_is: in a container, the host that packets from the network's gateway really come from; "" for the gateway itself.
        presets: name, key and value of each preset's values from the start.
        workers: how many tasks run at a time.
        state: directory of the journal; None runs without one.
        durability: what an accepted job survives: a crash of this process, or of the machine.
        operations: files with operations of the artist's own, as absolute paths; and names of entry points of installed packages.
        operations_need: what these may reach beside files, if the sandbox is on.
        sandbox: whether the kernel closes in the child processes, if it can.
        nice: how much lower the priority of the child processes is; 0 leaves it.
        show: nothing is started, logged or pruned that can wait.
        parent_pid: the worker ends with this process; 0 for none.
        replace: ask an older worker on the same port to leave.
        http: where the page is served; None for nowhere.
        files: what the files of one job may amount to, and its memory.
        cluster: who does the work, if not child processes of this machine.
        record: where a recording goes.
    """

    host: Annotated[str, Setting(NETWORK, "Where to listen; 0.0.0.0 can be reached from other computers (see --allow).", unit="HOST")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Setting(NETWORK, "UDP port for commands; 0 takes a free one.", unit="PORT", minimum=0, maximum=_MAX_PORT)] = (
        addresses.COMMAND_PORT
    )
    allow: Annotated[
        tuple[Network, ...],
        Setting(
            NETWORK,
            "Other computers that may send jobs, such as 192.168.0.0/24; repeatable. In a container: gateway.",
            unit="NETWORK",
            shown=NONE,
        ),
    ] = ()
    token: Annotated[
        str, Setting(NETWORK, "A computer whose hello has this token may send jobs, too; 16 to 128 characters.", unit="TEXT", shown=NONE)
    ] = ""
    report: Annotated[
        tuple[Peer, ...], Setting(NETWORK, "Send all text reports there, too; repeatable.", unit="HOST:PORT", shown=NONE)
    ] = ()
    report_numbers: Annotated[
        tuple[Peer, ...], Setting(NETWORK, "Send all number reports there, too; repeatable.", unit="HOST:PORT", shown=NONE)
    ] = ()
    text_port: Annotated[int, Setting(NETWORK, "The sender's port for text reports.", unit="PORT", minimum=0, maximum=_MAX_PORT)] = (
        addresses.TEXT_PORT
    )
    number_port: Annotated[int, Setting(NETWORK, "The sender's port for number reports.", unit="PORT", minimum=0, maximum=_MAX_PORT)] = (
        addresses.NUMBER_PORT
    )
    no_discovery: Annotated[
        bool, Setting(NETWORK, "Do not let OSC programs find the worker by themselves (zeroconf; needs the extra discovery).")
    ] = False
    gateway_is: Annotated[
        str,
        Setting(
            NETWORK,
            "In a container all packets seem to come from its gateway. This is the host they really come from, if it can be found.",
            unit="HOST",
            shown=NONE,
        ),
    ] = ""
    http: Annotated[
        HttpPlace | None,
        Setting(
            NETWORK,
            "Where the page is served (extra [page]), such as 0.0.0.0:9463; off for nowhere. See docs/page.md.",
            unit="HOST:PORT",
            shown=":".join(map(str, PAGE_PLACE)),
            default=default_page,
        ),
    ] = None
    roots: Annotated[
        tuple[Path, ...],
        Setting(
            FILES,
            "Folder that jobs may read and write; repeatable. Relative paths start at the first.",
            option="--root",
            unit="DIR",
            existing=True,
            shown="the current folder",
            default=tuple,
        ),
    ] = (Path(),)
    read_roots: Annotated[
        tuple[Path, ...],
        Setting(FILES, "Folder that jobs may only read; repeatable.", option="--read-root", unit="DIR", existing=True, shown=NONE),
    ] = ()
    maps: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            FILES,
            "How a path starts on the sender's machine, and here; repeatable.",
            option="--map",
            unit="SENDER=WORKER",
            shown=NONE,
        ),
    ] = ()
    kept: tuple[Path, ...] = ()
    files: FileLimits = DEFAULT_LIMITS
    presets: tuple[tuple[str, str, int | float | str | bool], ...] = ()
    workers: Annotated[
        int,
        Setting(
            PROCESS,
            "Child processes. On two cores there are two, and one if TouchDesigner has started the worker.",
            unit="N",
            minimum=1,
            maximum=256,
            shown="cores - 1",
        ),
    ] = msgspec.field(default_factory=default_workers)
    limits: Limits = Limits()
    live: LiveSettings = LiveSettings()
    state: Annotated[
        Path | None,
        Setting(
            JOURNAL,
            "Folder of the journal, in which accepted jobs survive a crash.",
            unit="DIR",
            shown="the system's place for it",
            default=default_state,
        ),
    ] = None
    no_journal: Annotated[bool, Setting(JOURNAL, "Keep no journal; unfinished jobs do not survive a crash.")] = False
    durability: Annotated[
        Literal["process", "power"],
        Setting(JOURNAL, "What an accepted job survives: a crash of the worker, or also of the machine (slower)."),
    ] = "process"
    sandbox: Annotated[
        Literal["on", "off"],
        Setting(PROCESS, "Let the kernel refuse child processes everything but the files below the folders (Linux)."),
    ] = "on"
    operations: Annotated[
        tuple[OwnPlace, ...],
        Setting(
            PROCESS,
            "Operations of your own: a Python file, or the name that an installed package gives its operations; repeatable.",
            unit="FILE",
            shown=NONE,
        ),
    ] = ()
    operations_need: Annotated[
        Literal["nothing", "network", "devices", "all"],
        Setting(
            PROCESS, "What operations of your own may reach beside files, if they say that they need it. Then all child processes may."
        ),
    ] = "nothing"
    nice: Annotated[
        int,
        Setting(
            PROCESS,
            "How much child processes give way to other programs, 0 to 19. On Windows every number above 0 is one step, below normal.",
            unit="N",
            minimum=0,
            maximum=19,
        ),
    ] = 10
    show: Annotated[
        bool,
        Setting(
            PROCESS,
            "Show mode: leaves out or postpones what can wait. No line in the log for each job, no reserve child is started while one "
            "works, no search for left-over files, and the journal is pruned fifty times more rarely. One core at least is left free.",
        ),
    ] = False
    parent_pid: Annotated[
        int, Setting(PROCESS, "End together with this process, such as TouchDesigner.", unit="PID", minimum=0, shown=NONE)
    ] = 0
    replace: Annotated[bool, Setting(PROCESS, "If a worker already listens on the port, ask it to leave first.")] = False
    cluster: ClusterSettings = ClusterSettings()
    log: LogSettings = LogSettings()
    record: RecordSettings = RecordSettings()


def installed_version() -> str:
    """The version of this distribution. It stands in the code, because `importlib.metadata` takes an eighth of the start."""
    return __version__
