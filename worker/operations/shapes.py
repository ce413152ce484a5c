"""The shapes an operation can have. The tasks around it (files, batches, tables) need to know no more than its shape.

All functions are pure: image and frozen params in, values out, no file is opened. Each shape has

- `check`, which looks at what the params class cannot express (how two parameters go together) and raises `ArgumentError`; it is
  called once, before any work;
- `unavailable`, which names what cannot be done here, for example because this build of OpenCV lacks it or an extra is not installed:
  a sentence for each parameter's value ("method=kaze"), or for the operation as a whole (""). The values are refused by `check`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import WorkerError
from worker.pictures.clips import Clip
from worker.pictures.pixels import Image

#: One row per item found, the columns as in the catalogue.
Rows = NDArray[np.float64]
#: For what cannot be done, a reason in one sentence.
Unavailable = Callable[[], Mapping[str, str]]
Size = tuple[int, int]


def anything_goes(_params: Any) -> None:
    """The check of an operation whose params class says everything."""


def all_available() -> Mapping[str, str]:
    """What an operation lacks that needs nothing but the worker itself."""
    return {}


def same_size(size: Size, _params: Any) -> Size:
    """The size of an output that is as large as its input."""
    return size


def no_head(_params: Any) -> bytes:
    """Of a text that is the same wherever it stands."""
    return b""


def no_rows() -> Rows:
    return np.empty((0, 0))


@dataclass(frozen=True, slots=True)
class Found:
    """What an operation made of one image, or of a whole folder, if it is more than one thing.

    Attributes:
        rows: one per item, the columns as in the catalogue.
        images: pictures to write, each under the parameter that names its file. Those whose parameter is empty are not written.
        files: other data to write, in the same way.
        total: how many items there were, if `rows` holds only the best of them.
        texts: for each row the texts that belong to it, as `texts` in the catalogue; empty if the operation has none.
        skipped: which images of a folder do not count, by their number, and why. They are reported as those that cannot be read; with
            `on_error=stop` the first one ends the job.
        profile: the ICC profile of the images, which is written into their files if these can hold one.
    """

    rows: Rows = field(default_factory=no_rows)
    images: Mapping[str, Image] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    total: int | None = None
    texts: tuple[tuple[str, ...], ...] = ()
    skipped: Mapping[int, WorkerError] = field(default_factory=dict)
    profile: bytes = b""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image of a folder.

    Attributes:
        n: its number, from 0.
        name: its file's name without folder and ending.
    """

    n: int
    name: str
    image: Image


@dataclass(frozen=True, slots=True)
class Nothing:
    """Takes nothing and makes nothing."""

    do: Callable[[Any], None]
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Text:
    """Makes text from numbers.

    Attributes:
        steps: how many steps of progress the params mean.
        blocks: yields how many steps are done, and the bytes of the text so far not yielded.
        between: what separates the text from what a file to append to already holds.
        head: what stands before the text if it is at the beginning of its file.
    """

    check: Callable[[Any], None]
    steps: Callable[[Any], int]
    blocks: Callable[[Any], Iterator[tuple[int, bytes]]]
    between: Callable[[Any], bytes]
    head: Callable[[Any], bytes] = no_head
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Transfer:
    """Brings files to another place as they are.

    Attributes:
        target: called with the params, a source's path below the folder or pattern that the job names, its number, and `folder`: whether
            `output` is a folder. Returns the path to write.
        names_folder: whether `output` is a folder by its spelling; called with it, and `several`: whether there are several sources.
        removes: the sources are removed afterwards.
    """

    target: Callable[..., str]
    names_folder: Callable[..., bool]
    removes: bool = False
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Source:
    """Makes images from numbers.

    Attributes:
        count: how many images the params mean.
        make: image number `n`, and the rows that describe it.
    """

    check: Callable[[Any], None]
    count: Callable[[Any], int]
    make: Callable[[int, Any], tuple[Image, Rows]]
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds items in an image, or in an image beside others.

    Attributes:
        find: called with the image, the reference pictures, and the params. Returns the rows found, best first; or a `Found`.
        draw: called with the image, the reference pictures, and the rows. Returns a picture, 8 bits BGR, with the rows marked in it. None
            if `find` makes an image `overlay` itself.
        references: the parameters that name one further picture each, which is the same for all images of a batch. If such a parameter
            is empty, None stands in the picture's place. A file of another kind (`READ_BYTES` in the catalogue) comes as its bytes.
        single: `image` must name one file; what the params say belongs to that picture.
        previous: the one of `references` whose place the image before it in the batch takes, if its parameter is empty: None for the
            first image, and for one after an image that cannot be read.
        frames: if given, `image` may also name a video, and this says which of its frames are the batch.
    """

    find: Callable[..., Rows | Found]
    draw: Callable[..., Image] | None
    check: Callable[[Any], None] = anything_goes
    references: tuple[str, ...] = ()
    unavailable: Unavailable = all_available
    single: bool = False
    previous: str = ""
    frames: Frames | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Makes an image from another one, or from one beside others.

    Attributes:
        apply: called with the image, the reference pictures, and the params. Returns the picture for `output`; or a `Found`, for more
            pictures than one, or for rows.
        size: width and height of `output` for an image of this width and height, so that one too large is refused before it is made.
        references: as for a `Detector`.
        shrinks: `apply` begins by bringing the image to `size` by averages over areas, so it may be read smaller.
        profiles: `apply` is also given the image's ICC profile, behind the image; empty if it has none.
    """

    apply: Callable[..., Image | Found]
    check: Callable[[Any], None] = anything_goes
    size: Callable[[Size, Any], Size] = same_size
    references: tuple[str, ...] = ()
    unavailable: Unavailable = all_available
    shrinks: bool = False
    profiles: bool = False


