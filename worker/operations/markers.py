"""Printed codes: ArUco and AprilTag markers, QR codes, and barcodes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker import extras
from worker.catalog.markers import Dictionary, FindMarkers
from worker.errors import Unavailable
from worker.files.packaged import is_installed
from worker.operations.angles import direction
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, draw_dot, draw_label, draw_polygon
from worker.operations.shapes import Found
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

Corners = NDArray[np.float64]

_MODULE, _INSTALL = "zxingcpp", extras.install("barcodes")
#: The numbers in the column `kind`.
KINDS = {"aruco": 0, "apriltag": 1, "qr": 2, "barcode": 3, "matrix": 4}
#: What ZXing reads: its name for a kind of code, and ours.
_ZXING = {
    **dict.fromkeys(("Code128", "Code93", "Code39", "Codabar", "ITF", "DataBar", "PDF417"), "barcode"),
    **dict.fromkeys(("DataMatrix", "Aztec", "MaxiCode", "MicroQRCode", "RMQRCode"), "matrix"),
}
#: What OpenCV reads, too, and where its corners are nearer: ZXing comes second.
_ZXING_TOO = {**dict.fromkeys(("EAN13", "EAN8", "UPCA", "UPCE"), "barcode"), "QRCode": "qr"}
#: Without a check digit: a short one may be the edges of anything.
_UNCHECKED = ("CODE_39", "CODABAR", "ITF")
_LEAST_UNCHECKED = 4  # characters
#: What `dictionary=auto` looks for. Sets of 4x4 and 16h5 take noise for markers if bits may be wrong, and 16h5 even if not.
_COMMON = ("4x4_250", "5x5_250", "6x6_250", "7x7_250", "mip_36h12", "apriltag_25h9", "apriltag_36h11")
_SMALLEST_SIDE = 48  # pixels; on smaller pictures the detectors fail, and no code can be read
_QUIET = 1  # modules of white around a QR code that the fit looks at
_FITTED_SIDE = 400  # pixels of the drawn code
_FIT = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 50, 1e-5)
_SAME = 0.5  # of a marker's size; two whose middles are nearer are one
_LEAST_MODULE = 3.0  # pixels; with dictionary=auto, what has smaller modules is taken for noise
_LABEL = 24  # characters
_ENCODINGS = ("utf-8", "shift_jis", "latin-1")  # those of QR codes; the last one reads anything


@dataclass(frozen=True, slots=True, eq=False)
class _Marker:
    """A code and where it is: `(4, 2)` corners in pixels, clockwise from the code's own top left."""

    kind: str
    type: str
    id: int
    text: str
    corners: Corners

    @property
    def size(self) -> float:
        """The mean length of a side in pixels."""
        return float(np.linalg.norm(np.roll(self.corners, -1, axis=0) - self.corners, axis=1).mean())


def unavailable() -> dict[str, str]:
    """What needs a package that is not installed, with the reason."""
    return {} if is_installed(_MODULE) else {"kind=matrix": f"the package zxing-cpp is not installed: {_INSTALL}."}


def check(params: FindMarkers) -> None:
    """Raises Unavailable if codes are wanted that only ZXing reads, and it is not installed."""
    if params.kind == "matrix" and not is_installed(_MODULE):
        raise Unavailable("find_markers: kind=matrix needs the package zxing-cpp.", f"{_INSTALL} brings it in 2 MB.")


@takes_keywords(FindMarkers, check)
def find_markers(image: Image, params: FindMarkers) -> Found:
    """Finds ArUco and AprilTag markers, QR codes and barcodes (EAN-8, EAN-13, UPC-A, UPC-E).

    With the package zxing-cpp it finds further barcodes (Code 128, 93 and 39, Codabar, ITF, DataBar, PDF417) and matrix codes (Data Matrix,
    Aztec, MaxiCode, Micro QR, rMQR), and QR codes that OpenCV does not read.

    The corners of ArUco, AprilTag and QR codes are those of the outermost dark modules, mostly to a fraction of a pixel; those of a
    barcode lie around its bars, with some of the white beside them.

    Args:
        image: any; colour is looked at as grey.
        params: what is looked for.

    Returns:
        One row per code, the largest first: kind (0 ArUco, 1 AprilTag, 2 QR, 3 barcode, 4 matrix code); id, -1 if it has none; x, y of
        its middle in pixels; u, v; size, the mean length of a side in pixels; angle of its upper side in degrees clockwise from the
        right; x1 y1 to x4 y4, the corners in pixels, clockwise from its own top left. The texts of a row are its type, such as 6x6_250
        or EAN_13, and what it says.

    Raises:
        Unavailable: the package for these codes is not installed.
    """
    plain = grey(with_depth(image, 8))
    found = _without_doubles(_markers(plain, params)) if min(plain.shape) >= _SMALLEST_SIDE else []
    kept = found[: params.max_items]
    rows = np.array([_row(marker, image) for marker in kept], np.float64).reshape(-1, 16)
    images = {"overlay": _marked(image, kept)} if params.overlay else {}
    return Found(rows, images, total=len(found), texts=tuple((marker.type, marker.text) for marker in kept))


