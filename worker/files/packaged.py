"""Files that installed packages bring along, such as models."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path


def is_installed(module: str) -> bool:
    """Whether a package is there. It is not imported."""
    return importlib.util.find_spec(module) is not None


@functools.lru_cache(maxsize=4)
def packaged(module: str, name: str) -> bytes | None:
    """The bytes of a file in a package, which is not imported; None if the package, or the file in it, is not there."""
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    return path.read_bytes() if path and path.is_file() else None
