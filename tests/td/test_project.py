"""The component on the fake, with a real worker over UDP."""

from __future__ import annotations

import itertools
import re
import runpy
import textwrap

import cv2
import numpy as np
import pytest
from tests.ports import free_port
from tests.td.conftest import TD
from tests.td.fake import BUILD_YEARS, TouchDesigner, operators
from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions
from worker.catalog.table import CATALOG

YEARS = pytest.mark.parametrize("year", BUILD_YEARS)
EXAMPLES = TD / "examples"
README = (TD.parent / "README.md").read_text(encoding="utf-8")
TEXT = "\n".join(["Start Working Function", *(f"For loop {n} entry" for n in range(100_000)), "Ending working Function"])


def words_of(seen):
    return list(dict.fromkeys(word for _, word in seen))


def all_ready(project, count=1):
    words = list(project.words().values())
    return len(words) >= count and set(words) == {"Ready"}


@pytest.mark.parametrize(("show", "at_once"), [(False, 40), (True, 16)])
def test_more_reports_than_a_frame_may_read_wait_in_their_order(projects, show, at_once):
    """As after a stall of TouchDesigner. None is lost. In a show a frame reads fewer."""
    project = projects()
    project.component.par.Showmode = show
    extension = project.component.ext.ImageWorkerExt
    job = project.component.Submit("write_text", output="a.txt")
    count, read = 4000, []
    for number in range(count):
        extension.received("/worker/file", [job, f"{number}.png", 9, 4, 4])
    while not read or read[-1] < count:
        project.td.frame()
        read.append(len(project.component.Files(job)))
        assert project.component.Files(job) == [f"{number}.png" for number in range(read[-1])]
    each = [after - before for before, after in itertools.pairwise([0, *read])]
    assert each[0] == count // 32
    assert each[-2] == at_once
    assert each == sorted(each, reverse=True)


# ---------------------------------------------------------------------------------------------- without the component


def test_the_five_steps_of_the_readme(worker, tmp_path, capsys):
    """What the README says to set and to type is enough, whatever the other parameters are at first."""
    callbacks, send = (textwrap.dedent(code) for code in re.findall(r"^   ```python\n(.*?)^   ```", README, re.MULTILINE | re.DOTALL))
    worker.start()
    td = TouchDesigner(2025, tmp_path)
    network = td.root.create("baseCOMP", "project1")
    out, into = network.create("oscoutDAT", "oscout1"), network.create("oscinDAT", "oscin1")
    out.par.protocol = into.par.protocol = "msging"
    out.par.address, out.par.port, out.par.active = "127.0.0.1", worker.port, True
    network.op("oscin1_callbacks").text = callbacks
    into.par.addscope, into.par.port, into.par.active = "*", worker.text_port, True
    td.frame()
    network.create("textDAT", "text1").text = send.replace("imgs/attempt{n}.png'", "imgs/attempt{n}.png', 'count', 3")
    network.op("text1").run()
    td.until(lambda: "/worker/ready" in into.text)
    td.crash()
    assert td.errors == []
    said = capsys.readouterr().out
    assert said.index("/worker/processing") < said.index("/worker/ready")
    assert len(list(worker.root.glob("imgs/attempt?.png"))) == 3
    assert td.errors == []


# ------------------------------------------------------------------------------------------------- the seed's examples


@YEARS
def test_text_py_threads(projects, worker, year):
    """The same file as the seed's, complete; the table has said Processing, then Ready."""
    project = projects(year, worker.start())
    seen = project.watch_words()
    project.run_script(EXAMPLES / "text_pyThreads.py")
    project.td.until(lambda: all_ready(project))
    assert (worker.root / "temp-files/attempt1.txt").read_text() == TEXT
    assert [word for word in words_of(seen) if word in ("Processing", "Ready")] == ["Processing", "Ready"]


