"""The extension of the component ImageWorker: what an artist's scripts call, and what TouchDesigner's events call.

    job = op('ImageWorker').Submit('find_circles', image='shots/a.png')
    op('ImageWorker').OnReady(job, lambda job: print(job.rows))

`pending` decides about lost packets, `launcher` starts and ends the process, `tables` shows what happened. Everything here runs on
TouchDesigner's main thread, so nothing here waits: reports arrive as callbacks of the OSC In DAT. They are only kept there; `flush` does
the rest once, at the end of the frame, and leaves reports and rows of tables that are too many for one frame to the next ones. Only while
something is pending, `tick` runs every 100 ms.
"""

import collections
import os
import tempfile
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # TouchDesigner defines them in every DAT
    from td import absTime, app, op, project, run

pending = op("pending").module
launcher = op("launcher").module
frames = op("frames").module
tables = op("tables").module

REPORTS_AT_ONCE = 40  # in a frame; each takes about 10 us
REPORTS_IN_SHOW = 16
FRAMES_BEHIND = 32  # the longest delay of a report while more come than a frame reads
TICK_FRAMES = 6  # 100 ms at 60 frames a second
ASK_BEFORE_START_S = 0.5  # how long a worker that runs already may take to answer
LAST_BEAT_S = 1.5  # a worker that was ending and is silent for this time has ended
QUIT_AGAIN_S = 1.5  # a worker that reports after this time that it works on has not got our request
QUIT_TRIES = 4
START_S = 20.0
ASK_AGAIN_S = 1.0

FRAMES_FOLDER = "td-image-worker-frames"  # below Root

LOCAL_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0", "::1")
AT_WORK = ("Starting", "Ready", "Processing")
ENDING = ("Draining", "Stopping")

REPLACED = 410  # a newer job has the place of one that waited

# What the artist's own callbacks are called for.
CALLBACKS = {
    "source": "onSource",
    "tracked": "onTracked",
    "processing": "onProcessing",
    "progress": "onProgress",
    "ready": "onReady",
    "failed": "onFailed",
}


