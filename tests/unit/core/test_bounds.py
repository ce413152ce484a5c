"""Every collection that a packet can make grow, attacked: it stays within its bound, and whoever was there first is still served."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.play import OTHER, TD, Play, finished, found, job
from tests.strategies import osc_message
from worker.catalog.table import CATALOG
from worker.config import Config, Limits
from worker.core import delivery as delivery_module
from worker.core import presets as presets_module
from worker.core import syncs as syncs_module
from worker.core.barrier import MAX_LATER, TOLD_AT_ONCE, Barrier
from worker.core.delivery import ERRORS_PER_SECOND, MAX_NAME_LENGTH, RESENDS_BURST, RESENDS_PER_SECOND, Delivery
from worker.core.events import Send, StoreTold
from worker.core.ledger import Ledger, memory_of
from worker.core.presets import MAX_BYTES, MAX_LEVELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, Presets
from worker.core.syncs import Syncs
from worker.errors import LimitExceeded
from worker.protocol import messages as messages_module
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import (
    Cancel,
    Describe,
    GetStatus,
    Hello,
    Job,
    ListPresets,
    Ping,
    Query,
    Quit,
    Ready,
    Replay,
    Set,
    Sync,
    Trigger,
)
from worker.timers import Timers

READY = Ready("a", 0, 1, 0, 0, 0, "noop")


def desk(**limits):
    """A delivery, its timers, and what it sends."""
    sent = []
    timers = Timers()
    return Delivery(Config(limits=Limits(**limits)), timers, sent.append), timers, sent


# ----------------------------------------------------------------------------------------------------------- ended jobs


def test_ended_jobs_keep_no_content():
    """10,000 of them kept 600 MB. A repeated job is recognised by a digest, and another one under its id, too."""
    play = Play()
    text = "x" * 60_000
    play(0.0, job("a", "write_text", output="a.txt", text=text))
    play(0.0, finished(1, found(files=["a.txt"])))
    ended = play.scheduler._ledger.find(("10.0.0.1:9461", "a"))
    assert len(ended.digest) == 20
    assert not any(isinstance(getattr(ended, name), bytes) and len(getattr(ended, name)) > 20 for name in ended.__slots__)
    play.until(1.0)
    assert play(1.0, job("a", "write_text", output="a.txt", text=text))[0] == "accepted a 0 1"
    assert play(1.0, job("a", "write_text", output="a.txt", text=text + "!"))[0].startswith("failed a seq=0 409")


def test_results_of_ended_jobs_have_a_bound_in_bytes():
    """Few files with long paths count as what they are; the newest results stay."""
    play = Play(result_bytes_kept=100_000)
    for number in range(20):
        play(0.0, job(f"j{number}"))
        play(0.0, finished(number + 1, found(files=["x" * 4000] * 5)))
    ledger: Ledger = play.scheduler._ledger
    kept = [memory_of(ended.result) for ended in ledger._with_result.values()]
    assert sum(kept) <= 100_000
    assert ledger.find(("10.0.0.1:9461", "j19")).result.files
    assert not ledger.find(("10.0.0.1:9461", "j0")).result.files


def test_replaced_jobs_leave_nothing():
    """Each replaced one waited for the same job; 549 MB were kept of them."""
    play = Play(workers=1)
    play(0.0, job("first"))
    for number in range(500):
        play(0.0, job(f"j{number}", after="first", replace="latest"))
    ending = play.scheduler._ending
    assert sum(map(len, ending._waiting_for.values())) == 1
    assert len(ending._replaceable) == 1
    assert len(play.scheduler._ledger.open) == 2


# --------------------------------------------------------------------------------------------------------------- presets


def test_presets_have_a_bound_in_bytes():
    """100,000 values of 60 kB were allowed. What is too much is refused with a sentence, and unset makes room."""
    presets = Presets(CATALOG)
    with pytest.raises(LimitExceeded, match="value of a preset may have 16,384 bytes"):
        presets.set("p", "text", "x" * (MAX_VALUE_BYTES + 1))
    with pytest.raises(LimitExceeded, match="name of a preset"):
        presets.set("p" * (MAX_NAME_BYTES + 1), "text", "x")
    value = "x" * MAX_VALUE_BYTES
    fitting = MAX_BYTES // (MAX_VALUE_BYTES + len("p000text"))
    for number in range(fitting):
        presets.set(f"p{number}", "text", value)
    with pytest.raises(LimitExceeded, match="2 MB"):
        presets.set("one more", "text", value)
    assert sum(len(str(value)) for pairs in presets.as_dict().values() for value in pairs.values()) <= MAX_BYTES
    presets.set("p0", "text", "y" * MAX_VALUE_BYTES)  # in place of another of its size
    presets.unset("p0")
    presets.set("another", "text", value)


def test_triggers_of_no_preset_are_not_remembered():
    """Their names may be as long as a packet."""
    presets = Presets(CATALOG)
    for number in range(3 * MAX_LEVELS):
        assert presets.pressed(TD, f"{number}" + "x" * 60_000, 1.0)
        presets.pressed(TD, f"{number}", 1.0)
    assert len(presets._pressed) == MAX_LEVELS
    assert max(len(name) for _, name in presets._pressed) < MAX_NAME_BYTES


def test_a_value_that_is_set_again_is_not_stored_again(tmp_path):
    """A CHOP sends its channels all the time; a slow disk would have any number of them to write."""
    play = Play(state=tmp_path, show=["store"])
    lines = [line for _ in range(100) for line in play(0.0, Set("p", "count", 3.0))]
    assert lines == ["store preset p count 3.0"]
    assert play(0.0, Set("p", "count", 4.0)) == ["store preset p count 4.0"]


# --------------------------------------------------------------------------------------------------------------- clients


def test_resends_to_a_client_that_never_acknowledges_are_bounded():
    """30,000 finals made 7,500 datagrams a second, for ever."""
    delivery, timers, sent = desk(lease_ms=10**9)
    client = delivery.hello(TD, Hello("td", 1, 0, acknowledges=1), 0.0)
    for _ in range(5000):
        delivery.deliver(client.key, replace(READY, seq=delivery.next_seq(client.key)), 0.0)
    sent.clear()
    while (deadline := timers.next_deadline()) is not None and deadline <= 60.0:
        timers.run_due(deadline)
    assert RESENDS_BURST < len(sent) <= RESENDS_BURST + 60 * RESENDS_PER_SECOND
    for seq in range(1, 5001):
        delivery.acknowledged(client.key, seq, 60.0)
    assert [*delivery.violations()] == []


def test_finals_that_wait_for_an_acknowledgement_are_bounded(monkeypatch):
    """Of all clients together; the oldest are not repeated any more."""
    monkeypatch.setattr(delivery_module, "MAX_UNACKNOWLEDGED", 100)
    delivery, _, _ = desk()
    for port in range(1, 51):
        client = delivery.hello(("10.0.0.1", port), Hello("td", 0, 0, acknowledges=1), 0.0)
        for _ in range(10):
            delivery.deliver(client.key, replace(READY, seq=delivery.next_seq(client.key)), 0.0)
    assert sum(map(len, delivery._unacknowledged.values())) == 100
    assert [*delivery.violations()] == []


def test_numbers_of_clients_are_bounded(monkeypatch):
    """A computer has 65,535 ports, and each could be a client."""
    monkeypatch.setattr(delivery_module, "MAX_NUMBERED", 100)
    delivery, _, _ = desk()
    for port in range(1, 1001):
        delivery.deliver(key := f"10.0.0.1:{port}", replace(READY, seq=delivery.next_seq(key)), 0.0)
    assert len(delivery._numbered) == len(delivery._newest_seqs) == 100


def test_names_of_clients_are_cut():
    """A name may be as long as a packet, and is logged with each job."""
    play = Play()
    play(0.0, Hello("x" * 60_000, 9461, 0))
    assert play.scheduler._delivery.name("10.0.0.1:9461") == "x" * MAX_NAME_LENGTH


def test_a_quiet_client_is_known_by_its_sender_however_many_others_come():
    """Its hello was long ago; since then it only pings."""
    delivery, _, _ = desk(clients=10)
    client = delivery.hello(TD, Hello("td", 7001, 0), 0.0)
    for number in range(1000):
        delivery.heard_from(("10.0.0.9", number + 1), number / 100)
        if number % 5 == 0:
            assert delivery.heard_from(TD, number / 100) is client


def test_a_client_with_recent_jobs_stays():
    """Others that only come and go push each other out."""
    delivery, timers, _ = desk(clients=3)
    client = delivery.hello(TD, Hello("td", 7001, 0), 0.0)
    delivery.deliver(client.key, replace(READY, seq=delivery.next_seq(client.key)), 0.0)
    timers.run_due(1.0)
    for port in range(1, 50):
        delivery.hello(("10.0.0.9", port), Hello("x", 0, 0), 10.0)
    assert delivery.heard_from(TD, 11.0) is client


def test_if_all_clients_have_open_jobs_a_new_one_is_turned_away():
    """With a sentence, and nobody is pushed out for it; when a job has ended there is room."""
    play = Play(workers=1, clients=2)
    play(0.0, job("a"))
    play(0.0, Hello("other", 9461, 0), job("b"), peer=OTHER)
    (line,) = play(0.1, Ping(1), peer=("10.0.0.3", 5000))
    assert line.startswith("10.0.0.3:9461 error 429 /worker The worker knows 2 clients, which is the limit, and all have open jobs.")
    (line,) = play(0.1, job("c"), peer=("10.0.0.3", 5000))
    assert line.startswith("10.0.0.3:9461 failed c seq=0 429 queue The worker knows 2 clients")
    assert len([line for number in range(50) for line in play(0.1, Ping(1), peer=("10.0.0.3", 5000 + number))]) == 3
    play.until(2.0)
    assert len(play(2.0, *(job(f"c{number}") for number in range(1000)), peer=("10.0.0.3", 5000))) == 5
    play(2.0, finished(1))
    play.until(3.0)
    assert play(3.0, Ping(1), peer=("10.0.0.3", 5000))[0].startswith("10.0.0.3:9461 pong")


def test_tallies_of_syncs_are_bounded(monkeypatch):
    """Those with an open sync stay."""
    monkeypatch.setattr(syncs_module, "MAX_TALLIES", 10)
    syncs = Syncs()
    list(syncs.asked("td", 1, [("td", "a")]))
    for number in range(100):
        list(syncs.ended((f"10.0.0.1:{number}", "x"), ready=True))
    assert len(syncs._tallies) == 10
    assert [answer.ready for answer in syncs.ended(("td", "a"), ready=True)] == [1]


def test_records_that_nothing_depends_on_are_bounded():
    """While nothing can be stored, hellos and acknowledgements would pile up."""
    barrier = Barrier(Timers(), lambda _effect: None, journal=True)
    for number in range(2 * MAX_LATER):
        barrier.later(StoreTold("td", str(number)), 0.0)
    assert len(barrier._later) == MAX_LATER
    assert len(barrier._told) < TOLD_AT_ONCE
    assert [*barrier._later, *barrier._told][-1] == StoreTold("td", str(2 * MAX_LATER - 1))


# ------------------------------------------------------------------------------------------------------------- datagrams


@pytest.mark.parametrize("letter", ["x", "ö", "\U0001f600"])
@pytest.mark.parametrize("length", [100, 199, 201, 790, 900, 60_000])
def test_no_datagram_is_longer_than_1200_bytes(letter, length):
    """Whatever it repeats of what came: 60,656 bytes were seen."""
    long = letter * (length // len(letter.encode()))
    play = Play()
    commands = [
        Hello(long, 9461, 0), Query(long), Cancel(long), Trigger(long, 1.0), Set(long, "operation", "nope"), Set("p", long, 1),
        Describe(long), Job("x", long), Job("y", "noop", ((long, 1),)), Job("z", "write_text", (("output", long), ("append", long))),
        Job("a" * 200, "noop", (("after", long),)), ListPresets(), GetStatus(), Replay(1), Sync(1), Quit(long),
    ]  # fmt: skip
    for at, command in enumerate(commands):
        play(float(at), command)
    play(20.0, job("f"))
    play(20.0, finished(play.tasks[-1].id, found(files=[long, "a/" * 2000 + long + ".png"])))
    play(21.0, Query("f"))
    sizes = [len(osc.encode(effect.report)) for effect in play.effects if isinstance(effect, Send)]
    assert len(sizes) > 20
    assert max(sizes) <= MAX_DATAGRAM_OUT


def test_advice_costs_nothing_if_it_is_not_sent(monkeypatch):
    """To look for the name that was meant takes longer than all else that a bad packet costs, so it is done for what is sent only."""
    asked = []
    monkeypatch.setattr(presets_module, "did_you_mean", lambda name, *_: asked.append(name) or "no.")
    monkeypatch.setattr(messages_module, "nearest", lambda name, *_args, **_kwargs: asked.append(name) or [])
    play = Play()
    bad = [
        *osc.decode_commands(osc.bundle([osc_message("/worker/nothing", "i", bytes(4))] * 900)),
        *(Trigger(f"t{n}", 1.0) for n in range(900)),
    ]
    lines = [line for command in bad for line in play(0.0, command)]
    assert len(lines) == len(asked) == ERRORS_PER_SECOND
