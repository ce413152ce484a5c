"""What the demo takes for proof."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from worker.catalog.table import CATALOG
from worker.cli import examples


def png(width: int, height: int) -> bytes:
    """A whole PNG file without any pixel that matters."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_png_size() -> None:
    """Width and height of a whole file."""
    assert examples.png_size(png(512, 256)) == (512, 256)


@pytest.mark.parametrize(
    "damage", [b"", b"\x89PNG\r\n\x1a\n", png(5, 5)[:-1], png(5, 5) + b"x", png(5, 5).replace(b"IDAT", b"IDAX"), b"GIF89a"]
)
def test_damaged_png(damage: bytes) -> None:
    """Cut off, lengthened, changed or something else: no size."""
    assert examples.png_size(damage) is None


def test_the_seed_text() -> None:
    """As the TouchDesigner script writes it: 100,002 lines, no newline at the end."""
    lines = examples.seed_text().decode().split("\n")
    assert len(lines) == 100_002
    assert (lines[0], lines[1], lines[100_000], lines[100_001]) == (
        "Start Working Function",
        "For loop 0 entry",
        "For loop 99999 entry",
        "Ending working Function",
    )


def test_check_text(tmp_path: Path) -> None:
    """Byte for byte."""
    (tmp_path / "temp-files").mkdir()
    path = tmp_path / examples.ATTEMPT_1
    assert "does not hold" in examples.check_text(tmp_path, examples.ATTEMPT_1).problem
    path.write_bytes(examples.seed_text())
    assert examples.check_text(tmp_path, examples.ATTEMPT_1) == examples.Checked(
        examples.ATTEMPT_1, len(examples.seed_text()), "100,002 lines, each as expected"
    )
    path.write_bytes(examples.seed_text() + b"\n")
    assert examples.check_text(tmp_path, examples.ATTEMPT_1).problem


def test_check_images(tmp_path: Path) -> None:
    """All whole, and the chain of the centres unbroken."""
    (tmp_path / "temp-files" / "imgs").mkdir(parents=True)
    items = [{"x": float(n % 512), "y": float((n + 1) % 512)} for n in range(examples.IMAGES)]
    for n in range(examples.IMAGES):
        (tmp_path / examples.DRAWN.replace("{n}", str(n))).write_bytes(png(512, 512))
    assert examples.check_images(tmp_path, items).problem == ""
    assert "do not name" in examples.check_images(tmp_path, items[1:]).problem.replace("does not name", "do not name")
    (tmp_path / examples.DRAWN.replace("{n}", "7")).unlink()
    assert examples.check_images(tmp_path, items).problem == "1 of 500 images are missing or damaged."
    examples.remove_old(tmp_path)
    assert not list((tmp_path / "temp-files" / "imgs").iterdir())


def test_check_found(tmp_path: Path) -> None:
    """The circle that was drawn, within two pixels, and no other."""
    (tmp_path / "temp-files").mkdir()
    (tmp_path / examples.FOUND).write_bytes(png(512, 512))
    drawn = {"x": 100.0, "y": 200.0, "radius": 63.0}
    near = {"x": 101.0, "y": 199.0, "radius": 63.5}
    assert examples.check_found(tmp_path, [near], drawn).problem == ""
    assert examples.check_found(tmp_path, [], drawn).problem
    assert examples.check_found(tmp_path, [near, near], drawn).problem
    assert examples.check_found(tmp_path, [{**near, "x": 105.0}], drawn).problem


def test_the_examples_are_jobs() -> None:
    """The catalogue takes them as they are."""
    drawn = [{"x": 10.0, "y": 200.0, "radius": 63.0}, {"x": 200.0, "y": 300.0, "radius": 63.0}]
    last = examples.looking_at(drawn)
    assert last.params["image"].endswith("attempt1.png")
    for example in (*examples.examples(), last):
        CATALOG.parse_job(example.operation, example.params.items())


def test_photograph(tmp_path: Path) -> None:
    """It comes with the program; too few circles, or an overlay of another size, is a problem."""
    examples.prepare(tmp_path)
    size = examples.png_size((tmp_path / examples.PHOTOGRAPH).read_bytes())
    assert size == (413, 356)
    sweets = [{"x": 1.0, "y": 2.0, "radius": 3.0}] * 12
    assert "is missing or damaged" in examples.check_photograph(tmp_path, sweets).problem
    (tmp_path / examples.OVERLAY).write_bytes(png(412, 356))
    assert "is missing or damaged" in examples.check_photograph(tmp_path, sweets).problem
    (tmp_path / examples.OVERLAY).write_bytes(png(*size))
    assert examples.check_photograph(tmp_path, sweets).problem == ""
    assert "found 9 circles" in examples.check_photograph(tmp_path, sweets[:9]).problem
