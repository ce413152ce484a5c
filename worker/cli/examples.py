"""The examples of the demo: three that write and draw, and two that find circles, with the check of what stands on the disk afterwards.

The first three do what three well-known TouchDesigner scripts do in a thread of TouchDesigner. Nothing here needs OpenCV.
"""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

LINES = 100_000
IMAGES = 500
SIZE = 512
RADIUS = 63
CLOSE_PX = 2.0

TEXT = {"header": "Start Working Function", "line": "For loop {n} entry", "footer": "Ending working Function", "count": LINES}
ATTEMPT_1 = "temp-files/attempt1.txt"
ATTEMPT_2 = "temp-files/attempt2.txt"
DRAWN = "temp-files/imgs/attempt{n}.png"
FOUND = "temp-files/circle-found.png"
PHOTOGRAPH = "smarties.png"
OVERLAY = "smarties-circles.png"
CONTACT_SHEET = "contact-sheet.png"
#: The sweets in the photograph: twelve whole ones, and two that its edge cuts off.
SWEETS, SWEETS_AT_LEAST = 14, 12

Item = dict[str, float]
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Checked:
    """What stands on the disk after an example.

    Attributes:
        problem: the first thing that is not as it should be, as a sentence; empty if all is well.
    """

    what: str
    size_bytes: int
    found: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One job of the demo.

    Attributes:
        name: what it is called in the demo's output.
        check: called with the folder and the job's items.
    """

    name: str
    operation: str
    params: dict[str, Any]
    check: Callable[[Path, Sequence[Item]], Checked]


def examples() -> Iterator[Example]:
    """The examples of which everything is known beforehand."""
    yield Example("text_pyThreads", "write_text", {"output": ATTEMPT_1, **TEXT}, lambda folder, _: check_text(folder, ATTEMPT_1))
    drawing = {"output": DRAWN, "count": IMAGES, "width": SIZE, "height": SIZE, "radius": RADIUS, "color": "#ff0000"}
    yield Example("text_pyThreads_openCV", "draw_circles", drawing, check_images)
    yield Example("text_pyThreads_queue", "write_text", {"output": ATTEMPT_2, **TEXT}, lambda folder, _: check_text(folder, ATTEMPT_2))


def looking_at(drawn: Sequence[Item]) -> Example:
    """The example that finds a circle again: in the first image whose circle is not cut off by the border."""
    number = next(n for n, item in enumerate(drawn) if all(RADIUS < item[axis] < SIZE - RADIUS for axis in ("x", "y")))
    params = {"image": DRAWN.replace("{n}", str(number)), "overlay": FOUND}
    return Example("find_circles", "find_circles", params, lambda folder, items: check_found(folder, items, drawn[number]))


def photograph() -> Example:
    """The example that looks for circles in a photograph, and marks them."""
    return Example("photograph", "find_circles", {"image": PHOTOGRAPH, "overlay": OVERLAY}, check_photograph)


def prepare(folder: Path) -> None:
    """Puts the photograph that comes with the program into the folder."""
    shutil.copyfile(Path(__file__).with_name("pictures") / PHOTOGRAPH, folder / PHOTOGRAPH)


def next_commands(folder: Path) -> Iterator[tuple[str, str]]:
    """What to try after the demo, and why."""
    program = "td-image-worker" if shutil.which("td-image-worker") else f"{as_word(sys.executable)} -m worker"
    yield f"{program} ops", "What else it can do"
    yield f"{program} run find_circles {as_word(f'image={folder / PHOTOGRAPH}')} overlay=found.png", "The same circles, without a worker"
    yield f"{program} serve --root .", "A worker for TouchDesigner, until Ctrl-C"


def as_word(text: str) -> str:
    """The text as a shell of this system reads one word."""
    if sys.platform == "win32":
        return text if re.fullmatch(r"[\w:=.\\/-]+", text) else f'"{text}"'
    return shlex.quote(text)


def small_file(name: str, text: str) -> tuple[str, dict[str, Any]]:
    """The job by which the doctor sees whether a worker can write: its operation and parameters."""
    return "write_text", {"output": name, "text": text}


def remove_old(folder: Path) -> None:
    """Takes away what an earlier demo wrote, so that nothing of it is taken for new."""
    for name in (ATTEMPT_1, ATTEMPT_2, FOUND, OVERLAY, CONTACT_SHEET, *(DRAWN.replace("{n}", str(n)) for n in range(IMAGES))):
        (folder / name).unlink(missing_ok=True)


# -------------------------------------------------------------------------------------------------------------- checks


def seed_text() -> bytes:
    """What the text files must hold, byte for byte."""
    lines = [TEXT["header"], *(f"For loop {n} entry" for n in range(LINES)), TEXT["footer"]]
    return "\n".join(map(str, lines)).encode()


def check_text(folder: Path, name: str) -> Checked:
    """Whether a text file holds exactly the text."""
    content = _read(folder / name)
    lines = content.count(b"\n") + 1 if content else 0
    problem = "" if content == seed_text() else f"{name} does not hold the expected {LINES + 2:,} lines."
    return Checked(name, len(content), f"{lines:,} lines, each as expected" if not problem else f"{lines:,} lines", problem)


def check_images(folder: Path, items: Sequence[Item]) -> Checked:
    """Whether all images are whole, and the result names the centre of each; y of one image is x of the next."""
    names = [DRAWN.replace("{n}", str(n)) for n in range(IMAGES)]
    contents = [_read(folder / name) for name in names]
    whole = sum(png_size(content) == (SIZE, SIZE) for content in contents)
    problem = ""
    if whole != IMAGES:
        problem = f"{IMAGES - whole} of {IMAGES} images are missing or damaged."
    elif len(items) != IMAGES or any(here["y"] != following["x"] for here, following in pairwise(items)):
        problem = f"The result does not name the {IMAGES} centres in their order."
    return Checked(DRAWN, sum(map(len, contents)), f"{whole} PNGs of {SIZE} x {SIZE}, {len(items)} centres", problem)


def check_found(folder: Path, items: Sequence[Item], drawn: Item) -> Checked:
    """Whether the circle that was drawn, and no other, was found, and the annotated picture is whole."""
    content = _read(folder / FOUND)
    found = f"{len(items)} circles"
    problem = ""
    if len(items) != 1 or any(abs(items[0][key] - drawn[key]) > CLOSE_PX for key in ("x", "y", "radius")):
        problem = f"find_circles found {len(items)} circles, not the one that was drawn at {drawn['x']:g}, {drawn['y']:g}."
    elif png_size(content) != (SIZE, SIZE):
        problem = f"{FOUND} is missing or damaged."
    if len(items) == 1:
        found = "1 circle: " + "; ".join(
            f"{word} {item['x']:.1f}, {item['y']:.1f} radius {item['radius']:.1f}" for word, item in (("drawn", drawn), ("found", items[0]))
        )
    return Checked(FOUND, len(content), found, problem)


def check_photograph(folder: Path, items: Sequence[Item]) -> Checked:
    """Whether the sweets were found, and the annotated photograph is whole and as large as the photograph."""
    content = _read(folder / OVERLAY)
    problem = ""
    if not SWEETS_AT_LEAST <= len(items) <= SWEETS:
        problem = f"find_circles found {len(items)} circles in {PHOTOGRAPH}; {SWEETS_AT_LEAST} to {SWEETS} were expected."
    elif png_size(content) is None or png_size(content) != png_size(_read(folder / PHOTOGRAPH)):
        problem = f"{OVERLAY} is missing or damaged."
    return Checked(OVERLAY, len(content), f"{len(items)} circles marked", problem)


def png_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG file that is whole, checksums included; None of anything else."""
    if not content.startswith(_PNG_HEAD):
        return None
    position, kind = len(_PNG_HEAD), b""
    while position + 12 <= len(content) and kind != b"IEND":
        (length,) = struct.unpack_from(">I", content, position)
        kind = content[position + 4 : position + 8]
        checked = content[position + 4 : position + 8 + length]
        if content[position + 8 + length : position + 12 + length] != struct.pack(">I", zlib.crc32(checked)):
            return None
        position += 12 + length
    if kind != b"IEND" or position != len(content):
        return None
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
