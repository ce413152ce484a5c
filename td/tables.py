"""What the component shows: its tables, the read-only parameters of its page Status, and the error flag on the component itself."""

import time

JOB_COLUMNS = ("id", "operation", "word", "progress", "position", "wait", "run", "items", "message")
JOBS_SHOWN = 1000
FILES_SHOWN = 1000
LINES_LOGGED = 200
EVERY_JOB = "(every job)"

# What an artist can do about an error, in TouchDesigner; by the error's word in the worker's protocol.
SEE_OPERATIONS = "The table operations in the component lists all parameters."
HINTS = {
    "arguments": SEE_OPERATIONS,
    "operation": SEE_OPERATIONS,
    "path": "Jobs may use files below Root only: set it on the page Process, press Stop, then Start.",
    "token": "Set Token on the page Worker.",  # nosec B105 - a sentence
    "timeout": "Job Timeout on the page Worker is the limit.",
}
SET_OPTION = "Write the option into Options on the page Process, press Stop, then Start."


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
    if is_local and " --" in f" {message} {told}".replace("(", " "):
        return f"{told} {SET_OPTION}".strip()
    return told


class Tables:
    """The tables of one component.

    Args:
        ownerComp: the component.
    """

    def __init__(self, ownerComp):
        self.ownerComp = ownerComp
        self._shown = {}  # what the read-only parameters say
        self._cells = {}  # what the rows of unfinished jobs say

    def set(self, **values):
        """Read-only parameters are written only when they change, so that nothing cooks for nothing."""
        for name, value in values.items():
            if self._shown.get(name) != value:
                self._shown[name] = value
                setattr(self.ownerComp.par, name, value)

    def log(self, text):
        log = self.ownerComp.op("log")
        log.appendRow([time.strftime("%H:%M:%S"), text])
        _drop_oldest(log, LINES_LOGGED)

    def complain(self, text):
        """Something went wrong: in the table, on the page Status, and as a flag on the component."""
        self.log(text)
        self._mark(text)

    def all_is_well(self):
        """What went wrong last is over."""
        if self._shown.get("Message", ""):
            self._mark("")

    def _mark(self, text):
        self.set(Message=text)
        if hasattr(self.ownerComp, "clearScriptErrors"):
            self.ownerComp.clearScriptErrors()
        if text and hasattr(self.ownerComp, "addScriptError"):
            self.ownerComp.addScriptError(text)

    def show_job(self, job, word):
        """One row per job; only the cells that changed are written."""
        jobs = self.ownerComp.op("jobs")
        cells = (
            *(job.id, job.operation, word, f"{job.progress:.3f}", str(job.position)),
            *(str(job.wait_ms), str(job.run_ms), str(job.items), job.message),
        )
        shown = self._cells.get(job.id)
        if jobs[job.id, "id"] is None:
            jobs.appendRow(list(cells))
            _drop_oldest(jobs, JOBS_SHOWN)
        else:
            for column, cell in enumerate(cells):
                if shown is None or shown[column] != cell:
                    jobs[job.id, column] = cell
        self._cells[job.id] = cells
        if job.ended:
            del self._cells[job.id]

    def show_rows(self, job):
        """The rows of the newest result: numbers only, so that they go straight into a DAT to CHOP."""
        if job.kind:
            template = "\t".join(["%.7g"] * len(job.fields))
            lines = ["\t".join(job.fields), *(template % row for row in job.rows)]
            self.ownerComp.op("results").text = "\n".join(lines)

    def show_file(self, job, told):
        files = self.ownerComp.op("files")
        files.appendRow([job.id, *told])
        _drop_oldest(files, FILES_SHOWN)

    def show_operations(self, operations):
        """Everything that the worker can do: one row for each operation, then one for each of its parameters."""
        rows = [("operation", "parameter", "type", "default", "range", "help")]
        for operation in operations.known.values():
            rows.append((operation.name, "", "", "", "", operation.summary))
            rows += [_parameter_row(operation.name, name, value) for name, value in operation.parameters.items()]
        rows += [_parameter_row(EVERY_JOB, name, value) for name, value in operations.every_job.items()]
        table = self.ownerComp.op("operations")
        text = "\n".join("\t".join(row) for row in rows)
        if table is not None and table.text != text:
            table.text = text


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


def _drop_oldest(table, most):
    while table.numRows > most + 1:
        table.deleteRow(1)
