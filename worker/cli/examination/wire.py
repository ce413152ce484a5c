"""The way to a worker and back: by what it answers, and never by what another worker sends."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Generator, Iterator

from worker.catalog.table import CATALOG
from worker.cli import show
from worker.cli.examination.steps import Mark, Question, Step
from worker.cli.examples import small_file
from worker.client.line import Line, NobodyListens
from worker.core.gate import Gate
from worker.errors import WorkerError
from worker.files.paths import FileRules
from worker.protocol import addresses
from worker.protocol.messages import (
    Accepted,
    Failed,
    File,
    GetStatus,
    Hello,
    Job,
    Number,
    Ping,
    Pong,
    Processing,
    Ready,
    Report,
    Status,
    Welcome,
)
from worker.service import takeover

_WAIT_S = 3.0
#: A worker may take so long until its first child works: with a virus scanner, or on a disk that sleeps.
_STARTING_S = 30.0
_HUNG = "stop the worker and start it again; its accepted jobs go on then. Give jobs a timeout_ms, so that a child that hangs is ended."


def there_and_back(question: Question) -> Generator[Step, None, int]:
    """Whether the worker answers the very port that it is asked from. Returns its boot number, 0 if it does not."""
    config = question.config
    try:
        with Line(config.host, config.port) as line:
            hello = Hello("doctor", 0, 0, "", config.token)
            welcome = line.ask((hello,), lambda report: isinstance(report, Welcome), _WAIT_S)
            if not isinstance(welcome, Welcome):
                yield _silent(question)
                return 0
            yield _welcomed(question.where, welcome)
            children = _children(line)
            yield children
            if children.mark is Mark.OK:
                yield _job(line, "job", _WAIT_S)
                yield _written(line, question)
            line.leave()
    except NobodyListens:
        yield Step("hello", Mark.BROKEN, f"nobody listens at {question.where} (UDP)", _START)
        return 0
    except OSError as error:
        yield Step("hello", Mark.BROKEN, f"{question.where}: {error.strerror or error}", "check --host.")
        return 0
    return welcome.boot


_START = "start the worker (`td-image-worker serve`), or give its --port."


def _silent(question: Question) -> Step:
    """Somebody may hold the port, and we can say who if it is on this computer."""
    seen = f"{question.where} (UDP) says nothing for {_WAIT_S:g} s"
    held = takeover.holders(question.config.port) if is_here(question) else []
    for one in held:
        if one.is_worker:
            state = "it is stopped" if one.is_stopped else "it hangs, or it wants a --token"
            change = f"continue it (kill -CONT {one.pid})" if one.is_stopped else f"end process {one.pid}, and start the worker again"
            return Step("hello", Mark.BROKEN, f"{seen}; the worker in process {one.pid} holds the port: {state}", f"{change}.")
        return Step(
            "hello",
            Mark.BROKEN,
            f"{seen}; {one.name} (process {one.pid}) holds the port and is no worker",
            "close it, or give the worker another --port.",
        )
    change = (
        "start the worker there (`td-image-worker serve`); if it is started: another --port, the --token, a firewall, or a worker that "
        "listens on 127.0.0.1 only while you ask from another machine (serve --host 0.0.0.0); a container that has just been started "
        "needs some seconds."
    )
    return Step("hello", Mark.BROKEN, seen, change)


def is_here(question: Question) -> bool:
    """Whether the worker's files and processes are those of this computer."""
    host = addresses.reachable(question.config.host)
    return (question.inside or not question.docker) and (host == "localhost" or Gate.is_this_computer(host))


def _welcomed(where: str, welcome: Welcome) -> Step:
    seen = f"welcome from {where}: version {welcome.version or '?'}, protocol {welcome.protocol}, boot {welcome.boot}"
    if welcome.protocol != addresses.PROTOCOL_VERSION:
        return Step(
            "hello", Mark.BROKEN, seen, f"use a worker and a command line of one version; here it is protocol {addresses.PROTOCOL_VERSION}."
        )
    return Step("hello", Mark.OK, seen)


