"""Each operation once, on a real picture, over real UDP."""

from __future__ import annotations

import importlib.util

import cv2
import pytest

from tests.examples import EXAMPLES, copy_data
from tests.inline import InlineExecutor, InlineFollowers
from tests.wire.running import Peer, running
from worker.catalog.table import CATALOG
from worker.files.paths import FileRules
from worker.operations.table import OPERATIONS
from worker.protocol.messages import Failed, File, Job, Ready, ResultRows
from worker.tasks.run import run_task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures").resolve()
    copy_data(folder)
    return folder


@pytest.fixture(scope="module")
def peer(folder):
    """A peer in front of a worker that may use the folder."""
    peer, files = Peer(), FileRules((folder,))

    def run(task, progress):
        return run_task(task, files, progress)

    with running(InlineExecutor(run), peer, InlineFollowers(run)):
        yield peer
    peer.close()


@pytest.mark.parametrize("name", EXAMPLES)
def test_operation(name, folder, peer):
    """The job ends with `ready`; its rows have the fields of the catalogue; each file is there, and a picture can be read."""
    example = EXAMPLES[name]
    lacks = OPERATIONS[name].unavailable().get("")
    not_installed = example.needs if example.needs and importlib.util.find_spec(example.needs) is None else ""
    example.prepare(folder)
    peer.send(Job(name, name, tuple(example.pairs.items())))
    reports = list(until_final(peer, name))
    final = reports[-1]
    if lacks or not_installed:
        assert isinstance(final, Failed)
        assert final.code == 501
        pytest.skip(f"not on this system: {lacks}" if lacks else f"install the package with the module {not_installed}")
    assert isinstance(final, Ready), final
    assert final.items >= example.items
    info, chunks = CATALOG[name], [report for report in reports if isinstance(report, ResultRows)]
    for chunk in chunks:
        assert (chunk.kind, chunk.fields) == (info.kind, len(info.fields))
    assert bool(chunks) == bool(info.kind)
    files = [report for report in reports if isinstance(report, File)]
    written = {parameter.name for parameter in info.parameters if parameter.role == "write"} & set(example.pairs)
    per_item = {"output"} if info.item == "file" else set()
    expected = 0 if info.live else sum(final.items if key in per_item else 1 for key in written)
    assert len({file.path for file in files}) == expected
    for file in files:
        path = folder / file.path
        assert path.stat().st_size == file.size_bytes > 0
        if file.width:
            assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[1::-1] == (file.width, file.height)


@pytest.mark.parametrize(
    ("operation", "pairs", "files"),
    [
        ("find_circles", {"overlay": "over{n}.png", "explain": "why{n}.png", "data": "all.json"}, 5),
        ("match_palette", {"palette": "#000000 #ffffff", "output": "two{n}.png"}, 2),
        ("pick_best", {"output": "best.png", "data": "order.json"}, 2),
    ],
)
def test_files_of_a_batch(operation, pairs, files, folder, peer):
    """As many `file` reports as protocol.md says: one for each image and key, but one for `data` and of a result of all images."""
    peer.send(Job(f"{operation}-2", operation, (("image", "graf*.jpg"), *pairs.items())))
    reports = list(until_final(peer, f"{operation}-2"))
    assert isinstance(reports[-1], Ready), reports[-1]
    assert len({report.path for report in reports if isinstance(report, File)}) == files


def until_final(peer, job):
    """What is reported of the job. Other jobs' finals are sent again, because nobody acknowledges them."""
    for report in peer.reports():
        if getattr(report, "id", "") == job:
            yield report
            if isinstance(report, (Ready, Failed)):
                return
