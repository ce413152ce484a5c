"""The launcher with real processes, and the component that starts and ends a real worker."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import types

import psutil
import pytest
from tests.ports import free_port
from tests.td.conftest import REPOSITORY, load

launcher = load("launcher")

SLEEPER = [sys.executable, "-c", "import time; print('hello from the worker'); time.sleep(600)"]


@pytest.fixture
def made(tmp_path):
    """A launcher; its process is ended and reaped afterwards."""
    one = launcher.Launcher(str(tmp_path), 9999)
    yield one
    one.kill()
    if one._process is not None:
        one._process.wait(10)


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_touchdesigner_sets_for_itself_does_not_reach_the_worker():
    environment = {
        "PATH": "/bin",
        "PYTHONHOME": "x",
        "PYTHONPATH": "x",
        "DYLD_LIBRARY_PATH": "x",
        "QT_PLUGIN_PATH": "x",
        "VIRTUAL_ENV": "x",
    }
    assert launcher.clean_environment(environment) == {"PATH": "/bin", **launcher.WANTED}


def test_a_started_process_has_the_clean_environment_and_a_log(made, tmp_path):
    script = "import os; print(os.environ.get('PYTHONHOME'), os.getcwd(), os.getpid() == os.getpgid(0)); 1 / 0"
    assert made.start([sys.executable, "-c", script], str(tmp_path), {**os.environ, "PYTHONHOME": "/nowhere"})
    eventually(lambda: made.ended() is not None)
    output = (tmp_path / "td-image-worker-9999-output.log").read_text()
    assert output.startswith(f"None {tmp_path} True")
    assert made.last_words() == "ZeroDivisionError: division by zero"
    assert made.ended() == 1
    made.forget()
    assert not os.path.exists(made.pid_file)


def test_never_two(made, tmp_path):
    assert made.start(SLEEPER, str(tmp_path))
    other = launcher.Launcher(str(tmp_path), 9999)
    assert not other.start(SLEEPER, str(tmp_path))
    assert other.pid() == made.pid() != 0


def test_a_pid_file_of_a_process_that_is_gone_does_not_count(made, tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with open(made.pid_file, "w") as file:
        file.write(str(ended.pid))
    assert made.start(SLEEPER, str(tmp_path))


@pytest.mark.parametrize("age_s", [3600, -3600])
def test_an_old_pid_file_does_not_count_though_its_pid_lives(made, tmp_path, age_s):
    """After a restart of the machine another program has that pid; a worker that lived would have answered. So is one from the future."""
    with open(made.pid_file, "w") as file:
        file.write(str(os.getpid()))
    os.utime(made.pid_file, (time.time() - age_s,) * 2)
    assert made.start(SLEEPER, str(tmp_path))


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_another_instance_finds_the_process_and_does_not_signal_what_it_did_not_start(made, tmp_path):
    assert made.start(SLEEPER, str(tmp_path))
    other = launcher.Launcher(str(tmp_path), 9999)
    other.terminate()
    other.kill()
    assert launcher.is_alive(made.pid())


def test_terminate_and_kill(made, tmp_path):
    made.start(SLEEPER, str(tmp_path))
    pid = made.pid()
    made.terminate()
    eventually(lambda: made.ended() is not None)
    assert not launcher.is_alive(pid)
    made.kill()
    assert made.pid() == 0


def test_an_interpreter_that_is_not_there_leaves_no_pid_file(made, tmp_path):
    with pytest.raises(FileNotFoundError):
        made.start(["/nowhere/python", "-c", ""], str(tmp_path))
    assert not os.path.exists(made.pid_file)


def run_to_the_end(made, folder, script):
    assert made.start([sys.executable, "-c", script], str(folder))
    eventually(lambda: made.ended() is not None)
    made.forget()


def test_what_a_crash_printed_survives_the_next_starts(made, tmp_path):
    """The newest five are kept; the worker's own log is not touched."""
    (tmp_path / "td-image-worker-9999.log").write_text("kept\n")
    for number in range(7):
        run_to_the_end(made, tmp_path, f"print('start {number}')")
    outputs = {path.name: path.read_text() for path in tmp_path.glob("*-output*")}
    assert outputs == {
        "td-image-worker-9999-output.log": "start 6\n",
        **{f"td-image-worker-9999-output.{number}.log": f"start {6 - number}\n" for number in (1, 2, 3, 4)},
    }
    assert (tmp_path / "td-image-worker-9999.log").read_text() == "kept\n"


