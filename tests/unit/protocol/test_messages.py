from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import INT32, TEXT
from worker.errors import BadArguments, DecodeError, UnknownAddress
from worker.protocol import addresses
from worker.protocol.messages import (
    COMMANDS,
    REPORTS,
    Cancel,
    Describe,
    GetStatus,
    Hello,
    Impulse,
    Job,
    Ping,
    Query,
    ResultRows,
    Set,
    Status,
    Trigger,
    parse_command,
    parse_report,
    usage,
)

ARGUMENTS = st.recursive(
    st.none() | st.booleans() | INT32 | st.floats() | TEXT | st.binary(max_size=8), lambda inner: st.lists(inner, max_size=4), max_leaves=10
)
ADDRESSES = st.one_of(
    st.sampled_from([*COMMANDS, "/worker/set/a/b", "/worker/trigger/a", "/worker/set/a", "/worker/set//b", "/worker/", "/"]), TEXT
)


@given(ADDRESSES, st.lists(ARGUMENTS, max_size=9))
def test_any_arguments(address, arguments):
    """Any address with any arguments is a command, or a DecodeError that says which address was meant."""
    try:
        outcome = parse_command(address, arguments)
    except DecodeError as error:
        outcome = error
    if isinstance(outcome, DecodeError):
        assert outcome.message
        assert address.startswith(outcome.address)
    else:
        assert isinstance(outcome, tuple(COMMANDS.values()))
        hash(outcome)  # all its values are plain


def test_float_for_int():
    """TouchDesigner's CHOPs send every number as float."""
    assert parse_command("/worker/ping", [7.0]) == Ping(7)
    assert parse_command("/worker/hello", ["td", 9461.0, 9462.0]) == Hello("td", 9461, 9462)


def test_text_for_number():
    """Somebody who types a number into a DAT's cell sends text."""
    assert parse_command("/worker/ping", [" 7 "]) == Ping(7)
    assert parse_command("/worker/trigger/logo", ["0.5"]) == Trigger("logo", 0.5)


def test_truth_values_for_numbers():
    """T and F are 1 and 0."""
    assert parse_command("/worker/trigger/logo", [True]) == Trigger("logo", 1.0)
    assert parse_command("/worker/ping", [False]) == Ping(0)


@pytest.mark.parametrize("arguments", [[], [None], [""], [Impulse(math.inf)]])
def test_an_impulse(arguments):
    """A bang has no value that could fall again. A number is a level, however large it is."""
    assert parse_command("/worker/trigger/logo", arguments).is_impulse
    for number in (math.inf, "inf", 1e300):
        assert not parse_command("/worker/trigger/logo", [number]).is_impulse


@pytest.mark.parametrize("address", ["/worker/ping", "/worker/sync"])
@pytest.mark.parametrize("number", [2**31, -(2**31) - 1, 1e12, "99999999999"])
def test_a_number_that_comes_back(address, number):
    """It must fit into the answer, because its sender waits for the same number."""
    with pytest.raises(BadArguments, match="must be a whole number from -2147483648 to 2147483647, because the answer repeats it; got"):
        parse_command(address, [number])


def test_an_array_is_one_value_of_a_preset():
    """As it is one value of a job."""
    assert parse_command("/worker/set/logo/centers", [[1.0, 2.0, [3, True]]]) == Set("logo", "centers", "1.0 2.0 3 1")
    assert parse_command("/worker/set/logo/count", [[12]]) == Set("logo", "count", 12)
    for bad in ([[]], [[1, None]], [[1, b"x"]], [None], [], [1, 2], [b"x"]):
        with pytest.raises(BadArguments) as caught:
            parse_command("/worker/set/logo/centers", bad)
        assert caught.value.address == "/worker/set/logo/centers"


def test_a_bad_trigger_names_its_job():
    """Whoever named the job waits for it."""
    for arguments, job_id in (["x", "j1"], "j1"), ([1.0, "a" * 201], "a" * 201), ([1.0, 5], ""), (["x"], ""):
        with pytest.raises(BadArguments) as caught:
            parse_command("/worker/trigger/logo", arguments)
        assert (caught.value.job_id, caught.value.address) == (job_id, "/worker/trigger/logo")


