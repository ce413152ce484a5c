"""`python -m worker` is the same as the command `td-image-worker`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command line and ends the process."""
    _import_from_no_other_folder()
    from worker.cli import run  # not at the top: child processes import this module, too, and need no command line

    run()


def _import_from_no_other_folder() -> None:
    """What lies in the current folder, or beside the program, is not imported: neither here nor in any Python that we start.

    Python looks in one of these folders first, and projects are full of files that are called `queue.py`, `socket.py` or `cv2.py`. Child
    processes have our path; the variable is for the moment before they get it. If this package itself lies in such a folder, as in a
    repository that is not installed, the folder comes last.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.flags.safe_path or getattr(sys, "frozen", False) or not sys.path:
        return
    first = sys.path.pop(0)
    ours = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 - pathlib would be looked for there, too
    if os.path.realpath(first) == os.path.realpath(ours):
        sys.path.append(first)


def _as_python(arguments: list[str]) -> None:
    """What `python -m MODULE ...` and `python -c CODE ...` do, for a frozen program: it is the only Python there is."""
    import runpy

    how, what, *rest = arguments
    sys.argv = [what if how == "-m" else how, *rest]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<command>", "exec"), {"__name__": "__main__"})  # noqa: S102 # nosec B102 - it comes from our own doctor


if __name__ == "__main__":
    if getattr(sys, "frozen", False):
        import multiprocessing  # not at the top: it would be looked for in the current folder

        multiprocessing.freeze_support()
        if sys.argv[1:2] == ["-P"] and len(sys.argv) > 3:
            _as_python(sys.argv[2:])
            sys.exit()
    main()
