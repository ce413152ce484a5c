"""OSCQuery, jobs over HTTP, health and metrics of a real service: over real sockets, with a double that runs the tasks."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

pytest.importorskip("tornado", reason="the extra page is not installed")

from prometheus_client.parser import text_string_to_metric_families
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

from tests.wire.running import LONG_S, HoldingExecutor, Peer
from tests.wire.web import served, text_of
from worker.core.jobs import Failure, Result
from worker.errors import MissingFile
from worker.protocol import osc
from worker.protocol.messages import Accepted, Cancel, Clear, Error, Failed, Hello, Job, Number, Ping, Pong, Ready, Set, Trigger, Welcome
from worker.web.oscquery_server import MAX_CLIENTS_OF_ONE

PRESETS = (("logo", "operation", "draw_circles"), ("logo", "output", "a{n}.png"), ("logo", "count", 12))


@pytest.fixture(scope="module")
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def executor():
    return HoldingExecutor()


@pytest.fixture(scope="module")
def here(executor, peer):
    with served(executor, peer, presets=PRESETS) as one:
        one.until("/worker/trigger/logo", lambda answer: answer.status == 200)
        yield one


class Client:
    """A client of the WebSocket."""

    def __init__(self, connection):
        self._connection = connection

    async def say(self, command, path):
        await self._connection.write_message(text_of(command, path))

    async def send(self, message):
        await self._connection.write_message(osc.encode(message) if not isinstance(message, bytes) else message, binary=True)

    async def heard(self):
        return await asyncio.wait_for(self._connection.read_message(), LONG_S)

    async def report(self):
        while not isinstance(message := await self.heard(), bytes):
            pass
        return osc.decode_reports(message)[0]

    async def until_report(self, kind):
        while not isinstance(report := await self.report(), kind):
            pass
        return report

    async def until(self, wanted):
        while (message := await self.heard()) is not None:
            found = osc.decode_commands(message)[0] if isinstance(message, bytes) and b"/worker/n/" not in message else message
            if isinstance(message, bytes) and b"/worker/n/" in message:
                found = osc.decode_reports(message)[0]
            if wanted(found):
                return found
        raise AssertionError("the connection has ended")


@contextlib.asynccontextmanager
async def connected(here, path="/", **headers):
    connection = await websocket_connect(HTTPRequest(f"ws://{here.place}{path}", headers=headers))
    try:
        yield Client(connection)
    finally:
        connection.close()
        while await asyncio.wait_for(connection.read_message(), LONG_S) is not None:
            pass


def test_the_tree_and_its_attributes(here):
    """Over HTTP, with the statuses of the proposal."""
    tree = here.ask("/").json
    assert tree["CONTENTS"]["worker"]["CONTENTS"]["set"]["CONTENTS"]["logo"]["CONTENTS"]["count"]["VALUE"] == [12]
    assert here.ask("/worker/set/logo/count?RANGE").json == {"RANGE": [{"MIN": 1, "MAX": 100_000}]}
    assert [here.ask(path).status for path in ("/worker/none", "/worker?NONE", "/worker?VALUE", "/worker?TYPE")] == [404, 400, 204, 200]
    info = here.ask("/?HOST_INFO").json
    assert (info["OSC_PORT"], info["WS_PORT"]) == (here.service.address[1], here.web.address[1])
    assert here.ask("/anything/at/all?HOST_INFO=1").json == info


def test_a_browser_gets_the_page_and_a_program_the_tree(here):
    """At the same address."""
    assert here.ask("/", Accept="text/html,*/*").headers["Content-Type"].startswith("text/html")
    assert here.ask("/", Accept="*/*").headers["Content-Type"].startswith("application/json")


def test_values_are_listened_to_and_set(here, peer, executor):
    """What one client sets, another one hears; what comes over UDP as well. Numbers come by themselves."""

    async def play():
        async with connected(here) as one, connected(here, "/worker") as other:
            await one.say("LISTEN", "/worker/set/logo/count")
            assert await one.until(lambda found: isinstance(found, Set)) == Set("logo", "count", 12)
            await other.send(Set("logo", "count", 13))
            assert await one.until(lambda found: isinstance(found, Set)) == Set("logo", "count", 13)
            peer.send(Set("logo", "count", 12))
            assert await one.until(lambda found: isinstance(found, Set)) == Set("logo", "count", 12)
            await one.say("LISTEN", "/worker/n/running")
            await other.send(Trigger("logo", 1.0))
            assert await one.until(lambda found: found == Number("running", 1.0))
            executor.finish(executor.next_task())
            assert await one.until(lambda found: found == Number("running", 0.0))

    asyncio.run(play())


def test_the_whole_protocol_over_the_websocket(here, executor):
    """With a hello the reports come back: of a job, of a bad packet, of a question. Another connection hears none of it."""

    async def play():
        async with connected(here) as one, connected(here) as other:
            await other.send(Hello("other", 0, 0))
            assert isinstance(await other.report(), Welcome)
            await one.send(Ping(1))  # without a hello nothing comes back
            await one.send(Hello("one", 0, 0))
            assert isinstance(await one.report(), Welcome)
            await one.send(Job("w1", "noop"))
            assert (await one.until_report(Accepted)).id == "w1"
            executor.finish(await asyncio.to_thread(executor.next_task))
            assert (await one.until_report(Ready)).id == "w1"
            await one.send(Ping(7))
            assert (await one.until_report(Pong)).nonce == 7
            await one.send(b"/worker/nothing\0,\0\0\0")
            assert (await one.until_report(Error)).code == 404
            await other.send(Ping(8))
            seen = []
            while not isinstance(seen[-1] if seen else None, Pong):
                seen.append(await other.report())
            assert not [report for report in seen if isinstance(report, Accepted | Ready | Error)]

    asyncio.run(play())


def test_clients_of_the_websocket_touch_no_jobs_of_others(here, executor):
    """Those of the page and of plain HTTP among them: each computer is a client of its own, as over UDP."""
    ids = [here.ask("/jobs", "POST", {"operation": "noop"}).json["id"] for _ in range(3)]
    running = [executor.next_task() for _ in range(2)]

    async def play():
        async with connected(here) as one:
            await one.send(Hello("one", 0, 0))
            for message in (Clear(), Cancel(ids[0]), Cancel(ids[2])):
                await one.send(message)
            assert [(await one.until_report(Failed)).code for _ in range(2)] == [404, 404]

    asyncio.run(play())
    assert [here.ask(f"/jobs/{one}?as=text").text for one in ids] == ["running", "running", "queued"]
    for task in running:
        executor.finish(task)
    executor.finish(executor.next_task())


def test_a_value_that_is_refused_goes_back(here):
    """A fader that was moved too far, or a text where a number belongs: the client gets the value that holds."""

    async def play():
        async with connected(here) as one:
            await one.say("LISTEN", "/worker/set/logo/count")
            assert await one.until(lambda found: isinstance(found, Set)) == Set("logo", "count", 12)
            for packet in (Set("logo", "count", -5), Set("logo", "count", "many"), b"/worker/set/logo/count\0\0,b\0\0\0\0\0\0"):
                await one.send(packet)
                assert await one.until(lambda found: isinstance(found, Set)) == Set("logo", "count", 12)

    asyncio.run(play())


def test_buttons_are_heard_by_others(here, peer, executor):
    """Once for each press, however often a channel is sent; not by the client that has pressed."""

    async def play():
        async with connected(here) as one, connected(here) as other:
            for client in (one, other):
                await client.say("LISTEN", "/worker/trigger/logo")
                assert await client.until(lambda found: isinstance(found, Trigger)) == Trigger("logo", 0.0)
            await other.send(Trigger("logo", 1.0))
            await other.send(Trigger("logo", 0.0))
            assert [await one.heard() for _ in range(2)] == [osc.encode(Trigger("logo", value)) for value in (1.0, 0.0)]
            peer.send(Trigger("logo", 0.7), Trigger("logo", 0.9))
            assert await other.heard() == osc.encode(Trigger("logo", 1.0))
            peer.send(Trigger("logo", 0.2))
            assert await other.heard() == osc.encode(Trigger("logo", 0.0))
            peer.send(Trigger("logo"))  # an impulse
            assert [await other.heard() for _ in range(2)] == [osc.encode(Trigger("logo", value)) for value in (1.0, 0.0)]
            for _ in range(3):
                executor.finish(executor.next_task())

    asyncio.run(play())


def test_a_button_that_is_left_pressed_is_let_go(here, executor):
    """A client that goes while it presses does not keep the next one from pressing."""

    async def play():
        for _ in range(2):
            async with connected(here) as one:
                await one.send(Trigger("logo", 1.0))
                task = await asyncio.to_thread(executor.next_task)
                executor.finish(task)

    asyncio.run(play())


def test_clients_are_bounded(here):
    """One too many is refused before it becomes a WebSocket, and there is room again when others have gone."""

    async def play():
        async with contextlib.AsyncExitStack() as opened:
            for _ in range(MAX_CLIENTS_OF_ONE):
                await opened.enter_async_context(connected(here))
            with pytest.raises(HTTPClientError) as refused:
                await opened.enter_async_context(connected(here))
            assert refused.value.code == 503
        async with connected(here) as one:
            await one.say("LISTEN", "/worker/n/boot")
            assert await one.until(lambda found: isinstance(found, Number))

    asyncio.run(play())


def test_presets_that_come_and_go_are_told(here, peer):
    """To every client, and what has gone is listened to no longer."""

    async def play():
        async with connected(here) as one:
            peer.send(Set("new", "operation", "noop"))
            assert await one.heard() == text_of("PATH_ADDED", "/worker/trigger/new").replace(" ", "")
            peer.send_bytes(osc.encode(Set("new", "operation", "find_circles")))
            assert await one.until(lambda found: found == '{"COMMAND":"PATH_CHANGED","DATA":"/worker/set/new"}')

    asyncio.run(play())
    assert here.ask("/worker/set/new/min_radius?UNIT").json == {"UNIT": ["distance.pixels"]}


@pytest.mark.parametrize(
    "rubbish", [b"", b"\0", b"/", b"#bundle\0" + bytes(8) + b"\xff\xff\xff\xff", b"x" * 60_000, "text", '{"COMMAND":7}']
)
def test_rubbish_over_the_websocket_does_no_harm(here, rubbish):
    """The connection stays, and so does everybody else's."""

    async def play():
        async with connected(here) as one:
            if isinstance(rubbish, str):
                await one._connection.write_message(rubbish)
            else:
                await one.send(rubbish)
            await one.say("LISTEN", "/worker/n/boot")
            assert (await one.until(lambda found: isinstance(found, Number))).name == "boot"

    asyncio.run(play())