def test_text_py_threads_opencv(projects, worker):
    """500 images, each pixel as the seed's code draws it from the same random numbers. Builds do not differ in this."""
    project = projects(2025, worker.start())
    seen = project.watch_words()
    project.run_script(EXAMPLES / "text_pyThreads_openCV.py")
    project.td.until(lambda: all_ready(project), 60)
    rand = project.td.tdu.rand
    for n in range(500):
        expected = np.zeros((512, 512, 3), np.uint8)
        cv2.circle(expected, (int(rand(n) * 512), int(rand(n + 1) * 512)), 63, (0, 0, 255), -1)
        assert np.array_equal(cv2.imread(str(worker.root / f"temp-files/imgs/attempt{n}.png")), expected)
    assert [word for word in words_of(seen) if word in ("Processing", "Ready")] == ["Processing", "Ready"]
    project.td.until(lambda: project.table("files").numRows == 501)  # some frames later, so that none has too much to do
    assert project.component.par.Progress.eval() == 1


@YEARS
def test_text_py_threads_queue(projects, worker, year):
    project = projects(year, worker.start())
    seen = project.watch_words()
    table = project.network.create("tableDAT", "table1")
    project.run_script(EXAMPLES / "text_pyThreads_queue.py")
    assert table[0, 0].val == "Processing"
    project.td.until(lambda: table[0, 0].val == "Ready")
    assert (worker.root / "temp-files/attempt2.txt").read_text() == TEXT
    assert [word for word in words_of(seen) if word in ("Processing", "Ready")] == ["Processing", "Ready"]


