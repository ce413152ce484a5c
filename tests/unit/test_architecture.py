"""What stands on which floor, and who may know whom. A circle, or an import upwards, is a sign that something stands on the wrong floor."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.ports import free_port
from worker.catalog.filtering import STEPS
from worker.catalog.table import CATALOG
from worker.protocol import osc
from worker.protocol.messages import Hello, Ping

ROOT = Path(__file__).parents[2]

#: From the ground up. A folder stands for all its files. A file may import from lower floors and from its own folder, and from no other.
FLOORS = (
    ("worker", "errors", "extras", "settings", "timers", "words"),
    ("protocol", "files", "poller"),
    ("catalog", "pictures", "config"),
    ("core", "operations"),
    ("network", "storage", "executors", "web", "tracking"),
    ("client", "tasks"),
    ("service",),
    ("cli",),
    ("__main__",),
)
#: Folders of a later floor that need not stand yet.
PLANNED: set[str] = set()
#: They are given everything, the time included.
PURE = {"protocol", "catalog", "core"}
#: All that they may import. Nothing of it asks the world, but for a few calls, which `asks` finds.
HARMLESS = """__future__ _blake2 bisect collections contextlib dataclasses datetime enum functools hashlib hmac ipaddress itertools math
msgspec operator re struct sys types typing urllib.parse worker"""
#: All that operations may import.
FOR_IMAGES = """__future__ base64 collections colorsys csv cv2 dataclasses functools inspect itertools json math msgspec numpy re typing
worker zxingcpp"""
#: Functions that need no import, and ask the world.
ASKING = {"open", "input", "print", "eval", "exec", "breakpoint", "__import__"}
ASKING_TEXT = re.compile(r"(datetime\.)?(datetime|date)\.(now|today|utcnow)|sys\.(?!float_info|maxunicode).*")
#: What reads and writes files, with OpenCV, NumPy and Python.
FILES = """open imread imreadmulti imreadanimation imwrite imwritemulti imwriteanimation imcount VideoCapture VideoWriter FileStorage load
save savez savez_compressed loadtxt savetxt genfromtxt fromfile tofile memmap DataSource read_text read_bytes write_text write_bytes
__import__ eval exec print"""


def modules():
    """Every module of the package, by its name without `worker.`, with its syntax tree."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "worker").with_suffix("").parts)
        yield name.removesuffix("__init__").rstrip(".") or "worker", ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """The full names of everything that is imported anywhere in a module, for whatever purpose."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a module stands"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def foreign(tree, allowed):
    """What is imported and neither allowed nor a part of what is."""
    return {name for name in imported(tree) if not any(name == one or name.startswith(one + ".") for one in allowed.split())}


def called(tree):
    """The functions that are called by their plain names."""
    return {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def asks(tree):
    """What asks the world without a further import."""
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return called(tree) & ASKING | {text for text in attributes if ASKING_TEXT.fullmatch(text)}


def touches_files(tree):
    """What reads or writes a file: plain functions, attributes of whatever object, and names that are imported."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    taken = {name.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names}
    return (called(tree) | attributes | taken) & set(FILES.split())


TREES = dict(modules())


def of_ours(tree):
    """The modules of the package that are imported, by their names without `worker.`."""
    for name in imported(tree):
        package, _, inner = name.partition(".")
        if package != "worker":
            continue
        known = [module for module in TREES if inner == module or inner.startswith(module + ".")]
        yield max(known, key=len, default="worker")


def room(name):
    """The folder that a module stands in; a module of `worker/` itself is a room of its own."""
    return name.partition(".")[0]


def floor(name):
    """On which floor a module stands."""
    numbers = [number for number, names in enumerate(FLOORS) if room(name) in names]
    assert len(numbers) == 1, f"put {name} on one of the floors"
    return numbers[0]


@pytest.mark.parametrize("name", TREES)
def test_imports_go_down(name):
    """A module imports from lower floors and from its own folder only. It stands on a floor, also if it imports nothing."""
    own = floor(name)
    assert [other for other in of_ours(TREES[name]) if floor(other) >= own and room(other) != room(name)] == []


