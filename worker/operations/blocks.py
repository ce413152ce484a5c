"""The blocks of JPEG: how strongly a picture was compressed, seen in its pixels.

JPEG describes each 8 by 8 pixels by themselves. With few bits, steps appear at the borders of these blocks, and waves beside strong edges,
up to a block away from them.
"""

from __future__ import annotations

import numpy as np

from worker.pictures.pixels import Image

#: Pixels; the side of a block.
BLOCK = 8
#: From this measure on a picture is taken as strongly compressed: with plain grounds below quality 70, photographs of cameras seldom.
STRONG = 1.3

_LARGEST = 8  # grey levels; what is larger is a step of the picture
_LOOKED_AT = 48  # so many rows and columns
_FLOOR = 0.02  # grey levels


def waves(image: Image) -> int:
    """How many pixels from a strong edge compression has left waves; 0 if the picture was not compressed strongly."""
    return BLOCK if blockiness(image) >= STRONG else 0


def blockiness(image: Image) -> float:
    """How many times larger the steps between pixels are at the borders of blocks than within them; 1 for pictures that were no JPEG.

    Args:
        image: 8 bits, grey or colour, of which green is looked at; at the size at which it was compressed.

    Returns:
        the lower of the measures along rows and along columns; 1 for 16 bits, which JPEG does not have, and for less than two blocks.
    """
    if image.dtype != np.uint8 or min(image.shape[:2]) < 2 * BLOCK:
        return 1.0
    rows, columns = (max(1, side // _LOOKED_AT) for side in image.shape[:2])
    across, down = image[::rows], image[:, ::columns].swapaxes(0, 1)
    return min(_along_rows(part if image.ndim == 2 else part[..., 1]) for part in (across, down))


def _along_rows(plane: Image) -> float:
    whole = plane[:, : plane.shape[1] // BLOCK * BLOCK + 1]
    before, after = whole[:, :-1], whole[:, 1:]
    steps = np.minimum(np.maximum(before, after) - np.minimum(before, after), _LARGEST)
    places = steps.mean(axis=0)
    places = places[: len(places) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=0)
    return float(places[-1] / (np.median(places[1:-2]) + _FLOOR))
