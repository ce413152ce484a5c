"""Builds the component ImageWorker. Safe to run again: values, tables, wires and your callbacks are kept.

Drop this file into the network editor and run the Text DAT that it becomes (right click, Run Script), or type one line into the
Textport:

    import runpy; runpy.run_path('C:/td-image-worker/td/build.py', run_name='__main__')

It names every parameter that this build of TouchDesigner does not have, and goes on without it.
"""

import os
from typing import TYPE_CHECKING

import td

if TYPE_CHECKING:  # in a Text DAT TouchDesigner defines it
    from td import me

COMPONENT = "ImageWorker"

# Expressions that read a parameter of the component.
HOST, PORT, TEXT_PORT, NUMBER_PORT = ("parent().par." + name for name in ("Host", "Port", "Textport", "Numberport"))


class Expression(str):
    """A text that is set as a parameter's expression and not as its value."""

    __slots__ = ()


BLUE, GREEN, GREY, ORANGE = (0.35, 0.55, 0.75), (0.40, 0.65, 0.45), (0.45, 0.45, 0.45), (0.75, 0.55, 0.30)

# Every parameter that matters is set, because the defaults differ between builds. `active` comes last: before, the port is wrong.
RECEIVE = {
    "protocol": "msging",
    "port": Expression(TEXT_PORT),
    "addscope": "*",
    "typetag": False,
    "splitbundle": True,
    "splitmessage": False,
    "bundletimestamp": False,
    "executeloc": "callbacks",
    "clamp": True,
    "maxlines": 100,
    "bytes": False,
    "active": True,
}
SEND = {"protocol": "msging", "address": Expression(HOST), "port": Expression(PORT), "clamp": True, "maxlines": 10, "active": True}
NUMBERS_IN = {"protocol": "msging", "port": Expression(NUMBER_PORT), "stripsegments": 0, "queued": False, "active": True}
# All channels at every cook: a press is repeated, so that a lost packet does not matter. The worker counts it once.
TRIGGERS_OUT = {
    "protocol": "msging",
    "netaddress": Expression(HOST),
    "port": Expression(PORT),
    "numericformat": "float",
    "format": "sample",
    "sendevents": True,
    "cookalways": True,
    "active": True,
}
# Off until somebody asks for it: then TouchDesigner starts a browser in processes of its own. The page finds the worker again by itself.
PAGE = {
    "source": "urlorfile",
    "url": Expression("f'http://{parent().par.Host.eval()}:{parent().par.Pageport.eval()}/'"),
    "transparent": False,
    "alwayscook": False,
    "maxrenderrate": 30,
    "autorestart": True,
    "outputresolution": "custom",
    "resolutionw": 1280,
    "resolutionh": 720,
    "active": Expression("parent().par.Showpage"),
}
EXECUTE = {"start": True, "create": True, "exit": True, "framestart": False, "frameend": False, "active": True}
PARAMETER_EXECUTE = {
    "op": Expression("parent()"),  # a path would break when the component is copied
    "pars": "Host Port Textport Numberport Token Framefile Start Stop Cancelall Replay Clearmessage",  # not those that the worker changes
    "custom": True,
    "builtin": False,
    "onpulse": True,
    "valuechange": True,
    "valueschanged": False,
    "active": True,
}