def _children(line: Line) -> Step:
    """Whether a child process has shown that it works. A worker that is young may still start its first one: then a job waits for it."""
    status = line.ask((GetStatus(),), lambda report: isinstance(report, Status), _WAIT_S)
    if isinstance(status, Status) and status.word != "Starting":
        return Step("children", Mark.OK, f"the worker says {status.word}, {status.running} running, {status.queued} waiting")
    pong = line.ask((Ping(1),), lambda report: isinstance(report, Pong), _WAIT_S)
    uptime_s = pong.uptime_s if isinstance(pong, Pong) else 0.0
    wait_s = max(_WAIT_S, _STARTING_S - uptime_s)
    last = [None, *_life(line, _probe(), wait_s, line)][-1]
    if isinstance(last, Ready):
        return Step("children", Mark.OK, "the first one has just started, and has run a job")
    why = f"{last.code} {last.word}" if isinstance(last, Failed) else f"none works after {uptime_s + wait_s:.0f} s"
    change = "the worker's log says why, with a traceback; the step Python here looks for the usual cause."
    return Step("children", Mark.BROKEN, f"the worker says Starting: no child process can start ({why})", change)


def _probe() -> Job:
    return Job(f"doctor-{uuid.uuid4().hex[:12]}", CATALOG.probe.name, (("priority", 0),))


def _job(line: Line, name: str, wait_s: float, answers: Line | None = None) -> Step:
    """A job that does nothing: accepted, then ready. Its reports may come on another line."""
    started = time.monotonic()
    heard = list(_life(line, _probe(), wait_s, answers or line))
    last = heard[-1] if heard else None
    match last:
        case None:
            return Step(name, Mark.BROKEN, f"no report for {wait_s:g} s")
        case Failed():
            return Step(name, Mark.BROKEN, f"{last.code} {last.word}: {last.message}", last.hint or "see the worker's log.")
        case Ready():
            return Step(name, Mark.OK, f"accepted and ready after {show.duration((time.monotonic() - started) * 1000)}")
    if any(isinstance(report, Processing) for report in heard):
        return Step(name, Mark.BROKEN, f"a child process has had it for {wait_s:g} s and does not end it: the child hangs", _HUNG)
    change = "wait until the running jobs have ended; `td-image-worker health` says whether the children still work."
    return Step(name, Mark.BROKEN, f"accepted, but other jobs keep all children busy for {wait_s:g} s", change)


def _life(line: Line, job: Job, wait_s: float, answers: Line) -> Iterator[Report]:
    """What is reported about a job until its end, as long as we wait."""
    deadline = time.monotonic() + wait_s
    heard = False
    while time.monotonic() < deadline:
        if not heard:
            line.tell(job)
        for report in answers.hear(0.25):
            if getattr(report, "id", "") == job.id and isinstance(report, Accepted | Processing | File | Ready | Failed):
                heard = True
                yield report
                if isinstance(report, Ready | Failed):
                    return


def _written(line: Line, question: Question) -> Step:
    """A file that the worker writes below its first root, and that we read back and delete."""
    name = "a file by the worker"
    if not is_here(question):
        return Step(name, Mark.SKIPPED, "its folders are not on this computer")
    text = uuid.uuid4().hex
    operation, params = small_file(f"td-image-worker-doctor-{text[:12]}.txt", text)
    job = Job(f"doctor-{text[:12]}", operation, (*params.items(), ("priority", 0)))
    heard = list(_life(line, job, _WAIT_S, line))
    if heard and isinstance(heard[-1], Ready):
        heard += line.hear(0.1)  # its file may be told after its end
    for report in heard:
        if isinstance(report, Failed):
            return Step(name, Mark.BROKEN, f"{report.code} {report.word}: {report.message}", report.hint or "see the worker's log.")
    files = [report.path for report in heard if isinstance(report, File) and report.id == job.id]
    if not files:
        return Step(name, Mark.BROKEN, f"no report for {_WAIT_S:g} s")
    return _read_back(name, files[0], text, FileRules((), maps=question.config.maps, unrestricted=True))


