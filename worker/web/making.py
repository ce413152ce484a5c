"""Who makes the pictures of the page, and what comes of it. A file of its own, because the worker's thread needs no more of the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

import msgspec


class Picture(msgspec.Struct, frozen=True):
    """A JPEG.

    Attributes:
        width, height: of the picture that it was made of.
    """

    jpeg: bytes
    width: int
    height: int


#: Gets the picture, or a sentence why there is none.
Answer = Callable[[Picture | str], None]


class Maker(Protocol):
    """Makes pictures in another process."""

    def ask(self, path: str, size: int, answer: Answer) -> bool:
        """Wants the picture of a file. `answer` is called in another thread, once; False if too many are wanted already."""


class NoPictures:
    """Makes none."""

    sentence: ClassVar[str] = "This worker makes no pictures."

    def ask(self, path: str, size: int, answer: Answer) -> bool:  # noqa: ARG002 - as the others
        """Says so."""
        answer(self.sentence)
        return True