def test_a_page_from_elsewhere_may_not_connect(here):
    """A browser names it; nor may one that calls us by a name that is not ours."""

    async def play(**headers):
        async with connected(here, **headers):
            pass

    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        with pytest.raises(HTTPClientError) as refused:
            asyncio.run(play(**headers))
        assert refused.value.code in (403, 421)


def test_a_job_over_http(here, executor):
    """202 and its id; then what has become of it, as JSON, as a word, as a colour."""
    accepted = here.ask("/jobs", "POST", {"operation": "find_circles", "params": {"image": "a.png", "max_items": 3}, "id": "h 1"})
    assert (accepted.status, accepted.json["id"]) == (202, "h 1")
    task = executor.next_task()
    assert (task.params.image, task.params.max_items) == ("a.png", 3)
    assert here.ask("/jobs/h%201?as=text").text == "running"
    executor.finish(task, Result())
    assert here.until("/jobs/h%201", lambda answer: answer.json["state"] == "ready").json["operation"] == "find_circles"
    assert here.ask("/jobs/h%201?as=color").text == "#2e7d32"
    again = here.ask("/jobs", "POST", {"operation": "find_circles", "params": {"image": "a.png", "max_items": 3}, "id": "h 1"})
    assert again.json["state"] == "ready", "the same id with the same content does not run twice"


