"""`python -m worker` is the same as the command `td-image-worker`."""

from __future__ import annotations

import multiprocessing


def main() -> None:
    """Runs the command line and ends the process."""
    from worker.cli import run  # not at the top: child processes import this module, too, and need no command line

    run()


if __name__ == "__main__":
    multiprocessing.freeze_support()
    main()
