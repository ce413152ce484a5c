"""The documents can be followed as they stand: their files parse, their options exist, and their commands work in the shell they name."""

from __future__ import annotations

import plistlib
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from worker.catalog.table import CATALOG
from worker.cli import LazyGroup

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "docker" / "README.md", ROOT / "td" / "README.md"])
OPERATING = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
PROGRAM = LazyGroup()
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(text, *kinds):
    """The code blocks of a kind, without the spaces that a list puts before them."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, kind, block in found if kind in kinds]


def commands(text):
    """Everything in a document that starts with the program's name, in blocks and between back-quotes."""
    inline = re.findall(r"`(td-image-worker [^`]*)`", text)
    lines = [line for block in blocks(text, "sh", "powershell", "") for line in block.splitlines() if line.startswith("td-image-worker ")]
    return [*inline, *lines]


def test_there_are_documents():
    """The tests below have something to look at."""
    assert {path.name for path in DOCUMENTS} >= {"README.md", "protocol.md", "SECURITY.md", "operating.md", "settings.md"}
    assert len(commands(OPERATING)) > 5
    assert len(blocks(OPERATING, "ini")) == 4


@each_document
def test_commands_and_options_exist(path):
    """Every command of the program that a document shows is one, and so is every option of it."""
    for line in commands(path.read_text(encoding="utf-8")):
        name, *words = line.split()[1:]
        if name.startswith("-"):
            continue
        command = PROGRAM.get_command(click.Context(PROGRAM), name)
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
        assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= known, line


def test_each_attack_has_a_counterpart_that_exists():
    """The table of attacks names tests that are there and commands that can be run."""
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[cp]\d\w*`.*?) \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) >= 25
    for attack, cell in rows:
        named = re.findall(r"`([^`]*)`", cell)
        assert named, attack
        for one in named:
            if one.startswith("python -m "):
                module = one.split()[2].replace(".", "/")
                assert (ROOT / f"{module}.py").exists(), one
                continue
            path, _, name = one.partition("::")
            assert re.search(rf"^def {name}\b" if name else "^def test", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), one


@each_document
def test_blocks_hold_code_only(path):
    """A block can be copied as a whole: no prompt, no words beside a command."""
    for block in blocks(path.read_text(encoding="utf-8"), "sh", "powershell"):
        for line in block.splitlines():
            assert not line.startswith(("$ ", "> ", "PS ", "#")), line
            assert " #" not in re.sub(r"\"[^\"]*\"|'[^']*'", "", line), f"zsh takes it for words: {line}"
            assert "   (" not in line, line


@each_document
def test_powershell(path):
    """PowerShell 5.1, which Windows brings, has no && and no ||, goes on after a back-quote only, and has another program under the name of
    curl. A quote is closed in its line, and each line begins with a command, a cmdlet or a variable.
    """
    for block in blocks(path.read_text(encoding="utf-8"), "powershell"):
        for line in block.splitlines():
            assert not re.search(r"&&|\|\||[\\^]$|^(curl|wget|export|set) ", line), line
            assert not re.search(r"[\"']", re.sub(r"\"[^\"]*\"|'[^']*'", "", line)), line
            assert not re.search(r"'[^']*\"[^']*'", line), line
            assert re.match(r"\$\w+ = |[A-Z]\w+-[A-Z]\w+ |(uv|py|td-image-worker|curl\.exe|[A-Z]:/\S+) ", line), line


def test_extras():
    """The README names all of them, and the other documents lead there: to add one, each way of installing has its own command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("## Extras")[2].partition("Add them in")[0]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(extras.keys() - {"test", "bench", "dev"})
    for path in DOCUMENTS:
        if path.name not in ("README.md", "CONTRIBUTING.md", "performance.md", "CHANGELOG.md"):
            assert not re.search(r"(pip|uv tool) install \"[^\"]*\[", path.read_text(encoding="utf-8")), path


@each_document
def test_patterns_are_quoted(path):
    """zsh, the shell of macOS, stops at a pattern that no file matches, so * and ? stand between quotes; {n} does too, for every shell."""
    text = path.read_text(encoding="utf-8")
    for line in [*commands(text), *re.findall(rf"`((?:{'|'.join(CATALOG)}) \w+=[^`]*)`", text)]:
        bare = re.sub(r"\"[^\"]*\"|'[^']*'", "", line)
        assert not re.search(r"[*?{]", bare), line


@each_document
def test_toml(path):
    """Every TOML block parses, and its keys are settings."""
    settings = PROGRAM.get_command(click.Context(PROGRAM), "serve")
    known = {option.removeprefix("--") for parameter in settings.params for option in parameter.opts} | {"presets"}
    for block in blocks(path.read_text(encoding="utf-8"), "toml"):
        assert set(tomllib.loads(block)) <= known


def test_launchd():
    """The plist parses, asks for a restart after a failure only, and gives the worker the time that the text says."""
    (block,) = blocks(OPERATING, "xml")
    agent = plistlib.loads(block.encode())
    assert agent["Label"] == "td-image-worker"
    assert agent["ProgramArguments"][1:3] == ["serve", "--config"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
    assert agent["ExitTimeOut"] == 60


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="not on this system: systemd-analyze reads the unit files")
def test_systemd(tmp_path):
    """The units are right as systemd reads them; the program stands where they say in a home made for the test."""
    program = tmp_path / ".local" / "bin" / "td-image-worker"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    names = re.findall(r"user/(td-image-worker[\w-]*\.(?:service|timer))", OPERATING)
    units = [block for block in blocks(OPERATING, "ini") if "[Unit]" in block]
    assert len(units) == len(names) == 3
    for name, unit in zip(names, units, strict=True):
        (tmp_path / name).write_text(unit.replace("%h", str(tmp_path)), encoding="utf-8")
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = ["systemd-analyze", "--user", "verify", *(str(tmp_path / name) for name in names)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    said = [line for line in done.stderr.splitlines() if "td-image-worker" in line]
    assert (done.returncode, said) == (0, [])


@each_document
def test_links_lead_to_files(path):
    """Links to files of the repository lead somewhere."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        assert re.match(r"https?:", target) or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", [ROOT / "docs" / "operating.md", ROOT / "README.md"], ids=lambda path: path.name)
def test_links_within(path):
    """Links to sections of the same document lead to one."""
    text = path.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors


@pytest.mark.parametrize("path", ["README.md", "td/README.md"])
def test_what_was_not_tried_is_said(path):
    """In bold, near the top: nobody is to find it out on the day of the show."""
    head = (ROOT / path).read_text(encoding="utf-8")[:2000]
    assert re.search(r"\*\*[^*]*not yet (been )?run in a real TouchDesigner\.\*\*", head, re.IGNORECASE)


def test_paths_of_a_mac():
    """Where the component's README shows a path of Windows to type, it shows one of a Mac, too."""
    text = (ROOT / "td/README.md").read_text(encoding="utf-8")
    for windows, mac in (
        ("C:/show/td/build.py", "/Users/you/show/td/build.py"),
        ("C:/worker/Scripts/python", "/Users/you/worker/bin/python"),
    ):
        assert windows in text
        assert mac in text
