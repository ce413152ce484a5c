"""The scheduler's rules: lists of events against lists of effects. `tests/play.py` says how a line reads."""

from __future__ import annotations

import json
from ipaddress import ip_network
from unicodedata import normalize

import msgspec
import pytest

from tests.play import BOOT, OTHER, TD, Play, circles, died, disk_full, finished, found, job, plan, sent
from worker.catalog.circles import FindCircles
from worker.catalog.params import JobOptions
from worker.catalog.table import CATALOG
from worker.core.events import (
    ChildrenChanged,
    Execute,
    JobEnded,
    Kept,
    KeptJob,
    Progressed,
    Received,
    Send,
    StopAsked,
    StoreFinal,
    StorePreset,
    Throttled,
)
from worker.core.jobs import Failure, Result, Skipped
from worker.core.ledger import Job as LedgerJob
from worker.core.ledger import State, digest
from worker.core.scheduler import InvariantError
from worker.core.stories import MAX_ENTRIES, Stories
from worker.errors import BadArguments, UnknownAddress
from worker.files.limits import FileLimits
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import (
    Ack,
    Bye,
    Cancel,
    Clear,
    Describe,
    Failed,
    GetStatus,
    Hello,
    ListPresets,
    Ping,
    Query,
    Quit,
    Ready,
    Replay,
    Set,
    Sync,
    Trigger,
    Unset,
)

# ---------------------------------------------------------------------------------------------------- a job's life


def test_small_job():
    """First accepted, then processing, and the final, which goes twice to a client that does not acknowledge."""
    play = Play()
    assert play(0.0, job("a")) == ["accepted a 0 0", "processing a 1", "run 1 noop plan"]
    assert play(0.5, finished(1)) == ["ready a seq=1 run=500"]
    assert play.until(10.0) == ["ready a seq=1 run=500"]


def test_stored_before_accepted():
    """To be accepted means that the job survives a crash, so it comes after the job is stored; so does the final."""
    play = Play(show=["store"])
    assert play(0.0, job("a")) == ["store job a", "accepted a 0 0", "store attempt a 1", "processing a 1", "run 1 noop plan"]
    assert play(0.5, finished(1)) == ["store final a 1", "ready a seq=1 run=500"]


def test_job_waits():
    """A job that finds all slots taken waits; `position` says how many go before it, and the final how long it waited."""
    play = Play(workers=1)
    play(0.0, job("a"))
    assert play(0.1, job("b")) == ["accepted b 0 0"]
    assert play(0.2, job("c")) == ["accepted c 1 0"]
    assert sent(play(0.5, finished(1))) == ["ready a seq=1 run=500", "processing b 1"]
    assert "processing c 1" in play(0.75, finished(2))
    assert "ready c seq=3 wait=550 run=250" in play(1.0, finished(3))


def test_batch():
    """A batch is cut by its first task; its parts run side by side and are told in order, whatever order they end in."""
    play = Play(workers=2)
    assert play(0.0, circles("a"))[-1] == "run 1 find_circles plan"
    assert play(0.5, finished(1, plan(2, 2, 1))) == [
        "progress a 0.0 0 5 -1 ",
        "run 2 find_circles part 0",
        "run 3 find_circles part 1",
    ]
    assert play(1.0, finished(3, found((3, 3), files=["3.png"]))) == ["progress a 0.4 2 5 1500 ", "run 4 find_circles part 2"]
    assert play(1.5, finished(4, found((5, 5)))) == ["progress a 0.6 3 5 1000 "]
    assert play(2.0, finished(2, found((1, 1), (2, 2), files=["1.png", "2.png"]))) == [
        "file a 1.png 10 4 3",
        "file a 2.png 10 4 3",
        "file a 3.png 10 4 3",
        "progress a 1.0 5 5 0 ",
        "result/circles a 0 1 0 4 2 1.0 1.0 2.0 2.0 3.0 3.0 5.0 5.0",
        "ready a seq=1 run=2000 items=4 find_circles",
    ]


def test_finish():
    """Where a table is to be written of all rows, one more task does it before the final."""
    play = Play(workers=2)
    play(0.0, circles("a", data="all.csv"))
    play(0.1, finished(1, plan(1, 1, finish=True)))
    play(0.2, finished(2, found((1, 1))))
    assert play(0.3, finished(3, found((2, 2))))[-1] == "run 4 find_circles finish"
    assert play.tasks[-1].joined.rows == ((1, 1), (2, 2))
    assert play(0.4, finished(4, Result(files=found(files=["all.csv"]).files))) == [
        "file a all.csv 10 4 3",
        "result/circles a 0 1 0 2 2 1.0 1.0 2.0 2.0",
        "ready a seq=1 run=400 items=2 find_circles",
    ]


def broken(*paths):
    """A part in which these images could not be read."""
    return tuple(Skipped(path, Failure(415, "format", f"{path} is empty.", "Save it again.")) for path in paths)


def test_skipped_images():
    """Images that cannot be read are reported in their order, counted by the final, and told again to who asks."""
    play = Play(workers=2)
    play(0.0, circles("a"))
    assert play.tasks[-1].skips
    play(0.5, finished(1, plan(2, 2)))
    play(1.0, finished(3, Result("circles", ("x", "y"), skipped=broken("3.png", "4.png"))))
    both = msgspec.structs.replace(found((1, 1), files=["1.png"]), skipped=broken("2.png"))
    assert play(2.0, finished(2, both)) == [
        "file a 1.png 10 4 3",
        "skipped a 2.png 415 2.png is empty. Save it again.",
        "skipped a 3.png 415 3.png is empty. Save it again.",
        "skipped a 4.png 415 4.png is empty. Save it again.",
        "progress a 1.0 4 4 0 ",
        "result/circles a 0 1 0 1 2 1.0 1.0",
        "ready a seq=1 run=2000 items=1 skipped=3 find_circles",
    ]
    assert [line.split()[0] for line in play(9.0, Query("a"))[-6:]] == ["file", *["skipped"] * 3, "result/circles", "ready"]


def test_items_left_out():
    """What was found beyond `max_items` is counted by the final, over all parts of a batch."""
    play = Play(workers=2)
    play(0.0, circles("a"))
    play(0.5, finished(1, plan(1, 1)))
    play(1.0, finished(2, msgspec.structs.replace(found((1, 1)), left_out=200)))
    assert play(2.0, finished(3, msgspec.structs.replace(found((2, 2)), left_out=3)))[-1] == (
        "ready a seq=1 run=2000 items=2 left_out=203 find_circles"
    )
    assert play(9.0, Query("a"))[-1].endswith("left_out=203 find_circles")


def test_nothing_but_skipped_images():
    """If no image can be read, the job fails with the error of the first; no table is written."""
    play = Play(workers=2)
    play(0.0, circles("a", data="all.csv"))
    play(0.5, finished(1, plan(1, 1, finish=True)))
    play(1.0, finished(2, Result("circles", ("x", "y"), skipped=broken("1.png"))))
    assert play(2.0, finished(3, Result("circles", ("x", "y"), skipped=broken("2.png"))))[-1] == (
        "failed a seq=1 415 format Each of the 2 files was skipped. The first: 1.png is empty. Save it again."
    )


def test_stops_at_an_error():
    """The key `on_error` reaches the children with each task."""
    play = Play(workers=2)
    play(0.0, circles("a", on_error="stop"))
    play(0.5, finished(1, plan(1, 1)))
    assert [task.skips for task in play.tasks] == [False, False, False]


def test_nothing_found():
    """Finding nothing is a result of no rows."""
    play = Play()
    play(0.0, circles("a"))
    assert play(0.5, finished(1, found())) == ["result/circles a 0 1 0 0 2", "ready a seq=1 run=500 find_circles"]


