"""The operations by name: what `worker.catalog.table.CATALOG` describes, stands here as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.operations import circles, convert, drawing, features, text
from worker.operations.shapes import Detector, Filter, Nothing, Source, Text

if TYPE_CHECKING:
    from collections.abc import Mapping

Operation = Nothing | Text | Source | Detector | Filter

OPERATIONS: Mapping[str, Operation] = {
    "noop": Nothing(),
    "write_text": Text(text.check, text.steps, text.blocks, text.between),
    "draw_circles": Source(drawing.check, drawing.count, drawing.draw_circle),
    "find_circles": Detector(circles.find_circles, circles.mark_circles, circles.check),
    "find_features": Detector(features.find_features, features.mark_features, features.check),
    "convert": Filter(convert.convert, convert.check),
}


def unavailable() -> dict[str, str]:
    """What this build of OpenCV cannot do, with the reason: an operation, or an operation and one of its values."""
    return {f"find_features method={method}": reason for method, reason in features.missing_methods().items()}
