"""The parameters of the operations that say how alike pictures are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, DataOut, ImageIn, ImageOut, Params, ReferenceIn


class Compare(Params, frozen=True, kw_only=True):
    image: ImageIn
    reference: ReferenceIn
    threshold: Annotated[
        float, Meta(ge=0, le=255, extra={"unit": "of 255"}, description="a pixel has changed if one of its colours differs by more")
    ] = 8.0
    difference: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: how far each colour differs; black = not at all")] = (
        ""
    )
    overlay: Annotated[
        ImageOut, Meta(description="picture to write: what differs, in colour on the grey image; {name} and {n} as usual")
    ] = ""
    data: DataOut = ""


class FindDoubles(Params, frozen=True, kw_only=True):
    image: ImageIn
    max_distance: Annotated[
        int, Meta(ge=0, le=24, extra={"unit": "of 64 bits"}, description="by how many bits the perceptual hashes of doubles may differ")
    ] = 10
    min_ssim: Annotated[float, Meta(ge=-1, le=1, description="smallest SSIM of doubles, at 128 x 128 pixels; -1 = the hash is enough")] = (
        0.8
    )
    max_items: Annotated[int, Meta(ge=1, le=20_000, description="maximum number of groups, those of the most pictures first")] = 1000
    overlay: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: a row for each group, the best picture first")] = ""
    data: DataOut = ""
