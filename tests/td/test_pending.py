"""Delivery without TouchDesigner, without sockets and with a clock of numbers."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from tests.td.conftest import load
from worker.catalog.catalog import Catalog
from worker.catalog.fields import fields_of
from worker.catalog.table import CATALOG
from worker.core import reports
from worker.protocol import addresses

pending = load("pending")


def made():
    """A component that knows the worker's operations already, as it does a moment after the welcome."""
    component = pending.Pending(session="s")
    describe(component, now=-10)
    component.take_news()
    return component


def describe(component, *names, now=0.0):
    """What the worker says about these operations; about all of them and what they have in common, if none is named."""
    for name in names or [""]:
        for report in reports.descriptions(CATALOG, name):
            component.received(report.full_address, list(report.arguments()), now)


def addresses_of(packets):
    return [[address for address, _ in packet] for packet in packets]


def news(component):
    return [word for word, _ in component.take_news()]


def test_the_addresses_are_those_of_the_protocol():
    """td/ works without worker/, so it repeats the addresses; here the two are held together."""
    own = {name: value for name, value in vars(pending).items() if isinstance(value, str) and value.startswith("/worker/")}
    assert own == {name: getattr(addresses, name) for name in own}
    assert len(own) > 20


# ----------------------------------------------------------------------------------------------- what the worker describes


def welcomed(boot=5, now=0.0):
    component = pending.Pending(session="s")
    component.received("/worker/welcome", ["1", 1, boot, 15000, 0], now)
    return component


def asked(component, address="/worker/describe"):
    return [args for packet in component.take_packets() for each, args in packet if each == address]


def test_after_the_welcome_the_operations_are_asked_for_until_all_are_known():
    """Each is a report of its own, and the one under the name `*` tells the names of all."""
    component = welcomed()
    assert asked(component) == [[]]
    describe(component, *CATALOG)
    component.look(0.15)
    assert asked(component) == [[]]
    describe(component, "noop", "*", now=0.2)
    component.look(2)
    assert asked(component) == []
    assert list(component.operations.known) == list(CATALOG)
    assert "priority" in component.operations.every_job
    assert not component.busy()


def test_a_worker_that_describes_nothing_is_asked_a_few_times_only():
    component = welcomed()
    count = len(asked(component))
    for tenths in range(1, 300):
        component.look(tenths / 10)
        count += len(asked(component))
    assert count == pending.DESCRIBE_TRIES
    assert not component.busy()


def test_another_start_of_the_worker_is_asked_again_and_the_same_is_not():
    """It may have been updated meanwhile."""
    component = welcomed()
    describe(component)
    component.look(1)
    asked(component)
    component.received("/worker/welcome", ["1", 1, 5, 15000, 0], 3)
    assert asked(component) == []
    component.received("/worker/welcome", ["2", 1, 6, 15000, 0], 4)
    assert asked(component) == [[]]


def test_operations_that_changed_are_asked_for_again():
    """The report may come more than once; what has gone is no longer known, and until the answer is there the old is used."""
    component = welcomed()
    describe(component)
    component.take_packets()
    component.received("/worker/catalog", [1, "my_ops.py has glow."], 1)
    component.received("/worker/catalog", [1, "my_ops.py has glow."], 1)
    assert asked(component) == [[]]
    assert [what for word, what in component.take_news() if word == "catalog"] == ["my_ops.py has glow."]
    assert "convert" in component.operations.known
    without = Catalog(row for row in CATALOG.values() if row.name != "convert")
    for report in reports.descriptions(without):
        component.received("/worker/operation", list(report.arguments()), 2)
    component.look(3)
    assert asked(component) == []
    assert list(component.operations.known) == list(without)


def test_a_description_is_put_together_from_its_parts_in_any_order():
    component = welcomed()
    parts = [list(report.arguments()) for report in reports.descriptions(CATALOG, "find_circles")]
    assert len(parts) > 1
    for args in [parts[-1], parts[-1], *parts[:-1]]:
        assert not component.operations.known
        component.received("/worker/operation", args, 0)
    assert component.operations.known["find_circles"].parameters.keys() == {
        field.name for field in fields_of(CATALOG["find_circles"].params)
    }


@pytest.mark.parametrize("text", ["", "{", "[]", '{"parameters": 3}', '{"fields": 1}'])
@pytest.mark.parametrize("name", ["noop", "*"])
def test_a_description_that_cannot_be_read_is_news_and_no_error(name, text):
    component = welcomed()
    component.received("/worker/operation", [name, text, 0, 1], 0)
    assert news(component) == ["error"]
    assert not component.operations.known


