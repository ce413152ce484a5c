"""Scenes for tests: flat things laid into a picture, with their corners known to a small fraction of a pixel."""

from __future__ import annotations

import cv2
import numpy as np

_FINER = 3
_SAMPLES = 2  # to each side of a pixel of what a camera sees


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


def chessboard(columns=10, rows=7, square=60):
    """A printed chessboard of so many squares, the top left one black, with a white margin of one square."""
    squares = (np.add.outer(np.arange(rows), np.arange(columns)) % 2 * 255).astype(np.uint8)
    drawn = squares.repeat(square, axis=0).repeat(square, axis=1)
    return cv2.copyMakeBorder(drawn, *[square] * 4, cv2.BORDER_CONSTANT, value=255)


def charuco(columns=10, rows=7, square=60, dictionary=cv2.aruco.DICT_5X5_250, *, legacy=False):
    """A printed ChArUco board with a white margin of one square; its markers are three quarters as wide as its squares."""
    board = cv2.aruco.CharucoBoard((columns, rows), 1.0, 0.75, cv2.aruco.getPredefinedDictionary(dictionary))
    board.setLegacyPattern(legacy)
    drawn = board.generateImage((columns * square, rows * square))
    return cv2.copyMakeBorder(drawn, *[square] * 4, cv2.BORDER_CONSTANT, value=255)


def circle_grid(columns=9, rows=6, distance=60, *, asymmetric=False):
    """A printed grid of black circles, with a white margin around their middles of one and a half distances."""
    wide = 2 * columns if asymmetric else columns
    drawn = np.full(((rows + 2) * distance, (wide + 2) * distance), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            along = 2 * column + row % 2 if asymmetric else column
            middle = (np.array([along + 1.5, row + 1.5]) * distance - 0.5) * 16
            cv2.circle(drawn, [round(float(place)) for place in middle], round(0.3 * distance * 16), 0, -1, cv2.LINE_AA, 4)
    return drawn


def photographed(printed, scale, camera, pose, size, *, noise=1.5, seed=0, ground=70):
    """A printed thing as a camera sees it.

    Its middle is the origin of its own axes: x right, y up, z out of the print towards who looks at it.

    Args:
        printed: grey, 8 bits.
        scale: pixels of the print in one unit of length.
        camera: `(3, 3)` matrix, and the coefficients of its distortion (k1, k2, p1, p2, k3; or k1 to k4 of a fisheye lens).
        pose: rotation vector and translation from these axes to those of the camera (x right, y down, z forward).
        size: width and height of the picture.
        noise: standard deviation, in grey levels.
        seed: of the noise.
        ground: grey level around the print.
    """
    matrix, distortion = (np.asarray(part, float) for part in camera)
    turn, move = cv2.Rodrigues(np.asarray(pose[0], float))[0], np.asarray(pose[1], float)
    nodes = np.stack(np.meshgrid(*(np.arange(-1, side // 8 + 2) * 8 + 3.5 for side in size)), axis=-1)
    undistorted = cv2.fisheye.undistortPoints if len(distortion) == 4 else cv2.undistortPoints
    bent = undistorted(nodes.reshape(-1, 1, 2), matrix, distortion, R=np.eye(3), P=np.eye(3)).reshape(nodes.shape)
    fine = 8 * _SAMPLES  # a lens bends little within 8 pixels
    rays = cv2.resize(bent, None, fx=fine, fy=fine, interpolation=cv2.INTER_LINEAR)
    shape = size[1] * _SAMPLES, size[0] * _SAMPLES
    right, down = (rays[fine : fine + shape[0], fine : fine + shape[1], axis] for axis in (0, 1))
    plane = np.linalg.inv(np.column_stack([turn[:, 0], turn[:, 1], move]))  # takes a ray to the place on the print that it meets
    x, y, ahead = (row[0] * right + row[1] * down + row[2] for row in plane)
    x, y = (np.where(ahead > 1e-6, place / np.where(ahead > 1e-6, ahead, 1), 1e6) for place in (x, y))
    height, width = printed.shape
    across = (x * scale + (width - 1) / 2).astype(np.float32)
    below = (-y * scale + (height - 1) / 2).astype(np.float32)
    seen = cv2.remap(printed, across, below, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=ground)
    small = cv2.GaussianBlur(cv2.resize(seen, size, interpolation=cv2.INTER_AREA).astype(np.float32), (0, 0), 0.6)
    return np.clip(small + np.random.default_rng(seed).normal(0, noise, small.shape), 0, 255).astype(np.uint8)


def facing(away, aside=(0.0, 0.0), tilt=0.0, towards=0.0, roll=0.0):
    """The pose of a print in front of a camera, for `photographed`.

    Args:
        away: distance along the camera's axis.
        aside: how far to the right of and above this axis.
        tilt: angle in degrees between the print and a plane that faces the camera.
        towards: the direction in which it is tilted, in degrees.
        roll: how far it is turned in its own plane, in degrees, counterclockwise.
    """
    axis = np.radians(tilt) * np.array([np.cos(np.radians(towards)), np.sin(np.radians(towards)), 0])
    in_plane = cv2.Rodrigues(np.array([0, 0, np.radians(roll)]))[0]
    turn = np.diag([1.0, -1, -1]) @ cv2.Rodrigues(axis)[0] @ in_plane
    return cv2.Rodrigues(turn)[0].ravel(), np.array([aside[0], -aside[1], away], float)
