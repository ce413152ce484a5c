"""Circles in images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from worker.errors import ArgumentError
from worker.operations.pixels import Image, grey, size_of, with_depth

if TYPE_CHECKING:
    from worker.catalog import FindCircles
    from worker.operations.shapes import Rows


def check(params: FindCircles) -> None:
    """Raises ArgumentError where the radii contradict each other."""
    if params.max_radius and params.min_radius > params.max_radius:
        raise ArgumentError(f"find_circles: min_radius {params.min_radius:g} is larger than max_radius {params.max_radius:g}.")


def find_circles(image: Image, params: FindCircles) -> Rows:
    """Finds circles, best first."""
    found = cv2.HoughCircles(cv2.medianBlur(grey(with_depth(image, 8)), 5), cv2.HOUGH_GRADIENT_ALT, 1.5, 10, param1=300, param2=0.8)
    rows = np.empty((0, 3)) if found is None else found.reshape(-1, found.shape[-1])[: params.max_items, :3].astype(float)
    width, height = size_of(image)
    return np.column_stack([rows, (rows[:, 0] + 0.5) / width, 1 - (rows[:, 1] + 0.5) / height, np.ones(len(rows))])
