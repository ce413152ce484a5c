"""A stream of Debian's ffmpeg, as `python -m tests.reliability.stream` has it for ten minutes: here it is cut once."""

from __future__ import annotations

import time

import pytest

from tests.reliability import stream, streams
from worker.files.limits import DEFAULT_LIMITS
from worker.tracking import streams as reading
from worker.tracking.sources import SourceVanished

pytestmark = pytest.mark.skipif(bool(streams.Stream.missing()), reason=f"not on this system: {streams.Stream.missing()}")
WITHIN_S = 60


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return streams.film(tmp_path_factory.mktemp("film") / "film.mp4")


def opened(url):
    """The stream, as soon as it is there."""
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            return reading.stream(url, DEFAULT_LIMITS, silent_s=2)
        except SourceVanished:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def to_its_end(source):
    """Takes pictures until there is none any more."""
    while True:
        source.newest(1)


@pytest.mark.parametrize("with_times", [False, True])
def test_reader(film, tmp_path, monkeypatch, with_times):
    """With PyAV and without it: pictures come, and a stream that is cut is one that has vanished."""
    if not with_times:
        monkeypatch.setattr(reading, "version_of_pyav", lambda: None)
    with streams.Stream(film, tmp_path / "log") as served:
        served.on()
        source = opened(served.url)
        try:
            pictures = []
            while len(pictures) < 3:
                pictures += [one for one in [source.newest(1)] if one is not None]
            assert [one.image.shape[:2] for one in pictures] == [(streams.HEIGHT, streams.WIDTH)] * 3
            assert [one.seconds for one in pictures] == sorted({one.seconds for one in pictures})
            served.off()
            with pytest.raises(SourceVanished):
                to_its_end(source)
        finally:
            source.close()


def test_ids(film, tmp_path):
    """Through a real worker: circles keep their ids, no id means two circles, and a cut brings nothing back that was gone."""
    (tmp_path / "root").mkdir()
    with streams.Stream(film, tmp_path / "log") as served:
        first, second = stream.follow(served, tmp_path / "root", cuts=1, on_s=1, off_s=0.5)
    assert first.pictures > 10
    assert second.pictures > 10
    assert second.ids >= first.ids >= len(streams.RADII)
    assert (first.processes, first.child_handles) == (second.processes, second.child_handles)


def test_wrong_ids_are_seen():
    """What the rules are for: an id that moves to another circle, one that comes back, and a circle that gets another without a cut."""

    def row(number, lane, missing=0):
        values = dict.fromkeys(stream.FIELDS, 0.0) | {"id": number, "active": 1, "y": (lane + 0.5) * streams.LANE, "missing": missing}
        return tuple(values.values())

    ids = stream.Ids()
    ids.heard([row(1, 0), row(2, 1)])
    for wrong in ([row(2, 0), row(1, 1)], [row(1, 0), row(3, 1)]):
        with pytest.raises(stream.WrongIds):
            ids.heard(wrong)
    ids = stream.Ids()
    ids.heard([row(1, 0)])
    ids.heard([row(1, 0, missing=1)])
    ids.connected()
    ids.heard([row(1, 0, missing=2), row(2, 0)])
    ids.heard([row(2, 0)])
    with pytest.raises(stream.WrongIds, match="were gone"):
        ids.heard([row(1, 0), row(2, 0)])
