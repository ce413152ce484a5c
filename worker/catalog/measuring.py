"""The parameters of the operations that measure pictures and choose among them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, WRITE_JSON, DataOut, ImageIn, ImageOut, Params, Region


class Measure(Params, frozen=True, kw_only=True):
    image: ImageIn
    region: Region = ""
    histogram: Annotated[
        str,
        Meta(
            extra=WRITE_JSON,
            description="JSON file to write: 256 shares of the pixels for each of r, g, b and grey; {name} and {n} as usual",
        ),
    ] = ""
    overlay: Annotated[ImageOut, Meta(description="picture to write: the image with its histogram; {name} and {n} as usual")] = ""
    data: DataOut = ""


class PickBest(Params, frozen=True, kw_only=True):
    image: ImageIn
    by: Annotated[
        Literal["sharpness", "brightness", "contrast", "noise", "clipping"],
        Meta(description="what decides: the sharpest, brightest, most contrast, least noise, or least that is pure black or white"),
    ] = "sharpness"
    every: Annotated[int, Meta(ge=0, le=20_000, description="picks the best of every N images in a row; 0 = the best of all")] = 0
    region: Region = ""
    output: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: the best one of all, its ending names the format")] = ""
    data: DataOut = ""
