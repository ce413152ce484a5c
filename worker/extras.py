"""What somebody types to add a package to this installation. `uv tool` and pipx make environments without pip of their own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAME = "td-image-worker"
#: Files that uv and pipx leave in the environments of the programs that they install.
_UV_RECEIPT, _PIPX_RECEIPT = "uv-receipt.toml", "pipx_metadata.json"


def install(name: str) -> str:
    """The command that adds an extra, such as `page`. Double quotes do for every shell, and single ones not for that of Windows."""
    receipt = _uv_receipt(sys.prefix)
    if receipt is not None:  # uv makes the environment anew, so what was there before is named again
        extras = sorted({*receipt.get("extras", ()), name})
        source = receipt.get("directory") or receipt.get("path") or _NAME
        return f'uv tool install "{source}[{",".join(extras)}]"'
    return f'{_pip(sys.prefix)} install "{_NAME}[{name}]"'


def install_package(name: str, option: str = "--no-deps") -> str:
    """The command that installs another package beside the worker.

    Args:
        name: the package.
        option: of pip's `install`. The packages with models ask for a second OpenCV and others that are not needed.
    """
    if _uv_receipt(sys.prefix) is not None:
        return f'uv pip install --python "{sys.executable}" {option} {name}'
    return f"{_pip(sys.prefix)} install {option} {name}"


def _pip(prefix: str) -> str:
    return f"pipx runpip {_NAME}" if Path(prefix, _PIPX_RECEIPT).exists() else "pip"


@functools.cache
def _uv_receipt(prefix: str) -> Mapping[str, Any] | None:
    """What uv has noted about the worker: `extras`, and `directory` or `path`; None if another program has installed it."""
    path = Path(prefix, _UV_RECEIPT)
    if not path.exists():
        return None
    import tomllib  # only then

    try:
        requirements = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["requirements"]
        return next((one for one in requirements if one["name"] == _NAME), {})
    except (OSError, ValueError, KeyError, TypeError):
        return {}
