"""The builder, on the fake of each build year."""

from __future__ import annotations

import runpy
import shutil
import sys

import pytest
from tests.td.conftest import TD
from tests.td.fake import BUILD_YEARS, TouchDesigner, schema

YEARS = pytest.mark.parametrize("year", BUILD_YEARS)


def snapshot(operator):
    """Everything that can be seen of a network."""
    seen = {}
    for each in [operator, *operator.session.all_operators(operator)]:
        pars = {par.name: (par.val, par.expr, par.mode) for par in each.par}
        text = getattr(each, "text", "")
        wires = [connector.source.path if connector.source else None for connector in each.inputConnectors]
        seen[each.path] = (each.OPType, pars, text, wires, each.nodeX, each.nodeY, each.color, each.comment)
    return seen


@YEARS
def test_the_page_is_off_until_it_is_asked_for(projects, year):
    """Then it shows where the worker's page is, in the size of a screen."""
    component = projects(year).component
    assert component.op("out3").shown is None
    component.par.Host = "10.0.0.5"
    component.par.Pageport = 9500
    assert component.op("page").shown is None
    component.par.Showpage = True
    assert component.op("out3").shown == "http://10.0.0.5:9500/"
    assert (component.op("page").par.resolutionw.eval(), component.op("page").par.resolutionh.eval()) == (1280, 720)


@YEARS
def test_every_operator_stands_where_it_should(projects, year):
    project = projects(year)
    kinds = {child.name: child.OPType for child in project.component.children}
    assert kinds == {
        "oscout": "oscoutDAT",
        "oscin": "oscinDAT",
        "oscin_callbacks": "textDAT",
        "in1": "inCHOP",
        "triggers": "oscoutCHOP",
        "numbers_in": "oscinCHOP",
        "status": "nullCHOP",
        "out1": "outCHOP",
        "jobs": "tableDAT",
        "results": "tableDAT",
        "tracks": "tableDAT",
        "files": "tableDAT",
        "log": "tableDAT",
        "operations": "tableDAT",
        "tables": "textDAT",
        "pending": "textDAT",
        "launcher": "textDAT",
        "ImageWorkerExt": "textDAT",
        "callbacks": "textDAT",
        "frame": "scriptTOP",
        "frame_callbacks": "textDAT",
        "frames": "textDAT",
        "out2": "outTOP",
        "page": "webrenderTOP",
        "out3": "outTOP",
        "parexec": "parameterexecuteDAT",
        "execute": "executeDAT",
    }
    places = [(child.nodeX, child.nodeY) for child in project.component.children]
    assert len(set(places)) == len(places)
    assert all(child.comment and child.color != (0.5, 0.5, 0.5) for child in project.component.children)


@YEARS
def test_every_parameter_and_wire_is_as_specified(projects, year):
    project = projects(year)
    comp, par = project.component, project.component.par
    oscin, oscout, numbers = comp.op("oscin").par, comp.op("oscout").par, comp.op("numbers_in").par
    assert (oscin.active.eval(), oscin.protocol.eval(), oscin.port.eval(), oscin.clamp.eval()) == (
        True,
        "msging",
        par.Textport.eval(),
        True,
    )
    assert oscin.callbacks.eval() is comp.op("oscin_callbacks")
    assert oscin.executeloc.eval() == "callbacks"
    assert (oscout.active.eval(), oscout.address.eval(), oscout.port.eval()) == (True, "127.0.0.1", par.Port.eval())
    assert (numbers.active.eval(), numbers.port.eval(), numbers.stripsegments.eval()) == (True, par.Numberport.eval(), 0)
    triggers = comp.op("triggers").par
    assert (triggers.active.eval(), triggers.numericformat.eval(), triggers.format.eval()) == (True, "float", "sample")
    assert (triggers.sendevents.eval(), triggers.cookalways.eval()) == (True, True)
    for target, source in (("triggers", "in1"), ("status", "numbers_in"), ("out1", "status"), ("out2", "frame")):
        assert comp.op(target).inputConnectors[0].source is comp.op(source)
    execute, parexec = comp.op("execute").par, comp.op("parexec").par
    assert all(getattr(execute, name).eval() for name in ("active", "start", "create", "exit"))
    assert parexec.op.eval() is comp
    assert all(getattr(parexec, name).eval() for name in ("active", "custom", "onpulse", "valuechange"))


