"""Operations of your own for the commands that run without a worker: their files are loaded right here."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker.cli import show

if TYPE_CHECKING:
    from worker.catalog.catalog import Catalog
    from worker.operations.shapes import Operation


def all_operations(wheres: Sequence[str]) -> tuple[Catalog, Mapping[str, Operation]]:
    """The operations of the worker and of these files. A file that cannot be used ends the program with a sentence.

    Raises:
        ImportError: OpenCV cannot be loaded.
    """
    from worker.catalog.own import OwnProblem, with_own
    from worker.catalog.rows import OwnFile
    from worker.catalog.table import CATALOG
    from worker.operations.table import OPERATIONS
    from worker.tasks.own import OwnModules

    catalog, functions = CATALOG, dict(OPERATIONS)
    for where in wheres:
        file = OwnFile(where, "")
        try:
            if not file.is_package:
                sys.path.append(str(Path(where).parent))
                file = OwnFile(where, "here", Path(where).read_bytes())
            found = OwnModules().of(file)
            catalog = with_own(catalog, file, tuple(msgspec.structs.replace(row, own=file) for row, _ in found.values()))
        except (OwnProblem, OSError) as error:
            show.complain(error.message if isinstance(error, OwnProblem) else f"{where} cannot be read: {error.strerror}.")
            sys.exit(show.BAD_ARGUMENTS)
        functions.update({name: operation for name, (_, operation) in found.items()})
    return catalog, functions
