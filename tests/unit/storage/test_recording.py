"""A recording: whatever ends the worker, what stands in the file can be read; and no secret stands there."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest

from worker.storage import recording
from worker.storage.recording import FORMAT, Recorder, RecordingError, read

BIG = 10 * 2**20


def run_of(number):
    return lambda: {"run": {"format": FORMAT, "number": number}}


def record(path, *lines, limit=BIG, secrets=()):
    recorder = Recorder(path, limit, secrets)
    for line in lines:
        recorder.add(line if callable(line) else lambda line=line: line)
    recorder.close()


def test_what_was_added_is_read(tmp_path):
    """In order; a second run with the same file adds to it."""
    path = tmp_path / "new" / "s.jsonl"
    record(path, run_of(1), {"t": 1.0, "event": "Woke"}, {"t": 1.0, "effects": []})
    record(path, run_of(2), {"t": 2.0, "event": "Woke"})
    first, second = read(path)
    assert (first.head["number"], second.head["number"]) == (1, 2)
    assert first.lines == [(2, {"t": 1.0, "event": "Woke"}), (3, {"t": 1.0, "effects": []}), (4, {"end": "stopped"})]
    assert first.is_whole
    assert second.is_whole


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: rights of files")
def test_only_this_user_reads_it(tmp_path):
    """It holds the names of files."""
    record(tmp_path / "s.jsonl", run_of(1))
    assert stat.S_IMODE((tmp_path / "s.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_worker_that_was_killed(tmp_path, cut):
    """Its last line is broken; all before it is read, and the next run begins on a line of its own."""
    path = tmp_path / "s.jsonl"
    record(path, run_of(1), {"t": 1.0, "event": "Woke"})
    data = path.read_bytes().removesuffix(b'{"end":"stopped"}\n')
    path.write_bytes(data + b'{"t":2.0,"event":"Finished","task_id":1}'[:cut])
    (broken,) = read(path)
    assert (len(broken.lines), broken.broken, broken.is_whole) == (1, [3], False)
    record(path, run_of(2))
    first, second = read(path)
    assert (first.broken, second.head["number"], second.is_whole) == ([3], 2, True)


def test_the_limit(tmp_path, caplog):
    """The file never becomes larger, says that it is full, and no run is added to it."""
    path = tmp_path / "s.jsonl"
    record(path, run_of(1), *({"t": float(number), "event": "Woke"} for number in range(1000)), limit=4000)
    assert path.stat().st_size <= 4000
    (run,) = read(path)
    assert run.lines[-1][1] == {"end": "full"}
    assert not run.is_whole
    assert "has reached its limit (--record-mb)" in caplog.text
    with pytest.raises(RecordingError, match=r"has 0\.0 MB; the limit is .* \(--record-mb\)\. Name another file\."):
        Recorder(path, 4000)


@pytest.mark.parametrize("token", ["0123456789abcdef", 'with "quotes" and \\', "Zauberwörter-für-alle"])
def test_no_secret(tmp_path, token):
    """Wherever it stands, as text or as the bytes of a packet."""
    path = tmp_path / "s.jsonl"
    packet = ("/worker/hello\0\0\0" + token).encode().decode("latin-1")
    record(path, run_of(1), {"packet": packet, "text": f"a {token} b"}, secrets=(token, ""))
    text = path.read_text()
    (run,) = read(path)
    (_, line), _ = run.lines
    assert json.dumps(token)[1:-1] not in text
    stars = "*" * len(token.encode())
    assert line == {"packet": "/worker/hello\0\0\0" + stars, "text": f"a {stars} b"}


def test_more_than_the_disk_can_take(tmp_path, monkeypatch):
    """What finds no room is counted where it is missing."""
    monkeypatch.setattr(recording, "MAX_WAITING", -1)
    recorder = Recorder(tmp_path / "s.jsonl", BIG)
    recorder.add(run_of(1))
    recorder.add(run_of(2))
    monkeypatch.setattr(recording, "MAX_WAITING", 100)
    recorder.add(run_of(3))
    recorder.close()
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert lines == [{"lost": 2}, run_of(3)(), {"end": "stopped"}]


def test_a_line_that_cannot_be_made(tmp_path, caplog):
    """It is logged and counted, and the recording goes on."""

    def wrong():
        raise LookupError("no such thing")

    record(tmp_path / "s.jsonl", run_of(1), wrong, {"t": 1.0})
    (run,) = read(tmp_path / "s.jsonl")
    assert run.lost == 1
    assert run.lines[1][1] == {"t": 1.0}
    assert "something could not be recorded" in caplog.text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="not on this system: /dev/full")
def test_a_full_disk(caplog):
    """The recording ends with a line in the log; nobody else notices."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    recorder = Recorder.__new__(Recorder)
    recorder.path, recorder._limit, recorder._secrets, recorder._size, recorder._descriptor, recorder.is_open = (
        "full",
        BIG,
        (),
        0,
        descriptor,
        True,
    )
    recorder._queue = recording.queue.SimpleQueue()
    recorder._queue.put(run_of(1))
    recorder._write()
    assert not recorder.is_open
    assert "the recording full ends here: No space left on device" in caplog.text


def test_nothing_begun_leaves_nothing(tmp_path):
    """A worker that could not start has no run."""
    record(tmp_path / "s.jsonl")
    assert (tmp_path / "s.jsonl").read_bytes() == b""
    with pytest.raises(RecordingError, match="is empty"):
        read(tmp_path / "s.jsonl")


def test_a_file_that_is_something_else(tmp_path):
    """It is left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary\n")
    with pytest.raises(RecordingError, match=r"is no recording, so nothing is added to it\. Name another file\."):
        Recorder(path, BIG)
    with pytest.raises(RecordingError, match="its first line says nothing about a run"):
        read(path)
    assert path.read_text() == "Dear diary\n"


def test_what_cannot_be_opened(tmp_path):
    """One sentence each."""
    with pytest.raises(RecordingError, match="cannot be written: "):
        Recorder(tmp_path, BIG)
    with pytest.raises(RecordingError, match=r"cannot be read: No such file"):
        read(tmp_path / "none.jsonl")


def test_a_newer_format(tmp_path):
    """It says so, and does not guess."""
    path = tmp_path / "s.jsonl"
    path.write_text('{"run":{"format":99}}\n')
    with pytest.raises(RecordingError, match="has format 99; this version of the program reads format 1"):
        read(path)
