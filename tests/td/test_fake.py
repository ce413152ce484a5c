"""The fake is as strict as section 10 of the fact sheet: each test is a row of its table."""

from __future__ import annotations

import contextlib
import socket
import threading

import numpy as np
import pytest
from tests.ports import free_port
from tests.td.fake import TouchDesigner, osc, tdAttributeError, tdError


@pytest.fixture
def td(tmp_path):
    made = TouchDesigner(2025, tmp_path)
    yield made
    made.crash()


def receiver(td, name="oscin", port=None):
    dat = td.root.create("oscinDAT", name)
    dat.par.protocol, dat.par.port, dat.par.active, dat.par.executeloc = "msging", port or free_port(), True, "callbacks"
    return dat


def send(port, *packets):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for packet in packets:
            sender.sendto(packet, ("127.0.0.1", port))


def test_an_unknown_parameter_raises(td):
    dat = td.root.create("oscinDAT", "oscin")
    with pytest.raises(tdAttributeError):
        dat.par.netaddress = "127.0.0.1"  # the CHOPs' name
    with pytest.raises(AttributeError):
        dat.par.prot  # noqa: B018
    with pytest.raises(tdError):
        dat.par.protocol = "udp"


def test_packets_wait_for_the_frame_and_come_in_order_with_eight_arguments(td):
    dat = receiver(td)
    td.frame()
    docked = dat.par.callbacks.eval()
    assert docked.name == "oscin_callbacks"
    assert dat.docked == [docked]
    docked.text = "seen = []\ndef onReceiveOSC(*args):\n    seen.append(args)\n"
    port = dat.par.port.eval()
    send(port, *(osc.message("/a", [number, "é"]) for number in range(150)))
    seen = docked.module.seen
    td.until(lambda: len(seen) == 150)
    assert [args[6] for args in seen] == [[number, "é"] for number in range(150)]
    assert {len(args) for args in seen} == {8}
    assert seen[0][2] == "/a 0 ?"
    assert dat.numRows == 101
    assert dat[100, 0].val == "/a 149 ?"


def test_create_takes_the_next_number(td):
    assert [td.root.create("tableDAT", "jobs").name for _ in range(3)] == ["jobs", "jobs1", "jobs2"]
    with pytest.raises(tdError):
        td.root.create("oscInDAT", "oscin")


def test_send_osc_has_the_type_table_of_the_sheet(td):
    out = td.root.create("oscoutDAT", "oscout")
    with pytest.raises(TypeError):
        out.sendOSC("/a", [1])  # without asBundle
    sent = []
    out.__dict__["transmit"] = sent.append
    with contextlib.suppress(TypeError):
        out.sendOSC("/a", [1, 2**40, 0.5, "x", True, None, b"b"], asBundle=False)
        out.sendOSC("/a", [1, 0.5, "x", True, None], asBundle=False, useNonStandardTypes=False)
        out.sendOSC("/a", b"ab", asBundle=False)
    assert b",ihfsTNb" in sent[0]
    assert len(sent) >= 1
    with pytest.raises(OverflowError):
        osc.message("/a", [2**40])


def test_a_taken_port_is_a_warning_and_no_data(td):
    first = receiver(td)
    second = td.root.create("oscinCHOP", "numbers")
    second.par.protocol, second.par.port, second.par.active = "msging", first.par.port.eval(), True
    td.frame()
    td.frame()
    assert "Cannot bind" in second.warnings()
    assert second.current() == {}


def test_the_osc_in_chop_takes_single_numbers_and_keeps_them(td):
    chop = td.root.create("oscinCHOP", "numbers")
    chop.par.protocol, chop.par.port, chop.par.active, chop.par.stripsegments = "msging", free_port(), True, 0
    td.frame()
    send(chop.par.port.eval(), osc.message("/n/a", [0.1]), osc.message("/n/b", ["text"]), osc.message("/n/c", [1, 2]))
    td.until(lambda: chop["n/a"] is not None and len(chop.problems) == 2)
    assert chop["n/a"] == np.float32(0.1)
    td.frames(10)
    assert chop["n/a"] == np.float32(0.1)


def test_the_osc_out_chop_sends_a_bundle_at_every_cook(td):
    chop, source, dat = td.root.create("oscoutCHOP", "out"), td.root.create("constantCHOP", "source"), receiver(td)
    chop.inputConnectors[0].connect(source)
    source.channels["worker/trigger/a"] = 1
    chop.par.protocol, chop.par.netaddress, chop.par.port = "msging", "127.0.0.1", dat.par.port.eval()
    chop.par.numericformat, chop.par.format, chop.par.sendevents, chop.par.cookalways, chop.par.active = "float", "sample", True, True, True
    td.frame()
    td.until(lambda: dat.numRows > 3)
    assert dat[2, 0].val == "/worker/trigger/a 1.0"


def test_execute_dats_need_their_toggles(td):
    dat = td.root.create("executeDAT", "execute")
    dat.text = "def onStart():\n    me.store('ran', True)\n"
    td.opened()
    assert not dat.storage
    dat.par.active = True
    dat.par.start = True
    td.opened()
    assert dat.fetch("ran")


