"""The address space as OSCQuery wants it: every array as long as TYPE, every leaf with a value, and a status for each question."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core.scheduler import Scheduler
from worker.protocol.messages import Number, Set, Trigger
from worker.web.oscquery import MANY_CHANGES, MAX_LISTENED, NUMBERS, AddressSpace, Listener, host_info

LOGO = {"operation": "find_circles", "image": "logo.png", "min_radius": 20}
PRESETS = {"logo": LOGO, "text": {"operation": "write_text", "append": True}}
ROOT = Path(__file__).parents[3]


def space(presets=PRESETS, **numbers):
    return AddressSpace(CATALOG, presets, numbers or {"queued": 4.0, "canary_s": 0.5})


def whole(tree, path="/"):
    """A node as a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(tree.node(path)))


def nodes(node):
    yield node
    for child in node.get("CONTENTS", {}).values():
        yield from nodes(child)


def test_the_tree_holds_numbers_triggers_and_presets():
    """As the issue draws it."""
    worker = whole(space())["CONTENTS"]["worker"]["CONTENTS"]
    assert list(worker) == ["n", "trigger", "set"]
    assert worker["n"]["CONTENTS"]["queued"] == {
        "FULL_PATH": "/worker/n/queued",
        "DESCRIPTION": "number of waiting jobs",
        "TYPE": "f",
        "ACCESS": 1,
        "VALUE": [4.0],
        "RANGE": [{"MIN": 0.0}],
    }
    trigger = worker["trigger"]["CONTENTS"]["logo"]
    assert (trigger["TYPE"], trigger["ACCESS"], trigger["VALUE"], trigger["RANGE"]) == ("f", 3, [0.0], [{"MIN": 0.0, "MAX": 1.0}])
    assert trigger["DESCRIPTION"] == "1 starts find_circles; it starts again after a 0. Finds circles in images."


def test_a_key_has_what_the_catalogue_knows():
    """Range, unit, description, and whether it is a file; the value is what the preset holds, otherwise the default."""
    keys = space().node("/worker/set/logo")["CONTENTS"]
    assert keys["min_radius"] == {
        "FULL_PATH": "/worker/set/logo/min_radius",
        "DESCRIPTION": "smallest radius; 0 = automatic, 3",
        "TYPE": "f",
        "ACCESS": 3,
        "VALUE": [20.0],
        "RANGE": [{"MIN": 0.0, "MAX": 16384.0}],
        "UNIT": ["distance.pixels"],
    }
    assert keys["max_items"]["VALUE"] == [1000]
    assert keys["image"]["EXTENDED_TYPE"] == ["filepath"]
    assert keys["nested"]["RANGE"] == [{"MIN": 0, "MAX": 1}]
    assert keys["nested"]["VALUE"] == [1]
    assert keys["priority"]["RANGE"] == [{"VALS": [0, 1, 2]}]
    assert keys["operation"]["RANGE"] == [{"VALS": list(CATALOG)}]


@pytest.mark.parametrize("operation", CATALOG)
def test_every_leaf_can_be_used_by_every_client(operation):
    """Of each operation: arrays as long as TYPE, values of that type and in their range, an address that OSC allows."""
    for node in nodes(whole(space({"p": {"operation": operation}}))):
        assert re.fullmatch(r"/[^\s#*,?\[\]{}]*", node["FULL_PATH"])
        assert node["DESCRIPTION"]
        if "CONTENTS" in node:
            assert node["ACCESS"] == 0
            assert not node.keys() & {"TYPE", "VALUE", "RANGE"}
            continue
        assert node["ACCESS"] in (1, 3)
        assert len(node["VALUE"]) == len(node["TYPE"]) == 1
        assert all(len(node.get(word, [None])) == 1 for word in ("RANGE", "UNIT", "EXTENDED_TYPE"))
        value, span = node["VALUE"][0], node.get("RANGE", [{}])[0]
        assert type(value) is {"f": float, "i": int, "s": str}[node["TYPE"]]
        assert span.get("MIN", value) <= value <= span.get("MAX", value)
        assert "VALS" not in span or value in span["VALS"]


