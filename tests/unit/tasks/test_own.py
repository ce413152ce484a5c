"""Files with operations of an artist's own: what is taken, what is refused and in which words. Run in this process, as a child would."""

import re

import numpy as np
import pytest

from tests.own import FADE, HEAD, TABLE, own_file
from worker.catalog.own import OwnProblem, OwnValues, row_of, with_own
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Result, Task
from worker.errors import ArgumentError
from worker.files.paths import FileRules
from worker.pictures.images import read_image, write_image
from worker.tasks.own import OwnModules
from worker.tasks.run import run_task


def description(text, where="/show/my_ops.py"):
    return OwnModules().description(own_file(text, where)).operations


def problem(text, where="/show/my_ops.py"):
    with pytest.raises(OwnProblem) as caught:
        OwnModules().of(own_file(text, where))
    return caught.value.message


def rows(text):
    file = own_file(text)
    return tuple(row_of(operation, file) for operation in description(text))


def test_the_parent_knows_what_the_file_says():
    """Keys, types, ranges, texts, defaults and roles are the same on both sides; only the class is another one."""
    (row,) = rows(FADE)
    real, _ = OwnModules().of(own_file(FADE))["fade"]
    assert row.parameters == real.parameters
    assert row.as_object() == {**real.as_object(), "own": "my_ops.py"}
    assert row.params is not real.params


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ({"amount": 2}, "fade: amount must be a number from 0 to 1; got 2."),
        ({"amount": "much"}, r"fade: amount must be a number from 0 to 1; got 'much' \(text\)."),
        ({"mode": "both"}, "fade: mode must be one of even, odd; got 'both'"),
        ({"amuont": 1}, "did you mean amount"),
        ({"output": ""}, "fade: output is empty; it is needed: picture to write."),
    ],
)
def test_the_parent_checks_what_jobs_bring(pairs, sentence):
    """In the words of our own operations."""
    catalog = with_own(CATALOG, own_file(FADE), rows(FADE))
    with pytest.raises(ArgumentError, match=sentence):
        catalog.parse_job("fade", {"image": "a.png", "output": "b.png", **pairs}.items())


def test_a_job(tmp_path):
    """The child has the values checked by the real class, and runs the function on the files."""
    write_image(tmp_path / "a.png", np.full((4, 4), 200, np.uint8))
    values = {"image": "a.png", "output": "b.png", "amount": 0.25}
    outcome = run_task(Task(1, "fade", OwnValues(values=values), own=own_file(FADE)), FileRules((tmp_path,)), lambda _: None)
    assert isinstance(outcome, Result), outcome
    assert read_image(tmp_path / "b.png").mean() == 150


WRONG = (
    HEAD.split("class ")[0]
    + """

class P(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture")] = ""
    overlay: Annotated[str, Meta(extra=WRITE_IMAGE, description="picture")] = ""


def made(image, params):
    return {made}


SPOTS = Row("made", P, "Finds.", "spots", (Column("x", 1), Column("size", 1)))
OPERATIONS = {{{row}}}
"""
)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ("None", "made returned nothing (None) and no image; an image is an array (height, width) or"),
        ("'text'", "made returned str and no image"),
        ("image / 255", "made returned an image of float64; an image is an array"),
        ("image > 9", "made returned an image of bool; an image is"),
        ("image.astype(int)", "made returned an image of int64"),
        ("np.zeros((3, 4, 5), np.uint8)", "made returned an array of the shape (3, 4, 5); an image is"),
        ("np.zeros((0, 4), np.uint8)", "made returned an array of the shape (0, 4)"),
        ("exit(3)", "made failed: it raised SystemExit, which ends programs."),
        (
            "(_ for _ in ()).throw(type('PanicException', (BaseException,), {}))",
            "made failed: it raised PanicException, which ends programs.",
        ),
    ],
)
def test_no_image(tmp_path, made, sentence):
    """What is no image of 8 or 16 bits ends the job with a sentence, and nothing is written."""
    text = WRONG.format(made=made, row='Row("made", P, "Makes.", item="file"): Filter(made)')
    failure = failed(text, {"image": "a.png", "output": "b.png"}, tmp_path, "made")
    assert failure.code == 500
    assert failure.message.startswith(sentence), failure.message
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ("np.zeros((2, 5))", "made returned an array of the shape (2, 5); its rows have 2 columns: x, size."),
        ("np.zeros(2)", "made returned an array of the shape (2,); its rows have 2 columns: x, size."),
        ("None", "made returned nothing (None) and no rows of 2 numbers: x, size."),
        ("[[1, 2], [3]]", "made returned list and no rows of 2 numbers: x, size."),
        ("[[1, 2], [3, float('nan')]]", "made returned nan as size of row 1; a column holds numbers."),
    ],
)
def test_no_rows(tmp_path, made, sentence):
    text = WRONG.format(made=made, row="SPOTS: Detector(made, None)")
    assert failed(text, {"image": "a.png"}, tmp_path, "made").message.startswith(sentence)


