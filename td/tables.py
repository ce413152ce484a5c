"""What the component shows: its tables, the read-only parameters of its page Status, and the error flag on the component itself."""

import collections
import itertools
import re
import time

ROWS_AT_ONCE = 25  # of all tables together
ROWS_AT_ONCE_IN_A_SHOW = 8
LINES_PER_ROW = 8  # so many lines of a text are put together in the time in which one row is written
JOBS_SHOWN = 1000
FILES_SHOWN = 1000
LINES_LOGGED = 200
EVERY_JOB = "(every job)"

# What an artist can do about an error, in TouchDesigner; by the error's word in the worker's protocol.
SEE_OPERATIONS = "The table operations in the component lists all parameters."
IN_A_TERMINAL = re.compile(r"`td-image-worker ops[^`]*` [^.]*\.")  # the worker's own way to say that
HINTS = {
    "path": "Jobs may use files below Root only: set it on the page Process, press Stop, then Start.",
    "token": "Set Token on the page Worker.",  # nosec B105 - a sentence
    "timeout": "Job Timeout on the page Worker is the limit.",
}
SET_OPTION = "Write the option into Options on the page Process, press Stop, then Start."
# What a worker that cannot start says to somebody in a terminal, and what that is here.
PARAMETERS = (
    ("`serve --replace` asks it to leave, or ", "stop it there, or "),
    ("choose another --port", "set another Command Port (page Worker)"),
    ("Choose another --host or --port", "Set another Host or Command Port (page Worker)"),
)


def hint(word, message, told, is_local):
    """What to do about an error. The worker's own hint speaks of a terminal.

    Args:
        word: of the error.
        message: the worker's sentence about it.
        told: the worker's hint.
        is_local: whether the component can start and stop the worker.
    """
    if word in HINTS and (is_local or word != "path"):
        return HINTS[word]
    told = in_touchdesigner(told)
    if word == "arguments" and not told:
        return SEE_OPERATIONS
    if is_local and " --" in f" {message} {told}".replace("(", " "):
        return f"{told} {SET_OPTION}".strip()
    return told


def in_touchdesigner(text):
    """The worker's sentence, with the table of operations in place of the command that lists them, and parameters in place of options."""
    for option, parameter in PARAMETERS:
        text = text.replace(option, parameter)
    return IN_A_TERMINAL.sub(SEE_OPERATIONS, text)


class _Text:
    """What a table says that is replaced as a whole. It is put together over several frames, and then shown at once."""

    def __init__(self):
        self._lines = None
        self._made: list = []
        self._next = None  # what came meanwhile; only the newest counts

    @property
    def waits(self):
        return self._lines is not None

    def becomes(self, lines):
        if self._lines is None:
            self._lines = lines
        else:
            self._next = lines

    def go_on(self, table, most):
        """Puts together up to so many lines; how many."""
        if self._lines is None or most <= 0:
            return 0
        before = len(self._made)
        self._made.extend(itertools.islice(self._lines, most))
        made = len(self._made) - before
        if made < most:
            if table is not None:
                table.text = "\n".join(self._made)
            self._lines, self._made, self._next = self._next, [], None
        return made


