"""A part of a video is read from near its beginning on, and each frame keeps its number and its time."""

from pathlib import Path

import cv2
import pytest

from tests.videos import TIMES, number_of, numbered
from worker.pictures import video

DATA = Path(__file__).parents[2] / "data"
pytestmark = pytest.mark.skipif(
    not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG), reason="this build of OpenCV has no FFmpeg, which reads and writes videos"
)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """250 frames at 25 a second, with key frames among them."""
    path = tmp_path_factory.mktemp("videos") / "long.mp4"
    with video.film(path, "mp4v", 25, (96, 64)) as (add, _):
        for number in range(250):
            add(numbered(number))
    return path


def read(path, start, *, counted):
    with video.opened(path) as found:
        return [(number, seconds, number_of(decoded())) for number, seconds, decoded in found.frames(start, counted=counted)]


@pytest.mark.parametrize(("start", "counted"), [(200, True), (130, True), (8.0, False), (249, True)])
def test_it_is_entered_in_its_middle(long, start, counted):
    """Frames before the start are left out, none behind it is, and the numbers are those that the frames show."""
    found = read(long, start, counted=counted)
    first = found[0][0]
    wanted = start if counted else start * 25
    assert 0 < first <= wanted
    assert [(number, shown) for number, _, shown in found] == [(number, number) for number in range(first, 250)]
    assert [seconds for _, seconds, _ in found] == pytest.approx([number / 25 for number in range(first, 250)], abs=0.0011)


@pytest.mark.parametrize("start", [1e6, 251, 1, 0])
def test_from_the_beginning(long, start):
    """If the start is near, or behind the end, all frames are there."""
    assert [number for number, _, _ in read(long, start, counted=True)] == list(range(250))


@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.webm"])
def test_at_a_variable_rate(name):
    """Times are those of the file, wherever it is entered."""
    found = read(DATA / name, 2.5, counted=False)
    first = found[0][0]
    assert TIMES[first] <= 2.5
    assert [(number, shown) for number, _, shown in found] == [(number, number) for number in range(first, len(TIMES))]
    assert [seconds for _, seconds, _ in found] == pytest.approx(list(TIMES[first:]), abs=0.0011)
