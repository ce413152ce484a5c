"""The folder of the worker's own result files: tables of more rows than travel in datagrams, one for each job, below the first root.

They are for the user's eyes only, and they do not pile up: what is too old goes, and of too many bytes the oldest.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from worker.files.limits import MB, FileLimits

log = logging.getLogger(__name__)

FOLDER = "td-image-worker-results"
#: Minimum time that a file stays, whatever its size: somebody has just been told its name.
READ_WITHIN_S = 60.0
TIDY_EVERY_S = 30.0
_LONGEST_ID = 60
_OURS = re.compile(r"job-[A-Za-z0-9._-]*-[0-9a-f]{16}\.json")


def name_of(client: str, job_id: str) -> str:
    """The file of a job, relative to the first root. Two clients may use the same id, and two ids may differ in a letter no file may have.

    >>> name_of("10.0.0.1:9461", "shot 1/a")
    'td-image-worker-results/job-shot_1_a-bd08cdd108a845ea.json'
    """
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", job_id)[:_LONGEST_ID]
    import hashlib  # only when the first one is written: with it comes a library of ciphers

    digest = hashlib.blake2b(f"{client}\0{job_id}".encode(errors="surrogatepass"), digest_size=8).hexdigest()
    return f"{FOLDER}/job-{readable}-{digest}.json"


@contextlib.contextmanager
def private(path: Path) -> Iterator[None]:
    """If this is a result file, then it, and the folder if it is made, are readable for this user alone.

    The mask is the whole process's: for a child process, which runs one task at a time.
    """
    if path.parent.name != FOLDER:
        yield
        return
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def begin(root: Path, limits: FileLimits) -> threading.Thread:
    """Tidies the folder below this root from now on, in a thread of its own."""
    thread = threading.Thread(target=_tidy_for_ever, args=(root / FOLDER, limits), name="results", daemon=True)
    thread.start()
    return thread


def _tidy_for_ever(folder: Path, limits: FileLimits) -> None:
    while True:
        try:
            removed = tidy(folder, limits.results_hours * 3600, limits.results_mb * MB, time.time())
            if removed:
                log.info("removed %d result files from %s", removed, folder)
        except OSError as error:
            log.warning("the result files in %s could not be tidied: %s", folder, error)
        time.sleep(TIDY_EVERY_S)


def tidy(folder: Path, max_age_s: float, max_bytes: int, now: float) -> int:
    """Removes the result files that are too old, then the oldest until the others hold at most `max_bytes`. Returns how many.

    Only files with a name of ours; links are not followed, and a folder that is a link is left alone.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return 0
    except FileNotFoundError:
        return 0
    files = sorted(_files(folder))
    total = sum(size for _, size, _ in files)
    removed = 0
    for written_at, size, path in files:
        age_s = now - written_at
        if age_s > max_age_s or (total > max_bytes and age_s > READ_WITHIN_S):
            with contextlib.suppress(OSError):  # somebody reads it (Windows), or it has gone already
                path.unlink()
                total -= size
                removed += 1
    return removed


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was written, its size, its path."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    yield status.st_mtime, status.st_size, Path(entry.path)
