"""For programs without OSC: jobs, presets, health and metrics over plain HTTP, so a stream deck, a phone or a script needs one request.

    POST /jobs                       {"operation": ..., "params": {...}, "id": ...}; 202 and its id
    GET  /jobs/<id>                  what has become of it
    POST /trigger/<preset>           starts a job from a preset
    GET  /status                     the status word and the numbers
    GET  /health                     503 if the worker does not work
    GET  /metrics                    for Prometheus

`?as=text` and `?as=color` give one word, or one colour, in place of JSON. `?wait_s=5` waits so long for the job's end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from worker import extras
from worker.config import installed_version
from worker.core.changes import PAGE_HOST, LevelsChanged
from worker.core.events import JobEnded
from worker.errors import BadArguments
from worker.poller import ASLEEP_S
from worker.protocol.messages import Accepted, Failed, Job
from worker.web.figures import serving
from worker.web.guard import Access
from worker.web.handlers import Guarded
from worker.web.hub import Hub
from worker.web.state import FAILED, READY, Row

#: How long a request may wait for the end of its job, and how many may wait.
MOST_WAIT_S: Final = 60.0
MOST_WAITING: Final = 100
#: A canary that is older shows that the children do not work; as `td-image-worker health` has it.
MAX_AGE_S: Final = 20.0
#: Silence after which the worker's own thread counts as hanging. It says something every second.
SILENT_S: Final = 10.0
GREEN, AMBER, RED, BLUE = "#2e7d32", "#f9a825", "#c62828", "#1565c0"
_COLORS: Final = {READY: GREEN, FAILED: RED, "Ready": GREEN, "Processing": AMBER, "Starting": BLUE}

#: What a browser sends to another site without asking it first.
_OF_FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")

_Text = Annotated[str, Meta(max_length=16 * 2**10)]
_Number = int | float


class NewJob(msgspec.Struct, forbid_unknown_fields=True):
    """A job. `params` are the operation's parameters and the keys of every job; lists of numbers mean the same as over OSC."""

    operation: Annotated[str, Meta(min_length=1, max_length=200)]
    params: dict[str, _Number | _Text | bool | list[_Number | list[_Number]] | None] = {}
    id: int | Annotated[str, Meta(max_length=800)] = ""


