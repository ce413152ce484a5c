"""Operations of one's own on the command line: `ops`, `run` and `doctor`, with the file and with a mistake in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tests.own import FADE
from worker.cli import cli
from worker.cli.examination import own
from worker.cli.examination.steps import Mark, Question
from worker.config import Config
from worker.pictures.images import read_image, write_image


@pytest.fixture
def path(tmp_path, monkeypatch):
    """The file, in a folder of its own, and a picture where the commands are called."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [*sys.path])
    write_image(tmp_path / "here" / "a.png", np.full((4, 4), 200, np.uint8))
    (tmp_path / "my_ops.py").write_text(FADE)
    return tmp_path / "my_ops.py"


def call(*arguments, **environment):
    return CliRunner().invoke(cli, list(map(str, arguments)), env=environment)


def test_ops(path):
    """It stands among the others, and by itself; as JSON with its file."""
    assert "fade" in call("ops", "--operations", path).stdout
    one = call("ops", "fade", "--operations", path).stdout
    assert "fade: Makes pictures darker." in one
    assert "even | odd" in one
    described = json.loads(call("ops", "fade", "--json", "--operations", path).stdout)["operations"][0]
    assert described["own"] == "my_ops.py"
    unknown = call("ops", "fade")
    assert unknown.exit_code == 2
    assert "There is no operation 'fade'" in unknown.stderr


@pytest.mark.parametrize("way", ["option", "variable", "file"])
def test_run(way, path):
    """By each way in which a setting is given."""
    pairs = ("fade", "image=a.png", "output=b.png", "amount=0.25")
    if way == "option":
        result = call("run", *pairs, "--operations", path)
    elif way == "variable":
        result = call("run", *pairs, TD_IMAGE_WORKER_OPERATIONS=str(path))
    else:
        Path("td-image-worker.toml").write_text(f"operations = ['{path.as_posix()}']\n")
        result = call("run", *pairs)
    assert result.exit_code == 0, result.output
    assert read_image(Path("b.png").resolve()).mean() == 150


def test_run_with_a_wrong_value(path):
    result = call("run", "fade", "image=a.png", "output=b.png", "amount=7", "--operations", path)
    assert result.exit_code == 2
    assert "fade: amount must be a number from 0 to 1; got 7." in result.stderr


@pytest.mark.parametrize("command", [["ops"], ["run", "fade", "image=a.png", "output=b.png"]])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = (", "my_ops.py, line 1: SyntaxError: '(' was never closed."),
        (FADE.replace('"fade"', '"convert"'), "my_ops.py: the worker has an operation convert already; choose another name."),
    ],
)
def test_a_mistake_in_the_file(command, text, sentence, path):
    """One sentence, and exit code 2."""
    path.write_text(text)
    result = call(*command, "--operations", path)
    assert result.exit_code == 2
    assert sentence in " ".join(result.stderr.split())


def steps(path, root):
    config = Config(roots=(root,), operations=(str(path), "nothing-of-that-name"))
    return list(own.steps(Question(config)))


def test_doctor(path, tmp_path):
    """A child loads the file in its sandbox; what lies where jobs write is worth a note, and a mistake is broken."""
    found, package = steps(path, tmp_path / "here")
    assert (found.name, found.mark, found.seen) == ("operations my_ops.py", Mark.OK, "my_ops.py has fade.")
    assert (package.name, package.mark) == ("operations nothing-of-that-name", Mark.BROKEN)
    assert "No installed package has the entry point nothing-of-that-name" in package.seen
    found, _ = steps(path, tmp_path)
    assert (found.mark, found.seen) == (Mark.NOTE, "my_ops.py has fade. It lies in a folder that jobs write")
    path.write_text("import nowhere_at_all")
    found, _ = steps(path, tmp_path / "here")
    assert found.mark is Mark.BROKEN
    assert found.seen == "my_ops.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'."
