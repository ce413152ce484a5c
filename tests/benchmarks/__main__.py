"""All benchmarks, one after the other. Run as `python -m tests.benchmarks`.

    python -m tests.benchmarks                     all of them; writes the tables into docs/performance.md, and the plots beside it
    python -m tests.benchmarks --only races seed   those two; the other tables stay as they are
    python -m tests.benchmarks --only races --with="--rounds 1 --trips 300"
    python -m tests.benchmarks --quick             a smoke run below a minute that writes nothing: does each of them still run?

`pip install -e ".[test,bench]"` brings the peers and what draws the plots. Redis comes from the system: `apt-get install redis-server`.
Each benchmark is a command of its own with more options: `python -m tests.benchmarks.races --help`.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark.

    Attributes:
        module: below `tests.benchmarks`; also the name of its place in the document.
        full, quick: its options.
        is_markdown: what it prints is a table of Markdown already.
        plot: draws its figures, if it can write them as JSON.
        needs: a package without which it cannot run; then it is left out, and that is said.
        shown_from: if it prints much, only what follows from a line on that begins so stands in the document.
    """

    module: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    is_markdown: bool = False
    plot: Callable[[Any, Any], None] | None = None
    needs: str = ""
    shown_from: str = ""


def plot_races(axes: Any, figures: dict[str, dict[str, Any]]) -> None:
    shown = {name: one for name, one in figures.items() if "p50" in one}
    names = sorted(shown, key=lambda name: -shown[name]["p50"])
    middle = [shown[name]["p50"] for name in names]
    axes.barh(names, middle, xerr=[[0] * len(names), [shown[name]["p99"] - shown[name]["p50"] for name in names]], color="#5b8db8")
    axes.set_xscale("log")
    axes.set_xlabel("an empty job there and back, us: the bar ends at the median, the line at the 99th percentile")


def plot_td_frame(axes: Any, figures: dict[str, dict[str, Any]]) -> None:
    names = list(figures)
    for offset, (key, color) in enumerate((("p50", "#9bbf85"), ("p99", "#5b8db8"), ("worst", "#c0504d"))):
        axes.bar(
            [at + (offset - 1) * 0.27 for at in range(len(names))], [figures[name][key] for name in names], 0.25, label=key, color=color
        )
    axes.axhline(1000 / 60, color="black", linewidth=0.8, linestyle="--", label="next frame is due")
    axes.set_xticks(range(len(names)), [f"{name}\n{figures[name]['late']} late" for name in names])
    axes.set_ylabel("ms from when a frame was due to its end")
    axes.legend()


def plot_photographs(axes: Any, figures: dict[str, dict[str, Any]]) -> None:
    for offset, who in enumerate(("loop", "pool", "ours, pool", "worker")):
        relative = [row[who]["cpu_s"] / row["loop"]["cpu_s"] for row in figures.values()]
        axes.bar([at + (offset - 1.5) * 0.2 for at in range(len(figures))], relative, 0.19, label=who)
    axes.set_xticks(range(len(figures)), list(figures))
    axes.set_ylabel("CPU for each photograph, the loop is 1")
    axes.legend()


SECTIONS = (
    Section(
        "races",
        (),
        ("--trips", "50", "--jobs", "200", "--rounds", "1", "--who", *("floor", "ours", "pool")),
        True,
        plot_races,
    ),
    Section("roundtrip", (), ("--trips", "80", "--rounds", "1")),
    Section("seed", (), ("--rounds", "1", "--warm", "1")),
    Section("photographs", (), ("--count", "4", "--rounds", "1", "--width", "1600", "--height", "1200"), plot=plot_photographs),
    Section("td_frame", (), ("--seconds", "1", "--rounds", "1", "--who", "worker"), plot=plot_td_frame),
    Section("frames", (), ("--rounds", "1", "--frames", "60", "--sizes", "1080p")),
    Section("flood", (), ("--trips", "100", "--rounds", "1")),
    Section("circles", (), ("--count", "1", "--family", "easy", "--alone"), shown_from="mean of "),
    Section("features", (), ("--count", "1")),
    Section("identity", (), ("--seeds", "1", "--seconds", "1.5", "--scenes", "crossing", "a video"), is_markdown=True),
    Section("track", (), ("--frames", "30", "--sizes", "360p"), is_markdown=True),
    Section("cluster", (), ("--single", "20", "--many", "100", "--rounds", "1"), needs="distributed"),
    Section("tried", (), ("--jobs", "100", "--rounds", "1")),
    Section("page", (), ("--slices", "1", "--rounds", "1", "--jobs", "100", "--seconds", "0.3"), needs="tornado"),
    Section("demo", (), ("--rounds", "1")),
)


