"""Nothing outside the roots is read or written, whatever a path says and whoever changes it meanwhile."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import threading
import time

import cv2
import numpy as np
import pytest

from tests.security import hostile
from tests.security.desk import HAS_WATCH, Watch, run_job, tree
from worker.core.jobs import Failure, Result
from worker.errors import WorkerError
from worker.files.paths import FileRules
from worker.pictures.images import read_image

pytestmark = pytest.mark.skipif(not HAS_WATCH, reason="needs Linux's inotify, links that anybody may make, pipes and sockets")

INSIDE, OUTSIDE = (0, 255, 0), (0, 0, 255)


def paint(path, color):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.full((8, 8, 3), color, np.uint8))[1].tobytes())
    os.utime(path, (1_000_000_000, 1_000_000_000))


class Place:
    """A root full of traps, and a world outside it that is watched."""

    def __init__(self, top):
        self.top, self.root, self.outside = top, top / "show", top / "outside"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "inner").mkdir()
        paint(self.root / "inside.png", INSIDE)
        paint(self.outside / "canary.png", OUTSIDE)
        (self.outside / "canary.txt").write_text("canary")
        (self.outside / "sub").mkdir()
        paint(top / "secret.png", OUTSIDE)
        self._link()
        self.rules = FileRules((self.root,), maps=(("C:/show", str(self.root)), ("//share/show", str(self.root))))
        self.before, self.watch = self.state(), Watch(self.outside)
        self.watch.touched()

    def _link(self):
        links = {
            "out": self.outside,
            "chain": "out",
            "up": "..",
            "top": "/",
            "self": "/proc/self",
            "null.png": "/dev/null",
            "zero.png": "/dev/zero",
            "leak.png": self.outside / "canary.png",
            "leak.txt": "../outside/canary.txt",
            "dangling.txt": self.outside / "new.txt",
            "dangling.png": "../outside/new.png",
            "sub/relative": "../../outside",
            "loop.png": "loop.png",
            "loop": "loop",
            "ring": "sub/ring",
            "sub/ring": "../ring",
            "twice": "sub/relative",
            "in": "inner",
        }
        for name, target in links.items():
            (self.root / name).symlink_to(target)
        self.sockets = []
        for ending in ("png", "txt"):
            os.mkfifo(self.root / f"pipe.{ending}")
            here = socket.socket(socket.AF_UNIX)
            with pytest.MonkeyPatch.context() as patch:  # the name of a socket must be short
                patch.chdir(self.root)
                here.bind(f"socket.{ending}")
            self.sockets.append(here)

    def state(self):
        return tree(self.outside), sorted(path.name for path in self.top.iterdir()), (self.top / "secret.png").read_bytes()

    def check(self):
        """Nobody touched anything outside."""
        assert self.watch.touched() == []
        assert self.state() == self.before
        self.watch.touched()  # our own looking

    def close(self):
        self.watch.close()
        for here in self.sockets:
            here.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("hostile").resolve())
    yield place
    place.close()


def readings(text):
    yield "convert", {"image": text, "output": "made.png"}
    yield "convert", {"image": f"frame:{text}", "output": "made.png"}


def writings(text):
    """Every way in which a job names a file to write."""
    yield "write_text", {"output": text, "text": "x"}
    yield "write_text", {"output": text, "text": "x", "append": 1}
    yield "draw_circles", {"output": text, "count": 1, "width": 4, "height": 4}
    yield "find_circles", {"image": "inside.png", "data": text}
    yield "convert", {"image": "inside.png", "output": text}
    yield "convert", {"image": "inside.png", "output": f"frame:{text}"}


def test_there_are_enough():
    """The corpus holds at least 300 different hostile paths."""
    corpus = {*hostile.REFUSED_TO_BOTH, *hostile.PATTERNS, *hostile.NO_PATHS}
    assert len(corpus) >= 300


@pytest.mark.parametrize("text", dict.fromkeys(hostile.REFUSED_TO_BOTH))
def test_refused(place, text):
    """Refused with 403 or 404, or 400 for an address; and the sentence tells nothing of this machine that the sender did not say."""
    inside = tree_names(place.root)
    for operation, values in (*readings(text), *writings(text)):
        outcome = run_job(place.rules, operation, **values)
        assert isinstance(outcome, Failure), (operation, values)
        # Below the root, and an ending that the operation does not write: that is said first, and nothing was opened by then.
        allowed = (403, 404, 415) if text.startswith(("pipe", "socket", "loop", "ring")) else (400,) if "://" in text else (403, 404)
        assert outcome.code in allowed, (operation, values, outcome)
        if str(place.top) not in text:
            assert str(place.top) not in outcome.message + outcome.hint
    assert tree_names(place.root) == inside
    place.check()


def tree_names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("text", hostile.PATTERNS)
def test_refused_patterns(place, text):
    """A pattern reaches no further than a path."""
    outcome = run_job(place.rules, "convert", image=text, output="made/{n}.png")
    assert isinstance(outcome, Failure)
    assert outcome.code in ((400, 403, 404) if ".." in text else (403, 404))
    assert not (place.root / "made").exists()
    place.check()


@pytest.mark.parametrize("text", hostile.ODD)
def test_odd_names(place, text):
    """A strange name is a name: there is no such file, and what is written under it stays inside."""
    for operation, values in readings(text):
        assert run_job(place.rules, operation, **values).code == 404
    for operation, values in list(writings(text))[:2]:
        outcome = run_job(place.rules, operation, **values)
        if isinstance(outcome, Result):
            written = place.rules.to_read(outcome.files[0].path)
            assert written.resolve().is_relative_to(place.root)
            written.unlink()  # another spelling of the same name would find it
    place.check()


@pytest.mark.parametrize("text", hostile.NO_PATHS, ids=range(len(hostile.NO_PATHS)))
def test_no_paths(place, text):
    """What is no path at all is a mistake in the arguments."""
    for operation, values in (*readings(text), *list(writings(text))[:3]):
        if text or "image" not in values:
            outcome = attempt(place.rules, operation, values)
            assert outcome.code in (400, 403, 404), (operation, values)
            (outcome.message + outcome.hint).encode()
    place.check()


def attempt(rules, operation, values):
    try:
        return run_job(rules, operation, **values)
    except WorkerError as error:  # the catalogue refuses it already
        return Failure.of(error)


def test_hard_links(place):
    """A file with a second name elsewhere is replaced under this name only, and nothing is added to it."""
    os.link(place.outside / "canary.txt", place.root / "hard.txt")
    place.watch.touched()
    assert run_job(place.rules, "write_text", output="hard.txt", text="x", append=1).code == 403
    assert (place.outside / "canary.txt").read_text() == "canary"
    assert isinstance(run_job(place.rules, "write_text", output="hard.txt", text="x"), Result)
    assert (place.outside / "canary.txt").read_text() == "canary"
    place.watch.touched()


def exchange(first, second):
    """Two names change places in one step."""
    at_cwd, swap = -100, 2
    assert ctypes.CDLL(None, use_errno=True).renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), swap) == 0


@pytest.mark.parametrize("depth", [0, 1])
def test_races(place, depth):
    """While somebody swaps a folder for a link that leads out, as fast as he can, no job gets there."""
    above = place.root / "race" / str(depth)
    real, link = above / "swap", above / "other"
    paint(real.joinpath(*["d"] * depth, "a.png"), INSIDE)
    (place.outside / "d").mkdir(exist_ok=True)
    canary = place.outside.joinpath(*["d"] * depth, "a.png")
    paint(canary, OUTSIDE)
    link.symlink_to(place.outside)
    before = tree(place.outside)
    done = threading.Event()

    def swap():
        while not done.is_set():
            exchange(real, link)

    swapper = threading.Thread(target=swap)
    folder = "/".join((f"race/{depth}/swap", *["d"] * depth))
    outcomes = []
    watch = Watch(place.outside)
    swapper.start()
    try:
        until = time.monotonic() + 3
        for n in itertools.count():
            if time.monotonic() > until:
                break
            outcomes.append(run_job(place.rules, "convert", image=f"{folder}/a.png", output="race/copy.png"))
            if isinstance(outcomes[-1], Result):
                assert read_image(place.root / "race/copy.png")[0, 0].tolist() == list(INSIDE)
            outcomes.append(run_job(place.rules, "write_text", output=f"{folder}/new/{n % 50}.txt", text="x"))
            outcomes.append(run_job(place.rules, "write_text", output=f"{folder}/log.txt", text="x", append=1))
    finally:
        done.set()
        swapper.join()
    touched = [name for name in watch.touched() if "folder" not in name and not name.startswith(" ")]
    watch.close()
    assert touched == []
    assert tree(place.outside) == before
    codes = {outcome.code for outcome in outcomes if isinstance(outcome, Failure)}
    assert codes <= {403, 404}
    assert {type(outcome) for outcome in outcomes} == {Result, Failure}, "the race must go both ways"
    place.watch.touched()
    place.before = place.state()
