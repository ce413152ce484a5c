"""The limits for the files of one job, and the sentence for each limit that is reached.

Every sentence names the limit, its value, what came, and the option of `serve` that changes it.
"""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec

from worker.errors import DiskFull, LimitExceeded
from worker.settings import Setting, option_of

MB = 2**20
_NONE = sys.maxsize
#: What programs write. So a picture takes at most as long as a progressive one of the largest size.
_SCANS_OF_THE_LARGEST = 10
_MAY_BE_DENSE = 50_000_000
GROUP = "Limits of files"


class FileLimits(msgspec.Struct, frozen=True):
    """Each attribute is a setting, and its declaration says what it limits."""

    file_mb: Annotated[int, Setting(GROUP, "Largest file that may be read or written.", option="--max-file-mb", unit="MB", minimum=1)] = (
        1024
    )
    # A picture of 16384 x 16384, the largest that graphics cards commonly take, has 268 megapixels.
    megapixels: Annotated[
        int,
        Setting(
            GROUP,
            "Largest picture that may be read or written, in megapixels; its header counts.",
            option="--max-megapixels",
            unit="N",
            minimum=1,
        ),
    ] = 300
    frames: Annotated[int, Setting(GROUP, "How many pictures an animation may hold.", option="--max-frames", unit="N", minimum=1)] = 10_000
    # Programs write about ten. Each scan goes over the whole picture, and a few bytes are enough for one.
    scans: Annotated[int, Setting(GROUP, "How many scans a JPEG may have.", option="--max-scans", unit="N", minimum=1)] = 100
    inputs: Annotated[
        int, Setting(GROUP, "How many images a folder or a pattern may stand for.", option="--max-inputs", unit="N", minimum=1)
    ] = 20_000
    entries: Annotated[
        int, Setting(GROUP, "How many files and folders may be looked through to find them.", option="--max-entries", unit="N", minimum=1)
    ] = 200_000
    outputs: Annotated[int, Setting(GROUP, "How many files a job may write.", option="--max-outputs", unit="N", minimum=1)] = 100_000
    rows: Annotated[int, Setting(GROUP, "How many rows a result may have.", option="--max-rows", unit="N", minimum=1)] = 1_000_000
    child_mb: Annotated[
        int, Setting(GROUP, "How much memory a child process may use; 0 = all there is.", option="--max-child-mb", unit="MB", minimum=0)
    ] = 4096
    min_free_mb: Annotated[
        int, Setting(GROUP, "How much must stay free on a disk that is written to.", option="--min-free-mb", unit="MB", minimum=0)
    ] = 64
    # A plain picture of one colour has 300 (PNG), 600 (WebP), 25,000 (WebP without loss) or 60,000 (JPEG 2000) pixels for each byte.
    pixels_per_byte: Annotated[
        int,
        Setting(
            GROUP,
            "How many pixels a picture of more than 50 megapixels may have for each byte of its file.",
            option="--max-pixels-per-byte",
            unit="N",
            minimum=1,
        ),
    ] = 2000
    results_mb: Annotated[
        int,
        Setting(
            GROUP,
            "How much the worker's own result files may take; the oldest go first.",
            option="--max-results-mb",
            unit="MB",
            minimum=1,
        ),
    ] = 1024
    results_hours: Annotated[
        float,
        Setting(GROUP, "How long they are kept.", option="--keep-results-hours", unit="H", minimum=0, above=True),
    ] = 24.0

    def check_file(self, name: str, size_bytes: int) -> None:
        if size_bytes > self.file_mb * MB:
            raise LimitExceeded(
                f"{name} is larger than one file may be: {_mb(size_bytes)}, and the limit is {self.file_mb} MB.", _how("file_mb")
            )

    def check_picture(self, name: str, width: int, height: int, frames: int = 1) -> None:
        if width * height > self.megapixels * 1_000_000:
            raise LimitExceeded(
                f"{name} is larger than one picture may be: {width}x{height} are {width * height / 1e6:,.0f} megapixels, "
                f"and the limit is {self.megapixels}.",
                _how("megapixels"),
            )
        if frames > self.frames:
            raise LimitExceeded(f"{name} has {frames} pictures; an animation may have {self.frames}.", _how("frames"))

    def check_weight(self, name: str, width: int, height: int, weight: int) -> None:
        """A picture whose decoder takes three times the memory may be a third as large."""
        if width * height * weight > self.megapixels * 1_000_000:
            raise LimitExceeded(
                f"{name} has {width}x{height} pixels, {width * height / 1e6:,.0f} megapixels. "
                f"Decoding this kind of picture takes {weight} times the memory of others, so the limit is {self.megapixels // weight}.",
                _how("megapixels"),
            )

    def check_density(self, name: str, width: int, height: int, size_bytes: int) -> None:
        """A few bytes may stand for a large picture of one colour. Small ones may be as dense as they like."""
        pixels = width * height
        if pixels > _MAY_BE_DENSE and pixels > self.pixels_per_byte * size_bytes:
            raise LimitExceeded(
                f"{name} has {size_bytes:,} bytes for {width}x{height} pixels. "
                f"A picture of more than {_MAY_BE_DENSE / 1e6:g} megapixels may have {self.pixels_per_byte} pixels for each byte.",
                _how("pixels_per_byte"),
            )

    def check_scans(self, name: str, width: int, height: int, scans: int) -> None:
        """A JPEG of the largest size may have a tenth of the scans of a small one."""
        most = max(1, min(self.scans, _SCANS_OF_THE_LARGEST * self.megapixels * 1_000_000 // max(1, width * height)))
        if scans > most:
            raise LimitExceeded(f"{name} has {scans} scans; a JPEG of {width}x{height} pixels may have {most}.", _how("scans"))

    def check_inputs(self, text: str, found: int) -> None:
        if found > self.inputs:
            raise LimitExceeded(f"{text} matches {found} images or more; a job may read {self.inputs}.", _how("inputs"))

    def check_entries(self, text: str, seen: int) -> None:
        if seen > self.entries:
            raise LimitExceeded(f"{text} needs a search of {seen} files and folders or more; the limit is {self.entries}.", _how("entries"))

    def check_outputs(self, operation: str, count: int) -> None:
        if count > self.outputs:
            raise LimitExceeded(f"{operation} would write {count} files; a job may write {self.outputs}.", _how("outputs"))

    def check_rows(self, operation: str, count: int) -> None:
        if count > self.rows:
            raise LimitExceeded(
                f"{operation} found {count} rows or more; a result may have {self.rows}. A smaller max_items finds fewer.", _how("rows")
            )

    def check_free(self, name: str, free_bytes: int, wanted_bytes: int = 0) -> None:
        """Raises DiskFull if too little would be left. `free_bytes` below 0 means that the system does not say."""
        if 0 <= free_bytes < self.min_free_mb * MB + wanted_bytes:
            needs = f"{name} needs {_mb(wanted_bytes)}, and " if wanted_bytes else ""
            raise DiskFull(
                f"The disk of {name} has {_mb(free_bytes)} free; {needs}{self.min_free_mb} MB must stay free.", _how("min_free_mb")
            )

    def out_of_memory(self, what: str, wanted: str = "") -> LimitExceeded:
        """The error for an operation that could not get memory. `wanted` is the size of its last request, if that is known."""
        more = f"; it asked for {wanted} more" if wanted else ""
        if not self.child_mb:
            return LimitExceeded(f"{what} needs more memory than this machine has{more}.")
        return LimitExceeded(f"{what} needs more memory than a job may use: the limit is {self.child_mb} MB{more}.", _how("child_mb"))


DEFAULT_LIMITS = FileLimits()
#: For the local `run`: only the machine limits it.
NO_LIMITS = FileLimits(_NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, _NONE, 0, 0, _NONE)


def _how(attribute: str) -> str:
    return f"The worker's {option_of(FileLimits, attribute)} changes this limit."


def _mb(size_bytes: int) -> str:
    """Megabytes as a person reads them.

    >>> _mb(79_000), _mb(3 * MB)
    ('0.1 MB', '3 MB')
    """
    return f"{size_bytes / MB:.1f} MB" if size_bytes < MB else f"{size_bytes / MB:.0f} MB"