@pytest.mark.parametrize(("job_id", "said"), [("a" * 201, "this one has 201 bytes"), ("a\nb", "this one has the character '\\\\n'")])
def test_what_is_wrong_with_an_id(job_id, said):
    """The sentence says what came."""
    with pytest.raises(BadArguments, match=said):
        parse_command("/worker/job", [job_id, "noop"])


def test_a_trigger_may_name_its_job():
    """As text only: a CHOP of several samples sends several numbers, and means no id."""
    assert parse_command("/worker/trigger/logo", [1.0, "j1"]) == Trigger("logo", 1.0, "j1")
    assert parse_command("/worker/trigger/logo", [1.0, None]) == Trigger("logo", 1.0)
    assert Trigger("logo", 1.0, "j1").arguments() == (1.0, "j1")
    for job_id in (0.5, 7, True, "a\n", "a" * 201):
        with pytest.raises(BadArguments):
            parse_command("/worker/trigger/logo", [1.0, job_id])


@pytest.mark.parametrize("value", [7.5, "seven", float("nan"), float("inf"), b"7", [[7, 8]], "9" * 400])
def test_no_whole_number(value):
    """What is no whole number is refused with what was expected and what came."""
    with pytest.raises(BadArguments, match=r"nonce must be a whole number; got .*"):
        parse_command("/worker/ping", [value])


def test_number_for_text():
    """A whole number that had to travel as a float is the same id as the whole number."""
    assert parse_command("/worker/query", [1234567]) == parse_command("/worker/query", [1234567.0]) == Query("1234567")


def test_nil_is_the_default():
    """A nil stands for the default where there is one, and for nothing else."""
    assert parse_command("/worker/hello", ["td", 1, 2, None, None, 1]) == Hello("td", 1, 2, acknowledges=1)
    with pytest.raises(BadArguments, match="name must be text"):
        parse_command("/worker/hello", [None, 1, 2])


@pytest.mark.parametrize("arguments", [[], [""], [[]]])
def test_touchdesigners_empty_arguments(arguments):
    """No arguments may look like one empty text, or like one empty list."""
    assert parse_command("/worker/status", arguments) == GetStatus()
    assert parse_command("/worker/describe", arguments) == Describe()


def test_one_list_of_arguments():
    """A list in the list of arguments, an easy mistake with sendOSC, is taken as the arguments."""
    assert parse_command("/worker/cancel", [["j1"]]) == Cancel("j1")


def test_empty_text_as_a_presets_value():
    """A preset's value may be the empty text."""
    assert parse_command("/worker/set/logo/overlay", [""]) == Set("logo", "overlay", "")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("/worker/jbo", "/worker/job"),
        ("/worker/set/logo", "/worker/set/<preset>/<key>"),
        ("/worker/set/logo/a/b", "/worker/set/<preset>/<key>"),
        ("/worker/trigger", "/worker/trigger/<preset>"),
        ("/worker/trigger/", "/worker/trigger/<preset>"),
        ("/job", "/worker/job"),
    ],
)
def test_unknown_address(wrong, near):
    """An unknown address is answered with the nearest known one."""
    with pytest.raises(UnknownAddress, match=f"did you mean {near}"):
        parse_command(wrong, [1])


def test_far_address():
    """An address that resembles none is told what all have in common."""
    with pytest.raises(UnknownAddress, match="all commands start with /worker/"):
        parse_command("/composition/layers/1/clips/1/connect", [1])


@pytest.mark.parametrize(("arguments", "count"), [([], 0), (["a", "b"], 2)])
def test_wrong_number_of_arguments(arguments, count):
    """Too few or too many are told the right ones."""
    with pytest.raises(BadArguments, match=rf"/worker/cancel takes id \(text\); got {count} arguments"):
        parse_command("/worker/cancel", arguments)


def test_usage_of_each():
    """Each message can say what it takes."""
    for message in (*COMMANDS.values(), *REPORTS.values()):
        assert usage(message)


# ------------------------------------------------------------------------------------------------------------- jobs