def test_last_words_are_those_of_the_log_if_nothing_was_printed(made, tmp_path):
    (tmp_path / "td-image-worker-9999.log").write_text("one\nThe port 9999 is in use.\n")
    run_to_the_end(made, tmp_path, "")
    assert made.last_words() == "The port 9999 is in use."


# ---------------------------------------------------------------------------------------------- which program it runs

TOUCHDESIGNER = types.SimpleNamespace(pythonExecutable="C:\\TD\\bin\\python.exe")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path.as_posix()


@pytest.mark.parametrize("name", ["python", "python3", "python3.11", "Python.exe", "pythonw.exe", "pypy3"])
def test_a_python_runs_the_worker_as_a_module(tmp_path, name):
    path = touch(tmp_path / name)
    assert launcher.find_program(path, TOUCHDESIGNER) == [path, "-m", "worker"]


@pytest.mark.parametrize("name", ["td-image-worker", "td-image-worker.exe", "td-image-worker-0.2.exe", "pythonic"])
def test_any_other_program_is_called_as_it_is(tmp_path, name):
    path = touch(tmp_path / name)
    assert launcher.find_program(path, TOUCHDESIGNER) == [path]
    command = launcher.command(
        program=[path],
        host="h",
        port=1,
        text_port=2,
        number_port=3,
        root="r",
        parent_pid=4,
        log_file="l",
        page_port=5,
        options=["--workers", "2"],
    )
    assert command[:2] == [path, "serve"]
    assert command[-6:] == ["--log-file", "l", "--http", "h:5", "--workers", "2"]
    show = launcher.command(program=[path], host="h", port=1, text_port=2, number_port=3, root="r", parent_pid=4, log_file="l", show=True)
    assert show[-3:] == ["--log-file", "l", "--show"]


@pytest.mark.parametrize(
    ("platform", "inside", "found"),
    [
        ("win32", "td-image-worker.exe", ["td-image-worker.exe"]),
        ("win32", "Scripts/td-image-worker.exe", ["Scripts/td-image-worker.exe"]),
        ("win32", "Scripts/python.exe", ["Scripts/python.exe", "-m", "worker"]),
        ("darwin", "bin/td-image-worker", ["bin/td-image-worker"]),
        ("linux", "bin/python", ["bin/python", "-m", "worker"]),
    ],
)
def test_a_folder_stands_for_the_program_in_it(tmp_path, platform, inside, found):
    touch(tmp_path / inside)
    folder = tmp_path.as_posix()
    assert launcher.find_program(folder + "/", TOUCHDESIGNER, platform=platform) == [f"{folder}/{found[0]}", *found[1:]]


def test_a_relative_program_begins_at_the_project_s_folder(tmp_path):
    path = touch(tmp_path / "tools/python")
    assert launcher.find_program("tools\\python", TOUCHDESIGNER, tmp_path.as_posix()) == [path, "-m", "worker"]
    assert launcher.find_program("python3", TOUCHDESIGNER, tmp_path.as_posix()) == ["python3", "-m", "worker"]


def test_a_path_as_people_type_and_copy_it(tmp_path):
    """`~` of a Mac, and the quotes of *Copy as path* in the Explorer, with spaces and letters of any language."""
    path = touch(tmp_path / "my wörker" / "python")
    home = tmp_path.as_posix()
    assert launcher.find_program("~/my wörker/python", TOUCHDESIGNER, "/show", home=home) == [path, "-m", "worker"]
    assert launcher.find_program(f' "{path}" '.replace("/", "\\"), TOUCHDESIGNER, "/show") == [path, "-m", "worker"]


def test_options_are_words_and_quotes_hold_a_path_together():
    assert launcher.options_of('--map "C:\\my show=/data" --no-journal') == ["--map", "C:/my show=/data", "--no-journal"]
    with pytest.raises(ValueError, match=r'^Options: a quote is not closed in --map "C:/show=/data$'):
        launcher.options_of('--map "C:/show=/data')


def test_a_file_that_is_no_program(tmp_path):
    """What the system says of it becomes a sentence, and the next start is not held up."""
    program = touch(tmp_path / "show.toe")
    starter = launcher.Launcher(str(tmp_path), 9999)
    for _ in range(2):
        with pytest.raises(OSError, match=r"show\.toe cannot be used: "):
            starter.start([program], str(tmp_path))


