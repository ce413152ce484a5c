"""A live job with its source: the newest picture and never a queue, and what happens when a source vanishes, returns or ends."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from worker.errors import ArgumentError, MissingFile
from worker.files.limits import DEFAULT_LIMITS
from worker.pictures.images import write_image
from worker.tracking.loop import Loop
from worker.tracking.session import Looked
from worker.tracking.sources import Grabber, Picture, Recording, SourceEnded, SourceVanished, camera, image_series

IMAGE = np.zeros((4, 6), np.uint8)


class Clock:
    """A time that goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6)


class Looks:
    """A session that takes so long for each picture, and notes which it has seen."""

    def __init__(self, clock: Clock, took_s: float = 0.0, rate: float = 100.0) -> None:
        self.params = SimpleNamespace(rate=rate)
        self.seen: list[float] = []
        self.pauses = 0
        self._clock, self._took_s = clock, took_s

    def look(self, _image: object, at_s: float) -> Looked:
        self.seen.append(at_s)
        self._clock.now += self._took_s
        return Looked(((float(len(self.seen)),),), 1, 1, (6, 4))

    def pause(self) -> None:
        self.pauses += 1


class Reports:
    """The reports."""

    def __init__(self, clock: Clock, busy: tuple[float, float] = (0.0, 0.0)) -> None:
        self.said: list[str] = []
        self.frames: list[int] = []
        self._clock, self._busy = clock, busy

    def may_send(self, wait_s: float = 0.0) -> bool:
        if self._busy[0] <= self._clock.now < self._busy[1]:
            self._clock.now += wait_s
            return False
        return True

    def looked(self, picture: Picture, _looked: Looked, _pace: object) -> None:
        self.frames.append(picture.number)

    def say(self, word: str, message: str) -> None:
        self.said.append(f"{word} {message}")


def recording(clock: Clock, count: int, *, speed: float = 1.0, loop: bool = False) -> Recording:
    """Ten pictures a second."""

    def begin():
        return ((n, n / 10, lambda: IMAGE) for n in range(count))

    return Recording(begin, period_s=0.1, speed=speed, loop=loop, about="ten a second", clock=clock, sleep=clock.sleep)


def run(open_source, clock, session, reports, *, lasting=False):
    return Loop(open_source, session, reports, "the source", lasting, clock=clock, sleep=clock.sleep).run()


class Draws:
    """An overlay that takes so long, and cannot be written between two pictures."""

    def __init__(self, clock: Clock, took_s: float = 0.0, broken: range = range(0)) -> None:
        self.problem, self.count, self.finished = "", 0, 0
        self._clock, self._took_s, self._broken = clock, took_s, broken

    def show(self, _looked: Looked, picture) -> None:
        assert picture() is IMAGE
        self.problem = "The overlay is not written: no." if self.count in self._broken else ""
        self.count += 1
        self._clock.now += self._took_s

    def finish(self) -> None:
        self.finished += 1


# ------------------------------------------------------------------------------------------------------- the newest picture


def test_each_picture_if_there_is_time():
    """Work that is fast enough sees all of them, in their own time, and gives what was seen last."""
    clock = Clock()
    session, reports = Looks(clock, 0.02), Reports(clock)
    assert run(lambda: recording(clock, 20), clock, session, reports) == ((20.0,),)
    assert reports.frames == list(range(20))
    assert clock.now - 100 == pytest.approx(1.92, abs=0.1)
    assert [line.split()[0] for line in reports.said] == ["Opening", "Live", "Ended"]


def test_the_newest_wins():
    """Work that is three times too slow sees every third or fourth, always one that is due now, and is done when the source is."""
    clock = Clock()
    session, reports = Looks(clock, 0.33), Reports(clock)
    run(lambda: recording(clock, 100), clock, session, reports)
    gaps = [after - before for before, after in itertools.pairwise(reports.frames)]
    assert set(gaps) <= {3, 4}
    assert clock.now - 100 == pytest.approx(10, abs=0.5)


def test_no_more_than_rate():
    """Pictures in between are left out."""
    clock = Clock()
    session, reports = Looks(clock, rate=2), Reports(clock)
    run(lambda: recording(clock, 100), clock, session, reports)
    assert 19 <= len(reports.frames) <= 21


def test_a_slow_parent():
    """While it takes nothing, nothing is searched; then the newest is, and none of those before."""
    clock = Clock()
    session, reports = Looks(clock), Reports(clock, busy=(102.0, 107.0))
    run(lambda: recording(clock, 100), clock, session, reports)
    before, after = max(frame for frame in reports.frames if frame < 25), min(frame for frame in reports.frames if frame > 25)
    assert (before, after) == (pytest.approx(20, abs=1), pytest.approx(70, abs=1))
    assert len(session.seen) == len(reports.frames) <= 53