# name, type, x, y, colour, comment, parameters
OPERATORS: tuple = (
    ("oscout", "oscoutDAT", 0, 300, BLUE, "Commands to the worker.", SEND),
    ("oscin", "oscinDAT", 200, 300, BLUE, "Reports from the worker; each one calls the extension.", RECEIVE),
    ("in1", "inCHOP", 0, 150, GREEN, "Wire channels named worker/trigger/<preset> in here: a rise through 0.5 starts one job.", {}),
    ("triggers", "oscoutCHOP", 200, 150, GREEN, "Sends the channels to the worker, again and again.", TRIGGERS_OUT),
    (
        "numbers_in",
        "oscinCHOP",
        0,
        0,
        GREEN,
        "Levels and counters, on a port of their own. They keep their last value: watch beat.",
        NUMBERS_IN,
    ),
    (
        "status",
        "nullCHOP",
        200,
        0,
        GREEN,
        "worker/n/ready, busy, queued, running, progress, done, failed, last_code, last_ms, beat, boot.",
        {},
    ),
    ("out1", "outCHOP", 400, 0, GREEN, "The same, outside.", {}),
    (
        "jobs",
        "tableDAT",
        600,
        300,
        ORANGE,
        "One row per job. word: Sending, Accepted, Processing, Ready, Failed, Cancelled, Refused, Lost.",
        {},
    ),
    ("results", "tableDAT", 600, 150, ORANGE, "What the newest job has found, numbers only: ready for a DAT to CHOP.", {}),
    ("tracks", "tableDAT", 800, 150, ORANGE, "What live jobs see now, numbers only; with slots a row for each of them: for instances.", {}),
    ("files", "tableDAT", 600, 0, ORANGE, "Every file that was written; it is complete when its row appears.", {}),
    ("log", "tableDAT", 600, -150, ORANGE, "What went wrong, and starts and stops of the worker.", {}),
    ("operations", "tableDAT", 600, -300, ORANGE, "What the worker can do, with all parameters; as the worker describes it.", {}),
    ("pending", "textDAT", 0, -150, GREY, "What was asked of the worker and has no answer yet. Plain Python.", {}),
    ("launcher", "textDAT", 200, -150, GREY, "Starts and ends the worker's process. Plain Python.", {}),
    (
        "ImageWorkerExt",
        "textDAT",
        400,
        -150,
        GREY,
        "The extension: Submit, Live, Cancel, OnReady, Status, Results, Preset, Unset, Trigger, Start, Stop.",
        {},
    ),
    (
        "callbacks",
        "textDAT",
        0,
        -300,
        ORANGE,
        "Your own code: onProcessing, onProgress, onReady, onFailed, onTracked, onSource, onWorkerLost, onWorkerBack.",
        {},
    ),
    ("frame", "scriptTOP", 0, -450, GREEN, "The newest picture that a job has written as a frame, or that of Frame File.", {}),
    ("out2", "outTOP", 200, -450, GREEN, "The same, outside.", {}),
    ("page", "webrenderTOP", 200, -600, GREEN, "The worker's page. Off until Show Page is on.", PAGE),
    ("out3", "outTOP", 400, -600, GREEN, "The same, outside.", {}),
    ("frames", "textDAT", 400, -450, GREY, "Pixels of TOPs on their way to the worker and back. Plain Python.", {}),
    ("tables", "textDAT", 600, -450, GREY, "Fills the tables and the page Status.", {}),
    ("parexec", "parameterexecuteDAT", 200, -300, GREY, "Pulses and changes of the component's parameters.", PARAMETER_EXECUTE),
    ("execute", "executeDAT", 400, -300, GREY, "Start with the project, and end with it.", EXECUTE),
)
WIRES = (("in1", "triggers"), ("numbers_in", "status"), ("status", "out1"), ("frame", "out2"), ("page", "out3"))
HEADINGS = {
    "jobs": ("id", "operation", "word", "progress", "position", "wait", "run", "items", "message"),
    "results": ("x", "y", "u", "v"),
    "tracks": (
        *("row", "id", "active", "x", "y", "radius", "u", "v"),
        *("vx", "vy", "speed", "age", "missing", "angle", "code"),
    ),
    "files": ("id", "path", "bytes", "width", "height"),
    "log": ("time", "text"),
    "operations": ("operation", "parameter", "type", "default", "range", "help"),
}
TEXTS = {
    "pending": "pending.py",
    "launcher": "launcher.py",
    "tables": "tables.py",
    "frames": "frames.py",
    "ImageWorkerExt": "ImageWorkerExt.py",
    "execute": "callbacks/execute.py",
    "parexec": "callbacks/parexec.py",
}
# TouchDesigner docks a callbacks DAT to some operators: the operator, the file, and where the DAT stands.
DOCKED = (("oscin", "callbacks/oscin_callbacks.py", 400, 300), ("frame", "callbacks/frame_callbacks.py", 0, -600))
ARTISTS_CALLBACKS = "callbacks/callbacks.py"