def test_what_cannot_be_started_is_said_in_a_sentence(tmp_path):
    folder = tmp_path.as_posix()
    with pytest.raises(ValueError, match=f"Worker Program: there is no file {folder}/python.exe."):
        launcher.find_program(f"{folder}/python.exe", TOUCHDESIGNER)
    with pytest.raises(ValueError, match=r"Worker Program: the folder .* has neither td-image-worker nor a Python in it."):
        launcher.find_program(folder, TOUCHDESIGNER, platform="linux")
    with pytest.raises(ValueError, match="is TouchDesigner and would open a second one"):
        launcher.find_program(touch(tmp_path / "TouchDesigner099.exe"), TOUCHDESIGNER)


HOMES = [
    ("linux", ".local/bin/td-image-worker", {}),
    ("linux", ".local/share/uv/tools/td-image-worker/bin/td-image-worker", {}),
    ("linux", ".local/share/pipx/venvs/td-image-worker/bin/td-image-worker", {}),
    ("linux", "data/uv/tools/td-image-worker/bin/td-image-worker", {"XDG_DATA_HOME": "{home}/data"}),
    ("darwin", ".local/bin/td-image-worker", {}),
    ("darwin", ".local/pipx/venvs/td-image-worker/bin/td-image-worker", {}),
    ("darwin", "Library/Application Support/pipx/venvs/td-image-worker/bin/td-image-worker", {}),
    ("darwin", "bin/td-image-worker", {"PATH": "/usr/bin:{home}/bin"}),
    ("win32", ".local/bin/td-image-worker.exe", {}),
    ("win32", "AppData/Roaming/uv/tools/td-image-worker/Scripts/td-image-worker.exe", {}),
    ("win32", "pipx/venvs/td-image-worker/Scripts/td-image-worker.exe", {}),
    ("win32", "AppData/Local/pipx/pipx/venvs/td-image-worker/Scripts/td-image-worker.exe", {}),
    ("darwin", "Library/Python/3.12/bin/td-image-worker", {}),
    ("win32", "AppData/Roaming/Python/Python311/Scripts/td-image-worker.exe", {}),
    ("win32", "AppData/Local/Programs/Python/Python314/Scripts/td-image-worker.exe", {}),
    ("win32", "tools/td-image-worker/Scripts/td-image-worker.exe", {"UV_TOOL_DIR": "{home}\\tools"}),
]


@pytest.mark.parametrize(("platform", "inside", "environment"), HOMES)
def test_an_installed_worker_is_found_without_being_named(tmp_path, monkeypatch, platform, inside, environment):
    """`/` stands for a drive letter here, so that the Windows rules find real files."""
    monkeypatch.setattr(launcher, "ABSOLUTE", {**launcher.ABSOLUTE, "win32": launcher.ABSOLUTE["linux"]})
    home = tmp_path.as_posix()
    given = {key: value.replace("{home}", home) for key, value in environment.items()}
    arguments = ("", TOUCHDESIGNER, "", given, home.replace("/", "\\") if platform == "win32" else home, platform)
    assert launcher.find_program(*arguments) == ["C:/TD/bin/python.exe", "-m", "worker"]
    path = touch(tmp_path / inside)
    assert launcher.find_program(*arguments) == [path]


def test_a_folder_that_depends_on_the_project_is_not_searched():
    """`.` and an empty entry of PATH would run what lies in the project's folder."""
    assert not {"", ".", "bin"} & set(launcher.program_folders({"PATH": "/bin::.:bin:/usr/bin"}, "/home/a", "linux"))
    folders = launcher.program_folders({"PATH": 'C:\\Windows;.;;tools;"D:\\with space\\"'}, "C:\\Users\\a", "win32")
    assert folders[:2] == ["C:/Windows", "D:/with space"]
    assert all(folder[1:3] == ":/" for folder in folders)


def test_touchdesigner_s_own_python_comes_last(monkeypatch, tmp_path):
    elsewhere = (tmp_path.as_posix(), "linux")
    assert launcher.find_program("", TOUCHDESIGNER, "", {}, *elsewhere) == ["C:/TD/bin/python.exe", "-m", "worker"]
    monkeypatch.setattr(launcher.sys, "executable", "C:/TD/bin/TouchDesigner.exe")
    with pytest.raises(ValueError, match="Install it, or choose it as Worker Program"):
        launcher.find_program("", types.SimpleNamespace(), "", {}, *elsewhere)


# ------------------------------------------------------------------------------------------------- with the component


