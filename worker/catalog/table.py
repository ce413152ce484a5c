"""The operations of this worker: the one table from which help, `/worker/describe` and the tables in the docs are made.

Each row has a twin of the same name in `worker.operations.table`, which holds the functions; a test keeps the two together.
Rows stand together by family: a family is a file here and a file of the same name in `worker/operations`.
"""

from __future__ import annotations

from worker.catalog.catalog import Catalog
from worker.catalog.circles import FindCircles
from worker.catalog.convert import Convert
from worker.catalog.drawing import DrawCircles
from worker.catalog.features import FindFeatures
from worker.catalog.noop import Noop
from worker.catalog.rows import ANGLE, RADIUS, RESPONSE, SCORE, SIZE, U, V, X, Y
from worker.catalog.rows import OperationInfo as Row
from worker.catalog.text import WriteText

_CIRCLE = (X, Y, RADIUS, U, V, SCORE)
_FEATURE = (X, Y, SIZE, ANGLE, RESPONSE, U, V)

CATALOG = Catalog(
    (
        # noop
        Row("noop", Noop, "Does nothing; measures the way to a child process and back.", probe=True),
        # text
        Row("write_text", WriteText, "Writes a text file.", item="file", few=10_000),
        # drawing
        Row("draw_circles", DrawCircles, "Draws images with one circle each.", "circles", _CIRCLE, item="file", few=8),
        # circles
        Row("find_circles", FindCircles, "Finds circles in images.", "circles", _CIRCLE),
        # features
        Row("find_features", FindFeatures, "Finds feature points in images.", "features", _FEATURE),
        # convert
        Row("convert", Convert, "Reads images, resizes them if asked, and writes them in another format.", item="file"),
    )
)