def machine() -> str:
    """What the figures were measured on."""
    model = platform.processor()
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        model = found[1] if found else model
    except OSError:
        pass
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("opencv-python-headless", "numpy", "msgspec"))
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GB"
    return f"{model}, {os.cpu_count()} cores, {memory}; {platform.platform()}; Python {platform.python_version()}, {packages}"


def run(section: Section, options: list[str], folder: Path) -> tuple[str, Any, int]:
    """What a benchmark printed, its figures, and its exit code."""
    figures = folder / f"{section.module}.json"
    wanted = ["--json", str(figures)] if section.plot else []
    done = subprocess.run(
        [sys.executable, "-m", f"tests.benchmarks.{section.module}", *options, *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout.strip() + (f"\n{done.stderr.strip()[-2000:]}" if done.returncode and "Traceback" in done.stderr else "")
    return said, json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else None, done.returncode


def placed(document: str, name: str, text: str) -> str:
    """The document with the text at its place.

    Raises:
        ValueError: it has no such place.
    """
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if begin not in document or end not in document:
        raise ValueError(f"{DOCUMENT} has no place for {name}: {begin.strip()} ... {end}")
    return document[: document.index(begin) + len(begin)] + text.rstrip() + "\n" + document[document.index(end) :]


def entry(section: Section, options: list[str], said: str, figures: Any, load: str) -> str:
    """A section of the document, its plot drawn."""
    when = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    command = shlex.join(["python", "-m", f"tests.benchmarks.{section.module}", *options])
    said = section.shown_from + said.partition(section.shown_from)[2] if section.shown_from and section.shown_from in said else said
    text = f"`{command}`, {when}, load {load}.\n\n" + (said if section.is_markdown else f"```\n{said}\n```")
    if section.plot and figures and importlib.util.find_spec("matplotlib"):
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
        section.plot(axes, figures)
        PLOTS.mkdir(exist_ok=True)
        figure.savefig(PLOTS / f"{section.module}.png", dpi=90)
        pyplot.close(figure)
        text += f"\n\n![The same as a plot](performance/{section.module}.png)"
    return text + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[section.module for section in SECTIONS], help="these benchmarks")
    parser.add_argument("--with", dest="more", default="", metavar="OPTIONS", help="further options for each of them")
    parser.add_argument("--quick", action="store_true", help="a smoke run: small figures that mean nothing, and nothing is written")
    options = parser.parse_args()
    document = "" if options.quick else DOCUMENT.read_text(encoding="utf-8")
    failed = []
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for section in SECTIONS:
            if options.only and section.module not in options.only:
                continue
            print(f"\n=== {section.module}", flush=True)
            if section.needs and importlib.util.find_spec(section.needs) is None:
                print(f"left out: {section.needs} is not installed")
                continue
            before, began = os.getloadavg()[0], time.monotonic()
            chosen = [*(section.quick if options.quick else section.full), *shlex.split(options.more)]
            said, figures, code = run(section, chosen, Path(folder))
            print(f"{said}\n({time.monotonic() - began:.0f} s)", flush=True)
            if code and ("Traceback" in said or not said):
                failed.append(section.module)
            elif not options.quick:
                load = f"{before:.1f} before and {os.getloadavg()[0]:.1f} after"
                document = placed(document, section.module, entry(section, chosen, said, figures, load))
                DOCUMENT.write_text(placed(document, "machine", machine()), encoding="utf-8")
                document = DOCUMENT.read_text(encoding="utf-8")
    if failed:
        print(f"These did not run to their end: {', '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