def test_waiting_for_a_jobs_end(here, executor):
    """The answer says how it ended."""
    failed = []

    async def play():
        asking = asyncio.to_thread(here.ask, "/jobs?wait_s=50&as=text", "POST", {"operation": "noop"})
        ending = asyncio.to_thread(lambda: executor.finish(executor.next_task(), Failure.of(MissingFile("a.png is empty."))))
        failed.append((await asyncio.gather(asking, ending))[0])

    asyncio.run(play())
    assert (failed[0].status, failed[0].text) == (200, "failed: a.png is empty.")
    waited = here.ask("/jobs?wait_s=0.05", "POST", {"operation": "noop"})
    assert waited.status == 202
    executor.finish(executor.next_task())


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"operation": "find_circle"}, 404, "find_circles"),
        ({"operation": "find_circles"}, 400, "needs image"),
        ({"operation": "noop", "params": {"x": 1}}, 400, "no parameter 'x'"),
        ({"operation": "noop", "id": "a\n"}, 400, "printable"),
        ({"operation": "noop", "id": "a" * 300}, 400, "200 bytes"),
        ({"operation": "noop", "params": {"x": {}}}, 400, "does not fit"),
        ({"operations": "noop"}, 400, "does not fit"),
        (b"{", 400, "does not fit"),
        (b"[" * 100_000, 400, "does not fit"),
        ({"operation": ""}, 400, "does not fit"),
    ],
)
def test_bad_jobs_get_a_sentence(here, body, status, words):
    """With the status of the error."""
    answer = here.ask("/jobs", "POST", body)
    assert answer.status == status
    assert words in answer.json["error"]