def test_job_pairs():
    """After id and operation come pairs; values keep their types, so that the operation's own types decide."""
    job = parse_command("/worker/job", ["j1", "noop", "a", 1, "b", 2.5, "c", "x", "d", True, "e", None])
    assert job == Job("j1", "noop", (("a", 1), ("b", 2.5), ("c", "x"), ("d", True), ("e", None)))


def test_job_with_an_array():
    """An array of numbers, nested or not, reads like the same numbers as text."""
    flat = parse_command("/worker/job", ["j", "draw_circles", "centers", [1, 2.5, 3, 4]])
    nested = parse_command("/worker/job", ["j", "draw_circles", "centers", [[1, 2.5], [3, 4]]])
    assert flat == nested == Job("j", "draw_circles", (("centers", "1 2.5 3 4"),))


def test_job_with_nil_for_an_id():
    """A nil id asks the worker to make one, as an empty one does."""
    assert parse_command("/worker/job", [None, "noop"]) == Job("", "noop")


@pytest.mark.parametrize(
    ("arguments", "sentence", "job_id"),
    [
        (["j1"], "takes id", ""),
        ([b"j1", "noop"], "id must be text", ""),
        (["j" * 201, "noop"], "at most 200 bytes", ""),
        (["ü" * 101, "noop"], "at most 200 bytes", ""),
        (["j\n1", "noop"], "printable", ""),
        (["j1", None], "operation must be text", "j1"),
        (["j1", "noop", "count"], "pairs of key and value; the last key, 'count', has no value.", "j1"),
        (["j1", "noop", 3, "count"], "a key must be text; got 3", "j1"),
        (["j1", "noop", "image", b"\x89PNG"], "Images travel as file paths", "j1"),
    ],
)
def test_bad_job(arguments, sentence, job_id):
    """A bad job says what is wrong, and which job it was as soon as that is known."""
    with pytest.raises(BadArguments, match=sentence) as caught:
        parse_command("/worker/job", arguments)
    assert caught.value.job_id == job_id
    assert caught.value.address == addresses.JOB


# ------------------------------------------------------------------------------------------------------------ hello


@pytest.mark.parametrize("port", [-1, 65_536, 2**40])
def test_impossible_port(port):
    """A port that cannot be one is refused at the border."""
    with pytest.raises(BadArguments, match="must be 0 to 65535"):
        parse_command("/worker/hello", ["td", port, 0])
    with pytest.raises(BadArguments, match="must be 0 to 65535"):
        parse_command("/worker/hello", ["td", 0, port])


@pytest.mark.parametrize("host", ["studio.example", "a\0b", "." * 300, "256.1.1.1"])
def test_host_that_is_no_address(host):
    """Looking up a name could take seconds, in which nobody is served; so a host is an address."""
    with pytest.raises(BadArguments, match="host must be an IP address"):
        parse_command("/worker/hello", ["td", 1, 2, host])


@pytest.mark.parametrize(("host", "meant"), [("", ""), ("192.168.1.7", "192.168.1.7"), ("::1", "::1"), ("localhost", "127.0.0.1")])
def test_host(host, meant):
    """An address, the one name that everybody uses, or nothing."""
    assert parse_command("/worker/hello", ["td", 1, 2, host]).host == meant


# ---------------------------------------------------------------------------------------------------------- reports


def test_status_both_ways():
    """One address, two meanings: a question to the worker, the answer from it."""
    assert parse_command("/worker/status", []) == GetStatus()
    assert parse_report("/worker/status", ["Ready", 0, 0, 1]) == Status("Ready", 0, 0, 1)


def test_rows():
    """The rows of a result follow six counts."""
    assert parse_report("/worker/result/circles", ["j1", 0, 1, 0, 1, 3, 1.0, 2.0, 3.0]) == ResultRows(
        "circles", "j1", 0, 1, 0, 1, 3, (1.0, 2.0, 3.0)
    )
    with pytest.raises(BadArguments, match="takes id, chunk"):
        parse_report("/worker/result/circles", ["j1", 0])


def test_tables():
    """Every address stands once in its table, under its own name."""
    for table in (COMMANDS, REPORTS):
        for address, message in table.items():
            assert message.address == address
            assert address.startswith(addresses.ROOT + "/")
