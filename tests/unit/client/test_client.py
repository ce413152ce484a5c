"""The shell around the client's core, with a worker made of plain calls in the place of the socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.client import client as client_module
from worker.client.client import Client, CommandRefused, JobFailed, ResultIncomplete, WorkerSilent
from worker.errors import DecodeError
from worker.protocol.messages import (
    Accepted,
    Ack,
    Bye,
    Command,
    Describe,
    Error,
    Failed,
    GetStatus,
    Hello,
    Job,
    OperationDescription,
    Ping,
    Pong,
    Processing,
    Progress,
    Query,
    Quit,
    Ready,
    Report,
    ResultRows,
    Status,
    Sync,
    Synced,
    Welcome,
)
from worker.protocol.osc import decode_commands, encode

STATUS = Status("Ready", 0, 0, 7)


class ScriptedWorker:
    """Stands in the place of `Endpoint`: answers each command from a table, at once and without a socket."""

    def __init__(self, answers: Callable[[Command], list[Report]]) -> None:
        self.answers = answers
        self.heard: list[Command] = []
        self.closed = False
        self.datagrams = 0

    def __call__(self, address: tuple[str, int], deliver: Callable[[bytes, tuple[str, int]], None]) -> ScriptedWorker:
        self.address, self.deliver = address, deliver
        return self

    def start(self) -> None:
        pass

    def send(self, datagram: bytes, peer: tuple[str, int]) -> None:
        self.datagrams += 1
        for command in decode_commands(datagram):
            assert not isinstance(command, DecodeError)
            self.heard.append(command)
            for report in self.answers(command):
                self.deliver(encode(report), peer)

    def close(self) -> None:
        self.closed = True


def usual(command: Command) -> list[Report]:
    """A worker that does what it is asked."""
    match command:
        case Hello():
            return [Welcome("1", 1, 7, 15_000, 0), STATUS]
        case Ping(nonce=nonce):
            return [Pong(nonce, 7, 1.5)]
        case GetStatus():
            return [STATUS]
        case Sync(n=n):
            return [Synced(n, 1, 0)]
        case Quit():
            return [Status("Draining", 0, 0, 7)]
        case Describe(operation=name) if name != "nothing":
            texts = {"noop": "{}", "convert": "{}", "*": '{"operations": ["noop", "convert"]}'}
            return [OperationDescription(one, text, 0, 1) for one, text in texts.items() if name in ("", one)]
        case Describe():
            return [Error(404, "/worker/describe", "There is no operation 'nothing'.")]
        case Job(id=job_id, operation="find_circles"):
            row = ResultRows("circles", job_id, 0, 1, 0, 1, 6, (447.0, 63.0, 63.0, 0.874023, 0.875977, 0.9))
            return [Accepted(job_id, 0, 0), row, Ready(job_id, 1, 7, 0, 5, 1, "find_circles")]
        case Job(id=job_id, operation="noop"):
            life = [Accepted(job_id, 0, 0), Processing(job_id, 1), Progress(job_id, 1.0, 1, 1, 0, "")]
            return [*life, Ready(job_id, 1, 7, 0, 5, 0, "noop")]
        case Job(id=job_id, operation="convert"):
            return [Accepted(job_id, 0, 0), Failed(job_id, 1, 7, 404, "file", "There is no file.", "Look again.")]
        case Job(id=job_id):
            return [Failed(job_id, 0, 7, 404, "operation", "There is no such operation.", "")]
    return []


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> ScriptedWorker:
    scripted = ScriptedWorker(usual)
    monkeypatch.setattr(client_module, "Endpoint", scripted)
    return scripted


def run(talk: Callable[[Client], Coroutine[Any, Any, Any]], **settings: Any) -> Any:
    """Runs one conversation in a loop of its own."""

    async def main() -> Any:
        async with Client(**settings) as client:
            return await talk(client)

    return asyncio.run(main())


def test_hello_and_bye(worker: ScriptedWorker) -> None:
    """A client introduces itself as one that acknowledges and wants its reports back where it sends from."""

    async def talk(client: Client) -> None:
        assert client.welcome == Welcome("1", 1, 7, 15_000, 0)

    run(talk, name="test", token="secret")
    assert worker.heard == [Hello("test", 0, 0, "", "secret", acknowledges=1, bundles=1), Bye()]
    assert worker.address == ("127.0.0.1", 0)
    assert worker.closed


def test_a_job_is_a_list_of_reports(worker: ScriptedWorker) -> None:
    """Iterating over it gives all of them, the final last; the hook hears the same."""
    heard: list[Report] = []

    async def talk(client: Client) -> None:
        job = await client.submit("noop", id="j")
        assert [type(report) async for report in job] == [Accepted, Processing, Progress, Ready]
        assert job.done
        assert (await job.final()).id == "j"

    run(talk, on_report=heard.append)
    assert [type(report) for report in heard] == [Welcome, Status, Accepted, Processing, Progress, Ready]


def test_a_result_has_named_numbers(worker: ScriptedWorker) -> None:
    """As they were before OSC's 32 bits, under the names of the catalogue."""

    async def talk(client: Client) -> None:
        result = await (await client.submit("find_circles", {"image": Path("a.png"), "max_items": 3, "data": None})).result()
        assert result.items == [{"x": 447.0, "y": 63.0, "radius": 63.0, "u": 0.874023, "v": 0.875977, "score": 0.9}]
        assert result.files == ()

    run(talk)
    assert next(command.pairs for command in worker.heard if isinstance(command, Job)) == (("image", "a.png"), ("max_items", 3))


