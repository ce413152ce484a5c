"""The parameters of the operations that compare two pictures by their feature points."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from worker.catalog.params import WRITE_CSV, WRITE_IMAGE, DataOut, ImageIn, ImageOut, Params, Quality, ReferenceIn

_Method = Annotated[
    Literal["sift", "orb", "akaze", "kaze", "brisk"],
    Meta(description="how points are described; sift is surest, orb fastest; akaze, kaze and brisk need OpenCV 4"),
]
_Points = Annotated[int, Meta(ge=50, le=20_000, description="maximum number of points in each picture, the strongest first")]
_Ratio = Annotated[
    float, Meta(ge=0.3, le=1, description="a match counts if its distance is below this share of the second best; lower is stricter")
]
_Warped = Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: the image laid onto the reference, as large as that")]


class MatchFeatures(Params, frozen=True, kw_only=True):
    image: ImageIn
    reference: ReferenceIn
    method: _Method = "sift"
    points: _Points = 2000
    ratio: _Ratio = 0.8
    matches: Annotated[str, Meta(extra=WRITE_CSV, description="CSV file to write: the points of each match in both pictures")] = ""
    warped: _Warped = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class FindObject(Params, frozen=True, kw_only=True):
    image: ImageIn
    reference: ReferenceIn
    method: _Method = "sift"
    points: _Points = 4000
    ratio: _Ratio = 0.8
    max_items: Annotated[int, Meta(ge=1, le=100, description="maximum number of objects per image")] = 1
    warped: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture to write: the first object, seen as in the reference")] = ""
    overlay: ImageOut = ""
    data: DataOut = ""


class Align(Params, frozen=True, kw_only=True):
    image: ImageIn
    reference: Annotated[ReferenceIn, Meta(description="the picture that the others are laid onto, such as the first of the series")]
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write; {name} and {n} stand for the input's name and number")
    ]
    motion: Annotated[
        Literal["perspective", "similarity", "shift"],
        Meta(description="what may differ: perspective = any view of a plane, similarity = place, angle and size, shift = place only"),
    ] = "perspective"
    method: _Method = "sift"
    points: _Points = 2000
    ratio: _Ratio = 0.8
    quality: Quality = 90
    data: DataOut = ""


class Stitch(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE_IMAGE, description="panorama to write")]
    mode: Annotated[
        Literal["panorama", "scans"], Meta(description="panorama: a camera that turns; scans: a flat thing photographed in pieces")
    ] = "panorama"
    megapixels: Annotated[
        float, Meta(ge=0.1, le=100, extra={"unit": "MP"}, description="each picture is made no larger than this before it is stitched")
    ] = 4.0
    crop: Annotated[bool, Meta(description="1 cuts the black edges off")] = False
    quality: Quality = 90
