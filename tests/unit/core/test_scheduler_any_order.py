"""Whatever happens in whatever order: one final for each accepted job, and the rest of what the scheduler promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.play import OTHER, START, TD, circles, disk_full, found, job, plan
from worker.config import Config, Limits
from worker.core.events import (
    Abort,
    Commit,
    Execute,
    Exit,
    Finished,
    NotStored,
    Progressed,
    Received,
    Send,
    StopAsked,
    StoreAttempt,
    StoreClient,
    Stored,
    StoreFinal,
    StoreJob,
    StorePeer,
    StoreTold,
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
#: The number of a task that nobody ever made.
NEVER = 10_000
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
    """Drives a scheduler that checks itself after each event, and keeps a book of its own about what it has promised."""

    journal = False

    def __init__(self):
        super().__init__()
        limits = Limits(queue_jobs=6, remembered_jobs=1000, timeout_ms=10_000, lease_ms=3000)
        config = Config(workers=WORKERS, limits=limits, state=Path("state") if self.journal else None)
        self.now = START
        self.scheduler = Scheduler(config, 7, START, checked=True)
        self.tasks = {}
        self.just_ended = set()
        self.canaries = set()
        self.jobs = set()
        self.attempts = Counter()
        self.finals = {}
        self.seqs = {}
        self.sent_finals = set()
        self.executed = set()
        self.plans = 0
        self.exited = False
        self.left_at_once = False
        self.disk = "well"
        self.unanswered = []  # what is to be stored, with the number of its commit; None before it is asked for
        self.stored = []

    # ------------------------------------------------------------------------------------------------- what happens

    def happens(self, *events):
        """Lets an event happen, or several in one round, and the disk answer."""
        for event in events:
            self.scheduler.take(event, self.now)
        self.carried_out(self.scheduler.end_of_round(self.now))
        while rest := self.scheduler.afterwards(self.now):
            self.carried_out(rest)

    def carried_out(self, effects):
        self.keep_books(effects)
        commits = [effect.number for effect in effects if isinstance(effect, Commit)]
        assert not commits or self.journal
        if commits and self.disk != "slow":
            self.answer(commits[-1], well=self.disk == "well")

    def answer(self, number, *, well):
        settled = [store for commit, store in self.unanswered if commit is not None and commit <= number]
        self.unanswered = [(commit, store) for commit, store in self.unanswered if commit is None or commit > number]
        if well:
            self.stored += settled
            self.happens(Stored(number))
            return
        for store in reversed(settled):
            if isinstance(store, StoreAttempt) and (store.client, store.job_id) not in self.finals:
                self.attempts[store.client, store.job_id] -= 1
        self.happens(NotStored(number, "disk full"))

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

    @rule(peer=PEERS, commands=st.lists(JOBS, min_size=1, max_size=3), name=NAMES, failed=st.booleans())
    def one_round(self, peer, commands, name, failed):
        """Tasks end, jobs come and one is cancelled, all in one round of the loop."""
        ended = [Finished(number, Failure(404, "file", "Failed.") if failed else found((1.0, 2.0))) for number in self.tasks]
        self.just_ended = set(self.tasks)  # an abort of one of these comes too late, and does nothing
        self.tasks.clear()
        self.happens(*ended, *(Received(peer, (command,)) for command in commands), Received(peer, (Cancel(name),)))

    @rule(task_id=st.integers(1, 40) | st.just(NEVER))
    def late(self, task_id):
        """An executor reports a task that has ended or was aborted, or one that never was. It knows none that waits for the journal."""
        if task_id not in self.tasks and (task_id in self.executed or task_id == NEVER):
            self.happens(Progressed(task_id, 3))
            self.happens(Finished(task_id, found((1.0, 2.0))))

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
        self.left_at_once |= at_once
        self.happens(StopAsked("test", at_once))

    # ------------------------------------------------------------------------------------------------- what is wanted

    def is_stored(self, *stores):
        return not self.journal or all(store in self.stored for store in stores)

    def keep_books(self, effects):
        for effect in effects:
            match effect:
                case StoreJob() | StoreAttempt() | StoreFinal() | StoreTold() | StoreClient() | StorePeer() if self.journal:
                    self.unanswered.append((None, effect))
                case Commit(number):
                    self.unanswered = [(number if commit is None else commit, store) for commit, store in self.unanswered]
            match effect:
                case StoreJob(client, job_id) if (client, job_id) not in self.finals:
                    assert not self.exited
                    assert (client, job_id) not in self.jobs
                    self.jobs.add((client, job_id))
                    self.attempts[client, job_id] = 0
                case StoreAttempt(client, job_id, attempt):
                    self.attempts[client, job_id] += 1
                    assert (client, job_id) not in self.finals
                    assert attempt == self.attempts[client, job_id]
                case StoreFinal(client, job_id, final) if (client, job_id) in self.finals:
                    assert final == self.finals[client, job_id]  # it could not be stored the first time
                    assert (client, job_id) not in self.sent_finals
                case StoreFinal(client, job_id, final):
                    assert (client, job_id) in self.jobs
                    self.finals[client, job_id] = final
                    self.seqs[client] = self.seqs.get(client, 0) + 1
                    assert final.seq == self.seqs[client]
                case Execute(task) if self.scheduler.is_canary(task.id):
                    self.canaries.add(task.id)
                case Execute(task):
                    assert not self.exited
                    self.executed.add(task.id)
                    self.tasks[task.id] = task
                    self.plans += task.phase is Phase.PLAN
                    if self.journal:
                        assert self.plans <= sum(isinstance(store, StoreAttempt) for store in self.stored)
                case Abort(task_id) if task_id in self.canaries:
                    self.canaries.remove(task_id)  # no child answers here
                case Abort(task_id) if task_id in self.just_ended:
                    self.just_ended.remove(task_id)
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
            case Failed(_, 0, _, 507):  # not accepted after all
                assert self.journal
                assert key not in self.finals
                self.jobs.remove(key)
            case Failed(_, 0) | Ready(_, 0):
                assert isinstance(report, Failed)
            case Ready() | Failed():
                assert report == self.finals[key]
                assert self.is_stored(StoreFinal(*key, report))
                self.sent_finals.add(key)
            case Accepted() | Processing() | Progress():
                assert key in self.jobs
                assert key not in self.sent_finals or (isinstance(report, Accepted) and report.duplicate)
                assert not self.journal or any(isinstance(store, StoreJob) and store.job_id == key[1] for store in self.stored)
                if isinstance(report, Processing):
                    assert self.is_stored(StoreAttempt(*key, report.attempt))
            case File() | ResultRows():
                assert key in self.jobs
            case Synced(_, ready, failed):
                stored = sum(isinstance(store, StoreFinal) for store in self.stored)
                assert ready + failed <= (stored if self.journal else len(self.finals))  # not every final is sent: clients leave

    @invariant()
    def open_jobs_are_open(self):
        """What was taken and has no final is what the scheduler still has."""
        assert set(self.scheduler.open_jobs()) == self.jobs - set(self.finals)

    def teardown(self):
        """In the end every accepted job has its final, and it was sent."""
        self.disk = "well"
        waiting = [commit for commit, _ in self.unanswered if commit is not None]
        if waiting:
            self.answer(max(waiting), well=True)
        for _ in range(200):
            for task in list(self.tasks.values()):
                del self.tasks[task.id]
                self.happens(Finished(task.id, found((1.0, 2.0))))
            if not self.scheduler.open_jobs():
                break
            self.time_passes(6.0)
        self.time_passes(6.0)
        if self.journal and self.left_at_once:  # the rest goes on after the next start
            return
        assert set(self.finals) == self.jobs
        assert self.exited or not self.unanswered


class AnyOrderWithJournal(AnyOrder):
    """The same, with a disk that may be full or slow."""

    journal = True

    @rule(disk=st.sampled_from(["well", "full", "slow"]))
    def disk_becomes(self, disk):
        self.disk = disk

    @precondition(lambda self: any(commit is not None for commit, _ in self.unanswered))
    @rule(data=st.data(), well=st.booleans())
    def disk_answers(self, data, well):
        numbers = sorted({commit for commit, _ in self.unanswered if commit is not None})
        self.answer(data.draw(st.sampled_from(numbers)), well=well)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrderWithJournal = AnyOrderWithJournal.TestCase
TestAnyOrderWithJournal.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestAnyOrder.pytestmark = [pytest.mark.timeout(900)]  # it asks a busy machine for minutes, and no other test does