def test_an_overlay():
    """It is shown each picture, and finished at the end. What it takes is work. What is wrong with it is said once, and that it passed."""
    clock = Clock()
    session, reports, draws = Looks(clock, 0.08), Reports(clock), Draws(clock, 0.1, range(3, 6))
    session.picture = lambda image: image
    loop = Loop(lambda: recording(clock, 40), session, reports, "the source", False, draws, clock, clock.sleep)
    loop.run()
    assert (draws.count, draws.finished) == (len(reports.frames), 1)
    assert reports.said[1:4] == ["Live ten a second", "Live the source: The overlay is not written: no.", "Live ten a second"]
    assert loop._pace.ratio > 1.4


def test_as_fast_as_can_be():
    """With speed 0 each picture is seen, and no time is waited for but that of the rate."""
    clock = Clock()
    session, reports = Looks(clock, rate=100), Reports(clock)
    run(lambda: recording(clock, 50, speed=0), clock, session, reports)
    assert reports.frames == list(range(50))
    assert clock.now - 100 == pytest.approx(0.5, abs=0.05)


def test_again_from_the_beginning():
    """With loop the numbers and times go on."""
    clock = Clock()
    source = recording(clock, 3, loop=True)
    pictures = []
    while len(pictures) < 8:
        picture = source.newest(1.0)
        pictures += [picture] if picture else []
    assert [one.number for one in pictures] == list(range(8))
    assert [one.seconds for one in pictures] == pytest.approx([n / 10 for n in range(8)])


def test_nothing_again_and_again():
    """An empty source ends, loop or not."""
    clock = Clock()
    with pytest.raises(SourceEnded):
        recording(clock, 0, loop=True).newest(0.1)


def test_images(tmp_path):
    """A series has the speed of `fps`, and its files in order."""
    for n in range(3):
        write_image(tmp_path / f"{n}.png", np.full((4, 6), 10 * n, np.uint8))
    source = image_series(tuple(sorted(tmp_path.iterdir())), DEFAULT_LIMITS, fps=50, speed=0, loop=False)
    pictures = [source.newest(0.1) for _ in range(3)]
    assert [int(one.image[0, 0]) for one in pictures if one] == [0, 10, 20]
    assert [one.seconds for one in pictures if one] == pytest.approx([0, 0.02, 0.04])


def test_a_broken_image_is_left_out(tmp_path):
    """One of a series that cannot be read does not end the job, and is not tried for ever."""
    for n in range(3):
        write_image(tmp_path / f"{n}.png", np.full((4, 6), 10 * n, np.uint8))
    (tmp_path / "1.png").write_bytes(b"no picture")
    clock, reports = Clock(), Reports(Clock())
    paths = tuple(sorted(tmp_path.iterdir()))
    run(lambda: image_series(paths, DEFAULT_LIMITS, fps=50, speed=0, loop=False), clock, Looks(clock), reports)
    assert reports.frames == [0, 2]


# ------------------------------------------------------------------------------------------------------ sources that vanish


class Vanishing:
    """A source that gives so many pictures, and then is gone."""

    about, silent_s = "a cable", 0.0

    def __init__(self, clock: Clock, pictures: int) -> None:
        self._clock, self._left = clock, pictures
        self.closed = False

    def newest(self, _wait_s: float) -> Picture:
        if not self._left:
            raise SourceVanished("The cable was pulled.")
        self._left -= 1
        self._clock.now += 0.1
        return Picture(IMAGE, 0, self._clock.now, self._clock.now)

    def close(self) -> None:
        self.closed = True


def test_opened_again():
    """Ten times gone and back: each time it is closed, opened again after a while, and a word says so."""
    clock, opened = Clock(), []

    def open_source():
        if len(opened) == 10:
            raise SourceEnded
        opened.append(Vanishing(clock, 200))
        return opened[-1]

    session, reports = Looks(clock), Reports(clock)
    run(open_source, clock, session, reports, lasting=True)
    assert len(session.seen) == 2000
    assert session.pauses == 10
    assert all(one.closed for one in opened)
    lost = [line for line in reports.said if line.startswith("Lost")]
    assert lost == ["Lost the source: The cable was pulled. It is opened again in 0.5 s."] * 10
    assert [line.split()[0] for line in reports.said[:4]] == ["Opening", "Live", "Lost", "Opening"]


