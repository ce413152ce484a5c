"""The pictures of jobs, small for the list and large for a look. They are made elsewhere (`worker.service.thumbnails`), and kept here.

A browser names a job and one of its files, never a path. So it sees what jobs have read and written, and nothing else.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from worker.catalog.catalog import Catalog
from worker.files.frames import FrameName
from worker.web.making import Maker, Picture
from worker.web.state import Row, State

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

SMALL, LARGE = 320, 2560
CACHE_BYTES = 48 * 2**20
WITHIN_S = 30.0
MOST_INPUTS = 4
#: What may be a picture, by its ending. Others are not asked for.
ENDINGS = frozenset(
    {
        *(".avif", ".bmp", ".dib", ".exr", ".gif", ".hdr", ".heic", ".heif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pam", ".pbm"),
        *(".pgm", ".pic", ".png", ".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp"),
    }
)


class Pictures:
    """Those that were made lately. All methods are called in the server's thread.

    Args:
        maker: makes those that are not there.
    """

    def __init__(self, maker: Maker) -> None:
        self._maker = maker
        self._kept: OrderedDict[tuple[str, int, int], Picture | str] = OrderedDict()
        self._bytes = 0
        self._wanted: dict[tuple[str, int, int], asyncio.Future[Picture | str]] = {}

    async def of(self, path: str, size: int, version: int) -> Picture | str | None:
        """The picture of a file, or a sentence why there is none; None if too many are wanted now.

        Args:
            path: as the job names it.
            size: its longest side.
            version: another number for what a later job has written to the same path.
        """
        import asyncio  # the caller runs in its loop already

        key = (path, size, version)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._wanted:
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Picture | str] = loop.create_future()
            if not self._maker.ask(path, size, lambda what: _hand_over(loop, lambda: self._made(key, what))):
                return None
            self._wanted[key] = future
        return await asyncio.wait_for(asyncio.shield(self._wanted[key]), WITHIN_S)

    def _made(self, key: tuple[str, int, int], what: Picture | str) -> None:
        self._kept[key] = what
        self._bytes += _size(what)
        while self._bytes > CACHE_BYTES:
            _, old = self._kept.popitem(last=False)
            self._bytes -= _size(old)
        future = self._wanted.pop(key, None)
        if future is not None and not future.done():
            future.set_result(what)


def _hand_over(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        log.debug("a picture came after the page had ended")


def _size(what: Picture | str) -> int:
    return 200 + (len(what.jpeg) if isinstance(what, Picture) else len(what))


def is_picture(path: str) -> bool:
    """Whether this may be one picture, by its name. A frame must be named with its sequence, so that no later one is shown in its place.

    >>> is_picture("a.PNG"), is_picture("shots/*.png"), is_picture("a.csv"), is_picture("shots")
    (True, False, False, False)
    >>> is_picture("frame:out.frame#1@14"), is_picture("frame:out.frame")
    (True, False)
    """
    frame = FrameName.of(path)
    if frame is not None:
        return frame.sequence is not None
    ending = path[path.rfind(".") :].lower()
    return ending in ENDINGS and not any(one in path for one in "*?[")


def inputs_of(row: Row, state: State, catalog: Catalog) -> list[str]:
    """The pictures that a job reads, as far as it names single files."""
    content = state.content(row.n)
    info = catalog.get(row.operation)
    if not content or info is None:
        return []
    params: dict[str, Any] = msgspec.json.decode(content)[1]
    named = [params.get(field.name, "") for field in info.parameters if field.role == "read"]
    return [path for path in named if isinstance(path, str) and is_picture(path)][:MOST_INPUTS]
