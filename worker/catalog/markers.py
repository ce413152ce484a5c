"""The parameters of the operation that finds printed codes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import DataOut, ImageIn, ImageOut, Params

#: Dictionaries of square markers, as `dictionary` names them. Those of AprilTag begin with "apriltag".
Dictionary = Literal[
    "auto",
    "4x4_50", "4x4_100", "4x4_250", "4x4_1000",
    "5x5_50", "5x5_100", "5x5_250", "5x5_1000",
    "6x6_50", "6x6_100", "6x6_250", "6x6_1000",
    "7x7_50", "7x7_100", "7x7_250", "7x7_1000",
    "original", "mip_36h12",
    "apriltag_16h5", "apriltag_25h9", "apriltag_36h10", "apriltag_36h11",
]  # fmt: skip


class FindMarkers(Params, frozen=True, kw_only=True):
    image: ImageIn
    kind: Annotated[
        Literal["all", "aruco", "apriltag", "qr", "barcode", "matrix"],
        Meta(description="what to look for; one kind is faster than all. matrix = Data Matrix, Aztec and others, by the package zxing-cpp"),
    ] = "all"
    dictionary: Annotated[
        Dictionary,
        Meta(
            description=(
                "ArUco and AprilTag: the set of the markers; auto = ids below 250 of all but original, 16h5 and 36h10, slower, and bad "
                "bits are repaired less"
            )
        ),
    ] = "auto"
    inverted: Annotated[bool, Meta(description="1 finds ArUco and AprilTag markers that are white on black, too")] = False
    max_items: Annotated[int, Meta(ge=1, le=1000, description="maximum number of markers per image, the largest first")] = 100
    overlay: ImageOut = ""
    data: DataOut = ""