def test_a_job_of_an_unknown_operation_is_ready_when_its_description_has_come():
    """The description was lost, or a CHOP triggered a preset of somebody else: only then is it known what belongs to the job."""
    component = welcomed()
    component.take_packets()
    component.received("/worker/file", ["w5-1", "a0.png", 9, 4, 4], 1)
    component.received("/worker/ready", ["w5-1", 1, 5, 0, 0, 1, "convert"], 1)
    component.look(1.2)
    packets = component.take_packets()
    assert [("/worker/describe", ["convert"]), ("/worker/query", ["w5-1"])] in packets
    assert "ready" not in news(component)
    describe(component, "convert", now=1.3)
    assert news(component) == ["operation", "ready"]


def test_rows_have_the_names_that_the_worker_describes():
    component = made()
    component.submit("find_circles", {"image": "shots"}, 0)
    component.received("/worker/result/circles", ["s-1", 0, 1, 0, 1, 7, 1.0, 2.0, 3.0, 0.5, 0.5, 1.0, 0.0], 0)
    assert component.jobs["s-1"].fields == (*CATALOG["find_circles"].fields, "image")


def test_rows_that_came_before_their_description_get_their_names_at_the_end():
    component = welcomed()
    component.submit("find_circles", {"image": "a.png"}, 0)
    component.received("/worker/result/circles", ["s-1", 0, 1, 0, 1, 6, 1.0, 2.0, 3.0, 0.5, 0.5, 1.0], 0)
    assert component.jobs["s-1"].fields == ("f0", "f1", "f2", "f3", "f4", "f5")
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 1, "find_circles"], 0)
    describe(component, "find_circles")
    assert component.jobs["s-1"].fields == CATALOG["find_circles"].fields
    assert component.jobs["s-1"].complete


def test_items_left_out_are_said():
    """No silent limit: a job whose final says that more was found carries a sentence, which the table of jobs shows."""
    component = welcomed()
    describe(component, "find_circles")
    component.submit("find_circles", {"image": "a.png", "max_items": 1}, 0)
    component.received("/worker/result/circles", ["s-1", 0, 1, 0, 1, 6, 1.0, 2.0, 3.0, 0.5, 0.5, 1.0], 0)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 1, "find_circles", 0, 299], 0)
    job = component.jobs["s-1"]
    assert (job.complete, job.left_out, job.message) == (True, 299, "found 300, 1 listed (max_items)")


def test_skipped_images_are_news_and_waited_for():
    """A folder with broken pictures is ready when all reports of them have come; the component shows each once."""
    component = welcomed()
    describe(component, "convert")
    component.submit("convert", {"image": "shots", "output": "{n}.png"}, 0)
    news(component)
    component.received("/worker/file", ["s-1", "a1.png", 9, 4, 4], 0)
    for name in ("a10.png", "a10.png"):
        component.received("/worker/skipped", ["s-1", name, 415, "It is empty."], 0)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 1, "convert", 2], 0)
    assert news(component) == ["file", "skipped"]
    component.received("/worker/skipped", ["s-1", "a2.png", 404, "It is gone."], 0)
    assert news(component) == ["skipped", "ready"]
    assert component.jobs["s-1"].skipped == [("a2.png", 404, "It is gone."), ("a10.png", 415, "It is empty.")]
    assert component.jobs["s-1"].complete


def test_files_stand_in_the_order_of_the_inputs_in_the_end():
    """Some were lost and told later."""
    component = made()
    component.submit("convert", {"image": "shots", "output": "{n}.png"}, 0)
    for number in (10, 2, 1):
        component.received("/worker/file", ["s-1", f"a{number}.png", 9, 4, 4], 0)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 3, "convert"], 0)
    assert [told[0] for told in component.jobs["s-1"].files] == ["a1.png", "a2.png", "a10.png"]


def test_names_with_numbers_stand_as_people_count():
    """Letters before numbers, tables behind images, and leading zeros do not count."""
    component = made()
    component.submit("convert", {"image": "shots", "output": "{n}.png"}, 0)
    names = ["a/b.png", "a/b2.png", "a/b010.png", "a/bc1.png", "a1b9.png", "a1b10.png", "ab.png", "2.png", "10.png"]
    for name in ("z.csv", *reversed(names), "9.csv"):
        component.received("/worker/file", ["s-1", name, 9, 0 if name.endswith("csv") else 4, 4], 0)
    assert [told[0] for told in component.jobs["s-1"].files] == [*sorted(names, key=by_hand), "z.csv", "9.csv"]


