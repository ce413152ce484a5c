"""The worker's own result files: one for each job of each client, not too old, and not too many bytes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from worker.files import results
from worker.files.results import name_of, tidy

NOW = 1.7e9
HOUR_S = 3600.0


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / results.FOLDER
    made.mkdir()
    return made


def file(folder: Path, job_id: str, age_s: float, size: int = 10) -> str:
    path = folder / Path(name_of("10.0.0.1:9461", job_id)).name
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path.name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_each_job_of_each_client_has_its_own_file():
    """Neither two clients with the same id share one, nor two ids that differ in a letter that no file name has."""
    jobs = [("10.0.0.1:9461", "j1"), ("10.0.0.2:9461", "j1"), ("10.0.0.1:9461", "j/1"), ("10.0.0.1:9461", "j_1"), ("10.0.0.1:9461", "J1")]
    jobs += [("10.0.0.1:9461", "x" * 200), ("10.0.0.1:9461", "x" * 201)]
    assert len({name_of(*job).casefold() for job in jobs}) == len(jobs)
    assert all(len(Path(name_of(*job)).name) < 100 for job in jobs)
    assert name_of("10.0.0.1:9461", "../../up").startswith("td-image-worker-results/job-.._.._up-")


def test_what_is_too_old_goes(folder):
    """Files older than the limit are removed."""
    young, _ = file(folder, "young", 23 * HOUR_S), file(folder, "old", 25 * HOUR_S)
    assert tidy(folder, 24 * HOUR_S, 10**6, NOW) == 1
    assert names(folder) == {young}


def test_of_too_many_bytes_the_oldest_go(folder):
    """The folder stays below its size, and keeps the newest."""
    files = [file(folder, f"a{age}", age * HOUR_S, 100) for age in (1, 2, 3, 4)]
    assert tidy(folder, 24 * HOUR_S, 250, NOW) == 2
    assert names(folder) == set(files[:2])


def test_what_was_just_written_stays(folder):
    """A client that has just been told of a file can read it, even if there are too many bytes."""
    kept = file(folder, "new", results.READ_WITHIN_S - 1, 1000)
    file(folder, "older", results.READ_WITHIN_S + 1, 1000)
    assert tidy(folder, 24 * HOUR_S, 10, NOW) == 1
    assert names(folder) == {kept}


def test_only_files_of_ours_are_removed(folder, tmp_path):
    """Whatever else somebody keeps there stays, and links are not followed."""
    (folder / "mine.json").write_text("x")
    (folder / "job-mine.json").write_text("x")
    target = tmp_path / "target.json"
    target.write_text("x")
    (folder / Path(name_of("h:1", "link")).name).symlink_to(target)
    (folder / Path(name_of("h:1", "folder")).name).mkdir()
    before = names(folder)
    assert tidy(folder, 0.0, 0, NOW + 1e9) == 0
    assert names(folder) == before
    assert target.exists()


def test_a_folder_that_is_not_there_or_is_a_link_is_left_alone(tmp_path):
    """Nothing to do, and nothing is removed elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    name = file(elsewhere, "old", 1e6)
    assert tidy(tmp_path / results.FOLDER, 1.0, 0, NOW) == 0
    (tmp_path / results.FOLDER).symlink_to(elsewhere, target_is_directory=True)
    assert tidy(tmp_path / results.FOLDER, 1.0, 0, NOW) == 0
    assert names(elsewhere) == {name}
