"""Directions as the columns `angle` give them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: As many digits as rows have. A direction that is rounded later could become a whole turn, which is 0.
_DIGITS = 2


def within(degrees: float | NDArray[Any], turn: int = 360) -> NDArray[np.float64]:
    """Directions from 0 up to, and without, a whole turn.

    >>> within(np.array([-0.001, 359.999, 361.5, -90]))
    array([  0. ,   0. ,   1.5, 270. ])
    """
    return np.asarray(np.round(degrees, _DIGITS) % turn + 0.0)


def direction(across: NDArray[Any], down: NDArray[Any], turn: int = 360) -> NDArray[np.float64]:
    """Degrees clockwise from the right, of ways given by pixels to the right and down.

    >>> direction(np.array([1, 0, -1]), np.array([-1e-9, 1, 0])).tolist()
    [0.0, 90.0, 180.0]
    """
    return within(np.degrees(np.arctan2(down, across + 0.0)), turn)  # of no way at all it is 0, and not that of minus zero