class Tables:
    """The tables of one component.

    What changes is noted at once, and `write` writes it, at most so many rows in a frame: each cell that is written makes TouchDesigner
    cook what hangs on it. If something changes again before it was written, only its newest state is written.

    Args:
        ownerComp: the component.

    Attributes:
        show: whether everything that can wait is left out: the steps of a job, lines of the log that report nothing wrong, old rows that
            go. Each frame writes fewer rows.
    """

    def __init__(self, ownerComp):
        self.ownerComp = ownerComp
        self.show = False
        self._wanted = {}  # what the read-only parameters should say
        self._shown = {"Message": ownerComp.par.Message.eval()}  # what they say; a message may be older than this object
        self._lines: collections.deque = collections.deque(maxlen=LINES_LOGGED)
        self._jobs = collections.OrderedDict()  # by id, those that have changed: the job and its word
        self._cells = {}  # what the rows of unfinished jobs say, and where they were
        self._gone = 0  # rows of the table `jobs` that were dropped
        self._files: collections.deque = collections.deque(maxlen=FILES_SHOWN)
        self._results = _Text()
        self._tracks = collections.OrderedDict()  # of live jobs: the lines of each
        self._tracks_head = ""
        self._tracks_changed = False
        self._operations = _Text()

    # --------------------------------------------------------------------------------------------- what is to be shown

    def set(self, **values):
        """Read-only parameters."""
        self._wanted.update(values)

    def log(self, text):
        """Something that went as it should."""
        if not self.show:
            self._lines.append((time.strftime("%H:%M:%S"), text))

    def complain(self, text):
        """Something went wrong: in the table, on the page Status, and as a flag on the component."""
        self._lines.append((time.strftime("%H:%M:%S"), text))
        self.set(Message=text)

    def all_is_well(self):
        """What went wrong last is over."""
        self.set(Message="")

    def show_job(self, job, word):
        """One row per job."""
        self._jobs[job.id] = (job, word)

    def show_progress(self, job, word):
        """A step of a job."""
        if not self.show:
            self._jobs[job.id] = (job, word)
            self.set(Progress=job.progress)

    def show_file(self, job, told):
        self._files.append((job.id, *told))

    def show_rows(self, job):
        """The rows of the newest result: numbers only, so that they go straight into a DAT to CHOP."""
        if job.kind:
            self._results.becomes(_result_lines(job))

    def show_tracks(self, job):
        """What a live job sees now: numbers only, a row for each object or each slot. Those of several jobs stand one below the other."""
        self._tracks_head = "\t".join(job.track_fields) or self._tracks_head
        template = "\t".join(["%.7g"] * len(job.track_fields))
        if job.id not in self._tracks:  # what an older one has left
            for other in [other for other, lines in self._tracks.items() if lines and lines[0] is None]:
                del self._tracks[other]
        self._tracks[job.id] = [template % row for row in job.tracks]
        self._tracks_changed = True

    def end_tracks(self, job):
        """A live job has ended. With slots its rows stay, empty, until another one begins: a CHOP never changes its length."""
        lines = self._tracks.pop(job.id, None)
        if lines is None:
            return
        if job.pairs is not None and float(dict(job.pairs).get("slots") or 0) > 0:
            empty = "\t".join(["0"] * (len(job.track_fields) - 1))
            self._tracks[job.id] = [None] + [f"{place}\t{empty}" for place in range(len(lines))]
        self._tracks_changed = True

    def show_operations(self, operations):
        """Everything that the worker can do: one row for each operation, then one for each of its parameters."""
        self._operations.becomes(_operation_lines(operations))

    # --------------------------------------------------------------------------------------------------------- writing

    def unwritten(self):
        """Whether something is not written yet."""
        waits = self._results.waits or self._operations.waits or self._tracks_changed
        return bool(self._wanted or self._lines or self._jobs or self._files or waits)

    def write(self):
        """Writes as much as may be written at once. Twice in a frame is possible: what was left over, and what has come."""
        rows = ROWS_AT_ONCE_IN_A_SHOW if self.show else ROWS_AT_ONCE
        self._write_parameters()
        self._write_tracks()
        rows -= self._append("log", self._lines, rows, LINES_LOGGED)
        rows -= self._write_jobs(rows)
        rows -= self._results.go_on(self.ownerComp.op("results"), LINES_PER_ROW * rows) // LINES_PER_ROW
        rows -= self._append("files", self._files, rows, FILES_SHOWN)
        self._operations.go_on(self.ownerComp.op("operations"), rows)

    def _write_tracks(self):
        """At once: what is late is of no use."""
        table = self.ownerComp.op("tracks")
        if self._tracks_changed and table is not None:
            lines = [line for lines in self._tracks.values() for line in lines if line is not None]
            table.text = "\n".join([self._tracks_head, *lines])
        self._tracks_changed = False

    def _write_parameters(self):
        """Only those that change, so that nothing cooks for nothing."""
        wanted, self._wanted = self._wanted, {}
        for name, value in wanted.items():
            if self._shown.get(name) != value:
                self._shown[name] = value
                setattr(self.ownerComp.par, name, value)
                if name == "Message":
                    self._mark(value)

    def _mark(self, text):
        if hasattr(self.ownerComp, "clearScriptErrors"):
            self.ownerComp.clearScriptErrors()
        if text and hasattr(self.ownerComp, "addScriptError"):
            self.ownerComp.addScriptError(text)

    def _append(self, name, waiting, rows, most):
        """Appends rows that wait to a table; how many."""
        count = max(0, min(rows, len(waiting)))
        if count:
            table = self.ownerComp.op(name)
            for _ in range(count):
                table.appendRow(waiting.popleft())
            self._drop_oldest(table, most)
        return count

    def _write_jobs(self, rows):
        """Writes the rows of jobs that have changed; how many."""
        count = max(0, min(rows, len(self._jobs)))
        if count:
            table = self.ownerComp.op("jobs")
            for _ in range(count):
                _, (job, word) = self._jobs.popitem(last=False)
                self._write_job(table, job, word)
            self._gone += self._drop_oldest(table, JOBS_SHOWN)
        return count

    def _write_job(self, table, job, word):
        """Only the cells that have changed."""
        cells = (
            *(job.id, job.operation, word, "%.3f" % job.progress, str(job.position)),
            *(str(job.wait_ms), str(job.run_ms), str(job.items), job.message),
        )
        at, shown = self._cells.get(job.id, (None, None))
        row = self._row(table, job, at)
        if row is None:
            row = table.numRows
            table.appendRow(cells)
        else:
            for column, cell in enumerate(cells):
                if shown is None or shown[column] != cell:
                    table[row, column] = cell
        if job.ended:
            self._cells.pop(job.id, None)
        else:
            self._cells[job.id] = (row + self._gone, cells)

    def _row(self, table, job, at):
        """Where the job's row is; None if it has none. It is looked for only if it is not where it was written."""
        if at is not None:
            cell = table[at - self._gone, 0]
            if cell is not None and cell.val == job.id:
                return at - self._gone
        elif job.pairs is not None:  # it was sent by this session, and is shown for the first time
            return None
        cell = table[job.id, 0]
        return None if cell is None else cell.row

    def _drop_oldest(self, table, most):
        """Makes room for new rows; how many went. During a show only if there are twice as many as should be."""
        if table.numRows <= (2 * most if self.show else most) + 1:
            return 0
        gone = table.numRows - most - 1
        for _ in range(gone):
            table.deleteRow(1)
        return gone


