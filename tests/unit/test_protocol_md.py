"""What `protocol.md` says is what the program does: addresses, arguments, examples, codes, keys, names, and the table of operations."""

from __future__ import annotations

import itertools
import json
import re
import struct

import pytest
from msgspec.structs import replace

from tests import docs
from tests.play import Play
from tests.strategies import osc_message, osc_text
from worker import errors
from worker.catalog.rows import OwnFile
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core import presets
from worker.core.events import ChildrenChanged, SendNumbers
from worker.core.reports import descriptions
from worker.errors import DecodeError
from worker.protocol import addresses
from worker.protocol.messages import COMMANDS, REPORTS, Job, Message, Ready, ResultRows, Set, Tracked, fields, wire
from worker.protocol.osc import decode_commands, decode_reports, encode
from worker.settings import declared

TEXT = docs.PROTOCOL.read_text(encoding="utf-8")
BLOCKS = [block for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE) if not kind]
EXAMPLES = list(dict.fromkeys(line for block in BLOCKS for line in block.splitlines() if " = " not in line))
SAME = [tuple(line.split("  =  ")) for block in BLOCKS for line in block.splitlines() if "  =  " in line]


def section(title):
    """The text of a section, up to the next one."""
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)[1]


def table(title):
    """The cells of all table rows in a section, without those of the headings."""
    rows = [line for line in section(title).splitlines() if line.startswith("| `") or re.match(r"\| \d", line)]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def packets(line):
    """Every packet that a line may stand for. Spaces stand between arguments and in them, so there may be several."""
    address, _, rest = line.partition(" ")
    tags, _, shown = rest.partition(" ")
    tags = tags.removeprefix(",")
    wanted = [tag for tag in tags if tag not in "TFNI[]"]
    words = shown.split(" ") if shown or wanted else []
    words += [""] * (len(wanted) - len(words))  # an empty text at the end of a line
    for cuts in itertools.combinations(range(1, len(words)), max(0, len(wanted) - 1)):
        values = [" ".join(words[first:last]) for first, last in itertools.pairwise((0, *cuts, len(words)))] if wanted else []
        try:
            yield osc_message(address, tags, *map(_packed, wanted, values))
        except (ValueError, struct.error):
            continue


def _packed(tag, value):
    if tag == "s":
        return osc_text(value)
    return struct.pack({"i": ">i", "h": ">q", "f": ">f", "d": ">d"}[tag], int(value) if tag in "ih" else float(value))


def decoded(line):
    """The message that a line stands for."""
    decode = decode_reports if is_report(line) else decode_commands
    for packet in packets(line):
        (message,) = decode(packet)
        if not isinstance(message, DecodeError) and same_text(message, line):
            return message
    raise AssertionError(f"no message: {line}")


def is_report(line):
    address, _, rest = line.partition(" ")
    if address == addresses.STATUS:
        return rest.startswith(",s")
    return address not in COMMANDS and not address.startswith((addresses.SET, addresses.TRIGGER))


def same_text(message, line):
    """Whether the message is written like this; left out arguments are the same as their defaults, and spaces at the end do not count."""
    written = wire(message)
    _, tags, *words = written.split(" ")
    short = line.split(" ")
    return written.rstrip() == line or "[" in line or tags.rstrip("si") != short[1].rstrip("si") or words[: len(short) - 2] == short[2:]


# --------------------------------------------------------------------------------------------------------- examples


@pytest.mark.parametrize("line", EXAMPLES)
def test_example(line):
    """Each example is a message that the program reads, and writes in the same way."""
    message = decoded(line)
    (again,) = (decode_reports if is_report(line) else decode_commands)(encode(message))
    assert again == message
    if type(message).__name__ != "Hello":  # it is shown with and without what may be left out
        given = line.split(" ")[1]
        assert wire(message).split(" ")[1].startswith(given)


@pytest.mark.parametrize(("line", "other"), SAME)
def test_same(line, other):
    """Both sides of a = mean the same."""
    (left,) = {message for packet in packets(line) for message in decode_commands(packet) if not isinstance(message, DecodeError)}
    (right,) = decode_commands(next(packets(other)))
    assert left == right


