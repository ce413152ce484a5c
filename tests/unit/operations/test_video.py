"""Which frames are taken, and how images are laid into a film."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.fields import fields_of
from worker.catalog.video import MakeVideo, ReadVideo
from worker.errors import ArgumentError, Unavailable
from worker.operations import video
from worker.pictures.clips import Clip


def read(**values):
    return ReadVideo(video="a.mp4", output="{n}.png", **values)


def made(**values):
    return MakeVideo(image="shots", output=values.pop("output", "a.mp4"), **values)


@given(st.integers(0, 50), st.integers(0, 60), st.sampled_from(["seconds", "frames"]))
def test_the_range(start, end, unit):
    """`start` is in it, `end` is not; nothing after the end is looked at."""
    params = read(start=float(start), end=float(end), unit=unit)
    if end and end <= start:
        with pytest.raises(ArgumentError, match="end must be larger than start"):
            video.check_range(params)
        return
    video.check_range(params)
    for frame in range(60):
        seconds = frame / 2
        place = seconds if unit == "seconds" else frame
        assert video.takes(frame, seconds, params) == (place >= start and (not end or place < end))
        assert video.is_past(frame, seconds, params) == bool(end and place >= end)


@given(st.integers(0, 200), st.integers(1, 60), st.integers(0, 100), st.integers(0, 300), st.integers(1, 40))
def test_the_number_of_frames(count, fps, start, length, every):
    """At a constant rate the estimate is the number that is taken."""
    params = read(start=start, end=start + length if length else 0, unit="frames", every=every)
    taken = [frame for frame in range(count) if video.takes(frame, frame / fps, params)][::every]
    assert video.expected(Clip(64, 48, count, fps), params) == len(taken)


def test_a_number_that_is_not_known():
    """A header that does not say how many frames there are promises none."""
    assert video.expected(Clip(64, 48, 0, 25.0), read(start=3)) == 0


@given(
    any_picture(),
    st.integers(0, 64),
    st.integers(0, 64),
    st.sampled_from(["pad", "crop", "stretch"]),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
)
def test_any_image_becomes_a_frame(image, width, height, fit, first):
    """Of any depth, number of channels and size: a frame of 8 bits BGR of the size of the film, which is even."""
    params = made(width=width, height=height, fit=fit)
    size = video.film_size(first, params)
    assert size[0] % 2 == size[1] % 2 == 0
    frame = video.as_frame(image, size, params)
    assert (frame.shape, frame.dtype) == ((size[1], size[0], 3), np.uint8)


def test_an_odd_image():
    """Its last row and column stand twice; nothing is scaled."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    size = video.film_size((7, 5), made())
    frame = video.as_frame(image, size, made())
    assert size == (8, 6)
    np.testing.assert_array_equal(frame[:5, :7], image)
    np.testing.assert_array_equal(frame[5, :7], image[4])
    np.testing.assert_array_equal(frame[:5, 7], image[:, 6])


def test_other_proportions():
    """Pad has bars of the background's colour, crop cuts the middle out, stretch keeps neither."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 255
    pad = video.as_frame(image, (40, 40), made(fit="pad", background="#102030"))
    assert (pad[:10] == (0x30, 0x20, 0x10)).all()
    assert (pad[30:] == (0x30, 0x20, 0x10)).all()
    np.testing.assert_array_equal(pad[10:30], image)
    crop = video.as_frame(image, (20, 20), made(fit="crop"))
    assert (crop[:, :9] == 0).all()
    assert (crop[:, 11:] == 255).all()
    stretch = video.as_frame(image, (20, 20), made(fit="stretch"))
    assert (stretch[:, :9] == 0).all()
    assert (stretch[:, 11:] == 255).all()


def test_alpha_lies_on_the_background():
    image = np.zeros((4, 4, 4), np.uint8)
    image[:2] = (0, 0, 255, 255)
    frame = video.as_frame(image, (4, 4), made(background="#00ff00"))
    assert (frame[:2] == (0, 0, 255)).all()
    assert (frame[2:] == (0, 255, 0)).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"output": "a.gif"}, r"output must end in .mp4, .mov, .avi, .mkv, .webm; got 'a.gif'"),
        ({"output": "film"}, "got 'film'"),
        ({"output": "a.mp4", "codec": "mjpg"}, r".mp4 files hold mp4v, vp9, h264 or hevc; got codec=mjpg"),
        ({"output": "a.WEBM", "codec": "ffv1"}, r".webm files hold vp8 or vp9; got codec=ffv1"),
    ],
)
def test_kinds_that_do_not_fit(values, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        video.check_film(made(**values))


def test_the_codec_of_an_ending():
    """The first that it holds; each of the table is one of the parameter."""
    assert {ending: video.codec(made(output=f"a{ending}")) for ending in video.CODECS} == {
        ending: codecs[0] for ending, codecs in video.CODECS.items()
    }
    choices = next(field.choices for field in fields_of(MakeVideo) if field.name == "codec")
    assert {codec for codecs in video.CODECS.values() for codec in codecs} | {"auto"} == set(choices)


def test_the_width():
    """The height follows, and the picture is what a plain resize gives."""
    frame = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    assert video.scaled(frame, read(width=32)).shape == (24, 32, 3)
    assert video.scaled(frame, read(width=100)).shape == (75, 100, 3)
    np.testing.assert_array_equal(video.scaled(frame, read()), frame)


@pytest.mark.parametrize("values", [{"codec": "h264"}, {"codec": "prores", "output": "a.mov"}, {"quality": 50}])
def test_without_the_extra(values, monkeypatch):
    """A codec or a quality that OpenCV does not have is refused in one sentence that says what to install."""
    monkeypatch.setattr(video.encoding, "is_installed", lambda: False)
    with pytest.raises(Unavailable, match=r"install .*\"td-image-worker\[video\]\""):
        video.check_film(made(**values))
    assert set(video.unavailable_codecs()) == {"codec=h264", "codec=hevc", "codec=prores"}
    monkeypatch.setattr(video.encoding, "is_installed", lambda: True)
    video.check_film(made(**values))
    assert not video.unavailable_codecs()


def test_no_quality_without_loss():
    with pytest.raises(ArgumentError, match="ffv1 loses nothing"):
        video.check_film(made(codec="ffv1", output="a.avi", quality=50))
