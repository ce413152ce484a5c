"""`component`: the files of the TouchDesigner component, for those who have installed the worker without its repository."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from worker.cli import show

#: A folder that has this file is one of ours, of this or of an older version.
OURS = "ImageWorkerExt.py"
#: Notes in the folder what was written, so that the next call knows which files somebody has changed since.
RECORD = ".td-image-worker.json"
#: They serve the repository only, as do names that begin with a dot.
LEFT_OUT = {"ruff.toml", "__pycache__"}


@click.command(
    epilog="""\b
Examples:
  td-image-worker component td
  td-image-worker component C:/show/td

Run it again after an update of the worker, then build the component again in TouchDesigner: your parameters, tables and callbacks are kept.
A file in DIR that you have changed is kept, too, under another name, such as frames.py.before.
"""
)
@click.argument("name", metavar="DIR")
def component(*, name: str) -> None:
    """Write the files of the TouchDesigner component into a folder, and print the line that builds it.

    DIR is made if it does not exist. Best is a folder of its own beside your project, such as C:/show/td.
    """
    if not name.strip():
        raise click.UsageError("DIR is empty. Name a folder, such as C:/show/td.")
    folder = Path(name).expanduser().absolute()  # PowerShell hands ~ on as it is
    try:
        written = write(folder)
    except OSError as error:
        show.complain(f"{error.filename}: {error.strerror}." if error.filename else str(error))
        sys.exit(show.BAD_ARGUMENTS)
    show.say(f"{written.count} files are in {folder.as_posix()}.")
    for path, copy in written.kept.items():
        show.say(f"{path} was not as this program had written it, and was replaced. It is kept as {copy}.")
    for path in written.removed:
        show.say(f"{path} was of an older version, and was removed.")
    show.say("In TouchDesigner open the Textport (Alt+T), and type this line:")
    show.say()
    click.echo(textport_line(folder, getattr(sys.stdout, "encoding", None) or "ascii"))
    show.say()
    show.say(f"If Start then does not find the worker, set Worker Program on the component's page Process to {program()}")


def textport_line(folder: Path, encoding: str = "utf-8") -> str:
    r"""What builds the component, typed into TouchDesigner's Textport.

    Args:
        folder: absolute.
        encoding: of the console or pipe that shows the line. What it does not have is written as an escape, and not as a question mark.

    >>> textport_line(Path("/show/td"))
    "import runpy; runpy.run_path('/show/td/build.py', run_name='__main__')"
    >>> print(textport_line(Path("/\u03c9/td"), "cp1252"))
    import runpy; runpy.run_path('/\u03c9/td/build.py', run_name='__main__')
    """
    path = folder.as_posix() + "/build.py"
    line = f"import runpy; runpy.run_path({path!r}, run_name='__main__')"
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return f"import runpy; runpy.run_path({path!a}, run_name='__main__')"
    return line


def source() -> Traversable:
    """Where the component's files are: in the package, or beside it in the repository.

    Raises:
        FileNotFoundError: neither.
    """
    package = resources.files("worker")
    for place in (package / "td", Path(str(package)).parent / "td"):
        if (place / OURS).is_file():
            return place
    raise FileNotFoundError("The TouchDesigner component is not in this installation. Install the worker again.")


def program() -> str:
    """The program that runs this, as the component's parameter wants it."""
    name = Path(sys.argv[0])
    if getattr(sys, "frozen", False) or name.stem != "td-image-worker":
        return Path(sys.executable).as_posix()
    found = name if name.is_file() else name.with_suffix(".exe")  # Windows leaves the ending out
    return (found if found.is_file() else Path(sys.executable)).absolute().as_posix()


@dataclass(frozen=True, slots=True)
class Written:
    """What `write` has done.

    Attributes:
        count: of the component's files.
        kept: the files that were not as this program had written them, and the names under which they were kept.
        removed: those of an older version that this one does not have.
    """

    count: int
    kept: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)


def write(folder: Path) -> Written:
    """Writes the files. Those of an older version are replaced; those that somebody has changed since are kept under another name.

    Raises:
        FileExistsError: it is a file, or the folder has a file of the same name that is not the component's.
        OSError: the folder cannot be made or written.
    """
    place = source()
    files = dict(_files(place, ""))
    written = Written(len(files))
    if folder.is_file():
        raise FileExistsError(f"{folder.as_posix()} is a file. Name a folder, such as {folder.parent.as_posix()}/td.")
    if isinstance(place, Path) and folder.resolve() == place.resolve():
        return written
    foreign = [name for name in files if (folder / name).exists()]
    if foreign and not (folder / OURS).is_file():
        raise FileExistsError(
            f"{folder.as_posix()} has a {foreign[0]} that is not the component's. Choose another folder, such as {folder.as_posix()}/td."
        )
    recorded = _recorded(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            before = path.read_bytes()
            if before == content:
                continue
            if _digest(before) != recorded.get(name):
                copy = next(copy for copy in _copies(path) if not copy.exists())
                copy.write_bytes(before)
                written.kept[name] = copy.relative_to(folder).as_posix()
        path.write_bytes(content)
    for name in sorted(recorded.keys() - files.keys()):
        path = folder / name
        if path.is_file() and path.resolve().is_relative_to(folder.resolve()) and _digest(path.read_bytes()) == recorded[name]:
            path.unlink()
            written.removed.append(name)
    digests = {name: _digest(content) for name, content in files.items()}
    (folder / RECORD).write_text(json.dumps({"files": digests}, indent=1) + "\n", encoding="utf-8")
    return written


def _recorded(folder: Path) -> dict[str, str]:
    """The files that were written into the folder, with their digests; none if it was done without a record, or by hand."""
    try:
        files = json.loads((folder / RECORD).read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _copies(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}.before")
    for number in itertools.count(2):
        yield path.with_name(f"{path.name}.before-{number}")


def _files(place: Traversable, before: str) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for entry in sorted(place.iterdir(), key=lambda entry: entry.name):
        if entry.name in LEFT_OUT or entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _files(entry, f"{before}{entry.name}/")
        else:
            found.append((before + entry.name, entry.read_bytes()))
    return found