def by_hand(name):
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|\D+", name)]


def test_a_file_that_is_told_anew_keeps_its_place():
    component = made()
    component.submit("convert", {"image": "shots", "output": "{n}.png"}, 0)
    for number, size in ((2, 9), (1, 9), (2, 8), (2, 8)):
        component.received("/worker/file", ["s-1", f"a{number}.png", size, 4, 4], 0)
    assert component.jobs["s-1"].files == [("a1.png", 9, 4, 4), ("a2.png", 8, 4, 4)]
    assert component.jobs["s-1"].files_count == 2
    assert news(component).count("file") == 3


def test_the_finals_of_a_frame_are_acknowledged_in_one_packet():
    component = made()
    for number in range(1, 4):
        component.received("/worker/ready", [f"other-{number}", number, 5, 0, 0, 0, "noop"], 0)
    acks = [packet for packet in component.take_packets() if packet[0][0] == "/worker/ack"]
    assert acks == [[("/worker/ack", [1]), ("/worker/ack", [2]), ("/worker/ack", [3])]]
    assert component.take_packets() == []


# ------------------------------------------------------------------------------------------------------ sending


def test_the_first_job_says_hello_in_the_same_packet():
    """A worker that has just started must not take the job for a stranger's."""
    component = made()
    component.submit("noop", {}, 0)
    assert addresses_of(component.take_packets()) == [["/worker/hello", "/worker/job"]]


def test_a_burst_waits_behind_its_first_job_until_the_worker_answers():
    """Each would need a hello of its own, and each hello is answered; and if the first is lost, the others must not arrive without one."""
    component = made()
    for _ in range(100):
        component.submit("noop", {}, 0)
    assert addresses_of(component.take_packets()) == [["/worker/hello", "/worker/job"]]
    component.received("/worker/accepted", ["s-1", 0, 0], 0.02)
    assert addresses_of(component.take_packets()) == [["/worker/job"]] * pending.SENT_AT_ONCE
    component.received("/worker/accepted", ["s-2", 1, 0], 0.022)
    assert component.take_packets() == []  # it is the same frame
    sent = 1 + pending.SENT_AT_ONCE
    for frame in range(3, 30):
        component.received("/worker/status", ["Processing", 1, 9, 5], frame / 60)
        sent += len(component.take_packets())
    assert sent == 100


def test_a_burst_to_a_worker_that_does_not_answer_goes_one_by_one():
    component = made()
    for _ in range(5):
        component.submit("noop", {}, 0)
    sent = []
    for tenths in range(11):
        component.look(tenths / 10)
        sent += [args[0] for packet in component.take_packets() for address, args in packet if address == "/worker/job"]
    assert len(sent) == 11
    assert set(sent) == {f"s-{number}" for number in range(1, 6)}


def test_a_job_is_sent_again_until_it_is_accepted_after_100_ms_doubling():
    component = made()
    component.submit("noop", {}, 0)
    component.take_packets()
    sent_at = []
    for hundredths in range(200):
        now = hundredths / 100
        component.look(now)
        if any("/worker/job" in packet for packet in addresses_of(component.take_packets())):
            sent_at.append(now)
    assert sent_at == pytest.approx([0.1, 0.3, 0.7, 1.5], abs=0.02)  # a look every 10 ms
    component.received("/worker/accepted", ["s-1", 3, 0], 2)
    component.look(9)
    assert not any("/worker/job" in packet for packet in addresses_of(component.take_packets()))
    assert component.jobs["s-1"].word == "Accepted"
    assert component.jobs["s-1"].position == 3


def test_a_final_is_acknowledged_each_time_and_told_once():
    component = made()
    component.submit("noop", {}, 0)
    component.take_packets()
    for _ in range(3):
        for _ in range(2):  # both in one frame
            component.received("/worker/ready", ["s-1", 7, 1, 2, 3, 0, "noop"], 1)
        assert [packet for packet in component.take_packets() if packet[0][0] == "/worker/ack"] == [[("/worker/ack", [7])]]
    assert news(component) == ["ready"]
    assert not component.busy()


