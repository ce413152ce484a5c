from __future__ import annotations

import itertools
import math
import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.osc_message import OscMessage
from pythonosc.osc_message_builder import OscMessageBuilder

from tests.strategies import COMMANDS, DATAGRAMS, FLOAT32, INT32, REPORTS, TEXT, osc_bundle, osc_message, osc_text
from worker.errors import DecodeError
from worker.protocol.addresses import MAX_DATAGRAM_IN
from worker.protocol.messages import Bye, Cancel, Clear, Job, Number, Ping, Progress, Ready, Sync, Trigger
from worker.protocol.osc import MAX_MESSAGES, bundles, decode_commands, decode_reports, encode, encode_bundle, read_message


@given(DATAGRAMS)
def test_any_bytes(datagram):
    """Any bytes are messages or DecodeErrors, in both directions."""
    for decode in (decode_commands, decode_reports):
        for message in decode(datagram):
            if isinstance(message, DecodeError):
                assert message.message


@given(COMMANDS, st.data())
def test_any_change_to_a_packet(command, data):
    """A packet in which bytes were changed, lost or doubled is messages or DecodeErrors."""
    datagram = bytearray(osc_bundle(encode(command), encode(command)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(datagram) - 1)))
        change = data.draw(st.sampled_from(["set", "cut", "double"]))
        if change == "set" and datagram:
            datagram[place] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del datagram[place : place + data.draw(st.integers(1, 9))]
        else:
            datagram[place:place] = datagram[place : place + 8]
    decode_commands(bytes(datagram))


@given(COMMANDS)
def test_commands_there_and_back(command):
    """What is encoded is decoded as the same command."""
    assert decode_commands(encode(command)) == (command,)


@given(REPORTS)
def test_reports_there_and_back(report):
    """What is encoded is decoded as the same report."""
    assert decode_reports(encode(report)) == (report,)


@given(st.lists(REPORTS, max_size=8))
def test_bundles_there_and_back(reports):
    """A bundle is decoded as its messages, in order."""
    assert decode_reports(encode_bundle(reports)) == tuple(reports)


@given(st.lists(REPORTS, max_size=12), st.integers(40, 2000))
def test_bundles_of_a_size(reports, size):
    """Messages share datagrams in order; none is larger than asked, but for a message that is so alone, and none could be left out."""
    datagrams = [*bundles([encode(report) for report in reports], size)]
    assert [report for datagram in datagrams for report in decode_reports(datagram)] == reports
    for datagram in datagrams:
        assert len(datagram) <= size or not datagram.startswith(b"#bundle")
    for one, other in itertools.pairwise(datagrams):
        first = decode_reports(other)[0]
        assert len(encode_bundle([*decode_reports(one), first])) > size


@given(REPORTS)
def test_outward_only_ifs(report):
    """TouchDesigner is sent i, f and s, in packets whose length is a multiple of four."""
    datagram = encode(report)
    address = osc_text(report.full_address)
    tags = datagram[len(address) :].split(b"\0")[0].decode()
    assert set(tags) <= set(",ifs")
    assert len(datagram) % 4 == 0
    assert OscMessage(datagram).address == report.full_address


@given(st.one_of(COMMANDS, REPORTS))
def test_read_as_python_osc_does(message):
    """python-osc reads the same arguments from what is sent, and this module reads what python-osc makes of them."""
    datagram = encode(message)
    theirs = OscMessage(datagram)
    assert (theirs.address, theirs.params) == read_message(datagram)
    builder = OscMessageBuilder(message.full_address)
    for value in message.arguments():
        builder.add_arg(value, {int: "i", float: "f", str: "s"}[type(value)])
    assert builder.build().dgram == datagram


_VALUES = st.recursive(
    st.one_of(
        st.tuples(st.just("i"), INT32),
        st.tuples(st.just("h"), st.integers(-(2**63), 2**63 - 1)),
        st.tuples(st.just("f"), FLOAT32),
        st.tuples(st.just("d"), st.floats(allow_nan=False)),
        st.tuples(st.just("s"), TEXT),
        st.tuples(st.just("b"), st.binary(min_size=1, max_size=20)),
        st.sampled_from([("T", True), ("F", False), ("N", None)]),
    ),
    lambda inner: st.lists(inner, max_size=4).map(lambda values: ("[", values)),
    max_leaves=12,
)


