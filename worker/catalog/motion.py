"""The parameters of the operations that see what moved from one picture to the next."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import READ, WRITE, WRITE_IMAGE, DataOut, ImageIn, ImageOut, Params
from worker.catalog.video import End, Every, Start, Unit

_Reference = Annotated[
    str,
    Meta(
        extra=READ,
        description="earlier picture to compare with, the same for all; empty = each image with the one before it in the folder, pattern "
        "or video",
    ),
]
_Images = Annotated[ImageIn, Meta(description="an image file, a folder, a pattern such as shots/*.png, or a video")]
_Every = Annotated[Every, Meta(description="video: 1 = each frame, 10 = each tenth, compared with the one taken before it")]
_Start = Annotated[Start, Meta(description="video: first frame that is used, as `unit` says")]
_End = Annotated[End, Meta(description="video: first frame that is not used any more, as `unit` says; 0 = to the end")]
_Unit = Annotated[Unit, Meta(description="video: what start and end count, from 0 at the first frame")]


class FindMotion(Params, frozen=True, kw_only=True):
    image: _Images
    reference: _Reference = ""
    threshold: Annotated[
        float, Meta(ge=1, le=255, description="least change that counts, in levels of 255; noise is measured, and added to it")
    ] = 12.0
    light: Annotated[
        Literal["steady", "changes", "local"],
        Meta(
            description="what light may do: changes = the whole picture gets brighter, darker or tinted; local = parts of it, softly; "
            "steady = nothing, so such a change counts as motion"
        ),
    ] = "changes"
    min_area: Annotated[
        float, Meta(ge=0, le=1e9, extra={"unit": "px"}, description="least number of changed pixels; 0 = a 5000th of the picture")
    ] = 0.0
    join: Annotated[float, Meta(ge=0, le=1000, extra={"unit": "px"}, description="changes nearer to each other than this are one")] = 12.0
    max_items: Annotated[int, Meta(ge=1, le=1000, description="maximum number of things per image, the largest first")] = 100
    mask: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: white where something moved")] = ""
    every: _Every = 1
    start: _Start = 0.0
    end: _End = 0.0
    unit: _Unit = "seconds"
    overlay: ImageOut = ""
    data: DataOut = ""


class OpticalFlow(Params, frozen=True, kw_only=True):
    image: _Images
    reference: _Reference = ""
    step: Annotated[
        int, Meta(ge=0, le=4096, extra={"unit": "px"}, description="distance of the vectors in the result; 0 = one vector, the mean of all")
    ] = 32
    min_length: Annotated[float, Meta(ge=0, le=4096, extra={"unit": "px"}, description="shorter vectors are not in the result")] = 0.0
    detail: Annotated[
        Literal["low", "medium", "high"], Meta(description="high measures to a tenth of a pixel, and is several times as slow as low")
    ] = "high"
    max_items: Annotated[int, Meta(ge=1, le=100_000, description="maximum number of vectors per image, from the top left")] = 10_000
    flow: Annotated[
        str,
        Meta(
            extra=WRITE,
            description="motion of each pixel to write: .exr (red x, green y in pixels, 32 bits), .npy, or .png .tif (16 bits, see range)",
        ),
    ] = ""
    up: Annotated[
        bool, Meta(description="flow: 1 = green is positive upwards, as TouchDesigner's textures are; 0 = downwards, as dy in the result")
    ] = True
    range: Annotated[
        float,
        Meta(ge=0.1, le=4096, extra={"unit": "px"}, description="motion that flow as .png .tif shows as 1, half as 0.75, none as 0.5"),
    ] = 32.0
    wheel: Annotated[
        str, Meta(extra=WRITE_IMAGE, description="picture to write: hue shows the direction, brightness the length up to range")
    ] = ""
    every: _Every = 1
    start: _Start = 0.0
    end: _End = 0.0
    unit: _Unit = "seconds"
    overlay: ImageOut = ""
    data: DataOut = ""