def test_names_that_osc_cannot_address_are_left_out():
    """A preset of the settings file may have any name; the trees of other presets stay readable."""
    names = ["a b", "a#", "a*", "a,b", "a/b", "a?", "[a", "a]", "{a", "a}", "", "a\n"]
    tree = space({**dict.fromkeys(names, LOGO), "größer": LOGO}).node("/worker")
    assert list(tree["CONTENTS"]["trigger"]["CONTENTS"]) == list(tree["CONTENTS"]["set"]["CONTENTS"]) == ["größer"]
    assert space({"a b": LOGO}).node("/worker/trigger/a b") is None
    assert list(space({"p": {"a b": 1, "c": 2}}).node("/worker/set/p")["CONTENTS"]) == ["operation", "c"]


def test_a_preset_without_an_operation_shows_what_it_holds():
    """And one whose operation is not known any more."""
    for operation in ({}, {"operation": "gone"}):
        keys = space({"p": {**operation, "count": 3, "scale": 0.5, "name": "x"}}).node("/worker/set/p")["CONTENTS"]
        assert {key: (leaf["TYPE"], leaf["VALUE"]) for key, leaf in keys.items() if key != "operation"} == {
            "count": ("i", [3]),
            "scale": ("f", [0.5]),
            "name": ("s", ["x"]),
        }


def test_values_that_do_not_fit_any_more_do_no_harm():
    """A stored preset is not checked until it is triggered."""
    keys = space({"p": {**LOGO, "min_radius": "wide", "max_items": float("inf"), "image": 7.0}}).node("/worker/set/p")["CONTENTS"]
    assert [keys[name]["VALUE"] for name in ("min_radius", "max_items", "image")] == [[0.0], [0], ["7"]]


@pytest.mark.parametrize(
    ("path", "query", "status", "body"),
    [
        ("/worker/n/queued", "VALUE", 200, {"VALUE": [4.0]}),
        ("/worker/n/queued", "VALUE=", 200, {"VALUE": [4.0]}),
        ("/worker/n/queued", "TYPE&ACCESS", 200, {"TYPE": "f", "ACCESS": 1}),
        ("/worker/n/queued/", "TYPE", 200, {"TYPE": "f"}),
        ("/worker/n/canary_s", "UNIT", 200, {"UNIT": ["time.second"]}),
        ("/worker/n/queued", "UNIT", 200, {}),
        ("/worker/n/queued", "CONTENTS", 200, {}),
        ("/worker/n", "TYPE", 200, {}),
        ("/worker/n", "VALUE", 204, None),
        ("/worker/set/gr%C3%B6%C3%9Fer/count", "VALUE", 200, {"VALUE": [1]}),
    ],
)
def test_one_attribute_can_be_asked_for(path, query, status, body):
    """`?ATTR` gives that attribute only, nothing for what does not apply, and 204 for a value that cannot be read."""
    answer = space({"größer": {"count": 1}}, queued=4.0, canary_s=0.5).answer(path, query, {})
    assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    "path", ["/nothing", "/worker/n/none", "/worker/trigger/none", "/worker/set/logo/none", "/worker/set/logo/count/x"]
)
def test_an_unknown_address_is_404(path):
    """With a sentence."""
    answer = space().answer(path, "", {})
    assert answer.status == 404
    assert path in answer.body["error"]


@pytest.mark.parametrize("word", ["NONE", "value", "CRITICAL", "%00", "TYPE&NONE"])
def test_an_unknown_attribute_is_400(word):
    """The sentence lists those that there are."""
    answer = space().answer("/worker", word, {})
    assert answer.status == 400
    assert "HOST_INFO" in answer.body["error"]


@pytest.mark.parametrize("query", ["HOST_INFO", "HOST_INFO=1", "HOST_INFO=", "VALUE&HOST_INFO"])
@pytest.mark.parametrize("path", ["/", "/worker/n", "/nothing"])
def test_host_info_is_there_at_every_path(path, query):
    """Clients send both forms; the path means nothing."""
    info = host_info(("127.0.0.1", 9460), ("127.0.0.1", 9463), "a worker")
    assert space().answer(path, query, info).body == info
    assert info.keys() == {"NAME", "EXTENSIONS", "OSC_PORT", "OSC_TRANSPORT", "WS_PORT"}


def test_host_info_names_an_address_only_if_it_is_another():
    """A client uses the address by which it has found us, which may be one of several, or a container's."""
    assert "OSC_IP" not in host_info(("0.0.0.0", 9460), ("10.0.0.5", 9463), "w")
    assert host_info(("127.0.0.1", 9460), ("0.0.0.0", 9463), "w")["OSC_IP"] == "127.0.0.1"