# page, style, name, label, default, read only, help
PARAMETERS = (
    ("Worker", "Str", "Host", "Host", "127.0.0.1", False, "The machine on which the worker runs."),
    ("Worker", "Int", "Port", "Command Port", 9460, False, "UDP port where the worker listens."),
    ("Worker", "Int", "Textport", "Text Port", 9461, False, "UDP port here for reports; each component needs its own."),
    ("Worker", "Int", "Numberport", "Number Port", 9462, False, "UDP port here for the channels worker/n/...; not the same as Text Port."),
    ("Worker", "Str", "Token", "Token", "", False, "The worker's password, if it was started with one."),
    ("Worker", "Float", "Jobtimeout", "Job Timeout (s)", 0.0, False, "A job is stopped after this time; 0 leaves it to the worker."),
    ("Worker", "Float", "Losttimeout", "Lost After (s)", 3.0, False, "A worker that is silent for this time is shown as Lost."),
    ("Worker", "Pulse", "Cancelall", "Cancel All", None, False, "Ends all jobs of this component."),
    ("Worker", "Pulse", "Replay", "Replay", None, False, "Asks how all jobs ended that the worker remembers."),
    ("Process", "Folder", "Root", "Root", "", False, "The folder that jobs may read and write; empty is the project's folder."),
    (
        "Process",
        "File",
        "Interpreter",
        "Worker Program",
        "",
        False,
        "td-image-worker, or a Python in which it is installed. Empty: it is looked for where pip, uv and pipx put programs.",
    ),
    ("Process", "Str", "Options", "Options", "", False, "More options for the worker, such as --workers 4."),
    ("Process", "Toggle", "Autostart", "Start With Project", False, False, "Start the worker when the project opens."),
    (
        "Process",
        "Toggle",
        "Showmode",
        "Show Mode",
        False,
        False,
        "Leave out what can wait: steps in the tables, and in a worker that is started with it the log of jobs and housekeeping.",
    ),
    ("Process", "Pulse", "Start", "Start", None, False, "Starts the worker, unless one answers on the port."),
    ("Process", "Pulse", "Stop", "Stop", None, False, "Asks the worker to finish its jobs and to end. Press again to end it now."),
    (
        "Frames",
        "Str",
        "Framefile",
        "Frame File",
        "",
        False,
        "The frame file that the TOP frame shows, below Root, such as frames/out.frame. Empty: the one that a job wrote last.",
    ),
    (
        "Page",
        "Toggle",
        "Showpage",
        "Show Page",
        False,
        False,
        "Show the worker's page in the TOP page inside, and at the third output. It takes a browser's memory.",
    ),
    ("Page", "Int", "Pageport", "Page Port", 9463, False, "TCP port of the page; a worker that is started here serves it there."),
    ("Status", "Str", "Status", "Status", "Unknown", True, "Ready, Processing, Starting, Draining, Stopping, Stopped, Lost, Unknown."),
    (
        "Status",
        "Str",
        "Message",
        "Message",
        "",
        True,
        "What went wrong last. Empty again when a job is ready, the worker is back, or the project is opened.",
    ),
    ("Status", "Pulse", "Clearmessage", "Clear Message", None, False, "Clears the message, and the error flag on the component."),
    ("Status", "Int", "Queued", "Queued", 0, True, "Jobs that wait, of all clients."),
    ("Status", "Int", "Running", "Running", 0, True, "Jobs that run, of all clients."),
    ("Status", "Float", "Progress", "Progress", 0.0, True, "Of the job that was last heard of, 0 to 1."),
    ("Status", "Int", "Workerage", "Worker Age (s)", -1, True, "Seconds since the worker was last heard, while something is pending."),
)

# Parameters that have had other names: the names from the newest build to the oldest.
EXTENSION = (
    (("ext0object", "extension1"), "op('./ImageWorkerExt').module.ImageWorkerExt(me)"),
    (("ext0name", "extname1"), "ImageWorkerExt"),
    (("ext0promote", "promoteextension1"), True),
)