@YEARS
def test_the_custom_parameters_of_the_issue_are_there(projects, year):
    par = projects(year).component.par
    names = "Host Port Textport Numberport Root Interpreter Autostart Jobtimeout Losttimeout Start Stop Cancelall Replay Clearmessage"
    read_only = "Status Message Queued Running Progress Workerage"
    assert all(hasattr(par, name) and not getattr(par, name).readOnly for name in names.split())
    assert all(hasattr(par, name) and getattr(par, name).readOnly for name in read_only.split())
    assert all(each.help for each in par if each.page)


@YEARS
def test_a_second_run_changes_nothing(projects, year, monkeypatch, capsys):
    project = projects(year)
    comp = project.component
    comp.par.Host, comp.par.Root = "10.0.0.7", "D:/show"
    comp.op("callbacks").text = "def onReady(worker, job):\n    worker.store('mine', 1)\n"
    comp.op("jobs").appendRow(["old-1", "noop", "Ready", "1", "0", "0", "0", "0", ""])
    button = project.network.create("constantCHOP", "button")
    comp.inputConnectors[0].connect(button)
    before = snapshot(comp)
    wires = comp.inputConnectors[0].source
    capsys.readouterr()
    assert project.build(monkeypatch) is comp
    assert snapshot(comp) == before
    assert comp.inputConnectors[0].source is wires
    assert "0 problems" in capsys.readouterr().out


@YEARS
def test_a_missing_parameter_is_reported_and_not_fatal(year, monkeypatch, capsys, tmp_path):
    """As in a build that has renamed it."""
    monkeypatch.delitem(schema.PARAMETERS["oscinDAT"], "addscope")
    monkeypatch.delitem(schema.PARAMETERS["oscoutCHOP"], "cookalways")
    td = TouchDesigner(year, tmp_path)
    td.root.create("baseCOMP", "project1")
    monkeypatch.setitem(sys.modules, "td", td.td)
    runpy.run_path(str(TD / "build.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "oscin: this build has no parameter 'addscope'; it should be '*'" in printed
    assert "triggers: this build has no parameter 'cookalways'; it should be True" in printed
    assert td.root.op("/project1/ImageWorker").Status() == "Unknown"
    td.crash()


def test_an_operator_of_another_type_is_replaced_and_reported(projects, monkeypatch, capsys):
    project = projects()
    project.component.op("log").destroy()
    project.component.create("textDAT", "log")
    project.build(monkeypatch)
    assert project.component.op("log").OPType == "tableDAT"
    assert "log was a textDAT; it was replaced by a tableDAT" in capsys.readouterr().out


def test_it_ends_by_telling_how_to_save_the_tox(projects, capsys):
    projects()
    assert "op('/project1/ImageWorker').save('" in capsys.readouterr().out


def test_it_runs_from_a_text_dat_that_the_file_was_dropped_into(monkeypatch, tmp_path):
    """There `__file__` is no file, and `me` knows where the text came from."""
    td = TouchDesigner(2023, tmp_path)
    monkeypatch.setitem(sys.modules, "td", td.td)
    network = td.root.create("baseCOMP", "show")
    dat = network.create("textDAT", "build")
    dat.text = (TD / "build.py").read_text()
    dat.par.file = str(TD / "build.py")
    dat.run()
    assert network.op("ImageWorker").Status() == "Unknown"
    td.crash()


def test_a_folder_that_cannot_be_found_is_told(monkeypatch, tmp_path):
    td = TouchDesigner(2023, tmp_path)
    monkeypatch.setitem(sys.modules, "td", td.td)
    dat = td.root.create("textDAT", "build")
    dat.text = (TD / "build.py").read_text()
    with pytest.raises(FileNotFoundError, match="Copy the whole folder td beside your project"):
        dat.run()


def test_it_works_when_the_folder_td_is_copied_alone_into_a_project(monkeypatch, tmp_path):
    shutil.copytree(TD, tmp_path / "td")
    td = TouchDesigner(2025, tmp_path)
    monkeypatch.setitem(sys.modules, "td", td.td)
    network = td.root.create("baseCOMP", "project1")
    dat = network.create("textDAT", "build")
    dat.text = (TD / "build.py").read_text()
    dat.run()
    assert network.op("ImageWorker").Status() == "Unknown"
    td.crash()


@YEARS
def test_the_storage_can_be_saved_with_the_project(projects, year):
    project = projects(year)
    project.component.Submit("noop")
    project.td.frames(3)
    project.td.save()
