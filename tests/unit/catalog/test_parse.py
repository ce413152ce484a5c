import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.fields import fields_of
from worker.catalog.noop import Noop
from worker.catalog.params import JobOptions
from worker.catalog.table import CATALOG
from worker.catalog.text import WriteText
from worker.errors import ArgumentError, UnknownOperation
from worker.operations.shapes import Detector, Filter, Nothing, Source, Text
from worker.operations.table import OPERATIONS


def parse(operation, **values):
    return CATALOG.parse_job(operation, values.items())


def test_names():
    """The catalogue and the table of functions hold the same names, in the same order."""
    assert list(CATALOG) == list(OPERATIONS)


@pytest.mark.parametrize("info", CATALOG.values(), ids=list(CATALOG))
def test_shapes(info):
    """What makes rows says what they are; what reads images has an `image`; what writes one has a pattern for its name."""
    operation = OPERATIONS[info.name]
    fields = {field.name: field for field in info.parameters}
    assert bool(info.kind) == bool(info.fields)
    assert bool(info.kind) or not isinstance(operation, Source | Detector)  # a filter or a folder may make rows beside its picture
    assert not (info.kind and isinstance(operation, Nothing | Text))
    if isinstance(operation, Detector | Filter):
        assert fields["image"].role == "read"
    if isinstance(operation, Detector):
        assert fields["overlay"].role == fields["data"].role == "write"
    if isinstance(operation, Source | Filter):
        assert fields["output"].role == "write"


@pytest.mark.parametrize("info", CATALOG.values(), ids=list(CATALOG))
def test_described(info):
    """Every operation and every parameter has a description, and no parameter has the name of an option that all jobs have."""
    assert info.summary.endswith(".")
    options = {field.name for field in fields_of(JobOptions)}
    for field in info.parameters:
        assert field.description
        assert field.name not in options
        assert re.fullmatch("[a-z_]+", field.name)


@pytest.mark.parametrize("info", CATALOG.values(), ids=list(CATALOG))
def test_defaults(info):
    """Defaults lie within their own ranges: the required parameters alone make valid params."""
    given_values = {field.name: "a.png" for field in info.parameters if field.required}
    params, _ = CATALOG.parse_job(info.name, given_values.items())
    again = msgspec.convert(msgspec.to_builtins(params), info.params)
    assert params == again


def test_field():
    """A field knows what its parameter takes, from the innermost type to the outermost note."""
    fields = {field.name: field for field in CATALOG["draw_circles"].parameters}
    assert fields["output"].required
    assert fields["output"].role == "write"
    width = fields["width"]
    assert (width.type, width.default, width.minimum, width.maximum, width.unit) == ("int", 512, 1, 16384, "px")
    assert width.expected == "a whole number from 1 to 16384"
    method = {field.name: field for field in CATALOG["find_features"].parameters}["method"]
    assert "sift" in method.choices
    assert method.expected.startswith("one of orb, sift")


@pytest.mark.parametrize(
    ("value", "parsed"),
    [(7, 7), (7.0, 7), ("7", 7), ("7.0", 7), (None, 500), (True, 1)],
)
def test_numbers(value, parsed):
    """Whole numbers may come as float or text; nothing means the default."""
    assert parse("draw_circles", output="{n}.png", count=value)[0].count == parsed


@pytest.mark.parametrize(("value", "parsed"), [(True, True), (0, False), (1.0, True), ("1", True), ("false", False), (None, False)])
def test_truth(value, parsed):
    """Truth values may come as numbers or text."""
    assert parse("write_text", output="a.txt", append=value)[0].append is parsed


@pytest.mark.parametrize(("value", "parsed"), [("a", "a"), (3, "3"), (2.5, "2.5")])
def test_text(value, parsed):
    """Where text is wanted, numbers are written out."""
    assert parse("write_text", output="a.txt", text=value)[0].text == parsed


def test_options():
    """A job's own options are told from its operation's parameters."""
    params, options = parse("write_text", output="a.txt", priority=2.0, timeout_ms="500", replace="live")
    assert params == WriteText(output="a.txt")
    assert options == JobOptions(priority=2, timeout_ms=500, replace="live")
    assert parse("noop") == (Noop(), JobOptions())