@pytest.mark.parametrize("line", [line for line in EXAMPLES if line.startswith("/worker/job ")])
def test_example_jobs(line):
    """The jobs of the examples would be accepted."""
    job = decoded(line)
    assert isinstance(job, Job)
    CATALOG.parse_job(job.operation, job.pairs)


def test_example_presets():
    """The settings of the examples would be, too."""
    known = presets.Presets(CATALOG)
    for line in EXAMPLES:
        if line.startswith("/worker/set/"):
            message = decoded(line)
            assert isinstance(message, Set)
            known.set(message.preset, message.key, message.value)


def docstring_examples():
    return [
        example
        for message in (*COMMANDS.values(), *REPORTS.values())
        for example in re.findall(r"^ *'(/worker/.*)'$", message.__doc__, re.MULTILINE)
    ]


@pytest.mark.parametrize("line", docstring_examples())
def test_docstring_examples(line):
    """The example beside each class stands in the document, word for word; spaces at the end of a line do not count."""
    assert line.rstrip() in [example.rstrip() for example in EXAMPLES]


def test_bytes():
    """The bytes that are shown are those of the message that is named before them."""
    line, shown = re.search(r"bytes of `([^`]+)`:\n\n```text\n(.*?)\n```", TEXT, re.DOTALL).groups()
    assert encode(decoded(line)) == bytes.fromhex(shown)


def test_every_class_has_an_example():
    """One address, one class, one example."""
    assert len(docstring_examples()) == len(COMMANDS) + len(REPORTS)


# -------------------------------------------------------------------------------------------- addresses and arguments


def form(message: type[Message]):
    return message.address + "".join(f"/<{field.name}>" for field in fields(message)[: message.tail])


@pytest.mark.parametrize(("title", "messages"), [("Commands", COMMANDS), ("Reports", REPORTS)])
def test_addresses(title, messages):
    """Each address is documented, and each documented one is there."""
    documented = [row[0].strip("`") for row in table(title) if row[0].startswith("`/")]
    assert sorted(documented) == sorted(form(message) for message in messages.values())


@pytest.mark.parametrize(("title", "messages"), [("Commands", COMMANDS), ("Reports", REPORTS)])
def test_arguments(title, messages):
    """Arguments are documented by name, type tag and order, those in brackets have a default."""
    rows = {row[0].strip("`"): row[1] for row in table(title) if row[0].startswith("`/")}
    for message in messages.values():
        if message in (Job, Set, ResultRows, Tracked):  # said in words
            continue
        tags = {"int": "i", "str": "s", "float": "f"}
        shown = []
        for field in fields(message)[message.tail :]:
            text = f"{tags[str(field.type)]} {field.name}"
            shown.append(text if field.required else f"[{text}]")
        assert rows[form(message)] == ", ".join(shown)


# ------------------------------------------------------------------------------------------------------ other tables


def all_errors():
    found, todo = [], [errors.WorkerError]
    while todo:
        error = todo.pop()
        if error.__module__ in (errors.__name__, presets.__name__):
            found.append(error)
        todo += error.__subclasses__()
    return found


def test_codes():
    """Each code with its word is documented, and each documented one is there."""
    documented = {(int(row[0]), row[1].strip("`")) for row in table("Errors")}
    assert documented == {(error.code, error.word) for error in all_errors()}
    assert len(table("Errors")) == len(documented)


def test_keys_of_every_job():
    """All of them, in the order in which the program has them."""
    assert [row[0].strip("`") for row in table("Keys of every job")] == list(docs.options())


def test_numbers():
    """Each number that is sent is documented, and each documented one is sent."""
    play = Play(show=["numbers"])
    play(0.0, ChildrenChanged(working=True, nodes=2), Job("a", "noop"))
    sent = [effect for effect in play.effects if isinstance(effect, SendNumbers)][-1]
    assert [row[0].strip("`") for row in table("Numbers")] == [number.name for number in sent.numbers]