class Control:
    """Starts and stops the worker. A worker that runs already is never started twice, and one that somebody else started is left alone.

    Args:
        ownerComp: the component.
        asked: the component's `pending`.
        shown: the component's tables.
    """

    def __init__(self, ownerComp, asked, shown):
        self.ownerComp = ownerComp
        self.launcher = None
        self._pending = asked
        self._tables = shown
        self._start_asked_at = None
        self._launched_at = None
        self._stop_presses = 0
        self._stop_asked_at = None
        self._quits_left = 0  # -1: it was not our request
        self._has_stopped = False

    def is_local(self):
        return self.ownerComp.par.Host.eval() in LOCAL_HOSTS

    def waits(self):
        """Whether `go_on` must be called again soon."""
        return any(moment is not None for moment in (self._start_asked_at, self._launched_at, self._stop_asked_at))

    def word(self):
        """What the page Status says instead of the worker's own word; empty if that is right."""
        if self._start_asked_at is not None or self._launched_at is not None:
            return "Starting"
        return "Stopped" if self._has_stopped else ""

    def start(self, now):
        if not self.is_local():
            self._tables.complain("Start: Host is another computer. Start the worker there.")
            return
        self._stop_presses = 0
        self._stop_asked_at = None
        self._has_stopped = False
        self._start_asked_at = now
        self._pending.greet(now)

    def stop(self, now):
        self._stop_presses += 1
        self._start_asked_at = self._launched_at = None
        self._stop_asked_at, self._quits_left = now, QUIT_TRIES - 1
        self._pending.outbox.quit()
        if self.launcher is not None and self._stop_presses == 2:
            self.launcher.terminate()
        elif self.launcher is not None and self._stop_presses > 2:
            self.launcher.kill()
        self.ownerComp.unstore("started_by")

    def exit(self):
        """TouchDesigner ends: so does a worker that it started."""
        if self.ownerComp.fetch("started_by", 0, search=False) == os.getpid():
            self.ownerComp.unstore("started_by")  # a second `quit` would mean: at once
            self._pending.outbox.quit()
            if self.launcher is not None:
                self.launcher.terminate()

    def go_on(self, now):
        """Every 100 ms while something is pending."""
        if self._launched_at is not None and self.launcher is not None:
            self._watch_launch(self.launcher, now)
        if self._start_asked_at is not None:
            self._go_on_starting(now)
        if self._stop_asked_at is not None:
            self._go_on_stopping(self._stop_asked_at, now)

    def status_came(self, now):
        """The worker has reported its word."""
        self._has_stopped = False
        if self._pending.word == "Stopping" and self._stop_asked_at is None:  # somebody else has stopped it
            self._stop_asked_at, self._quits_left = now, -1
        elif self._pending.word in AT_WORK and self._quits_left < 0:  # and somebody has started another one
            self._stop_asked_at = None

    def crash(self):
        """How the process ended that this has started, as a sentence; empty if it runs, or if it ended as it was asked to."""
        return _last_words(self.launcher) if self.launcher is not None and self.launcher.ended() else ""

    def _go_on_starting(self, now):
        """A worker that runs already would answer; only silence starts one."""
        answered = self._heard_since(self._start_asked_at)
        is_ending = self._pending.word in ENDING
        silent_s = self._pending.outbox.age(now) if answered else now - self._start_asked_at
        if answered and not is_ending:
            self._start_asked_at = None
            self._tables.log("A worker runs already.")
            self._tables.all_is_well()
        elif silent_s >= (LAST_BEAT_S if answered else ASK_BEFORE_START_S):
            self._launch_when_the_old_one_has_ended(now)

    def _launch_when_the_old_one_has_ended(self, now):
        if self.launcher is None or not self.launcher.is_running():
            self._start_asked_at = None
            self._launch(now)
        elif now - self._start_asked_at > START_S:
            self._start_asked_at = None
            self._tables.complain("The worker that runs does not answer, and has not ended. Press Stop three times to end it, then Start.")

    def _heard_since(self, moment):
        heard_at = self._pending.outbox.heard_at
        return heard_at is not None and heard_at >= moment

    def _launch(self, now):
        par = self.ownerComp.par
        folder = project.folder
        if self.launcher is None or self.launcher.port != par.Port.eval():
            self.launcher = launcher.Launcher(tempfile.gettempdir(), par.Port.eval())
        try:
            arguments = launcher.command(
                program=launcher.find_program(par.Interpreter.eval(), app, folder),
                host=par.Host.eval(),
                port=par.Port.eval(),
                text_port=par.Textport.eval(),
                number_port=par.Numberport.eval(),
                root=(par.Root.eval() or folder).replace("\\", "/"),
                parent_pid=os.getpid(),
                log_file=self.launcher.log_file,
                page_port=par.Pageport.eval(),
                show=bool(par.Showmode.eval()),
                options=launcher.options_of(par.Options.eval()),
            )
            started = self.launcher.start(arguments, folder)
        except (OSError, ValueError) as error:
            self._tables.complain(f"The worker could not be started. {error}")
            return
        self._launched_at = now
        if started:
            self.ownerComp.store("started_by", os.getpid())  # a plain number: the extension may be made anew meanwhile
            self._tables.log(f"The worker is starting; its log is {self.launcher.log_file}")
        else:
            self._tables.log("Another component is starting the worker.")
        self._pending.greet(now)

    def _watch_launch(self, started, now):
        if self._heard_since(self._launched_at):
            self._launched_at = None
            self._tables.all_is_well()
        elif started.ended() is not None:
            self._launched_at = None
            self._tables.complain(_last_words(started))
            started.forget()
        elif now - self._launched_at > START_S:
            self._launched_at = None
            self._tables.complain(f"The worker does not answer; see {started.log_file} and {started.output_file}")

    def _go_on_stopping(self, asked_at, now):
        """The last report of a worker that ends is `Stopping`; after that only its silence shows that it has ended."""
        started = self.launcher
        silent_s = now - max(asked_at, self._pending.outbox.heard_at or asked_at)
        if silent_s >= LAST_BEAT_S and (started is None or not started.is_running()):
            self._stop_asked_at = None
            self._has_stopped = True
            if started is not None:
                started.forget()
            self._tables.log("The worker has stopped.")
        elif self._works_on(asked_at) and self._quits_left > 0:  # not while it is ending: a second request would hurry it
            self._quits_left -= 1
            self._stop_asked_at = now
            self._pending.outbox.quit()
        elif self._works_on(asked_at):
            self._stop_asked_at = None
            self._tables.complain("The worker does not stop. Does it need a Token (page Worker)? Otherwise press Stop again.")

    def _works_on(self, asked_at):
        """Whether the worker has reported, some time after the request to stop, that it goes on working."""
        word_at = self._pending.word_at
        return word_at is not None and word_at > asked_at + QUIT_AGAIN_S and self._pending.word in AT_WORK


