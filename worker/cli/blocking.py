"""How long the demo's operations take in one plain process, on one thread, one after another: `python -m worker.cli.blocking FOLDER`.

This is what TouchDesigner's main thread would have to wait for. Prints one JSON object: milliseconds by the name of the example.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path


def main(folder: Path) -> None:
    """Measures in a temporary folder beside the real output, on the same disk."""
    import cv2

    from worker.catalog.table import CATALOG
    from worker.cli import examples
    from worker.cli.run import run_job
    from worker.core.jobs import Failure
    from worker.files.paths import FileRules
    from worker.tasks.run import run_task

    cv2.setNumThreads(1)
    measured = {}
    with tempfile.TemporaryDirectory(dir=folder, prefix=".measuring-") as scratch:
        examples.prepare(Path(scratch))
        rules = FileRules(roots=(Path(scratch),))

        def measure(example: examples.Example) -> list[dict[str, float]]:
            params, _ = CATALOG.parse_job(example.operation, example.params.items())
            begin = time.perf_counter()
            outcome = run_job(example.operation, params, lambda task, progress: run_task(task, rules, progress), lambda _step, _steps: None)
            measured[example.name] = (time.perf_counter() - begin) * 1000
            if isinstance(outcome, Failure):
                sys.exit(f"{example.name}: {outcome.message}")
            return [dict(zip(outcome.fields, row, strict=True)) for row in outcome.rows]

        found = [measure(example) for example in examples.examples()]
        measure(examples.looking_at(next(rows for rows in found if rows)))
        measure(examples.photograph())
    print(json.dumps(measured))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
