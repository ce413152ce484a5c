"""All benchmarks, one after the other. Run as `python -m tests.benchmarks`.

    python -m tests.benchmarks                     all of them; writes the tables into docs/performance.md, and the plots beside it
    python -m tests.benchmarks --only races seed   those two; the other tables stay as they are
    python -m tests.benchmarks --only races --with="--rounds 1 --trips 300"
    python -m tests.benchmarks --short             all of them with fewer rounds: about 25 minutes on two cores that do nothing else
    python -m tests.benchmarks --from seed         those that come after an interruption: what is done stands in the document already
    python -m tests.benchmarks --quick             a smoke run that writes nothing: does each of them still run?

What a benchmark says is shown as it says it. One that does not come to its end is a line that says why. Its old table stays, and the
others run.

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
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import races

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "performance.md"
PLOTS = ROOT / "docs" / "performance"


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark.

    Attributes:
        module: below `tests.benchmarks`; also the name of its place in the document.
        full, short, quick: its options.
        is_markdown: what it prints is a table of Markdown already.
        plot: draws its figures, if it can write them as JSON.
        needs: a package without which it cannot run; then it is left out, and that is said.
        shown_from: if it prints much, only what follows from a line on that begins so stands in the document.
    """

    module: str
    full: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    is_markdown: bool = False
    plot: Callable[[Any, Any], None] | None = None
    needs: str = ""
    shown_from: str = ""


def plot_races(axes: Any, figures: dict[str, dict[str, Any]]) -> None:
    shown = {name: one for name, one in figures.items() if "p50" in one}
    names = sorted(shown, key=lambda name: -shown[name]["p50"])
    middle = [shown[name]["p50"] for name in names]
    shown_names = [races.NAMES.get(name, name) for name in names]
    axes.barh(shown_names, middle, xerr=[[0] * len(names), [shown[name]["p99"] - shown[name]["p50"] for name in names]], color="#5b8db8")
    axes.set_xscale("log")
    axes.set_xlabel("µs for an empty job there and back\nthe bar ends at the median, the line at the 99th percentile")


def plot_td_frame(axes: Any, figures: dict[str, dict[str, Any]]) -> None:
    names = list(figures)
    for offset, (key, color) in enumerate((("p50", "#9bbf85"), ("p99", "#5b8db8"), ("worst", "#c0504d"))):
        axes.bar(
            [at + (offset - 1) * 0.27 for at in range(len(names))], [figures[name][key] for name in names], 0.25, label=key, color=color
        )
    axes.axhline(1000 / 60, color="black", linewidth=0.8, linestyle="--", label="next frame is due")
    axes.set_xticks(range(len(names)), [f"{name}\n{figures[name]['late']} late\nof {figures[name]['frames']}" for name in names])
    axes.set_ylabel("ms from when a frame was due to its end")
    legend_above(axes)


def plot_photographs(axes: Any, figures: dict[str, dict[str, Any]]) -> None:
    for offset, who in enumerate(("loop", "pool", "ours, pool", "worker")):
        relative = [row[who]["cpu_s"] / row["loop"]["cpu_s"] for row in figures.values()]
        axes.bar([at + (offset - 1.5) * 0.2 for at in range(len(figures))], relative, 0.19, label=who)
    axes.set_xticks(range(len(figures)), list(figures))
    axes.set_ylabel("CPU for each photograph, the loop is 1")
    legend_above(axes)