class Endings:
    """Those who wait for the end of a job."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._count = 0

    def watch(self, happened: Sequence[Any], _now: float) -> None:
        """Hears of what has ended."""
        if not self._waiting:
            return
        for one in happened:
            if type(one) is JobEnded and one.client.startswith(f"{PAGE_HOST}:"):
                for future in self._waiting.get(one.job_id, ()):
                    if not future.done():
                        future.set_result(None)

    async def wait(self, job_id: str, seconds: float) -> None:
        """Returns when the job has ended, or after this time; at once, if too many wait."""
        if self._count >= MOST_WAITING:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(job_id, [])
        waiting.append(future)
        self._count += 1
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            self._count -= 1
            waiting.remove(future)
            if not waiting:
                self._waiting.pop(job_id, None)


class Answering(Guarded):
    """Base of those that answer with JSON, text or a colour."""

    def initialize(self, endings: Endings | None = None) -> None:
        """Args: as the routes give them."""
        self.endings = endings or Endings()

    def say(self, status: int, told: dict[str, Any], text: str, color: str) -> None:
        """Answers in the form that was asked for."""
        self.set_status(status)
        form = self.get_query_argument("as", "json")
        if form in ("text", "color"):
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(color if form == "color" else text)
        elif form == "json":
            self.answer(told)
        else:
            self.refuse(400, f"as={form!r:.40} is unknown; it is json, text or color.")

    def refuse(self, status: int, message: str) -> None:
        """Answers with an error, in a sentence."""
        if self.get_query_argument("as", "json") in ("text", "color"):
            self.say(status, {}, message, RED)
        else:
            super().refuse(status, message)

    def number(self, name: str, default: float, most: float) -> float | None:
        """A number behind the question mark; None after answering that it is none."""
        text = self.get_query_argument(name, "")
        try:
            value = float(text) if text else default
        except ValueError:
            value = -1.0
        if 0 <= value <= most:  # false for NaN, too
            return value
        self.refuse(400, f"{name} must be a number from 0 to {most:g}; got {text!r:.40}.")
        return None

    def row_of(self, job_id: str) -> Row | None:
        """A job by its id: the one that was sent over HTTP, otherwise the newest of any client."""
        rows = self.hub.state.rows
        mine = rows.get((f"{PAGE_HOST}:{self.hub.config.text_port}", job_id))
        return mine or next((row for (_, found), row in reversed(rows.items()) if found == job_id), None)

    def say_row(self, status: int, row: Row) -> None:
        """Answers with what is known of a job."""
        told = {
            "id": row.job_id,
            "operation": row.operation,
            "state": row.state,
            "wait_ms": row.wait_ms,
            "run_ms": row.run_ms,
            "step": row.step,
            "steps": row.steps,
            "eta_ms": row.eta_ms,
            "items": row.items,
            "files": row.files,
            "code": row.code,
            "word": row.word,
            "message": row.message,
            "hint": row.hint,
        }
        text = f"{row.state}: {row.message} {row.hint}".rstrip() if row.state == FAILED else row.state
        self.say(status, told, text, _COLORS.get(row.state, AMBER))


class Sending(Answering):
    """Base of those that start a job."""

    needs: ClassVar[Access] = Access.WRITE

    async def start(self, job_id: str, answer: Awaitable[Accepted | Failed], wait_s: float) -> None:
        """Answers when the job is accepted or refused; if somebody waits, when it has ended."""
        try:
            found = await answer
        except (TimeoutError, OverflowError):
            self.refuse(503, "The worker does not answer now. Try again later.")
            return
        if isinstance(found, Failed) and not found.seq:
            told = {"error": found.message, "hint": found.hint, "code": found.code, "word": found.word}
            self.say(found.code if 400 <= found.code < 600 else 400, told, f"{found.message} {found.hint}".rstrip(), RED)
            return
        row = self.row_of(job_id)
        if wait_s and (row is None or row.state not in (READY, FAILED)):
            await self.endings.wait(job_id, wait_s)
            row = self.row_of(job_id)
        if row is not None and row.state in (READY, FAILED):
            self.say_row(200, row)
        else:
            self.say(202, {"id": job_id, "state": row.state if row else "queued"}, "accepted", AMBER)


class Jobs(Sending):
    """New jobs."""

    async def post(self) -> None:
        """One."""
        new: NewJob = self.body(NewJob)
        wait_s = self.number("wait_s", 0.0, MOST_WAIT_S)
        if wait_s is None:
            return
        commands = self.hub.commands
        try:
            flat: list[Any] = [part for pair in new.params.items() for part in pair]
            job = Job.parse((), [str(new.id) or commands.new_id("http"), new.operation, *flat])
        except BadArguments as error:
            self.refuse(400, error.message.replace("/worker/job: ", ""))
            return
        await self.start(job.id, commands.job(job.operation, job.pairs, job.id), wait_s)


class Known(Answering):
    """What has become of a job."""

    def get(self, job_id: str) -> None:
        """404 if it is not known, or not known any more."""
        row = self.row_of(unquote(job_id))
        if row is None:
            self.refuse(404, "There is no job with this id, or it is not known any more.")
        else:
            self.say_row(200, row)


class Pressed(Sending):
    """Presets as buttons."""

    async def post(self, preset: str) -> None:
        """Presses one. What stands in the body does not matter, since some programs always send one; but a form of another page cannot."""
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in _OF_FORMS:
            self.refuse(415, f"Send Content-Type: application/json, or no body; {kind} is what a form of any other page can send.")
            return
        wait_s = self.number("wait_s", 0.0, MOST_WAIT_S)
        if wait_s is None:
            return
        job_id = self.hub.commands.new_id("trigger")
        await self.start(job_id, self.hub.commands.press(unquote(preset), job_id), wait_s)

    def get(self, _preset: str) -> None:
        """A look changes nothing: browsers and programs that look ahead send GET by themselves."""
        self.set_header("Allow", "POST")
        self.refuse(405, "A preset is started by POST, not by GET.")


class Pulse:
    """When the worker's own thread was last heard, which the numbers themselves cannot tell.

    This thread looks several times a second. If it has not, the whole process slept, as a paused container does, and that is no silence.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard_at = self._looked_at = clock()

    def watch(self, happened: Iterable[Any], _now: float) -> None:
        """Hears what has happened."""
        self._look()
        if any(type(one) is LevelsChanged for one in happened):
            self._heard_at = self._looked_at

    @property
    def silent_s(self) -> float:
        """For how long it has not been heard."""
        self._look()
        return self._looked_at - self._heard_at

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked_at > ASLEEP_S:
            self._heard_at += now - self._looked_at
        self._looked_at = now