def test_chunks():
    """A long result travels in chunks of one small datagram each, which together are all rows."""
    play = Play()
    rows = [(float(n), float(-n)) for n in range(1000)]
    play(0.0, circles("a"))
    chunks = [line.split()[2:] for line in play(0.5, finished(1, found(*rows))) if line.startswith("result/")]
    assert [int(chunk[0]) for chunk in chunks] == list(range(int(chunks[0][1])))
    assert [int(chunk[2]) for chunk in chunks] == [sum(len(other[5:]) // 2 for other in chunks[:place]) for place in range(len(chunks))]
    assert [float(number) for chunk in chunks for number in chunk[5:]] == [number for row in rows for number in row]


def test_too_many_chunks():
    """Rows for more than 64 chunks go into a file of the worker's choice, and are not sent."""
    play = Play()
    play(0.0, circles("shot 1/a"))
    assert play(0.5, finished(1, found(*[(1.0, 2.0)] * 10_000))) == ["run 2 find_circles finish"]
    assert play.tasks[-1].params.data == "td-image-worker-results/job-shot_1_a-bd08cdd108a845ea.json"
    assert len(play.tasks[-1].joined.rows) == 10_000
    assert [line.split()[0] for line in play(1.0, finished(2, Result(files=found(files=["x.json"]).files)))] == ["file", "ready"]


def test_small_datagrams():
    """No report is longer than 1,200 bytes, whatever a job is called and whatever its error says."""
    play = Play()
    play(0.0, job("ü" * 100), circles("é" * 100))
    long = "Größenwahn " * 200
    play(0.1, finished(1, Failure(500, "internal", long, long)))
    play(0.2, finished(2, found(*[(1.0, 2.0)] * 500)))
    play(0.3, UnknownAddress(long, long, address="/" + "ö" * 500), job("x", "ö" * 1000), Describe(), Cancel("ö" * 1000))
    sizes = [len(osc.encode(effect.report)) for effect in play.effects if isinstance(effect, Send)]
    assert max(sizes) <= MAX_DATAGRAM_OUT


def test_operation_descriptions_fit():
    """Each operation's parameters, as JSON, fit into one datagram."""
    play = Play()
    play(0.0, Describe())
    assert all(len(osc.encode(effect.report)) <= MAX_DATAGRAM_OUT for effect in play.effects if isinstance(effect, Send))


# ------------------------------------------------------------------------------------------------------- progress


def running_batch(steps=100):
    play = Play(workers=1)
    play(0.0, circles("a"))
    play(1.0, finished(1, plan(steps)))
    return play


def test_progress_is_throttled():
    """Progress goes out at most ten times a second for a job, and the newest wins."""
    play = running_batch()
    lines = []
    for n in range(1, 61):
        lines += play(1.0 + n / 60, Progressed(2, n))
    steps = [int(line.split()[3]) for line in [*lines, *play.until(3.0)]]
    assert len(steps) == 10
    assert steps == sorted(set(steps))
    assert steps[-1] == 60


def test_progress_of_parts_is_added():
    """The steps of all parts count together."""
    play = Play(workers=2)
    play(0.0, circles("a"))
    play(1.0, finished(1, plan(10, 10)))
    play(1.2, Progressed(2, 5))
    assert play(2.0, Progressed(3, 5)) == ["progress a 0.5 10 20 2000 "]
    assert play(3.0, finished(2)) == ["progress a 0.75 15 20 1000 "]


def test_no_progress_of_a_small_job():
    """A job of one task has no steps to tell of."""
    play = Play()
    play(0.0, job("a"))
    assert play(0.5, Progressed(1, 1)) == []


def test_late_events():
    """What a task still tells after its job has ended means nothing."""
    play = running_batch()
    play(1.2, Progressed(2, 5), Progressed(2, 6))
    play(1.21, Cancel("a"))
    assert (
        sent(play(5.0, Progressed(2, 50), finished(2, found((1, 1))), finished(99), Progressed(98, 1)), lambda line: "499" not in line)
        == []
    )


# ---------------------------------------------------------------------------------------------- once and only once


def test_duplicate():
    """The same id with the same content is accepted again and never run twice; with the final, if there is one."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"))
    assert play(0.1, job("a")) == ["accepted a 0 1"]
    play(0.2, finished(1))
    assert play(5.0, job("a"))[-2:] == ["accepted a 0 1", "ready a seq=1 run=200"]
    assert play(5.1, finished(2)) == ["ready b seq=2 wait=200 run=4900"]


def test_duplicate_in_another_spelling():
    """The content is what counts: a float for an int, another order and a default written out are the same work."""
    play = Play()
    play(0.0, job("a", "draw_circles", output="{n}.png", count=3))
    assert play(0.1, job("a", "draw_circles", count=3.0, radius=63, output="{n}.png")) == ["accepted a 0 1"]


def test_id_reused():
    """The same id with other content is refused, before and after the job has ended."""
    play = Play()
    play(0.0, job("a"))
    refusal = "failed a seq=0 409 id The id 'a' already belongs to a job with other content. Use a new id for each new job."
    assert play(0.1, job("a", priority=0)) == [refusal]
    play(0.2, finished(1))
    assert refusal in play(0.3, circles("a"))


def test_ids_of_two_clients():
    """Two clients may use the same id; none gets the other's reports."""
    play = Play()
    play(0.0, job("a"))
    assert sent(play(0.1, job("a"), peer=OTHER)) == ["10.0.0.2:9461 accepted a 0 0", "10.0.0.2:9461 processing a 1"]
    assert play(0.2, finished(1)) == ["ready a seq=1 run=200"]
    assert "10.0.0.2:9461 ready a seq=1 run=200" in play(0.3, finished(2))


def test_worker_makes_an_id():
    """An empty id asks the worker to make one; each is new."""
    play = Play()
    assert play(0.0, job(""), job(""))[0::3] == [f"accepted w{BOOT}-1 0 0", f"accepted w{BOOT}-2 0 0"]


def test_forgotten():
    """Only the newest ended jobs are remembered; an id from before them is new again."""
    play = Play(workers=1, remembered_jobs=3)
    for n in range(5):
        play(float(n), job(f"j{n}"))
        play(n + 0.5, finished(n + 1))
    assert play(10.0, Query("j1"))[-1].startswith("failed j1 seq=0 404 job")
    assert play(10.0, Query("j2")) == ["ready j2 seq=3 run=500"]
    assert sent(play(11.0, job("j0"))) == ["accepted j0 0 0", "processing j0 1"]


# --------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("command", "start"),
    [
        (job("a", "nop"), "failed a seq=0 404 operation There is no operation 'nop'; did you mean noop?"),
        (job("a", "find_circles"), "failed a seq=0 400 arguments find_circles needs image"),
        (job("a", "draw_circles", output="x", count=0), "failed a seq=0 400 arguments draw_circles: count must be a whole number from 1"),
        (job("a", "noop", priority=3), "failed a seq=0 400 arguments noop: priority must be one of 0, 1, 2; got 3"),
        (job("a", after="b"), "failed a seq=0 404 job after: there is no job 'b'"),
        (job("a", after="a"), "failed a seq=0 404 job after: there is no job 'a'"),
        (BadArguments("Bad.", job_id="a", address="/worker/job"), "failed a seq=0 400 arguments Bad."),
    ],
)
def test_refused(command, start):
    """A refused job is told so with seq 0; nothing of it is kept, and its id stays free."""
    play = Play(show=["store"])
    (line,) = play(0.0, command)
    assert line.startswith(start)
    assert play(0.1, job("a"))[0] == "store job a"


def test_complaints():
    """What belongs to no job is answered with an error."""
    play = Play()
    assert play(0.0, UnknownAddress("Unknown.", address="/x")) == ["error 404 /x Unknown."]


def test_cancel_of_an_unknown_job():
    """It names the job, so that a client that waits for it stops waiting."""
    assert Play()(0.1, Cancel("a")) == ["failed a seq=0 404 job There is no job 'a' of this client. "]


def test_complaints_are_limited():
    """At most five errors a second go to a client, so that a CHOP that sends nonsense at 60 Hz is not echoed."""
    play = Play()
    complaints = [line for n in range(120) for line in play(n / 60, UnknownAddress("Unknown.", address="/x"))]
    assert 10 <= len(complaints) <= 5 * 2 + 5
    assert play(2.01, UnknownAddress("Unknown.", address="/x"), peer=OTHER) == ["10.0.0.2:9461 error 404 /x Unknown."]


def test_queue_limit():
    """A full queue refuses with 429 and says which setting changes it; a running job does not count."""
    play = Play(workers=1, queue_jobs=2)
    play(0.0, job("a"), job("b"), job("c"))
    (line,) = play(0.1, job("d"))
    assert line.startswith("failed d seq=0 429 queue 2 jobs are waiting and the limit is 2 (--queue-jobs).")
    play(0.2, finished(1))
    assert "accepted d 1 0" in play(0.3, job("d"))


def test_queue_limit_in_bytes():
    """Long parameters count, too."""
    play = Play(workers=1, queue_bytes=3000)
    play(0.0, job("a"))
    assert sent(play(0.1, job("b", "write_text", output="x", text="t" * 2000))) == ["accepted b 0 0"]
    (line,) = play(0.2, job("c", "write_text", output="x", text="t" * 2000))
    assert line.startswith("failed c seq=0 429 queue")
    play(0.3, Cancel("b"))
    assert "accepted c 0 0" in play(0.4, job("c", "write_text", output="x", text="t" * 2000))


def test_duplicate_of_a_full_queue():
    """A repeated command is answered even where a new one would be refused."""
    play = Play(workers=1, queue_jobs=1)
    play(0.0, job("a"), job("b"))
    assert play(0.1, job("b"))[0].startswith("accepted b")


# ---------------------------------------------------------------------------------------------------------- bundles


def test_bundle():
    """The jobs of a bundle are all accepted before the first one starts."""
    play = Play(workers=1)
    assert sent(play.bundle(0.0, job("a"), job("b"))) == ["accepted a 0 0", "accepted b 1 0", "processing a 1"]


def test_bundle_all_or_none():
    """One bad job in a bundle, and none is stored; each is told why."""
    play = Play(show=["store"])
    first, second, third = play.bundle(0.0, job("a"), job("b", "nop"), job("c"))
    assert first.startswith("failed a seq=0 400 arguments Job 2 of the same bundle was refused, so none of them was taken: There is no op")
    assert second.startswith("failed b seq=0 404 operation")
    assert third.startswith("failed c seq=0 400")


def test_bundle_with_an_unreadable_job():
    """A job that could not even be read spoils its bundle as well."""
    play = Play(show=["store"])
    first, second = play.bundle(0.0, job("a"), BadArguments("/worker/job takes id ...", address="/worker/job"))
    assert first.startswith("failed a seq=0 400")
    assert second.startswith("error 400 /worker/job")


def test_bundle_with_a_stray_channel():
    """Other commands of a bundle stand for themselves, good or bad."""
    play = Play()
    lines = play.bundle(0.0, UnknownAddress("Unknown.", address="/x"), job("a"), job("b"), Ping(3))
    assert [line.split()[0] for line in sent(lines)] == ["error", "accepted", "accepted", "pong", "processing", "processing"]


def test_bundle_over_the_limit():
    """A bundle that does not fit into the queue as a whole is refused as a whole."""
    play = Play(workers=1, queue_jobs=3)
    play(0.0, job("x"))
    assert all(line.startswith("failed") for line in play.bundle(0.1, *map(job, "abcd")))
    assert all(line.startswith("accepted") for line in play.bundle(0.2, *map(job, "abc")))


def test_bundle_sent_twice():
    """A bundle that comes again is accepted again and not run twice."""
    play = Play(workers=1)
    play.bundle(0.0, job("a"), job("b"))
    assert [line.split()[::3] for line in play.bundle(0.1, job("a"), job("b"))] == [["accepted", "1"], ["accepted", "1"]]


def test_bundle_with_one_id_twice():
    """One id for two jobs of a bundle is a mistake."""
    play = Play()
    assert [line.split()[3] for line in play.bundle(0.0, job("a"), job("a"))] == ["400", "409"]


def test_bundle_after():
    """A job of a bundle may wait for an earlier one of the same bundle."""
    play = Play()
    assert sent(play.bundle(0.0, job("a"), job("b", after="a"))) == ["accepted a 0 0", "accepted b 1 0", "processing a 1"]
    assert "processing b 1" in play(0.1, finished(1))


def test_hello_and_jobs_in_one_bundle():
    """Commands of a bundle count in order: jobs behind a hello belong to the client that it introduces."""
    play = Play()
    lines = sent(play.bundle(0.0, Hello("td", 7001, 0), job("a"), job("b")))
    assert all(line.startswith("10.0.0.1:7001 ") for line in lines)
    assert [line.split()[1] for line in lines] == ["welcome", "accepted", "accepted", "processing", "processing"]


def test_a_hello_counts_for_its_whole_bundle():
    """Who a packet comes from is one question: what stands before the hello belongs to the same client as what stands behind it."""
    play = Play()
    lines = sent(play.bundle(0.0, job("a"), Ping(1), Hello("td", 7001, 0), Query("a")))
    assert all(line.startswith("10.0.0.1:7001 ") for line in lines)
    assert [line.split()[1] for line in lines] == ["accepted", "pong", "welcome", "accepted", "processing"]


def test_a_refused_hello_in_a_bundle():
    """Reports that may not go there go where they went before; the commands beside it count all the same."""
    play = Play()
    lines = play.bundle(0.0, Hello("td", 7001, 0, "8.8.8.8"), Ping(1))
    assert [line.split()[:2] for line in lines] == [["error", "403"], ["pong", "1"]]


# ------------------------------------------------------------------------------------------------ cancel and clear


def test_cancel_queued():
    """A queued job that is cancelled never runs."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"))
    assert play(0.1, Cancel("b")) == ["failed b seq=1 499 cancelled The job was cancelled. "]
    assert sent(play(1.0, finished(1)), lambda line: " b " not in line) == ["ready a seq=2 run=1000"]


def test_cancel_running():
    """A running job that is cancelled is aborted with all its tasks, and its slots are free for others."""
    play = Play(workers=2)
    play(0.0, circles("a"))
    play(0.1, finished(1, plan(1, 1, 1)))
    play(0.1, job("b"))
    assert play(0.2, Cancel("a")) == [
        "abort 2",
        "abort 3",
        "failed a seq=1 499 cancelled The job was cancelled. ",
        "processing b 1",
        "run 4 noop plan",
    ]


def test_cancel_ended():
    """Cancelling a job that has ended gives its final again."""
    play = Play()
    play(0.0, job("a"))
    play(0.1, finished(1))
    assert play(5.0, Cancel("a"))[-1] == "ready a seq=1 run=100"


def test_cancel_wins_over_start():
    """A cancel in the same bundle comes before the start."""
    play = Play()
    assert play.bundle(0.0, job("a"), Cancel("a")) == ["accepted a 0 0", "failed a seq=1 499 cancelled The job was cancelled. "]


def test_cancel_of_another_client():
    """Nobody can cancel another client's job."""
    play = Play()
    play(0.0, job("a"))
    assert play(0.1, Cancel("a"), Clear(), peer=OTHER) == ["10.0.0.2:9461 failed a seq=0 404 job There is no job 'a' of this client. "]


def test_clear():
    """A clear ends this client's queued jobs; running ones and other clients' go on."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"), job("c"))
    play(0.0, job("x"), peer=OTHER)
    assert [line.split()[:4] for line in play(0.1, Clear())] == [["failed", "b", "seq=1", "499"], ["failed", "c", "seq=2", "499"]]
    assert "10.0.0.2:9461 processing x 1" in play(0.2, finished(1))


def test_clear_of_a_chain():
    """Jobs that wait for each other get one final each."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"), job("c", after="b"), job("d", after="c"))
    assert [line.split()[1] for line in play(0.01, Clear())] == ["b", "c", "d"]


