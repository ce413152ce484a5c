"""Which files a job may read and write, and how the sender's spelling of a path becomes ours and back.

Every decision about a path is made here, and nowhere else. No numpy and no cv2: the parent process may ask, too.
"""

from __future__ import annotations

import fnmatch
import logging
import os
import re
import stat
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from worker.errors import ArgumentError, DiskFull, MissingFile, PathError, UnsupportedFormat
from worker.files import handles
from worker.files.frames import ENDING, PREFIX, FrameName
from worker.files.handles import Place, place_of
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.spelling import as_stored, natural, near, without_case
from worker.words import composed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

log = logging.getLogger(__name__)

_WILDCARDS = re.compile(r"[*?\[]")
_SLASH = re.compile(r"[/\\]")
_DRIVE = re.compile(r"[A-Za-z]:(/|$)")
# Beside the control characters: ends of lines, and what turns the direction of writing, so that a name reads as another one.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_VIDEO = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mxf"})

#: A file of another ending is neither made nor replaced: nothing that a system or a program runs, and nobody's project.
IMAGE_ENDINGS = frozenset(
    ".avif .bmp .dib .gif .jp2 .jpe .jpeg .jpg .pgm .png .pnm .ppm .ras .sr .tif .tiff .webp".split()  # noqa: SIM905 - a list of words reads better
)
TEXT_ENDINGS = frozenset(
    ".txt .text .log .md .csv .tsv .tab .dat .json .jsonl .ndjson .geojson .xml .yaml .yml .html .svg .srt .vtt .obj .ply .xyz .pts".split()  # noqa: SIM905 - a list of words reads better
)
#: Numbers for each pixel, as an operation itself writes them; no picture is encoded so.
PIXEL_ENDINGS = frozenset({".exr", ".npy", ".npz"})
#: What is copied and moved, but not made: sound, video, other pictures, models of three dimensions, tables of colours.
MEDIA_ENDINGS = _VIDEO.union(
    ".aif .aiff .flac .m4a .mid .mp3 .ogg .wav .arw .cin .cr2 .cr3 .dds .dng .dpx .hdr .heic .heif .ico .jxl .nef .pam .pbm".split(),  # noqa: SIM905 - as above
    ".pfm .tga .3dl .abc .cube .dae .fbx .glb .gltf .mtl .stl .usd .usda .usdc .usdz .bin .pdf".split(),  # noqa: SIM905 - as above
)
#: Among the texts: those that other programs run, or take commands from.
_RUN_BY_PROGRAMS = re.compile(
    r"((docker-)?compose.*\.ya?ml|package(-lock)?\.json|npm-shrinkwrap\.json|composer\.json|deno\.jsonc?|[jt]sconfig.*\.json"
    r"|pnpm-[a-z]+\.yaml|cmakelists\.txt|cmake.*presets\.json|requirements.*\.txt|constraints.*\.txt|environment\.ya?ml|pom\.xml|build\.xml"
    r"|(azure|bitbucket|cloud|app|code|build)?-?(pipelines?|build|veyor|spec)\.ya?ml|action\.ya?ml|taskfile.*\.ya?ml|playbook.*\.ya?ml"
    r"|kustomization\.ya?ml|chart\.yaml|serverless\.ya?ml|mkdocs\.ya?ml|pubspec\.yaml|project\.json|tasks\.json|launch\.json)",
    re.IGNORECASE,
)
_OF_PROGRAMS = frozenset({"node_modules", "__pycache__", "site-packages"})
_WRITTEN = IMAGE_ENDINGS | TEXT_ENDINGS | PIXEL_ENDINGS
_COPIED = _WRITTEN | MEDIA_ENDINGS
#: Videos that are made; others are read, too.
VIDEO_ENDINGS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm"})
#: Of the kinds that are not `_WRITTEN`.
_ENDINGS = {"a copy": _COPIED, "a video": VIDEO_ENDINGS, "a frame": frozenset({ENDING})}
#: The kind of a file to write, with its article.
Kind = Literal["an image", "text", "a video", "a file", "a copy", "a frame"]

#: Windows takes these for devices, in every folder and with every ending; no other system could give such a file to a Windows machine.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\.|$)", re.IGNORECASE)
_LONGEST_NAME, _LONGEST_PATH = 255, 4096  # bytes; Linux's limits, and no system's are wider
#: What is here looks like files but is not.
_SYSTEM = (Path("/dev"), Path("/proc"), Path("/sys")) if os.name == "posix" else ()


