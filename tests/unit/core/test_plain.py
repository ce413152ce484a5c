"""Events and effects as plain values: whatever happens can be written down, and is the same when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.circles import FindCircles
from worker.catalog.own import OwnOperation, OwnParameter, row_of, with_own
from worker.catalog.rows import OwnFile
from worker.catalog.table import CATALOG
from worker.core.events import (
    CancelAsked,
    CatalogChanged,
    ChildrenChanged,
    Event,
    Execute,
    Finished,
    Kept,
    KeptJob,
    NotStored,
    Progressed,
    Received,
    Seen,
    Send,
    SendNumbers,
    SessionEnded,
    SourceChanged,
    StopAsked,
    StoreClient,
    Stored,
    StoreFinal,
    StorePeer,
    StorePreset,
    StoringChanged,
    Throttled,
    WatchAsked,
    Woke,
)
from worker.core.jobs import Description, Failure, Part, Phase, Plan, Result, Skipped, Task
from worker.core.plain import NotPlain, effect_as_plain, event_as_plain, event_of, kept_as_plain, kept_of, peer_as_text, peer_of
from worker.files.whole import WrittenFile
from worker.protocol.messages import Accepted, Failed, Number, Ready

RESULT = Result(
    "circles", ("x",), ((1, 2.5), (0.1, 3)), (WrittenFile("a\udce4.png", 3),), ("s",), 1, (("ä",),), (Skipped("p", Failure(1, "w", "m")),)
)
OWN = OwnOperation(
    "glow", "Glows.", "", (), (), "file", 1, False, (OwnParameter("n", "int", False, 3, "how", 1, 9, None, None, (), "px", "", ""),)
)  # fmt: skip
OWN_FILE = OwnFile("/show/my_ops.py", "abc", b"text")
PEER = ("fe80::1%eth0", 50_000)

EVENTS = [
    Throttled(PEER, 12),
    Progressed(3, 7),
    Finished(1, RESULT),
    Finished(2, Plan((Part(0, 0, 5, ("a", "b")),), finish=True, base=RESULT)),
    Finished(3, Failure(404, "file", "There is no file.", "Look.", transient=True)),
    Finished(4, Description((OWN,))),
    Woke(),
    StopAsked("SIGTERM", at_once=True),
    Stored(5),
    NotStored(6, "no space"),
    ChildrenChanged(working=True, missing={"find_features": "no AKAZE"}, slots=3, nodes=2, gone=("render-2-4711",)),
    ChildrenChanged(working=False),
    StoringChanged("disk full"),
    CancelAsked((("127.0.0.1:9461", "j1"),), waiting_only=True),
    CancelAsked(),
    WatchAsked(),
    Seen(1, 2, 3.5, 0.5, 25.0, 7, (640, 480), ((1.0, 2.0), (3.0, 4.5)), 2),
    SourceChanged(1, "Lost", "The camera has gone."),
    SessionEnded(1, RESULT),
    SessionEnded(2, Failure(404, "file", "There is no file.")),
]


def written(plain):
    return json.loads(json.dumps(plain))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_come_back(event):
    """What was written is read as the same event."""
    assert event_of(written({"t": 1.5, **event_as_plain(event)}), CATALOG) == event


#: A packet is kept as bytes; a catalogue, and outcomes, have tests of their own.
BY_THEMSELVES = {Received, CatalogChanged, Finished, SessionEnded}


def any_of(hint):
    """Any value of a field with this type."""
    inner = get_args(hint)
    if get_origin(hint) is tuple:
        return st.lists(any_of(inner[0]), max_size=3).map(tuple) if inner[-1] is Ellipsis else st.tuples(*map(any_of, inner))
    if get_origin(hint) is Mapping:
        return st.dictionaries(*map(any_of, inner), max_size=3)
    if inner:
        return st.one_of(*map(any_of, inner))
    simple = {int: st.integers(-(2**53), 2**53), float: st.floats(allow_nan=False), str: st.text(max_size=9), bool: st.booleans()}
    return {**simple, type(None): st.none()}[hint]


@pytest.mark.parametrize("kind", sorted(set(get_args(Event)) - BY_THEMSELVES, key=lambda kind: kind.__name__))
@given(st.data())
@settings(max_examples=20, deadline=None)
def test_any_event_comes_back(kind, data):
    """Every kind that there is, with any values: one that cannot be written down must say here how it is."""
    event = data.draw(st.builds(kind, **{name: any_of(hint) for name, hint in get_type_hints(kind).items()}))
    assert event_of(written(event_as_plain(event)), CATALOG) == event


def test_numbers_that_json_has_no_word_for():
    """NaN and Infinity are what they were."""
    odd = Finished(1, Result("circles", ("x",), ((math.nan, math.inf),)))
    ((nan, inf),) = event_of(written(event_as_plain(odd)), CATALOG).outcome.rows
    assert (math.isnan(nan), inf) == (True, math.inf)


def test_operations_of_an_artist():
    """They come back with their parameters; the text of their file is not needed and not kept."""
    event = CatalogChanged(with_own(CATALOG, OWN_FILE, (row_of(OWN, OWN_FILE),)), "my_ops.py has glow.")
    plain = written(event_as_plain(event))
    assert "text" not in json.dumps(plain).replace("texts", "")
    back = event_of(plain, CATALOG)
    assert back.message == event.message
    params, _ = back.catalog.parse_job("glow", [("n", 4)])
    assert (params.n, params.repeatable()) == (4, False)


@pytest.mark.parametrize(
    "plain",
    [{"event": "Unheard"}, {}, {"event": "Stored"}, {"event": "Stored", "number": "x"}, {"event": "Finished", "task_id": 1, "kind": "X"}],
)
def test_what_is_no_event(plain):
    """One error, with a sentence."""
    with pytest.raises(NotPlain, match="is no event of this version"):
        event_of(plain, CATALOG)


def test_effects():
    """Reports are their address and arguments; what follows from earlier events is counted only."""
    assert effect_as_plain(Send(("127.0.0.1", 9461), Accepted("j1", 0, 1), bundled=True)) == [
        "Send", "127.0.0.1:9461", True, "/worker/accepted", "j1", 0, 1
    ]  # fmt: skip
    assert effect_as_plain(SendNumbers(("127.0.0.1", 9462), (Number("queued", 4.0),))) == ["SendNumbers", "127.0.0.1:9462", {"queued": 4.0}]
    name, task = effect_as_plain(Execute(Task(1, "find_circles", FindCircles(image="a"), Phase.FINISH, joined=RESULT, own=OWN_FILE)))
    assert (name, task["params"]["image"], task["phase"]) == ("Execute", "a", "finish")
    assert (task["joined"], task["own"]) == ({"rows": 2, "files": 1, "skipped": 1}, ["/show/my_ops.py", "abc"])
    assert effect_as_plain(StoreFinal("c", "j", Ready("j", 1, 2, 3, 4, 5, "noop")))[:3] == ["StoreFinal", "c", "j"]


def test_what_an_earlier_run_left():
    """All of it, jobs with a final and without."""
    kept = Kept(
        (
            KeptJob("c", "j1", b"\x00\xff", 2, Ready("j1", 1, 1, 1, 1, 1, "noop", 2, 3), told=False),
            KeptJob("c", "j2", b"{}", 1, Failed("j2", 2, 1, 404, "file", "no", "")),
            KeptJob("c", "j3", b"{}", crashes=1, age_s=1.5),
        ),
        (("c", 2),),
        (StorePreset("logo", "count", 12), StorePreset("logo", "x", 1.5), StorePreset("logo", "on", True)),
        (StoreClient("c", 9462, "td", True, True, True),),
        (StorePeer(("127.0.0.1", 1), "c"),),
    )
    assert kept_of(written(kept_as_plain(kept))) == kept
    with pytest.raises(NotPlain):
        kept_of({"jobs": []})


def test_peers():
    """IPv6 addresses and zones, too."""
    assert peer_of(peer_as_text(PEER)) == PEER
