"""The commands as somebody types them, as far as no worker is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions
from worker.catalog.table import CATALOG
from worker.cli import COMMANDS, cli, show
from worker.cli.arguments import parse_pairs
from worker.client.client import Client, JobFailed, WorkerSilent
from worker.protocol.messages import Failed


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """With a sentence and examples."""
    result = call(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: cli {name}" in result.stdout
    assert name in call("--help").stdout


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["presets", "set"]])
def test_help_on_a_narrow_terminal(words: list[str]) -> None:
    """At 40 columns no line is longer, but for examples that one may copy; and nothing is left out."""
    narrow, wide = (CliRunner().invoke(cli, [*words, "--help"], env={"COLUMNS": columns}).stdout for columns in ("40", "80"))
    assert "".join(narrow.split()) == "".join(wide.split())
    too_long = [line for line in narrow.splitlines() if len(line) > 40 and "td-image-worker " not in line and len(line.split()) > 1]
    assert not too_long


def test_sentences_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said, noted and complained of is broken between words; a command, a path and JSON stay whole."""
    monkeypatch.setattr(show, "is_terminal", lambda **_: True)
    monkeypatch.setenv("COLUMNS", "40")
    for says in (show.say, show.note, show.complain):
        says("The file is outside the folders of `--root a b`. Start the worker with another --root, or move it.")
    show.print_json({"text": "a b " * 20})
    out, errors = capsys.readouterr()
    *sentence, json_line = out.splitlines()
    assert json.loads(json_line) == {"text": "a b " * 20}
    assert len(sentence) == 3
    assert max(map(len, sentence + errors.splitlines())) <= 40
    assert "`--root a b`" in out
    assert "Error: The file is outside the folders" in errors
    show.complain("/a/path/that/is/longer/than/the/terminal/is/wide cannot be read.")
    assert capsys.readouterr().err.splitlines() == ["Error: /a/path/that/is/longer/than/the/terminal/is/wide", "cannot be read."]


def test_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was started without one has neither standard output nor standard error."""
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert not show.is_terminal()
    for says in (show.say, show.note, show.complain):
        says("Nobody hears this.")


def test_mistakes_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usage, the way to the help and the sentence are broken between words."""
    monkeypatch.setattr(show, "is_terminal", lambda **_: True)
    for words in (["sevre"], ["--no-such-thing"], ["serve", "--prot", "1"], ["run", "find_circles", "image"]):
        done = CliRunner().invoke(cli, words, env={"COLUMNS": "40"}, prog_name="td-image-worker")
        assert done.exit_code == 2
        assert "Error: " in done.stderr
        assert max(map(len, done.stderr.splitlines())) <= 40
    assert "Error" not in CliRunner().invoke(cli, []).output  # it is the help


