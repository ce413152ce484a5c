"""One running TouchDesigner: its clock, its main thread, its globals."""

import os
import pickle
import random
import sys
import threading
import time
import types
import zlib

from tests.td.fake import operators
from tests.td.fake.parameters import ParMode, tdError

BUILD_YEARS = (2022, 2023, 2024, 2025)


class _Counting:
    """Counts what happens inside as time of the project's scripts."""

    def __init__(self):
        self.seconds = 0.0
        self._depth = 0

    def __enter__(self):
        self._depth += 1
        if self._depth == 1:
            self._started = time.thread_time()

    def __exit__(self, *_):
        if self._depth == 1:
            self.seconds += time.thread_time() - self._started
        self._depth -= 1


class TouchDesigner:
    """See the package's docstring.

    Args:
        year: of the build; names and signatures follow it.
        project_folder: where the .toe would be.
        async_keyword: the oldest name of TOP.save's option.
        executable: what `app.pythonExecutable` says.
    """

    def __init__(self, year=2025, project_folder=".", *, async_keyword=False, executable=sys.executable):
        self.year = year
        self.async_keyword = async_keyword
        self.absTime = types.SimpleNamespace(frame=0, seconds=0.0, step=1)
        self.project = types.SimpleNamespace(folder=str(project_folder).replace("\\", "/"), name="fake.1.toe", cookRate=60.0)
        self.app = types.SimpleNamespace(version="099", build=f"{year}.30000", processId=os.getpid(), product="TouchDesigner")
        if year >= 2023:
            self.app.pythonExecutable = executable
        self.tdu = types.SimpleNamespace(rand=rand, clamp=lambda value, low, high: max(low, min(high, value)))
        self.errors = []
        self.spent = []
        self.counting = _Counting()
        self._thread = threading.get_ident()
        self._runs = []
        self._names = {}  # made once per operator: the real one's are not made by Python
        self._events = []
        self._loss = 0.0
        self._random = random.Random(1)
        self.root = operators.baseCOMP(self, None, "")
        self.td = types.ModuleType("td")
        self.td.__dict__.update({name: self.__dict__[name] for name in ("absTime", "project", "app", "tdu", "root")})
        self.td.__dict__.update(op=self.root.op, run=self.run, ParMode=ParMode, isMainThread=lambda: threading.get_ident() == self._thread)

    # ------------------------------------------------------------------------------------------- what scripts see

    def names(self, operator):
        """The globals of a script that belongs to this operator."""
        comp = operator if isinstance(operator, operators.baseCOMP) else operator._parent
        if operator in self._names:
            return self._names[operator]
        names = {key: value for key, value in self.td.__dict__.items() if not key.startswith("__")}
        names.update(
            me=operator,
            op=comp.op,
            parent=operator.parent if operator is not comp else lambda levels=1: comp if levels == 1 else comp.parent(levels - 1),
            ext=operators._Extensions(comp, upward=True),
            run=self.run,
            debug=print,
        )
        self._names[operator] = names
        return names

    def run(self, script, *args, delayFrames=0, delayMilliSeconds=0, endFrame=False, fromOP=None, group=None, asParameter=False):
        self.check_thread()
        if delayMilliSeconds:
            raise tdError("the fake counts frames only")
        self._runs.append((self.absTime.frame + max(delayFrames, 0), endFrame, script, args, fromOP or self.root))

    def check_thread(self):
        if threading.get_ident() != self._thread:
            raise tdError("THREAD CONFLICT")

    # ------------------------------------------------------------------------------------------ what the fake does

    def frame(self):
        """One frame; the processor time that its scripts took is kept in `spent`."""
        self.counting.seconds = 0.0
        self.absTime.frame += 1
        self.absTime.seconds = self.absTime.frame / 60
        events, self._events = self._events, []
        for event in events:
            event()
        self._run_due(at_end=False)
        for operator in self.all_operators():
            operator.cook_frame()
        self._run_due(at_end=True)
        self.spent.append(self.counting.seconds)

    def _run_due(self, *, at_end):
        due = [entry for entry in self._runs if entry[0] <= self.absTime.frame and entry[1] == at_end]
        self._runs = [entry for entry in self._runs if entry not in due]
        for _, _, script, args, where in due:
            self._run(script, args, where)

    def frames(self, count):
        for _ in range(count):
            self.frame()
            time.sleep(1 / 240)

    def until(self, condition, seconds=20):
        """Frames until the condition holds.

        Raises:
            TimeoutError: it never did.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {self.absTime.frame} frames; errors: {self.errors}\n{self._what_it_says()}")
            self.frame()
            time.sleep(1 / 240)

    def _what_it_says(self):
        """What an artist would look at: the tables that are called log, warnings and errors on operators."""
        said = [operator.text for operator in self.all_operators() if isinstance(operator, operators.tableDAT) and operator.name == "log"]
        said += [f"{one.path}: {text}" for one in self.all_operators() for text in (one.errors(), one.warnings()) if text]
        return "\n".join(said)

    def _run(self, script, args, where):
        names = {**self.names(where), "args": args}
        script = script if callable(script) else compile(script, "run", "exec")
        try:
            with self.counting:
                script(*args) if callable(script) else exec(script, names)
        except Exception as error:  # noqa: BLE001
            self.failed(where, error)

    def later(self, frames, function):
        self._runs.append((self.absTime.frame + frames, False, function, (), self.root))

    def failed(self, operator, error):
        """What the Textport would show."""
        self.errors.append(f"{operator.path}: {type(error).__name__}: {error}")

    def all_operators(self, start=None):
        for child in list((start or self.root)._children.values()):
            yield child
            yield from self.all_operators(child)

    @property
    def waiting_runs(self):
        return len(self._runs)

    def lose(self, share, seed=1):
        """From now on this share of all packets is lost, in both directions."""
        self._loss = share
        self._random = random.Random(seed)

    def loses(self):
        return self._random.random() < self._loss

    def pulsed(self, par):
        if par.name == "reinitextensions":
            self._events.append(par.owner.reinitialize)
            return
        for dat in self._parameter_executes(par, "onpulse"):
            self._events.append(lambda dat=dat: dat.call("onPulse", par))

    def value_changed(self, par, before):
        for dat in self._parameter_executes(par, "valuechange"):
            values = (par.val, before) if self.year < 2023 else (before,)
            self._events.append(lambda dat=dat, values=values: dat.call("onValueChange", par, *values))

    def _parameter_executes(self, par, toggle):
        dats = [operator for operator in self.all_operators() if isinstance(operator, operators.parameterexecuteDAT)]
        return [dat for dat in dats if dat.watches(par, toggle)]

    def _execute(self, toggle, name):
        for operator in self.all_operators():
            if isinstance(operator, operators.executeDAT):
                operator.event(toggle, name)

    def opened(self):
        """The project is opened: components are created, then the project starts."""
        self._execute("create", "create" if self.year < 2023 else "onCreate")
        self._execute("start", "onStart")

    def save(self):
        """Storage is pickled, so what cannot be pickled fails here."""
        return {operator.path: pickle.dumps(operator.storage) for operator in self.all_operators()}

    def exit(self):
        """The window is closed. `onExit` may come twice; delayed runs never happen."""
        self._execute("exit", "onExit")
        self._execute("exit", "onExit")
        self.crash()

    def crash(self):
        """The process is gone: nothing of the project runs any more."""
        self._runs = []
        for operator in self.all_operators():
            operator.close()


def rand(seed):
    """Deterministic, and documented as NOT TouchDesigner's: its algorithm is unpublished."""
    return zlib.crc32(repr(float(seed)).encode()) / 2**32