@given(st.lists(_VALUES, max_size=8))
def test_every_tag_as_python_osc_does(values):
    """What python-osc writes with any tag that both know is read as python-osc reads it: 64 bits, blobs, truth values, arrays."""

    def tags(value):
        return [tags(inner) for inner in value[1]] if value[0] == "[" else value[0]

    def plain(value):
        return [plain(inner) for inner in value[1]] if value[0] == "[" else value[1]

    builder = OscMessageBuilder("/x")
    for value in values:
        builder.add_arg(plain(value), tags(value))
    datagram = builder.build().dgram
    assert read_message(datagram) == ("/x", OscMessage(datagram).params)


# -------------------------------------------------------------------------------------- what TouchDesigner may send


def test_type_tags():
    """T F N I h d b and arrays carry what they say."""
    packet = osc_message(
        "/x", "TFNIhd[i[f]]bs", struct.pack(">qd", 2**40, 0.1), struct.pack(">if", 5, 0.5), struct.pack(">i4s", 3, b"abc"), osc_text("end")
    )
    assert read_message(packet) == ("/x", [True, False, None, math.inf, 2**40, 0.1, [5, [0.5]], b"abc", "end"])


@pytest.mark.parametrize(
    ("address", "tags", "arguments"),
    [("/x", "II", [math.inf] * 2), ("/a,I", "I", [math.inf]), ("/x", "[I[NI]]I", [[math.inf, [None, math.inf]], math.inf])],
)
def test_infinity(address, tags, arguments):
    """Infinity has no bytes; it stands where its tag does, whatever the address looks like."""
    assert read_message(osc_message(address, tags)) == (address, arguments)


def test_tags_of_other_programs():
    """A colour is one, a letter and a symbol are text, a key or a controller is how far it is pressed."""
    packet = osc_message(
        "/x", "rcSmmm", b"\xff\x80\0\xff", b"\0\0\0A", osc_text("symbol"), b"\0\x90\x3c\x7f", b"\0\x83\x3c\x40", b"\0\xb0\x07\0"
    )
    assert read_message(packet) == ("/x", ["#ff8000", "A", "symbol", 1.0, 0.0, 0.0])
    (job,) = decode_commands(osc_message("/worker/job", "sssr", osc_text("j"), osc_text("draw_circles"), osc_text("color"), b"\1\2\3\xff"))
    assert job.pairs == (("color", "#010203"),)


@given(st.lists(COMMANDS, min_size=1, max_size=4), st.integers(0, 3))
def test_several_messages_in_a_datagram(commands, filling):
    """Messages that stand one behind the other without a bundle are all read; zeros that fill a datagram up are nothing."""
    datagram = b"".join(encode(command) for command in commands) + b"\0" * 4 * filling
    assert decode_commands(datagram) == tuple(commands)
    assert decode_commands(osc_bundle(datagram)) == tuple(commands)


def test_left_over():
    """Bytes behind a message that are no message are reported. The message counts, unless it is a job: that lacks something then."""
    ping, error = decode_commands(encode(Ping(7)) + b"junk")
    assert ping == Ping(7)
    assert "4 bytes are left over behind /worker/ping" in error.message
    (error,) = decode_commands(encode(Job("j7", "noop")) + osc_text("count") + b"\0\0\0\3")
    assert (error.job_id, error.message[:46]) == ("j7", "12 bytes are left over behind /worker/job, and")


@pytest.mark.parametrize(
    ("datagram", "job_id"),
    [
        (osc_message("/worker/job", "ssx", osc_text("j7"), osc_text("noop")), "j7"),
        (osc_message("/worker/job", "ssss", osc_text("j7"), osc_text("noop"), osc_text("output"), b"Gr\xfc\xdfe\0\0\0"), "j7"),
        (osc_message("/worker/job", "ssssf", osc_text("j7"), osc_text("noop"), osc_text("a"), osc_text("b")), "j7"),
        (osc_message("/worker/job", "isx", b"\0\0\0\7", osc_text("noop")), "7"),
        (osc_message("/worker/job", "ss", osc_text("a\nb"), osc_text("noop")), "a\nb"),
        (osc_message("/worker/job", "ss", osc_text("x" * 300), osc_text("noop")), "x" * 300),
        (osc_message("/worker/cancel", "ss", osc_text("j7"), osc_text("too many")), "j7"),
        (osc_message("/worker/trigger/logo", "fsx", b"\x3f\x80\0\0", osc_text("j7")), "j7"),
        (osc_message("/worker/trigger/logo", "fsf", b"\x3f\x80\0\0", osc_text("j7")), "j7"),
        (osc_message("/worker/job", "ss", osc_text("x" * 900), osc_text("noop")), ""),
        (osc_message("/worker/sync", "s", osc_text("j7")), ""),
    ],
)
def test_refused_job_names_its_id(datagram, job_id):
    """Whatever is wrong with a job, whoever waits for it hears of it, if its id can be read and repeated."""
    (error,) = decode_commands(datagram)
    assert isinstance(error, DecodeError)
    assert error.job_id == job_id