def test_rows_of_several_images_name_their_image(worker: ScriptedWorker) -> None:
    """The worker adds one column."""

    def answers(command: Command) -> list[Report]:
        if isinstance(command, Job):
            row = ResultRows("circles", command.id, 0, 1, 0, 1, 7, (1.0, 2.0, 3.0, 0.5, 0.5, 1.0, 4.0))
            return [row, Ready(command.id, 1, 7, 0, 5, 1, "find_circles")]
        return usual(command)

    worker.answers = answers

    async def talk(client: Client) -> None:
        result = await (await client.submit("find_circles", {"image": "shots"})).result()
        assert result.items[0]["image"] == 4.0

    run(talk)


def test_a_refused_job_raises_in_submit(worker: ScriptedWorker) -> None:
    """With the worker's code and sentence."""

    async def talk(client: Client) -> None:
        with pytest.raises(JobFailed, match="There is no such operation") as caught:
            await client.submit("find_everything")
        assert (caught.value.code, caught.value.word, caught.value.refused) == (404, "operation", True)

    run(talk)


def test_a_failed_job_raises_in_result(worker: ScriptedWorker) -> None:
    """`final` hands it out as a value."""

    async def talk(client: Client) -> None:
        job = await client.submit("convert")
        assert isinstance(await job.final(), Failed)
        with pytest.raises(JobFailed) as caught:
            await job.result()
        assert (caught.value.code, caught.value.hint, caught.value.refused) == (404, "Look again.", False)

    run(talk)


def test_questions(worker: ScriptedWorker) -> None:
    """Each has its answer."""

    async def talk(client: Client) -> None:
        assert await client.status() == STATUS
        assert (await client.ping()).uptime_s == 1.5
        assert (await client.sync(5)) == Synced(5, 1, 0)
        assert [one.name for one in await client.describe()] == ["noop", "convert"]
        assert [one.name for one in await client.describe("convert")] == ["convert"]
        with pytest.raises(CommandRefused, match="nothing"):
            await client.describe("nothing")
        assert client.last_status == STATUS
        await client.quit()

    run(talk)


def test_describe_in_parts(worker: ScriptedWorker) -> None:
    """Parts are joined in their order; what is missing is asked for again, and an answer that stays incomplete is an error."""
    first, last, common = (
        OperationDescription("noop", '{"name":', 0, 2),
        OperationDescription("noop", '"noop"}', 1, 2),
        OperationDescription("*", '{"operations":["noop"]}', 0, 1),
    )
    answers = [[common], [last], [first]]

    def losing(command: Command) -> list[Report]:
        return (answers.pop(0) if answers else [first]) if isinstance(command, Describe) else usual(command)

    async def talk(client: Client) -> None:
        assert await client.describe() == [OperationDescription("noop", '{"name":"noop"}', 0, 1)]
        with pytest.raises(WorkerSilent, match="not complete"):
            await client.describe("noop")

    worker.answers = losing
    run(talk)