@dataclass(frozen=True, slots=True)
class Folder:
    """Makes one result from all images of a folder or a pattern.

    Attributes:
        combine: called with an iterator over the images, which reads each of them when it is asked for, and the params.
    """

    combine: Callable[[Iterator[Picture], Any], Found]
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Trial:
    """One call of another operation.

    Attributes:
        pairs: the parameters of that call, the image apart.
        values: those that differ from trial to trial, as text, one for each parameter that is varied.
    """

    pairs: tuple[tuple[str, str], ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of a trial.

    Attributes:
        values: as in the trial.
        picture: what it made; None if it failed.
        items: how many rows it found; None if the operation finds none.
        left_out: how many more it found beyond its `max_items`.
        message: why it failed; otherwise empty.
    """

    values: tuple[str, ...]
    picture: Image | None
    items: int | None = None
    left_out: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class Trials:
    """Calls another operation on one image again and again, and makes one result of what came out.

    Attributes:
        plan: which calls the params mean, in order; at least one.
        combine: called with an iterator over the trials, each of which is run when it is asked for, how one item of the other operation
            is called, and the params.
    """

    plan: Callable[[Any], tuple[Trial, ...]]
    combine: Callable[[Iterator[Tried], str, Any], Found]
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Frames:
    """Makes images of the frames of a video.

    Attributes:
        expected: about how many frames of a `Clip` will be taken.
        takes: called with a frame's number from 0, when it is shown, in seconds from 0, and the params: whether it is one of the range.
        is_past: called likewise: whether it and all frames after it lie behind the range.
        make: the image to write of a frame.
        size: width and height of that image for a video of this width and height.
    """

    expected: Callable[[Clip, Any], int]
    takes: Callable[[int, float, Any], bool]
    is_past: Callable[[int, float, Any], bool]
    make: Callable[[Image, Any], Image]
    size: Callable[[Size, Any], Size] = same_size
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Film:
    """Makes a video of all images of a folder or a pattern.

    Attributes:
        size: width and height of the video if the first image has this width and height.
        codec: the name of the codec that the params mean.
        frame: called with an image, the size of the video, and the params. Returns 8 bits BGR of that size.
    """

    size: Callable[[Size, Any], Size]
    codec: Callable[[Any], str]
    frame: Callable[[Image, Size, Any], Image]
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


@dataclass(frozen=True, slots=True)
class Live:
    """Follows what a `Detector` finds, in picture after picture.

    Attributes:
        view: called with the params, width and height of the source, and the bytes of the calibration file or None: how the source is
            looked at.
        places: what the rows of a detector with these columns say about places.
        draw: called with the params, a picture of 8 bits BGR, the columns and the rows of the results, and for each id its last places:
            draws what is followed.
    """

    view: Callable[[Any, Size, bytes | None], Any]
    places: Callable[[Rows, Sequence[str]], Any]
    draw: Callable[[Any, Image, Sequence[str], Sequence[Sequence[float]], Mapping[int, Sequence[tuple[float, float]]]], None]
    check: Callable[[Any], None] = anything_goes
    unavailable: Unavailable = all_available


Operation = Nothing | Text | Transfer | Source | Detector | Filter | Folder | Trials | Frames | Film | Live
