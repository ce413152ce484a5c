from __future__ import annotations

import math
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythontuio import TuioClient
from pythontuio.tuio import BlockingOSCUDPServer

from tests.strategies import INT32
from worker.protocol.osc import read_message
from worker.protocol.tuio import DATAGRAM_BYTES, IDLE_S, Touch, Tuio

PROFILES = ("2Dcur", "2Dobj", "2Dblb")
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
TOUCHES = st.builds(Touch, INT32, *[NUMBERS] * 5, area=st.none() | NUMBERS, marker=INT32, vx=st.none() | NUMBERS, vy=st.none() | NUMBERS)


def messages(datagram):
    """The messages of a bundle: addresses and arguments."""
    assert datagram.startswith(b"#bundle\0")
    place, found = 16, []
    while place < len(datagram):
        size = int.from_bytes(datagram[place : place + 4], "big")
        found.append(read_message(datagram[place + 4 : place + 4 + size]))
        place += 4 + size
    return found


def said(datagram):
    """The arguments of the messages of a bundle."""
    return [arguments for _, arguments in messages(datagram)]


def sets(datagrams):
    """All `set` messages of some bundles, without the word."""
    return [arguments[1:] for datagram in datagrams for arguments in said(datagram) if arguments[0] == "set"]


@pytest.fixture
def reader():
    """The client of python-tuio at a free port; `read(datagrams)` sends these and lets it take them."""
    client = TuioClient(("127.0.0.1", 0))
    BlockingOSCUDPServer.__init__(client, client.server_address, client)
    client.timeout = 10
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def read(datagrams):
        for datagram in datagrams:
            sender.sendto(datagram, client.server_address)
            client.handle_request()
        return client

    yield read
    sender.close()
    client.server_close()


def test_a_frame():
    """The source, what is alive, where it is, and the number of the frame, in this order."""
    (datagram,) = Tuio("worker@127.0.0.1", "2Dcur").frame([Touch(7, 0.5, 0.25), Touch(9, 0.75, 1)], 0.0)
    assert {address for address, _ in messages(datagram)} == {"/tuio/2Dcur"}
    assert said(datagram) == [
        ["source", "worker@127.0.0.1"],
        ["alive", 7, 9],
        ["set", 7, 0.5, 0.25, 0, 0, 0],
        ["set", 9, 0.75, 1, 0, 0, 0],
        ["fseq", 1],
    ]


@pytest.mark.parametrize(("profile", "tags"), [("2Dcur", b",sifffff\0"), ("2Dobj", b",siiffffffff\0"), ("2Dblb", b",sifffffffffff\0")])
def test_types(profile, tags):
    """Whole numbers for ids, floats for all else, as many as the profile has."""
    (datagram,) = Tuio("worker", profile).frame([Touch(7, 0, 1)], 0.0)
    assert b"set\0" in datagram
    assert tags in datagram


def test_begin_and_end():
    """Nothing is alive before the first frame and after the last."""
    tuio = Tuio("worker")
    for datagrams in (tuio.begin(), tuio.frame([Touch(1, 0, 0)], 0.0) and tuio.end()):
        (datagram,) = datagrams
        assert said(datagram) == [["source", "worker"], ["alive"], ["fseq", -1]]


def test_frames_are_counted():
    """From 1; a receiver may take 0 for no number. A repeated bundle has none."""
    tuio = Tuio("worker")
    numbers = [said(datagrams[-1])[-1][1] for datagrams in (tuio.frame([], 0.0), tuio.idle(5.0), tuio.frame([], 6.0))]
    assert numbers == [1, -1, 2]
    tuio._number = 2**31 - 1
    assert said(tuio.frame([], 7.0)[0])[-1] == ["fseq", 1]


def test_idle():
    """Once a second, if nothing else is sent."""
    tuio = Tuio("worker")
    tuio.frame([Touch(3, 0, 0)], 10.0)
    assert tuio.idle(10.0 + IDLE_S * 0.9) == []
    (datagram,) = tuio.idle(10.0 + IDLE_S)
    assert said(datagram) == [["source", "worker"], ["alive", 3], ["fseq", -1]]
    assert tuio.idle(10.0 + IDLE_S * 1.9) == []
    assert len(tuio.idle(10.0 + IDLE_S * 2)) == 1


def test_motion():
    """Widths and heights per second, turns per second, and how fast these change."""
    tuio = Tuio("worker", "2Dobj")
    tuio.frame([Touch(1, 0.0, 0.0, angle=math.tau - 0.1, marker=12)], 0.0)
    first, second = (
        sets(tuio.frame([Touch(1, x, y, angle=angle, marker=12)], now))[0]
        for x, y, angle, now in ((0.3, 0.4, 0.1, 0.5), (0.3, 0.4, 0.1, 1.0))
    )
    turns = 0.2 / math.tau / 0.5
    assert first == pytest.approx([1, 12, 0.3, 0.4, 0.1, 0.6, 0.8, turns, 2.0, turns / 0.5], abs=1e-5)
    assert second == pytest.approx([1, 12, 0.3, 0.4, 0.1, 0, 0, 0, -2.0, -turns / 0.5], abs=1e-5)