@pytest.mark.parametrize(
    ("made", "rows"), [("[]", ()), ("[(1, 2)]", ((1.0, 2.0),)), ("np.empty((0, 7))", ()), ("Found([[3, 4]])", ((3.0, 4.0),))]
)
def test_rows_of_any_kind(tmp_path, made, rows):
    """A list of rows is as good as an array, and an empty one as good as none."""
    write_image(tmp_path / "a.png", np.full((4, 4), 200, np.uint8))
    text = WRONG.format(made=made, row="SPOTS: Detector(made, None)")
    outcome = run_task(Task(1, "made", OwnValues(values={"image": "a.png"}), own=own_file(text)), FileRules((tmp_path,)), lambda _: None)
    assert isinstance(outcome, Result), outcome
    assert outcome.rows == rows


def test_an_image_of_one_channel_and_one_turned_round(tmp_path):
    """A view and a channel too many are taken as they are meant."""
    write_image(tmp_path / "a.png", np.arange(16, dtype=np.uint8).reshape(4, 4))
    text = WRONG.format(made="image[:, ::-1, None]", row='Row("made", P, "Makes.", item="file"): Filter(made)')
    values = {"image": "a.png", "output": "b.png"}
    run_task(Task(1, "made", OwnValues(values=values), own=own_file(text)), FileRules((tmp_path,)), lambda _: None)
    assert read_image(tmp_path / "b.png")[0].tolist() == [3, 2, 1, 0]


def failed(text, values, tmp_path, operation="fade"):
    write_image(tmp_path / "a.png", np.full((4, 4), 200, np.uint8))
    outcome = run_task(Task(1, operation, OwnValues(values=values), own=own_file(text)), FileRules((tmp_path,)), lambda _: None)
    assert isinstance(outcome, Failure)
    return outcome


def test_a_job_for_an_older_version(tmp_path):
    """Values that no longer fit end in 400, an operation that has gone in 404."""
    newer = FADE.replace("amount:", "strength:")
    old = failed(newer, {"image": "a.png", "output": "b.png", "amount": 0.25}, tmp_path)
    assert (old.code, old.message) == (400, "fade: object contains unknown field `amount`.")
    gone = failed(FADE.replace('"fade"', '"dim"'), {}, tmp_path)
    assert (gone.code, gone.message) == (404, "my_ops.py has no operation 'fade' any more.")


def test_an_error_in_a_function(tmp_path):
    """The job's sentence has the line; a description of the file is not affected."""
    text = FADE.replace("(1 - params.amount)", "nothing")
    line = 1 + text.splitlines().index("    return (image * nothing).astype(image.dtype)")
    outcome = failed(text, {"image": "a.png", "output": "b.png"}, tmp_path)
    assert outcome.code == 500
    assert outcome.message == f"fade failed: my_ops.py, line {line}: NameError: name 'nothing' is not defined."
    assert [operation.name for operation in description(text)] == ["fade"]