# -------------------------------------------------------------------------------------------------- query and sync


def test_query():
    """A query gives a job's latest report again, whatever it was."""
    play = Play(workers=1)
    play(0.0, circles("a"), job("b"))
    assert play(0.1, Query("b"))[0].startswith("accepted b")
    assert play(0.1, Query("a")) == ["processing a 1"]
    play(1.0, finished(1, plan(2, 2)))
    assert play(1.1, Query("a")) == ["progress a 0.0 0 4 -1 "]
    play(2.0, finished(2, found((1, 1), files=["1.png"])))
    play(3.0, finished(3, found((2, 2))))
    assert play(9.0, Query("a"))[-3:] == [
        "file a 1.png 10 4 3",
        "result/circles a 0 1 0 2 2 1.0 1.0 2.0 2.0",
        "ready a seq=1 run=3000 items=2 find_circles",
    ]
    assert play(9.1, Query("x"))[-1].startswith("failed x seq=0 404 job")


def test_rows_are_kept_for_some():
    """The rows of old jobs are dropped when they are too many; their finals are not."""
    play = Play(workers=1, result_rows_kept=10)
    for n in range(3):
        play(float(n), circles(f"j{n}"))
        play(n + 0.5, finished(n + 1, found(*[(0.0, 0.0)] * 5)))
    assert [line.split()[0] for line in play(9.0, Query("j0"))[-1:]] == ["ready"]
    assert [line.split()[0] for line in play(9.1, Query("j2"))] == ["result/circles", "ready"]