def test_known_velocity():
    """A velocity that the sender knows better than by the difference of two places is taken."""
    tuio = Tuio("worker", "2Dcur")
    tuio.frame([Touch(1, 0, 0, vx=0.3, vy=0.4)], 0.0)
    assert sets(tuio.frame([Touch(1, 0.9, 0.9, vx=0.6, vy=0.8)], 0.5))[0] == pytest.approx([1, 0.9, 0.9, 0.6, 0.8, 1.0], abs=1e-5)


def test_from_pixels():
    """Each axis by its own length."""
    touch = Touch.in_picture(4, (960, 1080), (1920, 1080), size=(192, 54), velocity=(1920, -540))
    assert (touch.x, touch.y, touch.width, touch.height, touch.vx, touch.vy) == (0.5, 1.0, 0.1, 0.05, 1.0, -0.5)
    assert Touch.in_picture(4, (0, 0), (0, 0)).x == 0


def test_more_than_a_datagram():
    """Each of several bundles has the whole list of ids and the number of the frame; together they have all that is there."""
    touches = [Touch(number, number / 100, 0.5) for number in range(100)]
    datagrams = Tuio("worker", "2Dblb").frame(touches, 0.0)
    assert len(datagrams) > 1
    for datagram in datagrams:
        assert len(datagram) <= DATAGRAM_BYTES
        assert said(datagram)[1] == ["alive", *range(100)]
        assert said(datagram)[-1] == ["fseq", 1]
    assert [one[0] for one in sets(datagrams)] == [*range(100)]


def test_very_many():
    """If the ids alone fill a datagram, larger ones are sent, not a hundred that repeat them."""
    datagrams = Tuio("worker", "2Dcur").frame([Touch(number, 0, 0) for number in range(1000)], 0.0)
    assert max(map(len, datagrams)) < 20_000
    assert sum(map(len, datagrams)) < 150_000
    assert [one[0] for one in sets(datagrams)] == [*range(1000)]


def test_two_with_one_id():
    """The first counts."""
    datagrams = Tuio("worker", "2Dcur").frame([Touch(1, 0.25, 0), Touch(1, 0.75, 0)], 0.0)
    assert said(datagrams[0])[1] == ["alive", 1]
    assert [one[1] for one in sets(datagrams)] == [0.25]


@given(st.sampled_from(PROFILES), st.lists(st.tuples(st.lists(TOUCHES, max_size=6), NUMBERS), max_size=4), st.integers(-5, 3000))
def test_anything(profile, frames, limit):
    """Whatever comes, what is sent can be read, is in range, and names every id that it places."""
    tuio = Tuio("worker", profile, limit)
    for touches, now in frames:
        datagrams = tuio.frame(touches, now)
        for values in sets(datagrams):
            assert all(math.isfinite(value) for value in values)
            x, y = values[2:4] if profile == "2Dobj" else values[1:3]
            assert 0 <= x <= 1
            assert 0 <= y <= 1
        for datagram in datagrams:
            alive = said(datagram)[1][1:]
            assert alive == [*dict.fromkeys(touch.id for touch in touches)]
            assert {one[0] for one in sets([datagram])} <= {*alive}
        assert [one[0] for one in sets(datagrams)] == alive


def test_python_tuio_reads_cursors(reader):
    """Another's client has the places, follows them by id, and forgets what is gone."""
    tuio = Tuio("worker@127.0.0.1", "2Dcur")
    reader(tuio.begin() + tuio.frame([Touch(1, 0.25, 0.75), Touch(2, 0.5, 0.5)], 0.0))
    client = reader(tuio.frame([Touch(1, 0.5, 0.75), Touch(3, 1, 0)], 0.5))
    assert [cursor.session_id for cursor in client.cursors] == [1, 3]
    assert client.cursors[0].position == (0.5, 0.75)
    assert client.cursors[0].velocity == (0.5, 0)
    assert client.cursors[0].motion_acceleration == 1.0
    assert [cursor.session_id for cursor in reader(tuio.idle(2.0)).cursors] == [1, 3]
    assert reader(tuio.end()).cursors == []


def test_python_tuio_reads_objects(reader):
    """Markers with their numbers and angles."""
    tuio = Tuio("worker@127.0.0.1", "2Dobj")
    (one,) = reader(tuio.begin() + tuio.frame([Touch(5, 0.25, 0.75, angle=1.5, marker=42)], 0.0)).objects
    assert (one.session_id, one.class_id, one.position, one.angle) == (5, 42, (0.25, 0.75), 1.5)
    (one,) = reader(tuio.frame([Touch(5, 0.25, 0.5, angle=1.5, marker=42)], 0.5)).objects
    assert (one.velocity, one.velocity_rotation, one.motion_acceleration, one.rotation_acceleration) == ((0, -0.5), 0, 1, 0)
    assert reader(tuio.end()).objects == []


def test_python_tuio_reads_blobs(reader):
    """Circles and regions with their sizes, in as many datagrams as they need."""
    tuio = Tuio("worker@127.0.0.1", "2Dblb")
    touches = [Touch(number, 0.5, number / 64, width=0.25, height=0.125, area=0.03125) for number in range(64)]
    datagrams = tuio.frame(touches, 0.0)
    assert len(datagrams) > 1
    client = reader(tuio.begin() + datagrams)
    assert [blob.session_id for blob in client.blobs] == [*range(64)]
    for blob in client.blobs:
        assert (blob.position, blob.dimension, blob.area) == ((0.5, blob.session_id / 64), (0.25, 0.125), 0.03125)
    assert reader(tuio.end()).blobs == []