def test_the_numbers_are_those_of_the_protocol():
    """All that the worker sends are described, in the words of protocol.md."""
    table = (ROOT / "protocol.md").read_text(encoding="utf-8").partition("\n## Numbers\n")[2].partition("\n## ")[0]
    described = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    scheduler = Scheduler(Config(), 1, 0.0)
    scheduler._board.nodes = 1
    assert set(NUMBERS) == described == {number.name for number in scheduler._board._numbers(1.0)}


# ------------------------------------------------------------------------------------------------------------ changes


def test_changed_numbers_are_messages():
    """Only those that have changed."""
    tree = space(queued=4.0, running=1.0)
    assert tree.set_numbers({"queued": 5.0, "running": 1.0}).messages == {"/worker/n/queued": Number("queued", 5.0)}
    changes = tree.set_numbers({"queued": 5.0, "running": 1.0, "nodes": 2.0})
    assert changes.commands == (("PATH_ADDED", "/worker/n/nodes"), ("PATH_CHANGED", "/worker/n"))


def test_the_tree_is_that_of_now():
    """What is kept of presets is made anew when they or the catalogue change, and only then."""
    tree = space()
    before = whole(tree)
    assert whole(tree) == before
    tree.set_presets({**PRESETS, "logo": {**LOGO, "min_radius": 30}})
    assert whole(tree)["CONTENTS"]["worker"]["CONTENTS"]["set"]["CONTENTS"]["logo"] == whole(tree, "/worker/set/logo")
    assert whole(tree, "/worker/set/logo/min_radius")["VALUE"] == [30.0]
    tree.set_catalog(type(CATALOG)(row for row in CATALOG.values() if row.name != "write_text"))
    assert list(whole(tree, "/worker/set")["CONTENTS"]["text"]["CONTENTS"]) == ["operation", "append"]
    tree.set_presets({})
    assert whole(tree, "/worker/set")["CONTENTS"] == {}


def test_presets_come_and_go():
    """Each as its trigger and its keys."""
    tree = space()
    changes = tree.set_presets({"logo": LOGO, "new": LOGO})
    assert changes.commands == (
        ("PATH_REMOVED", "/worker/trigger/text"),
        ("PATH_REMOVED", "/worker/set/text"),
        ("PATH_ADDED", "/worker/trigger/new"),
        ("PATH_ADDED", "/worker/set/new"),
        ("PATH_CHANGED", "/worker/trigger"),
        ("PATH_CHANGED", "/worker/set"),
    )
    assert tree.set_presets({"logo": LOGO, "new": LOGO}).commands == ()
    assert tree.node("/worker/trigger/text") is None


def test_a_changed_value_is_a_message_and_no_change_of_the_tree():
    """Also one that is back to its default."""
    tree = space({"logo": LOGO})
    changes = tree.set_presets({"logo": {**LOGO, "min_radius": 30.0}})
    assert changes.commands == ()
    assert changes.messages == {"/worker/set/logo/min_radius": Set("logo", "min_radius", 30.0)}
    assert tree.set_presets({"logo": {"operation": "find_circles"}}).messages == {
        "/worker/set/logo/image": Set("logo", "image", ""),
        "/worker/set/logo/min_radius": Set("logo", "min_radius", 0.0),
    }


def test_another_operation_has_other_keys():
    """What both have keeps its address."""
    changes = space({"p": {"operation": "noop"}}).set_presets({"p": {"operation": "write_text"}})
    assert ("PATH_ADDED", "/worker/set/p/text") in changes.commands
    assert changes.commands[-1] == ("PATH_CHANGED", "/worker/set/p")
    assert changes.messages == {"/worker/set/p/operation": Set("p", "operation", "write_text")}


def test_a_changed_catalogue_changes_the_nodes_of_presets():
    """An operation of the artist's own has gone: its keys lose their ranges."""
    tree = space({"logo": LOGO})
    smaller = type(CATALOG)(row for row in CATALOG.values() if row.name != "find_circles")
    assert ("PATH_CHANGED", "/worker/set/logo") in tree.set_catalog(smaller).commands
    assert ("PATH_REMOVED", "/worker/set/logo/max_items") in space({"logo": LOGO}).set_catalog(smaller).commands