def test_starting_serve_imports_nothing_heavy() -> None:
    """The parent never loads OpenCV, NumPy or rich, and not even asyncio before it is needed."""
    code = (
        "import sys; from worker.cli import cli; [cli.get_command(None, name) for name in ('serve', 'send', 'demo')];"
        "print([name for name in ('cv2', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_unknown_command_of_presets() -> None:
    """It is answered with what there is."""
    result = call("presets", "list")
    assert result.exit_code == 2
    assert "There is no command 'list'; there are set, trigger, unset. `" in result.stderr


def test_version() -> None:
    """One line."""
    result = call("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("td-image-worker ")


def test_unknown_command() -> None:
    """Exit code 2, as for every mistake in the arguments; the near command is named."""
    result = call("sevre")
    assert result.exit_code == 2
    assert "There is no command 'sevre'; did you mean serve?" in result.stderr
    assert "There is no command 'xyz'; there are serve, demo, " in call("xyz").stderr


# ---------------------------------------------------------------------------------------------------------- key=value


@pytest.mark.parametrize(
    ("arguments", "sentence"), [(["image"], "is not key=value"), (["=x"], "is not key=value"), (["a=1", "a=2"], "given twice")]
)
def test_what_is_not_key_value(arguments: list[str], sentence: str) -> None:
    """Says what was expected."""
    with pytest.raises(click.UsageError, match=sentence):
        parse_pairs(arguments)


def test_values_from_files(tmp_path: Path) -> None:
    """@ reads a file, @@ is an @."""
    (tmp_path / "a.txt").write_text("äöü\n", encoding="utf-8")
    assert parse_pairs([f"text=@{tmp_path / 'a.txt'}", "line=@@home", "footer="]) == {"text": "äöü\n", "line": "@home", "footer": ""}
    with pytest.raises(click.UsageError, match="cannot be read"):
        parse_pairs([f"text=@{tmp_path / 'b.txt'}"])
    (tmp_path / "c.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(click.UsageError, match="is not UTF-8"):
        parse_pairs([f"text=@{tmp_path / 'c.bin'}"])


# ---------------------------------------------------------------------------------------------------------------- ops


def test_ops_lists_everything() -> None:
    """Each operation with each parameter, and the keys of every job."""
    text = call("ops").stdout
    for row in CATALOG.values():
        assert row.summary in text
        for field in row.parameters:
            assert f"{field.name}\t{field.type}\t" in text
    for field in fields_of(JobOptions):
        assert field.description in text


def test_ops_of_one_operation() -> None:
    """Type, default, range and meaning."""
    text = call("ops", "draw_circles").stdout
    assert "radius\tint\t63\t0 to 16384 px\tcircle radius" in text
    assert "output\tstr\tneeded\t-\timage files to write" in text
    assert "write_text" not in text


def test_ops_as_json() -> None:
    """For programs."""
    value = json.loads(call("ops", "convert", "--json").stdout)
    (operation,) = value["operations"]
    assert operation["name"] == "convert"
    assert operation["parameters"]["quality"]["max"] == 100
    assert value["every_job"]["priority"]["choices"] == [0, 1, 2]


def test_ops_offers_what_this_build_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that this build of OpenCV lacks stands among what is missing, and nowhere else."""
    monkeypatch.setattr("worker.operations.features._creator", lambda name: None if name == "BRISK_create" else name)
    text = call("ops", "find_features").stdout
    assert "orb | sift | fast | corners | akaze | kaze\t" in text
    assert "find_features method=brisk\tOpenCV" in text
    value = json.loads(call("ops", "find_features", "--json").stdout)
    assert "brisk" not in value["operations"][0]["parameters"]["method"]["choices"]
    assert "find_features method=brisk" in value["missing"]


def test_ops_of_an_unknown_operation() -> None:
    """The nearest one is named."""
    result = call("ops", "find_circle")
    assert result.exit_code == show.BAD_ARGUMENTS
    assert "did you mean find_circles?" in result.stderr


# ---------------------------------------------------------------------------------------------------------------- run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_as_json(here: Path) -> None:
    """Operation, items as objects with the field names, and files: nothing else, on one line."""
    result = call("run", "draw_circles", "output={n}.png", "count=9", "width=64", "height=64", "radius=5", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert list(value) == ["operation", "items", "files"]
    assert value["operation"] == "draw_circles"
    assert [set(item) for item in value["items"]] == [{"x", "y", "radius", "u", "v", "score"}] * 9
    assert [Path(file["path"]).name for file in value["files"]] == [f"{n}.png" for n in range(9)]
    assert value["files"][0] == {"path": value["files"][0]["path"], "bytes": (here / "0.png").stat().st_size, "width": 64, "height": 64}
    assert result.stderr == ""


def test_run_over_several_images_names_them(here: Path) -> None:
    """The column `image` is the file's name; the table of all of them is written once, at the end."""
    assert (
        call(
            "run", "draw_circles", "output={n}.png", "count=3", "width=200", "height=200", "radius=20", "centers=50 50 60 60 70 70"
        ).exit_code
        == 0
    )
    result = call("run", "find_circles", "image=*.png", "data=all.json", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert {item["image"] for item in value["items"]} == {"0.png", "1.png", "2.png"}
    assert [Path(file["path"]).name for file in value["files"]] == ["all.json"]
    assert (here / "all.json").is_file()


def test_run_says_what_max_items_leaves_out(here: Path) -> None:
    """No limit is silent: for a person in a sentence, for a program as a number."""
    picture = np.full((200, 400, 3), 40, np.uint8)
    for x in (60, 200, 340):
        cv2.circle(picture, (x, 100), 40, (220, 220, 220), -1, cv2.LINE_AA)
    cv2.imwrite(str(here / "a.png"), picture)
    assert "Found 3, 1 listed (max_items)." in call("run", "find_circles", "image=a.png", "max_items=1").stderr
    assert json.loads(call("run", "find_circles", "image=a.png", "max_items=1", "--json").stdout)["left_out"] == 2
    assert "left_out" not in json.loads(call("run", "find_circles", "image=a.png", "--json").stdout)


def test_run_keeps_no_preset(here: Path) -> None:
    """Without a worker there is nobody who could keep a preset, and that is said."""
    picture = np.full((200, 200), 40, np.uint8)
    cv2.circle(picture, (90, 100), 40, 220, -1, cv2.LINE_AA)
    cv2.imwrite(str(here / "a.png"), picture)
    assert "no worker here to keep a preset" in call("run", "tune", "image=a.png", "examples=90 100 40", "preset=coins").stderr
    assert "preset" not in call("run", "tune", "image=a.png", "examples=90 100 40").stderr


def test_run_in_plain_lines(here: Path) -> None:
    """The result on standard output, the progress on standard error."""
    result = call("run", "write_text", "output=a.txt", "line=entry {n}", "count=20000")
    assert result.exit_code == 0
    assert "file\tbytes\tsize" in result.stdout
    assert "write_text: ready" in result.stderr
    assert "write_text: 50 % (10000 of 20000)" in result.stderr
    assert (here / "a.txt").read_text().endswith("entry 19999")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["find_circle"], show.BAD_ARGUMENTS, "did you mean find_circles?"),
        (["find_circles"], show.BAD_ARGUMENTS, "find_circles needs image"),
        (["find_circles", "image=nowhere.png"], show.BAD_ARGUMENTS, "nowhere.png"),
        (["draw_circles", "output={n}.png", "count=-1"], show.BAD_ARGUMENTS, "count must be a whole number from 1"),
        (["draw_circles", "output"], show.BAD_ARGUMENTS, "'output' is not key=value"),
    ],
)
def test_run_says_what_is_wrong(arguments: list[str], code: int, sentence: str) -> None:
    """One sentence, no traceback, and an exit code that means something."""
    result = call("run", *arguments)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("here")
def test_run_failure_as_json() -> None:
    """Programs get the error as an object on standard output."""
    result = call("run", "find_circles", "image=nowhere.png", "--json")
    assert result.exit_code == show.BAD_ARGUMENTS
    assert json.loads(result.stdout)["error"]["code"] == 404


@pytest.mark.usefixtures("here")
def test_run_has_no_queue() -> None:
    """A job's own keys are understood, and it is said that they mean nothing here."""
    result = call("run", "noop", "priority=0")
    assert result.exit_code == 0
    assert "ignored" in result.stderr


# --------------------------------------------------------------------------------------------------------------- send


class NoWorker(Client):
    """Fails in the way it is told to."""

    problem: Exception

    async def connect(self) -> NoWorker:
        raise self.problem


@pytest.mark.parametrize(
    ("problem", "code", "sentence"),
    [
        (WorkerSilent("No worker answers at x:1 (UDP)."), show.SILENT, "Error: No worker answers at x:1 (UDP)."),
        (
            JobFailed(Failed("j", 0, 1, 429, "queue", "The queue is full.", "Later.")),
            show.BAD_ARGUMENTS,
            "Error: The queue is full. Later.",
        ),
        (JobFailed(Failed("j", 3, 1, 502, "child", "The child died.", "")), show.FAILED, "Error: The child died."),
        (JobFailed(Failed("j", 3, 1, 408, "timeout", "Too slow.", "")), show.STOPPED, "Error: Too slow."),
    ],
)
def test_send_exit_codes(monkeypatch: pytest.MonkeyPatch, problem: Exception, code: int, sentence: str) -> None:
    """Each outcome has its own."""
    NoWorker.problem = problem
    monkeypatch.setattr("worker.client.client.Client", NoWorker)
    result = call("send", "noop")
    assert result.exit_code == code
    assert result.stderr.strip() == sentence


def test_send_failure_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code, word, message and hint."""
    NoWorker.problem = JobFailed(Failed("j", 0, 1, 429, "queue", "The queue is full.", "Later."))
    monkeypatch.setattr("worker.client.client.Client", NoWorker)
    value = json.loads(call("send", "noop", "--json", "--id", "j").stdout)
    error = {"code": 429, "word": "queue", "message": "The queue is full.", "hint": "Later."}
    assert value == {"id": "j", "outcome": "refused", "operation": "noop", "error": error}


def test_send_help_has_the_exit_codes() -> None:
    """All of them, each with its meaning."""
    text = call("send", "--help").stdout
    for code, meaning in show.EXIT_CODES.items():
        assert f"{code:<4} {meaning}" in text


# --------------------------------------------------------------------------------------------------------------- show


def test_a_long_result_in_a_pipe_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal shows the first rows, a pipe all of them."""
    show.show_result([{"x": float(n)} for n in range(100)], ("x",), [])
    assert len(capsys.readouterr().out.splitlines()) == 101


def test_bars_in_a_pipe_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """One for each tenth that is reached, however many steps come."""
    with show.bars() as bars:
        bars.add("job")
        for step in range(1001):
            bars.update("job", step, 1000)
        bars.finish("job", "ready")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"job: {tenth}0 % ({tenth}00 of 1000)" for tenth in range(1, 10)] + ["job: ready"]


def test_quiet_bars_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a program reads."""
    with show.bars(quiet=True) as bars:
        bars.add("job")
        bars.update("job", 5, 10)
        bars.line("text")
        bars.finish("job", "ready")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_table_breaks_no_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> None:
    """On a terminal of any width: words and numbers are whole, and no line is longer than the terminal, or it is no table."""
    monkeypatch.setattr(show, "is_terminal", lambda **_: True)
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [("text_pyThreads_openCV", "500 PNGs of 512 x 512, 500 centres", "1.3 ms", "15176 ms", "7176 ms")]
    show.table(
        "", ("example", "checked on the disk", "TD waits", "without worker", "ready after"), rows, right=("TD waits", "without worker")
    )
    shown = capsys.readouterr().out
    for word in ("text_pyThreads_openCV", "centres", "1.3 ms", "15176 ms", "example", "checked"):
        assert word in shown
    assert ("without worker: 15176 ms" in shown) == (width == 40)
    assert width == 40 or max(map(len, shown.splitlines())) <= width


def test_a_table_without_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its head is shown."""
    monkeypatch.setattr(show, "is_terminal", lambda **_: True)
    show.table("", ("x", "y"), [], right=("x", "y"))
    assert "x" in capsys.readouterr().out
