"""A real child makes pictures. One for all tests."""

import queue
import shutil
from pathlib import Path

import pytest

from worker.config import Config
from worker.service import thumbnails
from worker.service.children import rules_of
from worker.service.thumbnails import Thumbnails
from worker.web.making import Picture

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("show")
    (made / "root").mkdir()
    shutil.copy(DATA / "smarties.png", made / "root")
    shutil.copy(DATA / "smarties.png", made / "outside.png")
    (made / "root/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    return made


@pytest.fixture(scope="module", autouse=True)
def _as_fast_as_others():
    """Beside other work, a child of the lowest priority may wait for so long that a picture is given up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thumbnails, "LOWER", 0)
        yield


@pytest.fixture(scope="module")
def maker(folder):
    config = Config(roots=(folder / "root",))
    made = Thumbnails(config, rules_of(config))
    yield made
    made.close()


def asked(maker, path, size=64):
    answers = queue.SimpleQueue()
    assert maker.ask(path, size, answers.put)
    return answers.get(timeout=60)


def test_made(maker):
    """A small JPEG, and how large the picture is."""
    found = asked(maker, "smarties.png")
    assert isinstance(found, Picture)
    assert found.jpeg.startswith(b"\xff\xd8")
    assert (found.width, found.height) == (413, 356)


@pytest.mark.parametrize("path", ["../outside.png", "none.png", "broken.png", "/etc/passwd", ""])
def test_not_made(maker, path):
    """What no job may read, and what is no picture, is a sentence."""
    found = asked(maker, path)
    assert isinstance(found, str)
    assert found.endswith(".")


def test_bounded(maker, monkeypatch):
    """Beyond a number none is taken, and nobody waits."""
    monkeypatch.setattr(thumbnails, "MOST_WAITING", 0)
    assert not maker.ask("smarties.png", 64, lambda _: None)


def test_end(folder):
    """What is wanted when it ends is answered all the same; then nothing is taken."""
    config = Config(roots=(folder / "root",))
    one = Thumbnails(config, rules_of(config))
    answers = queue.SimpleQueue()
    assert one.ask("smarties.png", 64, answers.put)
    one.close()
    assert answers.get(timeout=1) == "The worker ends."
    assert not one.ask("smarties.png", 64, answers.put)


def test_idle(folder, monkeypatch):
    """The child ends when nobody wants a picture, and comes back when somebody does."""
    monkeypatch.setattr(thumbnails, "IDLE_S", 0.0)
    config = Config(roots=(folder / "root",))
    one = Thumbnails(config, rules_of(config))
    assert isinstance(asked(one, "smarties.png"), Picture)
    first = one._thread
    first.join(60)
    assert not first.is_alive()
    assert isinstance(asked(one, "smarties.png"), Picture)
    one.close()
