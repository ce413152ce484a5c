"""A fake TouchDesigner with the component built, and real workers."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import socket
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(REPOSITORY))  # `tests.td.fake` under plain `pytest`, too

from tests.td.fake import TouchDesigner  # noqa: E402

TD = REPOSITORY / "td"


def load(name):
    """A file of td/ that imports nothing of TouchDesigner, as a module under a name of its own."""
    spec = importlib.util.spec_from_file_location("td_" + name, TD / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
