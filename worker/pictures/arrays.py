"""Arrays as the bytes of a file that NumPy reads."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def npz(**arrays: NDArray[Any]) -> bytes:
    """Several named arrays as one compressed .npz file, for `numpy.load`; the same arrays give the same bytes."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
