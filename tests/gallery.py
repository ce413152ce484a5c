"""The gallery: what each operation makes of a real picture, from the examples of `tests/examples.py`.

python -m tests.gallery             # makes docs/gallery anew
python -m tests.gallery NAME ...    # only these operations' pictures
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from pathlib import Path

import cv2

from tests.docs import grouped
from tests.examples import EXAMPLES, copy_data
from worker.catalog.compositing import ContactSheet
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Plan, Task
from worker.files.paths import VIDEO_ENDINGS, FileRules
from worker.files.spelling import natural
from worker.operations.compositing import contact_sheet
from worker.operations.shapes import Picture
from worker.operations.table import OPERATIONS
from worker.pictures import video
from worker.pictures.pixels import Image, color, with_depth
from worker.tasks.run import run_task

GALLERY = Path(__file__).parents[1] / "docs" / "gallery"
WIDEST = 640
QUALITY = 85


def made(name: str, folder: Path) -> None:
    """Runs an example to its end.

    Raises:
        SystemExit: it failed.
    """
    EXAMPLES[name].prepare(folder)
    files = FileRules((folder,))
    params, _ = CATALOG.parse_job(name, EXAMPLES[name].pairs.items())
    outcome = run_task(Task(1, name, params), files, lambda _: None)
    if isinstance(outcome, Plan):
        result = outcome.base
        for part in outcome.parts:
            done = run_task(Task(1, name, params, Phase.PART, part=part), files, lambda _: None)
            if isinstance(done, Failure):
                sys.exit(f"{name}: {done.message}")
            result = result.joined(done)
        outcome = run_task(Task(1, name, params, Phase.FINISH, joined=result), files, lambda _: None) if outcome.finish else result
    if isinstance(outcome, Failure):
        sys.exit(f"{name}: {outcome.message}")


def pictures(folder: Path, shown: str) -> list[Picture]:
    """The picture to show; several if it is a pattern, or the frames of a video."""
    path = folder / shown
    if path.suffix in VIDEO_ENDINGS:
        with video.opened(path) as found:
            return [Picture(n, f"{seconds:g} s", decoded()) for n, seconds, decoded in found.frames()]
    paths = sorted(folder.glob(shown), key=lambda path: natural(path.parts))
    return [Picture(n, path.stem, cv2.imread(str(path), cv2.IMREAD_UNCHANGED)) for n, path in enumerate(paths)]


def show(folder: Path, shown: str, target: Path) -> None:
    """A JPEG of the picture for the page, no wider than it needs to be; of several a sheet."""
    found = pictures(folder, shown)
    image = found[0].image if len(found) == 1 else sheet_of(found)
    picture = color(with_depth(image, 8))
    scale = min(1.0, WIDEST / picture.shape[1])
    smaller = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    cv2.imwrite(str(target), smaller, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def sheet_of(found: list[Picture]) -> Image:
    """Many pictures on one, with their names."""
    params = ContactSheet(image="-", output="-", columns=4, tile_width=150, tile_height=120)
    return contact_sheet(iter(found), params).images["output"]


def command(name: str) -> str:
    """The example as it is typed. What a shell would read in its own way stands in quotes; the same ones do for all shells.

    >>> command("crop")
    'td-image-worker run crop image=board.jpg output=cropped.png "region=40 40 400 400" aspect=16:9'
    """
    pairs = (f"{key}={value}" for key, value in EXAMPLES[name].pairs.items())
    return " ".join(("td-image-worker run", name, *(pair if re.fullmatch(r"[\w.:/=-]+", pair) else f'"{pair}"' for pair in pairs)))


def page() -> str:
    """The gallery as Markdown, group by group."""
    lines = [
        "# Gallery",
        "",
        "One picture of each operation that shows something, and the command that made it. The inputs are in `tests/data`, or",
        "`tests/examples.py` makes them of those. `python -m tests.gallery` makes this page.",
        "",
    ]
    for group, members in grouped(CATALOG[name] for name in CATALOG if EXAMPLES[name].shown).items():
        lines += [f"## {group}", ""]
        for name in (row.name for row in members):
            lines += [f"### {name}", "", EXAMPLES[name].about, "", "```sh", command(name), "```", "", f"![{name}]({name}.jpg)", ""]
    return "\n".join(lines)


def main(names: list[str]) -> None:
    GALLERY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        copy_data(folder)
        for name, example in EXAMPLES.items():
            if not example.shown or (names and name not in names):
                continue
            if example.needs and importlib.util.find_spec(example.needs) is None:
                print(f"{name} is left as it was: it needs {example.needs}")
                continue
            if reason := OPERATIONS[name].unavailable().get(""):
                print(f"{name} is left as it was: {reason}")
                continue
            made(name, folder)
            show(folder, example.shown, GALLERY / f"{name}.jpg")
            print(name)
    (GALLERY / "README.md").write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