def workers_on(port):
    """The workers' own processes, without their children."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and "serve" in line and str(port) in line:
            found.append(process)
    pids = {process.pid for process in found}
    return [process for process in found if process.ppid() not in pids]  # a child has its parent's command line for a moment


@pytest.fixture
def local(projects, tmp_path, monkeypatch):
    """Projects whose component starts workers itself, with pid and log files of the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = []

    def make(year=2025, port=None):
        project = projects(year)
        par = project.component.par
        par.Port = port or par.Port.eval()
        par.Root, par.Interpreter, par.Options = str(tmp_path), sys.executable, "--no-journal --workers 1"
        made.append(project)
        return project

    yield make
    for project in made:
        for process in workers_on(project.component.par.Port.eval()):
            process.kill()
        started = project.component.ext.ImageWorkerExt._control.launcher
        if started is not None and started._process is not None:
            started._process.wait(10)


@pytest.mark.parametrize("year", [2022, 2025])
def test_start_and_stop(local, year):
    project = local(year)
    port = project.component.par.Port.eval()
    project.component.par.Start.pulse()
    project.td.until(lambda: project.component.par.Status.eval() == "Ready")
    assert len(workers_on(port)) == 1
    job = project.component.Submit("write_text", output="a.txt", text="hello")
    project.td.until(lambda: project.component.Status(job) == "Ready")
    project.component.par.Start.pulse()
    project.td.until(lambda: "A worker runs already." in project.table("log").text)
    assert len(workers_on(port)) == 1
    project.component.par.Stop.pulse()
    project.td.until(lambda: project.component.par.Status.eval() == "Stopped")
    assert not workers_on(port)
    assert "The worker has stopped." in project.table("log").text
    assert project.component.errors() == ""
    project.td.until(lambda: project.td.waiting_runs == 0)


def lose_messages(project, address, count):
    """The next so many packets with this address do not arrive."""
    oscout, lost = project.component.op("oscout"), []
    transmit = oscout.transmit

    def filtered(packet):
        if address.encode() in packet and len(lost) < count:
            lost.append(packet)
            return len(packet)
        return transmit(packet)

    oscout.__dict__["transmit"] = filtered
    return lost


def test_a_request_to_stop_that_is_lost_is_sent_again(local):
    project = local()
    project.component.Start()
    project.td.until(lambda: project.component.Status() == "Ready")
    lost = lose_messages(project, "/worker/quit", 2)
    project.component.Stop()
    project.td.until(lambda: project.component.Status() == "Stopped")
    assert len(lost) == 2


def test_a_worker_that_does_not_stop_is_told(local):
    """The last request has as long for its answer as the others."""
    project = local()
    project.component.Start()
    project.td.until(lambda: project.component.Status() == "Ready")
    lost = lose_messages(project, "/worker/quit", 99)
    project.component.Stop()
    project.td.until(lambda: "The worker does not stop." in project.component.par.Message.eval(), 40)
    assert len(lost) == 4
    assert project.component.Status() == "Ready"
    project.td.until(lambda: project.td.waiting_runs == 0)


def test_a_worker_that_crashes_says_so(local):
    project = local()
    project.component.par.Losttimeout = 1.5
    project.component.Start()
    project.td.until(lambda: project.component.Status() == "Ready")
    project.component.Submit("draw_circles", output="a{n}.png", count=100_000)
    project.td.until(lambda: "Processing" in project.words().values())
    for process in workers_on(project.component.par.Port.eval()):
        process.kill()
    project.td.until(lambda: "The worker ended with code -9" in project.component.par.Message.eval())
    assert project.component.Status() == "Lost"


def test_start_right_after_stop(local):
    """The worker that is about to end still answers; it does not count."""
    project = local()
    port = project.component.par.Port.eval()
    project.component.Start()
    project.td.until(lambda: project.component.par.Status.eval() == "Ready")
    (old,) = workers_on(port)
    project.component.Submit("draw_circles", output="a{n}.png", count=200)
    project.td.frames(10)
    project.component.Stop()
    project.td.until(lambda: project.component.Status() in ("Draining", "Stopping"))
    project.component.Start()
    project.td.until(lambda: project.component.Status() == "Ready", 40)
    (new,) = workers_on(port)
    assert new.pid != old.pid


def test_two_components_that_start_at_once_start_one(local):
    first = local()
    port = first.component.par.Port.eval()
    second = local(2023, port)
    first.component.Start()
    second.component.Start()

    def both_ready():
        second.td.frame()
        return first.component.Status() == second.component.Status() == "Ready"

    first.td.until(both_ready)
    assert len(workers_on(port)) == 1


