"""`td-image-worker presets` against a real worker."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

from tests.ports import free_port
from tests.reliability import running


def presets(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "worker", "presets", "--port", str(port), *arguments]
    return subprocess.run(command, cwd=running.REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_presets(tmp_path):
    """They are set, listed, deleted and started from the command line, refused with a sentence, and survive a restart."""
    port = free_port()
    state = ("--state", str(tmp_path / "state"))
    with running.worker(tmp_path, *state, port=port):
        assert "There are no presets" in presets(port).stdout
        assert presets(port, "set", "hello", "text=hi", "operation=write_text", "output=hello.txt").returncode == 0
        wrong = presets(port, "set", "hello", "count=x")
        assert (wrong.returncode, "count must be a whole number" in wrong.stderr) == (2, True)
        behind = presets(free_port(), "set", "hello", "count=x", "--port", str(port), "--host", "127.0.0.1")
        assert (behind.returncode, "count must be a whole number" in behind.stderr) == (2, True)
        unknown = presets(port, "trigger", "helo")
        assert (unknown.returncode, "did you mean hello" in unknown.stderr) == (2, True)
        said = presets(port, "set", "gone", "operation=noop", "priority=0").stdout
        assert "Preset gone: operation, priority set." in said
        assert "Preset gone: priority deleted." in presets(port, "unset", "gone", "priority").stdout
        assert "did you mean operation?" in presets(port, "unset", "gone", "operaton").stderr
        assert "Preset gone: all of it deleted." in presets(port, "unset", "gone").stdout
        unknown = presets(port, "unset", "gone")
        assert (unknown.returncode, "There is no preset 'gone'" in unknown.stderr) == (2, True)
    with running.worker(tmp_path, *state, port=port):
        assert json.loads(presets(port, "--json").stdout) == {"hello": {"operation": "write_text", "text": "hi", "output": "hello.txt"}}
        assert "Preset hello: its job was started." in presets(port, "trigger", "hello").stdout
    assert (tmp_path / "hello.txt").read_text() == "hi"
    silent = presets(port)
    assert (silent.returncode, f"127.0.0.1:{port}" in silent.stderr) == (3, True)


def test_tune_makes_a_preset(tmp_path):
    """Circles drawn on one picture become a preset that a trigger starts, also after a restart."""
    shutil.copy(running.REPOSITORY / "tests" / "data" / "smarties.png", tmp_path / "many.png")
    port = free_port()
    state = ("--state", str(tmp_path / "state"))
    examples = "290 324 29; 131 325 26; 380 171 30"
    command = [
        sys.executable,
        "-m",
        "worker",
        "send",
        "--port",
        str(port),
        "tune",
        "image=many.png",
        f"examples={examples}",
        "preset=sweets",
    ]
    with running.worker(tmp_path, *state, port=port):
        done = subprocess.run(command, cwd=running.REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        presets(port, "set", "sweets", "data=found.json")
    with running.worker(tmp_path, *state, port=port):
        kept = json.loads(presets(port, "--json").stdout)["sweets"]
        assert (kept["operation"], kept["image"]) == ("find_circles", "many.png")
        assert 10 < float(kept["min_radius"]) < 27 < float(kept["max_radius"]) < 60
        assert "its job was started" in presets(port, "trigger", "sweets").stdout
    assert len(json.loads((tmp_path / "found.json").read_text())["items"]) > 10
