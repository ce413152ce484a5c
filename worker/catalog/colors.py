"""The parameters of the operations on colours."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, Color, DataOut, ImageIn, ImageOut, Params, Quality, Region


class FindColors(Params, frozen=True, kw_only=True):
    image: ImageIn
    colors: Annotated[int, Meta(ge=1, le=64, description="maximum number of colours")] = 6
    min_difference: Annotated[
        float, Meta(ge=0, le=100, extra={"unit": "CIEDE2000"}, description="colours less different than this count as one; 2 is just seen")
    ] = 6.0
    min_share: Annotated[float, Meta(ge=0, le=1, description="colours with a smaller share of the picture are left out")] = 0.002
    order: Annotated[
        Literal["share", "lightness", "hue"],
        Meta(description="which colour comes first: the largest share, the darkest, or the first of the rainbow, greys at the end"),
    ] = "share"
    region: Region = ""
    swatch: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: a bar of the colours, each as wide as its share")] = ""
    palette: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: one pixel for each colour, one row, as a lookup")] = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class FindColorRegions(Params, frozen=True, kw_only=True):
    image: ImageIn
    color: Annotated[Color, Meta(description="colour to look for as #rrggbb")] = "#ff0000"
    to: Annotated[
        str, Meta(pattern=r"\A(#[0-9a-fA-F]{6})?\Z", description="other end of a range of colours as #rrggbb; empty = only `color`")
    ] = ""
    tolerance: Annotated[float, Meta(ge=0, le=100, description="how different a colour may be; 2 is just seen, 100 is black to white")] = (
        6.0
    )
    light: Annotated[
        float, Meta(ge=0, le=6, extra={"unit": "stops"}, description="how much brighter or darker the light on the colour may be")
    ] = 1.0
    smooth: Annotated[
        int, Meta(ge=0, le=50, extra={"unit": "px"}, description="gaps and specks up to about twice this size are closed and removed")
    ] = 1
    min_area: Annotated[int, Meta(ge=1, le=10**9, extra={"unit": "px"}, description="smallest area, counted in pixels")] = 50
    max_items: Annotated[int, Meta(ge=1, le=10_000, description="maximum number of regions per image, the largest first")] = 100
    region: Region = ""
    mask: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: the regions white, everything else black")] = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class MatchPalette(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write; {name} and {n} stand for the input's name and number")
    ]
    palette: Annotated[
        str, Meta(max_length=4096, description="colours as #rrggbb #rrggbb ..., 1 to 256; empty = those of palette_image")
    ] = ""
    palette_image: Annotated[
        str, Meta(extra={"role": "read"}, description="picture whose pixels are the colours, such as the palette of find_colors")
    ] = ""
    mode: Annotated[
        Literal["snap", "ramp"],
        Meta(description="snap: each pixel gets the nearest colour; ramp: dark to bright becomes first to last colour"),
    ] = "snap"
    dither: Annotated[float, Meta(ge=0, le=1, description="snap only: how strongly a fine pattern mixes colours in between; 0 = none")] = (
        0.0
    )
    amount: Annotated[float, Meta(ge=0, le=1, description="0 = the picture as it was, 1 = only colours of the palette")] = 1.0
    quality: Quality = 90
    data: DataOut = ""
