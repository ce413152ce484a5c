"""What a scheduler takes over from an earlier run: jobs with age and options, finals that were not told, clients and their senders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.play import OTHER, TD, Play, finished, job
from worker.catalog.table import CATALOG
from worker.core.barrier import STORE_LATER_S
from worker.core.events import Kept, KeptJob, StoreClient, StorePeer, StoringChanged
from worker.core.ledger import digest
from worker.protocol.messages import Ack, Bye, Hello, Ping, Ready

KEY = "10.0.0.1:9461"
STATE = Path("state")


def content(operation: str = "noop", **pairs: object) -> bytes:
    """What an earlier run has stored of a job."""
    import msgspec

    params, options = CATALOG.parse_job(operation, list(pairs.items()))  # type: ignore[arg-type]
    return msgspec.json.encode([operation, params, options])


def restarted(*jobs: KeptJob, clients=(), peers=(), **settings) -> tuple[Play, list[str]]:
    play = Play(state=STATE, **settings)
    seqs = {job.client: max(one.final.seq if one.final else 0 for one in jobs if one.client == job.client) for job in jobs}
    return play, play.restore(Kept(jobs, tuple(seqs.items()), (), tuple(clients), tuple(peers)))


def words(lines: list[str]) -> list[str]:
    return [" ".join(line.split()[:2]) for line in lines]


# --------------------------------------------------------------------------------------------------------------- open jobs


@pytest.mark.parametrize(("age_s", "word"), [(0.5, "processing a"), (3.0, "failed a")])
def test_a_job_is_as_old_as_it_is(age_s, word):
    """The time of its ttl_ms goes on while there is no worker."""
    play, _ = restarted(KeptJob(KEY, "a", content(ttl_ms=1000), age_s=age_s))
    line = play.until(0.01) or play(0.02, Ping(1))
    assert word in words(line)


def test_the_rest_of_a_ttl():
    """A job that was accepted 0.7 s ago and may wait 1 s waits 0.3 s more."""
    play, _ = restarted(KeptJob(KEY, "long", content()), KeptJob(KEY, "a", content(ttl_ms=1000), age_s=0.7), workers=1)
    assert "processing long" in words(play(0.0, Ping(1)))
    assert play.until(0.29) == []
    assert play.until(0.31)[0].startswith("failed a seq=1 410")


def test_a_job_of_an_earlier_run_can_be_replaced():
    """`replace` holds across a restart: the newer job takes the older one's place."""
    play, _ = restarted(KeptJob(KEY, "long", content()), KeptJob(KEY, "old", content(replace="cam")), workers=1)
    play(0.0, Ping(1))
    lines = play(0.1, job("new", replace="cam"))
    assert words(lines) == ["accepted new", "failed old"]


def test_a_job_that_ends_the_worker_is_given_up():
    """Twice may be chance. After the third time it ends as 502, and the others run."""
    jobs = (KeptJob(KEY, "twice", content(), attempt=2, crashes=2), KeptJob(KEY, "thrice", content(), attempt=3, crashes=3))
    play, lines = restarted(*jobs, workers=4)
    lines += play(0.0, Ping(1))
    (line,) = [line for line in lines if line.startswith("failed")]
    assert line.startswith("failed thrice seq=1 502 child The worker ended unexpectedly 3 times while the job ran.")
    assert "processing twice" in words(lines)
    assert len(play.tasks) == 1


# ------------------------------------------------------------------------------------------------------------------ finals


def ended(job_id: str, seq: int, *, told: bool) -> KeptJob:
    return KeptJob(KEY, job_id, digest(content()), 1, Ready(job_id, seq, 6, 0, 0, 0, "noop"), told=told)


def finals(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("ready")]


def test_a_final_that_was_not_told_is_told():
    """The worker ended between storing a final and sending it: the next start sends it, as often as any other; and stores that."""
    play, _ = restarted(ended("told", 1, told=True), ended("a", 2, told=False), show=["store"])
    lines = play.until(STORE_LATER_S + 1)
    assert finals(lines) == ["a", "a"]
    assert [line for line in lines if line.startswith("store told")] == ["store told a"]


def test_a_final_is_sent_until_it_is_acknowledged():
    """To a client that acknowledges, also across a restart."""
    client = StoreClient(KEY, 0, "td", leased=True, acknowledges=True)
    play, _ = restarted(ended("a", 1, told=False), clients=[client], peers=[StorePeer(TD, KEY)], show=["store"])
    assert finals(play.until(2.0)) == ["a"] * 5
    lines = play(2.1, Ack(1)) + play.until(12.0)
    assert finals(lines) == []
    assert "store told a" in lines


def test_thousands_of_finals_come_a_few_at_a_time():
    """No burst that a receive buffer cannot hold; all of them come."""
    play, lines = restarted(*(ended(f"a{n}", n, told=False) for n in range(1, 1001)))
    assert len(finals(lines)) <= 100
    assert len(set(finals(lines + play.until(0.04)))) <= 200
    assert len(set(finals(play.until(1.0)))) >= 900