def test_sync():
    """The answer comes when all this client's earlier jobs have ended, and counts those since its last sync."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"))
    assert play(0.1, Sync(1)) == []
    play(0.1, job("late"))
    play(0.2, job("x"), peer=OTHER)
    play(0.3, finished(1))
    assert "synced 1 1 1" in play(0.4, Cancel("b"))
    assert play(0.45, Sync(2)) == []
    assert "synced 2 1 0" in play(0.6, finished(3))


def test_sync_of_nothing():
    """With nothing to wait for the answer comes at once."""
    play = Play()
    assert play(0.0, Sync(5)) == ["synced 5 0 0"]


def test_sync_asked_again():
    """The same number again gives the same answer again: the first may have been lost."""
    play = Play(workers=1)
    play(0.0, job("a"), Sync(1), Sync(1))
    assert "synced 1 1 0" in play(0.1, finished(1))
    assert play(0.15, Sync(1)) == ["synced 1 1 0"]


def test_two_syncs():
    """Two open syncs are answered in order, and each job is counted once."""
    play = Play(workers=1)
    play(0.0, job("a"), Sync(1), job("b"), Sync(2))
    assert "synced 1 1 0" in play(0.1, finished(1))
    assert "synced 2 1 0" in play(0.2, finished(2))


def test_too_many_syncs():
    """A client that asks without end is stopped."""
    play = Play(workers=1)
    play(0.0, job("a"))
    lines = play(0.1, *[Sync(n) for n in range(70)])
    assert lines[0].startswith("error 413 /worker/sync 64 syncs of this client are open")


# ------------------------------------------------------------------------------------------------- order and load


def test_priorities():
    """Live goes before normal, normal before batch, and within a priority the older job first."""
    play = Play(workers=1)
    play(0.0, job("x"), job("b", priority=2), job("n", priority=1), job("l", priority=0), job("m", priority=1))
    order = [line.split()[1] for task in range(1, 6) for line in play(task / 10, finished(task)) if line.startswith("processing")]
    assert order == ["l", "n", "m", "b"]


def test_batch_is_not_starved():
    """However much live work there is, a batch gets a turn now and then."""
    play = Play(workers=1)
    play(0.0, job("x"), job("b", priority=2), job("l0", priority=0))
    order = []
    for task in range(1, 15):
        play(task / 10, job(f"l{task}", priority=0))
        order += [line.split()[1] for line in play(task / 10, finished(task)) if line.startswith("processing")]
    assert "b" in order
    assert order.index("b") == 8


def test_live_waits_for_one_task_only():
    """A live job goes between the parts of a batch."""
    play = Play(workers=1)
    play(0.0, circles("b", priority=2))
    play(0.1, finished(1, plan(1, 1, 1)))
    play(0.2, job("l", priority=0))
    assert "run 3 noop plan" in play(0.3, finished(2))


def test_ttl():
    """A job that has waited for too long is dropped; one that has started is not."""
    play = Play(workers=1)
    play(0.0, job("a", ttl_ms=500), job("b", ttl_ms=500))
    assert play.until(2.0) == ["failed b seq=1 410 expired The job waited for longer than its ttl_ms of 500. "] * 2
    assert "ready a seq=2 run=3000" in play(3.0, finished(1))


def test_replace():
    """A newer job with the same key ends the queued older one; a running one goes on."""
    play = Play(workers=1)
    play(0.0, job("a", replace="k"))
    assert play(0.1, job("b", replace="k")) == ["accepted b 0 0"]
    lines = play(0.2, job("c", replace="k"))
    assert lines[0].startswith("accepted c")
    assert lines[1:] == ["failed b seq=1 410 expired Replaced by the newer job 'c' (replace='k'). "]
    assert "processing c 1" in play(0.3, finished(1))
    assert play(0.4, job("d", replace="k"), peer=OTHER)[-1] == "10.0.0.2:9461 accepted d 0 0"


def test_replace_takes_the_place():
    """The newer job takes the older one's place in the queue; else one that is replaced all the time would never run."""
    play = Play(workers=1)
    play(0.0, job("x"), job("a", replace="k"), job("n"))
    play(0.1, job("b", replace="k"))
    assert "processing b 1" in play(0.2, finished(1))


def test_after():
    """A job with `after` starts when that one is ready."""
    play = Play()
    play(0.0, job("a"))
    assert play(0.1, job("b", after="a")) == ["accepted b 0 0"]
    assert sent(play(0.2, finished(1))) == ["ready a seq=1 run=200", "processing b 1"]
    play(0.3, finished(2))
    assert "processing c 1" in play(0.4, job("c", after="a"))


def test_after_failed():
    """A job with `after` fails when that one does, and those behind it, too."""
    play = Play()
    play(0.0, job("a"), job("b", after="a"), job("c", after="b"))
    lines = play(0.1, Cancel("a"))
    assert [line.split()[:4] for line in sent(lines)] == [
        ["failed", "a", "seq=1", "499"],
        ["failed", "b", "seq=2", "410"],
        ["failed", "c", "seq=3", "410"],
    ]
    assert play(0.15, job("d", after="c"))[-1].startswith("failed d seq=4 410")


def test_long_chain():
    """A chain of thousands ends without trouble when its first job fails."""
    play = Play(workers=1, checked=False)
    play(0.0, job("j0"), *[job(f"j{n}", after=f"j{n - 1}") for n in range(1, 5000)])
    assert len(play(0.01, Cancel("j0"))) == 5001  # and one abort
    assert len([effect for effect in play.effects if isinstance(effect, StoreFinal)]) == 5000


# ---------------------------------------------------------------------------------------------- when things go wrong


def test_failure():
    """A failed task fails its job, with its words; what other parts still do is stopped."""
    play = Play(workers=2)
    play(0.0, circles("a"))
    play(0.1, finished(1, plan(1, 1, 1)))
    assert play(0.2, finished(2, Failure(404, "file", "There is no file x.png.", "Look."))) == [
        "abort 3",
        "failed a seq=1 404 file There is no file x.png. Look.",
    ]


def test_retries():
    """After an error that may pass, a job with retries is tried again, later each time."""
    play = Play()
    play(0.0, job("a", retries=2))
    assert play(1.0, disk_full(1)) == []
    assert play.until(1.49) == []
    assert play.until(1.6) == ["processing a 2", "run 2 noop plan"]
    play(2.0, disk_full(2))
    assert play.until(2.99) == []
    assert play.until(3.1) == ["processing a 3", "run 3 noop plan"]
    assert play(4.0, disk_full(3)) == ["failed a seq=1 507 disk The disk is full. "]


def test_retry_starts_over():
    """A retry of a batch begins from nothing and says so."""
    play = Play(workers=2)
    play(0.0, circles("a", retries=1))
    play(0.1, finished(1, plan(1, 1)))
    play(0.2, finished(2, found((1, 1))))
    play(0.3, disk_full(3))
    assert "processing a 2" in play.until(1.0)
    play(1.1, finished(4, plan(1, 1)))
    play(1.2, finished(5, found((1, 1))))
    assert "ready a seq=1 wait=800 run=500 items=2 find_circles" in play(1.3, finished(6, found((2, 2))))


def test_no_retry_of_the_clients_mistakes():
    """What will fail again is not tried again."""
    play = Play()
    play(0.0, job("a", retries=5))
    assert play(0.1, finished(1, Failure(404, "file", "No file.", "")))[0].startswith("failed a seq=1 404")


def test_no_retry_of_what_may_not_be_repeated():
    """An append may have happened before its child died."""
    play = Play()
    play(0.0, job("a", "write_text", output="x", text="t", append=1, retries=5))
    assert play(0.1, died(1))[0].startswith("failed a seq=1 502")


def test_cancel_while_waiting_for_a_retry():
    """A job that waits for its next attempt is cancelled for good."""
    play = Play()
    play(0.0, job("a", retries=5))
    play(0.1, disk_full(1))
    assert play(0.2, Cancel("a")) == ["failed a seq=1 499 cancelled The job was cancelled. "]
    assert sent(play.until(60.0)) == ["failed a seq=1 499 cancelled The job was cancelled. "]


def test_timeout():
    """A job that runs for too long is stopped, native code included."""
    play = Play()
    play(0.0, job("a", timeout_ms=500))
    abort, failed, *_ = play.until(1.0)
    assert (abort, failed.split()[:5]) == ("abort 1", ["failed", "a", "seq=1", "408", "timeout"])


def test_default_timeout():
    """Without one of its own a job has the worker's."""
    play = Play(timeout_ms=1000)
    play(0.0, job("a"))
    assert play.until(0.9) == []
    assert play.until(1.1)[0] == "abort 1"


def test_timeout_of_each_attempt():
    """The timeout counts from the start of the attempt, not from that of the one before."""
    play = Play()
    play(0.0, job("a", timeout_ms=2000, retries=1))
    play(1.9, disk_full(1))
    assert play.until(2.5) == ["processing a 2", "run 2 noop plan"]
    assert play.until(4.3) == []
    assert play.until(4.5)[0] == "abort 2"


def test_timers_end_with_their_job():
    """Nothing holds on to an ended job for its ten-minute timeout."""
    play = Play(workers=1, checked=False)
    for n in range(1000):
        play(n / 100, job(f"j{n}", ttl_ms=1_000_000))
        play(n / 100, finished(n + 1))
    play.until(11.0)
    assert len(play.scheduler._timers._heap) < 200


