"""The parameters of the operations that find settings for other operations."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import READ, WRITE_IMAGE, DataOut, ImageOut, Params, Quality

_OneImage = Annotated[str, Meta(min_length=1, extra=READ, description="one image file")]
_Values = "values to try, such as 0.3 0.5 0.7; if they have spaces, with | between them"


class Tune(Params, frozen=True, kw_only=True):
    image: _OneImage
    examples: Annotated[
        str, Meta(min_length=1, max_length=4000, description="circles to find, such as 120 80 30; 200 90 31: x y radius in pixels of each")
    ]
    preset: Annotated[str, Meta(max_length=50, description="preset in which the worker keeps the settings; empty = none")] = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class Sweep(Params, frozen=True, kw_only=True):
    image: _OneImage
    target: Annotated[str, Meta(min_length=1, max_length=100, description="operation to try")]
    param: Annotated[str, Meta(min_length=1, max_length=100, description="its parameter that changes from left to right")]
    values: Annotated[str, Meta(min_length=1, max_length=4000, description=_Values)]
    second_param: Annotated[str, Meta(max_length=100, description="a second one, which changes from top to bottom; empty = none")] = ""
    second_values: Annotated[str, Meta(max_length=4000, description="values to try of second_param")] = ""
    settings: Annotated[
        str, Meta(max_length=8000, description="the operation's other parameters, as key=value with ; between them; the rest is default")
    ] = ""
    show: Annotated[
        str, Meta(max_length=100, description="which picture of the operation to show, such as explain; empty = overlay or output")
    ] = ""
    output: Annotated[str, Meta(min_length=1, extra=WRITE_IMAGE, description="sheet to write: a picture for each value or pair of values")]
    tile_width: Annotated[int, Meta(ge=64, le=2048, extra={"unit": "px"}, description="each picture is made no wider than this")] = 480
    tile_height: Annotated[int, Meta(ge=64, le=2048, extra={"unit": "px"}, description="each picture is made no higher than this")] = 360
    max_seconds: Annotated[
        float, Meta(ge=1, le=86_400, extra={"unit": "s"}, description="after this time no further value is tried; timeout_ms ends the job")
    ] = 45.0
    quality: Quality = 90
    data: DataOut = ""

    def tries(self) -> str:
        return self.target