def test_never_there():
    """A camera that is not connected yet is waited for, ever longer; a file that is not there ends the job."""
    clock, tries = Clock(), itertools.count()

    def open_source():
        if next(tries) == 12:
            raise SourceEnded
        raise MissingFile("There is no file cam.frame.")

    reports = Reports(clock)
    run(open_source, clock, Looks(clock), reports, lasting=True)
    assert clock.now - 100 == pytest.approx(0.5 + 1 + 2 + 4 + 8 + 16 + 6 * 30, abs=1)
    with pytest.raises(MissingFile):
        run(open_source, clock, Looks(clock), Reports(clock), lasting=False)


def test_what_will_not_pass():
    """A mistake of the job ends it, whatever the source."""
    clock = Clock()

    def open_source():
        raise ArgumentError("The region lies outside.")

    with pytest.raises(ArgumentError):
        run(open_source, clock, Looks(clock), Reports(clock), lasting=True)


def test_quiet():
    """A frame file that nobody writes is waited for: a word says so once, and another when it goes on."""
    clock = Clock()

    class Quiet(Vanishing):
        silent_s = 2.0
        pictures = iter([True, *[False] * 30, True])

        def newest(self, wait_s: float) -> Picture | None:
            found = next(self.pictures, None)
            if found is None:
                raise SourceEnded
            self._clock.now += wait_s
            return Picture(IMAGE, 0, self._clock.now, self._clock.now) if found else None

    reports = Reports(clock)
    run(lambda: Quiet(clock, 0), clock, Looks(clock), reports)
    assert [line.split()[0] for line in reports.said] == ["Opening", "Live", "Lost", "Live", "Ended"]


# ------------------------------------------------------------------------------------------------------- threads that read


def grabber(pictures, *, silent_s=5.0, closed=None):
    return Grabber(pictures, silent_s=silent_s, about="", close=(closed or []).clear)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_only_the_newest_is_kept():
    """A camera that is faster than the work: what comes meanwhile is left out, and is never even decoded."""
    numbers, decoded, gate = iter(range(1000)), [], threading.Semaphore(0)

    def grab():
        gate.acquire()
        number = next(numbers)
        return (lambda: decoded.append(number) or IMAGE), float(number)

    source = grabber(grab)
    gate.release(50)
    until(lambda: source._count == 50)
    picture = source.newest(1.0)
    assert picture is not None
    assert (picture.number, picture.seconds, decoded) == (49, 49.0, [49])
    assert source.newest(0.01) is None
    gate.release(1000)
    source.close()


def test_a_thread_that_ends():
    """The last picture comes first, then the reason."""
    pictures = iter([((lambda: IMAGE), 0.0)])

    def grab():
        found = next(pictures, None)
        if found is None:
            raise SourceVanished("The camera was pulled out.")
        return found

    source = grabber(grab)
    until(lambda: source._problem)
    assert source.newest(1.0) is not None
    with pytest.raises(SourceVanished, match="pulled out"):
        source.newest(1.0)
    source.close()


def test_silence():
    """Without a picture for so long it has vanished; its thread need not say so."""
    gate = threading.Event()

    def grab():
        gate.wait(30)

    source = grabber(grab, silent_s=0.05)
    until(lambda: time.monotonic() - source._came_at > 0.05)
    with pytest.raises(SourceVanished, match=r"No picture came for 0\.05 s\."):
        source.newest(0.01)
    gate.set()
    source.close()


class Capture:
    """A camera of OpenCV that gives three pictures."""

    def __init__(self, *asked: int) -> None:
        self.asked, self.left, self.released, self.buffers = asked, 3, False, 0.0

    def isOpened(self) -> bool:  # noqa: N802 - as OpenCV calls it
        return self.asked[0] == 2

    def set(self, what: int, value: float) -> None:
        self.buffers = value if what == cv2.CAP_PROP_BUFFERSIZE else self.buffers

    def get(self, what: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 6.0, cv2.CAP_PROP_FRAME_HEIGHT: 4.0}[what]

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, IMAGE + self.left) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera(monkeypatch):
    """The newest picture of a camera, without a queue in its driver; one that ends has vanished, and one that is not there says so."""
    made = []
    monkeypatch.setattr(cv2, "VideoCapture", lambda *asked: made.append(Capture(*asked)) or made[-1])
    source = camera(2, DEFAULT_LIMITS, silent_s=5)
    assert (made[0].buffers, source.about) == (1, "camera 2, 6x4")
    seen = []
    with pytest.raises(SourceVanished, match=r"It gives no more pictures\."):
        seen.extend(iter(lambda: int(source.newest(5.0).image[0, 0]), None))
    assert seen[-1] == 0
    assert seen == sorted(seen, reverse=True)
    source.close()
    assert made[0].released
    with pytest.raises(SourceVanished, match=r"Camera 3 cannot be opened\."):
        camera(3, DEFAULT_LIMITS, silent_s=5)
    assert made[1].released
