"""`td-image-worker component`: the component for those who have installed the worker and have no repository."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest
from click.testing import CliRunner
from tests.td.conftest import REPOSITORY, TD
from tests.td.fake import TouchDesigner
from worker.cli import cli, component
from worker.cli.component import LEFT_OUT, RECORD

IN_THE_REPOSITORY = [path.relative_to(TD) for path in TD.rglob("*") if path.is_file()]
FILES = {path.as_posix() for path in IN_THE_REPOSITORY if not any(part in LEFT_OUT or part.startswith(".") for part in path.parts)}


def call(*arguments):
    return CliRunner().invoke(cli, ["component", *map(str, arguments)])


def written(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {RECORD}


def textport_line(output):
    (line,) = [line for line in output.splitlines() if line.startswith("import runpy;")]
    return line


def build(monkeypatch, folder, line):
    """What happens in TouchDesigner when somebody types the line into the Textport."""
    td = TouchDesigner(2025, folder)
    monkeypatch.setitem(sys.modules, "td", td.td)
    network = td.root.create("baseCOMP", "project1")
    exec(line, {})
    td.frame()
    status = network.op("ImageWorker").Status()
    td.crash()
    return status


def test_it_writes_everything_and_prints_the_line_that_builds_it(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "the artist's show" / "td"
    result = call(folder)
    assert result.exit_code == 0, result.output
    assert written(folder) == FILES
    assert {"build.py", "callbacks/execute.py", "examples/find_circles_in_top.py", "README.md", "network.svg"} <= FILES
    assert build(monkeypatch, tmp_path, textport_line(result.output)) == "Unknown"
    assert "0 problems" in capsys.readouterr().out


def test_an_update_replaces_the_files_of_an_older_version(tmp_path):
    """As they stand in the record; those that the new version does not have go. What somebody else put there stays."""
    assert call(tmp_path / "td").exit_code == 0
    record = json.loads((tmp_path / "td" / RECORD).read_text())
    for name in ("pending.py", "callbacks/old.py"):
        (tmp_path / "td" / name).write_bytes(b"old")
        record["files"][name] = hashlib.sha256(b"old").hexdigest()
    (tmp_path / "elsewhere.py").write_bytes(b"old")
    record["files"]["../elsewhere.py"] = record["files"]["gone.py"] = hashlib.sha256(b"old").hexdigest()
    (tmp_path / "td" / RECORD).write_text(json.dumps(record))
    (tmp_path / "td" / "mine.txt").write_text("kept")
    result = call(tmp_path / "td")
    assert result.exit_code == 0
    assert "callbacks/old.py was of an older version, and was removed." in result.output
    assert ".before" not in result.output
    assert written(tmp_path / "td") == {*FILES, "mine.txt"}
    assert (tmp_path / "td" / "pending.py").read_bytes() == (TD / "pending.py").read_bytes()
    assert (tmp_path / "elsewhere.py").exists()


@pytest.mark.parametrize("record", ["whole", "damaged", "none"])
def test_what_somebody_has_changed_is_kept(tmp_path, record):
    """Under another name, and it is said: as often as it happens."""
    folder = tmp_path / "td"
    assert call(folder).exit_code == 0
    for number, name in enumerate(("execute.py.before", "execute.py.before-2")):
        (folder / "callbacks" / "execute.py").write_text(f"mine {number}")
        if record != "whole":
            (folder / RECORD).unlink() if record == "none" else (folder / RECORD).write_text('{"files": 1}')
        result = call(folder)
        assert result.exit_code == 0
        said = f"callbacks/execute.py was not as this program had written it, and was replaced. It is kept as callbacks/{name}."
        assert said in result.output.splitlines()
        assert (folder / "callbacks" / name).read_text() == f"mine {number}"
        assert written(folder) >= FILES
    assert (folder / "callbacks" / "execute.py").read_bytes() == (TD / "callbacks" / "execute.py").read_bytes()
    assert ".before" not in call(folder).output


def test_the_repository_s_own_folder_is_left_as_it_is():
    result = call(TD)
    assert result.exit_code == 0
    assert textport_line(result.output).startswith(f"import runpy; runpy.run_path('{TD.as_posix()}/")
    assert not (TD / RECORD).exists()


def test_no_folder_is_not_this_folder(tmp_path, monkeypatch):
    """As from a script's variable that is empty."""
    monkeypatch.chdir(tmp_path)
    result = call("")
    assert (result.exit_code, written(tmp_path)) == (2, set())
    assert "DIR is empty. Name a folder, such as C:/show/td." in result.stderr


@pytest.mark.parametrize(
    ("folder", "path"),
    [
        (pathlib.PureWindowsPath("C:\\Users\\me\\new show\\td"), "'C:/Users/me/new show/td/build.py'"),
        (pathlib.PureWindowsPath("\\\\server\\share\\td"), "'//server/share/td/build.py'"),
        (pathlib.PureWindowsPath("D:\\Jürgen's\\td"), '"D:/Jürgen\'s/td/build.py"'),
        (pathlib.PurePosixPath('/Users/me/it\'s "it"/td'), "'/Users/me/it\\'s \"it\"/td/build.py'"),
    ],
)
def test_the_line_on_each_system(folder, path):
    """No back-slash that Python would read as something else, and quotes that fit."""
    line = component.textport_line(folder)
    assert line == f"import runpy; runpy.run_path({path}, run_name='__main__')"
    assert component.textport_line(folder, "ascii").isascii()


def test_a_console_that_lacks_the_letters_shows_a_line_that_works(monkeypatch, tmp_path):
    """A pipe of Windows often has 256 letters only."""
    folder = tmp_path / "\u9ebb show" / "td"
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "worker", "component", str(folder)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, encoding="cp1252", check=True, timeout=60)
    assert build(monkeypatch, tmp_path, textport_line(done.stdout)) == "Unknown"


def test_a_file_in_place_of_a_folder(tmp_path):
    """The sentence says so, and names a folder that would do."""
    (tmp_path / "show.toe").write_text("mine")
    result = call(tmp_path / "show.toe")
    assert result.exit_code == 2
    assert f"show.toe is a file. Name a folder, such as {tmp_path.as_posix()}/td." in result.stderr


def test_a_file_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "build.py").write_text("mine")
    result = call(tmp_path)
    assert result.exit_code == 2
    assert f"has a build.py that is not the component's. Choose another folder, such as {tmp_path.as_posix()}/td." in result.stderr
    assert written(tmp_path) == {"build.py"}


@pytest.mark.parametrize("inside", ["", "td"])
def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path, inside):
    (tmp_path / "file").write_text("")
    result = call(tmp_path / "file" / inside)
    assert result.exit_code == 2
    assert "file" in result.stderr
    assert "Traceback" not in result.stderr
