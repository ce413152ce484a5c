"""The parameters of the operations that find outlines: contours, blobs, lines and rectangles."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, WRITE_JSON, DataOut, ImageIn, ImageOut, Params, Region


class FindContours(Params, frozen=True, kw_only=True):
    image: ImageIn
    of: Annotated[
        Literal["bright", "dark", "alpha"], Meta(description="what has contours: what is brighter or darker than threshold, or opaque")
    ] = "bright"
    threshold: Annotated[float, Meta(ge=0, le=255, extra={"unit": "of 255"}, description="0 = automatic (Otsu)")] = 0.0
    holes: Annotated[bool, Meta(description="1 finds holes in things, too, and things in holes")] = False
    min_area: Annotated[float, Meta(ge=0, le=1e9, extra={"unit": "px"}, description="smallest area, counted in pixels")] = 20.0
    tolerance: Annotated[
        float, Meta(ge=0, le=1000, extra={"unit": "px"}, description="how far simplified points may lie from the contour; 0 = all points")
    ] = 1.0
    max_items: Annotated[int, Meta(ge=1, le=100_000, description="maximum number of contours per image, the largest first")] = 500
    region: Region = ""
    points: Annotated[
        str, Meta(extra=WRITE_JSON, description="JSON file to write: for each contour its simplified points and its hull")
    ] = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class FindBlobs(Params, frozen=True, kw_only=True):
    image: ImageIn
    of: Annotated[Literal["bright", "dark", "both"], Meta(description="spots that are brighter or darker than what is around them")] = (
        "both"
    )
    min_radius: Annotated[float, Meta(ge=0.5, le=16384, extra={"unit": "px"}, description="smallest radius")] = 3.0
    max_radius: Annotated[
        float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="largest radius; 0 = automatic, a quarter of the shorter side")
    ] = 0.0
    roundness: Annotated[float, Meta(ge=0, le=1, description="smallest roundness; 1 = only circles, 0 = any shape")] = 0.5
    contrast: Annotated[
        float, Meta(ge=1, le=255, extra={"unit": "of 255"}, description="smallest difference from what is around; lower is slower")
    ] = 20.0
    max_items: Annotated[int, Meta(ge=1, le=10_000, description="maximum number of blobs per image, the largest first")] = 500
    region: Region = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class FindLines(Params, frozen=True, kw_only=True):
    image: ImageIn
    min_length: Annotated[
        float, Meta(ge=0, le=30_000, extra={"unit": "px"}, description="shortest line; 0 = automatic, a fiftieth of the picture's diagonal")
    ] = 0.0
    angle: Annotated[
        float, Meta(ge=-1, le=180, extra={"unit": "degrees"}, description="direction, 0 = level, 90 = upright; -1 = any")
    ] = -1.0
    angle_tolerance: Annotated[float, Meta(ge=0, le=90, extra={"unit": "degrees"}, description="how far from angle a line may be")] = 5.0
    max_items: Annotated[int, Meta(ge=1, le=100_000, description="maximum number of lines per image, the longest first")] = 500
    region: Region = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class FindRectangles(Params, frozen=True, kw_only=True):
    image: ImageIn
    min_area: Annotated[float, Meta(ge=0.0001, le=1, description="smallest area as a share of the picture")] = 0.01
    support: Annotated[float, Meta(ge=0.3, le=1, description="share of each side that must be seen as a straight edge")] = 0.6
    max_items: Annotated[int, Meta(ge=1, le=1000, description="maximum number of rectangles per image, the largest first")] = 10
    warped: Annotated[
        str,
        Meta(extra=WRITE_IMAGE, description="picture to write: the first rectangle, seen straight from the front; black if there is none"),
    ] = ""
    width: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="width of warped; 0 = as it is seen")] = 0
    height: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="height of warped; 0 = as it is seen")] = 0
    overlay: ImageOut = ""
    data: DataOut = ""