def test_lists_of_numbers_mean_what_they_mean_over_osc(here, executor):
    """A text with these numbers."""
    params = {"output": "b{n}.png", "centers": [[1, 2], [3.5, 4]], "seed": None}
    assert here.ask("/jobs", "POST", {"operation": "draw_circles", "params": params}).status == 202
    task = executor.next_task()
    assert task.params.centers == "1 2 3.5 4"
    executor.finish(task)


def test_a_preset_as_a_button(here, executor):
    """POST starts it, with or without a body; GET never does."""
    for body in (None, {}, b"anything"):
        answer = here.ask("/trigger/logo", "POST", body)
        assert answer.status == 202
        executor.finish(executor.next_task())
        here.until(f"/jobs/{answer.json['id']}?as=text", lambda answer: answer.text == "ready")
    for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        assert here.ask("/trigger/logo", "POST", b"", **{"Content-Type": kind}).status in (400, 415)
    looked = here.ask("/trigger/logo")
    assert (looked.status, looked.headers["Allow"]) == (405, "POST")
    assert here.ask("/trigger/lgo?as=text", "POST").text == "There is no preset 'lgo'; did you mean logo?"
    assert here.ask("/trigger/lgo?as=color", "POST").status == 404


@pytest.mark.parametrize("query", ["as=xml", "wait_s=x", "wait_s=-1", "wait_s=nan", "wait_s=61"])
def test_bad_words_behind_the_question_mark(here, query):
    """A sentence, and nothing is started."""
    answer = here.ask(f"/trigger/none?{query}", "POST")
    assert answer.status in (400, 404)
    assert answer.json["error"]


def test_unknown_jobs(here):
    """Any id."""
    for path, status in (("/jobs/none", 404), ("/jobs/%FF", 400), ("/jobs/%00", 404), ("/jobs/" + "a" * 2000, 404)):
        assert here.ask(path).status == status


def test_another_page_may_not_send_jobs(here):
    """A form or a script of a page elsewhere, in a browser on this computer."""
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        assert here.ask("/trigger/logo", "POST", **headers).status in (403, 421)
        assert here.ask("/jobs", "POST", {"operation": "noop"}, **headers).status in (403, 421)


def test_health_and_metrics(here, executor, peer):
    """A monitor reads both; a job that has ended is in it."""
    health = here.ask("/health")
    assert (health.status, health.json["well"]) == (200, True)
    assert here.ask("/health?max_age_s=0").status == 503
    assert here.ask("/health?as=text&max_age_s=0").text.startswith("No child process has shown")
    assert here.ask("/status?as=text").text in ("Ready", "Processing")
    peer.send(Job("over UDP", "noop"))
    executor.finish(executor.next_task())
    metrics = here.until("/metrics", lambda answer: 'operation="noop"' in answer.text)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text)}
    assert any(sample.labels.get("operation") == "noop" for sample in families["td_image_worker_jobs"].samples)
    assert families["td_image_worker_packets_received"].samples[0].value > 0


def test_health_fails_if_the_loop_hangs(here, monkeypatch):
    """Its own numbers would stay as they were."""
    from worker.web import remote

    monkeypatch.setattr(remote, "SILENT_S", 0.0)
    assert "has said nothing" in here.ask("/health").json["sentence"]
