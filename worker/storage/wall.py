"""The wall clock beside the running time, so that it is noticed if somebody sets it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

import msgspec

from worker.storage import schema
from worker.storage.commit_log import Commit

#: The wall clock was set if it goes before or behind the running time by more. Systems also slow it down and speed it up a little.
JUMP_S = 2.0


class Wall:
    """See the module's docstring.

    Args:
        up: the running time now, in seconds that workers have run with this journal.
    """

    def __init__(self, up: float) -> None:
        self._began_up = up
        self._zero_at = time.time() - up

    def at(self, up: float) -> float:
        """What the wall clock said at that running time, or would have said, if it had been right then. In seconds since 1970."""
        return self._zero_at + up

    def dated(self, part: Sequence[Commit]) -> Sequence[Commit]:
        """Commits of this run, with the time as it is known now."""
        return [msgspec.structs.replace(commit, at=self.at(commit.up)) for commit in part]

    def was_set(self, up: float) -> bool:
        """Whether the clock was set since the last `follow`."""
        return abs(time.time() - self.at(up)) > JUMP_S

    def follow(self, database: sqlite3.Connection, up: float) -> None:
        """If it was set, open jobs of this run keep the age that they have. So their `ttl_ms` is not over after the next start.

        Raises:
            sqlite3.Error: it could not be written.
        """
        if not self.was_set(up):
            return
        zero_at = time.time() - up
        statement = "UPDATE job SET accepted_at = accepted_up + ? WHERE final IS NULL AND typeof(accepted_up) = 'real' AND accepted_up >= ?"
        with schema.transaction(database):
            database.execute(statement, (zero_at, self._began_up))
        self._zero_at = zero_at
