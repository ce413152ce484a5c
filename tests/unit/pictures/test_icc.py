"""Colour profiles: taken out of files that others made, put into ours so that others read them, and colours brought to sRGB."""

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.errors import Unavailable, UnsupportedFormat
from worker.pictures import icc
from worker.pictures.images import encoded, load, read_image, write_image

Image = pytest.importorskip("PIL.Image", reason="install the extra [test]")
ImageCms = pytest.importorskip("PIL.ImageCms", reason="install the extra [test]")
imagecodecs = pytest.importorskip("imagecodecs", reason="install the extra [test]")

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ADOBE = imagecodecs.cms_profile("adobergb")
#: Display P3: white D65, and the primaries of DCI-P3.
P3 = imagecodecs.cms_profile(
    "rgb", whitepoint=(0.3127, 0.3290, 1.0), primaries=(0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0), gamma=2.2
)
GREY = imagecodecs.cms_profile("gray", gamma=1.8)
LONG = ADOBE[:0] + (len(ADOBE) + 150_000).to_bytes(4, "big") + ADOBE[4:] + bytes(150_000)  # of more than one segment of a JPEG
ENDINGS = (".png", ".jpg", ".tif", ".webp")


def picture(channels=3, depth=np.uint8):
    y, x = np.mgrid[:40, :56]
    ramps = [x / 56, y / 40, 1 - x / 56, 0.2 + 0.7 * y / 40]
    image = (np.dstack(ramps[:channels]) * np.iinfo(depth).max).astype(depth)
    return image[..., 0] if channels == 1 else image


@pytest.mark.parametrize("profile", [SRGB, ADOBE, LONG], ids=["sRGB", "Adobe RGB", "long"])
@pytest.mark.parametrize("form", ["png", "jpeg", "tiff", "webp", "avif"])
def test_taken_out(profile, form):
    """What Pillow has put into a file comes out as it was."""
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, form, icc_profile=profile)
    assert icc.profile_of(buffer.getvalue()) == profile
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, form)
    assert icc.profile_of(buffer.getvalue()) == b""


@pytest.mark.parametrize("profile", [P3, LONG], ids=["P3", "long"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("quality", [30, 90, 100])
@pytest.mark.parametrize("ending", ENDINGS)
def test_put_in(tmp_path, ending, channels, depth, quality, profile):  # noqa: PLR0917 - each is one thing that a file may vary in
    """Pillow finds the profile, and the pixels are those of a file without."""
    image = picture(channels, depth)
    path = tmp_path / f"a{ending}"
    write_image(path, image, quality, profile=profile)
    loaded = load(path)
    assert loaded.profile == profile
    (tmp_path / f"plain{ending}").write_bytes(encoded(path, image, quality))
    np.testing.assert_array_equal(loaded.image, read_image(tmp_path / f"plain{ending}"))
    if not (ending == ".tif" and depth == np.uint16):  # Pillow reads no such TIFF
        with Image.open(path) as opened:
            opened.load()
            assert opened.info["icc_profile"] == profile
            assert opened.size == (56, 40)
            assert opened.mode == ("RGBA" if channels == 4 and ending != ".jpg" else "RGB")


def test_lossless_webp():
    """A WebP without loss has its size and its alpha in other bits."""
    for channels in (3, 4):
        done, data = cv2.imencode(".webp", picture(channels), [cv2.IMWRITE_WEBP_QUALITY, 101])
        assert done
        made = icc.with_profile(data.tobytes(), P3)
        with Image.open(io.BytesIO(made)) as opened:
            opened.load()
            assert (opened.info["icc_profile"], opened.size, len(opened.mode)) == (P3, (56, 40), channels)
            np.testing.assert_array_equal(np.asarray(opened)[..., :3], picture(channels)[..., 2::-1])


def test_grey_profile(tmp_path):
    """A profile goes along only with pictures of as many colours."""
    write_image(tmp_path / "a.png", picture(1), profile=GREY)
    assert load(tmp_path / "a.png").profile == GREY
    write_image(tmp_path / "b.png", picture(3), profile=GREY)
    assert load(tmp_path / "b.png").profile == b""
    write_image(tmp_path / "c.webp", picture(1), profile=GREY)  # which has no grey
    assert load(tmp_path / "c.webp").profile == b""
    write_image(tmp_path / "d.png", picture(1), profile=P3)
    assert load(tmp_path / "d.png").profile == b""


@pytest.mark.parametrize("ending", [".bmp", ".ppm", ".gif", ".jp2"])
def test_formats_without(tmp_path, ending):
    """Where we write none the file is as without."""
    if not cv2.haveImageWriter(ending):
        pytest.skip(f"not on this system: this build of OpenCV writes no {ending}")
    write_image(tmp_path / f"a{ending}", picture(), profile=P3)
    assert (tmp_path / f"a{ending}").read_bytes() == encoded(tmp_path / f"a{ending}", picture())


@pytest.mark.parametrize("name", ["P3", "Adobe RGB", "sRGB"])
@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_converted(name, depth):
    """The colours are those of Pillow's ImageCms within 2 levels of 255; alpha stays as it is."""
    profile = {"P3": P3, "Adobe RGB": ADOBE, "sRGB": SRGB}[name]
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 4), np.uint8)
    made = icc.to_srgb(image if depth == np.uint8 else image.astype(np.uint16) * 257, profile)
    assert made.dtype == depth
    wanted = ImageCms.profileToProfile(
        Image.fromarray(np.ascontiguousarray(image[..., 2::-1])),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
    )
    found = made.astype(float) / (1 if depth == np.uint8 else 257)
    assert np.abs(found[..., 2::-1] - np.asarray(wanted)).max() <= 2
    np.testing.assert_array_equal(found[..., 3], image[..., 3])
    change = np.abs(found[..., :3] - image[..., :3]).max()
    assert change <= 2 if name == "sRGB" else change > 20


