"""What the files of td/ may not contain: anything that waits, anything from outside, anything that an older Python cannot read."""

from __future__ import annotations

import ast
import re
import sys

import pytest
from tests.td.conftest import TD
from tests.td.draw_network import picture
from worker.catalog.table import CATALOG

FILES = sorted(TD.rglob("*.py"))
#: All that may be imported: nothing that waits, nothing that TouchDesigner does not bring.
ALLOWED = {
    "bisect",
    "collections",
    "contextlib",
    "ctypes",
    "errno",
    "fcntl",
    "itertools",
    "json",
    "mmap",
    "msvcrt",
    "numpy",
    "os",
    "re",
    "shlex",
    "signal",
    "struct",
    "subprocess",
    "sys",
    "tempfile",
    "time",
    "traceback",
    "typing",
    "uuid",
    "td",
}
FORBIDDEN = re.compile(
    r"time\.sleep|subprocess\.(run|call|check_call|check_output)|\.communicate\(|\.wait\(|socket|threading|queue\.|asyncio"
    r"|\.join\(\)|os\.system|os\.popen|select\.|urllib|http\.client|input\("
)

each_file = pytest.mark.parametrize("path", FILES, ids=[path.relative_to(TD).as_posix() for path in FILES])


def code(path):
    """The file without comments and docstrings, which may speak of threads and queues."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if is_text:
            node.value.value = ""
    return ast.unparse(tree)


def test_there_are_files():
    assert {path.name for path in FILES} >= {"build.py", "ImageWorkerExt.py", "pending.py", "launcher.py", "text_pyThreads_queue.py"}


@each_file
def test_nothing_waits(path):
    assert FORBIDDEN.findall(code(path)) == []


@each_file
def test_only_the_standard_library_is_imported(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    assert names <= ALLOWED
    assert names - {"td", "numpy"} <= sys.stdlib_module_names  # TouchDesigner brings NumPy along


@each_file
def test_python_3_7_can_read_it(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


@each_file
def test_it_is_plain_ascii(path):
    """TouchDesigner on Windows may read files in another encoding."""
    path.read_text(encoding="ascii")


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name != "examples"], ids=lambda path: path.name)
def test_no_operation_is_named(path):
    """The component learns from the worker what there is; only examples and docstrings speak of one."""
    words = set(re.findall(r"\w+", code(path)))
    assert not words & set(CATALOG)
    assert len(CATALOG) > 5


def test_callbacks_are_one_line_each():
    """Everything else belongs into the extension, where it can be tested."""
    lengths = {
        f"{path.name}:{node.name}": len(node.body)
        for path in (TD / "callbacks").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert set(lengths) >= {"execute.py:onStart", "parexec.py:onPulse", "oscin_callbacks.py:onReceiveOSC", "callbacks.py:onReady"}
    assert set(lengths.values()) == {1}, lengths


def test_no_dat_shadows_a_module():
    """A DAT with the name of a module would be imported in its place."""
    names = re.findall(r'^    \("(\w+)", "\w+DAT"', (TD / "build.py").read_text(), re.MULTILINE)
    assert len(names) > 8
    assert not set(names) & set(sys.stdlib_module_names)


def test_the_picture_shows_what_is_built():
    """After a change of build.py: python -m tests.td.draw_network."""
    text = picture()
    assert (TD / "network.svg").read_text(encoding="utf-8") == text
    width = float(re.search(r'viewBox="0 0 (\d+)', text)[1])
    ends = [float(x) + float(wide) for x, wide in re.findall(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', text)]
    assert max(ends) <= width, "an operator lies outside the picture"


def test_the_readme_speaks_of_every_parameter_and_method():
    readme, extension = (TD / "README.md").read_text(encoding="utf-8"), (TD / "ImageWorkerExt.py").read_text(encoding="utf-8")
    methods = set(re.findall(r"^    def ([A-Z]\w+)", extension, re.MULTILINE))
    assert methods >= {"Submit", "Cancel", "OnReady", "Start", "Stop"}
    assert {method for method in methods if f"`{method}(" not in readme} == set()
