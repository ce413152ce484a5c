"""Arrays in NumPy's own file format."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode(array: NDArray[Any]) -> bytes:
    """The bytes of a file that `numpy.load` reads; never a pickle."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()
