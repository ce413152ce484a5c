"""What TouchDesigner's frame costs. Run as `python -m tests.benchmarks.td_frame`; on the stand-in for TouchDesigner, with real workers.

The first table is the processor time of our own scripts in a frame: the component's callbacks, with the tables and sockets that they use.
It must stay below 2 ms of the 16.7 ms of a frame at 60 Hz. `submit` is the artist's own script, once.

The second one is a race. TouchDesigner is a loop at 60 Hz with 8 ms of Python in each frame. Meanwhile three jobs are done again and again:
the seed's 500 pictures, the seed's text of 100,002 lines, and a blur over 12 photographs of 2 megapixel.
    nothing       no jobs: the loop alone
    neighbour     a plain process at low priority does them: what any program that does so much costs on this computer
    thread        one thread does them, as in the seed
    pool          a queue and four threads, as TouchDesigner's Thread Manager does it; each picture is a task
    subprocess    a Python of its own is started for each job
    worker        the component ImageWorker, and a worker that it has started
    show          the same in Show Mode
A frame is late if it ends after the next one was due, and then that one is dropped. The milliseconds are from when a frame was due to its
end. All contestants are processes of their own that run the component's frame, so that the stand-in costs each the same. They live as long
as the race and take short turns in changing order, so that what else happens on the machine hits all alike. Who has no turn does nothing.
The three whose end nobody doubts take a turn in every third round only. What chance does, two halves of nothing's turns show.

The third table says of what frames are made: all of them, and the slowest hundredth.
    scripts       processor time of our scripts in TouchDesigner
    stand-in      processor time of the rest of TouchDesigner's frame here, which in the real one is not Python
    artist        processor time of what begins the jobs
    python        processor time of the 8 ms. More than 8 is the hardware's: caches, memory and clock are shared among the cores, and a
                  virtual machine's processor time goes on while the host runs another one
    waited        for a core, by Linux's own account (the run delay in /proc/thread-self/schedstat)
    other         the rest: Python's lock, and the clock that woke the frame late
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import itertools
import json
import multiprocessing
import os
import pathlib
import platform
import queue
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

from tests.benchmarks import photos
from tests.td.conftest import TD, Project, Worker
from tests.td.fake import operators
from worker.config import Config
from worker.executors import priority

LIMIT_MS = 2.0
MORE_MS = 0.2  # so much may the worker add to the 99th percentile of the loop alone
FRAME_S = 1 / 60
PYTHON_S = 0.008
RARE, RARELY = ("thread", "pool", "subprocess"), 3  # these take a turn in every third round only: nobody doubts how they end
WHO = ("nothing", "neighbour", "thread", "pool", "subprocess", "worker", "show")
PARTS = ("scripts", "stand-in", "artist", "python", "waited", "other")
LEAD_IN = 30  # frames before each turn
PHOTOS, WIDTH, HEIGHT = 12, 1632, 1224
COUNT, SIZE, RADIUS, LINES = 500, 512, 63, 100_000


class _Patch:
    """What Project wants of pytest's monkeypatch."""

    @staticmethod
    def setitem(mapping, key, value):
        mapping[key] = value


def made(worker=None, **options):
    """A project with the component. What its builder prints is not of interest here."""
    with contextlib.redirect_stdout(io.StringIO()):
        return Project(2025, worker, monkeypatch=_Patch, **options)


# ------------------------------------------------------------------------------------------------------ our scripts' own time