def test_nothing_goes_to_a_client_that_has_left():
    """It said bye, or its lease ended, before the restart: its port may be another program's by now."""
    client = StoreClient("10.0.0.1:50100", 50_101, "send", leased=True, gone=True)
    kept = KeptJob("10.0.0.1:50100", "a", digest(content()), 1, Ready("a", 1, 6, 0, 0, 0, "noop"), told=False)
    play, lines = restarted(kept, clients=[client], show=["status", "health", "numbers"])
    lines += play.until(30.0)
    assert [line for line in lines if "50100" in line or "50101" in line] == []


def test_one_that_has_not_left_hears_of_the_restart():
    """For the time of a lease, in which it may say hello."""
    client = StoreClient("10.0.0.1:50100", 50_101, "td", leased=True)
    play, lines = restarted(clients=[client], show=["status", "numbers"], lease_ms=3000)
    lines += play.until(30.0)
    heard = [line for line in lines if "50100" in line or "50101" in line]
    assert 4 <= len(heard) <= 8


# ----------------------------------------------------------------------------------------------------------------- clients


def test_a_sender_is_known_before_its_next_hello():
    """A client that sends again after a restart, before it says hello, is the client that it was: its job does not run twice."""
    final = Ready("a", 1, 6, 0, 0, 1, "write_text")
    kept = KeptJob("10.0.0.1:50100", "a", digest(content("write_text", output="x", text="ONE", append=1)), 1, final)
    client = StoreClient("10.0.0.1:50100", leased=True)
    play, _ = restarted(kept, clients=[client], peers=[StorePeer(TD, "10.0.0.1:50100")])
    assert play(0.1, job("a", "write_text", output="x", text="ONE", append=1)) == [
        "10.0.0.1:50100 accepted a 0 1",
        "10.0.0.1:50100 ready a seq=1 boot=6 items=1 write_text",
    ]
    assert play.tasks == []


def test_what_is_stored_of_a_client():
    """Once for a hello that says something new, when it leaves, and when it is back; all with the next commit."""
    play = Play(state=STATE, show=["store"])
    play(0.0, Hello("td", 9461, 9462))
    lines = play(0.1, Hello("td", 9461, 9462), job("a"))
    assert [line for line in lines if line.startswith("store")][:3] == [
        "store peer 10.0.0.1:50000 10.0.0.1:9461",
        "store client 10.0.0.1:9461",
        "store job a",
    ]
    lines = play(0.2, Bye()) + play.until(STORE_LATER_S + 1)
    assert "store client 10.0.0.1:9461 gone" in lines
    lines = play(STORE_LATER_S + 2, Ping(1)) + play.until(3 * STORE_LATER_S)
    assert "store client 10.0.0.1:9461" in lines


def test_a_lease_that_ends_is_stored():
    """A client that ended without bye is left alone by the next start, too."""
    play = Play(state=STATE, show=["store"], lease_ms=3000)
    play(0.0, Hello("td", 9461, 0))
    lines = play.until(4.0 + STORE_LATER_S)
    assert [line for line in lines if line.startswith("store client")] == ["store client 10.0.0.1:9461", "store client 10.0.0.1:9461 gone"]


def test_a_client_with_open_jobs_is_not_pushed_out():
    """Newer clients push out those that wait for nothing."""
    play = Play(clients=2)
    play(0.0, Hello("td", 50_100, 0), job("a"))
    for port in range(1, 5):
        play(0.1, Ping(1), peer=("10.0.0.9", port))
    play(0.2, Hello("other", 0, 0), peer=OTHER)
    assert play(0.3, finished(1)) == ["10.0.0.1:50100 ready a seq=1 run=300"]
    play.until(0.45)  # the second copy
    assert play(0.5, job("a")) == ["10.0.0.1:50100 accepted a 0 1", "10.0.0.1:50100 ready a seq=1 run=300"]


def test_one_that_was_pushed_out_is_known_again():
    """Its packets count as its own when it is heard, although it has not said hello again."""
    play = Play(clients=2)
    play(0.0, Hello("td", 50_100, 0))
    for port in range(1, 4):
        play(0.1, Hello("other", 0, 0), peer=("10.0.0.9", port))
    assert play(0.2, Ping(1))[0].startswith("10.0.0.1:50100 pong 1")


# ----------------------------------------------------------------------------------------------------------------- storing


def test_the_status_says_that_nothing_can_be_stored():
    """A word of its own, at once, until it can again; the end is said before it."""
    play = Play(state=STATE, show=["status"])
    play(0.0, Hello("td", 9461, 0))
    play.until(2.5)
    assert play(2.6, StoringChanged("the folder x has gone")) == ["status NotStoring 0 0 7"]
    assert [line for line in play.until(3.5) if line.startswith("status")] == ["status NotStoring 0 0 7"]
    assert play(3.6, StoringChanged("")) == ["status Ready 0 0 7"]
