"""What follows from the settings for those who do the work: what they may read and write, and which of them there are."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker.catalog.catalog import Catalog
from worker.catalog.rows import NEEDS, OwnFile
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules
from worker.tasks.prepare import OPERATIONS, find_missing, make_run_task

if TYPE_CHECKING:  # imported by those who need them, so that a start does not wait for them
    from worker.executors.dask import Certificates
    from worker.executors.live import Followers


def needs_of(word: str) -> frozenset[str]:
    """What children may reach beside files, by the word in the settings."""
    return {"nothing": frozenset[str](), "all": NEEDS}.get(word, frozenset({word}))


def own_files(wheres: Sequence[str]) -> tuple[Path, ...]:
    """Those operations of the artist's own that are files."""
    return tuple(Path(where) for where in wheres if not OwnFile(where, "").is_package)


def rules_of(config: Config) -> FileRules:
    """What jobs may read and write on this machine."""
    return FileRules(
        roots=tuple(root.resolve() for root in config.roots),
        read_roots=tuple(root.resolve() for root in config.read_roots),
        maps=config.maps,
        limits=config.files,
        kept=(*config.kept, *own_files(config.operations)),
    ).pinned()


def pool_of(config: Config, rules: FileRules, catalog: Catalog = CATALOG, operations: str = OPERATIONS) -> PoolExecutor:
    """The child processes of this machine."""
    folders = tuple(dict.fromkeys(path.parent for path in own_files(config.operations)))
    confined = config.sandbox == "on"
    needs = needs_of(config.operations_need)
    make = functools.partial(make_run_task, rules, catalog, operations, confined=confined, own=folders, needs=needs, nice=config.nice)
    return PoolExecutor(config.workers, make, find_missing=functools.partial(find_missing, operations), patient=config.show)


def followers_of(config: Config, rules: FileRules, catalog: Catalog = CATALOG, operations: str = OPERATIONS) -> Followers:
    """The processes of live jobs, always on this machine."""
    from worker.executors.live import Followers
    from worker.tasks.prepare_live import make_follow

    make = functools.partial(make_follow, rules, catalog, operations, confined=config.sandbox == "on", nice=config.nice)
    return Followers(make, catalog)


def certificates_of(config: Config) -> Certificates:
    """The three files of the settings."""
    from worker.executors.dask import Certificates

    return Certificates(config.cluster.ca, config.cluster.cert, config.cluster.key)