def test_a_refused_job_ends_without_an_acknowledgement():
    component = made()
    component.submit("nopo", {}, 0)
    component.take_packets()
    component.received("/worker/failed", ["s-1", 0, 1, 404, "operation", "There is no operation.", ""], 1)
    assert component.take_packets() == []
    assert component.jobs["s-1"].word == "Refused"
    assert not component.busy()


def test_after_three_silent_beats_the_worker_is_lost_and_then_back():
    component = made()
    component.submit("noop", {}, 0)
    component.received("/worker/accepted", ["s-1", 0, 0], 0)
    told = []
    for tenths in range(1, 60):
        component.look(tenths / 10)
        told += [(word, tenths / 10) for word in news(component) if word == "lost"]
    assert told == [("lost", 3.0)]
    component.take_packets()
    component.received("/worker/status", ["Ready", 0, 0, 5], 6)
    assert news(component) == ["back", "status"]
    component.look(6.1)
    assert ["/worker/query"] in addresses_of(component.take_packets())


def test_while_the_worker_is_lost_a_hello_goes_every_second():
    """A worker that comes back does not know us, so it would send no heartbeat."""
    component = made()
    component.submit("noop", {}, 0)
    component.received("/worker/accepted", ["s-1", 0, 0], 0)
    hellos = 0
    for tenths in range(1, 101):
        component.look(tenths / 10)
        hellos += sum("/worker/hello" in packet for packet in addresses_of(component.take_packets()))
    assert 8 <= hellos <= 12


def test_if_we_were_away_ourselves_the_silence_says_nothing():
    """TouchDesigner stood still for ten seconds; the worker's reports wait in the queue behind this tick."""
    component = made()
    component.submit("noop", {}, 0)
    component.look(0.1)
    component.look(10)
    assert "lost" not in news(component)


def test_a_new_boot_number_sends_unfinished_jobs_again_under_the_same_id():
    component = made()
    component.received("/worker/welcome", ["1", 1, 5, 15000, 0], 0)
    component.submit("noop", {}, 0)
    component.submit("noop", {}, 0)
    component.received("/worker/accepted", ["s-1", 0, 0], 0)
    component.received("/worker/accepted", ["s-2", 0, 0], 0)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 0, "noop"], 0)
    component.take_packets()
    component.received("/worker/status", ["Ready", 0, 0, 6], 1)
    assert ["/worker/hello"] in addresses_of(component.take_packets())
    component.received("/worker/welcome", ["1", 1, 6, 15000, 0], 1)
    sent = [message for packet in component.take_packets() for message in packet]
    assert [args[0] for address, args in sent if address == "/worker/job"] == ["s-2"]


def test_the_heartbeat_is_answered_while_idle_so_that_the_lease_lasts():
    component = made()
    component.greet(0)
    component.take_packets()
    component.received("/worker/welcome", ["1", 1, 5, 15000, 0], 0)
    describe(component)
    component.look(0.2)
    component.take_packets()
    pings = 0
    for second in range(1, 31):
        component.received("/worker/status", ["Ready", 0, 0, 5], second)
        pings += addresses_of(component.take_packets()).count(["/worker/ping"])
    assert pings == 6
    assert not component.busy()


def test_a_preset_goes_three_times_and_the_worker_has_time_to_read_the_last():
    """Setting has no answer. After the last copy nothing is pending."""
    component = made()
    component.received("/worker/status", ["Ready", 0, 0, 5], 0)
    component.preset("logo", "noop", {"count": 2}, 0)
    sent = []
    for hundredths in range(200):
        component.look(hundredths / 100)
        sent += [(hundredths, packet[-2:]) for packet in component.take_packets() if packet[-1][0] == "/worker/set/logo/count"]
    assert [packet for _, packet in sent] == [[("/worker/set/logo/operation", ["noop"]), ("/worker/set/logo/count", [2])]] * 3
    assert [at for at, _ in sent] == pytest.approx([0, 10, 30], abs=2)
    assert not component.busy()


def sent(component, first_s, last_s):
    """The packets of a while, each with its time in hundredths of a second."""
    for hundredths in range(round(first_s * 100), round(last_s * 100)):
        component.look(hundredths / 100)
        for packet in component.take_packets():
            yield hundredths, packet


def sent_to(address, component, first_s, last_s):
    """The same, of the arguments of one address."""
    return [(at, arguments) for at, packet in sent(component, first_s, last_s) for to, arguments in packet if to == address]


