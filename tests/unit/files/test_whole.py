"""Nobody sees half a file, whoever writes and whatever goes wrong."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading

import pytest

from worker.files import whole
from worker.files.whole import append_bytes, write_bytes_whole


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def test_failing_block(tmp_path):
    """If the text itself fails half way, the old file stays, and no temporary file is left."""

    def blocks():
        yield b"half"
        raise ValueError

    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    for write in (write_bytes_whole, append_bytes):
        with pytest.raises(ValueError):  # noqa: PT011 - it is ours
            write(path, blocks())
        assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.txt"]


def test_never_half_a_file(tmp_path):
    """Whoever reads while a file is written again and again always reads a whole one."""
    path = tmp_path / "a.txt"
    texts = {bytes([letter]) * 200_000 for letter in b"xyz"}
    write_bytes_whole(path, (b"x" * 200_000,))
    done = threading.Event()

    def write():
        for _ in range(20):
            for text in texts:
                write_bytes_whole(path, (text[:100_000], text[100_000:]))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert path.read_bytes() in texts
    writer.join()


def test_temporary_name(tmp_path):
    """The temporary file stands beside its target, hidden, ends in .part, and a name that is taken is passed over."""
    seen = []

    def blocks():
        seen.extend(names_in(tmp_path))
        yield b"."

    write_bytes_whole(tmp_path / "a.png", blocks())
    assert len(seen) == 1
    assert seen[0].startswith(f".a.png.{os.getpid()}-")
    assert seen[0].endswith(".part")
    number = int(seen[0].rpartition("-")[2].removesuffix(".part"))
    (tmp_path / f".b.png.{os.getpid()}-{number + 1}.part").touch()
    write_bytes_whole(tmp_path / "b.png", (b".",))
    assert (tmp_path / "b.png").read_bytes() == b"."


def test_append(tmp_path):
    """What is added goes to the end; what goes between is left out at the beginning of a file."""
    path = tmp_path / "new" / "a.txt"
    assert append_bytes(path, (b"one",), b"\n").size_bytes == 3
    assert append_bytes(path, (b"t", b"wo"), b"\n").size_bytes == 7
    assert path.read_bytes() == b"one\ntwo"
    assert names_in(path.parent) == ["a.txt"]


def _append_often(path, letter):
    for _ in range(50):
        append_bytes(path, (letter * 500, letter * 500))


def test_append_from_several_processes(tmp_path):
    """Several processes that append at the same time do not mix their pieces."""
    path = tmp_path / "a.txt"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_often, args=(path, letter)) for letter in (b"x", b"y")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    data = path.read_bytes()
    assert len(data) == 100_000
    assert all(len(set(data[at : at + 1000])) == 1 for at in range(0, len(data), 1000))


@pytest.mark.skipif(os.name == "nt", reason="making links needs a right there")
def test_a_link_that_leads_to_itself(tmp_path):
    """Nobody has changed it, and to send the job again does not help."""
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    error = whole.refusal(OSError(errno.ELOOP, "Too many levels of symbolic links"), loop, "read")
    assert (error.code, error.message, error.hint) == (403, "loop.png may not be read: it is a link that leads to itself.", "")
