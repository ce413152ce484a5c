"""Live jobs in the scheduler: beside the slots, until they are cancelled, and with reports that nobody waits for."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.play import TD, Play, finished, job
from worker.catalog.table import CATALOG
from worker.config import LiveSettings
from worker.core.events import Kept, KeptJob, Seen, SendBytes, SessionEnded, SourceChanged, StopAsked, StoreAttempt
from worker.core.following import LIVED_S, MOST_DEATHS, SILENT_S
from worker.core.jobs import Failure, Result
from worker.core.tracks import first_id
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import Bye, Cancel, Hello, Ping, Query, Sync, Tracked, TrackNumber
from worker.protocol.osc import encode

FIELDS = CATALOG["track"].fields
DEATH = Failure(502, "child", "The process died.")


def track(job_id: str, **pairs: object):
    return job(job_id, "track", **{"source": "a.mp4", **pairs})


def row(slot: int, identity: int, x: float = 10.0) -> tuple[float, ...]:
    values = {"row": slot, "id": identity, "active": 1, "x": x, "y": 20, "radius": 5, "u": 0.25, "v": 0.75}
    return tuple(float(values.get(name, 0)) for name in FIELDS)


def seen(session: int = 1, *rows: tuple[float, ...], frame: int = 1, next_id: int = 2) -> Seen:
    return Seen(session, frame, 12.5, 0.5, 30.0, next_id, (640, 480), rows, len(rows))


def firsts(lines: list[str]) -> list[str]:
    return [" ".join(line.split()[:2]) for line in lines]


def words(lines: list[str]) -> list[str]:
    """Without the numbers."""
    return [line for line in lines if "n/track/" not in line]


# ------------------------------------------------------------------------------------------------------------------- life


def test_life():
    """It is accepted, runs, reports what it sees, and ends when it is cancelled."""
    play = Play()
    assert play(0.0, track("a", name="cam")) == ["accepted a 0 0", "processing a 1", "follow 1 from 1"]
    assert play(1.0, SourceChanged(1, "Live", "a.mp4")) == ["source a cam Live a.mp4"]
    (line, *numbers) = play(1.1, seen(1, row(0, 1)))
    assert line.startswith("tracked/cam a 1 12.5 0 1 0 1 15 0.0 1.0 1.0 10.0 20.0")
    assert "10.0.0.1:9462 n/track/cam/count 1.0" in numbers
    assert firsts(play(2.0, Cancel("a"))) == ["unfollow 1", "failed a"]
    assert not [line for line in play(2.1, seen(1, row(0, 1))) if "track" in line]  # it comes too late


def test_a_source_that_ends():
    """The job is ready with what was to be seen last."""
    play = Play()
    play(0.0, track("a"))
    lines = play(1.0, SourceChanged(1, "Ended", "a.mp4 has come to its end."), SessionEnded(1, Result("tracks", FIELDS, (row(0, 1),))))
    assert firsts(lines) == ["source a", "result/tracks a", "ready a"]


def test_beside_the_slots():
    """Live jobs take no slot: as many others run as ever, and there is no timeout."""
    play = Play(workers=1, timeout_ms=1000)
    play(0.0, track("a"), track("b"))
    assert play(0.1, job("c"))[-1] == "run 1 noop plan"
    assert "failed c" in firsts(play.until(5.0))
    assert {key[1]: str(state) for key, state in play.scheduler.open_jobs().items()} == {"a": "running", "b": "running"}


def test_limit():
    """One more than --live is refused, until another one ends. The same name again takes the place of the older one."""
    play = Play(live=LiveSettings(sessions=2))
    play(0.0, track("a", name="cam"), track("b"))
    assert play(0.1, track("c"))[0].startswith("failed c seq=0 429 queue 2 live jobs run, which is the limit (--live).")
    lines = play(0.2, track("d", name="cam"))
    assert firsts(lines) == ["accepted d", "processing d", "unfollow 1", "failed a", "follow 3"]
    play(0.3, Cancel("b"))
    assert "accepted e" in firsts(play(0.4, track("e")))


def test_refused():
    """A stream of a host that is not allowed, a source that is none, a parameter that nobody has, a target of TUIO elsewhere."""
    play = Play(live=LiveSettings(hosts=("10.0.0.0/24",)))
    for pairs, start in (
        ({"source": "rtsp://192.168.0.1/a"}, "403 path Streams of 192.168.0.1 may not be opened."),
        ({"source": "file:///etc/passwd"}, "400 arguments source: a stream begins with rtsp://"),
        ({"source": "camera:x"}, "400 arguments source: a camera has a number"),
        ({"min_radios": 3}, "400 arguments track what=circles has no parameter 'min_radios'; did you mean min_radius?"),
        ({"what": "template"}, "400 arguments find_object needs reference"),
        ({"data": "a.csv"}, "400 arguments track what=circles has no parameter 'data'"),
        ({"tuio": "10.0.0.9:3333"}, "403 path TUIO may not go to '10.0.0.9'"),
        ({"tuio": "somewhere"}, "400 arguments tuio must be HOST:PORT"),
    ):
        (line,) = play(0.0, track("x", **pairs))
        assert line.startswith(f"failed x seq=0 {start}"), line
    assert "accepted y" in firsts(play(0.1, track("y", source="rtsp://10.0.0.7/a", tuio="10.0.0.1:3333")))


def test_passwords_are_not_shown():
    """What is said of a stream is said without name and password."""
    play = Play(live=LiveSettings(hosts=("10.0.0.7",)))
    (line,) = play(0.0, track("x", source="rtsp://me:secret@10.0.0.8/a"))
    assert "secret" not in line


# ------------------------------------------------------------------------------------------------------------------ deaths


def test_started_again():
    """A process that dies is started again, later each time, and ids go on. After five deaths in a row the job ends."""
    play = Play()
    play(0.0, track("a"))
    play(0.5, seen(1, row(0, 7), next_id=8))
    assert words(play(1.0, SessionEnded(1, DEATH))) == ["source a 1 Lost The process died. It is started again in 0.5 s."]
    assert play.until(1.4) == []
    assert play.until(1.6) == ["follow 2 from 8"]
    now = 1.6
    for death in range(2, MOST_DEATHS):
        assert play(now + 0.1, SessionEnded(death, DEATH))[0].startswith("source a 1 Lost")
        now += 20
        assert play.until(now) == [f"follow {death + 1} from 8"]
    assert play(now + 0.1, SessionEnded(MOST_DEATHS, DEATH))[0].startswith("failed a seq=1 502 child The process died. It was the death")


def test_a_death_after_a_long_life_is_the_first():
    """Deaths count only if they come soon."""
    play = Play()
    play(0.0, track("a"))
    now = 0.0
    for number in range(1, 3 * MOST_DEATHS):
        now += LIVED_S + 1
        assert words(play(now, SessionEnded(number, DEATH)))[-1] == "source a 1 Lost The process died. It is started again in 0.5 s."
        now += 1
        assert f"follow {number + 1} from 1" in play.until(now)


def test_a_process_that_hangs():
    """One that says nothing is ended and started again. One that says something now and then is not, and neither is one that waits."""
    play = Play()
    play(0.0, track("a"))
    for now in range(60, 600, 60):
        assert not [line for line in play(now, seen(1, row(0, 1))) if line.startswith(("unfollow", "source"))]
    assert not [line for line in play.until(540 + SILENT_S) if line.startswith("unfollow")]
    lines = words(play.until(540 + SILENT_S + 30))
    assert lines[0] == "unfollow 1"
    assert "said nothing for 130 s, so it was ended. It is started again in 0.5 s." in lines[1]
    assert lines[2:] == ["follow 2 from 2"]
    play(700, SourceChanged(2, "Live", "a.mp4"))
    play(701, Cancel("a"))
    assert not [line for line in play.until(2000) if "follow" in line]


def test_other_failures_end_it():
    """What will not pass is said at once."""
    play = Play()
    play(0.0, track("a"))
    assert play(0.5, SessionEnded(1, Failure(404, "file", "There is no file a.mp4.")))[0].startswith("failed a seq=1 404 file")


def test_cancelled_while_it_waits_for_its_restart():
    """The timer goes with the job."""
    play = Play()
    play(0.0, track("a"))
    play(0.5, SessionEnded(1, DEATH))
    play(0.6, Cancel("a"))
    assert not [line for line in play.until(10.0) if line.startswith("follow")]


# ------------------------------------------------------------------------------------------------------- stops and restarts


def test_a_worker_that_ends_does_not_wait():
    """Without a journal the job ends with a sentence; with one it is left for the next start. Other jobs are waited for."""
    play = Play()
    play(0.0, track("a"), job("b"))
    lines = play(1.0, StopAsked("Ctrl-C"))
    assert any(line.startswith("failed a seq=1 503 draining The worker was stopped") for line in lines)
    assert play(2.0, finished(1))[-1] == "exit Ctrl-C"
    kept = Play(state=Path("state"))
    kept(0.0, track("a"))
    lines = kept(1.0, StopAsked("Ctrl-C"))
    assert firsts(lines) == ["unfollow 1", "exit Ctrl-C"]


def test_after_a_restart():
    """It is started again, however often the worker has ended while it ran, and beside jobs that have to run alone."""
    params, options = CATALOG.parse_job("track", [("source", "a.mp4"), ("min_radius", 10)])
    content = msgspec.json.encode(["track", params, options])
    noop = msgspec.json.encode(["noop", *CATALOG.parse_job("noop", [])])
    play = Play(state=Path("state"))
    client = "10.0.0.1:9461"
    play.restore(Kept((KeptJob(client, "a", content, attempt=1, crashes=9), KeptJob(client, "b", noop, attempt=1, crashes=1))))
    play(0.0, Ping(1))
    wanted = [play._line(effect) for effect in play.effects]
    assert "follow 1 from 10001" in wanted
    assert "run 1 noop plan" in wanted


def test_ids_are_never_used_again():
    """A start has ten thousand ids. Before they are used up the number of a further start is stored, so the next one begins behind them."""
    params, options = CATALOG.parse_job("track", [("source", "a.mp4")])
    content = msgspec.json.encode(["track", params, options])
    play = Play(state=Path("state"))
    play(0.0, track("a"))
    play(0.5, seen(1, row(0, 7), next_id=8_999))
    for next_id in (9_001, 9_002, 10_000, 12_000, 19_001, 25_000):
        play(1.0, seen(1, row(0, 7), next_id=next_id))
        stored = [effect.attempt for effect in play.effects if isinstance(effect, StoreAttempt)]
        again = Play(state=Path("state"))
        again.restore(Kept((KeptJob("10.0.0.1:9461", "a", content, attempt=stored[-1]),)))
        again(0.0, Ping(1))
        (wanted,) = [line for line in map(again._line, again.effects) if line.startswith("follow")]
        assert int(wanted.split()[-1]) > next_id
    assert stored == [1, 2, 3]
    assert first_id(3 * 1_677 + 1) == 1


def test_not_stored():
    """A live job that cannot be stored is refused, and no process of it is started."""
    play = Play(state=Path("state"), disk="full")
    assert firsts(play(0.0, track("a"))) == ["failed a"]
    assert not any(play._line(effect).startswith("follow") for effect in play.effects)


def test_sync_does_not_wait():
    """A sync waits for jobs that end by themselves."""
    play = Play()
    play(0.0, track("a"), job("b"))
    assert play(0.1, Sync(5)) == []
    assert "synced 5 1 0" in play(0.2, finished(1))


# ----------------------------------------------------------------------------------------------------------------- reports


def test_nobody_who_has_left_is_sent_anything():
    """Neither after bye nor after the end of a lease; and again when the client is back. Fixed targets get everything."""
    play = Play(report=(("10.0.0.9", 9000),))
    play(0.0, Hello("td", 9461, 0), track("a"))
    assert len(play(0.1, seen(1, row(0, 1)))) == 2
    play(0.2, Bye())
    assert all(line.startswith("10.0.0.9:9000") for line in play(0.3, seen(1, row(0, 1))))
    play(0.4, Hello("td", 9461, 0))
    assert len(play(0.5, seen(1, row(0, 1)))) == 2
    play.until(60.0)
    assert all(line.startswith("10.0.0.9:9000") for line in play(60.1, seen(1, row(0, 1))))


def test_many_rows_are_cut():
    """Each report fits into a datagram, and the chunks have all rows in order."""
    play = Play()
    play(0.0, track("a" * 150, name="n" * 32))
    before = len(play.effects)
    rows = [row(n, n + 1, x=n) for n in range(100)]
    play(0.1, seen(1, *rows))
    reports = [effect.report for effect in play.effects[before:] if isinstance(getattr(effect, "report", None), Tracked)]
    assert all(len(encode(report)) <= MAX_DATAGRAM_OUT for report in reports)
    numbers = [number for report in reports for number in report.numbers]
    assert numbers == [number for one in rows for number in one]
    assert [report.chunk for report in reports] == list(range(reports[0].chunks))


@pytest.mark.parametrize(("slots", "channels"), [(0, 8), (3, 3), (256, 32)])
def test_channels_never_change_their_number(slots, channels):
    """Each picture has the same channels, with 0 where there is no object."""
    play = Play()
    play(0.0, Hello("td", 9461, 9462), track("a", name="cam", slots=slots))
    names = []
    for at, rows in enumerate(([], [row(0, 1)], [row(2, 5)])):
        before = len(play.effects)
        play(1.0 + at, seen(1, *rows))
        sent = [effect.report for effect in play.effects[before:] if isinstance(getattr(effect, "report", None), TrackNumber)]
        names.append([one.channel for one in sent])
        values = {one.channel: one.value for one in sent}
        assert values["x2"] == (10.0 if at == 2 else 0.0)
    assert names[0] == names[1] == names[2]
    assert len([name for name in names[0] if name.startswith("radius") or (name.startswith("r") and name[1:].isdigit())]) == channels


def test_query_tells_of_the_source():
    """The newest word about the source is the answer."""
    play = Play()
    play(0.0, track("a", name="cam"))
    play(0.1, SourceChanged(1, "Lost", "No camera."))
    assert play(0.2, Query("a")) == ["source a cam Lost No camera."]


def test_tuio():
    """It begins and ends with nothing there, has each picture, and says once a second that it is alive."""
    play = Play()
    play(0.0, track("a", tuio="10.0.0.1:3333"))

    def datagrams():
        return [effect.datagram for effect in play.effects if isinstance(effect, SendBytes)]

    assert len(datagrams()) == 1
    play(0.5, seen(1, row(0, 1)))
    assert len(datagrams()) == 2
    assert b"set" in datagrams()[-1]
    play.until(3.6)
    assert 4 <= len(datagrams()) <= 5
    assert b"set" not in datagrams()[-1]
    play(3.7, Cancel("a"))
    assert datagrams()[-1] == datagrams()[0]
    count = len(datagrams())
    play.until(10.0)
    assert len(datagrams()) == count
    assert {effect.peer for effect in play.effects if isinstance(effect, SendBytes)} == {("10.0.0.1", 3333)}


def test_nothing_of_a_lost_source_stays():
    """TUIO has nothing alive then, and the channels are 0, until it is back."""
    play = Play()
    play(0.0, Hello("td", 9461, 9462), track("a", name="cam", tuio="10.0.0.1:3333"))
    play(0.5, seen(1, row(0, 7)))
    before = len(play.effects)
    play(1.0, SourceChanged(1, "Lost", "No camera."))
    (lost,) = [effect.datagram for effect in play.effects[before:] if isinstance(effect, SendBytes)]
    assert lost.count(b"alive\0\0\0") == 1
    assert (7).to_bytes(4, "big") not in lost
    values = {
        one.report.channel: one.report.value for one in play.effects[before:] if isinstance(getattr(one, "report", None), TrackNumber)
    }
    assert values["count"] == values["x0"] == values["active0"] == 0


def test_two_clients():
    """What one follows is not sent to the other."""
    play = Play()
    play(0.0, Ping(1), peer=("10.0.0.2", 50_001))
    play(0.0, track("a"), peer=TD)
    assert not [line for line in play(0.1, seen(1, row(0, 1))) if line.startswith("10.0.0.2")]
