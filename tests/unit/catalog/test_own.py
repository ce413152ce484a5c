"""What a child says of a file: whatever it is, the parent makes a row of it that can be used, or a sentence."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.own import OwnColumn, OwnOperation, OwnParameter, OwnProblem, row_of, with_own
from worker.catalog.params import JobOptions
from worker.catalog.rows import OwnFile
from worker.catalog.table import CATALOG
from worker.errors import ArgumentError

FILE = OwnFile("/show/my_ops.py", "1", b"")
NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,8}\Z") | st.sampled_from(["priority", "self", "class", "repeatable", "values", "__init__"])
VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
PARAMETERS = st.builds(
    OwnParameter,
    name=NAMES,
    type=st.sampled_from(["int", "float", "str", "bool"]),
    required=st.booleans(),
    default=VALUES,
    description=st.text(max_size=20),
    minimum=st.none() | st.floats(),
    maximum=st.none() | st.floats(),
    min_length=st.none() | st.integers(0, 2**31),
    max_length=st.none() | st.integers(0, 2**31),
    choices=st.lists(st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5), max_size=4).map(tuple),
    unit=st.text(max_size=5),
    role=st.sampled_from(["", "read", "write"]),
    holds=st.sampled_from(["", "image", "bytes", "table"]),
)
OPERATIONS = st.builds(
    OwnOperation,
    name=NAMES,
    summary=st.text(min_size=1, max_size=20),
    kind=st.just("") | NAMES,
    columns=st.lists(st.builds(OwnColumn, name=NAMES, digits=st.none() | st.integers(0, 15)), max_size=3).map(tuple),
    texts=st.lists(NAMES, max_size=2).map(tuple),
    item=st.sampled_from(["row", "file"]),
    few=st.integers(1, 10**9),
    repeatable=st.booleans(),
    parameters=st.lists(PARAMETERS, max_size=4).map(tuple),
)


PARAMETER = OwnParameter("a", "int", True, None, "x", None, None, None, None, (), "", "", "")


@given(OPERATIONS, st.lists(st.tuples(NAMES, VALUES), max_size=4))
def test_any_description(operation, pairs):
    """A contradiction is an OwnProblem at once; and if it was none, a job is taken, or refused as an ArgumentError."""
    try:
        row = row_of(operation, FILE)
        catalog = with_own(CATALOG, FILE, (row,))
    except OwnProblem:
        return
    msgspec.json.encode(row.as_object() | {"parameters": {}})
    try:
        params, options = catalog.parse_job(row.name, [*((one.name, 1) for one in operation.parameters if one.required), *pairs])
    except ArgumentError:
        return
    assert isinstance(options, JobOptions)
    assert params.repeatable() == operation.repeatable
    msgspec.json.encode(params)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a name that is none", {"name": "Glow"}),
        ("too many parameters", {"parameters": (PARAMETER,) * 65}),
        ("a long text", {"summary": "x" * 401}),
    ],
)  # fmt: skip
def test_bounds_of_a_description(name, values):
    """What is too much does not get through the decoder."""
    good = OwnOperation("glow", "Glows.", "", (), (), "file", 2, True, ())
    decode = msgspec.msgpack.Decoder(OwnOperation).decode
    assert decode(msgspec.msgpack.encode(good)) == good
    with pytest.raises(msgspec.ValidationError):
        decode(msgspec.msgpack.encode(msgspec.structs.replace(good, **values)))


def test_a_parameter_twice():
    """The first is not silently lost."""
    with pytest.raises(OwnProblem):
        row_of(OwnOperation("glow", "Glows.", "", (), (), "file", 2, True, (PARAMETER, PARAMETER)), FILE)
