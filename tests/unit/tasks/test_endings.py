"""No job writes over a file of another kind, whatever its operation: the endings of all names that operations write."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.examples import DATA, EXAMPLES
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Task
from worker.files.paths import FileRules
from worker.operations.table import OPERATIONS
from worker.tasks.run import run_task

#: Pictures, texts, numbers, videos, what no job writes, and nothing. A copy keeps the ending of its source.
ENDINGS = (".png", ".JPG", ".txt", ".csv", ".json", ".npz", ".npy", ".mp4", ".toe", ".py", "")
FITTING = {"image": (".png", ".jpg"), "table": (".json", ".csv"), "json": (".json",), "csv": (".csv",), "video": (".mp4",)}
OWN = {
    ("write_text", "output"): (".txt", ".csv", ".json"),
    ("write_json", "output"): (".json",),
    ("write_csv", "output"): (".csv",),
    ("find_features", "descriptors"): (".npz",),
    ("optical_flow", "flow"): (".png", ".npy"),
}
NAMES = [
    (name, field)
    for name, info in ((name, CATALOG[name]) for name in EXAMPLES if name not in ("copy", "move", "track"))
    for field in info.parameters
    if field.role == "write" and not OPERATIONS[name].unavailable().get("")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures").resolve()
    for name in ("box.png", "numbered.mp4"):
        shutil.copy(DATA / name, folder / name)
    return folder


@pytest.mark.parametrize(("operation", "field"), NAMES, ids=[f"{name} {field.name}" for name, field in NAMES])
def test_a_file_of_another_kind(operation, field, folder):
    """It is refused before anything is done, whether it is there or not, and the endings that are named are those that are taken."""
    fitting = OWN.get((operation, field.name)) or FITTING[field.holds]
    read = {one.name: "box.png" for one in CATALOG[operation].parameters if one.role == "read" and EXAMPLES[operation].pairs.get(one.name)}
    read |= {"video": "numbered.mp4"} if operation == "read_video" else {}
    for ending in ENDINGS:
        if ending.lower() in fitting:
            continue
        for name, is_there in ((f"new{{n}}{ending}", False), (f"old{{n}}{ending}", True)):
            victim = folder / name.replace("{n}", "0")
            if is_there:
                victim.write_bytes(b"of somebody else")
            pairs = {key: value for key, value in EXAMPLES[operation].pairs.items() if key not in written(operation)}
            needed = {"output": "good{n}.json" if operation == "calibrate" else "good{n}.png"} if needs_output(operation) else {}
            params, _ = CATALOG.parse_job(operation, [*(pairs | read | needed | {field.name: name}).items()])
            outcome = run_task(Task(1, operation, params), FileRules((folder,)), lambda _: None)
            assert isinstance(outcome, Failure), (name, outcome)
            if outcome.word == "unavailable":
                pytest.skip(f"not on this system: {outcome.message}")
            assert outcome.code in (400, 403, 415), outcome
            said = re.sub(r"(old|new)(0|\{n\})" + ending, "", f"{outcome.message} {outcome.hint}")
            offered = set(re.findall(r"\.[a-z0-9]+", re.sub(f"(no|and) {ending.lower()} (images|is not)", "", said)))
            assert not offered or set(fitting) <= offered, outcome
            assert not offered & {other.lower() for other in ENDINGS if other.lower() not in fitting}, outcome
            assert victim.exists() == is_there
            if is_there:
                assert victim.read_bytes() == b"of somebody else"


def written(operation):
    """The names of its parameters that name files to write."""
    return {one.name for one in CATALOG[operation].parameters if one.role == "write"}


def needs_output(operation):
    """Whether every job of it names an output."""
    return any(one.name == "output" and one.required for one in CATALOG[operation].parameters)