@pytest.mark.parametrize(("year", "async_keyword"), [(2022, True), *((year, False) for year in BUILD_YEARS)])
def test_find_circles_in_top(projects, worker, year, async_keyword):
    """The file is complete before the worker is told; the circles come as channels, v from the bottom."""
    project = projects(year, worker.start())
    project.td.async_keyword = async_keyword
    project.component.par.Root = str(worker.root)
    top = project.network.create("nullTOP", "null1")
    top.image = np.zeros((400, 600, 3), np.uint8)
    cv2.circle(top.image, (150, 100), 50, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(top.image, (420, 260), 70, (255, 255, 255), -1, cv2.LINE_AA)
    project.run_script(EXAMPLES / "find_circles_in_top.py")
    project.td.until(lambda: all_ready(project))
    channels = project.network.op("circles").current()
    found = sorted(zip(channels["x"], channels["y"], channels["u"], channels["v"], channels["radius"], strict=True))
    assert len(found) == 2
    x, y, u, v, radius = found[0]
    assert (x, y, radius) == pytest.approx((150, 100, 50), abs=1.5)
    assert (u, v) == pytest.approx((150.5 / 600, 1 - 100.5 / 400), abs=0.01)
    assert list((worker.root / "temp-files/tops").iterdir()) == []


# ----------------------------------------------------------------------------------------------------- what artists call


def test_the_artists_callbacks_are_called(projects, worker):
    project = projects(2025, worker.start())
    project.component.op("callbacks").text = "\n".join(
        f"def {name}(worker, *rest):\n    worker.storage.setdefault('seen', []).append('{name}')"
        for name in ("onProcessing", "onProgress", "onReady", "onFailed", "onWorkerLost", "onWorkerBack")
    )
    project.component.Submit("draw_circles", output="a{n}.png", count=20)
    project.component.Submit("convert", image="missing.png", output="b.png")
    project.td.until(lambda: sorted(project.words().values()) == ["Failed", "Ready"])
    assert {"onProcessing", "onProgress", "onReady", "onFailed"} <= set(project.component.storage["seen"])
    assert "404" in project.table("log").text


def test_an_error_in_the_artists_code_stops_nothing(projects, worker):
    project = projects(2025, worker.start())
    project.component.op("callbacks").text = "def onProcessing(worker, job):\n    1 / 0\n"
    job = project.component.Submit("write_text", output="a.txt", text="hello")
    project.component.OnReady(job, lambda _: {}["missing"])
    project.td.until(lambda: all_ready(project))
    project.td.frame()  # the lines of the log follow
    assert "ZeroDivisionError" in project.table("log").text
    assert "KeyError" in project.table("log").text


def test_status_results_and_files_of_a_job(projects, worker):
    project = projects(2025, worker.start())
    component, done = project.component, []
    job = component.Submit("draw_circles", output="a{n}.png", centers="10 20", radius=5, width=64, height=64, count=1)
    assert component.Status(job) == "Sending"
    component.OnReady(job, done.append)
    project.td.until(lambda: done)
    assert component.Status(job) == "Ready"
    assert component.Results(job)[0]["x"] == 10
    assert component.Files(job)[0].endswith("a0.png")
    component.OnReady(job, done.append)
    assert len(done) == 2
    assert component.Status("unknown") == ""
    project.td.until(lambda: component.Status() == "Ready" and component.par.Queued.eval() == component.par.Running.eval() == 0)


def test_cancel_and_cancel_all(projects, worker):
    project = projects(2025, worker.start())
    component = project.component
    first = component.Submit("draw_circles", output="a{n}.png", count=50_000)
    others = [component.Submit("draw_circles", output=f"b{number}-{{n}}.png", count=50_000) for number in range(3)]
    project.td.until(lambda: component.Status(first) == "Processing")
    component.Cancel(first)
    project.td.until(lambda: component.Status(first) == "Cancelled")
    component.par.Cancelall.pulse()
    project.td.until(lambda: {component.Status(job) for job in others} == {"Cancelled"})


def test_the_job_timeout_goes_with_each_job(projects, worker):
    project = projects(2025, worker.start())
    project.component.par.Jobtimeout = 0.3
    job = project.component.Submit("draw_circles", output="a{n}.png", count=100_000)
    project.td.until(lambda: project.component.Status(job) == "Failed")
    assert "408" in project.table("log").text


def test_a_refused_job_says_why(projects, worker):
    """In the table, on the page Status, and as a flag on the component; with a hint for TouchDesigner and not for a terminal."""
    project = projects(2025, worker.start())
    job = project.component.Submit("find_circels", image="a.png")
    project.td.until(lambda: project.component.Status(job) == "Refused")
    message = project.component.par.Message.eval()
    assert "did you mean find_circles?" in message
    assert message.endswith("The table operations in the component lists all parameters.")
    assert message in project.table("log").text
    assert project.component.errors() == message


def test_what_scripts_mistake_for_a_value(projects):
    """An operator is neither its path nor its pixels, and a name is no function. The line of the script raises."""
    project = projects(2025)
    component, table = project.component, project.network.create("tableDAT", "table1")
    with pytest.raises(ValueError, match=r"image: /project1/table1 is an operator. The pixels of a TOP go with top=op\(...\)"):
        component.Submit("find_circles", image=table)
    with pytest.raises(ValueError, match="must be a function of one argument, the job; this is 'onReady'"):
        component.OnReady("1", "onReady")
    assert project.words() == {}


def test_the_message_goes_when_a_job_is_ready_or_it_is_cleared(projects, worker):
    project = projects(2025, worker.start())
    component = project.component
    component.Submit("convert", image="missing.png", output="b.png")
    project.td.until(lambda: "missing.png" in component.par.Message.eval())
    component.Submit("noop")
    project.td.until(lambda: component.par.Message.eval() == "")
    assert component.errors() == ""
    component.Submit("convert", image="missing.png", output="b.png")
    project.td.until(lambda: component.errors() != "")
    component.par.Clearmessage.pulse()
    project.td.until(lambda: component.par.Message.eval() == component.errors() == "")


def test_a_packet_that_touchdesigner_refuses_holds_up_nothing(projects, worker, monkeypatch):
    """The job of that packet fails with the reason, and all others end as ever."""
    send = operators.oscoutDAT.sendOSC

    def refuse(self, *messages, **options):
        if "bad.txt" in str(messages):
            raise TypeError("sendOSC cannot send this")
        return send(self, *messages, **options)

    monkeypatch.setattr(operators.oscoutDAT, "sendOSC", refuse)
    project = projects(2025, worker.start())
    jobs = [project.component.Submit("write_text", output=name) for name in ("a.txt", "bad.txt", "b.txt")]
    project.td.until(lambda: set(project.words().values()) == {"Ready", "Failed"})
    assert [project.words()[job] for job in jobs] == ["Ready", "Failed", "Ready"]
    assert "sendOSC cannot send this" in project.table("jobs")[2, "message"].val


def test_a_cancelled_job_is_no_error(projects, worker):
    project = projects(2025, worker.start())
    job = project.component.Submit("draw_circles", output="a{n}.png", count=50_000)
    project.component.Cancel(job)
    project.td.until(lambda: project.component.Status(job) == "Cancelled")
    assert "499" in project.table("log").text
    assert project.component.errors() == project.component.par.Message.eval() == ""


def test_a_build_without_script_errors_shows_the_message_all_the_same(projects, worker, monkeypatch):
    monkeypatch.delattr(operators.Operator, "addScriptError")
    monkeypatch.delattr(operators.Operator, "clearScriptErrors")
    project = projects(2022, worker.start())
    project.component.Submit("nothing")
    project.td.until(lambda: "There is no operation" in project.component.par.Message.eval())


def test_the_table_operations_has_every_parameter(projects, worker):
    """As the worker describes them, so that nobody needs a terminal to look them up."""
    project = projects(2025, worker.start())
    table = project.table("operations")
    rows = {(row.name, field.name) for row in CATALOG.values() for field in row.parameters}
    rows |= {(row.name, "") for row in CATALOG.values()} | {("(every job)", field.name) for field in fields_of(JobOptions)}
    project.td.until(lambda: {(table[at, 0].val, table[at, 1].val) for at in range(1, table.numRows)} == rows)
    cells = {(table[at, 0].val, table[at, 1].val): [table[at, column].val for column in range(2, 6)] for at in range(1, table.numRows)}
    assert cells["find_circles", "image"][:3] == ["str", "needed", ""]
    assert cells["find_circles", "max_items"][:3] == ["int", "1000", "1 to 10000"]
    assert cells["draw_circles", "radius"][2] == "0 to 16384 px"
    assert cells["write_text", "append"][:3] == ["bool", "0", "0 | 1"]
    assert cells["(every job)", "priority"][:3] == ["int", "1", "0 | 1 | 2"]
    assert all(cell[3] for cell in cells.values())


def test_an_idle_component_runs_nothing(projects, worker):
    """Heartbeats come and are answered, but no delayed run waits."""
    project = projects(2025, worker.start())
    job = project.component.Submit("noop")
    project.td.until(lambda: project.component.Status(job) == "Ready" and project.td.waiting_runs == 0)
    project.td.frames(120)
    assert project.td.waiting_runs == 0
    assert project.component.Status() == "Ready"


def test_the_ports_can_be_changed_while_it_runs(projects, worker):
    project = projects(2025, worker.start())
    project.component.par.Textport, project.component.par.Numberport = free_port(), free_port()
    job = project.component.Submit("noop")
    project.td.until(lambda: project.component.Status(job) == "Ready")


def test_a_port_that_is_taken_is_a_warning_on_the_operator(projects, worker):
    first = projects(2025, worker.start())
    second = projects(2025, worker, text_port=first.component.par.Textport.eval(), number_port=free_port())
    first.td.frames(2)
    second.td.frames(2)
    assert "Cannot bind" in second.component.op("oscin").warnings()
    second.component.par.Losttimeout = 0.3
    second.component.Submit("noop")
    second.td.until(lambda: "Text Port" in second.component.par.Message.eval())
    assert "Cannot bind" in second.component.errors()
    second.td.crash()


@pytest.mark.parametrize("how", ["opened", "cleared"])
def test_a_message_of_the_last_session_is_over(projects, how):
    """It was saved with the project. It goes when the project is opened, or with Clear Message; a new text of the extension leaves it."""
    project = projects(2025)
    component = project.component
    component.par.Message = "of yesterday"
    component.addScriptError("of yesterday")
    component.par.reinitextensions.pulse()
    project.td.frames(3)
    assert component.par.Message.eval() == component.errors() == "of yesterday"
    project.td.opened() if how == "opened" else component.par.Clearmessage.pulse()
    project.td.until(lambda: component.par.Message.eval() == component.errors() == "", 5)


# ----------------------------------------------------------------------------------------------------------- CHOPs only


def press(project, preset="logo"):
    """A button that is held for 120 frames, then let go."""
    button = project.network.op("button") or project.network.create("constantCHOP", "button")
    project.component.inputConnectors[0].connect(button)
    for level in (0.0, 1.0, 0.0):
        button.channels[f"worker/trigger/{preset}"] = level
        project.td.frames(120 if level else 20)


def appended(worker, name="presses.txt"):
    """How many jobs have run: each appends a line."""
    path = worker.root / name
    return len(path.read_text().split()) if path.exists() else 0


def make_preset(project, name="logo", output="presses.txt"):
    """Of a job that leaves a trace for each time it runs."""
    project.component.Preset(name, "write_text", output=output, header="pressed", append=True)
    project.td.until(lambda: project.td.waiting_runs == 0)


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_a_press_for_120_frames_is_one_job(projects, worker, lost):
    project = projects(2025, worker.start())
    make_preset(project)
    project.td.lose(lost)
    press(project)
    project.td.until(lambda: all_ready(project))
    assert appended(worker) == 1
    press(project)
    project.td.until(lambda: all_ready(project, 2))
    assert appended(worker) == 2


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_two_clients_that_press_are_two_jobs(projects, worker, lost):
    first = projects(2025, worker.start())
    second = projects(2023, worker, text_port=free_port(), number_port=free_port())
    make_preset(first)
    first.td.lose(lost, 1)
    second.td.lose(lost, 2)
    press(first)
    press(second)
    first.td.until(lambda: appended(worker) == 2)
    first.td.frames(60)
    assert appended(worker) == 2


def test_a_preset_made_by_channels_alone(projects, worker):
    """The operation is text, so somebody has named it before; the numbers come from channels."""
    project = projects(2025, worker.start())
    project.component.Preset("dots", "draw_circles", output="dots{n}.png", count=1)
    project.td.until(lambda: project.td.waiting_runs == 0)
    button = project.network.create("constantCHOP", "button")
    project.component.inputConnectors[0].connect(button)
    button.channels["worker/set/dots/count"] = 3.0
    project.td.frames(10)
    press(project, "dots")
    project.td.until(lambda: all_ready(project))
    assert sorted(path.name for path in worker.root.glob("dots*.png")) == ["dots0.png", "dots1.png", "dots2.png"]


def test_a_preset_is_deleted(projects, worker):
    """Also if a fifth of the packets is lost. Its button does nothing then, and says why."""
    project = projects(2025, worker.start())
    make_preset(project)
    make_preset(project, "other", "others.txt")
    project.td.lose(0.2)
    project.component.Unset("logo")
    project.component.Unset("other", "header")
    project.td.until(lambda: project.td.waiting_runs == 0)
    project.td.lose(0.0)
    press(project)
    press(project, "other")
    project.td.until(lambda: all_ready(project))
    assert (appended(worker), (worker.root / "others.txt").read_bytes()) == (0, b"")


def test_a_preset_survives_a_restart_of_the_worker(projects, worker):
    project = projects(2025, worker.start())
    make_preset(project)
    worker.kill()
    worker.start()
    press(project)
    project.td.until(lambda: all_ready(project))
    assert appended(worker) == 1


@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_trigger_from_python(projects, worker, lost):
    project = projects(2025, worker.start())
    make_preset(project)
    project.td.lose(lost)
    project.component.Trigger("logo")
    project.component.Trigger("logo")
    project.td.until(lambda: all_ready(project, 2))
    assert appended(worker) == 2


def test_the_status_comes_as_channels(projects, worker):
    project = projects(2025, worker.start())
    job = project.component.Submit("noop")
    project.td.until(lambda: project.component.Status(job) == "Ready")
    out = project.component.op("out1")
    project.td.until(lambda: out["worker/n/done"] == 1)
    assert out["worker/n/boot"] > 0
    assert set(out.current()) >= {f"worker/n/{name}" for name in ("ready", "busy", "queued", "running", "progress", "failed", "beat")}
    beat = out["worker/n/beat"]
    project.td.until(lambda: out["worker/n/beat"] > beat)
    assert project.component.op("numbers_in").warnings() == ""


# ------------------------------------------------------------------------------------------- starts, crashes, losses


def test_touchdesigner_is_there_before_the_worker(projects, worker):
    project = projects(2025, worker)
    jobs = [project.component.Submit("noop") for _ in range(5)]
    project.td.frames(30)
    assert {project.component.Status(job) for job in jobs} == {"Sending"}
    worker.start()
    project.td.until(lambda: all_ready(project, 5))


def test_a_worker_that_is_not_there_is_lost_until_it_is(projects, worker):
    project = projects(2025, worker)
    project.component.par.Losttimeout = 0.5
    project.component.Submit("noop")
    project.td.until(lambda: project.component.par.Status.eval() == "Lost")
    assert set(project.words().values()) == {"Lost"}
    assert "Is it running (Start)" in project.component.par.Message.eval()
    worker.start()
    project.td.until(lambda: all_ready(project))
    assert project.component.par.Status.eval() in ("Ready", "Processing")
    assert project.component.errors() == ""


def test_a_component_that_wants_nothing_complains_of_nothing(projects, worker):
    """Nobody has started a worker yet, and nobody has sent a job."""
    project = projects(2025, worker)
    project.component.par.Losttimeout = 0.3
    project.td.until(lambda: project.component.Status() == "Lost")
    assert "is not heard" in project.table("log").text
    assert project.component.errors() == project.component.par.Message.eval() == ""


def test_a_worker_that_somebody_else_stops_is_stopped_and_one_that_is_started_again_is_ready(projects, worker):
    project = projects(2025, worker.start())
    project.td.until(lambda: project.component.Status() == "Ready")
    worker.stop()
    project.td.until(lambda: project.component.par.Status.eval() == "Stopped")
    project.td.until(lambda: project.td.waiting_runs == 0)
    worker.start()
    job = project.component.Submit("noop")
    project.td.until(lambda: project.component.Status(job) == "Ready")
    project.td.frames(5)
    assert project.component.Status() == "Ready"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_the_worker_restarts_in_the_middle(projects, worker, how):
    """Each line is written once, whatever had been done before."""
    project = projects(2025, worker.start())
    for number in range(30):
        project.component.Submit("write_text", output=f"text{number}.txt", header="begin", line="line {n}", count=20_000)
    project.td.until(lambda: "Ready" in project.words().values())
    getattr(worker, how)()
    project.td.frames(20)
    worker.start()
    project.td.until(lambda: all_ready(project, 30), 60)
    assert len(project.words()) == 30
    assert {len(path.read_text().splitlines()) for path in worker.root.glob("text*.txt")} == {20_001}


def test_touchdesigner_restarts_in_the_middle_with_its_table(projects, worker):
    """The table was saved with the project; the jobs end in it, though the scripts are new."""
    old = projects(2025, worker.start())
    jobs = [old.component.Submit("draw_circles", output=f"c{number}-{{n}}.png", count=100) for number in range(4)]
    old.td.until(lambda: "Processing" in old.words().values())
    table = old.table("jobs").text
    old.td.crash()
    new = projects(2025, worker)
    new.table("jobs").text = table
    new.component.par.reinitextensions.pulse()
    new.td.until(lambda: {new.words().get(job) for job in jobs} == {"Ready"}, 60)
    assert len(new.words()) == 4


def test_touchdesigner_restarts_without_its_table(projects, worker):
    """It was not saved; the finals that nobody has acknowledged come all the same, and Replay brings the others."""
    old = projects(2025, worker.start())
    first = old.component.Submit("noop")
    old.td.until(lambda: old.component.Status(first) == "Ready")
    second = old.component.Submit("draw_circles", output="c{n}.png", count=300)
    old.td.until(lambda: old.component.Status(second) == "Processing")
    old.td.crash()
    new = projects(2025, worker)
    new.td.until(lambda: new.words().get(second) == "Ready", 60)
    assert first not in new.words()
    new.component.par.Replay.pulse()
    new.td.until(lambda: new.words() == {first: "Ready", second: "Ready"})


def test_two_touchdesigners_on_one_worker(projects, worker):
    """Each sees its own jobs end, and no others."""
    first = projects(2022, worker.start())
    second = projects(2025, worker, text_port=free_port(), number_port=free_port())
    for project in (first, second):
        for _ in range(20):
            project.component.Submit("noop")

    def both_ready():
        second.td.frame()
        return all_ready(first, 20) and all_ready(second, 20)

    first.td.until(both_ready)
    assert len(first.words()) == len(second.words()) == 20
    assert not set(first.words()) & set(second.words())


def test_two_components_in_one_project_of_which_one_is_renamed(projects, worker, monkeypatch):
    """Each has its own ports, and hears of its own jobs only; nothing depends on a component's name."""
    project = projects(2025, worker.start())
    other = runpy.run_path(str(TD / "build.py"), run_name="build")["build"](project.network, str(TD), "Second")
    other.par.Port, other.par.Textport, other.par.Numberport = worker.port, free_port(), free_port()
    project.td.frames(2)
    del project.network._children[other.name]
    other.__dict__["name"] = "Renamed"
    project.network._children["Renamed"] = other
    jobs = [component.Submit("noop") for component in (project.component, other)]
    project.td.until(lambda: all_ready(project) and other.Status(jobs[1]) == "Ready")
    assert list(project.words()) == jobs[:1]
    assert other.Status() in ("Ready", "Processing")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_fifth_of_all_packets_is_lost(projects, worker, seed):
    """All jobs end, each has run once, and every file and row is in the tables."""
    project = projects(2025, worker.start())
    ready = []
    project.td.lose(0.2, seed)
    for _ in range(20):
        job = project.component.Submit("write_text", output="lines.txt", header="once", append=True)
        project.component.OnReady(job, lambda job: ready.append(job.id))
    drawn = project.component.Submit("draw_circles", output="d{n}.png", count=100)
    project.td.until(lambda: all_ready(project, 21), 60)
    assert len(ready) == len(set(ready)) == 20
    assert appended(worker, "lines.txt") == 20
    assert len(project.component.Files(drawn)) == 100
    assert len(project.component.Results(drawn)) == 100


def test_the_extension_is_made_anew_in_the_middle(projects, worker):
    project = projects(2025, worker.start())
    job = project.component.Submit("draw_circles", output="d{n}.png", count=300)
    project.td.until(lambda: project.component.Status(job) == "Processing")
    project.component.par.reinitextensions.pulse()
    project.td.until(lambda: project.words() == {job: "Ready"}, 60)
    project.td.until(lambda: project.td.waiting_runs == 0)