@pytest.mark.parametrize(
    "packet",
    [
        osc_message("/worker/ping", "i", b"\0\0"),
        osc_message("/worker/ping", "h", b"\0\0\0\1"),
        osc_message("/worker/query", "s", b"abcd"),
        osc_message("/worker/query", "s"),
        osc_message("/worker/query", "c", b"\xff\xff\xff\xff"),
        osc_message("/worker/query", "b", b"\0\0\1\0"),
        b"/worker",
    ],
)
def test_a_packet_that_ends_too_early(packet):
    """The sentence is for its sender, and not for those who know Python."""
    (error,) = decode_commands(packet)
    assert error.message.startswith("Not a complete OSC message: ")
    assert not re.search("unpack|buffer|subsection|index|chr|range", error.message)


def test_no_type_tags():
    """Some old senders leave out the type tags where there are no arguments."""
    assert decode_commands(osc_text("/worker/clear")) == (Clear(),)
    assert decode_commands(osc_message("/worker/clear", "")) == (Clear(),)


def test_sixty_four_bits():
    """With use64BitPrecision numbers come as h and d."""
    assert decode_commands(osc_message("/worker/ping", "h", struct.pack(">q", 7))) == (Ping(7),)
    assert decode_commands(osc_message("/worker/ping", "d", struct.pack(">d", 7.0))) == (Ping(7),)


@pytest.mark.parametrize("time_tag", [0, 1, 2**63, 2**64 - 1])
def test_time_tags(time_tag):
    """A bundle is decoded the same whatever its time tag; TouchDesigner stamps from its own clock."""
    assert decode_commands(osc_bundle(encode(Ping(1)), encode(Ping(2)), time_tag=time_tag)) == (Ping(1), Ping(2))


def test_bundle_within_bundle():
    """Bundles are flattened in order."""
    inner = osc_bundle(encode(Sync(2)), osc_bundle(encode(Sync(3))))
    assert decode_commands(osc_bundle(encode(Sync(1)), inner, encode(Sync(4)))) == (Sync(1), Sync(2), Sync(3), Sync(4))


def test_chop_bundle():
    """One stray channel of an OSC Out CHOP does not spoil the others of its bundle."""
    before, stray, after = decode_commands(
        osc_bundle(encode(Trigger("a", 1.0)), osc_message("/chan1", "f", b"\0" * 4), encode(Trigger("b", 0.0)))
    )
    assert (before, after) == (Trigger("a", 1.0), Trigger("b", 0.0))
    assert isinstance(stray, DecodeError)
    assert stray.address == "/chan1"


