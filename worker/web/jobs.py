"""What a browser can ask for about jobs and presets: look at one, send one, cancel, try again, forget, press, export."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Awaitable, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from worker.core.events import ReportAsked
from worker.protocol.messages import MAX_ID_BYTES, Accepted, Failed, Set, Unset
from worker.web.guard import Access
from worker.web.handlers import Guarded
from worker.web.hub import Hub
from worker.web.making import Picture
from worker.web.pictures import LARGE, SMALL, inputs_of, is_picture
from worker.web.state import FAILED, QUEUED, RUNNING, Row

#: How many jobs one request may try again.
MOST_AGAIN = 1000
#: Keys of a job that make no sense for another try: they name other jobs.
NOT_AGAIN = ("after", "replace")
Value = int | float | str | bool
Text = Annotated[str, Meta(max_length=16 * 2**10)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
#: What can be a part of an OSC address.
Part = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\s#*,/?\[\]{}]+\Z")]


class NewJob(msgspec.Struct, forbid_unknown_fields=True):
    """A job as a form sends it: parameters and the keys of every job together."""

    operation: Name
    params: dict[Name, int | float | Text | bool] = {}
    id: Annotated[str, Meta(max_length=MAX_ID_BYTES)] = ""


class Which(msgspec.Struct, forbid_unknown_fields=True):
    """Jobs by their numbers, or all."""

    jobs: Annotated[list[int], Meta(max_length=20_000)] = []
    all: bool = False
    waiting_only: bool = False


class NewValue(msgspec.Struct, forbid_unknown_fields=True):
    """One value of a preset."""

    preset: Part
    key: Part
    value: int | float | Text | bool


class Press(msgspec.Struct, forbid_unknown_fields=True):
    """A preset to start."""

    preset: Name


class Writing(Guarded):
    """Base of what changes something."""

    needs: ClassVar[Access] = Access.WRITE


class Jobs(Writing):
    """New jobs."""

    async def post(self) -> None:
        """Sends one, and answers when it is accepted or refused."""
        new: NewJob = self.body(NewJob)
        await self._answer_job(self.hub.commands.job(new.operation, new.params.items(), new.id))

    async def _answer_job(self, sent: Awaitable[Accepted | Failed]) -> None:
        try:
            answer = await sent
        except (TimeoutError, OverflowError):
            self.refuse(503, "The worker does not answer now. Try again later.")
            return
        if isinstance(answer, Failed) and answer.seq == 0:
            self.set_status(answer.code if 400 <= answer.code < 600 else 400)
            self.answer({"error": answer.message, "hint": answer.hint, "code": answer.code, "word": answer.word})
        else:
            self.set_status(202)
            self.answer({"id": answer.id})


class Cancel(Writing):
    """An end to jobs."""

    def post(self) -> None:
        """Of any client."""
        which: Which = self.body(Which)
        rows = [] if which.all else [row for row in _rows(self.hub, which) if row.state in (QUEUED, RUNNING)]
        if rows or which.all:
            self.hub.commands.cancel(((row.client, row.job_id) for row in rows), waiting_only=which.waiting_only)
        self.answer({"jobs": len(rows)})


class Again(Writing):
    """Failed jobs, once more."""

    async def post(self) -> None:
        """Each with its own parameters, as a new job of the page. Counts those whose parameters are not kept any more."""
        which: Which = self.body(Which)
        rows = [row for row in _rows(self.hub, which) if row.state == FAILED][-MOST_AGAIN:]
        sent, gone, refused = 0, 0, ""
        for row in rows:
            content = self.hub.state.content(row.n)
            if not content:
                gone += 1
                continue
            operation, params, options = msgspec.json.decode(content)
            pairs = [(key, value) for key, value in {**params, **options}.items() if key not in NOT_AGAIN and value is not None]
            try:
                answer = await self.hub.commands.job(operation, pairs, self._id_of(row))
            except (TimeoutError, OverflowError):
                refused = "The worker does not answer now."
                break
            if isinstance(answer, Failed) and answer.seq == 0:
                refused = f"{answer.message} {answer.hint}".strip()
            else:
                sent += 1
        self.answer({"jobs": sent, "gone": gone, "refused": refused})

    def _id_of(self, row: Row) -> str:
        """The old id with a number behind it, so that one sees where it comes from."""
        stem = row.job_id.partition("~")[0]
        suffix = "~" + self.hub.commands.new_id("again").partition("-")[2]
        return stem.encode()[: MAX_ID_BYTES - len(suffix)].decode(errors="ignore") + suffix


class Forget(Writing):
    """Ended jobs leave the list. The worker itself still knows them."""

    def post(self) -> None:
        """Those that are named, or all."""
        which: Which = self.body(Which)
        self.answer({"jobs": self.hub.state.forget_ended([row.n for row in _rows(self.hub, which)])})


class Values(Writing):
    """All values, to everybody, now."""

    def post(self) -> None:
        """Every client gets the status and all numbers, whether they have changed or not."""
        self.hub.tell(ReportAsked())
        self.answer({})


class Presets(Writing):
    """Values of presets."""

    def post(self) -> None:
        """Sets one."""
        new: NewValue = self.body(NewValue)
        self.hub.commands.send(Set(new.preset, new.key, new.value))
        self.answer({})


class Unsetting(Writing):
    """Presets that are not wanted any more."""

    def post(self) -> None:
        """Deletes one."""
        self.hub.commands.send(Unset(self.body(Press).preset))
        self.answer({})


class Pressing(Jobs):
    """Presets as buttons."""

    async def post(self) -> None:
        """Starts the job of one, and answers as for any other job."""
        pressed: Press = self.body(Press)
        await self._answer_job(self.hub.commands.press(pressed.preset))


class One(Guarded):
    """Everything that is known of one job."""

    def get(self, number: str) -> None:
        """Its row, its parameters as far as they are kept, and its pictures."""
        row = self.hub.state.by_number.get(int(number))
        if row is None:
            self.refuse(404, "This job is not known any more.")
            return
        content = self.hub.state.content(row.n)
        operation, params, options = msgspec.json.decode(content) if content else (row.operation, None, None)
        self.answer(
            {
                "row": row,
                "operation": operation,
                "params": params,
                "options": options,
                "inputs": inputs_of(row, self.hub.state, self.hub.catalog),
                "outputs": [[n, path] for n, path in enumerate(row.files) if is_picture(path)],
            }
        )


class Look(Guarded):
    """A picture that a job has read or written, as a JPEG."""

    async def get(self, number: str, kind: str, place: str) -> None:
        """`kind` is `in` or `out`; `?large` gives it larger. Without a picture 404 and a sentence; 503 if too many are wanted."""
        row = self.hub.state.by_number.get(int(number))
        paths = [] if row is None else inputs_of(row, self.hub.state, self.hub.catalog) if kind == "in" else row.files
        if row is None or int(place) >= len(paths) or not is_picture(paths[int(place)]):
            self.refuse(404, "There is no such picture.")
            return
        size = LARGE if self.get_query_argument("large", None) is not None else SMALL
        try:
            found = await self.hub.pictures.of(paths[int(place)], size, row.n if kind == "out" else 0)
        except TimeoutError:
            found = None
        if found is None:
            self.set_header("Retry-After", "2")
            self.refuse(503, "Too many pictures are wanted now.")
        elif isinstance(found, Picture):
            self.set_header("Content-Type", "image/jpeg")
            self.set_header("Cache-Control", "private, max-age=300")
            self.set_header("X-Picture-Size", f"{found.width}x{found.height}")
            self.finish(found.jpeg)
        else:
            self.refuse(404, found)


COLUMNS = tuple(name for name in Row.__struct_fields__ if name not in ("n", "files", "reads"))


class Export(Guarded):
    """All jobs of the list, as a file."""

    def get(self, kind: str) -> None:
        """As JSON or as CSV, the newest first."""
        rows = sorted(self.hub.state.rows.values(), key=lambda row: -row.n)
        day = time.strftime("%Y-%m-%d")
        self.set_header("Content-Disposition", f'attachment; filename="jobs-{day}.{kind}"')
        if kind == "json":
            self.answer([{name: getattr(row, name) for name in (*COLUMNS, "files")} for row in rows])
            return
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow((*COLUMNS, "files"))
        table.writerows([*(_harmless(getattr(row, name)) for name in COLUMNS), _harmless(" ".join(row.files))] for row in rows)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.finish(text.getvalue())


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet does not take for a formula.

    >>> _harmless("=1+1"), _harmless("a.png"), _harmless(-1)
    ("'=1+1", 'a.png', -1)
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _rows(hub: Hub, which: Which) -> list[Row]:
    if which.all:
        return list(hub.state.rows.values())
    return [row for number in which.jobs if (row := hub.state.by_number.get(number)) is not None]


def routes(_hub: Hub) -> Sequence[Any]:
    """The routes of jobs and presets."""
    return [
        (r"/api/jobs", Jobs),
        (r"/api/jobs/([0-9]{1,15})", One),
        (r"/api/jobs/([0-9]{1,15})/(in|out)/([0-9]{1,4})", Look),
        (r"/api/cancel", Cancel),
        (r"/api/again", Again),
        (r"/api/forget", Forget),
        (r"/api/values", Values),
        (r"/api/presets", Presets),
        (r"/api/presets/unset", Unsetting),
        (r"/api/press", Pressing),
        (r"/api/jobs\.(csv|json)", Export),
    ]
