"""The parameters of the operations that put pictures and text together."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import READ, WRITE_IMAGE, Color, ImageIn, Params, Quality

_Quality = Quality


class Overlay(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write; {name} and {n} stand for the input's name and number")
    ]
    picture: Annotated[str, Meta(extra=READ, description="picture to lay on top, such as a logo with alpha; empty = none")] = ""
    text: Annotated[str, Meta(max_length=500, description="text to write on top; empty = none; it may have several lines")] = ""
    anchor: Annotated[
        Literal["top_left", "top", "top_right", "left", "center", "right", "bottom_left", "bottom", "bottom_right"],
        Meta(description="place in the image that x and y count from; picture and text lie with the same side at it"),
    ] = "center"
    x: Annotated[int, Meta(ge=-16384, le=16384, extra={"unit": "px"}, description="moves it to the right")] = 0
    y: Annotated[int, Meta(ge=-16384, le=16384, extra={"unit": "px"}, description="moves it down")] = 0
    width: Annotated[
        int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="width of the picture on top, its proportions stay; 0 = as it is")
    ] = 0
    opacity: Annotated[float, Meta(ge=0, le=1, description="0 = cannot be seen, 1 = as it is")] = 1.0
    blend: Annotated[
        Literal["normal", "multiply", "screen", "add", "difference"], Meta(description="how the colours of both are put together")
    ] = "normal"
    text_size: Annotated[float, Meta(ge=6, le=1000, extra={"unit": "px"}, description="size of the letters")] = 48.0
    text_color: Annotated[Color, Meta(description="colour of the text as #rrggbb")] = "#ffffff"
    text_edge: Annotated[int, Meta(ge=0, le=20, extra={"unit": "px"}, description="dark edge round the letters; 0 = none")] = 2
    quality: _Quality = 90


class ContactSheet(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write: all images in rows")]
    columns: Annotated[int, Meta(ge=0, le=1000, description="pictures in a row; 0 = automatic, about as many as there are rows")] = 0
    tile_width: Annotated[int, Meta(ge=8, le=4096, extra={"unit": "px"}, description="each image is made no wider than this")] = 240
    tile_height: Annotated[int, Meta(ge=8, le=4096, extra={"unit": "px"}, description="each image is made no higher than this")] = 180
    gap: Annotated[int, Meta(ge=0, le=500, extra={"unit": "px"}, description="room around each image")] = 8
    labels: Annotated[bool, Meta(description="1 writes each image's name below it")] = True
    background: Annotated[Color, Meta(description="colour between the images as #rrggbb")] = "#202020"
    quality: _Quality = 90
