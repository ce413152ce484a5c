"""The parameters of the operations that write images in another form."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, ImageIn, Params, Quality


class Convert(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="file to write, its ending names the format; {name} and {n} as in overlay")
    ]
    width: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="new width; 0 = keep, or follow the height")] = 0
    height: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="new height; 0 = keep, or follow the width")] = 0
    quality: Quality = 90
    depth: Annotated[Literal[0, 8, 16], Meta(extra={"unit": "bits"}, description="bits per channel to write; 0 = as read")] = 0
    profile: Annotated[
        Literal["keep", "srgb"],
        Meta(description="colour profile: keep = goes along (into PNG, JPEG, TIFF, WebP); srgb = the colours are brought to sRGB"),
    ] = "keep"