def test_unset_goes_until_the_ping_behind_it_is_answered():
    """A refusal of the first copy is shown. One of a later copy says only that the first has arrived."""
    component = made()
    component.received("/worker/status", ["Ready", 0, 0, 5], 0)
    component.unset("logo", "", 0)
    refused = [404, "/worker/unset", "There is no preset 'logo'; there are none."]
    assert sent_to("/worker/unset", component, 0, 0.05) == [(0, ["logo", ""])]
    component.received("/worker/error", refused, 0.05)
    assert news(component)[-1] == "error"
    assert [at for at, _ in sent_to("/worker/unset", component, 0.05, 0.5)] == pytest.approx([10, 30], abs=2)
    component.received("/worker/error", refused, 0.5)
    component.received("/worker/pong", [0, 5, 1.0], 0.5)  # of another ping
    assert "error" not in news(component)
    assert component.busy()
    component.received("/worker/pong", [1, 5, 1.0], 0.5)
    assert not component.busy()


def test_a_preset_and_its_end_do_not_overtake_each_other():
    """Copies of the older command do not undo the newer one, even if the first copies were lost."""
    component = made()
    component.received("/worker/status", ["Ready", 0, 0, 5], 0)
    component.preset("logo", "noop", {}, 0)
    component.preset("other", "noop", {}, 0)
    component.unset("logo", "", 0)
    component.take_packets()
    assert sent_to("/worker/set/logo/operation", component, 0.05, 0.5) == []
    component.preset("logo", "noop", {"priority": 0}, 0.5)
    component.unset("logo", "priority", 0.5)
    about_logo = [[message for message in packet if "logo" in message[0] or "logo" in message[1]] for _, packet in sent(component, 0.5, 2)]
    whole = [("/worker/unset", ["logo", ""]), ("/worker/set/logo/operation", ["noop"])]
    one_key = [("/worker/unset", ["logo", "priority"])]
    assert [part for part in about_logo if part and part != one_key][-2:] == [whole, whole]
    assert about_logo.count(one_key) >= 2


def test_nobody_answers_the_greeting_and_it_ends():
    component = made()
    component.greet(0)
    for tenths in range(1, 300):
        component.look(tenths / 10)
    assert not component.busy()


def test_a_job_of_a_trigger_is_first_heard_of_by_its_reports():
    component = made()
    component.received("/worker/accepted", ["w5-1", 0, 0], 0)
    component.received("/worker/ready", ["w5-1", 1, 5, 0, 0, 0, "noop"], 0)
    assert news(component) == ["accepted", "ready"]


def test_what_ended_before_this_session_is_shown_and_not_called_back():
    component = made()
    component.received("/worker/welcome", ["1", 1, 5, 15000, 9], 0)
    component.received("/worker/ready", ["other-1", 9, 5, 0, 0, 500, "draw_circles"], 0)
    component.received("/worker/ready", ["other-2", 10, 5, 0, 0, 0, "noop"], 0)
    assert news(component) == ["old", "ready"]


@pytest.mark.parametrize(
    ("address", "args"),
    [
        ("/worker/accepted", []),
        ("/worker/accepted", [""]),
        ("/worker/status", ["Ready", "x", 0, 0]),
        ("/worker/result/circles", ["s-1", 0]),
        ("/worker/ready", ["s-1"]),
        ("/worker/welcome", [None, None, None, None, None]),
    ],
)
def test_a_report_that_cannot_be_read_is_news_and_no_error(address, args):
    component = made()
    component.received(address, args, 0)
    assert news(component) == ["error"]


def test_values_are_made_plain():
    assert pending.plain("a", True) == 1
    assert pending.plain("a", 2**40) == str(2**40)
    assert pending.plain("a", [1, 2.5]) == "1 2.5"
    with pytest.raises(ValueError, match="bytes cannot be sent"):
        pending.plain("a", b"x")
    with pytest.raises(ValueError, match="put them into a file"):
        made().submit("write_text", {"text": "x" * 70_000}, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([[1, 2], [3.5, 4]], "1 2 3.5 4"),
        (["#102030", "#ffffff"], "#102030 #ffffff"),
        ({"take": 3, "ok": True}, '{"take": 3, "ok": true}'),
        ([[3, "a b"], [4, None]], '[[3, "a b"], [4, null]]'),
        ([{"x": 1}], '[{"x": 1}]'),
        (np.array([[1, 2], [3, 4]]), "1 2 3 4"),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1),
        ([np.int64(1), np.float64(2.5)], "1 2.5"),
        ({"x": np.arange(2)}, '{"x": [0, 1]}'),
    ],
)
def test_values_that_belong_together(value, text):
    """What stands together in Python stays together: numbers as a list, tables as JSON."""
    assert pending.plain("a", value) == text