def test_quarantine():
    """The same work that has killed two children is not run again, in whatever queue it stands."""
    play = Play(workers=1)
    play(0.0, circles("a"), circles("b"), circles("c"))
    assert play(0.1, died(1))[0].startswith("failed a seq=1 502 child The child died.")
    again, second, third = play(0.2, died(2))
    assert again.split()[1] == "a"
    assert second.startswith("failed b seq=2 502 child The child died. It was number 2 with this job, which is quarantined")
    assert third.startswith("failed c seq=3 502 child This job has killed 2 child processes")
    assert play(9.0, circles("d"))[-1].startswith("failed d seq=0 502 child This job has killed 2 child processes and is quarantined.")
    assert "accepted e 0 0" in play(9.1, circles("e", image="other"))


def test_quarantine_ends_retries():
    """Retries do not kill a third child."""
    play = Play()
    play(0.0, circles("a", retries=9))
    play(0.1, died(1))
    play.until(1.0)
    assert "quarantined" in play(1.1, died(2))[0]


# -------------------------------------------------------------------------------------------- presets and triggers


def test_trigger():
    """A press, that is a rise through 0.5, starts a job from its preset, once."""
    play = Play()
    play(0.0, Set("logo", "operation", "draw_circles"), Set("logo", "output", "{n}.png"), Set("logo", "count", 3.0))
    assert sent(play(0.1, Trigger("logo", 0.4))) == []
    assert sent(play(0.2, Trigger("logo", 1.0))) == ["accepted w7-1 0 0", "processing w7-1 1"]
    assert sent(play(0.3, Trigger("logo", 1.0), Trigger("logo", 0.9))) == []
    assert sent(play(0.4, Trigger("logo", 0.0), Trigger("logo", 1.0))) == ["accepted w7-2 0 0", "processing w7-2 1"]


def test_a_trigger_whose_job_is_refused():
    """The sentence names the preset, because there is no id."""
    play = Play()
    play(0.0, Set("logo", "operation", "draw_circles"))
    assert sent(play(0.1, Trigger("logo")))[0].startswith("failed  seq=0 400 arguments Preset 'logo': draw_circles needs output")


def test_an_impulse():
    """Each is a press, also while the number is up, and none of them keeps it up."""
    play = Play()
    play(0.0, Set("logo", "operation", "draw_circles"), Set("logo", "output", "{n}.png"))
    for time in (0.1, 0.2):
        assert sent(play(time, Trigger("logo")))[0].startswith("accepted")
    assert sent(play(0.3, Trigger("logo", 1.0)))[0].startswith("accepted")
    assert sent(play(0.4, Trigger("logo"), Trigger("logo")))[0].startswith("accepted")


def test_a_trigger_with_no_number():
    """It is neither pressed nor let go, so a glitch in a channel that is up starts no second job. The sender gets an error."""
    play = Play()
    play(0.0, Set("logo", "operation", "draw_circles"), Set("logo", "output", "{n}.png"))
    assert sent(play(0.1, Trigger("logo", 1.0)))[0].startswith("accepted")
    assert sent(play(0.2, Trigger("logo", float("nan")))) == ["error 400 /worker/trigger/logo value must be a number; got nan."]
    assert sent(play(0.3, Trigger("logo", 1.0))) == []
    assert sent(play(0.4, Trigger("logo", float("nan"), "a")))[0].startswith(
        "failed a seq=0 400 arguments value must be a number; got nan."
    )


def test_a_trigger_names_its_job():
    """Then the job has that id, the same trigger once more starts nothing, and a failure names the id."""
    play = Play()
    play(0.0, Set("logo", "operation", "draw_circles"), Set("logo", "output", "{n}.png"))
    assert sent(play(0.1, Trigger("logo", 1.0, "a"))) == ["accepted a 0 0", "processing a 1"]
    assert sent(play(0.2, Trigger("logo", 0.0), Trigger("logo", 1.0, "a"))) == ["accepted a 0 1"]
    assert sent(play(0.3, Trigger("lego", 1.0, "b")))[0].startswith(
        "failed b seq=0 404 preset There is no preset 'lego'; did you mean logo?"
    )


def test_bad_setting():
    """A value that does not fit is reported at once if the operation is known."""
    play = Play(show=["store"])
    assert play(0.0, Set("logo", "operation", "draw_circles")) == ["store preset logo operation draw_circles"]
    assert play(0.1, Set("logo", "count", -1))[0].startswith("error 400 /worker/set/logo/count draw_circles: count must be")
    assert play(0.2, Trigger("lego", 1.0))[0].startswith("error 404 /worker/trigger/lego There is no preset 'lego'; did you mean logo?")


# ------------------------------------------------------------------------------------------------ status and numbers


def test_status_words():
    """Processing from the first accepted job to the last final, then Ready."""
    play = Play(show=["status"], workers=1)
    play(0.5, Ping(1))
    words = []
    for at, *events in ((0.6, job("a")), (1.6, job("b")), (2.6, finished(1)), (3.6, finished(2))):
        words += [line for line in play(at, *events) if line.startswith("status")]
    changes = [line for line, before in zip(words, ["", *words], strict=False) if line != before]
    assert changes == ["status Processing 1 0 7", "status Processing 1 1 7", "status Processing 1 0 7", "status Ready 0 0 7"]


def test_no_short_job_goes_unseen():
    """Each of a few jobs of a millisecond shows both words, however soon they follow each other."""
    play = Play(show=["status"], workers=1)
    lines = []
    for n in range(5):
        lines += play(n * 0.01, job(f"j{n}"))
        lines += play(n * 0.01 + 0.001, finished(n + 1))
    words = [line.split()[1] for line in lines if line.startswith("status")]
    assert words == ["Processing", "Ready"] * 5


def test_status_rate():
    """However much changes: a burst of 20 changed words, then about 20 a second, and the last word is the last state."""
    play = Play(show=["status"], workers=1, checked=False)
    lines = []
    for n in range(1000):
        lines += play(n / 1000, job(f"j{n}"))
        lines += play(n / 1000, finished(n + 1))
    status = [line for line in lines if line.startswith("status")]
    assert 15 <= len(status) <= 20 + 20 + 23
    rest = [line for line in play.until(1.9) if line.startswith("status")]
    assert rest == [] or rest[-1] == "status Ready 0 0 7"


def test_heartbeat():
    """Once a second everybody who is known is told, whether or not something happens."""
    play = Play(show=["status", "numbers"])
    play(0.5, Ping(1))
    lines = play.until(5.5)
    assert sum(line.startswith("status") for line in lines) == 5
    assert [int(line.split("beat=")[1].split()[0]) for line in lines if line.startswith("numbers")] == [2, 3, 4, 5, 6]


def test_numbers():
    """Counters and levels, all floats, to the number port of everybody known."""
    play = Play(show=["numbers"], workers=1)
    play(0.0, circles("a"), job("b"))
    play(0.5, finished(1, plan(2, 2)))
    play(2.0, finished(2))
    lines = [line for line in play(2.1, GetStatus()) if line.startswith("numbers to 10.0.0.1:9462")]
    levels = dict(part.split("=") for part in lines[-1].split()[3:])
    assert {name: levels[name] for name in ("ready", "busy", "queued", "running", "progress", "boot")} == {
        "ready": "0",
        "busy": "1",
        "queued": "1",
        "running": "1",
        "progress": "0.5",
        "boot": "7",
    }
    play(2.2, finished(3))
    play(2.3, finished(4, Failure(404, "file", "No file.", "")))
    lines = [line for line in play.until(5.0) if line.startswith("numbers")]
    levels = dict(part.split("=") for part in lines[-1].split()[3:])
    assert {name: levels[name] for name in ("ready", "busy", "done", "failed", "last_code", "last_ms")} == {
        "ready": "1",
        "busy": "0",
        "done": "1",
        "failed": "1",
        "last_code": "404",
        "last_ms": "100",
    }


def test_fixed_targets():
    """Fixed targets get everybody's reports about jobs, the status and the numbers, from the start."""
    play = Play(show=["status", "numbers"], report=(("10.9.9.9", 8000),), report_numbers=(("10.9.9.9", 8001),))
    lines = play(0.0, job("a"))
    assert "10.9.9.9:8000 status Ready 0 0 7" in lines
    assert "10.9.9.9:8000 accepted a 0 0" in lines
    assert any(line.startswith("numbers to 10.9.9.9:8001 ") for line in lines)


def test_fixed_target_that_is_a_client():
    """A target that is a client as well gets everything once."""
    play = Play(report=(("10.0.0.1", 9461),))
    assert play(0.0, job("a")) == ["accepted a 0 0", "processing a 1", "run 1 noop plan"]


# --------------------------------------------------------------------------------------------------- the small ones


