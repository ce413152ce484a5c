import asyncio

import pytest

from worker.catalog.table import CATALOG
from worker.core.changes import JobAccepted
from worker.web import pictures
from worker.web.making import NoPictures, Picture
from worker.web.pictures import Pictures, inputs_of
from worker.web.state import State


class Maker:
    """Notes what is wanted, and hands over when the test says so."""

    def __init__(self, room=100):
        self.wanted = []
        self._room = room

    def ask(self, path, size, answer):
        if len(self.wanted) >= self._room:
            return False
        self.wanted.append((path, size, answer))
        return True

    def make(self, what):
        for _, _, answer in self.wanted:
            answer(what)


SMALL = Picture(b"x" * 1000, 8, 8)


async def asked(kept, maker, *keys, what=SMALL):
    """What comes of several requests at once."""
    waiting = [asyncio.ensure_future(kept.of(*key)) for key in keys]
    await asyncio.sleep(0)
    maker.make(what)
    maker.wanted.clear()
    return await asyncio.gather(*waiting)


def test_made_once():
    """Two browsers that want the same at the same time share it, and later ones get what is kept."""
    maker = Maker()
    kept = Pictures(maker)

    async def run():
        waiting = [asyncio.ensure_future(kept.of("a.png", 320, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        assert len(maker.wanted) == 1
        maker.make(SMALL)
        assert await asyncio.gather(*waiting) == [SMALL] * 3
        assert await kept.of("a.png", 320, 1) is SMALL

    asyncio.run(run())


def test_a_later_job_has_its_own():
    """The same path, written by another job, is another picture; so is another size."""
    maker = Maker()
    kept = Pictures(maker)

    async def run():
        await asked(kept, maker, ("a.png", 320, 1))
        waiting = [asyncio.ensure_future(kept.of(*key)) for key in (("a.png", 320, 2), ("a.png", 2560, 1))]
        await asyncio.sleep(0)
        assert [size for _, size, _ in maker.wanted] == [320, 2560]
        maker.make(SMALL)
        await asyncio.gather(*waiting)

    asyncio.run(run())


def test_bounded(monkeypatch):
    """The oldest pictures go when there is no more room."""
    monkeypatch.setattr(pictures, "CACHE_BYTES", 3000)
    maker = Maker()
    kept = Pictures(maker)

    async def run():
        for number in range(10):
            await asked(kept, maker, (f"{number}.png", 320, 1))
        assert [key[0] for key in kept._kept] == ["8.png", "9.png"]

    asyncio.run(run())


def test_too_many():
    """If too many are wanted the answer is none, and the next request may get it."""
    maker = Maker(room=0)
    assert asyncio.run(Pictures(maker).of("a.png", 320, 1)) is None


def test_no_picture():
    """A sentence is kept as a picture is: the same file is not tried again and again."""
    kept = Pictures(NoPictures())

    async def run():
        return [await kept.of("a.png", 320, 1) for _ in range(2)]

    assert asyncio.run(run()) == [NoPictures.sentence] * 2


@pytest.mark.parametrize(
    ("operation", "params", "inputs"),
    [
        ("find_circles", b'{"image":"a.png","overlay":"b.png"}', ["a.png"]),
        ("find_object", b'{"image":"a.png","reference":"b.jpg"}', ["a.png", "b.jpg"]),
        ("find_circles", b'{"image":"shots/*.png"}', []),
        ("find_circles", b'{"image":"shots"}', []),
        ("copy", b'{"source":"/etc/passwd"}', []),
        ("unknown", b'{"image":"a.png"}', []),
    ],
)
def test_inputs(operation, params, inputs):
    """The single pictures that a job reads, and nothing that it writes."""
    state = State()
    state.take(JobAccepted("c", "j", operation, b'["%s",%s,{}]' % (operation.encode(), params), 1), 1.0)
    assert inputs_of(state.rows["c", "j"], state, CATALOG) == inputs