class Builder:
    """One run.

    Args:
        network: the component in which to build.
        folder: where the other files of this folder are.
    """

    def __init__(self, network, folder):
        self.network = network
        self.folder = folder
        self.problems = []

    def build(self, name=COMPONENT):
        """Makes the component, or updates the one that is there, and returns it."""
        self.component = self.operator(self.network, name, "baseCOMP")
        self.custom_parameters()
        for row in OPERATORS:
            self.inside(*row)
        self.tables()
        self.texts()
        self.wires()
        self.extension()
        self.component.color = BLUE
        self.component.comment = "OpenCV and file writes in a process of their own. The table operations inside lists what it can do."
        return self.component

    def operator(self, network, name, kind):
        """The operator with this name and type. If there is one, it is kept."""
        found = network.op(name)
        if found is not None and found.OPType != kind:
            self.problems.append(f"{found.path} was a {found.OPType}; it was replaced by a {kind}.")
            found.destroy()
            found = None
        made = found if found is not None else network.create(kind, name)
        if made.name != name:
            self.problems.append(f"{name} came out as {made.name}.")
        return made

    def inside(self, name, kind, x, y, color, comment, parameters):
        made = self.operator(self.component, name, kind)
        made.nodeX, made.nodeY = x, y
        made.color = color
        made.comment = comment
        for parameter, value in parameters.items():
            self.set(made, parameter, value)

    # ------------------------------------------------------------------------------------------------- parameters

    def set(self, operator, name, value):
        """Sets one parameter, reads it back, and notes it if it has another value."""
        if not hasattr(operator.par, name):
            self.problems.append(f"{operator.path}: this build has no parameter {name!r}; it should be {value!r}.")
            return
        parameter = getattr(operator.par, name)
        if isinstance(value, Expression):
            if parameter.expr != value:
                parameter.expr = str(value)
                if hasattr(td, "ParMode"):  # some builds switch by themselves when an expression is set
                    parameter.mode = td.ParMode.EXPRESSION
            took = parameter.expr
        else:
            if parameter.val != value:
                parameter.val = value
            took = parameter.val
        if took != value:
            self.problems.append(f"{operator.path}: {name} is {took!r} and should be {value!r}.")

    def custom_parameters(self):
        """Adds what is missing. Appending a parameter again would reset its value, so one that is there keeps its value."""
        pages = {page.name: page for page in self.component.customPages}
        for page, style, name, label, default, read_only, text in PARAMETERS:
            if page not in pages:
                pages[page] = self.component.appendCustomPage(page)
            if not hasattr(self.component.par, name):
                made = getattr(pages[page], "append" + style)(name, label=label)[0]
                if default is not None:
                    made.default = default
                    made.val = default
            made = getattr(self.component.par, name)
            made.readOnly = read_only
            made.label = label
            made.help = text

    def extension(self):
        """Sets the component's extension, and makes it again so that it runs the new text."""
        sequences = getattr(self.component, "seq", None)
        if sequences is not None and hasattr(sequences, "ext") and sequences.ext.numBlocks < 1:
            sequences.ext.numBlocks = 1
        for names, value in EXTENSION:
            known = [name for name in names if hasattr(self.component.par, name)]
            self.set(self.component, known[0] if known else names[0], value)
        if hasattr(self.component.par, "reinitextensions"):
            self.component.par.reinitextensions.pulse()
        else:
            self.problems.append(f"{self.component.path}: press Re-Init Extensions on its page Extensions.")

    # --------------------------------------------------------------------------------------------------- contents

    def tables(self):
        for name, heading in HEADINGS.items():
            table = self.component.op(name)
            if table.numRows < 2:  # nothing to keep
                table.clear()
                table.appendRow(list(heading))

    def texts(self):
        for name, file in TEXTS.items():
            self.text(self.component.op(name), file)
        for name, file, x, y in DOCKED:
            self.text(self.docked(name, x, y), file)
        callbacks = self.component.op("callbacks")
        if not callbacks.text.strip():  # otherwise the artist has edited it
            self.text(callbacks, ARTISTS_CALLBACKS)

    def docked(self, name, x, y):
        """TouchDesigner docks a callbacks DAT to a new operator of such a type. If it does not, we make one."""
        owner = self.component.op(name)
        docked = owner.par.callbacks.eval() if hasattr(owner.par, "callbacks") else None
        if docked is None:
            docked = self.operator(self.component, f"{name}_callbacks", "textDAT")
            self.set(owner, "callbacks", docked.name)
        docked.nodeX, docked.nodeY = x, y
        docked.color = GREY
        docked.comment = "Hands each event to the extension."
        return docked

    def text(self, dat, file):
        with open(f"{self.folder}/{file}", encoding="utf-8") as source:
            text = source.read()
        if dat.text != text:
            dat.text = text
        self.set(dat, "language", "python")

    def wires(self):
        for source, target in WIRES:
            connector = self.component.op(target).inputConnectors[0]
            if not connector.connections:
                connector.connect(self.component.op(source))


def text_dat():
    """The Text DAT in which this runs; None in the Textport."""
    try:
        return me
    except NameError:
        return None


def find_folder():
    """Where the files of this folder are: beside this one, in the Text DAT's file, or in `td` beside the project.

    Raises:
        FileNotFoundError: in none of them.
    """
    # In a Text DAT `__file__` may be an operator's path; `me` is the DAT then, and its parameter `file` is the path.
    own_file = globals().get("__file__", "")
    dat = text_dat()
    dat_file = dat.par.file.eval() if dat is not None and hasattr(dat.par, "file") else ""
    places = [os.path.dirname(str(own_file)), os.path.dirname(str(dat_file)), f"{td.project.folder}/td", td.project.folder]
    for place in places:
        if os.path.isfile(f"{place}/ImageWorkerExt.py"):
            return place.replace("\\", "/")
    raise FileNotFoundError(f"ImageWorkerExt.py is in none of {places}. Copy the whole folder td beside your project, then run this again.")


def build(network=None, folder=None, name=COMPONENT):
    """Builds the component, prints what was not possible, and returns it.

    Args:
        network: where to build; if it is not given, beside the Text DAT, otherwise in /project1.
        folder: where the other files are.
        name: of the component.
    """
    dat = text_dat()
    if network is None:
        network = dat.parent() if dat is not None else td.op("/project1") or td.op("/")
    builder = Builder(network, folder or find_folder())
    component = builder.build(name)
    for problem in builder.problems:
        print("ImageWorker: " + problem)
    print(f"ImageWorker: {component.path} is built, {len(builder.problems)} problems.")
    print(f"To keep it as a file: op('{component.path}').save('{td.project.folder}/{name}.tox')")
    return component


if globals().get("__spec__") is None:  # run, and not imported: neither the Textport nor a Text DAT gives a script a spec
    build()
