"""Do ids stay with their objects? Circles cross, vanish and return; trackers beside each other. `python -m tests.benchmarks.identity`.

    python -m tests.benchmarks.identity                       all scenes, 3 seeds of 10 seconds each
    python -m tests.benchmarks.identity --seeds 1 --seconds 4 --scenes crossing

Every tracker gets the same detections and the same reach in pixels, and keeps what is missing for the same number of frames. `nearest`
gives each object, one after the other, the nearest free detection. `greedy` is ours with the cheapest free pair taken first in place of
the best assignment. `norfair` is another's, a Kalman filter and greedy assignment, if it is installed; version 2.3 needs NumPy 1 and
OpenCV 4.

Against the truth, over all frames: **switches**: times that a circle has another id than before; **lost**: circles that have an id in less
than a fifth of their frames; **broken**: times that a circle had an id, had none, and has one again; **false**: ids in a frame that are no
circle, per hundred circles; **MOTA** and **IDF1** as usual (K. Bernardin and R. Stiefelhagen, "Evaluating Multiple Object Tracking
Performance: The CLEAR MOT Metrics", 2008; E. Ristani et al., "Performance Measures and a Data Set for Multi-Target, Multi-Camera
Tracking", 2016). What a tracker only expects, because it is missing, counts neither for it nor against it.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.benchmarks.identity_scenes import SCENES, Frame, Scene, Seen, filmed, frames
from worker.tracking.assignment import Choice, Costs, assign
from worker.tracking.identity import Detection, Identity, Rules

RULES = Rules(slots=120, distance=60)
#: What a tracker says of a frame: id, x, y.
Said = Sequence[tuple[int, float, float]]
#: Takes the detections of a frame and its time.
Tracker = Callable[[Sequence[Detection], float], Said]


def greedy(costs: Costs, alone: float) -> Choice:
    """The cheapest pair first."""
    chosen, taken = [-1] * len(costs), set()
    for place in np.argsort(costs, axis=None, kind="stable"):
        row, column = divmod(int(place), costs.shape[1])
        if not costs[row, column] < alone:
            break
        if chosen[row] < 0 and column not in taken:
            chosen[row] = column
            taken.add(column)
    return chosen


def ours(how: Callable[[Costs, float], Choice] = assign) -> Tracker:
    identity = Identity(RULES, assign=how)

    def track(found: Sequence[Detection], now_s: float) -> Said:
        return [(one.id, one.x, one.y) for one in identity.update(found, now_s) if not one.missing]

    return track


def nearest() -> Tracker:
    objects: dict[int, list[float]] = {}  # x, y, frames missing, hits, the id that is shown
    shown = 0

    def track(found: Sequence[Detection], now_s: float) -> Said:
        nonlocal shown
        free, said = [*found], []
        for key, one in [*objects.items()]:
            best = min(free, key=lambda each: math.hypot(each.x - one[0], each.y - one[1]), default=None)
            if best is not None and math.hypot(best.x - one[0], best.y - one[1]) <= RULES.distance:
                free.remove(best)
                one[:3] = best.x, best.y, 0
                one[3] += 1
                if not one[4] and one[3] >= RULES.confirm:
                    shown += 1
                    one[4] = shown
                if one[4]:
                    said.append((int(one[4]), best.x, best.y))
                continue
            one[2] += 1
            if one[2] > (RULES.keep if one[4] else 1):
                del objects[key]
        for each in free:
            objects[max(objects, default=0) + 1] = [each.x, each.y, 0, 1, 0]
        return said

    return track


def norfair() -> Tracker:
    from norfair import Detection as Point
    from norfair import Tracker as Peer

    peer = Peer(
        distance_function=lambda new, old: float(np.linalg.norm(new.points - old.estimate)),
        distance_threshold=RULES.distance,
        hit_counter_max=RULES.keep,
        initialization_delay=RULES.confirm - 1,
    )

    def track(found: Sequence[Detection], now_s: float) -> Said:
        points = [Point(np.array([[one.x, one.y]])) for one in found]
        tracked = peer.update(points)
        fresh = {id(point) for point in points}
        return [(one.id, *map(float, one.last_detection.points[0])) for one in tracked if id(one.last_detection) in fresh]

    return track


TRACKERS: dict[str, Callable[[], Tracker]] = {"ours": ours, "greedy": functools.partial(ours, greedy), "nearest": nearest}


@dataclass(slots=True)
class Tally:
    """Counts over sequences."""

    truths: int = 0
    said: int = 0
    missed: int = 0
    false: int = 0
    switches: int = 0
    broken: int = 0
    lost: int = 0
    identified: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def mota(self) -> float:
        return 1 - (self.missed + self.false + self.switches) / max(1, self.truths)

    @property
    def idf1(self) -> float:
        return 2 * self.identified / max(1, self.truths + self.said)

    def add(self, sequence: Sequence[Frame], outputs: Sequence[Said]) -> None:
        """Counts one sequence."""
        last: dict[int, int] = {}  # the id that a circle had last
        had: dict[int, bool] = {}  # whether it had one in the frame before in which it could be seen
        seen: dict[int, list[int]] = {}  # frames, and frames with an id
        together: dict[tuple[int, int], int] = {}
        for frame, said in zip(sequence, outputs, strict=True):
            pairs = _pairs(frame.truth, said, last, together)
            self.truths += len(frame.truth)
            self.said += len(said)
            self.missed += len(frame.truth) - len(pairs)
            self.false += len(said) - len(pairs)
            for one in frame.truth:
                counts = seen.setdefault(one.id, [0, 0])
                counts[0] += 1
                now = pairs.get(one.id)
                if now is not None:
                    counts[1] += 1
                    self.switches += last.get(one.id, now) != now
                    self.broken += one.id in last and not had[one.id]
                    last[one.id] = now
                had[one.id] = now is not None
        self.lost += sum(with_id < 0.2 * all_frames for all_frames, with_id in seen.values())
        self.identified += _identified(together)


def _pairs(truth: Sequence[Seen], said: Said, last: dict[int, int], together: dict[tuple[int, int], int]) -> dict[int, int]:
    """Which id each circle has in a frame; the one that it had before, if that one is still on it."""
    costs = np.full((len(truth), len(said)), np.inf)
    for row, one in enumerate(truth):
        for column, (number, x, y) in enumerate(said):
            distance = math.hypot(one.x - x, one.y - y)
            if distance <= one.radius:
                together[one.id, number] = together.get((one.id, number), 0) + 1
                costs[row, column] = distance - 1e4 * (last.get(one.id) == number)
    return {one.id: said[column][0] for one, column in zip(truth, assign(costs, 1e3), strict=True) if column >= 0}


def _identified(together: dict[tuple[int, int], int]) -> int:
    """Frames in which circles have the one id that is best for each over the whole sequence."""
    rows, columns = sorted({row for row, _ in together}), sorted({column for _, column in together})
    costs = np.full((len(rows), len(columns)), np.inf)
    for (row, column), count in together.items():
        costs[rows.index(row), columns.index(column)] = -count
    return -int(sum(costs[row, column] for row, column in enumerate(assign(costs, 0)) if column >= 0))


def measure(scene: Scene, names: Sequence[str], seeds: int, seconds: float) -> dict[str, Tally]:
    """What each tracker makes of a scene."""
    tallies = {name: Tally() for name in names}
    for seed in range(seeds):
        count = round(seconds * scene.fps)
        if scene.drawn:
            with tempfile.TemporaryDirectory() as folder:
                sequence = filmed(scene, count, 9000 + seed, Path(folder) / "circles.mp4")
        else:
            sequence = [*frames(scene, count, 1000 + seed)]
        for name in names:
            tracker, outputs = TRACKERS[name](), []
            for frame in sequence:
                began = time.perf_counter()
                outputs.append(tracker(frame.detections, frame.at_s))
                tallies[name].seconds.append(time.perf_counter() - began)
            tallies[name].add(sequence, outputs)
    return tallies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each sequence")
    parser.add_argument("--scenes", nargs="+", default=[scene.name for scene in SCENES], help="by their names or the beginnings of these")
    options = parser.parse_args()
    if importlib.util.find_spec("norfair"):
        TRACKERS["norfair"] = norfair
    else:
        print("norfair is left out: it is not installed", file=sys.stderr)
    print("| scene | tracker | switches | lost | broken | false % | missed % | MOTA | IDF1 | us/frame |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for scene in SCENES:
        if not any(scene.name.startswith(wanted) for wanted in options.scenes):
            continue
        for name, one in measure(scene, [*TRACKERS], options.seeds, options.seconds).items():
            false, missed = 100 * one.false / one.truths, 100 * one.missed / one.truths
            print(
                f"| {scene.name} | {name} | {one.switches} | {one.lost} | {one.broken} | {false:.1f} | {missed:.1f} "
                f"| {one.mota:.3f} | {one.idf1:.3f} | {1e6 * float(np.median(one.seconds)):.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
