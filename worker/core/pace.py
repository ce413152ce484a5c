"""How long one step of each operation has taken lately, so that a batch is cut into parts that are neither too short nor too long. Pure."""

from __future__ import annotations

#: How much the newest part counts against all before it.
NEWEST = 0.25
#: Operations of an artist's own come and go with their files.
MOST = 1000


class Pace:
    """Seconds for one step, by operation; a moving average over its parts.

    >>> pace = Pace()
    >>> pace.step_s("draw_circles")
    0.0
    >>> pace.took("draw_circles", 10, 0.5)
    >>> pace.step_s("draw_circles")
    0.05
    """

    def __init__(self) -> None:
        self._step_s: dict[str, float] = {}

    def step_s(self, operation: str) -> float:
        """0 if it is not known yet."""
        return self._step_s.get(operation, 0.0)

    def took(self, operation: str, steps: int, seconds: float) -> None:
        """Notes a part that has ended."""
        if steps <= 0 or (operation not in self._step_s and len(self._step_s) >= MOST):
            return
        newest = max(0.0, seconds) / steps
        before = self._step_s.get(operation, newest)
        self._step_s[operation] = before + NEWEST * (newest - before)
