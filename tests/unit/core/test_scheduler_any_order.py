"""Whatever happens in whatever order: one final for each accepted job, and the rest of what the scheduler promises."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.play import OTHER, START, TD, circles, disk_full, found, job, plan
from worker.config import Config, Limits
from worker.core.events import (
    Abort,
    Execute,
    Exit,
    Finished,
    NotStored,
    Progressed,
    Received,
    Send,
    StopAsked,
    StoreAttempt,
    StoreFinal,
    StoreJob,
    Woke,
)
from worker.core.jobs import Failure, Phase
from worker.core.scheduler import Scheduler
from worker.errors import DecodeError
from worker.protocol.messages import (
    Accepted,
    Ack,
    Bye,
    Cancel,
    Clear,
    Failed,
    File,
    Hello,
    Processing,
    Progress,
    Query,
    Ready,
    Replay,
    ResultRows,
    Sync,
    Synced,
)

WORKERS = 2
PEERS = st.sampled_from([TD, OTHER])
NAMES = st.sampled_from([f"j{n}" for n in range(8)])
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "priority": st.integers(0, 2),
        "ttl_ms": st.just(300),
        "timeout_ms": st.sampled_from([200, 5000]),
        "retries": st.integers(0, 2),
        "replace": st.sampled_from(["k", "l"]),
        "after": NAMES,
    },
)
JOBS = st.builds(lambda make, name, options: make(name, **options), st.sampled_from([job, circles]), NAMES, OPTIONS)


class AnyOrder(RuleBasedStateMachine):
    """Drives a scheduler, and keeps a book of its own about what it has promised."""

    def __init__(self):
        super().__init__()
        config = Config(workers=WORKERS, limits=Limits(queue_jobs=6, remembered_jobs=1000, timeout_ms=10_000, lease_ms=3000))
        self.now = START
        self.scheduler = Scheduler(config, 7, START)
        self.tasks = {}
        self.accepted = Counter()
        self.attempts = Counter()
        self.finals = {}
        self.seqs = {}
        self.exited = False

    # ------------------------------------------------------------------------------------------------- what happens

    def happens(self, event):
        self.keep_books(self.scheduler.handle(event, self.now))

    @rule(peer=PEERS, command=JOBS)
    def submit(self, peer, command):
        """Also a duplicate, or an id used for something else: there are only a few names."""
        self.happens(Received(peer, (command,)))

    @rule(peer=PEERS, commands=st.lists(JOBS | st.builds(lambda: DecodeError("Bad.", address="/worker/job")), min_size=2, max_size=4))
    def submit_bundle(self, peer, commands):
        self.happens(Received(peer, tuple(commands)))

    @rule(peer=PEERS, command=st.one_of(NAMES.map(Cancel), NAMES.map(Query), st.integers(1, 9).map(Sync), st.integers(1, 20).map(Ack)))
    def command(self, peer, command):
        self.happens(Received(peer, (command,)))

    @rule(peer=PEERS, command=st.sampled_from([Clear(), Bye(), Replay(1), Hello("td", 9461, 0, acknowledges=1), Hello("td", 9461, 0)]))
    def other_command(self, peer, command):
        self.happens(Received(peer, (command,)))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), done=st.integers(0, 5))
    def progress(self, data, done):
        self.happens(Progressed(data.draw(st.sampled_from(sorted(self.tasks))), done))

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), how=st.sampled_from(["well", "plan", "file", "disk", "child"]))
    def finish(self, data, how):
        task = self.tasks.pop(data.draw(st.sampled_from(sorted(self.tasks))))
        if how == "disk":
            self.happens(disk_full(task.id))
        elif how in ("file", "child"):
            code = {"file": 404, "child": 502}[how]
            self.happens(Finished(task.id, Failure(code, how, "Failed.")))
        elif how == "plan" and task.phase is Phase.PLAN and task.operation != "noop":
            self.happens(Finished(task.id, plan(2, 1, 2, finish=True)))
        else:
            self.happens(Finished(task.id, found((1.0, 2.0), files=["x.png"])))

    @rule(task_id=st.integers(1, 40))
    def late(self, task_id):
        """A task that was aborted, or never was, is heard of."""
        if task_id not in self.tasks:
            self.happens(Progressed(task_id, 3))
            self.happens(Finished(task_id, found((1.0, 2.0))))

    @rule(peer=PEERS, name=NAMES)
    def not_stored(self, peer, name):
        self.happens(NotStored(f"{peer[0]}:9461", name, "disk full"))

    @rule(seconds=st.sampled_from([0.01, 0.06, 0.11, 0.5, 1.0, 6.0]))
    def time_passes(self, seconds):
        end = self.now + seconds
        rounds = 0
        while (deadline := self.scheduler.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.happens(Woke())
            rounds += 1
            assert rounds < 1000, "it asks to be woken again and again for the same time"
        self.now = end

    @rule(at_once=st.booleans())
    def stop(self, at_once):
        self.happens(StopAsked("test", at_once))

    # ------------------------------------------------------------------------------------------------- what is wanted

    def keep_books(self, effects):
        for effect in effects:
            match effect:
                case StoreJob(client, job_id):
                    assert not self.exited
                    assert self.accepted[client, job_id] == 0
                    self.accepted[client, job_id] += 1
                case StoreAttempt(client, job_id, attempt):
                    self.attempts[client, job_id] += 1
                    assert (client, job_id) not in self.finals
                    assert attempt == self.attempts[client, job_id]
                case StoreFinal(client, job_id, final):
                    assert self.accepted[client, job_id] == 1
                    assert (client, job_id) not in self.finals
                    self.finals[client, job_id] = final
                    self.seqs[client] = self.seqs.get(client, 0) + 1
                    assert final.seq == self.seqs[client]
                case Execute(task) if task.id != self.scheduler._canary:
                    assert not self.exited
                    self.tasks[task.id] = task
                case Abort(task_id):
                    self.tasks.pop(task_id)  # one that runs, and never the same one twice
                case Send(peer, report):
                    self.check_report(f"{peer[0]}:{peer[1]}", report)
                case Exit():
                    self.exited = True
            assert len(self.tasks) <= WORKERS

    def check_report(self, client, report):
        key = client, getattr(report, "id", "")
        match report:
            case Ready() | Failed():
                if report.seq == 0:  # a refusal
                    assert isinstance(report, Failed)
                else:
                    assert report == self.finals[key]
            case Accepted() | Processing() | Progress():
                assert self.accepted[key] == 1
                assert key not in self.finals or (isinstance(report, Accepted) and report.duplicate)
            case File() | ResultRows():
                assert self.accepted[key] == 1
            case Synced(_, ready, failed):
                assert ready + failed <= len(self.finals)

    @invariant()
    def open_jobs_are_open(self):
        """What is accepted and has no final is what the scheduler still has."""
        assert set(self.scheduler._ledger.open) == set(self.accepted) - set(self.finals)

    @invariant()
    def counts(self):
        """The counts that clients are told are true."""
        states = Counter(job.state.value for job in self.scheduler._ledger.open.values())
        board = self.scheduler._board
        assert (board.queued, board.running) == (states["queued"], states["running"])
        assert self.scheduler._queued_bytes == sum(
            len(job.content) for job in self.scheduler._ledger.open.values() if job.state.value == "queued"
        )

    def teardown(self):
        """In the end every accepted job has its final."""
        for _ in range(200):
            for task in list(self.tasks.values()):
                del self.tasks[task.id]
                self.happens(Finished(task.id, found((1.0, 2.0))))
            if not self.scheduler._ledger.open:
                break
            self.time_passes(6.0)
        assert set(self.finals) == set(self.accepted)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