def test_red_of_display_p3():
    """The full red of Display P3 lies outside sRGB: it becomes the full red there; a grey stays a grey."""
    image = np.array([[(0, 0, 255), (128, 128, 128), (255, 255, 255), (0, 0, 0)]], np.uint8)
    made = icc.to_srgb(image, P3)[0]
    assert made[0].tolist() == [0, 0, 255]
    assert np.ptp(made[1]) <= 1
    assert made[2:].tolist() == [[255] * 3, [0] * 3]


def test_grey_is_converted():
    """A grey of gamma 1.8 gets the number that the same light has in sRGB."""
    made = icc.to_srgb(np.array([[0, 64, 128, 255]], np.uint8), GREY)
    light = (np.array([0, 64, 128, 255]) / 255) ** 1.8
    wanted = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light) * 255
    np.testing.assert_allclose(made[0], wanted, atol=1)


def test_no_profile():
    image = picture()
    assert icc.to_srgb(image, b"") is image


@pytest.mark.parametrize(
    ("profile", "image", "words"),
    [
        (ADOBE[:16] + b"CMYK" + ADOBE[20:], picture(), "has a profile of CMYK colours, which its pixels are not any more"),
        (P3, picture(1), "has a profile of RGB colours"),
        (P3[:200] + bytes(len(P3) - 200), picture(), "has a colour profile that cannot be used"),
    ],
)
def test_refused(profile, image, words):
    with pytest.raises(UnsupportedFormat, match=words) as caught:
        icc.to_srgb(image, profile, "a.png")
    assert caught.value.message.startswith("a.png")
    assert "profile=keep" in caught.value.hint


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(icc, "can_convert", lambda: False)
    with pytest.raises(Unavailable, match=r'install .*"td-image-worker\[color\]"'):
        icc.to_srgb(picture(), P3)


def test_no_bomb():
    """A profile that unpacks to more than anybody's is left out, and not unpacked to its end."""
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "png", icc_profile=P3)
    data = buffer.getvalue()
    body = b"x\0\0" + zlib.compress(P3[:40] + bytes(2**28), 9)
    chunk = len(body).to_bytes(4, "big") + b"iCCP" + body + zlib.crc32(b"iCCP" + body).to_bytes(4, "big")
    assert icc.profile_of(data[:33] + chunk + data[33:]) == b""


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["png", "jpeg", "tiff", "webp", "avif"]), st.randoms(use_true_random=False))
def test_any_bytes(form, random):
    """Whatever stands in a file, there is a profile in it or none."""
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, form, icc_profile=P3)
    data = bytearray(buffer.getvalue())
    for _ in range(random.randrange(1, 6)):
        data[random.randrange(len(data))] = random.randrange(256)
    found = icc.profile_of(bytes(data[: random.randrange(len(data) + 1)]))
    assert isinstance(found, bytes)


@settings(max_examples=60, deadline=None)
@given(any_picture(), st.sampled_from(ENDINGS), st.sampled_from([P3, GREY, ADOBE]))
def test_any_picture(tmp_path_factory, image, ending, profile):
    """Any picture is written with its profile, if that is of its colours, and read again."""
    path = tmp_path_factory.mktemp("any") / f"a{ending}"
    write_image(path, image, profile=profile)
    loaded = load(path)
    assert loaded.profile in (b"", profile)
    assert loaded.image.shape[:2] == image.shape[:2]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_the_numbers_of_the_primaries(depth):
    """By the matrices of both colour spaces, in floating point: within one level of 255, and a quarter of it for 16 bits."""

    def matrix(red, green, blue):
        columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in (red, green, blue)]).T
        white = np.array((0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290))
        return columns * np.linalg.solve(columns, white)

    image = np.random.default_rng(2).integers(0, np.iinfo(depth).max, (50, 50, 3), depth)
    light = (image[..., ::-1] / np.iinfo(depth).max) ** 2.2
    p3, srgb = matrix((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), matrix((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
    linear = np.clip(light @ (np.linalg.inv(srgb) @ p3).T, 0, 1)
    wanted = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    found = icc.to_srgb(image, P3)[..., ::-1] / np.iinfo(depth).max
    assert np.abs(found - wanted).max() * 255 <= (1 if depth == np.uint8 else 0.25)
