"""Starts the worker as a process of its own, and ends it. Plain Python: no TouchDesigner, and nothing here waits.

Before a start the extension asks over OSC whether a worker runs. The pid file is for the seconds in which a worker was started and does
not answer yet: two components that start at the same moment start one worker.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time

# TouchDesigner sets these for its own Python and Qt; another Python would load the wrong libraries through them.
UNWANTED = (
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONEXECUTABLE",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "QT_PLUGIN_PATH",
    "QT_QPA_PLATFORM_PLUGIN_PATH",
    "VIRTUAL_ENV",
    "__CFBundleIdentifier",
)
# A GUI program on macOS has an ASCII locale. What the worker prints must be in the file before it dies. And Python, the worker's child
# processes included, must not import queue.py, socket.py or cv2.py from the project's folder: TouchDesigner projects are full of
# such files. (The variable and not the option -P: an older Python ignores it, and then says clearly that it has no worker.)
WANTED = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1", "PYTHONSAFEPATH": "1"}

PROGRAM = "td-image-worker"  # what pip, uv and pipx install
PYTHON = re.compile(r"(python|pypy)[0-9.]*w?(\.exe)?$", re.IGNORECASE)
ABSOLUTE = {"win32": re.compile("[A-Za-z]:/|//"), "darwin": re.compile("/"), "linux": re.compile("/")}
TOUCHDESIGNER = ("touchdesigner", "touchplayer")
MINORS = range(20, 10, -1)  # of the Pythons 3.11 and later in whose folders is looked; the newest first

STARTING_S = 20.0  # a pid file younger than this belongs to a worker that is about to answer
LAST_BYTES = 2000  # of a file, to find its last line
OUTPUTS_KEPT = 5


def clean_environment(environment):
    """The environment without what TouchDesigner put there for itself."""
    kept = {key: value for key, value in environment.items() if key not in UNWANTED and not key.startswith("DYLD_")}
    kept.update(WANTED)
    return kept


def command(*, program, host, port, text_port, number_port, root, parent_pid, log_file, page_port=None, show=False, options=()):
    """The command line of a worker that ends when the process `parent_pid` does. `program` is what `find_program` gives."""
    return [
        *program,
        "serve",
        *("--host", host, "--port", str(port)),
        *("--text-port", str(text_port), "--number-port", str(number_port)),
        *("--root", root, "--parent-pid", str(parent_pid)),
        *("--log-file", log_file),
        *([] if page_port is None else ["--http", f"{host}:{page_port}"]),
        *(["--show"] if show else []),
        *options,
    ]


def options_of(text):
    """The words of the parameter Options. Raises ValueError if a quote is not closed."""
    try:
        return shlex.split(text.replace("\\", "/"))
    except ValueError:
        raise ValueError(f"Options: a quote is not closed in {text}") from None


class Launcher:
    """Starts and ends the worker of one port.

    Args:
        folder: where its files are, such as the system's folder for temporary files.
        port: the worker's.

    Attributes:
        log_file: the worker writes it and keeps five of 10 MB.
        output_file: what the worker printed; of interest if it did not come to the log, or died. One per start, five are kept.
    """

    def __init__(self, folder, port):
        self.port = port
        folder = folder.replace("\\", "/")
        self.pid_file = f"{folder}/td-image-worker-{port}.pid"
        self.log_file = f"{folder}/td-image-worker-{port}.log"
        self.output_file = f"{folder}/td-image-worker-{port}-output.log"
        self._process = None

    def start(self, arguments, cwd, environment=None):
        """Starts the worker, unless one is starting already.

        Returns:
            Whether it was started.

        Raises:
            OSError: the interpreter or a folder cannot be used; the message is a sentence.
        """
        if self.is_running() or not self._claim():
            return False
        try:
            self._process = self._spawn(arguments, cwd, clean_environment(os.environ if environment is None else environment))
        except OSError as error:
            os.remove(self.pid_file)
            raise type(error)(f"{error.filename or arguments[0]} cannot be used: {error.strerror or error}.") from error
        with open(self.pid_file, "w", encoding="utf-8") as file:
            file.write(str(self._process.pid))
        return True

    def pid(self):
        """The worker's pid, even if an earlier instance of this class started it; 0 if none runs."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else 0
        pid = self._written_pid()
        return pid if pid and is_alive(pid) else 0

    def is_running(self):
        """Whether a worker runs that this instance has started."""
        return self._process is not None and self._process.poll() is None

    def ended(self):
        """The exit code, if this instance started a worker that has ended; otherwise None."""
        return None if self._process is None else self._process.poll()

    def terminate(self):
        """Asks the worker to end. Not on Windows, which would end it in the middle of a file: there `/worker/quit` ends it, and the worker
        watches our process. And only a worker that this instance has started: a pid from a file may be another program's by now.
        """
        if self._process is not None and os.name != "nt":
            self._process.terminate()

    def kill(self):
        """Ends the worker that this instance has started, and its children, if it did not end when it was asked to."""
        if self._process is None or self._process.poll() is not None:
            return
        if sys.platform == "win32":
            self._process.kill()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own

    def forget(self):
        """Takes the pid file away once the worker has ended."""
        if not self.pid() and os.path.exists(self.pid_file):
            os.remove(self.pid_file)

    def last_words(self):
        """The last line that the worker printed, otherwise the last one of its log."""
        return _last_line(self.output_file) or _last_line(self.log_file)

    def _rotate(self):
        """Makes room for the output of the next worker, and keeps that of the earlier ones: a crash's is wanted after the next start."""
        names = [self.output_file, *(f"{self.output_file[:-4]}.{number}.log" for number in range(1, OUTPUTS_KEPT))]
        for older, newer in zip(names[:0:-1], names[-2::-1]):
            with contextlib.suppress(OSError):  # there is none, or another program reads it: then the new output is appended to it
                os.replace(newer, older)

    def _claim(self):
        """Makes the pid file. Only one of several components can. One that was left over does not count."""
        if os.path.exists(self.pid_file) and not self._is_starting():
            os.remove(self.pid_file)
        try:
            os.close(os.open(self.pid_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True

    def _is_starting(self):
        """Whether the pid file is young, and its process lives or is just being made. An old one does not count: a worker that lived would
        have answered over OSC, and the pid may be another program's by now.
        """
        young = abs(time.time() - os.path.getmtime(self.pid_file)) < STARTING_S  # one from the future is old, and the clock was set back
        pid = self._written_pid()
        return young and (not pid or is_alive(pid))

    def _written_pid(self):
        try:
            with open(self.pid_file, encoding="utf-8") as file:
                return int(file.read() or 0)
        except (OSError, ValueError):
            return 0

    def _spawn(self, arguments, cwd, environment):
        # Both exist on Windows only.
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        self._rotate()
        with open(self.output_file, "ab") as output:
            return subprocess.Popen(
                arguments,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                close_fds=True,
                creationflags=flags,
                start_new_session=True,  # Windows ignores it
            )


def find_program(chosen, app, project_folder="", environment=None, home=None, platform=sys.platform):
    """The beginning of the worker's command line.

    Args:
        chosen: a Python in which the worker is installed, a program such as `td-image-worker.exe`, or the folder of one of them. It may
            begin with `~`, and stand in the quotes that *Copy as path* of Windows puts round it. If it is empty, `td-image-worker` is
            looked for on PATH and in the folders of uv, pipx and pip; if there is none, TouchDesigner's own Python is taken.
        app: TouchDesigner's.
        project_folder: where a relative `chosen` begins.
        environment: PATH and so on; if it is not given, this process's.
        home: the user's folder; if it is not given, that of the user who runs this.
        platform: as `sys.platform`.

    Raises:
        ValueError: there is no such file, or it is TouchDesigner, or nothing was found.
    """
    exe = ".exe" if platform == "win32" else ""
    home = (home or os.path.expanduser("~")).replace("\\", "/").rstrip("/")
    chosen = chosen.strip().strip('"').replace("\\", "/")
    if chosen:
        if chosen.startswith("~/"):
            chosen = home + chosen[1:]
        return _as_command(_existing(chosen, project_folder.replace("\\", "/"), exe))
    for folder in program_folders(os.environ if environment is None else environment, home, platform):
        program = f"{folder}/{PROGRAM}{exe}"
        if os.path.isfile(program):
            return [program]
    return _as_command(_touchdesigners_python(app))


def program_folders(environment, home, platform=sys.platform):
    """Where `pip`, `uv tool install` and `pipx install` put programs. A program that was started from the desktop often has a short PATH.

    Sources: the uv documentation on storage, pipx on paths, and Python's on the modules site and sysconfig. Relative folders do not count:
    what they name depends on the project.
    """
    home = home.replace("\\", "/").rstrip("/")
    windows, mac = platform == "win32", platform == "darwin"
    scripts = f"{PROGRAM}/Scripts" if windows else f"{PROGRAM}/bin"
    data = environment.get("XDG_DATA_HOME") or f"{home}/.local/share"
    roaming, local = environment.get("APPDATA") or f"{home}/AppData/Roaming", environment.get("LOCALAPPDATA") or f"{home}/AppData/Local"
    uv_tools = [environment.get("UV_TOOL_DIR"), *([f"{roaming}/uv/tools", f"{roaming}/uv/data/tools"] if windows else [f"{data}/uv/tools"])]
    pipx_homes = [environment.get("PIPX_HOME")]
    if windows:
        pipx_homes += [f"{home}/pipx", f"{local}/pipx/pipx", f"{local}/pipx", f"{home}/.local/pipx"]
    else:
        pipx_homes += [f"{home}/.local/pipx", f"{data}/pipx", *([f"{home}/Library/Application Support/pipx"] if mac else [])]
    folders = [
        *environment.get("PATH", "").split(";" if windows else ":"),
        *(environment.get(name, "") for name in ("UV_TOOL_BIN_DIR", "XDG_BIN_HOME", "PIPX_BIN_DIR")),
        f"{home}/.local/bin",
        *(f"{folder}/{scripts}" for folder in uv_tools if folder),
        *(f"{folder}/venvs/{scripts}" for folder in pipx_homes if folder),
        *(["/opt/homebrew/bin", "/usr/local/bin"] if mac else [] if windows else ["/usr/local/bin"]),
        *_folders_of_pip(home, roaming, local, platform),
    ]
    folders = [folder.strip('"').replace("\\", "/").rstrip("/") for folder in folders]
    return list(dict.fromkeys(folder for folder in folders if ABSOLUTE[platform].match(folder)))


def _folders_of_pip(home, roaming, local, platform):
    """Where it puts programs for Python's own installers, which do not always add these folders to PATH: for one user, and for all."""
    if platform == "win32":
        return [f"{folder}/Python3{minor}/Scripts" for minor in MINORS for folder in (f"{roaming}/Python", f"{local}/Programs/Python")]
    if platform == "darwin":
        places = (f"{home}/Library/Python", "/Library/Frameworks/Python.framework/Versions")
        return [f"{folder}/3.{minor}/bin" for minor in MINORS for folder in places]
    return []


def _existing(chosen, project_folder, exe):
    """The file that an artist means, who may have named its folder.

    Raises:
        ValueError: there is none.
    """
    if project_folder and "/" in chosen and not re.match("([A-Za-z]:)?/", chosen):
        chosen = f"{project_folder}/{chosen}"
    if os.path.isdir(chosen):
        folder = chosen.rstrip("/")
        inside = [f"{folder}/{each}{PROGRAM}{exe}" for each in ("", "Scripts/", "bin/")] + [
            f"{folder}/Scripts/python.exe",
            f"{folder}/bin/python",
        ]
        found = [path for path in inside if os.path.isfile(path)]
        if not found:
            raise ValueError(f"Worker Program: the folder {chosen} has neither {PROGRAM}{exe} nor a Python in it.")
        return found[0]
    if "/" in chosen and not os.path.isfile(chosen):
        raise ValueError(f"Worker Program: there is no file {chosen}.")
    return chosen


def _as_command(path):
    name = path.rpartition("/")[2]
    if name.lower().startswith(TOUCHDESIGNER):
        raise ValueError(f"Worker Program: {path} is TouchDesigner and would open a second one. Choose {PROGRAM} or a Python.")
    return [path, "-m", "worker"] if PYTHON.match(name) else [path]


def _touchdesigners_python(app):
    """Never plain `sys.executable`: before 2025 that is TouchDesigner itself."""
    found = getattr(app, "pythonExecutable", "")
    if not found and "python" in os.path.basename(sys.executable).lower():
        found = sys.executable
    if not found:
        raise ValueError(f"{PROGRAM} was not found on this computer. Install it, or choose it as Worker Program.")
    return str(found).replace("\\", "/")


def _last_line(path):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - LAST_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


if sys.platform == "win32":

    def is_alive(pid):
        """Whether there is such a process."""
        # os.kill(pid, 0) would send Ctrl-C there.
        import ctypes

        synchronize, still_running = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronize, False, pid)
        if not handle:
            return False
        waited = ctypes.windll.kernel32.WaitForSingleObject(handle, 0)
        ctypes.windll.kernel32.CloseHandle(handle)
        return waited == still_running

else:

    def is_alive(pid):
        """Whether there is such a process."""
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:  # a child of ours that had ended and waited to be noticed
                return False
        except ChildProcessError:
            pass
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True