def square_markers(plain: Image, dictionary: Dictionary) -> list[tuple[int, Corners]]:
    """Number and corners, `(4, 2)` clockwise from its own top left, of each ArUco or AprilTag marker, the largest first."""
    if min(plain.shape) < _SMALLEST_SIDE:
        return []
    found = _without_doubles(_square_markers(plain, FindMarkers(image="-", dictionary=dictionary)))
    return [(marker.id, marker.corners) for marker in found]


def _markers(plain: Image, params: FindMarkers) -> Iterator[_Marker]:
    if params.kind in ("all", "aruco", "apriltag"):
        yield from _square_markers(plain, params)
    # OpenCV takes some bars of other codes for those of EAN and UPC, so ZXing comes first with them.
    yield from _by_zxing(plain, params.kind, _ZXING)
    if params.kind in ("all", "qr"):
        yield from _qr_codes(plain)
    if params.kind in ("all", "barcode"):
        yield from _barcodes(plain)
    yield from _by_zxing(plain, params.kind, _ZXING_TOO)


def _square_markers(plain: Image, params: FindMarkers) -> Iterator[_Marker]:
    auto = params.dictionary == "auto"
    for name in _COMMON if auto else (params.dictionary,):
        kind = "apriltag" if name.startswith("apriltag") else "aruco"
        if params.kind not in ("all", kind):
            continue
        corners, ids, _ = _square_detector(name, inverted=params.inverted, strict=auto).detectMarkers(plain)
        for quad, number in zip(corners, () if ids is None else ids.ravel(), strict=False):
            marker = _Marker(kind, name, int(number), str(number), np.asarray(quad, np.float64).reshape(4, 2))
            if not auto or marker.size >= _LEAST_MODULE * (dictionary_of(name).markerSize + 2):
                yield marker


def _square_detector(name: str, *, inverted: bool, strict: bool) -> cv2.aruco.ArucoDetector:
    settings = cv2.aruco.DetectorParameters()
    settings.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    settings.detectInvertedMarker = inverted
    if strict:
        settings.errorCorrectionRate = 0.0 if name.startswith("4x4") else 0.3
        settings.maxErroneousBitsInBorderRate = 0.1
    return cv2.aruco.ArucoDetector(dictionary_of(name), settings)


def dictionary_of(name: str) -> Any:
    """OpenCV's own set of markers of this name, as in `worker.catalog.markers.Dictionary`."""
    prefix = "DICT_ARUCO_" if name in ("original", "mip_36h12") else "DICT_"
    return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, prefix + name.upper()))


def _qr_codes(plain: Image) -> Iterator[_Marker]:
    """Both of OpenCV's detectors, as each finds codes that the other does not."""
    for detector in (cv2.QRCodeDetectorAruco(), cv2.QRCodeDetector()):
        for text, quad, modules in _decoded(detector, plain):
            if text and _is_shape(quad):
                yield _Marker("qr", "qr", -1, text, _fitted(plain, quad, modules))


def _decoded(detector: Any, plain: Image) -> list[tuple[str, Corners, Image]]:
    """Texts, corners and modules. OpenCV before 4.11 gives texts only, and fails on those that are not UTF-8: they are left out."""
    decode = getattr(detector, "detectAndDecodeBytesMulti", detector.detectAndDecodeMulti)
    try:
        done, said, quads, modules = decode(plain)
    except (cv2.error, UnicodeDecodeError, SystemError):  # on odd pictures its own checks fail
        return []
    if not done or quads is None:
        return []
    texts = [_text(one) for one in said]
    return list(zip(texts, np.asarray(quads, np.float64).reshape(-1, 4, 2), modules, strict=False))


def _text(said: str | bytes) -> str:
    if isinstance(said, str):
        return said
    for encoding in _ENCODINGS:
        try:
            return said.decode(encoding)
        except UnicodeDecodeError:
            continue
    return ""  # never: Latin-1 reads any bytes


def _is_shape(quad: Corners) -> bool:
    """Whether these are four corners that a square can have in a picture."""
    return bool(np.isfinite(quad).all()) and cv2.isContourConvex(quad.astype(np.float32)) and cv2.contourArea(quad.astype(np.float32)) > 1