def _last_words(started):
    return f"The worker ended with code {started.ended()}: {tables.in_touchdesigner(started.last_words())} (all in {started.output_file})"


class ImageWorkerExt:
    """See the module's docstring. `Capitalised` methods may be called on the component itself, `lower` ones are for its own DATs."""

    def __init__(self, ownerComp):
        self.ownerComp = ownerComp
        self._pending = pending.Pending(ownerComp.path)
        self._ticket = None  # of the one tick that is to come
        self._tickets = 0
        self._tables = tables.Tables(ownerComp)
        self._control = Control(ownerComp, self._pending, self._tables)
        self._sources = frames.Sources(self._frames_folder, f"{ownerComp.par.Textport.eval()}")
        self._screen = frames.Screen()
        self._frame_path = ""  # of the newest picture that a job has written as a frame
        self._on_ready = {}
        self._reports: collections.deque = collections.deque()  # address and arguments of those that have come and were not read yet
        self._calls = []  # of the artist's functions: (function or name, job or nothing)
        self._feeds = {}  # of live jobs that look at a TOP
        self._made_feeds = 0
        self._asked_at = {}  # when `flush` and `catch_up` were asked for
        run("args[0].ext.ImageWorkerExt.resume()", ownerComp, delayFrames=1, fromOP=ownerComp)  # when the extension stands

    # ------------------------------------------------------------------------------------------- for the artist

    def Submit(self, operation, top=None, **params):
        """Sends a job to the worker and returns its id at once. Nothing is waited for.

        Args:
            operation: its name.
            top: a TOP, whose pixels are the job's `image` as they are now. They go through memory, a frame later.
            **params: the other parameters of the operation. Lists of numbers, dictionaries, tables and arrays of NumPy become text.

        Raises:
            ValueError: a parameter cannot be sent.
        """
        timeout_s = self.ownerComp.par.Jobtimeout.eval()
        if timeout_s and "timeout_ms" not in params:
            params["timeout_ms"] = int(timeout_s * 1000)
        if top is not None:
            self._check_top(top, params)
        job_id = self._pending.submit(operation, params, self._moment(), later=top is not None)
        job = self._pending.jobs[job_id]
        self._tables.show_job(job, self._word(job))
        if top is not None:
            self._send_with_pixels(self._sources.ask(top, job_id, absTime.frame))
        self._go_on()
        return job_id

    def Live(self, operation, top=None, **params):
        """Begins a job that looks at a live picture until it is cancelled, and returns its id.

        Args:
            operation: its name.
            top: a TOP, whose pixels are its `source`: it looks at them all the time. They go through memory.
            **params: the other parameters of the operation, such as `source`, and those of the one that searches.

        Raises:
            ValueError: a parameter cannot be sent, or the TOP's pixels cannot be handed over.
        """
        feed = None
        if top is not None:
            self._check_top(top, params)
            self._made_feeds += 1
            name = f"live-{self._pending.session}-{self._made_feeds}.frame"
            feed = frames.Feed(top, f"{self._frames_folder()}/{name}")
            params["source"] = f"{frames.PREFIX}{FRAMES_FOLDER}/{name}"
        try:
            job_id = self.Submit(operation, **params)
        except ValueError:
            if feed is not None:
                feed.close()
            raise
        if feed is not None:
            self._feeds[job_id] = feed
            self._ask("feed", self._now(), delayFrames=1)
        return job_id

    def Tracks(self, job_id):
        """What a live job sees now: one dictionary per object, such as {'id': 7.0, 'u': 0.25, 'v': 0.5, 'radius': 31.0, ...}."""
        job = self._pending.jobs.get(job_id)
        return [] if job is None else [dict(zip(job.track_fields, row)) for row in job.tracks]

    def Cancel(self, job_id):
        """Ends a job; its word becomes `Cancelled`, unless it had ended before."""
        self._pending.cancel(job_id, self._moment())
        self._go_on()

    def CancelAll(self):
        """Ends all jobs of this component."""
        for job in list(self._pending.jobs.values()):
            self._pending.cancel(job.id, self._moment())
        self._go_on()

    def OnReady(self, job_id, callback):
        """Calls `callback(job)` when the job is ready; at once if it is ready already. A job that fails calls `onFailed` only.

        Raises:
            ValueError: the callback is no function.
        """
        if not callable(callback):
            raise ValueError(f"The callback must be a function of one argument, the job; this is {callback!r:.100}.")
        job = self._pending.jobs.get(job_id)
        if job is not None and job.word == "Ready":
            self._call(callback, job)
        else:
            self._on_ready[job_id] = callback

    def Status(self, job_id=None):
        """The word of a job: Sending, Accepted, Processing, Ready, Failed, Cancelled, Refused, Lost. Without an id: the worker's word."""
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
        """Gives the worker a named job, which `Trigger` or a CHOP channel `worker/trigger/<name>` starts.

        Raises:
            ValueError: the name has a `/` or is none, or a parameter cannot be sent.
        """
        self._pending.preset(name, operation, params, self._moment())
        self._go_on()

    def Unset(self, name, key=""):
        """Deletes a preset, or one key of it. One of the worker's settings file is there again at its next start.

        Raises:
            ValueError: the name has a `/`, or is none.
        """
        self._pending.unset(name, key, self._moment())
        self._go_on()

    def Trigger(self, name):
        """Starts the job of a preset, once.

        Raises:
            ValueError: the name has a `/`, or is none.
        """
        self._pending.trigger(name, self._moment())
        self._go_on()

    def Replay(self):
        """Asks how all jobs ended that the worker remembers. Those that are not in the table are added."""
        self._pending.outbox.replay(self._moment())
        self._go_on()

    def Start(self):
        """Starts the worker on this computer, unless one answers on the port."""
        self._control.start(self._moment())
        self._go_on()

    def Stop(self):
        """Asks the worker to finish its jobs and to end. Pressed again: to end now. Pressed a third time: its process is ended."""
        self._control.stop(self._moment())
        self._go_on()

    # ------------------------------------------------------------------------------------ for the component's DATs

    def received(self, address, args):
        """An OSC message has arrived. Many may, in one frame, so it is only kept."""
        self._reports.append((address, args))
        self._ask("flush", self._now(), endFrame=True)

    def tick(self, ticket):
        """Runs every 100 ms while something is pending. A ticket of an earlier instance of this class does not count."""
        if ticket != self._ticket:
            return
        self._ticket = None
        now = self._now()
        self._control.go_on(now)
        self._pending.silence.lost_after_s = self.ownerComp.par.Losttimeout.eval()
        self._pending.look(now)
        self._tables.set(Workerage=int(self._pending.outbox.age(now)))
        self._ask("flush", now, endFrame=True)

    def flush(self):
        """At the end of a frame in which something happened: shows it, calls the artist's functions, and sees to what comes next."""
        self._asked_at.pop("flush", None)
        self._tables.show = bool(self.ownerComp.par.Showmode.eval())
        self._read_reports(self._now())
        news = self._pending.take_news()
        for word, what in news:
            self._happened(word, what)
        if any(word == "operation" for word, _ in news):
            self._tables.show_operations(self._pending.operations)
        self._tables.set(Status=self._status_word(), Queued=self._pending.queued, Running=self._pending.running)
        self._tables.write()
        self._send_packets()  # acknowledgements first: the artist's functions may take long
        calls, self._calls = self._calls, []
        for function, arguments in calls:
            (self._call_named if isinstance(function, str) else self._call)(function, *arguments)
        self._send_packets()
        self._catch_up_later()
        if self._ticket is None and (self._pending.busy() or self._control.waits()):
            self._tickets += 1
            self._ticket = f"{self._pending.session}-{self._tickets}"
            run("args[0].ext.ImageWorkerExt.tick(args[1])", self.ownerComp, self._ticket, delayFrames=TICK_FRAMES, fromOP=self.ownerComp)

    def opened(self):
        """The project was opened, or the component was made, copied or loaded. What went wrong before that is over."""
        self._tables.all_is_well()
        self._go_on()
        if self.ownerComp.par.Autostart.eval():
            self.Start()

    def resume(self):
        """A new instance of this class says hello, and asks about the jobs that the table calls unfinished."""
        jobs = self.ownerComp.op("jobs")
        for row in range(1, jobs.numRows):
            if jobs[row, "word"].val not in pending.ENDED:
                self._pending.watch(jobs[row, "id"].val, jobs[row, "operation"].val, self._moment())
        self._pending.greet(self._moment())
        self.look_at_frame()
        self._go_on()

    def catch_up(self):
        """The next frame, if there were too many reports or rows for one."""
        self._asked_at.pop("catch_up", None)
        self._tables.write()
        if self._reports:
            self._ask("flush", self._now(), endFrame=True)
        self._catch_up_later()

    def look_for_pixels(self):
        """A frame after a job was submitted with a TOP. The artist's script of this frame goes first: it may submit the next one."""
        self._asked_at.pop("look_for_pixels", None)
        self._ask("collect", self._now(), endFrame=True)

    def collect(self):
        """At the end of that frame: the pixels are there, unless a later `Submit` has sent them already."""
        self._asked_at.pop("collect", None)
        self._send_with_pixels(self._sources.collect(absTime.frame))
        self._go_on()

    def feed(self):
        """Every frame while a live job looks at a TOP."""
        self._asked_at.pop("feed", None)
        for job_id, feed in list(self._feeds.items()):
            job = self._pending.jobs.get(job_id)
            try:
                if job is None or job.ended:
                    del self._feeds[job_id]
                    feed.close()
                else:
                    feed.step()
            except Exception:  # the TOP is gone, or the disk is full: the job says that no picture comes
                self._feeds.pop(job_id, None)
                self._tables.complain(traceback.format_exc(limit=-1))
                self.Cancel(job_id)
        if self._feeds:
            self._ask("feed", self._now(), delayFrames=1)

    def look_at_frame(self):
        """Every frame while Frame File names a file, and whenever a job has written a frame: a newer picture is shown."""
        self._asked_at.pop("look_at_frame", None)
        wanted = self.ownerComp.par.Framefile.eval().replace("\\", "/")
        path = frames.path_of(wanted) if wanted else self._frame_path
        path = path and os.path.join(self._root(), path)
        before = self._screen.problem
        if path and self._screen.look(path):
            self.ownerComp.op("frame").cook(force=True)
        elif self._screen.problem and self._screen.problem != before:
            self._tables.complain(self._screen.problem)
            self._ask("flush", self._now(), endFrame=True)
        if wanted:
            self._ask("look_at_frame", self._now(), delayFrames=1)

    def cooked(self, scriptOp):
        """The Script TOP cooks. It never waits: what it shows was read before."""
        if self._screen.pixels is not None:
            scriptOp.copyNumpyArray(self._screen.pixels)

    def exit(self):
        """TouchDesigner ends. This may be called twice, and delayed scripts do not run any more."""
        self._sources.close()
        for feed in self._feeds.values():
            feed.close()
        self._screen.close()
        self._control.exit()
        self._pending.outbox.bye()
        self._send_packets()

    def pulsed(self, name):
        """A pulse parameter was pressed."""
        actions = {
            "Start": self.Start,
            "Stop": self.Stop,
            "Cancelall": self.CancelAll,
            "Replay": self.Replay,
            "Clearmessage": self._tables.all_is_well,
        }
        if name in actions:
            actions[name]()

    def changed(self, name):
        """A parameter has a new value."""
        if name in ("Host", "Port", "Textport", "Numberport", "Token"):
            self._pending.greet(self._moment())
            self._go_on()
        elif name == "Framefile":
            self.look_at_frame()

    # ------------------------------------------------------------------------------------------------------ inside

    @staticmethod
    def _now():
        return time.monotonic()

    def _moment(self):
        """The time. It also reads the ports: TouchDesigner reports a changed parameter a frame later, and the worker knows us by them."""
        par = self.ownerComp.par
        self._pending.outbox.reports_to(par.Textport.eval(), par.Numberport.eval(), par.Token.eval())
        return self._now()

    def _go_on(self):
        """Sends what is to be sent, now. Everything else can wait for the end of the frame."""
        self._send_packets()
        self._ask("flush", self._now(), endFrame=True)

    def _read_reports(self, now):
        """The oldest ones first, so their order stays. After a stall of TouchDesigner there are thousands, and they take several frames."""
        count = len(self._reports)
        at_once = REPORTS_IN_SHOW if self._tables.show else REPORTS_AT_ONCE
        for _ in range(min(count, max(at_once, count // FRAMES_BEHIND))):
            self._pending.received(*self._reports.popleft(), now)

    def _frames_folder(self):
        return f"{self._root()}/{FRAMES_FOLDER}"

    def _root(self):
        return (self.ownerComp.par.Root.eval() or project.folder).replace("\\", "/")

    def _check_top(self, top, params):
        """Raises ValueError if the pixels of this TOP cannot be handed over."""
        if not hasattr(top, "numpyArray"):
            raise ValueError(f"top must be a TOP, such as top=op('null1'); this is {top}.")
        if "image" in params:
            raise ValueError("top and image are both given; the pixels of top are the image.")
        if not self._control.is_local():
            raise ValueError("top: Host is another computer, and pixels go through this one's memory. Save the TOP as a file for it.")

    def _send_with_pixels(self, ready):
        for job_id, reference in ready:
            self._pending.complete(job_id, {"image": reference}, self._moment())
        failed, self._sources.failed = self._sources.failed, []
        for jobs, why in failed:
            for job_id in jobs:
                self._pending.fail(job_id, "file", why)
        for sentence in self._sources.complaints():
            self._tables.log(sentence)
        if self._sources.waits():
            self._ask("look_for_pixels", self._now(), delayFrames=1)

    def _catch_up_later(self):
        if self._reports or self._tables.unwritten():
            self._ask("catch_up", self._now(), delayFrames=1)

    def _ask(self, name, now, **when):
        """Has one of our methods called, once. If that does not happen within a second, it is asked for again."""
        asked_at = self._asked_at.get(name)
        if asked_at is None or now - asked_at >= ASK_AGAIN_S:
            self._asked_at[name] = now
            run(f"args[0].ext.ImageWorkerExt.{name}()", self.ownerComp, fromOP=self.ownerComp, **when)

    def _send_packets(self):
        packets = self._pending.take_packets()
        if not packets:
            return
        oscout = self.ownerComp.op("oscout")
        for packet in packets:
            flat = [part for message in packet for part in message]
            try:
                oscout.sendOSC(*flat, asBundle=len(packet) > 1, useNonStandardTypes=False, use64BitPrecision=False)
            except Exception as error:  # the others go all the same
                self._pending.cannot_send(packet, error)

    def _happened(self, word, what):
        if word in ("accepted", "old") or word in CALLBACKS:
            self._job_news(word, what)
        elif word == "file":
            self._tables.show_file(*what)
            self._note_frame(what[1][0])
        elif word == "skipped":
            job, (_, _, message) = what
            self._tables.complain(f"{job.id}: skipped: {message}")
        elif word == "error":
            self._tables.complain(tables.in_touchdesigner(what))
        elif word == "catalog":
            self._tables.log(what)
        elif word in ("lost", "back"):
            self._worker_news(word)
        elif word == "status":
            self._tables.set(Workerage=0)
            self._control.status_came(self._now())

    def _note_frame(self, path):
        """A job has written this. It is shown in the next frame, because the flush that reports it is the last thing in a frame."""
        if path.startswith(frames.PREFIX):
            self._frame_path = frames.path_of(path)
            self._ask("look_at_frame", self._now(), delayFrames=1)

    def _job_news(self, word, job):
        if word == "tracked":
            self._tables.show_tracks(job)
            for key, value in job.pairs or ():
                if key != "source":  # what else names a frame is written for each picture
                    self._note_frame(str(value))
        else:
            (self._tables.show_progress if word == "progress" else self._tables.show_job)(job, self._word(job))
        if word == "source" and job.source == "Lost":
            self._tables.complain(f"{job.id}: {job.message}")
        elif word == "source" and job.source == "Live":
            self._tables.all_is_well()
            self._tables.log(f"{job.id}: {job.message}")
        if job.ended:
            self._tables.end_tracks(job)
        if word in ("ready", "failed", "old"):
            self._sources.ended(job.id)
        if word == "ready":
            self._tables.set(Progress=1.0)
            self._tables.show_rows(job)
            self._tables.all_is_well()
            if job.left_out:
                self._tables.log(f"{job.id} {job.operation}: {job.message}")
        elif word == "failed":
            self._has_failed(job)
        if word in CALLBACKS:
            self._calls.append((CALLBACKS[word], (self.ownerComp, job)))
        callback = self._on_ready.pop(job.id, None) if word in ("ready", "failed", "old") else None
        if callback is not None and word == "ready":
            self._calls.append((callback, (job,)))

    def _has_failed(self, job):
        job.hint = tables.hint(job.error, job.message, job.hint, self._control.is_local())
        text = f"{job.id} {job.operation}: {job.code} {job.message} {job.hint}".strip()
        if job.code == REPLACED and any(key == "replace" for key, _ in job.pairs or ()):
            return  # as was wished, perhaps many times a second; the table jobs says it
        if job.word == "Cancelled":  # as somebody has wished
            self._tables.log(text)
        else:
            self._tables.complain(text)

    def _worker_news(self, word):
        for job in self._pending.jobs.values():
            if not job.ended:
                self._tables.show_job(job, self._word(job))
        if word == "back":
            self._tables.log("The worker is back.")
            self._tables.all_is_well()
        elif self._control.crash():
            self._tables.complain(self._control.crash())
        elif self._status_word() == "Lost":
            text = self._deaf() or "The worker is not heard. Is it running (Start), and are Host and Command Port right?"
            was_wanted = self._pending.outbox.heard_at is not None or any(not job.ended for job in self._pending.jobs.values())
            (self._tables.complain if was_wanted else self._tables.log)(text)
        self._calls.append(("onWorkerLost" if word == "lost" else "onWorkerBack", (self.ownerComp,)))

    def _deaf(self):
        """Why no report can arrive here, as a sentence; empty if they can."""
        oscin = self.ownerComp.op("oscin")
        said = (oscin.warnings() or oscin.errors()).strip()
        if not said:
            return ""
        port = self.ownerComp.par.Textport.eval()
        return f"No report can arrive. Perhaps something else has Text Port {port}: set another one (page Worker). oscin says: {said}"

    def _call_named(self, name, *args):
        """Calls a function of the artist's DAT `callbacks`, if it has it."""
        try:
            function = getattr(self.ownerComp.op("callbacks").module, name, None)
        except Exception:
            self._tables.complain(traceback.format_exc(limit=-1))
            return
        if function is not None:
            self._call(function, *args)

    def _call(self, function, *args):
        """An error in the artist's code is shown and does not stop the delivery of the other jobs."""
        try:
            function(*args)
        except Exception:
            self._tables.complain(traceback.format_exc(limit=-1))

    def _status_word(self):
        return self._control.word() or ("Lost" if self._pending.lost else self._pending.word or "Unknown")

    def _word(self, job):
        return "Lost" if self._pending.lost and not job.ended else job.word