def test_largest_packet():
    """A packet of 65,507 bytes is read: a job with thousands of centres."""
    head = len(encode(Job("j", "draw_circles", (("centers", ""),))))
    text = "1 2 " * ((MAX_DATAGRAM_IN - head) // 4)
    job = Job("j", "draw_circles", (("centers", text),))
    assert MAX_DATAGRAM_IN - 4 < len(encode(job)) <= MAX_DATAGRAM_IN
    assert decode_commands(encode(job)) == (job,)


def test_largest_bundle():
    """A datagram may hold many messages. One with more is refused as a whole, and nothing of it is done."""
    most = [encode(Bye())] * MAX_MESSAGES
    assert decode_commands(osc_bundle(*most)) == (Bye(),) * MAX_MESSAGES
    (error,) = decode_commands(osc_bundle(*most, encode(Bye())))
    assert isinstance(error, DecodeError)
    assert "at most 1000 messages" in error.message
    whole, *jobs = decode_commands(osc_bundle(*most, encode(Job("j1", "noop")), encode(Cancel("j2")), encode(Trigger("logo", 1.0, "j3"))))
    assert [whole.job_id, *(error.job_id for error in jobs)] == ["", "j1", "j3"]


# ------------------------------------------------------------------------------------------------------ bad packets


def only_error(datagram):
    (error,) = decode_commands(datagram)
    assert isinstance(error, DecodeError)
    return error.message


@pytest.mark.parametrize(
    ("datagram", "sentence"),
    [
        (b"", "Not an OSC packet"),
        (b"GET / HTTP/1.1\r\n", "Not an OSC packet"),
        (b"/worker/ping", "Not a complete OSC message"),
        (b"/worker/p\xffng\0\0\0,\0\0\0", "A text is not UTF-8; send UTF-8."),
        (osc_text("/worker/ping") + osc_text("i") + b"\0\0\0\1", "must start with a comma"),
        (osc_message("/worker/ping", "i", b"\0\0"), "Not a complete OSC message"),
        (osc_message("/worker/ping", "[i", b"\0\0\0\1"), "Not a complete OSC message"),
        (osc_message("/worker/ping", "i]", b"\0\0\0\1"), "Not a complete OSC message"),
        (osc_message("/worker/ping", "x", b"\0\0\0\1"), "Type tag 'x' is not understood"),
        (osc_message("/worker/ping", "m", b"\0\xf0\0\1"), "MIDI message of status 0xf0"),
        (osc_message("/worker/ping", "c", b"\xff\xff\xff\xff"), "Not a complete OSC message"),
        (osc_message("/worker/query", "b", b"\x7f\xff\xff\xff"), "Not a complete OSC message"),
        (osc_message("/worker/job", "ssb", b"\xff\xff\xff\xff"), "Not a complete OSC message"),
        (osc_message("/worker/job", "[" * 30_000 + "]" * 30_000), "Arrays may be nested"),
        (b"#bundle\0", "before its time tag"),
        (b"#bundle\0" + b"\0" * 8 + b"\0\0", "within the size of an element"),
    ],
)
def test_broken(datagram, sentence):
    """What cannot be read says why."""
    assert sentence in only_error(datagram)


@pytest.mark.parametrize("size", [-(2**31), -8, -4, -1, 0, 3, 5, 2**31 - 1])
def test_false_element_size(size):
    """An element size that is negative, zero, odd or too large ends the bundle; a negative one would send a reader round in circles."""
    packet = osc_bundle(encode(Ping(1))) + struct.pack(">i", size) + encode(Ping(2))
    first, error = decode_commands(packet)
    assert first == Ping(1)
    assert f"claims {size} bytes" in error.message


def test_deep_bundles():
    """Bundles nested without end are refused, not followed."""
    packet = encode(Ping(1))
    for _ in range(2000):
        packet = osc_bundle(packet)
    assert "nested at most 8 deep" in only_error(packet)


def test_empty_bundle():
    """A bundle of nothing is no error: TouchDesigner's CHOPs send it where nothing changed."""
    assert decode_commands(osc_bundle()) == ()


# --------------------------------------------------------------------------------------------- what cannot be sent


def test_numbers_out_of_range():
    """Numbers are brought into the range of their 32 bits, so that no report is lost over one of them."""
    (ready,) = decode_reports(encode(Ready("j", 2**40, -(2**40), 0, 0, 0, "noop")))
    assert (ready.seq, ready.boot) == (2**31 - 1, -(2**31))
    (number,) = decode_reports(encode(Number("x", math.inf)))
    assert math.isfinite(number.value)
    assert decode_reports(encode(Number("x", math.nan))) == (Number("x", 0.0),)
    assert decode_reports(encode(Progress("j", True, 1, 1, 0, ""))) == (Progress("j", 1.0, 1, 1, 0, ""),)


def test_text_out_of_range():
    """A NUL would end the text early, and half a surrogate pair has no UTF-8; both are replaced."""
    assert decode_commands(encode(Cancel("a\0b"))) == (Cancel("a\N{REPLACEMENT CHARACTER}b"),)
    (cancel,) = decode_commands(encode(Cancel("a\ud800b")))
    assert cancel.id == "a?b"
