import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.own import FADE, own_file
from worker.catalog.drawing import DrawCircles
from worker.catalog.own import OwnColumn, OwnOperation, OwnParameter, OwnValues
from worker.core.jobs import Description, Failure, Part, Phase, Plan, Result, Task
from worker.errors import MissingFile
from worker.executors import framing
from worker.files.whole import WrittenFile

NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FILES = st.builds(WrittenFile, TEXT, st.integers(0, 2**60), st.integers(0, 2**31), st.integers(0, 2**31))


@st.composite
def results(draw):
    fields = draw(st.lists(TEXT, max_size=4))
    rows = draw(st.lists(st.tuples(*[NUMBERS] * len(fields)), max_size=4)) if fields else []
    kind = draw(st.sampled_from(["", "circles", "features_2"]))
    files = draw(st.lists(FILES, max_size=3))
    return Result(kind, tuple(fields), tuple(rows), tuple(files), tuple(draw(st.lists(TEXT, max_size=3))))


PARTS = st.builds(Part, st.integers(0, 99), st.integers(0, 9), st.integers(0, 9), st.lists(TEXT, max_size=3).map(tuple))
OWN = (
    OwnOperation("glow", "Glows.", "", (), (), "file", 2, True, ()),
    OwnOperation(
        *("spots", "Finds spots.", "spots", (OwnColumn("x", 3), OwnColumn("size", None)), ("name",), "row", 2, False),
        (OwnParameter("image", "str", True, None, "an image", None, None, 1, None, (), "", "read", ""),),
    ),
)
OUTCOMES = st.one_of(
    results(),
    st.builds(Plan, st.lists(PARTS, max_size=3).map(tuple), st.booleans(), results()),
    st.builds(Failure, st.integers(400, 599), TEXT, TEXT, TEXT, st.booleans()),
    st.builds(Description, st.lists(st.sampled_from(OWN), max_size=2).map(tuple)),
)


def body(frame):
    (only,) = framing.Frames().received(frame)
    return only


def heard(data):
    """What the parent makes of these bytes."""
    try:
        return [framing.said(one) for one in framing.Frames().received(data)]
    except framing.BadFrame as error:
        return [error]


@given(OUTCOMES, st.integers(1, 2**62))
def test_outcomes_there_and_back(outcome, task_id):
    """Every outcome arrives as it was, whole numbers as whole ones."""
    message = framing.said(body(framing.ended(task_id, outcome)))
    arrived = framing.outcome_of(message)
    assert (message.task_id, arrived) == (task_id, outcome)
    assert repr(arrived) == repr(outcome)


@given(results(), st.none() | PARTS)
def test_tasks_there_and_back(joined, part):
    """A task arrives as it was, its parameters with the class that they have."""
    params = DrawCircles(output="a{n}.png", count=7, color="#102030")
    task = Task(3, "draw_circles", params, Phase.FINISH, 4, part, joined)
    assert framing.task_of(framing.told(body(framing.given(task)))) == task


@given(st.binary(max_size=300))
def test_any_bytes(data):
    """Whatever a child sends is a message or a BadFrame; nothing else happens in the parent."""
    assert all(isinstance(one, framing.Said | framing.BadFrame) for one in heard(data))


@given(OUTCOMES, st.data())
def test_any_change(outcome, data):
    """So is a message in which a byte was changed."""
    changed = bytearray(framing.ended(7, outcome))
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    assert all(isinstance(one, framing.Said | framing.BadFrame) for one in heard(bytes(changed)))


@given(st.lists(OUTCOMES, min_size=1, max_size=4), st.data())
def test_pieces(outcomes, data):
    """However the bytes are cut on their way, the same messages come out."""
    stream = b"".join(framing.ended(7, outcome) for outcome in outcomes)
    pieces = framing.Frames()
    arrived = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        arrived += [framing.outcome_of(framing.said(one)) for one in pieces.received(stream[:size])]
        stream = stream[size:]
    assert arrived == outcomes


def test_claims():
    """A claim to send more than any message has is refused at once, before anything of it has come."""
    with pytest.raises(framing.BadFrame, match="claims a message of"):
        list(framing.Frames().received((framing.MAX_FRAME + 1).to_bytes(4, "little")))
    pieces = framing.Frames()
    assert list(pieces.received(b"\xff\xff")) == []
    with pytest.raises(framing.BadFrame, match="claims a message of"):
        list(pieces.received(b"\xff\xff"))


@pytest.mark.parametrize("odd", [None, 7, "text", lambda: None, {"rows": ()}])
def test_no_outcome(odd):
    """What is no outcome of a task is not sent."""
    with pytest.raises(TypeError):
        framing.ended(1, odd)


def test_class_of_parameters():
    """A child imports a class of parameters and nothing else, even for its parent."""
    with pytest.raises(framing.InternalError, match="no class of parameters"):
        framing._params("worker.core.jobs:Task")


def test_packed():
    """What is passed on in one piece is the task as it was, with the file of an operation that is not the worker's."""
    task = Task(7, "draw_circles", DrawCircles(output="a.png", count=3), Phase.PART, 2, Part(0, 0, 3))
    assert framing.unpacked(framing.packed(task)) == task
    own = Task(8, "fade", OwnValues(values={"image": "a.png", "output": "b.png"}), own=own_file(FADE))
    assert framing.unpacked(framing.packed(own)) == own
    with pytest.raises(framing.BadFrame):
        framing.unpacked(framing.taught(own_file(FADE)))


def test_a_failure_that_names_a_file_in_no_encoding():
    """Its name came from the disk, where it may hold any bytes. The sentence arrives all the same, with these written out."""
    failure = Failure.of(MissingFile("There is no file b.png.", "Did you mean b\udcff.png?"))
    frame = framing.ended(7, failure)
    assert framing.outcome_of(framing.said(frame[framing.HEAD :])) == failure
    assert failure.hint == "Did you mean b\\udcff.png?"
