"""Files with operations of an artist's own, as text, for the tests."""

from __future__ import annotations

import hashlib
from pathlib import Path

from worker.catalog.rows import OwnFile

HEAD = """\
from typing import Annotated, Literal

import numpy as np

from worker.operations.own import WRITE_IMAGE, Column, Detector, Filter, Found, Image, ImageIn, ImageOut, Meta, Params, Row


class Fade(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write")]
    amount: Annotated[float, Meta(ge=0, le=1, description="1 = black")] = 0.5
    mode: Annotated[Literal["even", "odd"], Meta(description="which rows")] = "even"


def fade(image: Image, params: Fade) -> Image:
    return (image * (1 - params.amount)).astype(image.dtype)


"""
TABLE = 'OPERATIONS = {Row("fade", Fade, "Makes pictures darker.", item="file"): Filter(fade)}\n'
FADE = HEAD + TABLE


def own_file(text: str, where: str = "/show/my_ops.py") -> OwnFile:
    """The file, as the parent reads it."""
    return OwnFile(where, hashlib.sha256(text.encode()).hexdigest(), text.encode())


def save(path: Path, text: str) -> None:
    """Writes the file as an editor does: another one takes its place."""
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
