"""`component`: the files of the TouchDesigner component, for those who have installed the worker without its repository."""

from __future__ import annotations

import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from worker.cli import show

#: A folder that has this file is one of ours, of this or of an older version.
OURS = "ImageWorkerExt.py"
#: They serve the repository only, as do names that begin with a dot.
LEFT_OUT = {"ruff.toml", "__pycache__"}


@click.command(
    epilog="""\b
Examples:
  td-image-worker component td
  td-image-worker component C:/show/td

Run it again after an update of the worker, then build the component again in TouchDesigner: your parameters, tables and callbacks are kept.
"""
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def component(*, folder: Path) -> None:
    """Write the files of the TouchDesigner component into a folder, and print the line that builds it.

    DIR is made if it does not exist. Best is a folder of its own beside your project, such as C:/show/td.
    """
    folder = folder.absolute()
    try:
        count = write(folder)
    except OSError as error:
        show.complain(f"{error.filename}: {error.strerror}." if error.filename else str(error))
        sys.exit(show.BAD_ARGUMENTS)
    show.say(f"{count} files are in {folder.as_posix()}.")
    show.say("In TouchDesigner open the Textport (Alt+T), and type this line:")
    show.say()
    click.echo(textport_line(folder))
    show.say()
    show.say(f"If Start then does not find the worker, set Worker Program on the component's page Process to {program()}")


def textport_line(folder: Path) -> str:
    """What builds the component, typed into TouchDesigner's Textport.

    >>> textport_line(Path("/show/td"))
    "import runpy; runpy.run_path('/show/td/build.py', run_name='__main__')"
    """
    return f"import runpy; runpy.run_path({folder.as_posix() + '/build.py'!r}, run_name='__main__')"


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


def write(folder: Path) -> int:
    """Writes the files; those of an older version are replaced. How many there are.

    Raises:
        FileExistsError: it is a file, or the folder has a file of the same name that is not the component's.
        OSError: the folder cannot be made or written.
    """
    files = dict(_files(source(), ""))
    if folder.is_file():
        raise FileExistsError(f"{folder.as_posix()} is a file. Name a folder, such as {folder.parent.as_posix()}/td.")
    foreign = [name for name in files if (folder / name).exists()]
    if foreign and not (folder / OURS).is_file():
        raise FileExistsError(
            f"{folder.as_posix()} has a {foreign[0]} that is not the component's. Choose another folder, such as {folder.as_posix()}/td."
        )
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return len(files)


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
