"""The parameters of the operations that measure a camera, and what follows from its calibration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.markers import Dictionary
from worker.catalog.params import READ_BYTES, WRITE_IMAGE, WRITE_JSON, Color, DataOut, ImageIn, ImageOut, Params, Quality

_Columns = Annotated[int, Meta(ge=2, le=100, description="squares in a row of the board, or circles in a row of the grid")]
_Rows = Annotated[int, Meta(ge=2, le=100, description="rows of squares, or of circles")]
_Marker = Annotated[
    float,
    Meta(ge=0, le=1e6, description="ChArUco: side of a marker, in the same unit as size; 0 = three quarters of a square"),
]


class Calibrate(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE_JSON, description="calibration to write, as JSON; undistort and pose read it")]
    board: Annotated[
        Literal["chessboard", "charuco", "circles", "asymmetric_circles"],
        Meta(description="what is seen in the images; ChArUco may be cut off at an edge, the others must be seen whole"),
    ] = "chessboard"
    columns: _Columns = 10
    rows: _Rows = 7
    size: Annotated[
        float,
        Meta(
            ge=1e-6,
            le=1e6,
            description="side of a square, or distance from circle to circle (asymmetric: half of it within a row); in any unit",
        ),
    ] = 1.0
    marker: _Marker = 0.0
    dictionary: Annotated[Dictionary, Meta(description="ChArUco: the set of its markers; auto = the one that fits best")] = "auto"
    model: Annotated[
        Literal["simple", "standard", "rational", "fisheye"],
        Meta(
            description="distortion: simple = k1 k2, standard = k1 k2 p1 p2 k3, rational = k4 k5 k6 too, for wide lenses; "
            "fisheye = k1 to k4 of its own, for 120 degrees and more"
        ),
    ] = "standard"
    max_error: Annotated[
        float,
        Meta(ge=0, le=1000, extra={"unit": "px"}, description="images whose error is larger are left out at the end; 0 = none is"),
    ] = 0.0
    overlay: Annotated[
        str, Meta(extra=WRITE_IMAGE, description="sheet to write: the corners found in the images, and where they should be")
    ] = ""
    data: DataOut = ""


class Undistort(Params, frozen=True, kw_only=True):
    image: ImageIn
    calibration: Annotated[str, Meta(min_length=1, extra=READ_BYTES, description="JSON file that calibrate wrote for this camera")]
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write; {name} and {n} stand for the input's name and number")
    ]
    alpha: Annotated[
        float, Meta(ge=0, le=1, description="0 = no empty edges, 1 = everything that the camera saw is kept; between them: some of both")
    ] = 0.0
    crop: Annotated[bool, Meta(description="1 cuts the output to what has no empty edges")] = False
    background: Annotated[Color, Meta(description="colour of empty edges, as #rrggbb; if the picture has alpha, they are transparent")] = (
        "#000000"
    )
    new_calibration: Annotated[
        str, Meta(extra=WRITE_JSON, description="calibration of the output to write, as JSON: the new camera matrix, no distortion")
    ] = ""
    quality: Quality = 90
    data: DataOut = ""


class Pose(Params, frozen=True, kw_only=True):
    image: ImageIn
    calibration: Annotated[
        str, Meta(extra=READ_BYTES, description="JSON file that calibrate wrote for this camera; empty = field_of_view")
    ] = ""
    field_of_view: Annotated[
        float,
        Meta(ge=0, le=170, extra={"unit": "degrees"}, description="without calibration: how much the camera sees across; less exact"),
    ] = 0.0
    board: Annotated[
        Literal["markers", "chessboard", "charuco", "circles", "asymmetric_circles"],
        Meta(description="what is looked for: single ArUco and AprilTag markers, or a board as in calibrate"),
    ] = "markers"
    size: Annotated[
        float,
        Meta(
            ge=1e-6,
            le=1e6,
            description="side of a marker's black square, or of a square of the board, or distance of circles; in the unit wanted",
        ),
    ] = 1.0
    columns: _Columns = 10
    rows: _Rows = 7
    marker: _Marker = 0.0
    dictionary: Annotated[Dictionary, Meta(description="the set of the markers; auto = the common ones, slower")] = "auto"
    place: Annotated[
        Literal["board", "camera"],
        Meta(description="board = where board or marker is, seen from the camera; camera = where the camera is, seen from board or marker"),
    ] = "board"
    max_items: Annotated[int, Meta(ge=1, le=1000, description="maximum number of markers per image, the largest first")] = 100
    overlay: ImageOut = ""
    data: DataOut = ""