class Inputs(msgspec.Struct, frozen=True):
    """The image files that a parameter names, in natural order. `several` is true for a folder and a pattern, also of one file.

    If it names a frame, that is `frame`, and its file is the only path.
    """

    paths: tuple[Path, ...]
    several: bool
    frame: FrameName | None = None


@dataclass(frozen=True)
class FileRules:
    """What the worker may read and write, and the maps between the sender's paths and ours.

    Attributes:
        roots: the folders (`--root`) that jobs may read and write. Relative paths start at the first one.
        read_roots: further folders that jobs may only read.
        maps: pairs of a prefix as the sender spells it and as it is called here (`--map C:/show=/data`).
        unrestricted: for the local `run`: only the rights of the user limit it.
        limits: how large and how many.
        kept: the worker's own files and folders (journal, settings, log), which no job may write.
        places: the folders that the roots were when the worker started, see `pinned`; None before.
    """

    roots: tuple[Path, ...]
    read_roots: tuple[Path, ...] = ()
    maps: tuple[tuple[str, str], ...] = ()
    unrestricted: bool = False
    limits: FileLimits = DEFAULT_LIMITS
    kept: tuple[Path, ...] = ()
    places: tuple[Place, ...] | None = None

    def pinned(self) -> FileRules:
        """These rules, with the roots as they are now: links in their paths are followed here, once, and never again.

        Whoever may write above a root could otherwise put a link in its place, and each child that starts would follow it. The children
        hold the folders by device and inode (`worker.files.handles.hold`), so another folder in the same place is refused, too.
        """
        roots, read_roots = self.resolved_roots, self.resolved_read_roots
        places = tuple(place for path in (*roots, *read_roots) if (place := place_of(path)))
        return replace(self, roots=roots, read_roots=read_roots, places=places)

    def to_read(self, text: str) -> Path:
        """The absolute path, free of links, that `text` names for reading; it need not exist.

        Raises:
            ArgumentError: `text` is empty, too long, or holds control characters.
            PathError: the path leads out of the roots.
        """
        if text.startswith(PREFIX):
            raise ArgumentError(f"{text} names a frame, and here a file is needed.", "Operations on pictures take frames as image.")
        return self._checked(text, (*self.resolved_roots, *self.resolved_read_roots), "read")[0]

    def to_read_file(self, text: str) -> Path:
        """As `to_read`, for a file that must exist. A name in another Unicode form or another case is found, too.

        Raises:
            ArgumentError, PathError: as `to_read`.
            MissingFile: there is none. The message says in which folder, the hint gives similar names.
        """
        path = self.to_read(text)
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(path) from None
        except OSError:
            pass  # opening it says why it cannot be read
        return path

    def to_write(self, text: str, kind: Kind = "a file", endings: Collection[str] = ()) -> Path:
        """The absolute path, free of links, that `text` names for writing; it need not exist.

        Args:
            text: as the sender spells it.
            kind: what the file will hold. Text is not written under the name of an image, nor an image under the name of a text.
            endings: those that the caller takes, to be named in a refusal.

        Raises:
            ArgumentError, PathError: as `to_read`; also if a file of a kind that the worker does not write has this name.
            UnsupportedFormat: no such file is written under this ending.
            DiskFull: the root itself is not there. It is not made: if its disk is missing, another one would fill up.
        """
        frame = FrameName.of(text)
        if frame is not None:
            return self._frame_to_write(text, frame, kind)
        path, root = self._checked(text, self.resolved_roots, "written")
        _check_kind(text, path, kind)
        if root is None:
            return path
        if not os.path.isdir(root):
            raise DiskFull(f"The folder that would hold {text} is not there at the moment.", "Is its disk connected?")
        if any(path == own or _inside(path, own) for own in self._kept):
            raise PathError(f"{text} belongs to the worker itself.", "Choose another name or folder.")
        if path.suffix.lower() not in _ENDINGS.get(kind, _WRITTEN) and not os.path.isdir(path):
            if os.path.lexists(path):
                raise PathError(f"{text} is not a kind of file that this worker replaces.", _endings_hint(kind, endings))
            hint = f"{PREFIX}{text} writes a frame." if path.suffix == ENDING else _endings_hint(kind, endings)
            raise UnsupportedFormat(f"{text} has no ending that this worker writes.", hint)
        _check_others(text, path.parts[len(root.parts) :])
        return path

    def _frame_to_write(self, text: str, frame: FrameName, kind: Kind) -> Path:
        if kind not in ("an image", "a file"):
            raise ArgumentError(f"{text} names a frame, and this job writes {kind}.", "Only pictures are written as frames.")
        if frame.slot is not None:
            raise ArgumentError(
                f"{text} names a slot, and the worker chooses the slot of a frame that it writes.", f"Name {PREFIX}{frame.path}."
            )
        return self.to_write(frame.path, "a frame")

    def to_read_all(self, text: str, endings: Collection[str]) -> Inputs:
        """The image files that `text` names: one file, those in a folder, or those that match a pattern; or the file of a frame.

        What a folder or a pattern holds and may not be read is left out and counted in the log: somebody who shares the folder could
        otherwise stop every job over it by one link. A file that is named itself is refused.

        In folders and patterns only files with one of the `endings` (lower case, with the dot) count; hidden and unfinished
        (`.part`) files do not. `shots/img2.png` comes before `shots/img10.png`.

        Raises:
            ArgumentError, PathError: as `to_read`, for the file, the folder, or the beginning of the pattern.
            MissingFile: there is no such file, or nothing matches.
            UnsupportedFormat: `text` names a video.
        """
        frame = FrameName.of(text)
        if frame is not None:
            return Inputs((self.to_read_file(frame.path),), several=False, frame=frame)
        spelled = _plain(text)
        if names_video(spelled):
            raise UnsupportedFormat(f"{text} is a video, and this operation reads images.", "Write its frames to a folder first.")
        match = _pattern_matches(self, spelled)
        if match is None:
            folder = self.to_read_file(spelled)
            if not os.path.isdir(folder):
                return Inputs((folder,), several=False)
            match = folder, _Search(self, spelled, ("*",))
        folder, search = match
        images = self._matching(spelled, folder, search, lambda path: path.suffix.lower() in endings)
        if not images:
            if search.left_out:
                raise MissingFile(
                    f"No image matches {text} that may be read; {_left_out(search.left_out)}.", f"Images end in {_listed(endings)}."
                )
            raise MissingFile(self._no_image(text, folder), _similar(folder, search) or f"Images end in {_listed(endings)}.")
        if search.left_out:
            log.warning("of %s, %s", spelled, _left_out(search.left_out))
        images.sort(key=lambda path: natural(path.parts))
        return Inputs(tuple(self.to_read(self.spell(path)) for path in images), several=True)

    def folder_of(self, text: str) -> Path | None:
        """The folder that `text` names, or in which its pattern begins; None if it names a single file.

        Raises:
            ArgumentError, PathError, MissingFile: as `to_read_file`.
        """
        spelled = _plain(text)
        match = _pattern_matches(self, spelled)
        if match is not None:
            return match[0]
        path = self.to_read_file(spelled)
        return path if os.path.isdir(path) else None

    def to_copy_all(self, text: str) -> tuple[str, ...]:
        """All files that `text` names, as the sender spells them, in natural order: one, those that match a pattern, or all in a folder.

        Links to files are not resolved here, so that each file keeps its place below `folder_of`. Otherwise as `to_read_all`.

        Raises:
            ArgumentError, PathError, MissingFile, LimitExceeded: as `to_read_all`.
        """
        spelled = _plain(text)
        folder, search = _pattern_matches(self, spelled) or (self.folder_of(spelled), _Search(self, spelled, ("**", "*")))
        if folder is None:
            return (text,)
        paths = self._matching(spelled, folder, search, lambda path: path.suffix.lower() != ".part")
        if not paths:
            left = f" that may be read; {_left_out(search.left_out)}." if search.left_out else "."
            raise MissingFile(f"No file matches {text}{left}", f"The folder is {self.spell(folder)}. {_similar(folder, search)}".rstrip())
        if search.left_out:
            log.warning("of %s, %s", spelled, _left_out(search.left_out))
        paths.sort(key=lambda path: natural(path.parts))
        return tuple(map(self.spell, paths))

    def _matching(self, spelled: str, folder: Path, search: _Search, fits: Callable[[Path], bool]) -> list[Path]:
        """The files that a search finds and that fit. If none does, names in another case match, too."""
        found = []
        for path in search.found(folder):
            if fits(path):
                found.append(path)
                self.limits.check_inputs(spelled, len(found))
        if found or (wider := search.without_case()) is None:
            return found
        found = self._matching(spelled, folder, wider, fits)
        search.left_out = wider.left_out
        return found

    def below(self, text: str, folder: Path) -> str:
        """What follows the folder in one of the paths of `to_copy_all`."""
        path = self._translated(_plain(text))
        return path.relative_to(folder).as_posix() if _inside(path, folder) else path.name

    def spell(self, path: Path) -> str:
        """The path as the sender spells it, with forward slashes. `to_read` of it gives the path again."""
        text = path.as_posix()
        for sender, worker in self._maps_by(1):
            rest = _below(text, worker)
            if rest is not None:
                return sender + rest
        return text

    def spell_all(self, inputs: Inputs) -> tuple[str, ...]:
        """The images as the sender spells them. `to_read_all` of one of them gives it again."""
        if inputs.frame is not None:
            return (str(msgspec.structs.replace(inputs.frame, path=self.spell(inputs.paths[0]))),)
        return tuple(self.spell(path) for path in inputs.paths)

    def contains(self, path: Path) -> bool:
        """Whether a path without links may be read."""
        return self.unrestricted or _root_of(path, (*self.resolved_roots, *self.resolved_read_roots)) is not None

    def _no_image(self, text: str, folder: Path) -> str:
        """The sentence for a folder, or a pattern that begins in it, of which no file is an image."""
        if not os.path.isdir(folder):
            return f"No image matches {text}. {self._missing(folder, 'folder').message}"
        if _WILDCARDS.search(text):
            return f"No image matches {text}. The folder is {self.spell(folder)}."
        return f"There is no image in the folder {self.spell(folder)}."

    def _missing(self, path: Path, kind: str = "file") -> MissingFile:
        """The sentence for a path that is not there: in which folder the worker looked, and which names there are similar."""
        above = next((folder for folder in path.parents if os.path.isdir(folder)), path.parent)
        name = path.relative_to(above).parts[0]
        if not self.contains(above):  # which folders stand above a root is nobody's business
            return MissingFile(f"There is no file {path.name}: the folder that would hold it is not there.", "Is its disk connected?")
        kind = kind if above == path.parent else "folder"
        similar = near(above, name)
        shown = name if name == name.strip() else f"'{name}'"  # otherwise a space before or behind it is not seen
        return MissingFile(
            f"There is no {kind} {shown} in {self.spell(above)}.", f"Did you mean {' or '.join(similar)}?" if similar else ""
        )

    def _checked(self, text: str, roots: tuple[Path, ...], verb: str) -> tuple[Path, Path | None]:
        """The resolved path and the root above it; None if there is no limit."""
        spelled = _plain(text)
        path = self._translated(spelled)
        if not path.is_absolute():
            path = self._start / path
        if self.unrestricted:
            return _found(Path(os.path.realpath(path)), Path(path.anchor), verb), None
        if os.name == "nt" or verb == "written":  # elsewhere a file of such a name is read if it is there
            _check_portable(spelled, _parts_below(path, roots))
        if spelled.startswith("//") and _lexical_root(path, roots) is None:
            raise _outside(text, verb)  # another computer is not even asked whether it has the file
        try:
            path = _below_stored_root(Path(os.path.realpath(path)), roots)
            root = _root_of(path, roots)
            if root is not None:
                path = _found(path, Path(*path.parts[: len(root.parts)]), verb)
                root = _root_of(path, roots)
        except OSError:  # somebody changes it while we look, or we may not look
            raise _outside(text, verb) from None
        if root is None:
            raise _outside(text, verb)
        if verb == "written":
            _check_portable(spelled, path.parts[len(root.parts) :])
        return root / Path(*path.parts[len(root.parts) :]), root

    def _translated(self, spelled: str) -> Path:
        for sender, worker in self._maps_by(0):
            rest = _below(spelled, sender)
            if rest is not None:
                names = [name for name in rest.split("/") if name]
                if not _has_no_case(sender) or ".." in names:
                    return Path(worker + rest)
                return as_stored(Path(os.path.realpath(worker)), names, (composed, without_case))
        if _DRIVE.match(spelled) and os.name != "nt":
            raise PathError(f"{spelled} is a path of another machine.", "Start the worker with --map, for example --map C:/show=/data.")
        return Path(spelled)

    def _maps_by(self, side: int) -> list[tuple[str, str]]:
        """The maps, the longest prefix first, so that the most specific one counts."""
        plain = [(_prefix(sender), _prefix(worker)) for sender, worker in self.maps]
        return sorted(plain, key=lambda pair: len(pair[side]), reverse=True)

    @property
    def _start(self) -> Path:
        if self.resolved_roots:
            return self.resolved_roots[0]
        if self.unrestricted:
            return Path.cwd()
        raise PathError("This worker may not read or write any file.", "Start the worker with --root FOLDER.")

    @cached_property
    def _kept(self) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(path)) for path in self.kept)

    @cached_property
    def resolved_roots(self) -> tuple[Path, ...]:
        """The roots, without links."""
        return self.roots if self.places is not None else tuple(Path(os.path.realpath(root)) for root in self.roots)

    @cached_property
    def resolved_read_roots(self) -> tuple[Path, ...]:
        """The read roots, without links."""
        return self.read_roots if self.places is not None else tuple(Path(os.path.realpath(root)) for root in self.read_roots)