def test_the_functions_own_words(tmp_path):
    """What it raises as an ArgumentError is the sender's mistake."""
    text = FADE.replace("    return (image", '    raise ArgumentError("fade: this picture is dark already.")\n    return (image')
    text = text.replace("import WRITE_IMAGE", "import ArgumentError, WRITE_IMAGE")
    outcome = failed(text, {"image": "a.png", "output": "b.png"}, tmp_path)
    assert (outcome.code, outcome.message) == (400, "fade: this picture is dark already.")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = (", r"my_ops.py, line 1: SyntaxError: '\(' was never closed."),
        ("\n\nimport nowhere_at_all", r"my_ops.py, line 3: ModuleNotFoundError: No module named 'nowhere_at_all'."),
        ("import sys\nsys.exit(3)", "my_ops.py, line 2: SystemExit: 3."),
        ("raise KeyboardInterrupt", "my_ops.py, line 1: KeyboardInterrupt."),
        ("def f():\n    f()\nf()", "my_ops.py, line 2: RecursionError: maximum recursion depth exceeded"),
        ("a\0b", "my_ops.py: SyntaxError: source code string cannot contain null bytes|my_ops.py: ValueError"),
        ("x = 3", "my_ops.py has no table OPERATIONS"),
        ("OPERATIONS = 3", "my_ops.py: OPERATIONS must be a table of rows and shapes, such as"),
        ("OPERATIONS = {}", "must have 1 to 64 operations; it has 0"),
        ("OPERATIONS = {1: 2}", "it holds 1: 2"),
        (HEAD + TABLE.replace('"fade"', '"Soft Fade"'), "small letters, digits and _, such as soft_glow, .*got 'Soft Fade'"),
        (FADE.replace("    amount:", "    Amount:"), "got 'Amount'"),
        (FADE.replace("    mode:", "    priority:"), "fade: every job has the key priority; give the parameter another name."),
        (FADE.replace("amount: Annotated[float,", "amount: Annotated[list[int],"), "amount must be a str, int, .*; it is list"),
        (FADE.replace("amount: Annotated[float,", "amount: Annotated[float | None,"), "a parameter is a str, int, float, bool or Literal"),
        (FADE.replace('Meta(description="which rows")', "Meta()"), "fade: mode has no description"),
        (FADE.replace("extra=WRITE_IMAGE, ", ""), "output is the path of a file to write; write Meta"),
        (FADE.replace("output:", "result:"), "fade is a Filter, so Fade needs the parameter output."),
        (FADE.replace("Filter(fade)", 'Filter(fade, references=("mask",))'), "references names mask, which is no parameter of Fade"),
        (FADE.replace("Filter(fade)", 'Filter(fade, references=("mode",))'), "mode is the path of a file to read"),
        (FADE.replace("Filter(fade)", "Detector(fade, fade)"), "fade is a Detector, so Fade needs the parameter overlay."),
        (FADE.replace('item="file"', 'item="file", probe=True'), "probe is the worker's own"),
        (FADE.replace('item="file"', 'item="file", needs=("moon",)'), "cannot be described"),
        (FADE.replace('item="file"', 'item="file", kind="x"'), "a result has both a kind and columns"),
        (FADE.replace('"Makes pictures darker."', '""'), "fade cannot be described"),
        (FADE.replace('Row("fade", Fade,', 'Row("fade", str,'), "must be a class that is derived from Params"),
    ],
)  # fmt: skip
def test_what_is_refused(text, sentence):
    """One sentence, with the file's name, and the line if there is one."""
    assert re.search(sentence, problem(text)), problem(text)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("convert", "my_ops.py: the worker has an operation convert already; choose another name.")],
)
def test_names_of_ours(name, sentence):
    """Nobody takes the place of an operation of the worker."""
    text = FADE.replace('"fade"', f'"{name}"')
    with pytest.raises(OwnProblem) as caught:
        with_own(CATALOG, own_file(text), rows(text))
    assert caught.value.message == sentence