def test_ports_and_sizes():
    """The numbers that stand in sentences."""
    config = Config()
    ports = section("Ports")
    for number in (config.port, config.text_port, config.number_port):
        assert str(number) in ports
    assert f"version {addresses.PROTOCOL_VERSION}\n" in TEXT
    limits = section("Limits")
    for number in (
        config.limits.queue_jobs,
        config.limits.remembered_jobs,
        config.limits.clients,
        config.limits.result_rows_kept,
        config.limits.packets_per_s,
        config.limits.packets_burst,
        addresses.MAX_DATAGRAM_IN,
        addresses.MAX_DATAGRAM_OUT,
    ):
        assert f"{number:,}" in limits
    assert f"{config.limits.timeout_ms // 1000} s" in limits
    assert f"{config.limits.lease_ms // 1000} s" in limits
    assert f"{config.limits.queue_bytes // 2**20} MB" in limits


def test_operations():
    """The table of operations is what the catalogue says; if not: python -m tests.docs --write."""
    assert docs.rewritten(TEXT) == TEXT
    assert all(f"### {name}\n" in TEXT for name in CATALOG)


def test_descriptions():
    """Every key of the JSON that answers `describe` is documented, and every documented one occurs."""
    documented = {name.strip("`") for row in table("Descriptions") for name in row[0].split(", ")}
    catalog = CATALOG.with_rows(replace(CATALOG["noop"], name="glow", own=OwnFile("/show/my_ops.py", ""), needs=("network",)))
    said = descriptions(catalog, missing=dict.fromkeys(catalog, "It cannot be done here."))
    texts = itertools.groupby(said, lambda report: report.name)
    rows = [json.loads("".join(part.description for part in parts)) for name, parts in texts if name in catalog]
    parameters = [parameter for row in rows for parameter in row["parameters"].values()]
    assert documented == {key for one in (*rows, *parameters) for key in one}
    shown = json.loads(re.search(r"^```json\n(.*?)^```$", section("Descriptions"), re.DOTALL | re.MULTILINE)[1])
    real = CATALOG[shown["name"]].as_object()
    assert shown["fields"] == [*real["fields"][: len(shown["fields"])]]
    assert {key: shown[key] for key in ("summary", "result")} == {key: real[key] for key in ("summary", "result")}
    for name, parameter in shown["parameters"].items():
        assert parameter | {"help": ""} == real["parameters"][name] | {"help": ""}


def test_links():
    """The links within the document lead somewhere."""
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", TEXT, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]*)\)", TEXT)) <= anchors


def test_final_carries_what_it_says():
    """The order of the first fields of both finals is the same, so that one callback reads both."""
    assert [field.name for field in fields(Ready)][:3] == ["id", "seq", "boot"]


def test_page_of_settings():
    """The tables in docs/settings.md are what the declarations say; if not: python -m tests.docs --write."""
    text = docs.SETTINGS.read_text(encoding="utf-8")
    assert docs.rewritten_settings(text) == text
    assert all(f"`{one.option}`<br>`{one.variable}`" in text for one in declared(Config))


def test_steps_page():
    """The page of filter steps is what the table of steps says."""
    text = docs.STEPS_PAGE.read_text(encoding="utf-8")
    assert docs.rewritten_steps(text) == text


def test_operations_in_the_readme():
    """The README has every operation once, in its group; if not: python -m tests.docs --write."""
    text = docs.README.read_text(encoding="utf-8")
    assert docs.rewritten_overview(text) == text
    inside = text.split(docs.BEGIN_OVERVIEW)[1].split(docs.END_OVERVIEW)[0]
    named = re.findall(r"^\| `(\w+)` \|", inside, re.MULTILINE)
    assert sorted(named) == sorted(name for name, row in CATALOG.items() if not row.probe)
    assert f"### {docs.OTHERS}" not in inside, "name the new family in GROUPS, tests/docs.py"
    assert not re.findall(r"\| \|$", inside, re.MULTILINE), "a row has no example"