def test_start_with_the_project_and_end_with_it(local):
    project = local()
    port = project.component.par.Port.eval()
    project.component.par.Autostart = True
    project.td.opened()
    project.td.until(lambda: project.component.Status() == "Ready")
    project.td.exit()
    eventually(lambda: not workers_on(port))


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_the_extension_is_made_anew_and_still_ends_its_worker(local):
    project = local()
    port = project.component.par.Port.eval()
    project.component.Start()
    project.td.until(lambda: project.component.Status() == "Ready")
    project.component.par.reinitextensions.pulse()
    project.td.until(lambda: project.component.Status() == "Ready")
    project.td.save()
    project.td.exit()
    eventually(lambda: not workers_on(port))


def test_a_worker_that_somebody_else_started_is_left_alone(projects, worker):
    project = projects(2025, worker.start())
    project.component.Start()
    project.td.until(lambda: "A worker runs already." in project.table("log").text)
    project.td.exit()
    other = projects(2025, worker)
    job = other.component.Submit("noop")
    other.td.until(lambda: other.component.Status(job) == "Ready")


def test_an_interpreter_without_the_worker_says_so(local, tmp_path):
    project = local()
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho No module named worker\nexit 1\n")
    fake.chmod(0o755)
    project.component.par.Interpreter = str(fake)
    project.component.Start()
    project.td.until(lambda: "ended with code 1: No module named worker" in project.component.par.Message.eval())
    assert project.component.errors() == project.component.par.Message.eval()
    assert project.component.Status() != "Starting"


IN_THE_WAY = ("queue", "socket", "random", "worker", "cv2", "numpy", "json", "logging", "multiprocessing", "click", "sitecustomize")


@pytest.mark.parametrize("program", [sys.executable, str(pathlib.Path(sys.executable).with_name("td-image-worker"))])
def test_files_in_the_project_s_folder_are_not_imported(local, tmp_path, program):
    """A TouchDesigner project is full of such files. Neither the worker nor a child process of it may run them."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in IN_THE_WAY:
        (folder / f"{name}.py").write_text(
            f"open({str(tmp_path / 'imported.txt')!r}, 'a').write('{name} ')\nraise SystemExit('{name}.py')\n"
        )
    project = local()
    project.td.project.folder = folder.as_posix()
    project.component.par.Interpreter = program
    project.component.Start()
    job = project.component.Submit("draw_circles", output="a{n}.png", count=2)
    project.td.until(lambda: project.component.Status(job) == "Ready", 40)
    assert not (tmp_path / "imported.txt").exists()
    assert "serve" in workers_on(project.component.par.Port.eval())[0].cmdline()


def test_a_program_that_is_not_there_is_said_in_the_log(local):
    project = local()
    project.component.par.Interpreter = "C:/nowhere/td-image-worker.exe"
    project.component.Start()
    project.td.until(lambda: "there is no file C:/nowhere/td-image-worker.exe" in project.table("log").text)
    assert project.component.Status() != "Starting"


def test_a_worker_on_another_machine_is_not_started_here(local):
    project = local()
    project.component.par.Host = "10.0.0.7"
    project.component.Start()
    project.td.frame()
    assert "another computer" in project.table("log").text
    assert project.component.Status() == "Unknown"


CRASHING_PROJECT = """
import os, runpy, sys, tempfile
sys.path.insert(0, {repository!r})
from tests.td.fake import TouchDesigner
tempfile.tempdir = {folder!r}
td = TouchDesigner(2025, {repository!r})
sys.modules["td"] = td.td
network = td.root.create("baseCOMP", "project1")
runpy.run_path({repository!r} + "/td/build.py", run_name="__main__")
component = network.op("ImageWorker")
component.par.Port, component.par.Textport, component.par.Numberport = {ports}
component.par.Root, component.par.Options = {folder!r}, "--no-journal --workers 1"
td.frame()
component.Start()
td.until(lambda: component.Status() == "Ready")
os._exit(3)
"""


def test_touchdesigner_crashes_and_its_worker_ends_with_it(tmp_path):

    ports = (free_port(), free_port(), free_port())
    script = CRASHING_PROJECT.format(repository=str(REPOSITORY), folder=str(tmp_path), ports=ports)
    crashed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert crashed.returncode == 3, crashed.stderr
    eventually(lambda: not workers_on(ports[0]))
