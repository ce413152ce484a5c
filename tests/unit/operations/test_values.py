import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.text import WriteCsv, WriteJson
from worker.errors import ArgumentError
from worker.operations.text import check_csv, check_json, csv_blocks, csv_head, json_blocks


def written_json(value, output="a.json", **values):
    params = WriteJson(output=output, value=value, **values)
    check_json(params)
    return b"".join(block for _, block in json_blocks(params)).decode()


def written_csv(rows, output="a.csv", **values):
    params = WriteCsv(output=output, rows=rows, **values)
    check_csv(params)
    return csv_head(params).decode() + b"".join(block for _, block in csv_blocks(params)).decode()


def test_json():
    """A value is written so that it reads well, on one line if it is one of many, and with sorted names if asked for."""
    assert written_json('{"b":1,"a":"é"}') == '{\n  "b": 1,\n  "a": "é"\n}\n'
    assert written_json('{"b":1,"a":"é"}', sort=True, indent=0) == '{"a": "é", "b": 1}\n'
    assert written_json("[1,\n2]", output="a.JSONL") == "[1, 2]\n"
    assert written_json(" 12 ") == "12\n"


@pytest.mark.parametrize(
    ("value", "more", "words"),
    [
        ("{", {}, "value is no JSON: Expecting property name enclosed in double quotes in line 1, column 2"),
        ("{'a': 1}", {}, "is no JSON"),
        ("NaN", {}, "holds NaN, which JSON cannot say"),
        ("-Infinity", {}, "holds -Infinity"),
        ("1e999", {}, "holds a number that is too large"),
        ("9" * 5000, {}, "holds a number that is too large"),
        ('{"a": 1, "a": 2}', {}, "has the name 'a' twice"),
        ('"\\ud800"', {}, "half a character"),
        ("[" * 101 + "]" * 101, {}, "more than 100 levels"),
        ("[" * 100_000 + "]" * 100_000, {}, "more than 100 levels"),
        ("1", {"output": "a.txt"}, "output must end in .json, .geojson, .jsonl or .ndjson; got 'a.txt'"),
        ("1", {"append": True}, "append=1 needs a file of lines, .jsonl or .ndjson; got .json"),
    ],
)
def test_json_refused(value, more, words):
    """What is no JSON is refused in a sentence, before anything is written."""
    with pytest.raises(ArgumentError) as raised:
        written_json(value, **more)
    assert words in raised.value.message


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_VALUES, st.integers(0, 8), st.booleans())
def test_any_json(value, indent, sort):
    """What is written is what was given."""
    try:
        text = json.dumps(value)
        text.encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert json.loads(written_json(text, indent=indent, sort=sort)) == value


@given(st.text())
def test_any_text_is_json_or_refused(text):
    """Nothing but a documented error."""
    if text:
        try:
            written_json(text)
        except ArgumentError:
            return
        json.loads(text)


def test_csv():
    """Lines of a Table DAT, lists and objects become rows; the ending names the delimiter."""
    assert written_csv("a\tb\n1\t2\n") == "a,b\n1,2\n"
    assert written_csv("1\t2\r\n3\tx,y", columns="a, b") == 'a,b\n1,2\n3,"x,y"\n'
    assert written_csv('[[1, "x"], [2.5, null], [true, "say \\"y\\""]]') == '1,x\n2.5,\ntrue,"say ""y"""\n'
    assert written_csv('[{"a": 1, "b": 2}, {"b": 4, "a": 3}]') == "a,b\n1,2\n3,4\n"
    assert written_csv('[{"a": 1, "b": 2}, {"b": 4}]', columns="b,a") == "b,a\n2,1\n4,\n"
    assert written_csv("1\t2", output="a.tsv") == "1\t2\n"
    assert written_csv("", columns="a,b") == "a,b\n"


@pytest.mark.parametrize(
    ("rows", "more", "words"),
    [
        ("1\t2\n3", {}, "row 2 has 1 cells, and the first row has 2"),
        ("1\t2", {"columns": "a,b,c"}, "row 1 has 2 cells, and columns names 3"),
        ("[[1, [2]]]", {}, "a cell holds a list or an object"),
        ("[1, 2]", {}, "must be a list of lists or a list of objects"),
        ('[[1], {"a": 1}]', {}, "or both mixed"),
        ('[{"a": 1}, {"b": 1}]', {}, "object 2 has other names than the first one"),
        ('[{"a": {}}]', {}, "a cell of object 1 holds a list or an object"),
        ("[[1]", {}, "rows is no JSON"),
        ("1", {"columns": "a,,b"}, "must name each column once"),
        ("1\t1", {"columns": "a,a"}, "must name each column once"),
        ("", {}, "nothing to write"),
        ("1", {"output": "a.json"}, "output must end in .csv, .tsv or .tab"),
        ("\ud800", {}, "half a character"),
    ],
)
def test_csv_refused(rows, more, words):
    """What is no table is refused in a sentence, before anything is written."""
    with pytest.raises(ArgumentError) as raised:
        written_csv(rows, **more)
    assert words in raised.value.message


_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\x00"))


@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(_TEXT, min_size=width, max_size=width), min_size=1, max_size=6)))
def test_any_csv(rows):
    """What Python's csv module reads again are the same cells, whatever is in them."""
    read = list(csv.reader(io.StringIO(written_csv(json.dumps(rows)), newline="")))
    assert read == rows
