"""The parameters of the operations that cut, turn and bend pictures."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, Color, ImageIn, Params, Quality, Region

_Output = Annotated[
    str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write; {name} and {n} stand for the input's name and number")
]
_Quality = Quality
_Ground = Annotated[Color, Meta(description="colour where the picture shows nothing, as #rrggbb; if it has alpha, it is transparent there")]


class Crop(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: _Output
    region: Annotated[Region, Meta(description="part to keep: x y width height in pixels; empty = all of it")] = ""
    trim: Annotated[
        int, Meta(ge=-1, le=254, description="cuts off edges of one colour; values may differ by this much; -1 = does not")
    ] = -1
    margin: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="room that stays around what trim keeps")] = 0
    aspect: Annotated[
        str, Meta(max_length=20, description="then the largest part with these proportions, such as 16:9 or 1.5; empty = any")
    ] = ""
    anchor: Annotated[
        Literal["center", "left", "right", "top", "bottom"], Meta(description="aspect: which side stays; center cuts both sides alike")
    ] = "center"
    quality: _Quality = 90


class Rotate(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: _Output
    angle: Annotated[float, Meta(ge=-360, le=360, extra={"unit": "degrees"}, description="how far it turns, clockwise")] = 0.0
    flip: Annotated[
        Literal["none", "horizontal", "vertical"], Meta(description="before it turns: left and right, or top and bottom change places")
    ] = "none"
    expand: Annotated[bool, Meta(description="1 = the output holds the whole picture; 0 = it stays as large as it was")] = True
    background: _Ground = "#000000"
    quality: _Quality = 90


class Warp(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: _Output
    corners: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=200,
            description="four corners in pixels as x y x y x y x y: top left, top right, bottom right, bottom left",
        ),
    ]
    mode: Annotated[
        Literal["flatten", "pin"],
        Meta(description="flatten: what lies between the corners fills the output; pin: the picture's own corners go there"),
    ] = "flatten"
    width: Annotated[
        int,
        Meta(ge=0, le=16384, extra={"unit": "px"}, description="output width; 0 = automatic: the longer of the two sides, or as it was"),
    ] = 0
    height: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="output height; 0 = automatic")] = 0
    background: _Ground = "#000000"
    quality: _Quality = 90
