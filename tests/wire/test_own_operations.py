"""Operations of an artist's own over real UDP, in real children: used, changed, broken, and hostile."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import time

import numpy as np
import pytest

from tests.own import FADE, save
from tests.wire.running import LONG_S, Peer, running
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules
from worker.pictures.images import read_image, write_image
from worker.protocol.messages import CatalogChanged, Describe, Failed, File, Hello, Job, OperationDescription, Ready
from worker.service import own
from worker.tasks.prepare import make_run_task

PICTURE = (("image", "a.png"), ("output", "b.png"))


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def path(tmp_path):
    """Where the file with operations stands, beside the folder that jobs use."""
    (tmp_path / "show").mkdir()
    write_image(tmp_path / "show" / "a.png", np.full((4, 4), 200, np.uint8))
    return tmp_path.resolve() / "my_ops.py"


@contextlib.contextmanager
def serving(peer, *paths, **settings):
    """A worker with its children in their sandbox. What it said of the files first, in the order of the reports."""
    rules = FileRules((paths[0].parent / "show",)).pinned()
    make = functools.partial(make_run_task, rules, own=(paths[0].parent,))
    with running(PoolExecutor(1, make), peer, operations=tuple(map(str, paths)), **settings):
        peer.send(Hello("test", peer.text_port, 0, "", "", 0))
        yield


def changed(peer, text):
    """Waits for a report on the files that has these words."""
    return peer.until(lambda report: isinstance(report, CatalogChanged) and text in report.message)


def final(peer, job_id):
    return peer.until(lambda report: isinstance(report, Ready | Failed) and report.id == job_id)


def test_it_works_and_is_described(peer, path):
    """A job runs, in the sandbox; describe has the operation with all its parameters, and the name of its file."""
    path.write_text(FADE)
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("j", "fade", (*PICTURE, ("amount", 0.5))))
        peer.until(File)
        assert isinstance(final(peer, "j"), Ready)
        peer.send(Describe("fade"))
        described = json.loads(peer.until(OperationDescription).description)
        assert described["own"] == "my_ops.py"
        assert list(described["parameters"]) == ["image", "output", "amount", "mode"]
        peer.send(Job("k", "fade", (*PICTURE, ("amount", 7))))
        refused = final(peer, "k")
        assert (refused.seq, refused.code, refused.message) == (0, 400, "fade: amount must be a number from 0 to 1; got 7.")
    assert read_image(path.parent / "show" / "b.png").mean() == 100


def test_sweep(peer, path):
    """`sweep` tries an operation of one's own, in its newest version, and says of a value that is wrong what the operation says."""
    path.write_text(FADE)
    sweep = (("image", "a.png"), ("target", "fade"), ("param", "amount"), ("output", "sheet.png"))
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("s", "sweep", (*sweep, ("values", "0 0.25 1"))))
        ready = final(peer, "s")
        assert isinstance(ready, Ready), ready
        assert ready.items == 3
        peer.send(Job("t", "sweep", (*sweep, ("values", "0 7"))))
        refused = final(peer, "t")
        assert (refused.code, refused.message) == (400, "fade: amount must be a number from 0 to 1; got 7.")
    assert (path.parent / "show" / "sheet.png").exists()


def test_a_changed_file_is_used_at_once(peer, path):
    """Function and parameters; what has gone ends with 404, in words of its own."""
    path.write_text(FADE)
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("a", "fade", PICTURE))
        assert isinstance(final(peer, "a"), Ready)
        save(path, FADE.replace("amount", "darkness").replace("= 0.5", "= 0.75"))
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("b", "fade", (*PICTURE, ("darkness", 0.9))))
        assert isinstance(final(peer, "b"), Ready)
        assert read_image(path.parent / "show" / "b.png").mean() == pytest.approx(20, abs=1)
        save(path, FADE.replace('"fade"', '"dim"'))
        changed(peer, "my_ops.py has dim, and no longer fade.")
        peer.send(Job("c", "fade", PICTURE))
        gone = final(peer, "c")
        assert (gone.code, gone.message) == (404, "my_ops.py has no operation 'fade' any more.")


