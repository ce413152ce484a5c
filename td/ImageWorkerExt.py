"""The extension of the component ImageWorker: what an artist's scripts call, and where TouchDesigner's events arrive.

    job = op('ImageWorker').Submit('find_circles', image='shots/a.png')
    op('ImageWorker').OnReady(job, lambda job: print(job.rows))

All decisions about lost packets are made in `pending`, all about processes in `launcher`. Everything here runs on TouchDesigner's main
thread, so nothing here waits: reports arrive as callbacks of the OSC In DAT, and while something is pending - and only then - `tick`
runs every 100 ms.
"""

import os
import shlex
import tempfile
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # TouchDesigner defines them in every DAT
    from td import app, op, project, run

pending = op("pending").module
launcher = op("launcher").module

TICK_FRAMES = 6  # 100 ms at 60 frames a second
ASK_BEFORE_START_S = 0.5  # so long may a worker that runs already take to answer
LAST_BEAT_S = 1.5  # so long has a worker been silent that was about to end, and has
START_S = 20.0
JOBS_SHOWN = 1000
FILES_SHOWN = 1000
LINES_LOGGED = 200

LOCAL_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0", "::1")
JOB_COLUMNS = ("id", "operation", "word", "progress", "position", "wait", "run", "items", "message")

# What the artist's own callbacks are called for.
CALLBACKS = {"processing": "onProcessing", "progress": "onProgress", "ready": "onReady", "failed": "onFailed"}


