import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.text import WriteText
from worker.errors import ArgumentError
from worker.operations.text import LINES_PER_BLOCK, between, blocks, check, steps


def text_of(**params):
    return b"".join(block for _, block in blocks(WriteText(output="a.txt", **params)))


def test_seed():
    """With the seed's words and count the text is the seed's, byte for byte, with LF line ends."""
    expected = "Start Working Function"
    for n in range(100_000):
        expected += f"\nFor loop {n} entry"
    expected += "\nEnding working Function"
    text = text_of(header="Start Working Function", line="For loop {n} entry", footer="Ending working Function", count=100_000)
    assert text == expected.encode()
    assert len(text.splitlines()) == 100_002


def test_left_out_parts():
    """A header or a footer that is empty leaves no empty line."""
    assert text_of(line="x", count=2) == b"x\nx"
    assert text_of(header="a", footer="b") == b"a\nb"
    assert text_of(footer="b", line="x{n}", count=1) == b"x0\nb"
    assert text_of(header="a") == b"a"
    assert text_of() == b""


def test_number():
    """{n} stands for the number wherever it is; other braces stay as they are."""
    assert text_of(line="{n}:{n} {x} {} {{n}}", count=2) == b"0:0 {x} {} {0}\n1:1 {x} {} {1}"


def test_whole_text():
    """A whole text is written as it is, as UTF-8."""
    assert text_of(text="Grüße {n}\r\n画") == "Grüße {n}\r\n画".encode()


def test_progress():
    """The blocks say how many lines are done, and end with all of them."""
    params = WriteText(output="a.txt", header="a", line="x", footer="b", count=2 * LINES_PER_BLOCK + 1)
    done = [step for step, _ in blocks(params)]
    assert done == [0, LINES_PER_BLOCK, 2 * LINES_PER_BLOCK, steps(params), steps(params)]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=10), st.integers(0, 3 * LINES_PER_BLOCK))
def test_blocks_are_invisible(line, count):
    """Where a block ends cannot be seen in the text."""
    if line and count:
        assert text_of(line=line, count=count).decode() == "\n".join(line.replace("{n}", str(n)) for n in range(count))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"text": "a", "header": "b"}, "either text, or header"),
        ({"text": "a", "count": 3}, "either text, or header"),
        ({"line": "a"}, "count is 0"),
        ({"count": 3}, "no line"),
        ({"header": "a", "line": "\ud800", "count": 1}, "surrogate"),
    ],
)
def test_contradictions(params, words):
    """What does not go together is refused with a sentence."""
    with pytest.raises(ArgumentError, match=words):
        check(WriteText(output="a.txt", **params))


def test_between():
    """Built lines start on a line of their own also when they are added to a file; a whole text is added as it is."""
    assert between(WriteText(output="a.txt", line="x", count=1)) == b"\n"
    assert between(WriteText(output="a.txt", text="x")) == b""


@pytest.mark.parametrize("line", ["line {n}", "{n}{n}", "{n}, {n} of é{n}", "no number"])
@pytest.mark.parametrize(
    "count", [1, 9, 10, 11, 99, 100, 101, 999, 1000, 1001, 1999, 2001, 3000, LINES_PER_BLOCK, LINES_PER_BLOCK + 1000, 12_345]
)
def test_no_line_is_missing(line, count):
    """Also where many lines are made at once, at the first number of more digits, and where the last thousand is just full."""
    made = b"".join(block for _, block in blocks(WriteText(output="a.txt", line=line, count=count)))
    assert made.decode().split("\n") == [line.replace("{n}", str(n)) for n in range(count)]
