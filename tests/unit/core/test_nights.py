"""One summary a day, whatever the clock does."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from worker.core.events import JobEnded
from worker.core.nights import MOST_CAUSES, MOST_CLIENTS, Nights

SIX = 6 * 60


def at(text):
    return datetime.fromisoformat(text)


def job(name="j", operation="noop", word="ready", code=200, *, run_ms=10, client="127.0.0.1:9461", called="td"):
    return JobEnded(client, called, name, operation, word, code, 0, run_ms, 1, 1)


def hourly(nights, start, hours):
    """The summaries of so many hours, looked at every ten minutes."""
    begun = at(start)
    times = [begun + timedelta(minutes=10 * step) for step in range(6 * hours + 1)]
    return [(now, lines) for now in times if (lines := nights.tick(now))]


def test_once_a_day_at_the_time():
    """Each says from when to when; nothing in between."""
    nights = Nights(SIX, at("2026-11-28 05:00"))
    found = hourly(nights, "2026-11-28 05:00", 60)
    assert [(str(now), lines[0]) for now, lines in found] == [
        ("2026-11-28 06:00:00", "Night log of 2026-11-28 05:00 to 2026-11-28 06:00."),
        ("2026-11-29 06:00:00", "Night log of 2026-11-28 06:00 to 2026-11-29 06:00."),
        ("2026-11-30 06:00:00", "Night log of 2026-11-29 06:00 to 2026-11-30 06:00."),
    ]


def test_what_is_counted():
    """Jobs, causes with the most frequent first, the slowest, the longest queue, clients; and then from zero again."""
    nights = Nights(SIX, at("2026-11-28 07:00"))
    for number in range(5):
        nights.ended(job(f"j{number}", run_ms=100))
    nights.ended(job("slow", "convert", run_ms=65_000, client="10.0.0.5:9461", called=""))
    for _ in range(2):
        nights.ended(job(word="timeout", code=408))
    nights.ended(job(word="file", code=404))
    for waiting in (3, 35, 0):
        nights.waiting(waiting)
    assert nights.tick(at("2026-11-29 06:00:01")) == [
        "Night log of 2026-11-28 07:00 to 2026-11-29 06:00.",
        "Jobs: 9, of them 6 ready and 3 failed.",
        "Failed: 2 timeout 408, 1 file 404.",
        "Slowest: convert, job 'slow', 65.0 s. All jobs together ran for 1 min.",
        "Most that waited at a time: 35.",
        "Clients: 2.",
    ]
    assert nights.tick(at("2026-11-30 06:00")) == ["Night log of 2026-11-29 06:00 to 2026-11-30 06:00.", "Jobs: none."]


def test_a_restart_in_the_middle_of_the_day():
    """The counts go on, and the restart is one of them; an end that nobody wanted is named."""
    first = Nights(SIX, at("2026-11-28 07:00"))
    first.ended(job("a"))
    kept = json.loads(json.dumps(first.plain()))
    second = Nights(SIX, at("2026-11-28 12:00"), kept, crashed=True)
    second.ended(job("b"))
    lines = second.tick(at("2026-11-29 06:00"))
    assert lines[:2] == ["Night log of 2026-11-28 07:00 to 2026-11-29 06:00.", "Jobs: 2, of them 2 ready and 0 failed."]
    assert lines[-1] == "Starts of the worker: 2, of them 1 after an end that nobody wanted."


def test_a_worker_that_was_off_for_days():
    """What it had counted is summed up when it is back."""
    first = Nights(SIX, at("2026-11-20 07:00"))
    first.ended(job("a"))
    second = Nights(SIX, at("2026-11-28 12:00"), first.plain())
    lines = second.tick(at("2026-11-28 12:00"))
    assert lines[:2] == ["Night log of 2026-11-20 07:00 to 2026-11-28 12:00.", "Jobs: 1, of them 1 ready and 0 failed."]
    assert second.tick(at("2026-11-28 12:01")) == []


@pytest.mark.parametrize("kept", [{}, {"key": 5}, {"key": "never", "began": ""}, {"key": "2026-11-28"}])
def test_counts_that_cannot_be_read(kept):
    """Then the day begins now."""
    nights = Nights(SIX, at("2026-11-28 12:00"), kept)
    assert nights.tick(at("2026-11-29 06:00"))[0] == "Night log of 2026-11-28 12:00 to 2026-11-29 06:00."


def test_the_clock_is_set_for_winter():
    """The hour from two to three comes twice, and so does the time; the summary comes once."""
    nights = Nights(2 * 60 + 30, at("2026-10-24 12:00"))
    twice = ["2026-10-25 02:29", "2026-10-25 02:30", "2026-10-25 02:59", "2026-10-25 02:00", "2026-10-25 02:31", "2026-10-25 03:00"]
    assert [bool(nights.tick(at(now))) for now in twice] == [False, True, False, False, False, False]
    assert nights.tick(at("2026-10-26 02:30"))[0] == "Night log of 2026-10-25 02:30 to 2026-10-26 02:30."


def test_the_clock_is_set_for_summer():
    """The time does not come at all; the summary comes at three."""
    nights = Nights(2 * 60 + 30, at("2026-03-28 12:00"))
    assert [bool(nights.tick(at(now))) for now in ("2026-03-29 01:59", "2026-03-29 03:00", "2026-03-29 03:01")] == [False, True, False]


def test_a_clock_that_stands_still():
    """It makes no summary, however often it is looked at."""
    nights = Nights(SIX, at("2026-11-28 07:00"))
    assert [nights.tick(at("2026-11-28 07:00")) for _ in range(1000)] == [[]] * 1000


def test_a_computer_without_a_battery():
    """It starts in 1970, and then the network tells it the time. One summary for the jump, and then one a day."""
    nights = Nights(SIX, at("1970-01-01 00:00"))
    assert nights.tick(at("2026-11-28 12:00"))[0] == "Night log of 1970-01-01 00:00 to 2026-11-28 12:00."
    assert [str(now.date()) for now, _ in hourly(nights, "2026-11-28 12:00", 48)] == ["2026-11-29", "2026-11-30"]


def test_a_clock_that_was_years_ahead():
    """It does not wait for years."""
    nights = Nights(SIX, at("2036-11-28 12:00"))
    assert nights.tick(at("2026-11-28 12:00"))
    assert len(hourly(nights, "2026-11-28 12:00", 24)) == 1


def test_midnight():
    """The day of the calendar."""
    nights = Nights(0, at("2026-11-28 12:00"))
    assert [str(now) for now, _ in hourly(nights, "2026-11-28 12:00", 24)] == ["2026-11-29 00:00:00"]


def test_it_is_bounded():
    """Neither names nor causes make it grow for ever, and it says so."""
    nights = Nights(SIX, at("2026-11-28 12:00"))
    for number in range(2 * MOST_CLIENTS):
        nights.ended(job(word=f"w{number}", code=500, called=f"c{number}"))
    plain = nights.plain()
    assert (len(plain["clients"]), len(plain["causes"])) == (MOST_CLIENTS, MOST_CAUSES + 1)
    lines = nights.tick(at("2026-11-29 06:00"))
    assert f"Clients: more than {MOST_CLIENTS}." in lines
    assert lines[2].startswith(f"Failed: {2 * MOST_CLIENTS - MOST_CAUSES} others, 1 w0 500")
    assert lines[2].endswith("for other reasons.")


def test_news():
    """What is kept is written only if something has changed."""
    nights = Nights(SIX, at("2026-11-28 12:00"))
    assert nights.has_news
    nights.plain()
    nights.waiting(0)
    assert not nights.has_news
    nights.ended(job())
    assert nights.has_news
