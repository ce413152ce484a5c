"""The parameters of the operations on feature points."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import READ, WRITE, DataOut, ImageIn, ImageOut, Params, Region


class FindFeatures(Params, frozen=True, kw_only=True):
    image: ImageIn
    method: Annotated[
        Literal["orb", "sift", "fast", "corners", "akaze", "kaze", "brisk"],
        Meta(description="how features are found; akaze, kaze and brisk need OpenCV 4"),
    ] = "orb"
    max_items: Annotated[int, Meta(ge=1, le=100_000, description="how many features at most per image, the strongest first")] = 500
    spread: Annotated[bool, Meta(description="1 takes turns between all parts of the picture; 0 takes the strongest")] = True
    min_distance: Annotated[
        float,
        Meta(ge=0, le=16384, extra={"unit": "px"}, description="smallest distance between two features; 0 = any"),
    ] = 3.0
    region: Region = ""
    mask: Annotated[str, Meta(extra=READ, description="picture as large as the image, white where features are wanted")] = ""
    descriptors: Annotated[str, Meta(extra=WRITE, description=".npz file to write: the points, and what describes each of them")] = ""
    overlay: ImageOut = ""
    data: DataOut = ""