def test_no_circles():
    """No module can reach itself through its imports."""
    TopologicalSorter({name: set(of_ours(tree)) - {name} for name, tree in TREES.items()}).prepare()


def test_floors_are_not_out_of_date():
    """Everything that the table names exists, or is planned; what is planned does not exist."""
    known = {room(name) for name in TREES}
    assert {name for names in FLOORS for name in names} - known == PLANNED


def test_pure_folders_hold_files():
    """The tests of purity below have something to look at."""
    for folder in PURE:
        assert len([name for name in TREES if room(name) == folder]) > 3


@pytest.mark.parametrize("name", [name for name in TREES if room(name) in PURE])
def test_pure(name):
    """What decides asks neither the world nor the clock."""
    assert foreign(TREES[name], HARMLESS) == set()
    assert asks(TREES[name]) == set()


@pytest.mark.parametrize(("name", "needs"), [("protocol.addresses", set()), ("protocol.messages", {"msgspec"})])
def test_the_words_of_the_protocol_need_little(name, needs):
    """The addresses need nothing that must be installed; the messages need structs, because thousands are made a second."""
    foreign = {other.partition(".")[0] for other in imported(TREES[name])} - set(sys.stdlib_module_names)
    assert foreign - {"worker"} == needs


def test_no_file_knows_pythonosc():
    """It is what the tests hold our codec to, and no part of a worker."""
    assert [name for name, tree in TREES.items() if any(other.startswith("pythonosc") for other in imported(tree))] == []


def test_one_file_knows_the_settings_of_png():
    """A level alone makes OpenCV try all filters, in twice the time and for a larger file. What sets one sets the filter, too."""
    known = {
        name
        for name, tree in TREES.items()
        if any(isinstance(node, ast.Attribute) and node.attr.startswith("IMWRITE_PNG") for node in ast.walk(tree))
    }
    assert known == {"pictures.images"}


def test_operations_open_no_file():
    """Image and params in, result out."""
    operations = {name: tree for name, tree in TREES.items() if room(name) == "operations"}
    assert "operations.circles" in operations
    for name, tree in operations.items():
        assert (name, foreign(tree, FOR_IMAGES)) == (name, set())
        assert (name, touches_files(tree)) == (name, set())


@pytest.mark.parametrize(
    "code",
    [
        "import uuid",
        "from os import environ",
        "open('a')",
        "__import__('time')",
        "datetime.now()",
        "datetime.datetime.today()",
        "from importlib import import_module",
        "import logging",
        "sys.stdin.read()",
        "from urllib.request import urlopen",
        "import collections, time",
    ],
)
def test_what_asks_the_world_is_seen(code):
    """The test above sees what it is for."""
    tree = ast.parse(code)
    assert foreign(tree, HARMLESS) | asks(tree)


@pytest.mark.parametrize(
    "code",
    [
        "cv2.imread('a')",
        "from cv2 import imread",
        "np.load('a')",
        "array.tofile('a')",
        "path.read_bytes()",
        "with path.open() as file: pass",
        "cv2.VideoCapture(0)",
        "reader = cv2.imread",
        "import os",
        "from pathlib import Path",
        "from PIL import Image",
        "import threading",
    ],
)
def test_what_opens_a_file_is_seen(code):
    """As above."""
    tree = ast.parse(code)
    assert foreign(tree, FOR_IMAGES) | touches_files(tree)


#: Files of the catalogue that hold no operation.
_NO_FAMILY = {
    "catalog",
    "catalog.params",
    "catalog.fields",
    "catalog.table",
    "catalog.parse",
    "catalog.catalog",
    "catalog.rows",
    "catalog.live",
}


def test_catalog_and_operations_are_twins():
    """The params of a family stand in a file of the catalogue, its functions in the operations' file of the same name."""
    families = {name.removeprefix("catalog.") for name in TREES if room(name) == "catalog" and name not in _NO_FAMILY}
    assert "circles" in families
    assert [family for family in sorted(families) if f"operations.{family}" not in TREES] == []


