"""The parameters of the operations on feature points."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import DataOut, ImageIn, ImageOut, Params


class FindFeatures(Params, frozen=True, kw_only=True):
    image: ImageIn
    method: Annotated[Literal["orb", "sift", "fast", "corners", "akaze", "kaze", "brisk"], Meta(description="how features are found")] = (
        "orb"
    )
    max_items: Annotated[int, Meta(ge=1, le=100_000, description="how many features at most per image, the strongest first")] = 500
    overlay: ImageOut = ""
    data: DataOut = ""
