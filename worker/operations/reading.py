"""Text in pictures, by the models of PP-OCR, which OpenCV runs. None is downloaded: they are in the package rapidocr-onnxruntime.

PP-OCR: Y. Du and others, PP-OCR: A practical ultra lightweight OCR system, 2020. Where text is: M. Liao and others, Real-time scene text
detection with differentiable binarization, 2020. What it says: B. Shi, X. Bai, C. Yao, An end-to-end trainable neural network for
image-based sequence recognition, 2015, decoded greedily.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker import extras
from worker.catalog.reading import FindText
from worker.errors import Unavailable
from worker.files.packaged import is_installed, packaged
from worker.operations.angles import direction
from worker.operations.keywords import takes_keywords
from worker.operations.lettering import can_draw, draw_line, line_width_of
from worker.operations.marks import FIXED, draw_polygon, fixed
from worker.operations.regions import check_region, mask_of
from worker.operations.shapes import Found
from worker.pictures.pixels import Image, color, size_of, with_depth

#: Four corners, clockwise from the upper left one of the text, `(4, 2)`, in pixels.
Quad = NDArray[np.float64]

_TOO_OLD = f"OpenCV {cv2.__version__} cannot run the models; OpenCV 5 can."
_PACKAGE, _MODULE = "rapidocr-onnxruntime", "rapidocr_onnxruntime"
_WHERE, _WHAT, _TURNED = "ch_PP-OCRv4_det_infer.onnx", "ch_PP-OCRv4_rec_infer.onnx", "ch_ppocr_mobile_v2.0_cls_infer.onnx"
_STEP = 32  # the sides of what the first model sees are multiples of it
_LEAST_SIDE = 320  # smaller pictures are made larger
_LIKELY, _SURE, _UNCLIP = 0.3, 0.5, 1.6  # what PP-OCR takes
_SMALLEST = 3  # pixels of what the model sees
_HIGH = 48  # pixels of a line for the model that reads
_WIDEST = 2400
_TURNED_WIDE, _TURNED_SURE = 192, 0.9
_FRAME = (210, 210, 210)
_CHARACTERS = b"\x0a\x09character\x12"  # a pair in the metadata of an ONNX file: its key, and the tag of its value


def check(params: FindText) -> None:
    """Raises Unavailable if there are no models, or OpenCV cannot run them; ArgumentError if the region cannot be read."""
    if not _can_run():
        raise Unavailable(
            f"find_text: {_TOO_OLD}", f"`{extras.install_package('opencv-python-headless', '--upgrade')}` brings a newer one."
        )
    if not is_installed(_MODULE):
        raise _no_models()
    check_region(params.region)


def unavailable() -> dict[str, str]:
    """What is missing: an OpenCV that runs the models, or the package that brings them."""
    if not _can_run():
        return {"": _TOO_OLD}
    return {} if is_installed(_MODULE) else {"": f"the models are missing: {extras.install_package(_PACKAGE)}."}


def _can_run() -> bool:
    """OpenCV 4 takes pictures of one size only for these models, and crashes at the second."""
    return int(cv2.__version__.partition(".")[0]) >= 5


def _no_models() -> Unavailable:
    return Unavailable(
        f"find_text has no models: install the package {_PACKAGE}.",
        f"`{extras.install_package(_PACKAGE)}` brings them in 15 MB; what it asks for is not needed.",
    )


@dataclass(frozen=True, slots=True)
class _Line:
    quad: Quad
    text: str
    score: float


@takes_keywords(FindText, check)
def find_text(image: Image, params: FindText) -> Found:
    """Finds lines of printed text, level or turned, and reads them: Latin letters, digits, and Chinese.

    Args:
        image: any.
        params: how sure the letters must be, and how small they are.

    Returns:
        One row per line, in reading order: x, y of its middle in pixels; u, v; width and height; angle in degrees clockwise from the
        right; score 0 to 1; the four corners, clockwise from the upper left one of the text. The text of a row is what it says.

    Raises:
        Unavailable: the models are not installed.
    """
    picture = color(with_depth(image, 8))
    inside = mask_of(image, params.region, None)
    left, top, width, height = cv2.boundingRect(inside) if inside is not None else (0, 0, *size_of(picture))
    part = picture[top : top + height, left : left + width]
    places = _places(part, params.max_side)
    lines = [_read(part, quad) for quad in places[: params.max_items]]
    kept = _in_order([line for line in lines if line.text.strip() and line.score >= params.min_score])
    moved = [_Line(line.quad + np.array([left, top]), line.text, line.score) for line in kept]
    rows = np.array([_row(line, image) for line in moved], np.float64).reshape(-1, 16)
    images = {"overlay": _marked(picture, moved)} if params.overlay else {}
    return Found(rows, images, texts=tuple((line.text,) for line in moved), total=len(rows) + max(0, len(places) - len(lines)))


# --------------------------------------------------------------------------------------------------------- where text is


def _places(picture: Image, side: int) -> list[Quad]:
    """Where the first model sees lines of text, the surest first."""
    width, height = size_of(picture)
    scale = min(side / max(width, height), max(1.0, _LEAST_SIDE / min(width, height)))
    size = tuple(max(_STEP, round(length * scale / _STEP) * _STEP) for length in (width, height))
    seen = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    likely = _ran(_WHERE, seen)[0, 0]
    mask = cv2.dilate((likely > _LIKELY).astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    factors = np.array([width / size[0], height / size[1]])
    found: list[tuple[float, Quad]] = []
    for outline in outlines:
        middle, (wide, high), turn = cv2.minAreaRect(outline)
        if (
            min(wide, high) < _SMALLEST
            or (score := _mean_within(likely, np.asarray(cv2.boxPoints((middle, (wide, high), turn)), np.float32))) < _SURE
        ):
            continue
        # The model marks the core of a line: it is made larger on all sides by so much of its area for its perimeter.
        more = wide * high * _UNCLIP / (wide + high)
        box = np.asarray(cv2.boxPoints((middle, (wide + more, high + more), turn)), np.float64)
        found.append((score, _from_upper_left((box + 0.5) * factors - 0.5)))
    found.sort(key=lambda place: (-place[0], *place[1][0]))
    return [quad for _, quad in found]


def _mean_within(values: NDArray[np.float32], box: NDArray[np.float32]) -> float:
    left, top = np.maximum(np.floor(box.min(axis=0)), 0).astype(int)
    right, bottom = np.ceil(box.max(axis=0)).astype(int) + 1
    part = values[top:bottom, left:right]
    within = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(within, [np.rint(box - (left, top)).astype(np.int32)], 1)
    return float(part[within > 0].mean()) if within.any() else 0.0


def _from_upper_left(box: Quad) -> Quad:
    """The corners clockwise, from the one where a line begins that is read from left to right, or from below if it is upright."""
    (along_x, along_y), (down_x, down_y) = box[1] - box[0], box[2] - box[1]
    turned = box if along_x * down_y > along_y * down_x else box[::-1]
    first = int(np.argmin(turned.sum(axis=1)))
    quad = np.roll(turned, -first, axis=0)
    wide, high = _size(quad)
    return np.roll(quad, 1, axis=0) if high >= 1.5 * wide else quad


# --------------------------------------------------------------------------------------------------------- what it says


def _size(quad: Quad) -> tuple[float, float]:
    """How wide and how high a line is."""
    return float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[3] - quad[0]))


def _read(picture: Image, quad: Quad) -> _Line:
    strip = _strip(picture, quad)
    if _is_upside_down(strip):
        strip, quad = np.ascontiguousarray(strip[::-1, ::-1]), np.roll(quad, 2, axis=0)
    text, score = _decoded(_ran(_WHAT, strip)[0])
    return _Line(quad, text, score)


def _strip(picture: Image, quad: Quad) -> Image:
    """The line made straight and level, as high as the model that reads wants it."""
    wide, high = _size(quad)
    width = int(min(_WIDEST, max(_HIGH, math.ceil(_HIGH * wide / max(high, 1e-6)))))
    target = np.array([(0, 0), (width, 0), (width, _HIGH), (0, _HIGH)], np.float32) - 0.5
    fit = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    return np.asarray(cv2.warpPerspective(picture, fit, (width, _HIGH), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _is_upside_down(strip: Image) -> bool:
    width = min(_TURNED_WIDE, strip.shape[1])
    framed = np.full((_HIGH, _TURNED_WIDE, 3), 127, np.uint8)
    framed[:, :width] = cv2.resize(strip, (width, _HIGH), interpolation=cv2.INTER_AREA)
    return bool(_ran(_TURNED, framed)[0, 1] > _TURNED_SURE)


def _decoded(steps: NDArray[np.float32]) -> tuple[str, float]:
    """The text and how sure it is: at each step the likeliest letter; repeated ones are one, and 0 stands between two."""
    best = steps.argmax(axis=1)
    begins = (best != 0) & np.concatenate([[True], best[1:] != best[:-1]])
    letters = _letters()
    text = "".join(letters[index - 1] if index <= len(letters) else " " for index in best[begins])
    return text, float(steps.max(axis=1)[begins].mean()) if begins.any() else 0.0


@functools.lru_cache(maxsize=1)
def _letters() -> tuple[str, ...]:
    """The letters that the model knows, in their order, as its own metadata say; a space comes behind them.

    Raises:
        Unavailable: it says nothing.
    """
    data = _model(_WHAT)
    at = data.rfind(_CHARACTERS) + len(_CHARACTERS)
    size = shift = 0
    while at >= len(_CHARACTERS):  # the length as protocol buffers write it: seven bits in each byte, and whether more follow
        size |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if not data[at - 1] & 0x80:
            return tuple(data[at : at + size].decode().split("\n"))
    raise _no_models()


# ------------------------------------------------------------------------------------------------------------- the models


def _ran(name: str, picture: Image) -> NDArray[np.float32]:
    """What a model says of a picture, BGR: its values go from -1 to 1."""
    net = _net(name)
    net.setInput(cv2.dnn.blobFromImage(picture, 1 / 127.5, mean=(127.5, 127.5, 127.5)))
    return np.asarray(net.forward(), np.float32)


@functools.lru_cache(maxsize=3)
def _net(name: str) -> Any:
    return cv2.dnn.readNetFromONNX(np.frombuffer(_model(name), np.uint8))


def _model(name: str) -> bytes:
    data = packaged(_MODULE, f"models/{name}")
    if data is None:
        raise _no_models()
    return data


# ------------------------------------------------------------------------------------------------------------------ lines


def _in_order(lines: list[_Line]) -> list[_Line]:
    """From above to below; those that stand side by side from left to right."""
    waiting = sorted(lines, key=lambda line: (line.quad[:, 1].mean(), line.quad[:, 0].mean()))
    ordered: list[_Line] = []
    while waiting:
        first = waiting[0].quad[:, 1]
        beside = [line for line in waiting if line.quad[:, 1].mean() <= first.mean() + (first.max() - first.min()) / 2]
        ordered += sorted(beside, key=lambda line: line.quad[:, 0].mean())
        waiting = waiting[len(beside) :]
    return ordered


def _row(line: _Line, image: Image) -> tuple[float, ...]:
    width, height = size_of(image)
    x, y = line.quad.mean(axis=0)
    along = line.quad[1] - line.quad[0]
    angle = float(direction(*along))
    place = (x, y, (x + 0.5) / width, 1 - (y + 0.5) / height)
    return *place, *_size(line.quad), angle, line.score, *line.quad.ravel().tolist()


def _marked(picture: Image, lines: list[_Line]) -> Image:
    """A copy of the picture with a frame around each line; beside it what is read, at the same places, level and as wide."""
    canvas, beside = picture.copy(), np.full_like(picture, 255)
    for line in lines:
        draw_polygon(canvas, line.quad)
        cv2.polylines(beside, [np.array([fixed(*corner) for corner in line.quad], np.int32)], True, _FRAME, 1, cv2.LINE_AA, FIXED)
        shown = line.text if can_draw(line.text) else "".join(letter if " " <= letter <= "~" else "?" for letter in line.text)
        wide, high = _size(line.quad)
        size = max(6.0, min(0.8 * high, 40 * wide / max(1, line_width_of(shown, 40))))
        letters = np.zeros(beside.shape[:2], np.uint8)
        x, y = line.quad.mean(axis=0)
        draw_line(letters, shown, (round(x - line_width_of(shown, size) / 2), round(y + 0.35 * size)), size)
        beside[letters > 127] = 0
    return np.concatenate([canvas, beside], axis=1)
