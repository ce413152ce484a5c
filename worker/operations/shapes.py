"""The four shapes an operation can have. The tasks around it (files, batches, tables) need to know no more than its shape.

All functions are pure: image and frozen params in, values out, no file is opened. Each shape has a `check`, which looks at what the
params class cannot express (how two parameters go together) and raises `ArgumentError`; it is called once, before any work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.pictures.pixels import Image

#: One row per item found, the columns as in the catalogue's `fields`.
Rows = NDArray[np.float64]


def anything_goes(_params: Any) -> None:
    """The check of an operation whose params class says everything."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Takes nothing and makes nothing."""

    check: Callable[[Any], None] = anything_goes


@dataclass(frozen=True, slots=True)
class Text:
    """Makes text from numbers.

    Attributes:
        steps: how many steps of progress the params mean.
        blocks: yields how many steps are done, and the bytes of the text so far not yielded.
        between: what separates the text from what a file to append to already holds.
    """

    check: Callable[[Any], None]
    steps: Callable[[Any], int]
    blocks: Callable[[Any], Iterator[tuple[int, bytes]]]
    between: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """Makes images from numbers.

    Attributes:
        count: how many images the params mean.
        make: image number `n`, and the rows that describe it.
    """

    check: Callable[[Any], None]
    count: Callable[[Any], int]
    make: Callable[[Any, int], tuple[Image, Rows]]


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds items in an image.

    Attributes:
        find: the rows found, best first.
        draw: a copy of the image, 8 bits BGR, with the rows marked in it.
    """

    find: Callable[[Image, Any], Rows]
    draw: Callable[[Image, Rows], Image]
    check: Callable[[Any], None] = anything_goes


@dataclass(frozen=True, slots=True)
class Filter:
    """Makes one image from another."""

    apply: Callable[[Image, Any], Image]
    check: Callable[[Any], None] = anything_goes
