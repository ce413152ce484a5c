"""A catalogue of small operations: one for each shape that the worker's own operations may have, now or later."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from msgspec import Meta

from worker.catalog.catalog import Catalog
from worker.catalog.noop import Noop
from worker.catalog.params import WRITE, DataOut, ImageIn, ImageOut, Params, ReferenceIn
from worker.catalog.rows import Column, OperationInfo, X, Y
from worker.operations.noop import noop
from worker.operations.shapes import Detector, Filter, Folder, Found, Nothing
from worker.pictures.pixels import color, grey, with_depth


class FindChanges(Params, frozen=True, kw_only=True):
    image: ImageIn
    reference: ReferenceIn
    max_items: Annotated[int, Meta(ge=1, le=100, description="how many changes at most")] = 3
    overlay: ImageOut = ""
    data: DataOut = ""


def find_changes(image, reference, params):
    """The pixels that differ most between two pictures: x, y, change."""
    change = grey(image).astype(float) - grey(reference)
    y, x = np.nonzero(change)
    order = np.argsort(-np.abs(change[y, x]), kind="stable")
    rows = np.column_stack([x, y, change[y, x]])[order]
    return Found(rows[: params.max_items], total=len(rows))


def mark_changes(image, reference, rows):
    canvas = color(with_depth(image, 8)).copy()
    for x, y in rows[:, :2].astype(int):
        canvas[y, x] = reference[y, x] if reference.ndim == 3 else (0, 0, 255)
    return canvas


class Threshold(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra={"role": "write", "holds": "image"}, description="picture of what is bright")]
    dark: ImageOut = ""
    data: DataOut = ""


def threshold(image, _params):
    """What is bright as a picture, what is dark as another, and the share of the bright pixels as a row."""
    bright = grey(image) > 127
    pictures = {"output": bright * np.uint8(255), "dark": ~bright * np.uint8(255)}
    return Found(np.array([[bright.mean()]]), pictures)


class Sheet(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra={"role": "write", "holds": "image"}, description="all images side by side")]
    names: Annotated[str, Meta(extra=WRITE, description="text file with the images' names")] = ""
    data: DataOut = ""


def sheet(pictures, _params):
    """All images side by side, their names as a file, and the mean of each as a row."""
    images, names, rows = [], [], []
    for picture in pictures:
        images.append(grey(picture.image))
        names.append(picture.name)
        rows.append((picture.image.mean(), picture.n))
    return Found(np.array(rows, float), {"output": np.hstack(images)}, {"names": "\n".join(names).encode()})


class Magic(Params, frozen=True, kw_only=True):
    image: ImageIn
    overlay: ImageOut = ""


def cannot():
    return {"": "the package `wand` is missing; install td-image-worker[magic]."}


CATALOG = Catalog(
    (
        OperationInfo("rest", Noop, "Does nothing.", probe=True),
        OperationInfo("find_changes", FindChanges, "Finds what differs.", "changes", (X, Y, Column("change"))),
        OperationInfo("threshold", Threshold, "Splits bright from dark.", "shares", (Column("share", 2),)),
        OperationInfo("sheet", Sheet, "Puts images side by side.", "means", (Column("mean", 1), Column("image", 0))),
        OperationInfo("magic", Magic, "Needs what is not here.", "tricks", (X, Y)),
    )
)

OPERATIONS = {
    "rest": Nothing(noop),
    "find_changes": Detector(find_changes, mark_changes, references=("reference",)),
    "threshold": Filter(threshold),
    "sheet": Folder(sheet),
    "magic": Detector(find_changes, mark_changes, unavailable=cannot),
}

#: As a file of an artist's own would have it.
OWN = {OperationInfo("threshold", Threshold, "Splits bright from dark.", "shares", (Column("share", 2),)): Filter(threshold)}