def _result_lines(job):
    yield "\t".join(job.fields)
    template = "\t".join(["%.7g"] * len(job.fields))
    for row in job.rows:
        yield template % row


def _operation_lines(operations):
    for cells in _operation_rows(list(operations.known.values()), dict(operations.every_job)):
        yield "\t".join(cells)


def _operation_rows(known, every_job):
    yield ("operation", "parameter", "type", "default", "range", "help")
    for operation in known:
        yield (operation.name, "", "", "", "", operation.summary)
        for name, value in operation.parameters.items():
            yield _parameter_row(operation.name, name, value)
    for name, value in every_job.items():
        yield _parameter_row(EVERY_JOB, name, value)


def _parameter_row(operation, name, value):
    default = "needed" if value.get("required") else _plain(value.get("default", ""))
    if "choices" in value:
        accepted = " | ".join(_plain(choice) for choice in value["choices"])
    elif value.get("type") == "bool":
        accepted = "0 | 1"
    else:
        accepted = f"{_plain(value['min'])} to {_plain(value['max'])}" if "min" in value and "max" in value else ""
    cells = (operation, name, value.get("type", ""), default, f"{accepted} {value.get('unit', '')}".strip(), value.get("help", ""))
    return tuple(" ".join(str(cell).split()) for cell in cells)  # a tab would begin a new cell


def _plain(value):
    return str(int(value)) if isinstance(value, bool) else str(value)
