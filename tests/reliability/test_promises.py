"""Every accepted job gets exactly one final and runs once, through loss and through kills. The long runs are commands: see the modules."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import psutil
import pytest

from tests.ports import free_port
from tests.reliability import kill, loss, running
from worker.client.client import Client
from worker.protocol.messages import Progress, Ready


@pytest.mark.parametrize("seed", [1, 2])
def test_a_lossy_network(tmp_path, seed):
    """A fifth lost, a fifth doubled, all out of order: each job runs exactly once and has exactly one final."""
    with running.worker(tmp_path, "--state", str(tmp_path / "state")) as port:
        findings = asyncio.run(loss.run(300, seed, tmp_path, port))
    assert findings.network["lost"] > 100
    assert findings.network["doubled"] > 100
    assert (findings.without_final, findings.not_once, findings.with_two_finals) == ([], {}, [])


def test_a_worker_that_is_killed(tmp_path):
    """After kills at random moments each job has exactly one final, and each file is whole."""
    findings = asyncio.run(kill.run(jobs=150, kills=4, seed=3, root=tmp_path))
    assert findings.kills == 4
    assert (findings.without_final, findings.with_two_finals, findings.torn_files, findings.failed) == ([], [], [], {})


def test_no_child_outlives_a_killed_worker(tmp_path):
    """SIGKILL on the worker ends its children, too, even those that work."""
    port = free_port()
    worker = running.start(port, tmp_path, "--no-journal")
    running.wait_until_it_answers(port)

    async def begin() -> None:
        async with Client(port=port) as client:
            await client.submit("draw_circles", {"output": "a{n}.png", "count": 5000})
            job = await client.submit("noop", {"priority": 0})
            assert isinstance(await job.final(), Ready)

    asyncio.run(begin())
    children = psutil.Process(worker.pid).children(recursive=True)
    assert len(children) >= 2
    worker.kill()
    worker.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_an_older_worker_makes_room(tmp_path):
    """`serve --replace` takes over the port, and the older worker's unfinished jobs with it."""
    port = free_port()
    state = ("--state", str(tmp_path / "state"))
    older = running.start(port, tmp_path, *state)
    running.wait_until_it_answers(port)

    async def through_both() -> Ready:
        async with Client(port=port, silence_s=60) as client:
            job = await client.submit("draw_circles", {"output": "a{n}.png", "count": 60_000})
            newer = await asyncio.to_thread(running.start, port, tmp_path, *state, "--replace")
            try:
                await asyncio.to_thread(older.wait, 30)
                await asyncio.to_thread(running.wait_until_it_answers, port)
                small = await client.submit("write_text", {"output": "after.txt", "text": "x", "priority": 0})
                client.cancel(job.id)
                assert (await job.final()).code == 499  # type: ignore[union-attr]
                final = await small.final()
                assert isinstance(final, Ready)
                return final
            finally:
                newer.terminate()
                await asyncio.to_thread(newer.wait, 30)

    asyncio.run(through_both())
    assert older.returncode == 0
    assert (tmp_path / "after.txt").read_text() == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that stops a process")
def test_frozen_time_is_not_running_time(tmp_path):
    """A worker that was stopped for longer than a job's timeout, as by a laptop's lid or `docker pause`, ends the job with Ready."""
    port = free_port()
    worker = running.start(port, tmp_path, "--no-journal", "--workers", "1")
    running.wait_until_it_answers(port)
    work = {"output": "a{n}.png", "count": 300}
    group = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]

    async def through_the_stop() -> tuple[float, Ready]:
        async with Client(port=port, silence_s=600) as client:
            calm = await (await client.submit("draw_circles", work)).final()
            assert isinstance(calm, Ready)
            timeout_s = 3 * calm.run_ms / 1000 + 1
            job = await client.submit("draw_circles", {**work, "timeout_ms": int(timeout_s * 1000)})
            async for report in job:
                if isinstance(report, Progress):
                    break
            for process in group:
                process.suspend()
            await asyncio.sleep(timeout_s + 1)
            assert not job.done
            for process in group:
                process.resume()
            final = await job.final()
            assert isinstance(final, Ready), final
            return timeout_s, final

    try:
        timeout_s, final = asyncio.run(through_the_stop())
    finally:
        for process in group:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        worker.terminate()
        worker.wait(20)
    assert final.run_ms < timeout_s * 1000
