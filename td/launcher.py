"""Starts the worker as a process of its own, and ends it. Plain Python: no TouchDesigner, and nothing here waits.

Whether a worker runs already is asked over OSC first (the extension does that). The pid file covers the seconds in which a worker has
been started and does not answer yet, so that two components that start at the same moment do not start two.
"""

import os
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
# A GUI program on macOS has an ASCII locale; and what the worker prints must be in the log before it dies.
WANTED = {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}

STARTING_S = 20.0  # a pid file younger than this belongs to a worker that is about to answer
LOG_TAIL = 2000


def clean_environment(environment):
    """The environment without what TouchDesigner put there for itself."""
    kept = {key: value for key, value in environment.items() if key not in UNWANTED and not key.startswith("DYLD_")}
    kept.update(WANTED)
    return kept


def command(*, interpreter, host, port, text_port, number_port, root, parent_pid, options=()):
    """The command line of a worker that ends when the process `parent_pid` does."""
    return [
        interpreter,
        "-m",
        "worker",
        "serve",
        *("--host", host, "--port", str(port)),
        *("--text-port", str(text_port), "--number-port", str(number_port)),
        *("--root", root, "--parent-pid", str(parent_pid)),
        *options,
    ]


class Launcher:
    """Starts and ends the worker of one port.

    Args:
        folder: where the pid file and the log file are, such as the system's folder for temporary files.
        port: the worker's.
    """

    def __init__(self, folder, port):
        self.port = port
        folder = folder.replace("\\", "/")
        self.pid_file = f"{folder}/td-image-worker-{port}.pid"
        self.log_file = f"{folder}/td-image-worker-{port}.log"
        self._process = None

    def start(self, arguments, cwd, environment=None):
        """Starts the worker, unless one is starting already.

        Returns:
            Whether it was started.

        Raises:
            OSError: the interpreter or a folder is not there.
        """
        if self.is_running() or not self._claim():
            return False
        try:
            self._process = self._spawn(arguments, cwd, clean_environment(os.environ if environment is None else environment))
        except OSError:
            os.remove(self.pid_file)
            raise
        with open(self.pid_file, "w", encoding="utf-8") as file:
            file.write(str(self._process.pid))
        return True

    def pid(self):
        """The worker's pid, also if an earlier instance of this class started it; 0 if none runs."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else 0
        pid = self._written_pid()
        return pid if pid and is_alive(pid) else 0

    def is_running(self):
        """Whether a worker runs that this instance has started."""
        return self._process is not None and self._process.poll() is None

    def ended(self):
        """The exit code, if this instance started a worker that has ended; else None."""
        return None if self._process is None else self._process.poll()

    def terminate(self):
        """Asks the worker to end. Only where that is a request: Windows would end it in the middle of a file; there `/worker/quit`
        and the watch over our own pid do it. And only a worker that this instance has started: a pid from a file may by now be
        another program's.
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
        """The last line of the log."""
        try:
            with open(self.log_file, "rb") as file:
                file.seek(max(0, os.path.getsize(self.log_file) - LOG_TAIL))
                lines = file.read().decode("utf-8", "replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def _claim(self):
        """Makes the pid file. Only one of several can, and a left-over one does not count."""
        if os.path.exists(self.pid_file) and not self._is_starting():
            os.remove(self.pid_file)
        try:
            os.close(os.open(self.pid_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return False
        return True

    def _is_starting(self):
        """A young pid file whose process lives, or whose process is just being made. An old one has no say: who had lived would have
        answered over OSC, and its pid may be another program's by now.
        """
        young = time.time() - os.path.getmtime(self.pid_file) < STARTING_S
        pid = self._written_pid()
        return young and (not pid or is_alive(pid))

    def _written_pid(self):
        try:
            with open(self.pid_file, encoding="utf-8") as file:
                return int(file.read() or 0)
        except (OSError, ValueError):
            return 0

    def _spawn(self, arguments, cwd, environment):
        # Both are 0 where there is no such thing.
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        with open(self.log_file, "wb") as log:
            return subprocess.Popen(
                arguments,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                close_fds=True,
                creationflags=flags,
                start_new_session=True,  # Windows ignores it
            )


def interpreter(chosen, app):
    """The Python that runs the worker: the chosen one, else TouchDesigner's own, which has OpenCV and NumPy.

    Never plain `sys.executable`: before 2025 that is TouchDesigner itself, and a second TouchDesigner would open.

    Raises:
        ValueError: none is known.
    """
    found = chosen or getattr(app, "pythonExecutable", "")
    if not found and "python" in os.path.basename(sys.executable).lower():
        found = sys.executable
    if not found:
        raise ValueError("This build does not say where its Python is: set the parameter Interpreter to a Python that has the worker.")
    return str(found).replace("\\", "/")


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
