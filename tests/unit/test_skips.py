"""A test that could have run is not skipped in CI: neither by itself, nor with its whole file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CONFTEST = Path(__file__).parents[1] / "conftest.py"
FILES = {
    "test_one.py": "import pytest\ndef test_one(): pytest.skip('install it')\n",
    "test_whole.py": "import pytest\npytest.importorskip('nothing', reason='install it')\ndef test_two(): pass\n",
    "test_elsewhere.py": "import pytest\npytest.importorskip('nothing', reason='not on this system: it')\ndef test_three(): pass\n",
    "test_marked.py": "import pytest\n@pytest.mark.xfail(reason='known')\ndef test_four(): assert False\n",
}


def test_skips_in_ci(tmp_path):
    """What could be installed is a failure there, and nothing else; without CI it is a skip."""
    shutil.copy(CONFTEST, tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--rootdir", "."]
    said = {}
    for name in ("CI", "HERE"):
        environment = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_ADDOPTS")} | {name: "true"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False)
        said[name] = done.stdout.splitlines()[-1].partition(" in ")[0]
    assert said == {"CI": "1 failed, 1 skipped, 1 xfailed, 1 error", "HERE": "3 skipped, 1 xfailed"}