def measure(name, worker, begin, count):
    """Runs `begin`, then frames until `count` more jobs have ended; how long the slowest ones took, as a line of the table."""
    project = made(worker)
    project.td.root.op("/project1").create("tableDAT", "table1")
    project.td.frames(120)  # hello and welcome
    gc.collect()
    del project.td.spent[:]
    started = time.thread_time()
    begin(project)
    submit = time.thread_time() - started
    pace(project, lambda: len(project.words()) >= count and set(project.words().values()) == {"Ready"})
    spent = sorted(seconds * 1000 for seconds in project.td.spent)
    middle, nearly_all, slowest = spent[len(spent) // 2], spent[int(len(spent) * 0.99)], spent[-1]
    print(f"{name:<42} {submit * 1000:6.2f} {middle:7.3f} {nearly_all:7.3f} {slowest:7.3f} {len(spent):7}")
    project.td.crash()
    return max(slowest, submit * 1000)


def pace(project, condition):
    """Frames at 60 Hz."""
    while not condition():
        started = time.monotonic()
        project.td.frame()
        time.sleep(max(0, FRAME_S - (time.monotonic() - started)))


def submit_many(project, count):
    for _ in range(count):
        project.component.Submit("noop")


def scripts():
    """Prints the first table; the slowest frame in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        root, state = pathlib.Path(folder, "root"), pathlib.Path(folder, "state")
        root.mkdir()
        state.mkdir()
        worker = Worker(root, state).start()
        print(f"{'milliseconds':<42} {'submit':>6} {'median':>7} {'99 %':>7} {'slowest':>7} {'frames':>7}")
        worst = 0.0
        for name in ("text_pyThreads", "text_pyThreads_openCV", "text_pyThreads_queue"):
            worst = max(worst, measure(name, worker, lambda project, name=name: project.run_script(TD / "examples" / f"{name}.py"), 1))
        worst = max(worst, measure("20 small jobs in one frame, 80 reports", worker, lambda project: submit_many(project, 20), 20))
        worker.stop()
    return worst


# ------------------------------------------------------------------------------------------------------------------ the jobs


def centers():
    dice = random.Random(7)
    return list(itertools.pairwise([int(dice.random() * SIZE) for _ in range(COUNT + 1)]))


def draw(folder, n, center):
    import cv2
    import numpy as np

    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    cv2.circle(image, center, RADIUS, (0, 0, 255), -1)
    cv2.imwrite(f"{folder}/attempt{n}.png", image)


def write(folder):
    text = "Start Working Function"
    for n in range(LINES):
        text += f"\nFor loop {n} entry"
    pathlib.Path(folder, "attempt.txt").write_text(text + "\nEnding working Function", encoding="utf-8")


def blur(folder, n):
    import cv2

    cv2.imwrite(
        f"{folder}/blurred{n}.jpg", cv2.GaussianBlur(cv2.imread(f"{folder}/shots/p{n}.jpg"), (0, 0), 3), [cv2.IMWRITE_JPEG_QUALITY, 90]
    )


def jobs(folder):
    """The three jobs, each as its parts."""
    return (
        [lambda n=n, center=center: draw(folder, n, center) for n, center in enumerate(centers())],
        [lambda: write(folder)],
        [lambda n=n: blur(folder, n) for n in range(PHOTOS)],
    )


class Nothing:
    """The loop alone."""

    def __init__(self, project, folder):
        self.project, self.folder = project, folder
        self.rounds = 0

    def warm(self):
        """What is done before the race."""

    def frame(self):
        """In each frame of its turn: begins the three jobs again if they are done."""

    def rest(self):
        """Its turn is over: no job runs after it. A contestant may use as many frames for it as it wants."""

    def close(self):
        """The race is over."""


class Neighbour(Nothing):
    """Another program, at the priority that the worker's child processes have, in a session of its own as a program from a desktop."""

    def warm(self):
        command = [sys.executable, "-m", "tests.benchmarks.td_frame", "--neighbour", self.folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True)
        self.process.stdout.readline()
        self.is_busy = False

    def _say(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def frame(self):
        if not self.is_busy:
            self.is_busy = True
            self._say()

    def rest(self):
        if self.is_busy:
            self._say()
            self.rounds += int(self.process.stdout.readline())
            self.is_busy = False

    def close(self):
        self.process.kill()
        self.process.wait()


def be_neighbour(folder):
    """From one line to the next: does the three jobs again and again, then says how many times."""
    import cv2

    cv2.setNumThreads(1)
    priority.lower(Config().nice)
    if sys.platform == "linux":  # as the worker does it for its session
        with contextlib.suppress(OSError):
            pathlib.Path("/proc/self/autogroup").write_text(str(Config().nice), encoding="ascii")
    parts = [part for parts in jobs(folder) for part in parts]
    lines = queue.SimpleQueue()
    threading.Thread(target=lambda: [lines.put(line) for line in sys.stdin], daemon=True).start()
    print("warm", flush=True)
    while lines.get():
        rounds = 0
        while lines.empty():
            rounds += 1
            for part in parts:
                if lines.empty():
                    part()
        lines.get()
        print(rounds, flush=True)


class _Threads(Nothing):
    def warm(self):
        import cv2  # noqa: F401 - as TouchDesigner has it already

        self.tasks, self.left, self.lock, self.is_over = queue.SimpleQueue(), 0, threading.Lock(), False
        for _ in range(self.count):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            task = self.tasks.get()
            for part in task:
                if not self.is_over:
                    part()
            with self.lock:
                self.left -= 1

    def frame(self):
        if not self.left:
            self.rounds += 1
            tasks = [part for parts in jobs(self.folder) for part in self.cut(parts)]
            self.left = len(tasks)
            for task in tasks:
                self.tasks.put(task)

    def rest(self):
        self.is_over = True
        while self.left:
            time.sleep(0.01)
        self.is_over = False


class Thread(_Threads):
    count = 1

    @staticmethod
    def cut(parts):
        return [parts]


class Pool(_Threads):
    count = 4

    @staticmethod
    def cut(parts):
        return [[part] for part in parts]


class Subprocess(Nothing):
    """`Popen` for each job; all three run at once."""

    running: tuple = ()

    def frame(self):
        if all(process.poll() is not None for process in self.running):
            self.rounds += 1
            command = [sys.executable, "-m", "tests.benchmarks.td_frame", "--job"]
            self.running = tuple(subprocess.Popen([*command, str(number), self.folder]) for number in range(3))

    def rest(self):
        for process in self.running:
            process.kill()
            process.wait()
        self.running = ()


class Ours(Nothing):
    """What td/README.md says that an artist does."""

    ids: tuple = ()
    show = False

    def warm(self):
        component, par = self.project.component, self.project.component.par
        par.Showmode = self.show
        par.Interpreter, par.Root, par.Options = sys.executable, self.folder, f"--state {self.folder}/state"
        component.Start()
        self.project.td.until(lambda: component.Status() == "Ready", 60)
        warm = [component.Submit("draw_circles", output="warm{n}.png", count=64) for _ in range(2)]
        self.project.td.until(lambda: all(component.Status(job) == "Ready" for job in warm), 60)

    def frame(self):
        component = self.project.component
        if self._are_done():
            self.rounds += 1
            places = [number for center in centers() for number in center]
            look = {"radius": RADIUS, "color": "#ff0000", "thickness": -1, "width": SIZE, "height": SIZE, "centers": places}
            text = {"header": "Start Working Function", "line": "For loop {n} entry", "footer": "Ending working Function", "count": LINES}
            self.ids = (
                component.Submit("draw_circles", output="attempt{n}.png", count=COUNT, **look),
                component.Submit("write_text", output="attempt.txt", **text),
                component.Submit("filter", image="shots", output="blurred{n}.jpg", steps="blur 3"),
            )

    def rest(self):
        self.project.td.until(self._are_done, 60)

    def _are_done(self):
        return all(self.project.component.Status(job) == "Ready" for job in self.ids)

    def close(self):
        self.project.component.Stop()
        self.project.td.until(lambda: self.project.component.Status() == "Stopped", 60)


class Show(Ours):
    """During a show."""

    show = True


CONTESTANTS = {
    "nothing": Nothing,
    "neighbour": Neighbour,
    "thread": Thread,
    "pool": Pool,
    "subprocess": Subprocess,
    "worker": Ours,
    "show": Show,
}

# ------------------------------------------------------------------------------------------------------------------ the race


def spin(loops):
    """Python that does nothing for TouchDesigner's scripts."""
    total = 0
    for number in range(loops):
        total += number * number
    return total


def loops_of_a_frame():
    """How many loops take 8 ms when nothing else runs: by the fastest of many tries."""
    fastest = min(_timed(20_000) for _ in range(40))
    return int(20_000 * PYTHON_S / fastest)


def _timed(loops):
    started = time.perf_counter()
    spin(loops)
    return time.perf_counter() - started


class Waits:
    """How long this thread has waited for a core, in seconds; always 0 if the system does not count it."""

    def __init__(self):
        self._file = None
        with contextlib.suppress(OSError):
            self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def seconds(self):
        return int(os.pread(self._file, 100, 0).split()[1]) / 1e9 if self._file is not None else 0.0


class _AtRest:
    """A UDP port whose packets wait in the system until the frame takes them: no Python runs when they come, as in TouchDesigner."""

    def __init__(self, port):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        self._socket.setblocking(False)
        try:
            self._socket.bind(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise

    def take(self):
        with contextlib.suppress(BlockingIOError):
            while True:
                yield self._socket.recvfrom(65535)

    def close(self):
        self._socket.close()


def race(who, folder, loops, pipe):
    """One contestant, in a process of its own. For each turn the pipe brings the number of frames, and carries back what they took."""
    operators.Receiver = _AtRest
    project = made(folder=folder)
    contestant = CONTESTANTS[who](project, folder)
    project.td.frames(30)
    contestant.warm()
    contestant.rest()
    pipe.send("warm")
    waits = Waits()
    while frames := pipe.recv():
        lead_in = project.td.absTime.frame + LEAD_IN
        pace(project, lambda end=lead_in: project.td.absTime.frame >= end)  # what came while it had no turn, such as heartbeats
        gc.collect()
        contestant.rounds = 0
        sent = turn(project, contestant, frames, loops, waits)
        contestant.rest()
        pipe.send({**sent, "rounds": contestant.rounds})
    contestant.close()
    project.td.crash()
    sys.stdout.flush()
    os._exit(0)  # threads that still draw would be torn down in the middle of native code


def turn(project, contestant, frames, loops, waits):
    """The milliseconds of each frame and of its parts, how many were late, and how many dropped."""
    measured, late, dropped = [], 0, 0
    due = time.monotonic() + FRAME_S
    for _ in range(frames):
        before = waits.seconds()
        time.sleep(max(0, due - time.monotonic()))
        began = time.thread_time()
        project.td.frame()
        framed = time.thread_time()
        contestant.frame()
        asked = time.thread_time()
        spin(loops)
        ended = time.thread_time()
        took = time.monotonic() - due
        scripts = project.td.spent[-1]
        parts = [scripts, framed - began - scripts, asked - framed, ended - asked, waits.seconds() - before]
        measured.append([part * 1000 for part in (took, *parts, took - sum(parts))])
        late += took > FRAME_S
        missed = int(took / FRAME_S)
        dropped += missed
        due += FRAME_S * (1 + missed)
    return {"frames": measured, "late": late, "dropped": dropped}


class Racer:
    """The process of one contestant, seen from here.

    Args:
        name: the contestant's.
        folder: its files.
        loops: how many of them take 8 ms.

    Raises:
        EOFError: from all of it; the process has ended.
    """

    def __init__(self, name, folder, loops):
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=race, args=(name, str(folder), loops, far))
        self._process.start()
        far.close()
        self._pipe.recv()

    def turn(self, frames):
        self._pipe.send(frames)
        return self._pipe.recv()

    def close(self):
        with contextlib.suppress(OSError):
            self._pipe.send(0)
        self._process.join()
        return self._process.exitcode


def contest(who, seconds, rounds):
    """What each contestant sent, turn by turn."""
    loops = loops_of_a_frame()
    all_of = {name: [] for name in who}
    order, racers = random.Random(7), {}
    with tempfile.TemporaryDirectory() as folder:
        photos.folder_of(pathlib.Path(folder, "shots"), PHOTOS, WIDTH, HEIGHT)
        with contextlib.ExitStack() as stack:
            for name in who:
                shutil.copytree(pathlib.Path(folder, "shots"), pathlib.Path(folder, name, "shots"))
                racers[name] = Racer(name, pathlib.Path(folder, name), loops)
                stack.callback(racers[name].close)
            for number in range(rounds):
                for name in order.sample(who, len(who)):
                    if name in RARE and number % RARELY:
                        continue
                    all_of[name].append(racers[name].turn(int(seconds / FRAME_S)))
    return all_of


def figures(turns):
    """Of all turns together."""
    sent = {key: sum((turn[key] for turn in turns), type(value)()) for key, value in turns[0].items()}
    ordered = sorted(sent["frames"])
    took = [frame[0] for frame in ordered]
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    percentiles = {name: took[int(len(took) * share)] for name, share in shares.items()}
    return {
        **percentiles,
        "worst": took[-1],
        "late": sent["late"],
        "dropped": sent["dropped"],
        "frames": len(took),
        "rounds": sent["rounds"],
        "parts": {"all": _means(ordered), "slowest": _means(ordered[int(len(ordered) * 0.99) :])},
    }


def _means(frames):
    return dict(zip(PARTS, [sum(column) / len(frames) for column in list(zip(*frames, strict=True))[1:]], strict=True))


def show(measured):
    print(f"{'':<12} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'worst ms':>9} {'late':>6} {'dropped':>8} {'frames':>7} {'job rounds':>11}")
    for name, one in measured.items():
        times = " ".join(f"{one[key]:8.2f}" for key in ("p50", "p95", "p99"))
        print(f"{name:<12} {times} {one['worst']:9.2f} {one['late']:6} {one['dropped']:8} {one['frames']:7} {one['rounds']:11}")
    print(f"\n{'mean ms':<24} " + " ".join(f"{part:>9}" for part in PARTS))
    for name, one in measured.items():
        for which, means in one["parts"].items():
            print(f"{name:<12} {which:<11} " + " ".join(f"{means[part]:9.2f}" for part in PARTS))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument(
        "--rounds", type=int, default=11, help="turns of each; with the default it takes less than four minutes on a machine at rest"
    )
    parser.add_argument("--who", nargs="+", choices=WHO, default=list(WHO))
    parser.add_argument("--json", type=pathlib.Path, help="write the figures of the race there, too")
    parser.add_argument("--race", action="store_true", help="without the first table")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--neighbour", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.neighbour:
        be_neighbour(options.neighbour)
        return 0
    if options.job:
        number, folder = options.job
        for part in jobs(folder)[int(number)]:
            part()
        return 0
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    worst = 0.0
    if not options.race:
        worst = scripts()
        print(f"the limit is {LIMIT_MS} ms; the slowest frame took {worst:.2f} ms\n")
    sent = contest(options.who, options.seconds, options.rounds)
    measured = {name: figures(turns) for name, turns in sent.items()}
    show(measured)
    if len(sent.get("nothing", ())) > 1:
        one, other = figures(sent["nothing"][::2]), figures(sent["nothing"][1::2])
        late, more = abs(one["late"] - other["late"]), abs(one["p99"] - other["p99"])
        print(f"\nchance: two halves of nothing's turns differ by {late} late frames and {more:.2f} ms at the 99th percentile")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1))
    is_missed = worst > LIMIT_MS
    for name in [name for name in ("neighbour", "worker", "show") if name in measured]:
        for other in [other for other in ("nothing", "neighbour") if other in measured and other != name]:
            late, more = (measured[name][key] - measured[other][key] for key in ("late", "p99"))
            is_aim = name != "neighbour" and other == "nothing"
            aims = f" (aim 0), {more:.2f} ms (aim {MORE_MS})" if is_aim else f", {more:.2f} ms"
            print(f"{name} beyond {other}: late frames {late}{aims} at the 99th percentile")
            is_missed = is_missed or (is_aim and (late > 0 or more > MORE_MS))
    return int(is_missed)


if __name__ == "__main__":
    sys.exit(main())