class ImageWorkerExt:
    """See the module's docstring. `Capitalised` methods may be called on the component itself, `lower` ones are for its own DATs."""

    def __init__(self, ownerComp):
        self.ownerComp = ownerComp
        self._pending = pending.Pending(ownerComp.path)
        self._launcher = None
        self._ticket = None  # of the one tick that is to come
        self._tickets = 0
        self._start_asked_at = None
        self._launched_at = None
        self._stop_presses = 0
        self._on_ready = {}
        self._shown = {}  # what the read-only parameters say
        self._cells = {}  # what the rows of unfinished jobs say
        run("args[0].ext.ImageWorkerExt.resume()", ownerComp, delayFrames=1, fromOP=ownerComp)  # when the extension stands

    # ------------------------------------------------------------------------------------------- for the artist

    def Submit(self, operation, **params):
        """Sends a job to the worker and returns its id at once. Nothing is waited for.

        Raises:
            ValueError: a parameter cannot be sent.
        """
        timeout_s = self.ownerComp.par.Jobtimeout.eval()
        if timeout_s and "timeout_ms" not in params:
            params["timeout_ms"] = int(timeout_s * 1000)
        job_id = self._pending.submit(operation, params, self._moment())
        self._show(self._pending.jobs[job_id])
        self._carry_out()
        return job_id

    def Cancel(self, job_id):
        """Ends a job; its word becomes `Cancelled`, unless it had ended before."""
        self._pending.cancel(job_id, self._moment())
        self._carry_out()

    def CancelAll(self):
        """Ends all jobs of this component."""
        for job in list(self._pending.jobs.values()):
            self._pending.cancel(job.id, self._moment())
        self._carry_out()

    def OnReady(self, job_id, callback):
        """Calls `callback(job)` once the job is ready; at once if it is. It is not called for a job that fails: see `onFailed`."""
        job = self._pending.jobs.get(job_id)
        if job is not None and job.word == "Ready":
            self._call(callback, job)
        else:
            self._on_ready[job_id] = callback

    def Status(self, job_id=None):
        """The word of a job: Sending, Accepted, Processing, Ready, Failed, Cancelled, Refused; without an id the worker's own word."""
        if job_id is None:
            return self._status_word()
        job = self._pending.jobs.get(job_id)
        return "" if job is None else self._word(job)

    def Results(self, job_id):
        """What a job has found: one dictionary per item, such as {'x': 447.0, 'y': 63.0, 'radius': 63.0, 'u': ..., 'v': ...}."""
        job = self._pending.jobs.get(job_id)
        return [] if job is None else [dict(zip(job.fields, row)) for row in job.rows]

    def Files(self, job_id):
        """The paths of the files that a job has written."""
        job = self._pending.jobs.get(job_id)
        return [] if job is None else [told[0] for told in job.files]

    def Preset(self, name, operation, **params):
        """Gives the worker a named job, which `Trigger` or a CHOP channel `worker/trigger/<name>` starts."""
        self._pending.preset(name, operation, params, self._moment())
        self._carry_out()

    def Trigger(self, name):
        """Starts the job of a preset, once."""
        self._pending.trigger(name, self._moment())
        self._carry_out()

    def Replay(self):
        """Asks for the ends of all jobs that the worker remembers; those that are not in the table are added."""
        self._pending.replay(self._moment())
        self._carry_out()

    def Start(self):
        """Starts the worker on this machine, unless one answers on the port."""
        if self.ownerComp.par.Host.eval() not in LOCAL_HOSTS:
            self._log("Start: the worker's host is another machine; start it there.")
            return
        self._stop_presses = 0
        self._start_asked_at = self._moment()
        self._pending.greet(self._moment())
        self._carry_out()

    def Stop(self):
        """Asks the worker to finish its jobs and to end; a second time: to end now; a third time it is ended."""
        self._stop_presses += 1
        self._start_asked_at = self._launched_at = None
        self._pending.quit()
        if self._launcher is not None and self._stop_presses == 2:
            self._launcher.terminate()
        elif self._launcher is not None and self._stop_presses > 2:
            self._launcher.kill()
        self.ownerComp.unstore("started_by")
        self._carry_out()

    # ------------------------------------------------------------------------------------ for the component's DATs

    def received(self, address, args):
        """Each OSC message that arrives."""
        self._pending.received(address, args, self._now())
        self._carry_out()

    def tick(self, ticket):
        """Every 100 ms while something is pending. A ticket of an earlier instance of this class does not count."""
        if ticket != self._ticket:
            return
        self._ticket = None
        now = self._now()
        self._go_on_starting(now)
        self._pending.lost_after_s = self.ownerComp.par.Losttimeout.eval()
        self._pending.look(now)
        self._set(Workerage=int(self._pending.age(now)))
        self._carry_out()

    def opened(self):
        """The project was opened, or the component was made, copied or loaded."""
        if self.ownerComp.par.Autostart.eval():
            self.Start()

    def resume(self):
        """A new instance of this class asks for the reports, and how the jobs stand that the table calls unfinished."""
        jobs = self.ownerComp.op("jobs")
        for row in range(1, jobs.numRows):
            if jobs[row, "word"].val not in pending.ENDED:
                self._pending.watch(jobs[row, "id"].val, jobs[row, "operation"].val, self._moment())
        self._pending.greet(self._moment())
        self._carry_out()

    def exit(self):
        """TouchDesigner ends. May be called twice, and nothing that is put off from here happens any more."""
        if self.ownerComp.fetch("started_by", 0, search=False) == os.getpid():
            self.ownerComp.unstore("started_by")  # a second `quit` would mean: at once
            self._pending.quit()
            if self._launcher is not None:
                self._launcher.terminate()
        self._pending.bye()
        self._send_packets()

    def pulsed(self, name):
        """A pulse parameter was pressed."""
        actions = {"Start": self.Start, "Stop": self.Stop, "Cancelall": self.CancelAll, "Replay": self.Replay}
        if name in actions:
            actions[name]()

    def changed(self, name):
        """A parameter has a new value."""
        if name in ("Host", "Port", "Textport", "Numberport", "Token"):
            self._pending.greet(self._moment())
            self._carry_out()

    # --------------------------------------------------------------------------------------------------- starting

    def _go_on_starting(self, now):
        """First it is asked whether a worker runs; only silence starts one."""
        if self._launched_at is not None and self._launcher is not None:
            self._watch_launch(self._launcher, now)
        if self._start_asked_at is None:
            return
        answered = self._heard_since(self._start_asked_at)
        is_ending = self._pending.word in ("Draining", "Stopping")
        silent_s = self._pending.age(now) if answered else now - self._start_asked_at
        if answered and not is_ending:
            self._start_asked_at = None
            self._log("A worker runs already.")
        elif silent_s >= (LAST_BEAT_S if answered else ASK_BEFORE_START_S):
            self._launch_when_the_old_one_has_ended(now)

    def _launch_when_the_old_one_has_ended(self, now):
        if self._launcher is None or not self._launcher.is_running():
            self._start_asked_at = None
            self._launch(now)
        elif now - self._start_asked_at > START_S:
            self._start_asked_at = None
            self._log("The worker that runs does not answer, and has not ended. Press Stop three times to end it, then Start.")

    def _heard_since(self, moment):
        heard_at = self._pending.heard_at
        return heard_at is not None and heard_at >= moment

    def _launch(self, now):
        par = self.ownerComp.par
        folder = project.folder
        if self._launcher is None or self._launcher.port != par.Port.eval():
            self._launcher = launcher.Launcher(tempfile.gettempdir(), par.Port.eval())
        try:
            arguments = launcher.command(
                program=launcher.find_program(par.Interpreter.eval(), app, folder),
                host=par.Host.eval(),
                port=par.Port.eval(),
                text_port=par.Textport.eval(),
                number_port=par.Numberport.eval(),
                root=(par.Root.eval() or folder).replace("\\", "/"),
                parent_pid=os.getpid(),
                log_file=self._launcher.log_file,
                options=shlex.split(par.Options.eval()),
            )
            started = self._launcher.start(arguments, folder)
        except (OSError, ValueError) as error:
            self._log(f"The worker could not be started: {error}")
            return
        self._launched_at = now
        if started:
            self.ownerComp.store("started_by", os.getpid())  # a plain number: the extension may be made anew meanwhile
            self._log(f"The worker is starting; it writes to {self._launcher.log_file}")
        else:
            self._log("Another component is starting the worker.")
        self._pending.greet(now)

    def _watch_launch(self, started, now):
        code = started.ended()
        if self._heard_since(self._launched_at):
            self._launched_at = None
        elif code is not None:
            self._launched_at = None
            started.forget()
            self._log(f"The worker ended with code {code}: {started.last_words()} (all in {started.output_file})")
        elif now - self._launched_at > START_S:
            self._launched_at = None
            self._log(f"The worker does not answer; see {started.log_file}")

    # ------------------------------------------------------------------------------------------------------ inside

    @staticmethod
    def _now():
        return time.monotonic()

    def _moment(self):
        """The time. And the ports as they are now: the change of a parameter is told a frame late, and the worker knows us by them."""
        par = self.ownerComp.par
        self._pending.reports_to(par.Textport.eval(), par.Numberport.eval(), par.Token.eval())
        return self._now()

    def _carry_out(self):
        """Sends what is to be sent, shows what has happened, and sees to the next tick."""
        self._send_packets()
        for word, what in self._pending.take_news():
            self._happened(word, what)
        self._send_packets()  # acknowledgements, and what the artist's callbacks have asked for
        self._set(Status=self._status_word(), Queued=self._pending.queued, Running=self._pending.running)
        if self._ticket is None and (self._pending.busy() or self._start_asked_at is not None or self._launched_at is not None):
            self._tickets += 1
            self._ticket = f"{self._pending.session}-{self._tickets}"
            run("args[0].ext.ImageWorkerExt.tick(args[1])", self.ownerComp, self._ticket, delayFrames=TICK_FRAMES, fromOP=self.ownerComp)

    def _send_packets(self):
        packets = self._pending.take_packets()
        if not packets:
            return
        oscout = self.ownerComp.op("oscout")
        for packet in packets:
            flat = [part for message in packet for part in message]
            oscout.sendOSC(*flat, asBundle=len(packet) > 1, useNonStandardTypes=False, use64BitPrecision=False)

    def _happened(self, word, what):
        if word in ("accepted", "old") or word in CALLBACKS:
            self._job_news(word, what)
        elif word == "file":
            self._show_file(*what)
        elif word == "error":
            self._log(what)
        elif word in ("lost", "back"):
            self._worker_news(word)
        elif word == "status":
            self._set(Workerage=0)

    def _job_news(self, word, job):
        self._show(job)
        if word == "progress":
            self._set(Progress=job.progress)
        elif word == "ready":
            self._set(Progress=1.0)
            self._show_rows(job)
        elif word == "failed":
            self._log(f"{job.id} {job.operation}: {job.code} {job.message} {job.hint}".strip())
        if word in CALLBACKS:
            self._call_named(CALLBACKS[word], job)
        callback = self._on_ready.pop(job.id, None) if job.ended else None
        if callback is not None and word == "ready":
            self._call(callback, job)

    def _worker_news(self, word):
        for job in self._pending.jobs.values():
            if not job.ended:
                self._show(job)
        self._log("The worker has fallen silent." if word == "lost" else "The worker is back.")
        self._call_named("onWorkerLost" if word == "lost" else "onWorkerBack")

    def _call_named(self, name, *args):
        """Calls a function of the artist's DAT `callbacks`, if it has it."""
        try:
            function = getattr(self.ownerComp.op("callbacks").module, name, None)
        except Exception:
            self._log(traceback.format_exc(limit=-1))
            return
        if function is not None:
            self._call(function, self.ownerComp, *args)

    def _call(self, function, *args):
        """An error in the artist's code is shown and does not stop the delivery of the other jobs."""
        try:
            function(*args)
        except Exception:
            self._log(traceback.format_exc(limit=-1))

    # ----------------------------------------------------------------------------------------------------- showing

    def _status_word(self):
        if self._start_asked_at is not None or self._launched_at is not None:
            return "Starting"
        return "Lost" if self._pending.lost else self._pending.word or "Unknown"

    def _word(self, job):
        return "Lost" if self._pending.lost and not job.ended else job.word

    def _set(self, **values):
        """Read-only parameters are written only when they change, so that nothing cooks for nothing."""
        for name, value in values.items():
            if self._shown.get(name) != value:
                self._shown[name] = value
                setattr(self.ownerComp.par, name, value)

    def _show(self, job):
        """One row per job; only the cells that changed are written."""
        jobs = self.ownerComp.op("jobs")
        cells = (
            *(job.id, job.operation, self._word(job), f"{job.progress:.3f}", str(job.position)),
            *(str(job.wait_ms), str(job.run_ms), str(job.items), job.message),
        )
        shown = self._cells.get(job.id)
        if jobs[job.id, "id"] is None:
            jobs.appendRow(list(cells))
            self._drop_oldest(jobs, JOBS_SHOWN)
        else:
            for column, cell in enumerate(cells):
                if shown is None or shown[column] != cell:
                    jobs[job.id, column] = cell
        self._cells[job.id] = cells
        if job.ended:
            del self._cells[job.id]

    def _show_rows(self, job):
        """The rows of the newest result: numbers only, so that they go straight into a DAT to CHOP."""
        if job.kind:
            template = "\t".join(["%.7g"] * len(job.fields))
            lines = ["\t".join(job.fields), *(template % row for row in job.rows)]
            self.ownerComp.op("results").text = "\n".join(lines)

    def _show_file(self, job, told):
        files = self.ownerComp.op("files")
        files.appendRow([job.id, *told])
        self._drop_oldest(files, FILES_SHOWN)

    def _log(self, text):
        log = self.ownerComp.op("log")
        log.appendRow([time.strftime("%H:%M:%S"), text])
        self._drop_oldest(log, LINES_LOGGED)

    @staticmethod
    def _drop_oldest(table, most):
        while table.numRows > most + 1:
            table.deleteRow(1)
