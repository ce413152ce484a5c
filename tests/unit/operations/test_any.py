"""Every operation of the catalogue on any small picture, with any parameters: a result of the promised form, or a documented error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.table import CATALOG
from worker.errors import InternalError, WorkerError
from worker.operations.shapes import Detector, Film, Filter, Folder, Found, Frames, Picture, Source, Text, Transfer
from worker.operations.table import OPERATIONS
from worker.pictures.clips import Clip
from worker.pictures.pixels import size_of

#: A larger output only takes longer.
MOST_PIXELS = 400_000
NAMES = [name for name, operation in OPERATIONS.items() if isinstance(operation, Detector | Filter | Folder | Source | Text)]
#: Texts that some operation understands, and some that none does.
TEXTS = (
    *("", "gray", "gray; blur 2; edges 50 150", "threshold 128; dilate 3", "10 10 20 20", "0 0 1 1", "-5 -5 900 900", "#ff0000", "x"),
    *("0 0 30 0 30 30 0 30", "5 5 40 8 38 44 2 40", "1e9 0 nan 2", "9 9 5; 20 20 8", "16:9", "hello\n画", '{"a": 1}', "[[1, 2], [3, 4]]"),
    *("a,b", "a\t1", "#ff0000 #00ff00", "100 100 50"),
)


@st.composite
def value_of(draw, field):
    """The default, a limit, or anything between; a text for a text."""
    if field.choices:
        return draw(st.sampled_from(field.choices))
    if field.type == "bool":
        return draw(st.booleans())
    if field.type == "str":
        if field.role == "write":
            name = {"image": "o.png", "table": "t.csv"}.get(field.holds, draw(st.sampled_from(("o.npz", "o.csv", "o.json", "o.svg"))))
            return draw(st.sampled_from((name, ""))) if not field.required else "o.png"
        return draw(st.sampled_from((field.default or "", *TEXTS))) if not field.role else draw(st.sampled_from(("", "a.png")))
    low, high = (field.minimum if field.minimum is not None else -1e6), (field.maximum if field.maximum is not None else 1e6)
    near = [
        number for number in (low, high, field.default, (field.default or 0) * 2, low + 1) if number is not None and low <= number <= high
    ]
    number = draw(st.sampled_from(near) | st.floats(low, min(high, 300.0) if low <= 300 else high))
    return int(number) if field.type == "int" else number


@st.composite
def params_of(draw, name):
    """Valid params, most of them at their defaults."""
    fields = CATALOG[name].parameters
    changed = draw(st.sets(st.sampled_from([field.name for field in fields]), max_size=3))
    pairs = [(field.name, draw(value_of(field))) for field in fields if field.required or field.name in changed]
    pairs = [(key, value if key != "image" else "a.png") for key, value in pairs]
    try:
        params, _ = CATALOG.parse_job(name, pairs)
    except WorkerError:
        assume(False)
    return params


def as_promised(found, info, outputs):
    """A `Found` is what the shapes say it is."""
    found = found if isinstance(found, Found) else Found(np.asarray(found))
    if len(found.rows):
        assert found.rows.ndim == 2
        assert found.rows.shape[1] == len(info.fields)
        assert not np.isnan(found.rows).any()
    assert found.total is None or found.total >= len(found.rows)
    if found.texts:
        assert len(found.texts) == len(found.rows)
        assert all(len(texts) == len(info.texts) and all(isinstance(text, str) for text in texts) for texts in found.texts)
    for key, image in found.images.items():
        assert key in outputs
        assert image.dtype in (np.uint8, np.uint16)
        assert image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))
        assert min(image.shape[:2]) > 0
    for key, data in found.files.items():
        assert key in outputs
        assert isinstance(data, bytes)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any(name, data):
    """Nothing but documented errors; inputs stay as they are."""
    operation, info = OPERATIONS[name], CATALOG[name]
    params = data.draw(params_of(name))
    outputs = {field.name for field in info.parameters if field.role == "write"}
    try:
        operation.check(params)
        if isinstance(operation, Text):
            assume(operation.steps(params) <= 10_000)
            assert all(isinstance(block, bytes) for _, block in operation.blocks(params))
        elif isinstance(operation, Source):
            assume(params.width * params.height <= MOST_PIXELS)
            image, rows = operation.make(data.draw(st.integers(0, operation.count(params) - 1)), params)
            as_promised(Found(rows, {"output": image}), info, outputs)
        else:
            call(data, operation, info, params, outputs)
    except InternalError:
        raise
    except WorkerError:
        return


def call(data, operation, info, params, outputs):
    pictures = [data.draw(any_picture(64)) for _ in range(data.draw(st.integers(1, 3)) if isinstance(operation, Folder) else 1)]
    before = [picture.copy() for picture in pictures]
    if isinstance(operation, Folder):
        sheet = getattr(params, "tile_width", 1) * getattr(params, "tile_height", 1)
        assume(sheet * max(1, getattr(params, "columns", 1)) <= MOST_PIXELS)
        as_promised(operation.combine((Picture(n, f"p{n}", picture) for n, picture in enumerate(pictures)), params), info, outputs)
    else:
        holds = {field.name: field.holds for field in info.parameters}
        given = [key for key in operation.references if getattr(params, key)]
        references = [
            None if key not in given else b"no model" if holds[key] == "bytes" else data.draw(any_picture(64))
            for key in operation.references
        ]
        if isinstance(operation, Filter):
            width, height = operation.size(size_of(pictures[0]), params)
            assume(width * height <= MOST_PIXELS)
            profile = (data.draw(st.binary(max_size=200)),) if operation.profiles else ()
            as_promised_filter(operation.apply(pictures[0], *profile, *references, params), info, outputs)
        else:
            found = operation.find(pictures[0], *references, params)
            as_promised(found, info, outputs)
            rows = found.rows if isinstance(found, Found) else found
            if operation.draw is not None:
                overlay = operation.draw(pictures[0], *references, rows)
                assert overlay.dtype == np.uint8
                assert overlay.shape == (*pictures[0].shape[:2], 3)
    for picture, same in zip(pictures, before, strict=True):
        np.testing.assert_array_equal(picture, same)


def as_promised_filter(made, info, outputs):
    as_promised(made if isinstance(made, Found) else Found(images={"output": made}), info, outputs)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if isinstance(operation, Frames)])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_frame(name, data):
    """A frame becomes a picture of the size that was promised; how many there will be is never less than none."""
    operation, params = OPERATIONS[name], data.draw(params_of(name))
    frame = data.draw(any_picture(64))
    size = operation.size(size_of(frame), params)
    assume(size[0] * size[1] <= MOST_PIXELS)
    try:
        operation.check(params)
    except WorkerError:
        return
    before = frame.copy()
    assert size_of(operation.make(frame, params)) == size
    np.testing.assert_array_equal(frame, before)
    assert operation.expected(Clip(*size_of(frame), data.draw(st.integers(0, 1000)), data.draw(st.floats(0.1, 240))), params) >= 0


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if isinstance(operation, Film)])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_picture_of_a_film(name, data):
    """Every picture becomes a frame of the film's size, 8 bits BGR."""
    operation, params = OPERATIONS[name], data.draw(params_of(name))
    size = operation.size(data.draw(st.tuples(st.integers(1, 64), st.integers(1, 64))), params)
    assume(size[0] * size[1] <= MOST_PIXELS)
    try:
        operation.check(params)
    except WorkerError:
        return
    frame = operation.frame(data.draw(any_picture(64)), size, params)
    assert (frame.shape, frame.dtype) == ((size[1], size[0], 3), np.uint8)
    assert operation.codec(params)


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if isinstance(operation, Transfer)])
@given(data=st.data())
def test_any_place(name, data):
    """A file that is copied or moved keeps its ending, whatever it and its new place are called."""
    operation, params = OPERATIONS[name], data.draw(params_of(name))
    below = data.draw(st.sampled_from(("a.mov", "day 1/a.b.png", "x", ".hidden", "{n}.png", "\u753b.jpg")))
    folder = operation.names_folder(params.output, several=data.draw(st.booleans()))
    try:
        target = operation.target(params, below, data.draw(st.integers(0, 9999)), folder=folder)
    except WorkerError:
        return
    assert target.rpartition(".")[2].lower() == below.rpartition(".")[2].lower() or "." not in below.lstrip(".")
