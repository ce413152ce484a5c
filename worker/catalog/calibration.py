"""The parameters of the operations that measure a camera, and what follows from its calibration."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.markers import Dictionary
from worker.catalog.params import WRITE, WRITE_IMAGE, DataOut, ImageIn, Params

#: The boards that are printed for calibration.
BOARDS = ("chessboard", "charuco", "circles", "asymmetric_circles")

_Columns = Annotated[int, Meta(ge=2, le=100, description="squares in a row of the board, or circles in a row of the grid")]
_Rows = Annotated[int, Meta(ge=2, le=100, description="rows of squares, or of circles")]
_Marker = Annotated[
    float,
    Meta(ge=0, le=1e6, description="ChArUco: side of a marker, in the same unit as size; 0 = three quarters of a square"),
]


class Calibrate(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description="calibration to write, as JSON; undistort and pose read it")]
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
        Literal["simple", "standard", "rational"],
        Meta(description="distortion: simple = k1 k2, standard = k1 k2 p1 p2 k3, rational = k4 k5 k6 too, for very wide lenses"),
    ] = "standard"
    max_error: Annotated[
        float,
        Meta(ge=0, le=1000, extra={"unit": "px"}, description="images whose error is larger are left out at the end; 0 = none is"),
    ] = 0.0
    overlay: Annotated[
        str, Meta(extra=WRITE_IMAGE, description="sheet to write: the corners found in the images, and where they should be")
    ] = ""
    data: DataOut = ""
