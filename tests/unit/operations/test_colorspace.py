import cv2
import numpy as np
import pytest

from worker.errors import ArgumentError
from worker.operations.colorspace import ciede2000, cielab, coded, from_oklab, hexadecimal, linear, oklab, parse_colors

#: Pairs from the paper's table of test data: the first colour, the second, the difference.
SHARMA = (
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0009), 7.1792),
    ((50, 2.4900, -0.0010), (50, -2.4900, 0.0011), 7.2195),
    ((50, -0.0010, 2.4900), (50, 0.0009, -2.4900), 4.8045),
    ((50, -0.0010, 2.4900), (50, 0.0011, -2.4900), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)


@pytest.mark.parametrize(("first", "second", "difference"), SHARMA)
def test_ciede2000(first, second, difference):
    """The formula gives what its authors publish, both ways round."""
    assert ciede2000(first, second) == pytest.approx(difference, abs=1e-4)
    assert ciede2000(second, first) == pytest.approx(difference, abs=1e-4)


def test_cielab():
    """CIELAB is that of OpenCV, which is another implementation."""
    colors = np.random.default_rng(1).random((1, 200, 3), np.float32)
    np.testing.assert_allclose(cielab(colors), cv2.cvtColor(colors, cv2.COLOR_RGB2Lab), atol=0.6)


def test_oklab():
    """OKLab gives its author's values, and comes back."""
    red = oklab([1.0, 0.0, 0.0])
    np.testing.assert_allclose(red, (0.6280, 0.2249, 0.1258), atol=2e-4)
    colors = np.random.default_rng(2).random((100, 3))
    np.testing.assert_allclose(from_oklab(oklab(colors)), colors, atol=1e-9)


def test_light():
    """Eight times the light doubles all three values of OKLab; on that rests the tolerance for light."""
    light = linear([0.3, 0.2, 0.1])
    np.testing.assert_allclose(oklab(coded(8 * light)), 2 * oklab([0.3, 0.2, 0.1]), rtol=1e-9)


def test_texts():
    """Colours are read and written as #rrggbb; anything else is refused with the word."""
    assert [hexadecimal(one) for one in parse_colors("#FF8000,#000000; #123456", "palette")] == ["#ff8000", "#000000", "#123456"]
    assert parse_colors(" ", "palette").shape == (0, 3)
    with pytest.raises(ArgumentError, match=r"palette must hold colours as #rrggbb; got 'red'\."):
        parse_colors("#ff0000 red", "palette")
