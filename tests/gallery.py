"""The gallery: what each operation makes of a real picture, from the examples of `tests/examples.py`.

python -m tests.gallery             # makes docs/gallery anew
python -m tests.gallery NAME ...    # only these operations' pictures
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

import cv2

from tests.examples import EXAMPLES, copy_data
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Plan, Task
from worker.files.paths import FileRules
from worker.operations.table import OPERATIONS
from worker.pictures.pixels import color, with_depth
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


def show(source: Path, target: Path) -> None:
    """A JPEG of the picture for the page, no wider than it needs to be."""
    picture = color(with_depth(cv2.imread(str(source), cv2.IMREAD_UNCHANGED), 8))
    scale = min(1.0, WIDEST / picture.shape[1])
    smaller = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    cv2.imwrite(str(target), smaller, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def command(name: str) -> str:
    """The example as it is typed."""
    pairs = (
        f'{key}="{value}"' if " " in str(value) or "#" in str(value) else f"{key}={value}" for key, value in EXAMPLES[name].pairs.items()
    )
    return " ".join(("td-image-worker run", name, *pairs))


def page() -> str:
    """The gallery as Markdown, family by family."""
    lines = ["# Gallery", "", "One picture of each operation. `python -m tests.gallery` makes this page.", ""]
    family = ""
    for name, row in CATALOG.items():
        if not EXAMPLES[name].shown:
            continue
        if row.family != family:
            family = row.family
            lines += [f"## {family.capitalize()}", ""]
        lines += [f"### {name}", "", EXAMPLES[name].about, "", "```", command(name), "```", "", f"![{name}]({name}.jpg)", ""]
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
            show(folder / example.shown, GALLERY / f"{name}.jpg")
            print(name)
    (GALLERY / "README.md").write_text(page(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