@pytest.mark.parametrize(
    ("operation", "values", "words"),
    [
        ("draw_circles", {}, "draw_circles needs output"),
        ("draw_circles", {"output": "a", "cuont": 3}, "no parameter 'cuont'; did you mean count?"),
        ("noop", {"zzzzz": 3}, "no parameter 'zzzzz'; it takes no parameters"),
        ("draw_circles", {"output": "a", "count": 0}, "count must be a whole number from 1 to 100000; got 0"),
        ("draw_circles", {"output": "a", "count": "many"}, "got 'many' \\(text\\)"),
        ("draw_circles", {"output": "a", "count": 1.5}, "got 1.5"),
        ("draw_circles", {"output": "a", "color": "#ff8000\n"}, "color must be a colour as #rrggbb, such as #ff8000; got '#ff8000"),
        ("draw_circles", {"output": "a", "color": "red"}, "color must be a colour as #rrggbb, such as #ff8000; got 'red'"),
        ("find_circles", {"image": "a", "min_radius": float("nan")}, "got nan"),
        ("find_circles", {"image": "a", "min_radius": float("inf")}, "got inf"),
        ("find_features", {"image": "a", "method": "surf"}, "one of orb, sift.*got 'surf'"),
        ("write_text", {"output": "a", "append": 2}, "append must be 0 or 1; got 2"),
        ("write_text", {"output": "a", "priority": 3}, "priority must be one of 0, 1, 2; got 3"),
        ("convert", {"image": "", "output": "a"}, "image is empty; it is needed: an image file"),
    ],
)
def test_refusals(operation, values, words):
    """What is wrong is refused in one sentence that says what was expected and what came."""
    with pytest.raises(ArgumentError, match=words):
        CATALOG.parse_job(operation, values.items())


def test_given_twice():
    """A key that comes twice is refused."""
    with pytest.raises(ArgumentError, match="count was given twice"):
        CATALOG.parse_job("draw_circles", [("count", 1), ("count", 1)])


def test_unknown_operation():
    """The nearest name is suggested; where there is none, all are listed."""
    with pytest.raises(UnknownOperation, match="did you mean find_circles"):
        CATALOG.find("find_circle")
    with pytest.raises(UnknownOperation, match="known are noop"):
        CATALOG.find("zzz")


def test_repeatable():
    """Only an append leaves something else behind when it is done twice."""
    assert parse("write_text", output="a.txt")[0].repeatable()
    assert not parse("write_text", output="a.txt", append=1)[0].repeatable()


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))


@given(st.sampled_from(sorted(CATALOG)), st.data())
def test_any_values(operation, data):
    """Any values are params that are valid, or an ArgumentError."""
    names = [field.name for field in (*CATALOG[operation].parameters, *fields_of(JobOptions))]
    values = data.draw(st.dictionaries(st.sampled_from(names), VALUES))
    try:
        params, options = CATALOG.parse_job(operation, values.items())
    except ArgumentError as error:
        assert error.message.endswith((".", "?"))  # noqa: PT017 - either outcome is right
    else:
        msgspec.convert(msgspec.to_builtins(params), type(params))
        msgspec.convert(msgspec.to_builtins(options), JobOptions)


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("sensitivity", "0,5", "Write 0.5, with a point."),
        ("min_radius", "20px", "Write 20, without a unit."),
        ("min_radius", "20,5 mm", "Write 20.5, without a unit."),
        ("max_items", "20px", "Write 20, without a unit."),
        ("max_items", "2,5", ""),  # 2.5 would not do, either
        ("max_radius", "1,000", ""),  # a thousand, or one
        ("min_radius", "px", ""),
        ("min_radius", "-1", ""),
    ],
)
def test_numbers_as_people_write_them(key, value, hint):
    """What is wrong with the form of a number is said, if one can know what was meant."""
    with pytest.raises(ArgumentError, match=f"find_circles: {key} must be") as refused:
        parse("find_circles", image="a.png", **{key: value})
    assert refused.value.hint == hint
