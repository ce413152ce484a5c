"""What the functions of an artist's own return, looked at before it is used: an image of numbers from 0 to 1 would be written black."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.catalog.rows import OperationInfo
from worker.errors import InternalError
from worker.operations.shapes import Detector, Filter, Folder, Found, Operation, Rows, Source
from worker.pictures.pixels import Image

_IMAGE = "an array (height, width) or (height, width, 3 or 4) of np.uint8 or np.uint16"
_DEPTHS = (np.uint8, np.uint16)


def held_to_its_shape(row: OperationInfo, operation: Operation) -> Operation:
    """The operation, whose functions raise InternalError with one sentence if they return what their shape does not allow."""

    def found(made: Any) -> Found:
        return _found(row, made if isinstance(made, Found) else Found(_rows(row, made)))

    def found_or_image(made: Any) -> Found | Image:
        return _found(row, made) if isinstance(made, Found) else _image(row, made)

    def numbered(made: Any) -> tuple[Image, Rows]:
        if not isinstance(made, tuple) or len(made) != 2:
            raise InternalError(f"{row.name} returned {_kind(made)}; a Source returns an image and rows.")
        return _image(row, made[0]), _rows(row, made[1])

    match operation:
        case Filter():
            return dataclasses.replace(operation, apply=_followed(row, operation.apply, found_or_image))
        case Detector():
            draw = _followed(row, operation.draw, lambda made: _image(row, made)) if operation.draw is not None else None
            return dataclasses.replace(operation, find=_followed(row, operation.find, found), draw=draw)
        case Folder():
            return dataclasses.replace(operation, combine=_followed(row, operation.combine, found))
        case Source():
            return dataclasses.replace(operation, make=_followed(row, operation.make, numbered))
    return operation


def _followed(row: OperationInfo, function: Callable[..., Any], look: Callable[[Any], Any]) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        try:
            made = function(*given)
        except Exception:
            raise
        except BaseException as error:  # noqa: BLE001 - also a panic of a library in Rust, or what ends a task of asyncio
            raise InternalError(f"{row.name} failed: it raised {type(error).__name__}, which ends programs.") from None
        return look(made)

    return call


def _found(row: OperationInfo, found: Found) -> Found:
    rows = _rows(row, found.rows)
    if row.texts and (len(found.texts) != len(rows) or any(len(texts) != len(row.texts) for texts in found.texts)):
        raise InternalError(f"{row.name} returned texts for {len(found.texts)} of {len(rows)} rows; each row needs {', '.join(row.texts)}.")
    return dataclasses.replace(found, rows=rows, images={name: _image(row, image) for name, image in found.images.items()})


def _image(row: OperationInfo, made: Any) -> Image:
    if not isinstance(made, np.ndarray):
        raise InternalError(f"{row.name} returned {_kind(made)} and no image; an image is {_IMAGE}.")
    image = made[..., 0] if made.ndim == 3 and made.shape[2] == 1 else made
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)) or not image.size:
        raise InternalError(f"{row.name} returned an array of the shape {made.shape}; an image is {_IMAGE}.")
    if image.dtype not in _DEPTHS:
        raise InternalError(
            f"{row.name} returned an image of {image.dtype}; an image is {_IMAGE}.",
            "Bring it to 0 up to 255, then write np.clip(image, 0, 255).astype(np.uint8).",
        )
    return np.ascontiguousarray(image)


def _rows(row: OperationInfo, made: Any) -> Rows:
    names = ", ".join(column.name for column in row.columns)
    count = len(row.columns)
    try:
        rows: NDArray[np.float64] = np.array([*made], np.float64)
    except (TypeError, ValueError):
        raise InternalError(f"{row.name} returned {_kind(made)} and no rows of {count} numbers: {names}.") from None
    if not rows.size and (rows.ndim != 2 or rows.shape[1] != count):
        return np.empty((0, count))
    if rows.ndim != 2 or rows.shape[1] != count:
        raise InternalError(f"{row.name} returned an array of the shape {rows.shape}; its rows have {count} columns: {names}.")
    if not np.isfinite(rows).all():
        at, column = np.argwhere(~np.isfinite(rows))[0]
        raise InternalError(f"{row.name} returned {rows[at, column]} as {row.columns[column].name} of row {at}; a column holds numbers.")
    return rows


def _kind(made: Any) -> str:
    return "nothing (None)" if made is None else f"{type(made).__name__}"