@pytest.mark.parametrize("value", ["a\0b", "a\ud800b", ["a", "\0"]])
def test_what_osc_cannot_carry_is_no_parameter(value):
    with pytest.raises(ValueError, match=r"a: .*cannot be sent"):
        pending.plain("a", value)


@pytest.mark.parametrize("name", ["", None, 5, "a/b", "a\0"])
def test_a_name_that_no_address_can_have(name):
    """It is said at once, and not sent again and again."""
    component = made()
    for ask in (lambda: component.preset(name, "noop", {}, 0), lambda: component.trigger(name, 0)):
        with pytest.raises(ValueError, match=r"preset|NUL"):
            ask()
    with pytest.raises(ValueError, match="The operation is a name"):
        component.submit(None, {}, 0)
    assert not component.busy()


def test_what_touchdesigner_cannot_send_holds_up_nothing():
    """It ends with the reason and is not tried again, while the others wait for their answers as before."""
    component = made()
    component.received("/worker/status", ["Ready", 0, 0, 5], 1)
    bad, good = component.submit("noop", {}, 1), component.submit("noop", {}, 1)
    component.trigger("logo", 1)
    for packet in component.take_packets():
        if bad in str(packet) or "trigger" in str(packet):
            component.cannot_send(packet, "no")
    assert (component.jobs[bad].word, component.jobs[bad].message) == ("Failed", "The job could not be sent: no")
    component.look(1.11)
    again = str(component.take_packets())
    assert good in again
    assert bad not in again
    assert "trigger" not in again


def test_a_trigger_that_is_refused():
    """Its job never got an id, so it is news each time and no job."""
    component = made()
    for _ in range(2):
        component.received("/worker/failed", ["", 0, 5, 400, "arguments", "Preset 'a': it needs image.", "See there."], 0)
        assert component.take_news() == [("error", "400 Preset 'a': it needs image.")]
    assert not component.jobs


def test_a_trigger_is_a_level_that_rises_and_falls():
    component = made()
    component.trigger("logo", 0)
    component.trigger("logo", 0)
    levels = []
    for hundredths in range(300):
        component.look(hundredths / 100)
        levels += [message[1][0] for packet in component.take_packets() for message in packet if message[0] == "/worker/trigger/logo"]
    assert levels == ([1.0] * pending.PULSE_COPIES + [0.0] * pending.PULSE_COPIES) * 2


def test_many_jobs_keep_the_tables_small():
    component = made()
    for number in range(1, 2001):
        component.submit("noop", {}, 0)
        component.received("/worker/ready", [f"s-{number}", number, 5, 0, 0, 0, "noop"], 0)
    assert len(component.jobs) <= pending.KEPT_JOBS


@pytest.mark.parametrize("seed", range(20))
def test_every_job_ends_once_over_a_wire_that_loses_a_third(seed):
    """A worker of a few lines, that obeys the protocol's rules, on the other side."""
    chance = random.Random(seed)
    component, final_seqs, acknowledged, runs = made(), {}, set(), []
    ids = [component.submit("noop", {}, 0) for _ in range(20)]
    told = []
    for tenths in range(1, 600):
        now = tenths / 10
        component.look(now)
        replies = [("/worker/status", ["Ready", 0, 0, 5])] if tenths % 10 == 0 else []
        for packet in component.take_packets():
            if chance.random() < 0.33:
                continue
            for address, args in packet:
                if address == "/worker/job":
                    if args[0] not in final_seqs:
                        runs.append(args[0])
                        final_seqs[args[0]] = len(final_seqs) + 1
                    replies.append(("/worker/accepted", [args[0], 0, 0]))
                elif address == "/worker/ack":
                    acknowledged.add(args[0])
        replies += [("/worker/ready", [job, seq, 5, 0, 0, 0, "noop"]) for job, seq in final_seqs.items() if seq not in acknowledged]
        for address, args in replies:
            if chance.random() >= 0.33:
                component.received(address, args, now)
        told += [job.id for word, job in component.take_news() if word == "ready"]
    assert sorted(told) == sorted(runs) == sorted(ids)
    assert len(acknowledged) == 20
    assert not component.busy()