def legend_above(axes: Any) -> None:
    """In a plot that bars fill, it would lie on some of them."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)


SECTIONS = (
    Section(
        "races",
        short=("--trips", "500", "--jobs", "1000", "--rounds", "2"),
        quick=("--trips", "50", "--jobs", "200", "--rounds", "1", "--who", *("floor", "ours", "pool")),
        is_markdown=True,
        plot=plot_races,
    ),
    Section("roundtrip", short=("--trips", "2000", "--rounds", "4"), quick=("--trips", "80", "--rounds", "1")),
    Section("start", short=("--starts", "6", "--idle-s", "30"), quick=("--starts", "1", "--idle-s", "0.2")),
    Section("seed", short=("--rounds", "3"), quick=("--rounds", "1", "--warm", "1")),
    Section(
        "photographs",
        short=("--count", "24", "--rounds", "2"),
        quick=("--count", "4", "--rounds", "1", "--width", "1600", "--height", "1200"),
        plot=plot_photographs,
    ),
    Section("td_frame", quick=("--seconds", "1", "--rounds", "1", "--who", "worker"), plot=plot_td_frame),
    Section("frames", short=("--rounds", "20", "--frames", "200"), quick=("--rounds", "1", "--frames", "60", "--sizes", "1080p")),
    Section("flood", short=("--trips", "1000"), quick=("--trips", "100", "--rounds", "1")),
    Section("circles", short=("--count", "1"), quick=("--count", "1", "--family", "easy", "--alone"), shown_from="mean of "),
    Section("features", short=("--count", "3"), quick=("--count", "1")),
    Section(
        "identity", short=("--seeds", "1"), quick=("--seeds", "1", "--seconds", "1.5", "--scenes", "crossing", "a video"), is_markdown=True
    ),
    Section(
        "track", short=("--frames", "150", "--rounds", "2"), quick=("--frames", "30", "--rounds", "1", "--sizes", "360p"), is_markdown=True
    ),
    Section(
        "cluster",
        short=("--many", "1500", "--rounds", "2"),
        quick=("--single", "20", "--many", "100", "--rounds", "1"),
        needs="distributed",
    ),
    Section("tried", short=("--jobs", "2000", "--rounds", "3"), quick=("--jobs", "100", "--rounds", "1")),
    Section(
        "page",
        short=("--slices", "20", "--jobs", "1000", "--rounds", "2"),
        quick=("--slices", "1", "--rounds", "1", "--jobs", "100", "--seconds", "0.3"),
        needs="tornado",
    ),
    Section("demo", quick=("--rounds", "1")),
    Section("parent", quick=("--seconds", "1", "--picture", str(Path(tempfile.gettempdir(), "parent.svg")))),
)
#: A benchmark that takes longer hangs.
LONGEST_S = 40 * 60


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


def run(section: Section, options: list[str], folder: Path) -> tuple[str, Any, str]:
    """What a benchmark printed, its figures, and why it did not come to its end; "" if it did. A limit that was missed is no failure."""
    figures = folder / f"{section.module}.json"
    wanted = ["--json", str(figures)] if section.plot else []
    command = [sys.executable, "-u", "-m", f"tests.benchmarks.{section.module}", *options, *wanted]
    said = []
    with (folder / "errors").open("w+", encoding="utf-8", errors="replace") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
        alarm = threading.Timer(LONGEST_S, process.kill)
        alarm.start()
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
        code = process.wait()
        alarm.cancel()
        errors.seek(0)
        complaint = errors.read()
    text = "".join(said).strip()
    why = ""
    if code < 0:
        why = f"it was ended by signal {-code}"
    elif code and ("Traceback" in complaint or not text):
        why = (complaint.strip().splitlines() or ["it said nothing"])[-1][:300]
    return text, json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else None, why


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
    parser.add_argument("--from", dest="first", choices=[section.module for section in SECTIONS], help="this one and those behind it")
    parser.add_argument("--short", action="store_true", help="fewer rounds")
    parser.add_argument("--quick", action="store_true", help="a smoke run: small figures that mean nothing, and nothing is written")
    options = parser.parse_args()
    document = "" if options.quick else DOCUMENT.read_text(encoding="utf-8")
    failed, started, has_come = [], time.monotonic(), not options.first
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for section in SECTIONS:
            has_come = has_come or section.module == options.first
            if not has_come or (options.only and section.module not in options.only):
                continue
            print(f"\n=== {section.module}", flush=True)
            if section.needs and importlib.util.find_spec(section.needs) is None:
                print(f"did not run: {section.needs} is not installed")
                continue
            before, began = os.getloadavg()[0], time.monotonic()
            chosen = [*(section.quick if options.quick else section.short if options.short else section.full), *shlex.split(options.more)]
            said, figures, why = run(section, chosen, Path(folder))
            print(f"({time.monotonic() - began:.0f} s)", flush=True)
            if why:
                print(f"did not run: {why}", flush=True)
                failed.append(f"{section.module} ({why})")
            elif not options.quick:
                load = f"{before:.1f} before and {os.getloadavg()[0]:.1f} after"
                document = placed(document, section.module, entry(section, chosen, said, figures, load))
                DOCUMENT.write_text(placed(document, "machine", machine()), encoding="utf-8")
                document = DOCUMENT.read_text(encoding="utf-8")
    print(f"\n{time.monotonic() - started:.0f} s in all")
    if failed:
        print(f"These did not run to their end: {'; '.join(failed)}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
