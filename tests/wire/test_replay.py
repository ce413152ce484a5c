"""A worker that records, killed in the middle; and its file, played to the scheduler alone and to another worker that loses packets."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.ports import free_port
from tests.reliability import replay, running
from worker.client.client import Client
from worker.storage.recording import read

TOKEN = "0123456789abcdef"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A short session; then the worker is killed and started again with the same file, and asked once more."""
    folder = tmp_path_factory.mktemp("recorded")
    root, path, port = folder / "root", folder / "session.jsonl", free_port()
    root.mkdir()
    options = ("--state", str(folder / "state"), "--record", str(path), "--token", TOKEN)
    process = running.start(port, root, *options)
    try:
        running.wait_until_it_answers(port)
        asyncio.run(replay.session(port, 2.0, seed=1, pause_s=0.3))
    finally:
        process.kill()
        process.wait()
    with running.worker(root, *options, port=port):
        asyncio.run(_once(port))
    return folder, path


async def _once(port):
    async with Client("127.0.0.1", port, token=TOKEN) as client:
        await (await client.submit("noop", {}, "after-the-kill")).final()


def test_the_file_survives_the_kill(recorded):
    """Two runs: one that breaks off, and a whole one. No token is in it, and no job may write over it."""
    folder, path = recorded
    first, second = read(path)
    assert (first.is_whole, second.is_whole) == (False, True)
    assert first.lines
    assert TOKEN not in path.read_text()
    assert "session.jsonl, up to 200 MB" in (folder / "root" / "worker.log").read_text()


def test_the_scheduler_alone(recorded):
    """The same events, the same effects, in both runs; and one effect that was changed is found."""
    folder, path = recorded
    done = replay.replay(str(path), "--core")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("all as recorded.") == 2
    lines = path.read_text().splitlines()
    place, line = next((place, json.loads(line)) for place, line in enumerate(lines) if '"/worker/ready"' in line)
    line["effects"].reverse()
    changed = folder / "changed.jsonl"
    changed.write_text("\n".join([*lines[:place], json.dumps(line), *lines[place + 1 :]]))
    done = replay.replay(str(changed), "--core")
    assert done.returncode == 1
    assert f"line {place + 1}, " in done.stdout
    assert " and is [" in done.stdout


def test_another_worker_through_a_bad_network(recorded):
    """A fifth of the packets is lost, a fifth comes twice, and they overtake each other: the same finals."""
    folder, path = recorded
    done = replay.play(folder, path, "--loss", "20", "--doubles", "20", "--reorder", "--speed", "4")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert ", 0 different." in done.stdout
    assert " 0 were lost" not in done.stdout


def test_as_a_person_reads_it(recorded):
    """What is in the file, and every packet of it."""
    _, path = recorded
    about = replay.replay(str(path)).stdout
    assert "2 runs of a worker." in about
    assert "It breaks off: the worker was killed, or still runs." in about
    listed = replay.replay(str(path), "--list").stdout
    assert "<- 127.0.0.1:" in listed
    assert '/worker/job "client0-1-0" "draw_circles"' in listed
    assert '/worker/ready "after-the-kill"' in listed


def test_nobody_there(recorded):
    """It says so; and what is no recording is a sentence, too."""
    folder, path = recorded
    silent = replay.replay(str(path), "--to", f"127.0.0.1:{free_port()}")
    assert (silent.returncode, silent.stdout) == (3, "")
    assert "No worker answers at 127.0.0.1:" in silent.stderr
    wrong = replay.replay(str(folder / "root" / "worker.log"), "--core")
    assert wrong.returncode == 2
    assert "is no recording" in wrong.stderr


def test_a_worker_does_not_start_without_its_recording(recorded, tmp_path):
    """It was asked to record, so it says why it cannot."""
    process = running.start(free_port(), tmp_path, "--no-journal", "--record", str(tmp_path))
    assert process.wait(60) == 2
    assert "record" in (tmp_path / "worker.log").read_text()
