"""The parameters of the operation that follows things in a live picture."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.live import LiveParams
from worker.catalog.params import READ_BYTES, WRITE_IMAGE, Region


class Track(LiveParams, frozen=True, kw_only=True):
    what: Annotated[
        Literal["circles", "markers", "colors", "motion", "template", "blobs", "contours", "rectangles", "faces"],
        Meta(description="what to follow; template = the thing in the picture `reference`"),
    ] = "circles"
    region: Region = ""
    rotate: Annotated[Literal[0, 90, 180, 270], Meta(description="the picture is turned clockwise by this angle first, in degrees")] = 0
    flip: Annotated[Literal["none", "horizontal", "vertical", "both"], Meta(description="then it is mirrored")] = "none"
    detect_width: Annotated[
        int,
        Meta(
            ge=0,
            le=16384,
            extra={"unit": "px"},
            description="the search sees pictures no wider than this, which is faster; 0 = as they are",
        ),
    ] = 0
    width: Annotated[
        int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="results are in pixels of a picture of this width; 0 = the source's")
    ] = 0
    height: Annotated[
        int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="results are in pixels of a picture of this height; 0 = the source's")
    ] = 0
    lens: Annotated[
        str, Meta(extra=READ_BYTES, description="calibration file of the camera, from calibrate: results are without its distortion")
    ] = ""
    perspective: Annotated[
        str,
        Meta(
            max_length=400,
            description="corners of a flat area, x y of each, from the top left clockwise: results are in this area, seen straight",
        ),
    ] = ""
    confirm: Annotated[
        int, Meta(ge=1, le=100, extra={"unit": "frames"}, description="how many times a thing must be seen before it counts")
    ] = 2
    keep: Annotated[
        int, Meta(ge=0, le=10_000, extra={"unit": "frames"}, description="how long an object keeps its id while it is not seen")
    ] = 15
    distance: Annotated[
        float,
        Meta(
            ge=0,
            le=16384,
            extra={"unit": "px"},
            description="how far from its expected place an object may turn up in the next picture; 0 = a sixteenth of the longer side",
        ),
    ] = 0.0
    size_ratio: Annotated[float, Meta(ge=1.01, le=100, description="by which factor its size may change from one picture to the next")] = (
        2.0
    )
    fps: Annotated[
        float, Meta(ge=0.1, le=240, extra={"unit": "1/s"}, description="image folder or pattern: how many are shown a second")
    ] = 25.0
    speed: Annotated[
        float,
        Meta(
            ge=0,
            le=100,
            description="videos and images: 1 = as fast as they were recorded; 0 = each picture, as fast as it can be searched",
        ),
    ] = 1.0
    loop: Annotated[bool, Meta(description="videos and images: 1 = begin again at the end; otherwise the job ends with them")] = False
    silent_s: Annotated[
        float, Meta(ge=0.5, le=3600, extra={"unit": "s"}, description="how long a source may bring no picture before it is opened again")
    ] = 5.0
    overlay: Annotated[
        str,
        Meta(
            extra=WRITE_IMAGE,
            description="live picture to write, with what is followed, its id and trail: frame:NAME for each picture that is searched, "
            "an image file once a second; empty = none",
        ),
    ] = ""