def test_names_of_another_file():
    """Nor of one in another file."""
    other = own_file(FADE, "/show/other.py")
    catalog = with_own(CATALOG, other, tuple(row_of(one, other) for one in description(FADE, "/show/other.py")))
    with pytest.raises(OwnProblem, match=r"my_ops.py: other.py has an operation fade already"):
        with_own(catalog, own_file(FADE), rows(FADE))


def test_kinds_of_ours():
    """Rows under a kind that we have must have its columns."""
    text = FADE.replace('item="file"', 'kind="circles", columns=(Column("darkness"),)')
    with pytest.raises(OwnProblem, match=r"my_ops.py: fade and .* report circles with different fields"):
        with_own(CATALOG, own_file(text), rows(text))


def test_a_newer_version_takes_the_place_of_the_older():
    """Also of modules beside it, which are loaded again together with it."""
    modules = OwnModules()
    assert list(modules.of(own_file(FADE))) == ["fade"]
    assert list(modules.of(own_file(FADE.replace('"fade"', '"dim"')))) == ["dim"]


def test_modules_beside_it(tmp_path, monkeypatch):
    """They may be imported, and are loaded again with the file."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "neighbour_of_mine.py").write_text('NAME = "fade"\n')
    text = "from neighbour_of_mine import NAME\n" + FADE.replace('"fade"', "NAME")
    where = str(tmp_path / "my_ops.py")
    modules = OwnModules()
    assert list(modules.of(own_file(text, where))) == ["fade"]
    (tmp_path / "neighbour_of_mine.py").write_text('NAME = "dimmed_down"\n')
    assert list(modules.of(own_file(text + "\n", where))) == ["dimmed_down"]


def test_a_job_that_may_not_be_repeated():
    """If the class has a `repeatable` of its own, the parent runs no job again after a crash."""
    text = FADE.replace("    amount:", "    def repeatable(self):\n        return True\n\n    amount:", 1)
    (row,) = rows(text)
    (ordinary,) = rows(FADE)
    params = row.params(image="a", output="b")
    assert (params.repeatable(), ordinary.params(image="a", output="b").repeatable()) == (False, True)


def test_an_installed_package(monkeypatch):
    """It is found by the name of its entry point; if there is none, the sentence says which there are."""
    import importlib.metadata

    def entry_points(group):
        assert group == "td_image_worker.operations"
        return [importlib.metadata.EntryPoint("faders", "tests.small:OWN", group)]

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)
    assert [one.name for one in OwnModules().description(own_file("", "faders")).operations] == ["threshold"]
    assert problem("", "others").startswith(
        "No installed package has the entry point others in td_image_worker.operations; there are faders"
    )


def test_describe_as_a_task():
    """The task that asks for a description gets it, or the sentence as a failure."""
    ask = Task(1, "", OwnValues(values={}), Phase.DESCRIBE, own=own_file("x = ("))
    outcome = run_task(ask, FileRules(()), lambda _: None)
    assert isinstance(outcome, Failure)
    assert outcome.message == "my_ops.py, line 1: SyntaxError: '(' was never closed."


NEEDY = FADE.replace('item="file"', 'item="file", needs=("network",)')


def test_needs():
    """What an operation needs beside files is described; if the children may not reach it, the sentence names the setting."""
    (row,) = rows(NEEDY)
    assert row.needs == ("network",)
    assert row.as_object()["needs"] == ("network",)
    assert "needs" not in rows(FADE)[0].as_object()
    with pytest.raises(OwnProblem) as caught:
        OwnModules(frozenset({"devices"})).of(own_file(NEEDY))
    assert caught.value.message == "my_ops.py: fade needs network, and the child processes of this worker may not reach that."
    assert caught.value.hint == "Start it with --operations-need network."
    assert "fade" in OwnModules(frozenset({"network"})).of(own_file(NEEDY))