def _read_back(name: str, path: str, text: str, rules: FileRules) -> Step:
    """Looks for the file of which the worker speaks as its sender would."""
    try:
        here = rules.to_read(path)
        found = here.read_text(encoding="utf-8")
        here.unlink()
    except WorkerError as error:
        change = "give this command the settings of the worker: its --map, or its settings file."
        return Step(name, Mark.BROKEN, f"the worker says that it wrote {path}; {error.message}", change)
    except OSError as error:
        change = "does the worker run on this computer, as a user whose files you may read?"
        return Step(name, Mark.BROKEN, f"the worker says that it wrote {path}, but here: {error.strerror}", change)
    if found != text:
        return Step(
            name, Mark.BROKEN, f"{path} holds something else than what was sent", "is that disk shared, or synchronised with another?"
        )
    return Step(name, Mark.OK, f"written and read back below {here.parent}")


# ------------------------------------------------------------------------------------------- reports to ports of their own


def report_ports(question: Question, boot: int) -> Iterator[Step]:
    """What comes to the default ports of a sender that says no hello, like an OSC Out DAT.

    The worker keeps such a sender as a client, and it is not that any more when we end. So we say bye for it, unless somebody else here
    listens on one of its ports, who may want the reports.
    """
    config = question.config
    with contextlib.ExitStack() as stack:
        text = _listening(question, config.text_port, stack)
        number = _listening(question, config.number_port, stack)
        yield _text_reports(question, text)
        yield _number_reports(question, number, boot)
        if text is not None and (number is not None or not config.number_port):
            with Line(config.host, config.port, connected=False) as line:
                line.leave()


def _listening(question: Question, port: int, stack: contextlib.ExitStack) -> Line | None:
    """A line that hears what comes to a port of this computer; None if somebody else does, or nobody asked for it."""
    with contextlib.suppress(OSError):
        if port:
            return stack.enter_context(Line(question.config.host, question.config.port, local_port=port, connected=False))
    return None


def _text_reports(question: Question, answers: Line | None) -> Step:
    config = question.config
    name = f"text reports on {config.text_port}"
    if not config.text_port:
        return Step("text reports", Mark.SKIPPED, "not asked for")
    if answers is None:
        return _taken(name, config.text_port)
    with Line(config.host, config.port, connected=False) as line:
        step = _job(line, name, _WAIT_S, answers)
        if step.mark is Mark.OK or step.change:
            return step
        return Step(name, Mark.BROKEN, step.seen, _no_reports(config.text_port, "--report"))


def _number_reports(question: Question, answers: Line | None, boot: int) -> Step:
    """A heartbeat on the default port for numbers, of this start of this worker."""
    config = question.config
    name = f"numbers on {config.number_port}"
    if not config.number_port:
        return Step("numbers", Mark.SKIPPED, "not asked for")
    if answers is None:
        return _taken(name, config.number_port)
    others = set()
    for report, sender in answers.hear_from(_WAIT_S):
        if isinstance(report, Number) and report.name == "boot":
            if report.value == boot:
                return Step(name, Mark.OK, f"the heartbeat of boot {boot}, from {sender[0]}:{sender[1]}")
            others.add(f"{sender[0]}:{sender[1]} (boot {report.value:.0f})")
    if others:
        seen = f"only another worker's numbers come, from {', '.join(sorted(others))}"
        change = f"end that worker, or give one of the two another --number-port. {_no_reports(config.number_port, '--report-numbers')}"
        return Step(name, Mark.BROKEN, seen, change)
    return Step(name, Mark.BROKEN, f"no number for {_WAIT_S:g} s", _no_reports(config.number_port, "--report-numbers"))


def _taken(name: str, port: int) -> Step:
    return Step(
        name, Mark.SKIPPED, f"port {port} is in use here: by TouchDesigner, if all is well", "close its OSC In to have this step tested."
    )


def _no_reports(port: int, option: str) -> str:
    return (
        f"The worker's log says where its reports find nobody. Start it with {option} YOUR-ADDRESS:{port} "
        f"(in a container {option} host.docker.internal:{port}), and let UDP {port} through this machine's firewall."
    )