def names_video(text: str) -> bool:
    """Whether a name is that of a video, by its ending."""
    return Path(text).suffix.lower() in _VIDEO


#: C:// and the like are drives.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def _plain(text: str) -> str:
    """The path with forward slashes. Raises ArgumentError if it cannot be used or shown, or is none."""
    plain = _speakable(text)
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:  # so Windows copies a path, and so it is pasted
        raise ArgumentError(f"The path {text[:80]} stands in quotes.", "Leave them out.")
    if found := _ADDRESS.match(text):
        hint = "Leave file:// out." if found[0].lower() == "file://" else "Load it first; a job reads files only."
        raise ArgumentError(f"{text[:80]} is an address and not the path of a file.", hint)
    return plain


def _speakable(text: str) -> str:
    """As `_plain`, of a name that is there."""
    if not text:
        raise ArgumentError("A path is empty.")
    if _CONTROL.search(text):
        raise ArgumentError(f"The path {text[:80]!r} contains control characters.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"The path {text[:80]!a} is not valid Unicode.") from None
    length, longest = len(text.encode()), max(len(name.encode()) for name in _SLASH.split(text))
    if length > _LONGEST_PATH or longest > _LONGEST_NAME:
        raise ArgumentError(
            f"The path {text[:80]!r}... is too long: {length} bytes, and {longest} in one name; "
            f"{_LONGEST_PATH} and {_LONGEST_NAME} bytes are the limits of the system."
        )
    return text.replace("\\", "/")


def _prefix(text: str) -> str:
    return text.replace("\\", "/").rstrip("/")


def _listed(endings: Iterable[str]) -> str:
    return " ".join(sorted(endings))


def _endings_hint(kind: Kind, endings: Collection[str] = ()) -> str:
    if endings:
        return f"It must end in {_listed(endings)}."
    images, texts = f"Images: {_listed(IMAGE_ENDINGS)}.", f"Texts: {_listed(TEXT_ENDINGS)}."
    every = f"Images {_listed(IMAGE_ENDINGS)}; texts {_listed(TEXT_ENDINGS)}; data {_listed(PIXEL_ENDINGS)}."
    copies = "Images, texts, sound, video, models and tables of colours are copied; nothing that a system or a program runs."
    videos = f"Videos: {_listed(VIDEO_ENDINGS)}."
    frames = f"Frames: {ENDING}."
    return {"an image": images, "text": texts, "a video": videos, "a file": every, "a copy": copies, "a frame": frames}[kind]


def _check_kind(text: str, path: Path, kind: Kind) -> None:
    """Raises UnsupportedFormat if the ending promises another kind of file."""
    others = {"an image": TEXT_ENDINGS | PIXEL_ENDINGS, "text": IMAGE_ENDINGS | PIXEL_ENDINGS, "a video": _WRITTEN}.get(
        kind, frozenset[str]()
    )
    if path.suffix.lower() in others:
        raise UnsupportedFormat(
            f"{text} cannot be written: this job writes {kind}, and {path.suffix} is not an ending of it.", _endings_hint(kind)
        )


def _found(path: Path, root: Path, verb: str) -> Path:
    """The stored path, if the one that was sent does not exist and there is one that differs in Unicode form only, or in case, too.

    For a file to write only the folder is looked for, and not in another case: this system may keep A and a apart.
    """
    wanted, forms = (path, (composed, without_case)) if verb == "read" else (path.parent, (composed,))
    if os.path.lexists(wanted):
        return path
    stored = as_stored(root, wanted.parts[len(root.parts) :], forms)
    return Path(os.path.realpath(stored / path.relative_to(wanted))) if os.path.lexists(stored) else path


def _below_stored_root(path: Path, roots: tuple[Path, ...]) -> Path:
    """The path, but below the root as it is called here, if it was sent in the other Unicode form."""
    if str(path).isascii():
        return path
    for root in roots:
        head, rest = path.parts[: len(root.parts)], path.parts[len(root.parts) :]
        if head != root.parts and [*map(composed, head)] == [*map(composed, root.parts)] and not os.path.lexists(Path(*head)):
            return Path(os.path.realpath(root.joinpath(*rest)))
    return path


def _outside(text: str, verb: str) -> PathError:
    option = "--root names these folders" if verb == "written" else "--root and --read-root name these folders"
    return PathError(f"{text} is outside the folders in which files may be {verb}.", f"The worker's {option}.")


def _inside(path: Path, folder: Path) -> bool:
    """Whether a path is the folder or lies in it. `Path.is_relative_to` makes three paths to answer that, for every picture of a batch."""
    if os.name == "nt":  # there a and A are the same
        return path.is_relative_to(folder)
    return path.parts[: len(folder.parts)] == folder.parts


def _lexical_root(path: Path, roots: tuple[Path, ...]) -> Path | None:
    return next((root for root in roots if _inside(path, root)), None)


def _root_of(path: Path, roots: tuple[Path, ...]) -> Path | None:
    """The root that a path without links lies below. On systems where A and a are the same, the system is asked."""
    for root in roots:
        if not _is_below(path, root):
            continue
        if not any(_inside(path, system) and not _inside(root, system) for system in _SYSTEM):
            return root
    return None


def _is_below(path: Path, root: Path) -> bool:
    if _inside(path, root):
        return True
    top = Path(*path.parts[: len(root.parts)])
    if str(top).casefold() != str(root).casefold():
        return False
    try:
        return top.samefile(root)
    except OSError:
        return False


def _parts_below(path: Path, roots: tuple[Path, ...]) -> tuple[str, ...]:
    """The names that a sender chose: those below a root, or all of them."""
    root = _lexical_root(path, roots)
    return path.parts[len(root.parts) :] if root is not None else path.parts[1:]


def _check_portable(text: str, names: tuple[str, ...]) -> None:
    """Raises PathError for names that mean something else than a file of that name, here or on another system."""
    for index, name in enumerate(names):
        if name in (".", ".."):
            continue
        if _DEVICE.match(name):
            reason = f"{name} is the name of a device on Windows"
        elif ":" in name:
            reason = f"{name} contains a colon, which names a second stream of a file on Windows"
        elif name != name.rstrip(". "):
            reason = f"{name!r} ends in a dot or a space, which Windows drops"
        elif not index and name.startswith("~"):
            reason = f"{name} does not mean a home folder here"
        else:
            continue
        raise PathError(f"{text} cannot be used: {reason}.", "Choose another name.")


def _check_others(text: str, names: tuple[str, ...]) -> None:
    """Raises PathError for what other programs run or obey without being asked: there, writing a text is running a program."""
    for name in names:
        if name.startswith("."):
            raise PathError(f"{text} cannot be written: {name} is hidden and belongs to another program.", "Choose another name.")
        if name.casefold() in _OF_PROGRAMS:
            raise PathError(f"{text} cannot be written: {name} is a folder of another program.", "Choose another folder.")
    if names and _RUN_BY_PROGRAMS.fullmatch(names[-1]):
        raise PathError(f"{text} cannot be written: other programs run what a file of this name says.", "Choose another name.")


def _has_no_case(prefix: str) -> bool:
    """Whether the sender's system takes A and a for the same: drives and shares of Windows."""
    return bool(_DRIVE.match(prefix)) or prefix.startswith("//")


def _below(text: str, prefix: str) -> str | None:
    """What follows `prefix` in `text`, from the slash on; None if `text` is not below it. Drive letters have no case."""
    form = without_case if _has_no_case(prefix) else composed
    names = prefix.split("/")
    head = text.split("/", len(names))  # of the names of `text`, and as the last one what follows, if anything does
    rest = "/" + head.pop() if len(head) > len(names) else ""
    return rest if [*map(form, head)] == [*map(form, names)] else None


def _similar(folder: Path, search: _Search) -> str:
    """A hint at names that look like the beginning of a pattern that matches nothing; "" if there are none."""
    similar = near(folder, search.parts[0])
    return f"Did you mean {' or '.join(similar)}?" if similar else ""


def _left_out(count: int) -> str:
    return f"{count} files and folders were left out, because they lead outside the folders or may not be read"


def _pattern_matches(rules: FileRules, spelled: str) -> tuple[Path, _Search] | None:
    """A pattern's folder and the search for what matches; None for a plain path. A file whose name holds brackets is a plain path."""
    if not _WILDCARDS.search(spelled) or os.path.exists(rules.to_read(spelled)):
        return None
    parts = spelled.split("/")
    first = next(index for index, part in enumerate(parts) if _WILDCARDS.search(part))
    if ".." in parts[first:]:
        raise ArgumentError(f"The pattern {spelled} has '..' after its first wildcard.")
    folder = rules.to_read("/".join(parts[:first]) or ("/" if first else "."))
    return folder, _Search(rules, spelled, tuple(composed(part) for part in parts[first:] if part not in ("", ".")))


class _Search(msgspec.Struct):
    """Looks for the files that match a pattern, one folder after the other, with an eye on how many that are.

    Every name takes each set of places in the pattern to the next one, so that the time does not explode however many `**` there are.
    Hidden files and folders match only what begins with a dot. `**` does not go through links.

    Attributes:
        rules: where a link may lead.
        text: the pattern as it came.
        parts: it, part by part, from the first wildcard on.
        left_out: what was not looked at, because it may not be read.
        form: what names are compared in.
    """

    rules: FileRules
    text: str
    parts: tuple[str, ...]
    left_out: int = 0
    form: Callable[[str], str] = composed

    def without_case(self) -> _Search | None:
        """One that finds names in another case, too; None if there is no more to find."""
        parts = tuple(map(without_case, self.parts))
        has_case = any(part.casefold() != part or part.upper() != part for part in self.parts)
        return _Search(self.rules, self.text, parts, form=without_case) if self.form is composed and has_case else None

    def found(self, folder: Path) -> Iterator[Path]:
        seen = 0
        waiting = [(folder, self._opened({0}))]
        while waiting:
            here, places = waiting.pop()
            try:
                names = handles.entries(here)
            except OSError:  # not ours to read, or gone
                self.left_out += os.path.lexists(here)
                continue
            seen += len(names)
            self.rules.limits.check_entries(self.text, seen)
            for name, status in names:
                if not _is_speakable(name):
                    continue
                path, after = here / name, self._after(name, places)
                if stat.S_ISLNK(status.st_mode):
                    after = self._after(name, {place for place in places if not self._is_deep(place)})
                    mode = self._mode(path) if after else 0
                else:
                    mode = status.st_mode
                if stat.S_ISREG(mode) and len(self.parts) in after:
                    yield path
                elif stat.S_ISDIR(mode) and after - {len(self.parts)}:
                    waiting.append((path, after - {len(self.parts)}))

    def _mode(self, link: Path) -> int:
        """What is at the end of a link; 0 for nothing, and for what may not be read."""
        try:
            target = Path(os.path.realpath(link))
            if self.rules.contains(target):
                return target.stat().st_mode
        except FileNotFoundError:
            return 0
        except OSError:  # somebody changes it while we look, or we may not look
            pass
        self.left_out += 1
        return 0

    def _is_deep(self, place: int) -> bool:
        return place < len(self.parts) and self.parts[place] == "**"

    def _opened(self, places: set[int]) -> set[int]:
        """`**` may also mean no folder at all."""
        for place in sorted(places):
            while self._is_deep(place):
                place += 1  # noqa: PLW2901 - one further in the pattern
                places.add(place)
        return places

    def _after(self, name: str, places: set[int]) -> set[int]:
        after = set()
        for place in places:
            if place == len(self.parts):
                continue
            part = self.parts[place]
            if name.startswith(".") and not part.startswith("."):
                continue
            if part == "**":
                after.add(place)
            elif fnmatch.fnmatch(self.form(name), part):
                after.add(place + 1)
        return self._opened(after)


def _is_speakable(name: str) -> bool:
    """Whether a path with this name can be said in a message, and is understood as this name."""
    try:
        return _speakable(name) == name
    except ArgumentError:
        return False