def test_ping():
    """The answer gives the number back, and how long the worker has been up."""
    play = Play()
    assert play(2.5, Ping(42)) == ["pong 42 7 2.5"]


def test_hello():
    """The answer goes to the ports that hello names, with the version, the boot number and the newest final's number."""
    play = Play()
    play(0.0, job("a"), peer=OTHER)
    assert play(0.1, Hello("td", 7001, 7002))[0] == "10.0.0.1:7001 welcome 0.1.0 1 7 15000 0"
    play(0.2, finished(1))
    assert "10.0.0.2:9461 welcome 0.1.0 1 7 15000 1" in play(0.3, Hello("td", 9461, 9462), peer=OTHER)


def test_describe():
    """One operation, or all of them and what they have in common."""
    play = Play()
    summary = CATALOG["noop"].summary
    assert play(0.0, Describe("noop")) == [
        f'operation noop {{"name":"noop","summary":"{summary}","result":"","fields":[],"item":"row","parameters":{{}}}} 0 1'
    ]
    lines = play(0.1, Describe()) + play.until(0.5)  # a slice at a time
    names = [line.split()[1] for line in lines if line.startswith("operation")]
    assert list(dict.fromkeys(names)) == [*CATALOG, "*"]
    assert {line.split()[1] for line in play(0.6, Describe("*"))} == {"*"}
    assert play(0.7, Describe("nop")) == [
        "error 404 /worker/describe There is no operation 'nop'; did you mean noop? `td-image-worker ops` lists all operations."
    ]


def described(lines):
    """The JSON of one description, joined from its parts."""
    return json.loads("".join(line.split(" ", 2)[2].rsplit(" ", 2)[0] for line in lines))


def test_describe_says_what_is_missing():
    """What the first child that works has said, with the operation it belongs to; it is kept when no child works."""
    play = Play()
    assert described(play(0.0, Describe("*")))["missing"] == {}
    missing = {"find_features method=akaze": "This build has no AKAZE.", "find_faces": "There is no model."}
    play(0.1, ChildrenChanged(working=True, missing=missing))
    play(0.2, ChildrenChanged(working=False))
    assert described(play(0.3, Describe("find_features")))["missing"] == {"find_features method=akaze": "This build has no AKAZE."}
    assert "missing" not in described(play(0.4, Describe("noop")))
    assert described(play(0.5, Describe("*")))["missing"] == missing


def test_replay():
    """Any of the finals that are remembered can be had again, in order."""
    play = Play(workers=1)
    for n in range(4):
        play(float(n), job(f"j{n}"))
        play(n + 0.5, finished(n + 1))
    assert [line.split()[1:3] for line in play(9.0, Replay(3))[-2:]] == [["j2", "seq=3"], ["j3", "seq=4"]]
    assert play(9.1, Replay(5)) == []
    assert play(9.2, Replay(1), peer=OTHER) == []


# --------------------------------------------------------------------------------------------------------- health


def age(lines):
    """What the newest `health` says of the children."""
    return float([line.split()[1] for line in lines if line.startswith("health")][-1])


def test_health_is_about_the_children_that_serve():
    """While all of them are busy the canary runs in the spare child, which proves nothing about them. That they work on does."""
    play = Play(workers=1, show=["health"])
    play(0.0, job("a"))
    play.until(5.1)
    play(5.2, finished(2, Result()))  # the canary
    assert age(play.until(20.0)) == pytest.approx(20.0)
    play(20.5, Progressed(1, 0))
    assert age(play.until(21.0)) == pytest.approx(0.5)
    assert age(play.until(40.0)) == pytest.approx(19.5)
    play(40.5, finished(1))
    assert age(play.until(44.9)) < 5
    play(50.1, finished(3, Result()))
    assert age(play.until(51.0)) < 1


def test_a_child_that_is_free_shows_it_by_the_canary():
    """One that serves could take a job, even if others hang."""
    play = Play(workers=2, show=["health"])
    play(0.0, job("a"))
    play.until(5.1)
    play(5.2, finished(2, Result()))
    assert age(play.until(6.0)) == pytest.approx(0.8)


# ------------------------------------------------------------------------------------------------ the worker's end


def test_drain():
    """Asked to stop, it takes no new jobs, ends those it has, and exits."""
    play = Play(workers=1, show=["status"])
    play(0.0, job("a"), job("b"))
    assert "status Draining 1 1 7" in play(0.5, StopAsked("SIGTERM"))
    (line,) = [line for line in play(0.6, job("c")) if line.startswith("failed")]
    assert line.startswith("failed c seq=0 503 draining The worker is shutting down (SIGTERM)")
    assert [line for line in play(0.7, job("a")) if line.startswith("accepted")] == ["accepted a 0 1"]
    play(0.8, finished(1))
    lines = play(0.9, finished(2))
    assert [line for line in lines if not line.startswith("ready a")][-2:] == ["status Stopping 0 0 7", "exit SIGTERM"]


@pytest.mark.parametrize("journal", [False, True])
def test_drain_of_what_hangs(tmp_path, journal):
    """A job whose child shows no sign of life for a minute does not keep the worker from ending, even without a timeout."""
    play = Play(workers=1, timeout_ms=0, state=tmp_path if journal else None)
    play(0.0, job("a"), job("b"))
    play(1.0, StopAsked("SIGTERM"))
    play(4.0, Progressed(1, 0))
    assert play.until(63.9) == []
    lines = play.until(64.1)
    why = "SIGTERM; no job has gone on for 60 s"
    said = f"503 draining The worker was stopped ({why}) before the job had ended. "
    told = [] if journal else [f"failed a seq=1 {said}", f"failed b seq=2 {said}"]
    assert list(dict.fromkeys(lines)) == ["abort 1", *told, f"exit {why}"]  # those that are repeated are left out


def test_drain_of_nothing():
    """With nothing to do it exits at once."""
    play = Play()
    assert play(0.0, StopAsked("SIGTERM")) == ["exit SIGTERM"]
    assert play(0.1, StopAsked("SIGTERM")) == []


def test_stop_at_once():
    """Without a journal, jobs that have not ended are told so; those that wait for each other once."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"), job("c", after="b"))
    lines = play(0.5, StopAsked("SIGINT", at_once=True))
    assert [line.split()[:2] for line in lines] == [["abort", "1"], ["failed", "a"], ["failed", "b"], ["failed", "c"], ["exit", "SIGINT"]]


def test_stop_at_once_with_a_journal(tmp_path):
    """With a journal they wait for the next start."""
    play = Play(workers=1, state=tmp_path)
    play(0.0, job("a"), job("b"))
    assert play(0.5, StopAsked("SIGINT", at_once=True)) == ["abort 1", "exit SIGINT"]


def test_quit():
    """It is answered, drains, and a second one stops at once."""
    play = Play(workers=1, show=["status"], token="secret")
    play(0.0, job("a"))
    assert "status Draining 1 0 7" in play(0.5, Quit("secret"))
    assert "exit asked by 10.0.0.1:9461" in play(0.6, Quit("secret"))


@pytest.mark.parametrize("token", ["", "Secret", "secret "])
def test_quit_from_another_computer_needs_the_token(token):
    """Without it the worker goes on; from this computer it needs none."""
    play = Play(token="secret", allow=(ip_network("10.0.0.0/8"),))
    (line,) = play(0.0, Quit(token), peer=("10.0.0.1", 5000))
    assert line.startswith("error 401 /worker/quit")
    assert play(1.0, job("a"))[0].startswith("accepted a")
    play(2.0, Quit(), peer=("127.0.0.1", 5000))
    assert "503 draining" in play(3.0, job("b"))[0]


def test_hello_names_only_hosts_that_are_known():
    """Reports go to the sender itself, an allowed address or a fixed target; nobody can be flooded in another's name."""
    play = Play(allow=(ip_network("10.0.0.0/24"),), report=(("192.168.0.9", 9461),))
    assert play(0.0, Hello("td", 9461, 0, "8.8.8.8"))[0].startswith("error 403 /worker/hello")
    for host in ("10.0.0.77", "192.168.0.9", "10.0.0.1"):
        assert any("welcome" in line for line in play(0.0, Hello("td", 9461, 0, host)))


@pytest.mark.parametrize("host", ["::1%s1", "fe80::1%eth0", "127.0.0.1%1"])
def test_hello_names_no_host_with_a_zone(host):
    """Each zone would make another client of one computer, without an end. A sender that really has one leaves `host` empty."""
    play = Play(allow=(ip_network("fe80::/10"),))
    hello = Hello("td", 9461, 0, host)
    assert play(0.0, hello)[0].startswith("error 403 /worker/hello")
    assert any("welcome" in line for line in play(0.0, hello, peer=(host, 5000)))