def test_statuses(worker: ScriptedWorker) -> None:
    """The newest status comes out whenever there is one."""

    async def talk(client: Client) -> None:
        statuses = client.statuses()
        waiting = asyncio.ensure_future(anext(statuses))
        await asyncio.sleep(0)
        await client.quit()
        assert (await waiting).word == "Draining"
        await statuses.aclose()

    run(talk)


def test_no_worker(worker: ScriptedWorker) -> None:
    """One sentence says where there is none, and what to do."""
    worker.answers = lambda _: []
    with pytest.raises(WorkerSilent, match=r"No worker answers at 127.0.0.1:9999 \(UDP\); start one with `td-image-worker serve`"):
        run(lambda client: client.ping(), port=9999, connect_s=0.01)
    assert worker.closed


def test_everywhere_is_here(worker: ScriptedWorker) -> None:
    """A server's 0.0.0.0, as it stands in a container's environment, is reached on this machine."""
    run(lambda client: client.ping(), host="0.0.0.0")
    assert worker.address == ("127.0.0.1", 0)


def test_an_unknown_host(worker: ScriptedWorker) -> None:
    """A name that means nothing is a sentence and no traceback."""
    with pytest.raises(WorkerSilent, match="cannot be resolved"):
        run(lambda client: client.ping(), host="no such host")


def test_a_job_larger_than_a_datagram(worker: ScriptedWorker) -> None:
    """It is refused here, because the network would drop it without a word."""

    async def talk(client: Client) -> None:
        with pytest.raises(ValueError, match="a datagram holds 65,507"):
            await client.submit("write_text", {"output": "a.txt", "text": "x" * 70_000})

    run(talk)


def test_a_result_that_cannot_be_told_any_more(worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ready without its rows is no result."""
    monkeypatch.setattr("worker.client.core.FIRST_RESEND_S", 0.0)

    def answers(command: Command) -> list[Report]:
        if isinstance(command, (Job, Query)):
            return [Ready(command.id, 1, 7, 0, 5, 2, "find_circles")]
        return usual(command)

    worker.answers = answers

    async def talk(client: Client) -> None:
        job = await client.submit("find_circles", {"image": "a.png"})
        assert isinstance(await job.final(), Ready)
        with pytest.raises(ResultIncomplete, match=r"more than nothing \(2 items\)"):
            await job.result()

    run(talk)


def test_bytes_that_are_no_report(worker: ScriptedWorker) -> None:
    """A stray datagram does not disturb."""

    async def talk(client: Client) -> None:
        worker.deliver(b"\xff\xfe", ("127.0.0.1", 1))
        assert (await client.ping()).boot == 7

    run(talk)


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        (True, 1),
        (2**40, str(2**40)),
        (Path("a") / "b", str(Path("a") / "b")),
        (1.5, 1.5),
        ((1, 2), "1 2"),
        ([], ""),
        ([[1, 2], [3.5, 4]], "1 2 3.5 4"),
        ({"a": [1]}, '{"a":[1]}'),
        ([[3, "a b"]], '[[3,"a b"]]'),
        (np.array([[1, 2]]), "1 2"),
        (np.float32(0.5), 0.5),
    ],
)
def test_values_that_osc_can_carry(value: Any, carried: Any) -> None:
    """Whole numbers beyond 32 bits and everything unknown travel as text."""
    assert client_module._wire_value(value) == carried


def test_acknowledgements_share_a_datagram(worker):
    """The finals that come together are acknowledged together."""

    async def talk(client: Client) -> int:
        before = worker.datagrams
        jobs = [client.submit_soon("noop") for _ in range(20)]
        for job in jobs:
            await job.final()
        await client.ping()
        return worker.datagrams - before

    assert run(talk) < 20 + 20
    assert [command.seq for command in worker.heard if isinstance(command, Ack)] == [1] * 20