def test_packages_import_nothing():
    """Importing the package, or a part of it, loads nothing else. `worker.client` looks its class up when it is asked for."""
    packages = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "worker").rglob("__init__.py")}
    assert packages > {"worker/cli", "worker/client", "worker/core"}
    for package in sorted(packages - {"worker/cli", "worker/client"}):
        assert list(imported(ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8")))) == [], package


_LOADED = "import sys, {}; print(*({{'cv2', 'numpy', 'asyncio'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    "module",
    [
        "worker.__main__",
        "worker.service.serve",
        "worker.service.life",
        "worker.executors.pool",
        "worker.executors.child",
        "worker.cli",
        "worker.cli.serve",
    ],
)
def test_the_parent_stays_light(module):
    """The worker listens within half a second because its own process imports neither OpenCV nor NumPy."""
    command = [sys.executable, "-c", _LOADED.format(module)]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert not {"cv2", "numpy"} & set(loaded)


#: Starts `serve`, and asks it for an answer from a thread. Prints what it has imported when it sends the first one, and stops.
_FIRST_ANSWER = """
import os, signal, socket, sys, threading, time
port, question = int(sys.argv.pop(1)), bytes.fromhex(sys.argv.pop(1))
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.bind(("127.0.0.1", 0))
address, answered = asker.getsockname(), threading.Event()
def heard(event, arguments):
    if event == "socket.sendto" and arguments[1] == address and not answered.is_set():
        answered.set()
        print("IMPORTED", *sys.modules, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
def ask():
    while not answered.wait(0.01):
        asker.sendto(question, ("127.0.0.1", port))
sys.addaudithook(heard)
threading.Thread(target=ask, daemon=True).start()
from worker.cli import run
from worker.service import loop
loop.SOON_S = 60  # on a busy machine the first answer may come later than what can wait
run()
"""
#: What a worker needs later, or only some workers: it is imported when it is needed, so that the first answer comes soon.
_LATER = {
    *("argparse", "asyncio", "concurrent", "cv2", "difflib", "email", "hashlib", "hmac", "html", "http", "json", "logging.handlers"),
    *("numpy", "prometheus_client", "psutil", "secrets", "sqlite3.dump", "ssl", "tomllib", "tornado", "unicodedata", "zeroconf"),
    *("importlib.metadata", "importlib.resources", "worker.client", "worker.executors.cluster", "worker.executors.node"),
    *("worker.operations", "worker.pictures", "worker.service.recorded", "worker.service.takeover", "worker.service.thumbnails"),
    *("worker.storage.recording", "worker.tracking", "worker.web.hub", "worker.web.page", "worker.web.server", "worker.web.state"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: a process that sends itself Ctrl-C")
def test_what_is_imported_before_the_first_answer(tmp_path):
    """A worker with everything switched on, the page and discovery too, has imported nothing yet that can wait."""
    port = str(free_port())
    question = osc.encode_bundle((Hello("test", 0, 0), Ping(1))).hex()
    serve = ["serve", "--port", port, "--root", str(tmp_path), "--state", str(tmp_path / "state"), "--http", "127.0.0.1:0"]
    command = [sys.executable, "-c", _FIRST_ANSWER, port, question, *serve]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    imported_then = set(next(line for line in said.splitlines() if line.startswith("IMPORTED")).split()[1:])
    assert {"worker.service.loop", "worker.storage.journal", "worker.executors.pool"} <= imported_then
    assert {name for name in imported_then for later in _LATER if name == later or name.startswith(f"{later}.")} == set()
    assert "\n  page            http://" in said


@pytest.mark.parametrize("path", sorted((ROOT / "td").rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_td_stands_alone(path):
    """What is copied into a TouchDesigner project imports the standard library, TouchDesigner, its NumPy and its own neighbours only."""
    neighbours = {other.stem for other in (ROOT / "td").rglob("*.py")} | {"td", "TDFunctions", "TDStoreTools", "numpy"}
    names = {other.partition(".")[0] for other in imported(ast.parse(path.read_text(encoding="utf-8")))}
    assert names - set(sys.stdlib_module_names) - neighbours == set()


# ------------------------------------------------------------------------------------- an operation is a pair and two rows

#: The two tables, which list all operations.
_TABLES = {"catalog.table", "operations.table"}
#: Files that are documentation: they show how an operation is used, for a reader, and nothing in them depends on which one it is.
_SHOWN = {
    "cli": "help texts",
    "cli.run": "help texts",
    "cli.ops": "help texts",
    "cli.send": "help texts",
    "cli.serve": "help texts",
    "cli.card": "the line to paste, as it stands on the card",
    "cli.presets": "help texts",
    "cli.examples": "the demo's jobs, with their names, as a reader of the demo sees them",
}


def texts(tree):
    """Every text in a module that is no docstring."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [node.value for node in constants if isinstance(node.value, str)]


def names_in(tree):
    """The operations that a module names in a text. A name that is also an English word counts only if it is the whole text."""
    found = set()
    for text in texts(tree):
        found |= {name for name in CATALOG if name == text or ("_" in name and re.search(rf"\b{name}\b", text))}
    return found


def pair_of(name):
    """The two modules that an operation lives in."""
    return {f"catalog.{CATALOG[name].family}", f"operations.{CATALOG[name].family}"}


def test_no_operation_is_named_outside_its_pair():
    """A new operation is one pair of files and one row in each of two tables: nothing else knows its name.

    A name that a parameter or a step of a filter has, too, such as `crop`, means that there.
    """
    named = {(module, name) for module, tree in TREES.items() for name in names_in(tree)}
    others = {field.name for row in CATALOG.values() for field in row.parameters} | set(STEPS)
    assert {name for module, name in named if module in _TABLES} == set(CATALOG)
    assert (
        sorted((module, name) for module, name in named if name not in others and module not in {*_TABLES, *_SHOWN, *pair_of(name)}) == []
    )


def test_documentation_that_names_operations_is_listed_once():
    """Each file of the list above does name one."""
    assert [module for module in _SHOWN if not names_in(TREES[module])] == []


def test_only_the_tables_know_the_pairs():
    """Outside a pair, only the tables import it; within a floor, a family may use another one."""
    families = {module for name in CATALOG for module in pair_of(name)}
    outside = {module: tree for module, tree in TREES.items() if room(module) not in ("catalog", "operations")}
    strangers = {(module, other) for module, tree in outside.items() for other in of_ours(tree) if other in families}
    assert strangers == set()


# -------------------------------------------------------------------------------------------------------------- sizes

LONGEST_FUNCTION = 50
LONGEST_CLASS = 350
#: What is still longer. Each goes from this list when it has been split; a test sees to it.
TOO_LONG: set[str] = set()
#: Algorithms are as long as they are.
_ALGORITHMS = {f"operations.{CATALOG[name].family}" for name in CATALOG} | {"operations.edges"}


def _lengths(prefix, parent):
    """Every function and class by its full name, with its number of lines and the most that it may have."""
    for node in ast.iter_child_nodes(parent):
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{node.name}"
            yield name, node.end_lineno - node.lineno + 1, LONGEST_CLASS if isinstance(node, ast.ClassDef) else LONGEST_FUNCTION
        yield from _lengths(name, node)


def too_long():
    """What has more lines than it may have; an algorithm may have as many as it needs."""
    found = [one for module, tree in TREES.items() if module not in _ALGORITHMS for one in _lengths(module, tree)]
    assert len(found) > 500
    return {name for name, lines, most in found if lines > most}


def test_sizes():
    """No function has more than 50 lines, no class more than 350."""
    assert too_long() - TOO_LONG == set()


def test_exceptions_from_sizes_are_needed():
    """What is short enough now goes from the list."""
    assert TOO_LONG - too_long() == set()
