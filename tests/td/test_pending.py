"""Delivery without TouchDesigner, without sockets and with a clock of numbers."""

from __future__ import annotations

import random

import pytest
from tests.td.conftest import load
from worker.catalog.table import CATALOG
from worker.protocol import addresses

pending = load("pending")


def made():
    return pending.Pending(session="s")


def addresses_of(packets):
    return [[address for address, _ in packet] for packet in packets]


def news(component):
    return [word for word, _ in component.take_news()]


def test_the_addresses_are_those_of_the_protocol():
    """td/ works without worker/, so it repeats the addresses; here the two are held together."""
    own = {name: value for name, value in vars(pending).items() if isinstance(value, str) and value.startswith("/worker/")}
    assert own == {name: getattr(addresses, name) for name in own}
    assert len(own) > 20


def test_the_operations_with_rows_are_those_of_the_catalogue():
    """The fields of each kind of row, and who has rows, are the worker's."""
    with_rows = {name: row for name, row in CATALOG.items() if row.kind}
    assert set(pending.HAVE_ROWS) == set(with_rows)
    assert {row.kind: row.fields for row in with_rows.values()} == pending.FIELDS
    assert set(pending.ITEMS_ARE_FILES) == {name for name, row in CATALOG.items() if not row.kind and name != "noop"} | {"draw_circles"}


def test_the_first_job_says_hello_in_the_same_packet():
    """A worker that has just started must not take the job for a stranger's."""
    component = made()
    component.submit("noop", {}, 0)
    assert addresses_of(component.take_packets()) == [["/worker/hello", "/worker/job"]]


def test_a_burst_of_jobs_says_hello_once():
    component = made()
    for _ in range(100):
        component.submit("noop", {}, 0)
    assert sum("/worker/hello" in packet for packet in addresses_of(component.take_packets())) == 1


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
        component.received("/worker/ready", ["s-1", 7, 1, 2, 3, 0, "noop"], 1)
    assert [packet for packet in component.take_packets() if packet[0][0] == "/worker/ack"] == [[("/worker/ack", [7])]] * 3
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
    assert news(component) == ["status", "back"]
    assert ["/worker/job"] in [packet[-1:] for packet in addresses_of(component.take_packets())]


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
    sent = [message for packet in component.take_packets() for message in packet]
    assert [args[0] for address, args in sent if address == "/worker/job"] == ["s-2"]
    assert "/worker/hello" in [address for address, _ in sent]


def test_the_heartbeat_is_answered_while_idle_so_that_the_lease_lasts():
    component = made()
    component.greet(0)
    component.take_packets()
    pings = 0
    for second in range(1, 31):
        component.received("/worker/welcome", ["1", 1, 5, 15000, 0], second)
        pings += addresses_of(component.take_packets()).count(["/worker/ping"])
    assert pings == 6
    assert not component.busy()


def test_nobody_answers_the_greeting_and_it_ends():
    component = made()
    component.greet(0)
    for tenths in range(1, 300):
        component.look(tenths / 10)
    assert not component.busy()


def test_lost_rows_are_asked_for_before_the_job_is_ready():
    component = made()
    component.submit("find_circles", {"image": "a.png"}, 0)
    component.take_packets()
    row = [1.0, 2.0, 3.0, 0.5, 0.5, 1.0]
    component.received("/worker/result/circles", ["s-1", 1, 2, 1, 2, 6, *row], 1)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 2, "find_circles"], 1)
    assert "ready" not in news(component)
    assert [("/worker/query", ["s-1"])] in [packet[-1:] for packet in component.take_packets()]
    component.received("/worker/result/circles", ["s-1", 0, 2, 0, 2, 6, *row], 2)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 2, "find_circles"], 2)
    assert news(component) == ["ready"]
    assert component.jobs["s-1"].rows == [tuple(row)] * 2


def test_rows_that_never_come_do_not_hold_the_job_for_ever():
    component = made()
    component.submit("write_text", {"output": "a.txt"}, 0)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 1, "write_text"], 0)
    for tenths in range(1, 200):
        component.look(tenths / 10)
    assert component.jobs["s-1"].word == "Ready"


def queries(component, now):
    component.look(now)
    return sum(address == "/worker/query" for packet in component.take_packets() for address, _ in packet)


def test_the_last_query_has_as_long_for_its_answer_as_the_others():
    """It used to be given up in the same moment in which it was sent."""
    component = made()
    component.submit("write_text", {"output": "a.txt"}, 0)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 1, "write_text"], 0)
    asked, now = queries(component, 0), 0.0
    while asked < pending.QUERIES:
        now += 0.1
        asked += queries(component, now)
    assert queries(component, now + pending.LONGEST_QUERY_S - 0.1) == 0
    component.received("/worker/file", ["s-1", "a.txt", 5, 0, 0], now + 0.9)
    component.received("/worker/ready", ["s-1", 1, 5, 0, 0, 1, "write_text"], now + 0.9)
    assert component.jobs["s-1"].complete
    assert [word for word in news(component) if word in ("file", "ready")] == ["file", "ready"]


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