class Status(Answering):
    """The state of the worker as a whole."""

    def get(self) -> None:
        """The word and the numbers."""
        state = self.hub.state
        self.say(200, {"word": state.word, **state.levels}, state.word, _COLORS.get(state.word, RED))


class Health(Answering):
    """Whether the worker works, for a container, a service manager or a monitor."""

    def initialize(self, pulse: Pulse) -> None:  # type: ignore[override]  # each route gives its own
        """Args: as the routes give them."""
        super().initialize()
        self.pulse = pulse

    def get(self) -> None:
        """200 or 503, and a sentence."""
        max_age_s = self.number("max_age_s", MAX_AGE_S, 86_400)
        if max_age_s is None:
            return
        hub, silent_s = self.hub, self.pulse.silent_s
        levels, word = hub.state.levels, hub.state.word
        canary_s = levels.get("canary_s", 0.0) + silent_s
        children = hub.figures().children
        serve, busy = serving(children, hub.config.workers) if children else (None, None)
        sentence = unwell(word, canary_s, silent_s, max_age_s)
        told = {
            "well": not sentence,
            "sentence": sentence or "The worker works.",
            "status": word,
            "canary_s": round(canary_s, 1),
            "children": {"serve": serve, "of": hub.config.workers, "busy": busy} if children else None,
            "queued": int(levels.get("queued", 0)),
            "running": int(levels.get("running", 0)),
            "uptime_s": int(levels.get("beat", 0)),
            "version": installed_version(),
        }
        self.say(503 if sentence else 200, told, sentence or "well", RED if sentence else GREEN)


def unwell(word: str, canary_s: float, silent_s: float, max_age_s: float) -> str:
    """Why a worker does not work, in a sentence; "" if it does.

    Args:
        word: its status.
        canary_s: how long ago a child last showed that it works.
        silent_s: how long ago the worker's own thread last said something.
        max_age_s: how long ago the child may have.

    >>> unwell("Processing", 3.0, 0.4, 20.0), unwell("Ready", 33.0, 0.4, 20.0)
    ('', 'No child process has shown for 33 s that it works; the maximum is 20 s (max_age_s).')
    """
    if silent_s > SILENT_S:
        return f"The worker itself has said nothing for {silent_s:.0f} s."
    if canary_s > max_age_s:
        return f"No child process has shown for {canary_s:.0f} s that it works; the maximum is {max_age_s:g} s (max_age_s)."
    return "The journal cannot be written, so new jobs are refused." if word == "NotStoring" else ""


class MetricsText(Guarded):
    """For Prometheus."""

    def get(self) -> None:
        """All of them."""
        metrics = _metrics(self.hub)
        if metrics is None:
            self.refuse(501, f"The package prometheus-client is missing: {extras.install('page')}.")
            return
        text, kind = metrics.text(self.request.headers.get("Accept", ""))
        self.set_header("Content-Type", kind)
        self.finish(text)


def _metrics(hub: Hub) -> Any:
    """Made when somebody asks for the first time; the library takes a megabyte. None if it is not installed."""
    if hub.metrics is None:
        try:
            from worker.web.metrics import Metrics
        except ImportError:
            return None
        hub.metrics = Metrics(
            installed_version(),
            workers=hub.config.workers,
            tallies=hub.tallies,
            levels=lambda: (hub.state.word, hub.state.levels),
            figures=hub.figures,
            folders=hub.rules.roots,
            journal=hub.journal,
        )
    return hub.metrics


def routes(hub: Hub) -> Sequence[Any]:
    """The routes of this file."""
    endings, pulse = Endings(), Pulse()
    hub.watchers += [endings.watch, pulse.watch]
    return [
        (r"/jobs", Jobs, {"endings": endings}),
        (r"/jobs/([^/]{1,2400})", Known),
        (r"/trigger/([^/]{1,2400})", Pressed, {"endings": endings}),
        (r"/status", Status),
        (r"/health", Health, {"pulse": pulse}),
        (r"/metrics", MetricsText),
    ]
