"""Scenes for tests: flat things laid into a picture, with their corners known to a small fraction of a pixel."""

from __future__ import annotations

import cv2
import numpy as np

_FINER = 3


def laid_into(picture, thing, corners, noise=0.0, seed=0):
    """The picture with a thing, grey or BGR, in it; its outline goes to `corners`, `(4, 2)`, clockwise from its top left.

    It is drawn several times as fine and made smaller by averaging, as a camera does.
    """
    height, width = thing.shape[:2]
    outline = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)], np.float32)
    target = ((np.asarray(corners, float) + 0.5) * _FINER - 0.5).astype(np.float32)
    size = picture.shape[1] * _FINER, picture.shape[0] * _FINER
    transform = cv2.getPerspectiveTransform(outline, target)
    inside = cv2.warpPerspective(np.full((height, width), 255, np.uint8), transform, size, flags=cv2.INTER_NEAREST)
    colored = cv2.cvtColor(thing, cv2.COLOR_GRAY2BGR) if thing.ndim == 2 else thing
    warped = cv2.warpPerspective(colored, transform, size, flags=cv2.INTER_NEAREST)
    ground = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
    scene = cv2.resize(np.where(inside[..., None] > 0, warped, ground), picture.shape[1::-1], interpolation=cv2.INTER_AREA)
    scene = cv2.GaussianBlur(scene, (0, 0), 0.5)
    return np.clip(scene + np.random.default_rng(seed).normal(0, noise, scene.shape), 0, 255).astype(np.uint8)


def tilted(side, middle, seed, ratio=1.0):
    """Corners of a square, or a rectangle `ratio` times as wide as high, turned and in perspective, clockwise."""
    random = np.random.default_rng(seed)
    turn = random.uniform(0, 2 * np.pi)
    square = np.array([(-ratio, -1), (ratio, -1), (ratio, 1), (-ratio, 1)]) * side / 2
    turned = square @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return turned + middle + random.uniform(-0.1, 0.1, (4, 2)) * side


def within(corners, size, margin):
    """Where the corners of something printed with a margin are, if those of the paper, `size` pixels wide, are known."""
    paper = np.array([(0, 0), (size, 0), (size, size), (0, size)], np.float32)
    low, high = margin, size - margin
    transform = cv2.getPerspectiveTransform(paper, np.asarray(corners, np.float32))
    return cv2.perspectiveTransform(np.array([[(low, low), (high, low), (high, high), (low, high)]], np.float32), transform)[0]


def marker(dictionary, number, side=240, margin=40):
    """A printed ArUco or AprilTag marker with white around it."""
    drawn = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(dictionary), number, side)
    return cv2.copyMakeBorder(drawn, *[margin] * 4, cv2.BORDER_CONSTANT, value=255)


def qr_code(text, scale=8):
    """A printed QR code; white of `2 * scale` pixels around it is part of it."""
    return cv2.resize(cv2.QRCodeEncoder.create().encode(text), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)


_LEFT = ["0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011"]
_PARITY = ["LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL"]


def barcode(digits, scale=3):
    """A printed EAN-13 code of 13 digits, the last of which is the check digit (GS1 General Specifications, 5.2.1)."""
    right = [pattern.translate(str.maketrans("01", "10")) for pattern in _LEFT]
    sides = zip(digits[1:7], _PARITY[int(digits[0])], strict=True)
    left = "".join(_LEFT[int(digit)] if side == "L" else right[int(digit)][::-1] for digit, side in sides)
    bars = "101" + left + "01010" + "".join(right[int(digit)] for digit in digits[7:]) + "101"
    row = np.array([0 if bar == "1" else 255 for bar in bars], np.uint8).repeat(scale)
    return cv2.copyMakeBorder(row[None].repeat(50 * scale // 2, axis=0), 15, 15, 10 * scale, 10 * scale, cv2.BORDER_CONSTANT, value=255)
