"""A folder that is shared with other people and other programs."""

from __future__ import annotations

import pytest

from worker.errors import MissingFile, PathError
from worker.files.paths import FileRules
from worker.files.whole import append_bytes, write_bytes_whole

IMAGES = frozenset({".png"})


@pytest.fixture
def rules(tmp_path):
    root = tmp_path.resolve() / "root"
    (root / "shots").mkdir(parents=True)
    (root / "shots" / "a.png").write_bytes(b"a")
    (root.parent / "secret.png").write_bytes(b"secret")
    return FileRules((root,))


def root_of(rules):
    return rules.roots[0]


@pytest.mark.parametrize("text", ["shots", "shots/*", "**/*.png"])
@pytest.mark.parametrize("name", ["notes.md", "b.png"])
def test_a_link_that_leads_outside_is_left_out(rules, text, name, caplog):
    """One link stops no job over the folder that holds it: it is left out, and counted in the log."""
    (root_of(rules) / "shots" / name).symlink_to(root_of(rules).parent / "secret.png")
    assert [path.name for path in rules.to_read_all(text, IMAGES).paths] == ["a.png"]
    counted = text != "**/*.png" or name == "b.png"
    assert ("1 files and folders were left out" in caplog.text) is counted


def test_a_folder_behind_a_link_is_left_out(rules):
    """So is a folder, and a pattern that goes through it finds the rest."""
    (root_of(rules).parent / "other").mkdir()
    (root_of(rules).parent / "other" / "c.png").write_bytes(b"c")
    (root_of(rules) / "link").symlink_to(root_of(rules).parent / "other")
    assert [path.name for path in rules.to_read_all("*/*.png", IMAGES).paths] == ["a.png"]


def test_a_named_link_is_refused(rules):
    """Who names the file itself gets 403, and nothing of it."""
    (root_of(rules) / "shots" / "b.png").symlink_to(root_of(rules).parent / "secret.png")
    with pytest.raises(PathError):
        rules.to_read_all("shots/b.png", IMAGES)


def test_nothing_but_links(rules):
    """If nothing else is there, the sentence says how many were left out."""
    (root_of(rules) / "shots" / "a.png").unlink()
    (root_of(rules) / "shots" / "b.png").symlink_to(root_of(rules).parent / "secret.png")
    with pytest.raises(MissingFile, match=r"No image matches shots that may be read; 1 files and folders were left out"):
        rules.to_read_all("shots", IMAGES)


def test_read_only_files_stay(rules):
    """They are neither replaced nor lengthened, not even by root, who may do everything."""
    path = root_of(rules) / "keep.txt"
    path.write_text("mine")
    path.chmod(0o444)
    for write in (write_bytes_whole, append_bytes):
        with pytest.raises(PathError, match=r"keep\.txt (is read-only|may not be written)"):
            write(rules.to_write("keep.txt"), (b"theirs",))
    assert path.read_text() == "mine"
    assert sorted(path.name for path in root_of(rules).iterdir()) == ["keep.txt", "shots"]


@pytest.mark.parametrize(
    "text",
    [
        ".vscode/tasks.json", ".github/workflows/a.yml", ".gitlab-ci.yml", "a/.hidden/b.png", ".x.png", "docker-compose.yml",
        "sub/Docker-Compose.override.YAML", "compose.yaml", "package.json", "CMakeLists.txt", "requirements-dev.txt",
        "node_modules/a/b.json",
        "azure-pipelines.yml", "tsconfig.json", "pom.xml", "site-packages/a.txt",
    ],
)  # fmt: skip
def test_what_other_programs_run_is_not_written(rules, text):
    """Hidden folders and files, and texts that are a program to somebody, have the ending of a text; they are refused by their names."""
    with pytest.raises(PathError, match="cannot be written"):
        rules.to_write(text)
    with pytest.raises(PathError, match="cannot be written"):
        rules.to_write((root_of(rules) / text).as_posix())


@pytest.mark.parametrize("text", ["notes.yml", "composed.yml.txt", "a.package.json", "data.json", "build.txt", "shots/requirements.csv"])
def test_other_texts_are_written(rules, text):
    """Names that only look similar are free."""
    assert rules.to_write(text).name == text.rpartition("/")[2]


def test_a_root_in_a_hidden_folder(tmp_path):
    """Which folder is a root is its owner's choice; only the names below it count."""
    root = tmp_path.resolve() / ".cache" / "show"
    root.mkdir(parents=True)
    assert FileRules((root,)).to_write("a.png") == root / "a.png"
