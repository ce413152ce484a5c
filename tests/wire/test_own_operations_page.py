"""docs/own_operations.md is followed as it stands: both files, taken from the page, do what it says, over real UDP."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.onnx_file import convolution
from tests.wire.running import Peer
from tests.wire.test_own_operations import changed, final, serving
from worker.pictures.images import read_image, write_image
from worker.protocol.messages import Failed, Job, Ready
from worker.service.own import LOADED_WITHIN_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own_operations.md").read_text(encoding="utf-8")
GLOW, STYLE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def show(tmp_path):
    """The folder that jobs use, with a lamp in the dark and a photograph."""
    show = tmp_path.resolve() / "show"
    (show / "models").mkdir(parents=True)
    night = np.full((101, 101, 3), 10, np.uint8)
    cv2.circle(night, (50, 50), 5, (255, 255, 255), -1)
    write_image(show / "night.png", night)
    write_image(show / "a.png", cv2.imread(str(ROOT / "tests" / "data" / "box.png"), cv2.IMREAD_COLOR))
    return show


def test_the_glow(peer, show):
    """Light stands round the lamp, the more the nearer, and the dark far away stays as it was."""
    (path := show.parent / "my_ops.py").write_text(GLOW)
    with serving(peer, path):
        changed(peer, "my_ops.py has glow.")
        peer.send(Job("a", "glow", (("image", "night.png"), ("output", "glow.png"), ("radius", 6.0))))
        assert isinstance(final(peer, "a"), Ready)
        peer.send(Job("b", "glow", (("image", "night.png"), ("output", "glow.png"), ("radius", 600.0))))
        assert final(peer, "b").message == "glow: radius must be a number from 0.1 to 200; got 600.0."
    row = read_image(show / "glow.png")[50, 50:, 0].astype(int)
    assert row[0] == 255
    assert 255 > row[7] > row[10] > row[14] > 10
    assert set(row[40:]) == {10}


def test_the_model(peer, show):
    """A network that finds edges gives what OpenCV's own filter gives; a file that is no network is refused in a sentence."""
    kernel = np.array([[0, -1, 0], [-1, 4.5, -1], [0, -1, 0]], np.float32)
    (show / "models" / "edges.onnx").write_bytes(convolution(kernel))
    (show / "models" / "none.onnx").write_bytes(b"nothing")
    (path := show.parent / "my_models.py").write_text(STYLE)
    with serving(peer, path):
        changed(peer, "my_models.py has style.")
        peer.send(Job("a", "style", (("image", "a.png"), ("model", "models/edges.onnx"), ("output", "b.png"))))
        assert isinstance(final(peer, "a"), Ready)
        peer.send(Job("b", "style", (("image", "a.png"), ("model", "models/none.onnx"), ("output", "c.png"))))
        refused = final(peer, "b")
        assert isinstance(refused, Failed)
        assert (refused.code, refused.message) == (400, "style: model is no ONNX file that OpenCV reads.")
    picture = read_image(show / "a.png")
    wanted = np.clip(cv2.filter2D(picture, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT), 0, 255)
    assert np.abs(read_image(show / "b.png") - wanted).max() <= 1
    assert wanted.std() > 10


def test_figures_of_the_page():
    """What it says about times is so."""
    assert f"within {LOADED_WITHIN_S:g} s while it is loaded" in PAGE