def test_many_changes_are_one():
    """A thousand presets of an earlier run do not become thousands of texts."""
    changes = space({}).set_presets({f"p{n}": LOGO for n in range(MANY_CHANGES)})
    assert changes.commands == (("PATH_CHANGED", "/worker"),)


def test_a_node_as_a_message():
    """What a client that begins to listen gets at once."""
    tree = space()
    assert tree.message("/worker/n/queued") == Number("queued", 4.0)
    assert tree.message("/worker/trigger/logo") == Trigger("logo", 0.0)
    assert tree.message("/worker/set/text/append") == Set("text", "append", 1)
    assert tree.message("/worker/set/text") is None
    assert tree.message("/worker/none") is None


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.dictionaries(
            st.sampled_from(["operation", "count", "image", "min_radius", "a b", "other"]),
            st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.sampled_from([*CATALOG])),
        ),
        max_size=3,
    )
)
def test_whatever_presets_hold_there_is_a_tree(presets):
    """It can be sent, and each of its nodes is found at its address."""
    tree = AddressSpace(CATALOG, presets)
    for node in nodes(whole(tree)):
        assert whole(tree, node["FULL_PATH"]) == node


# ----------------------------------------------------------------------------------------------------------- listening


def test_a_listener_hears_exact_addresses_only():
    """Not those below."""
    listener = Listener()
    assert listener.told('{"COMMAND": "LISTEN", "DATA": "/worker/n/queued"}') == "/worker/n/queued"
    listener.told('{"COMMAND": "LISTEN", "DATA": "/worker/n"}')
    changes = space(queued=4.0, running=1.0).set_numbers({"queued": 5.0, "running": 2.0})
    assert listener.heard(changes) == {"/worker/n/queued": Number("queued", 5.0)}
    listener.told('{"COMMAND": "IGNORE", "DATA": "/worker/n/queued"}')
    assert listener.heard(changes) == {}


def test_a_listener_may_come_first():
    """It has listened before the preset was there, such as after a restart of the worker."""
    listener, tree = Listener(), space({})
    for path in ("/worker/set/logo/image", "/worker/trigger/logo", "/worker/set/logo2/image"):
        listener.told(f'{{"COMMAND": "LISTEN", "DATA": "{path}"}}')
    assert set(listener.come(tree.set_presets({"logo": LOGO}))) == {"/worker/set/logo/image", "/worker/trigger/logo"}
    many = tree.set_presets({f"p{n}": LOGO for n in range(MANY_CHANGES)} | {"logo2": LOGO})
    assert set(listener.come(many)) == {"/worker/set/logo/image", "/worker/trigger/logo", "/worker/set/logo2/image"}


def test_a_listener_hears_of_changes_and_forgets_what_has_gone():
    """The tree's changes go to every client, whatever it listens to."""
    listener = Listener()
    listener.told('{"COMMAND": "LISTEN", "DATA": "/worker/set/text/append"}')
    listener.told('{"COMMAND": "LISTEN", "DATA": "/worker/set/text2"}')
    changes = space().set_presets({"logo": LOGO})
    listener.heard(changes)
    assert '{"COMMAND":"PATH_REMOVED","DATA":"/worker/trigger/text"}' in listener.texts(changes.commands)
    assert "/worker/set/text/append" not in listener
    assert "/worker/set/text2" in listener


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        '{"DATA": "/worker"}',
        '{"COMMAND": 7, "DATA": "/worker"}',
        '{"COMMAND": "LISTEN"}',
        '{"COMMAND": "LISTEN", "DATA": 7}',
        '{"COMMAND": "LISTEN", "DATA": ["/worker"]}',
        '{"COMMAND": "LISTEN", "DATA": "worker"}',
        '{"COMMAND": "OTHER", "DATA": "/worker"}',
        '{"COMMAND": "LISTEN", "DATA": "/' + "a" * 2000 + '"}',
        "\ud800",
        "[" * 100_000,
    ],
)
def test_texts_that_mean_nothing_do_nothing(text):
    """Whatever a client sends."""
    assert Listener().told(text) is None


def test_a_client_can_listen_to_so_many_addresses():
    """More are left out."""
    listener = Listener()
    for n in range(MAX_LISTENED + 1):
        listener.told(f'{{"COMMAND": "LISTEN", "DATA": "/{n}"}}')
    assert f"/{MAX_LISTENED - 1}" in listener
    assert f"/{MAX_LISTENED}" not in listener