def test_a_sender_of_too_much_is_told():
    """What was dropped is said, with the limit and its setting."""
    (line,) = Play()(0.0, Throttled(TD, 123))
    assert "429" in line
    assert "123 packets were dropped" in line
    assert "--packets-per-second" in line


# -------------------------------------------------------------------------------------------------- after a restart


def kept(job_id, operation="noop", attempt=0, final=None, **params):
    """A job as an earlier run has kept it: found out by asking one."""
    play = Play()
    play(0.0, job(job_id, operation, **params))
    stored = next(effect for effect in play.effects if type(effect).__name__ == "StoreJob")
    return KeptJob(stored.client, stored.job_id, digest(stored.content) if final else stored.content, attempt, final)


def test_restart():
    """Queued jobs wait again, started ones run again where they may be repeated, and else end as 502."""
    play = Play(workers=4)
    lines = play.restore(
        Kept(
            jobs=(
                kept("queued"),
                kept("started", attempt=1),
                kept("append", "write_text", attempt=1, output="x", text="t", append=1),
                kept("ended", final=Ready("ended", 4, 6, 0, 0, 0, "noop")),
            ),
            newest_seqs=(("10.0.0.1:9461", 4),),
        )
    )
    assert [line.split()[:4] for line in lines] == [["failed", "append", "seq=5", "502"]]
    assert sent(play(0.01, Ping(0)), lambda line: not line.startswith("pong")) == ["processing queued 1", "processing started 2"]
    assert play(0.02, job("ended")) == ["accepted ended 0 1", "ready ended seq=4 boot=6"]
    assert [line.split()[1] for line in play(0.5, Replay(1))[-2:]] == ["ended", "append"]


def test_restart_of_a_chain():
    """`after` holds across a restart."""
    play = Play()
    play.restore(Kept(jobs=(kept("a"), KeptJob(*_chained()))))
    assert sent(play(0.0, Ping(0))) == ["pong 0 7 0.0", "processing a 1"]
    assert "processing b 1" in play(0.1, finished(1))


def _chained():
    play = Play()
    play(0.0, job("a"), job("b", after="a"))
    stored = [effect for effect in play.effects if type(effect).__name__ == "StoreJob"][1]
    return stored.client, stored.job_id, stored.content


def test_restart_with_an_unknown_operation():
    """A job that this version does not know ends with a sentence, not with a crash."""
    play = Play()
    (line,) = play.restore(Kept(jobs=(KeptJob("10.0.0.1:9461", "a", b'["no_such_thing",{},{}]'),)))
    assert line.startswith("failed a seq=1 404 operation There is no operation 'no_such_thing'")


# ----------------------------------------------------------------------------------------------- for the operator


def test_one_line_for_each_end():
    """Each accepted job ends with one record for the operator, however it ends; a refused one has none."""
    play = Play(show=["ended"], workers=1)
    play(0.0, Hello("td", 9461, 0), circles("a"), job("b"), job("c", after="b"), job("d", "nop"))
    lines = [*play(0.5, finished(1, found((1, 1), (2, 2)))), *play(0.75, finished(2, Failure(404, "file", "No file x.png.")))]
    assert [line for line in lines if line.startswith("ended")] == [
        "ended a find_circles ready 200 0 500 2 1",
        "ended b noop file 404 500 250 0 1",
        "ended c noop expired 410 750 0 0 0",
    ]
    ended = [effect for effect in play.effects if isinstance(effect, JobEnded)]
    assert [(one.client, one.name, one.message) for one in ended[:2]] == [
        ("10.0.0.1:9461", "td", ""),
        ("10.0.0.1:9461", "td", "No file x.png."),
    ]


def test_story():
    """What happened to a job, step by step, with its times."""
    play = Play(workers=2)
    play(0.0, circles("a", retries=1))
    play(0.25, disk_full(1))
    play(1.0, finished(2, plan(2, 1)))
    play(1.5, finished(3, found((1, 1))))
    play(2.0, finished(4))
    assert play.scheduler.story("a") == [
        "0.000 queued: find_circles",
        "0.000 running: attempt 1",
        "0.250 queued: disk, again in 0.5 s",
        "0.750 running: attempt 2",
        "1.000 planned: 2 parts, 3 steps",
        "2.000 ended: ready",
    ]
    assert play.scheduler.story("a", "10.0.0.1:9461") == play.scheduler.story("a")
    assert play.scheduler.story("a", "10.0.0.2:9461") == play.scheduler.story("b") == []


def test_stories_are_bounded():
    """The newest jobs have one, and of a long one the newest entries are kept."""
    play = Play(workers=1, checked=False)
    for n in range(1100):
        play(n / 1000, job(f"j{n}"), finished(n + 1))
    assert play.scheduler.story("j0") == []
    assert play.scheduler.story("j1099") == ["0.000 queued: noop", "0.000 running: attempt 1", "0.000 ended: ready"]
    stories = Stories()
    for n in range(100):
        stories.note(("td", "a"), float(n), "queued")
    assert len(stories.of(("td", "a"))) == MAX_ENTRIES


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda scheduler: setattr(scheduler._ledger, "queued", 3), "3 and 1 are counted"),
        (lambda scheduler: setattr(scheduler._ledger, "queued_bytes", 0), "but 0 are counted"),
        (lambda scheduler: setattr(scheduler._ledger.open["10.0.0.1:9461", "a"], "state", State.QUEUED), "is queued and runs"),
        (lambda scheduler: scheduler._slots._jobs.clear(), "is not in the slots"),
        (lambda scheduler: scheduler._ledger.open.pop(("10.0.0.1:9461", "b")), "is not open"),
        (lambda scheduler: scheduler._delivery._newest_seqs.update(x=1), "was sent seq 1"),
    ],
)
def test_validate_finds_contradictions(spoil, words):
    """What must never be true is found and said; a sound scheduler passes."""
    play = Play(workers=1)
    play(0.0, job("a"), job("b"))
    play.scheduler.validate()
    spoil(play.scheduler)
    with pytest.raises(InvariantError, match=words):
        play.scheduler.validate()


def test_no_other_way_through_life():
    """A job cannot be moved past the table."""
    ledger = Play().scheduler._ledger
    one = ledger_job()
    with pytest.raises(AssertionError, match="cannot go from checked to running"):
        ledger.move(one, State.RUNNING, 0.0)
    ledger.move(one, State.QUEUED, 0.0)
    ledger.move(one, State.ENDED, 0.0)
    with pytest.raises(AssertionError, match="cannot go from ended to queued"):
        ledger.move(one, State.QUEUED, 0.0)
    assert (ledger.queued, ledger.running, ledger.queued_bytes, ledger.open) == (0, 0, 0, {})


def ledger_job():
    return LedgerJob("10.0.0.1:9461", "a", "noop", JobOptions(), b"[]", 0.0)


# ------------------------------------------------------------------------------------------------------- everything


def test_exactly_one_final_each():
    """Jobs that end in every way there is have one final each, numbered without a gap."""
    play = Play(workers=2, timeout_ms=1000)
    play(
        0.0,
        job("ready"),
        job("timeout"),
        job("cancelled"),
        job("expired", ttl_ms=100),
        job("replaced", replace="k"),
        job("replacing", replace="k"),
    )
    play(0.5, finished(1), Cancel("cancelled"))
    play(3.0, finished(3), finished(4))
    play(5.0, StopAsked("test", at_once=True))
    finals = [effect for effect in play.effects if isinstance(effect, StoreFinal)]
    assert sorted(final.job_id for final in finals) == sorted(["ready", "timeout", "cancelled", "expired", "replaced", "replacing"])
    assert [final.final.seq for final in finals] == list(range(1, 7))


def test_bye_and_acknowledgements():
    """A client that leaves gets nothing more, one that acknowledges gets no final again."""
    play = Play()
    play(0.0, Hello("td", 9461, 0, acknowledges=1), job("a"), job("b"))
    play(0.1, finished(1), Ack(1))
    assert play.until(1.0) == []
    assert play(1.1, Bye(), finished(2)) == []
    assert play.until(20.0) == []
    assert [type(effect.report) for effect in play.effects if isinstance(effect, Send)].count(Ready) == 1
    assert not any(isinstance(effect.report, Failed) for effect in play.effects if isinstance(effect, Send))


def test_a_client_that_was_pushed_out_acknowledges():
    """An acknowledgement counts, although more clients than are kept have been heard since the job was sent."""
    play = Play(clients=1)
    play(0.0, Hello("td", 9461, 0, acknowledges=1), job("a"))
    play(0.1, Ping(1), peer=OTHER)
    play(0.2, finished(1))
    play(0.25, Ack(1))
    assert [line for line in play.until(14.0) if line.startswith("ready")] == []