def _fitted(plain: Image, quad: Corners, modules: Image | None) -> Corners:
    """The corners after the code, drawn from its modules, was laid onto the picture as well as it goes.

    This is the enhanced correlation coefficient of G. D. Evangelidis and E. Z. Psarakis, 2008; the detectors are pixels off.
    """
    if modules is None or modules.ndim != 2 or modules.shape[0] != modules.shape[1] or not modules.size:
        return quad
    count = len(modules)
    module = float(np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1).mean()) / count
    scale = int(np.clip(round(module), 3, max(3, min(12, _FITTED_SIDE // count))))
    framed = np.pad(modules, _QUIET, constant_values=255)
    drawn = cv2.GaussianBlur(cv2.resize(framed, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST), (0, 0), 0.25 * scale)
    low, high = (np.array([0, count]) + _QUIET) * scale - 0.5
    square = np.array([(low, low), (high, low), (high, high), (low, high)], np.float32)
    first = np.maximum(np.floor(quad.min(axis=0) - 2 * module), 0).astype(int)
    last = np.ceil(quad.max(axis=0) + 2 * module).astype(int)
    part = np.ascontiguousarray(plain[first[1] : last[1], first[0] : last[0]])
    start = cv2.getPerspectiveTransform(square, (quad - first).astype(np.float32)).astype(np.float32)
    try:
        fit: Any = cv2.findTransformECC
        _, laid = fit(drawn, part, start, cv2.MOTION_HOMOGRAPHY, _FIT, None, 3)
    except cv2.error:  # it does not come to an end
        return quad
    corners = cv2.perspectiveTransform(square[None].astype(np.float64), laid.astype(np.float64))[0] + first
    return corners if np.abs(corners - quad).max() < 3 * module + 3 else quad


def _barcodes(plain: Image) -> Iterator[_Marker]:
    """At full size and at half: the detector does not see bars that are very wide."""
    for scale in (1.0, 0.5):
        seen = plain if scale == 1 else np.asarray(cv2.resize(plain, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        try:
            done, said, types, quads = cv2.barcode.BarcodeDetector().detectAndDecodeWithType(seen)
        except cv2.error:  # on odd pictures its own checks fail
            continue
        if not done or quads is None:
            continue
        for text, type_, quad in zip(said, types, np.asarray(quads, np.float64).reshape(-1, 4, 2), strict=False):
            if text and _is_shape(quad):
                # OpenCV begins at the lower left.
                yield _Marker("barcode", type_, -1, text, (np.roll(quad, -1, axis=0) + 0.5) / scale - 0.5)


def _by_zxing(plain: Image, wanted: str, kinds: Mapping[str, str]) -> Iterator[_Marker]:
    """What ZXing reads, if it is installed. Its corners are edges of pixels; those of bars lie along the line that it has read."""
    names = [name for name, kind in kinds.items() if wanted in ("all", kind)]
    if not names or not is_installed(_MODULE):
        return
    import zxingcpp

    formats: Any = [getattr(zxingcpp.BarcodeFormat, name) for name in names]
    for code in zxingcpp.read_barcodes(np.ascontiguousarray(plain), formats=formats):
        said = re.sub(r"[ -]", "", str(code.format)).casefold()
        name = next((name for name in names if name.casefold() == said), None)
        type_ = re.sub(r"[ -]", "_", str(code.format)).upper()
        place = code.position
        corners = [(corner.x, corner.y) for corner in (place.top_left, place.top_right, place.bottom_right, place.bottom_left)]
        quad = np.array(corners, np.float64) - 0.5
        if name is None or not code.text or not _is_shape(quad) or (type_ in _UNCHECKED and len(code.text) < _LEAST_UNCHECKED):
            continue
        yield _Marker(kinds[name], "qr" if name == "QRCode" else type_, -1, code.text, quad)


def _without_doubles(markers: Iterator[_Marker]) -> list[_Marker]:
    """The largest first. Of those in the same place the one counts that was found first, and ArUco's 7x7 more than 4x4."""
    kept: list[_Marker] = []
    for marker in sorted(markers, key=_trust, reverse=True):
        middle = marker.corners.mean(axis=0)
        if all(np.linalg.norm(middle - other.corners.mean(axis=0)) > _SAME * min(other.size, marker.size) for other in kept):
            kept.append(marker)
    return sorted(kept, key=lambda marker: (-marker.size, *marker.corners[0]))


def _trust(marker: _Marker) -> int:
    """How little chance gives such a code: by its number of bits. What has a checksum comes first."""
    if marker.kind in ("qr", "barcode", "matrix"):
        return 1000
    return int(dictionary_of(marker.type).markerSize) ** 2


def _row(marker: _Marker, image: Image) -> tuple[float, ...]:
    width, height = size_of(image)
    x, y = marker.corners.mean(axis=0)
    right = marker.corners[1] - marker.corners[0]
    angle = float(direction(*right))
    place = (x, y, (x + 0.5) / width, 1 - (y + 0.5) / height)
    return KINDS[marker.kind], marker.id, *place, marker.size, angle, *marker.corners.ravel().tolist()


def _marked(image: Image, markers: Sequence[_Marker]) -> Image:
    """A copy of the image, 8 bits BGR, with each code's outline, a dot at its own top left, and what it says."""
    canvas = color(with_depth(image, 8)).copy()
    for marker in markers:
        draw_polygon(canvas, marker.corners)
        draw_dot(canvas, marker.corners[0], CENTER)
    for marker in markers:
        draw_label(canvas, marker.text[:_LABEL], marker.corners.mean(axis=0))
    return canvas
