"""The place where the tests of tasks run their jobs."""

from __future__ import annotations

import pytest

from tests.unit.tasks.desk import Desk


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path.resolve())
