"""The small pictures of the page. A catalogue of its own: jobs cannot ask for them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.catalog import Catalog
from worker.catalog.params import DataOut, ImageIn, ImageOut, Params
from worker.catalog.rows import Column, OperationInfo


class Thumbnail(Params, frozen=True, kw_only=True):
    image: ImageIn
    size: Annotated[int, Meta(ge=16, le=4096, description="longest side in pixels; a smaller picture stays as it is")] = 256
    overlay: ImageOut = ""
    data: DataOut = ""


THUMBNAIL = "thumbnail"
THUMBNAILS = Catalog(
    (
        OperationInfo(
            THUMBNAIL,
            Thumbnail,
            "Makes a small JPEG of a picture.",
            kind=THUMBNAIL,
            columns=(Column("width", 0), Column("height", 0)),
            texts=("jpeg",),
        ),
    )
)
