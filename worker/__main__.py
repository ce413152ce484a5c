"""`python -m worker` is the same as the command `td-image-worker`."""

from __future__ import annotations

import multiprocessing
import sys


def main() -> None:
    """Runs the command line and ends the process."""
    from worker.cli import run  # not at the top: child processes import this module, too, and need no command line

    run()


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
    multiprocessing.freeze_support()
    if getattr(sys, "frozen", False) and sys.argv[1:2] == ["-P"] and len(sys.argv) > 3:
        _as_python(sys.argv[2:])
    else:
        main()