def test_a_client_is_pushed_out_while_its_final_is_on_its_way():
    """The acknowledgement of a final counts, although its client was pushed out after it had been sent."""
    play = Play(clients=1)
    play(0.0, Hello("td", 9461, 0, acknowledges=1), job("a"))
    assert play(0.1, finished(1)) == ["ready a seq=1 run=100"]
    play(0.11, Ping(1), peer=OTHER)
    play(0.12, Ack(1))
    assert play.until(14.0) == []


def test_a_preset_in_the_other_unicode_form():
    """A Mac may send its name as letters and dots; it is the same preset, also where it is stored."""
    stored, sent_as = (normalize(form, "Blüte") for form in ("NFC", "NFD"))
    play = Play(show=("store",))
    play(0.0, Set(stored, "operation", "noop"))
    assert play(0.1, Set(sent_as, "priority", 0)) == [f"store preset {stored} priority 0"]
    assert "run 1 noop plan" in play(0.2, Trigger(sent_as, 1.0, "j1"))
    assert play(0.3, Unset(sent_as)) == [f"unset preset {stored}"]


def test_received_nothing():
    """An empty bundle is nothing."""
    play = Play()
    assert play(0.0, Received(("10.0.0.1", 5), ())) == []


TUNED = ("min_radius", "max_radius", "min_distance", "nested", "sensitivity", "strictest", "loosest", "found", "others")


def tune(job_id, preset, row=(9.5, 21.0, 0.0, 1.0, 0.45, 0.3, 0.6, 12.0, 9.0), play=None):
    play = play or Play()
    play(0.0, job(job_id, "tune", image="a.png", examples="9 9 9", **({"preset": preset} if preset else {})))
    return play, play(1.0, finished(1, Result("tuned", TUNED, (row,), texts=(("min_radius=9.5",),))))


def test_settings_that_were_found_become_a_preset():
    """One command is enough: they are stored before the final leaves, and a trigger uses them."""
    play, lines = tune("a", "coins", play=Play(show=("store",)))
    assert [line for line in lines if not line.startswith("store final")] == [
        "store preset coins operation find_circles",
        "store preset coins image a.png",
        "store preset coins min_radius 9.5",
        "store preset coins max_radius 21",
        "store preset coins min_distance 0",
        "store preset coins nested 1",
        "store preset coins sensitivity 0.45",
        "result/tuned a 0 1 0 1 9 9.5 21.0 0.0 1.0 0.45 0.3 0.6 12.0 9.0",
        "ready a seq=1 run=1000 items=1 tune",
    ]
    play(2.0, Trigger("coins", 1.0))
    assert play.tasks[-1].params == FindCircles(image="a.png", min_radius=9.5, max_radius=21, sensitivity=0.45)


def test_settings_go_nowhere_without_a_name():
    """Who names no preset gets the row alone."""
    _, lines = tune("a", "")
    assert [line.split()[0] for line in lines] == ["result/tuned", "ready"]


def test_a_preset_keeps_its_own_image():
    """Tuning again changes the settings only; a preset of another operation begins anew."""
    play = Play()
    play(0.0, Set("coins", "operation", "find_circles"), Set("coins", "image", "live.png"), Set("coins", "max_items", 5))
    tune("a", "coins", play=play)
    play(2.0, Trigger("coins", 1.0))
    assert play.tasks[-1].params == FindCircles(image="live.png", max_items=5, min_radius=9.5, max_radius=21, sensitivity=0.45)
    play = Play()
    play(0.0, Set("coins", "operation", "draw_circles"), Set("coins", "output", "live.png"))
    _, lines = tune("b", "coins", play=play)
    assert lines[0] == "unset preset coins"
    play(2.0, Trigger("coins", 1.0))
    assert play.tasks[-1].params == FindCircles(image="a.png", min_radius=9.5, max_radius=21, sensitivity=0.45)


def test_a_preset_that_cannot_be_kept():
    """The job fails with the sentence about the limit, and the presets stay as they were."""
    play = Play(presets=tuple((f"p{n}", "operation", "noop") for n in range(1000)))
    _, lines = tune("a", "coins", play=play)
    assert lines == ["failed a seq=1 413 limit There are 1000 presets already, which is the limit. "]


def test_presets_are_deleted():
    """What was deleted is not listed and is stored as deleted; what is not there is refused with the nearest name."""
    play = Play()
    play(0.0, Set("logo", "operation", "noop"), Set("logo", "priority", 0))
    assert play(0.1, Unset("logo", "priority")) == ["unset preset logo priority"]
    assert play(0.2, Unset("lego"))[0].startswith("error 404 /worker/unset There is no preset 'lego'; did you mean logo?")
    assert play(0.3, Unset("logo")) == ["unset preset logo"]
    (line,) = play(0.4, ListPresets())
    assert line.startswith("preset 0 0")


def test_presets_are_listed():
    """Every value with its place, those of the settings file included; with none there is still an answer."""
    play = Play(presets=(("file", "operation", "noop"),))
    play(0.0, Set("logo", "operation", "draw_circles"), Set("logo", "count", 3))
    assert play(1.0, ListPresets()) == [
        "preset 0 3 file operation noop",
        "preset 1 3 logo operation draw_circles",
        "preset 2 3 logo count 3",
    ]
    assert play(2.0, Trigger("file", 1.0))[0].startswith("accepted")
    (line,) = Play()(0.0, ListPresets())
    assert line.startswith("preset 0 0")


def test_the_settings_file_counts_more_than_an_earlier_run():
    """What the operator wrote replaces what was sent to an earlier run; the rest of that stays."""
    play = Play(presets=(("logo", "count", 5),))
    play.restore(Kept(presets=(StorePreset("logo", "operation", "draw_circles"), StorePreset("logo", "count", 3))))
    assert sorted(line.split(maxsplit=3)[3] for line in play(1.0, ListPresets())) == ["logo count 5", "logo operation draw_circles"]


def test_rows_of_all_parts_together_are_bounded():
    """A job whose parts find more rows than a result may have ends with 413, and its other parts are stopped."""
    play = Play(workers=2, files=FileLimits(rows=3))
    play(0.0, job("a", "find_circles", image="shots/*.png"))
    play(0.1, finished(1, plan(1, 1, 1)))
    two = found((1.0, 2.0), (3.0, 4.0))
    play(0.2, finished(2, two))
    lines = play(0.3, finished(3, two))
    assert any(line.startswith("abort 4") for line in lines)
    (failed,) = [line for line in lines if line.startswith("failed a")]
    assert "413 limit" in failed
    assert "--max-rows" in failed


def test_only_a_death_is_told_as_one():
    """A twin of a quarantined job that was running already, and then fails in its own way, says so."""
    play = Play(workers=3)
    play(0.0, job("a"), job("b"), job("c"))
    play(0.1, died(1), died(2))
    (line,) = [line for line in play(0.2, finished(3, Failure(404, "file", "There is no file x.png."))) if line.startswith("failed c")]
    assert "404 file" in line


def test_no_synced_after_bye():
    """A sync that is open when its client says bye is not answered: nothing more is sent to it."""
    play = Play()
    play(0.0, job("a"))
    play(0.1, Sync(1))
    play(0.2, Bye())
    assert [line for line in play(0.5, finished(1)) if not line.startswith("canary")] == []
    play(0.6, Ping(1))
    assert play(0.7, Sync(1)) == ["synced 1 1 0"]


def test_slots_follow_the_cluster():
    """More tasks run when nodes come, fewer start when they go; a batch is cut for all slots of now."""
    play = Play(workers=1)
    play(0.0, ChildrenChanged(working=True, slots=3, nodes=1))
    lines = play(0.1, *[job(name) for name in "abcd"])
    assert [line for line in lines if line.startswith("run")] == ["run 1 noop plan", "run 2 noop plan", "run 3 noop plan"]
    play(0.2, ChildrenChanged(working=True, slots=1, nodes=1))
    assert not any(line.startswith("run") for line in play(0.3, finished(1)))
    assert not any(line.startswith("run") for line in play(0.4, finished(2)))
    assert "run 4 noop plan" in play(0.5, finished(3))


def test_the_pace_of_an_operation():
    """What the parts of one batch took for each step is said to the planner of the next."""
    play = Play(workers=1)
    play(0.0, circles("a"))
    play(0.0, finished(1, plan(10)))
    play(2.0, finished(2))
    play(2.0, circles("b"))
    tasks = {effect.task.id: effect.task for effect in play.effects if isinstance(effect, Execute)}
    assert [tasks[number].step_s for number in (1, 2, 3)] == [0.0, 0.0, 0.2]