@pytest.mark.parametrize(("year", "values"), [(2022, 2), (2025, 1)])
def test_value_changes_come_a_frame_later_with_the_build_s_arguments(tmp_path, year, values):
    td = TouchDesigner(year, tmp_path)
    comp = td.root.create("baseCOMP", "comp")
    comp.appendCustomPage("Page").appendFloat("Size")
    dat = comp.create("parameterexecuteDAT", "parexec")
    dat.text = "seen = []\ndef onValueChange(par, *rest):\n    seen.append(rest)\n"
    seen = dat.module.seen
    comp.par.Size = 1
    td.frame()
    assert seen == []  # neither active, nor a source
    dat.par.active, dat.par.valuechange, dat.par.custom, dat.par.pars, dat.par.op = True, True, True, "*", comp
    comp.par.Size = 2
    assert seen == []
    td.frame()
    assert [len(rest) for rest in seen] == [values]


def test_storage_is_pickled_at_save(td):
    td.root.create("tableDAT", "table").store("lock", threading.Lock())
    with pytest.raises(TypeError):
        td.save()


def test_run_waits_for_frames(td):
    seen = []
    td.run(seen.append, 1, delayFrames=3)
    td.frame()
    td.frame()
    assert seen == []
    td.frame()
    assert seen == [1]


def test_no_other_thread_may_touch_an_operator(td):
    table, errors = td.root.create("tableDAT", "table"), []

    def touch(action):
        try:
            action()
        except tdError as error:
            errors.append(str(error))

    for action in (lambda: table.appendRow(["x"]), lambda: table.par.file, lambda: td.root.op("table"), lambda: td.run("pass")):
        thread = threading.Thread(target=touch, args=(action,))
        thread.start()
        thread.join()
    assert errors == ["THREAD CONFLICT"] * 4


def test_a_missing_operator_is_none_and_pars_compare_by_value(td):
    assert td.root.op("nothing") is None
    first, second = td.root.create("oscinDAT", "a"), td.root.create("oscinDAT", "b")
    first.par.port = second.par.port = 4000
    assert first.par.port == second.par.port == 4000


def test_a_top_is_bottom_up_and_float(td):
    top = td.root.create("nullTOP", "top")
    top.image = np.zeros((4, 6, 3), np.uint8)
    top.image[0, 0] = (0, 0, 255)  # red, at the top left
    array = top.numpyArray()
    assert array.dtype == np.float32
    assert array.shape == (4, 6, 4)
    assert list(array[3, 0]) == [1, 0, 0, 1]


def test_a_delayed_array_is_that_of_the_call_before(td):
    """None in the same frame, and while the graphics card is not done."""
    top = td.root.create("nullTOP", "top")
    top.image = np.zeros((4, 6, 3), np.uint8)
    assert top.numpyArray(delayed=True) is None
    top.image = np.full((4, 6, 3), 255, np.uint8)
    assert top.numpyArray(delayed=True) is None
    td.frame()
    assert top.numpyArray(delayed=True)[0, 0, 0] == 1
    top.slow_frames = 3
    td.frame()
    assert top.numpyArray(delayed=True) is None


def test_a_script_top_takes_arrays_while_it_cooks(td):
    """Not elsewhere, and no other arrays."""
    top = td.root.create("scriptTOP", "script1")
    with pytest.raises(tdError, match="within the onCook"):
        top.copyNumpyArray(np.zeros((4, 6, 3), np.uint8))
    td.root.op(
        "script1_callbacks"
    ).text = "import numpy\ndef onCook(scriptOp):\n    scriptOp.copyNumpyArray(numpy.ones((4, 6, 3), 'uint8'))\n"
    top.cook()
    assert top.shown is None
    top.cook(force=True)
    assert top.shown.sum() == 72
    for wrong in ("ones((4, 6), 'uint8')", "ones((4, 6, 3), 'float64')", "ones((4, 6, 5), 'uint8')"):
        td.root.op("script1_callbacks").text = f"import numpy\ndef onCook(scriptOp):\n    scriptOp.copyNumpyArray(numpy.{wrong})\n"
        top.cook(force=True)
        assert "copyNumpyArray does not take" in td.errors.pop()


@pytest.mark.parametrize(("year", "has_status"), [(2023, False), (2025, True)])
def test_an_asynchronous_save_is_incomplete_at_first(tmp_path, year, has_status):
    td = TouchDesigner(year, tmp_path)
    top = td.root.create("nullTOP", "top")
    top.image = np.zeros((64, 64, 3), np.uint8)
    saved = top.save(str(tmp_path / "a.png"), asynchronous=True)
    assert str(saved) == str(tmp_path / "a.png")
    assert hasattr(saved, "isCompleted") == has_status
    size = (tmp_path / "a.png").stat().st_size
    td.frames(10)
    assert (tmp_path / "a.png").stat().st_size > size


@pytest.mark.parametrize(("year", "old", "new"), [(2022, True, False), (2023, False, True), (2025, False, False)])
def test_the_extension_parameters_differ_between_builds(tmp_path, year, old, new):
    """In 2025 the first block has to be made."""
    comp = TouchDesigner(year, tmp_path).root.create("baseCOMP", "comp")
    assert (hasattr(comp.par, "extension1"), hasattr(comp.par, "ext0object")) == (old, new)


def test_rand_is_a_stub(td):
    assert td.tdu.rand(3) == td.tdu.rand(3) != td.tdu.rand(4)