def test_a_mistake_keeps_the_version_before(peer, path):
    """Also for a child that starts later; then the corrected file is used."""
    path.write_text(FADE)
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        save(path, FADE + "\nthis is no Python\n")
        line = len(FADE.splitlines()) + 2
        changed(peer, f"my_ops.py, line {line}: SyntaxError: invalid syntax. The version before it stays in use: fade.")
        peer.send(Job("a", "fade", PICTURE))
        assert isinstance(final(peer, "a"), Ready)
        path.unlink()
        changed(peer, "my_ops.py cannot be read: No such file or directory. The version before it stays in use: fade.")
        peer.send(Job("b", "fade", PICTURE))
        assert isinstance(final(peer, "b"), Ready)
        save(path, FADE.replace("= 0.5", "= 1"))
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("c", "fade", PICTURE))
        assert isinstance(final(peer, "c"), Ready)
        assert read_image(path.parent / "show" / "b.png").mean() == 0


def test_names_of_others(peer, path):
    """An operation of the worker, and one of another file, are not replaced; the rest works."""
    path.write_text(FADE)
    (other := path.with_name("other.py")).write_text(FADE)
    (third := path.with_name("third.py")).write_text(FADE.replace('"fade"', '"convert"'))
    with serving(peer, path, other, third):
        message = changed(peer, "my_ops.py has fade.").message
        assert "other.py: my_ops.py has an operation fade already; choose another name." in message
        assert "third.py: the worker has an operation convert already; choose another name." in message
        peer.send(Job("a", "fade", PICTURE), Job("b", "convert", PICTURE))
        assert isinstance(final(peer, "a"), Ready)
        assert isinstance(final(peer, "b"), Ready)


HOSTILE = {
    "hangs": ("while True:\n    pass\n", "my_ops.py was not loaded within 2 s; is there a loop without an end at its top level?"),
    "hangs in C": ("sum(iter(int, 1))\n", "my_ops.py was not loaded within 2 s"),
    "kills its process": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "my_ops.py ended the child process that loaded it"),
    "leaves": ("import os\nos._exit(0)\n", "my_ops.py ended the child process that loaded it"),
    "eats memory": ("x = 'x' * 10**11\n", "my_ops.py, line 1: MemoryError."),
    "prints": ("print('x' * 10**6)\nraise ValueError('y' * 10**5)\n", "my_ops.py, line 2: ValueError: yyyyyyy"),
    "closes everything": ("import os\nos.closerange(0, 1000)\n", "my_ops.py ended the child process that loaded it"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile(name, peer, path, monkeypatch):
    """Whatever happens while a file is loaded, a sentence says it, and the worker works."""
    monkeypatch.setattr(own.OwnOperations.__init__, "__kwdefaults__", {"loaded_within_s": 2.0})
    text, sentence = HOSTILE[name]
    path.write_text(text + FADE)
    with serving(peer, path):
        changed(peer, sentence)
        peer.send(Job("b", "fade", PICTURE))
        unknown = final(peer, "b")
        assert (unknown.code, unknown.word) == (404, "operation")
        assert sentence[:30] in unknown.hint
        peer.send(Job("a", "convert", PICTURE))
        assert isinstance(final(peer, "a"), Ready)
        save(path, FADE)
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("c", "fade", PICTURE))
        assert isinstance(final(peer, "c"), Ready)


def test_printing_harms_nobody(peer, path):
    """What a file or a function prints goes nowhere."""
    path.write_text("print('x' * 10**6)\n" + FADE.replace("    return (image", "    print('y' * 10**6)\n    return (image"))
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        peer.send(Job("a", "fade", PICTURE))
        assert isinstance(final(peer, "a"), Ready)


@pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of the children is Linux's")
def test_it_stays_in_the_sandbox(peer, path, tmp_path, monkeypatch):
    """It may read its own folder, write nothing outside the roots, start nothing and reach nobody; and none of it runs in the parent."""
    monkeypatch.delitem(sys.modules, "own_my_ops", raising=False)  # other tests load it into this process
    beside = tmp_path / "beside.txt"
    beside.write_text("hello")
    probe = f"""
import os, socket, subprocess
assert open({str(beside)!r}).read() == "hello"
def refused(what):
    try:
        what()
    except OSError:
        return
    raise RuntimeError("not refused")
refused(lambda: open({str(tmp_path / "new.txt")!r}, "w"))
refused(lambda: open("/etc/passwd"))
refused(lambda: subprocess.run(["true"]))
refused(socket.socket)
assert os.getpid() != {os.getpid()}
"""
    path.write_text(probe + FADE)
    with serving(peer, path):
        assert changed(peer, "my_ops.py").message == "my_ops.py has fade."
    assert not [name for name in sys.modules if name.startswith("own_my_ops")]


def test_an_installed_package(peer, path, monkeypatch):
    """Its entry point is found by name, by the children; one that was not named is not loaded."""
    site = path.parent / "site"
    (site / "night-1.0.dist-info").mkdir(parents=True)
    (site / "night-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: night\nVersion: 1.0\n")
    (site / "night-1.0.dist-info" / "entry_points.txt").write_text(
        "[td_image_worker.operations]\nnight = night_effects:OPERATIONS\nday = night_effects:NOTHING\n"
    )
    (site / "night_effects.py").write_text(FADE)
    monkeypatch.syspath_prepend(str(site))
    rules = FileRules((path.parent / "show",)).pinned()
    with running(PoolExecutor(1, functools.partial(make_run_task, rules)), peer, operations=("night",)):
        peer.send(Hello("test", peer.text_port, 0, "", "", 0))
        assert changed(peer, "night has fade.").message == "night has fade."
        peer.send(Job("a", "fade", PICTURE))
        assert isinstance(final(peer, "a"), Ready)
    assert "night_effects" not in sys.modules


def test_a_file_that_is_written_in_steps(peer, path):
    """Half of it is not taken for the new version, as long as the rest follows at once."""
    path.write_text(FADE)
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        newer = FADE.replace('"fade"', '"dim"')
        with path.open("w") as file:
            for at in range(0, len(newer), 60):
                file.write(newer[at : at + 60])
                file.flush()
                time.sleep(0.02)
        assert peer.until(CatalogChanged).message == "my_ops.py has dim, and no longer fade."


def test_a_file_that_goes_and_comes(peer, path):
    """As on a disk that is connected again: what is said is what is there now."""
    path.write_text(FADE)
    with serving(peer, path):
        changed(peer, "my_ops.py has fade.")
        path.rename(path.with_suffix(".away"))
        changed(peer, "my_ops.py cannot be read")
        path.with_suffix(".away").rename(path)
        assert peer.until(CatalogChanged).message == "my_ops.py has fade."
        path.write_text("#" * (own.LARGEST + 1))
        changed(peer, "my_ops.py has more than 1 MB, which is the limit. The version before it stays in use: fade.")


def test_jobs_of_an_earlier_run(peer, path, tmp_path):
    """A job that was accepted goes on after a restart: it waits until its operation is known."""
    path.write_text(FADE.replace("    return (image", "    import time\n    time.sleep(params.amount * 60)\n    return (image"))
    state = tmp_path / "state"
    with serving(peer, path, state=state, port=0):
        port = peer.worker[1]
        changed(peer, "has fade")
        peer.send(Job("a", "fade", (*PICTURE, ("amount", 1))))
        peer.until(lambda report: getattr(report, "id", "") == "a")
    path.write_text(FADE)
    with serving(peer, path, state=state, port=port):
        assert isinstance(final(peer, "a"), Ready)


def test_a_missing_file_is_waited_for(peer, path):
    """The worker starts without it."""
    with serving(peer, path):
        changed(peer, "my_ops.py cannot be read: No such file or directory.")
        deadline = time.monotonic() + LONG_S
        path.write_text(FADE)
        changed(peer, "my_ops.py has fade.")
        assert time.monotonic() < deadline
