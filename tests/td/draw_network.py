"""Draws td/network.svg from build.py's own tables, so that it shows what is built. Run as `python -m tests.td.draw_network`."""

from __future__ import annotations

import sys
import types
from xml.sax.saxutils import escape

from tests.td.conftest import TD

WIDTH, HEIGHT = 170, 56
LEFT, TOP, SCALE = 250, 70, 1.05
FAMILY = {"DAT": "#8f6bb3", "CHOP": "#5b9a5b", "COMP": "#8a8a8a"}


def box(x, y, name, kind, fill, text="#ffffff"):
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="{fill}"/>'
        f'<text x="{x + WIDTH / 2}" y="{y + 24}" font-weight="bold" fill="{text}">{escape(name)}</text>'
        f'<text x="{x + WIDTH / 2}" y="{y + 43}" font-size="12" fill="{text}">{escape(kind)}</text>'
    )


def arrow(points, label="", x=0, y=0, color="#444"):
    path = " L ".join(f"{px} {py}" for px, py in points)
    words = f'<text x="{x}" y="{y}" font-size="12" fill="{color}">{escape(label)}</text>' if label else ""
    return f'<path d="M {path}" fill="none" stroke="{color}" stroke-width="2" marker-end="url(#head)"/>{words}'


def button_wire(x, y):
    """From beside the component to its input, round one corner."""
    return [(x, y + 24), (LEFT - 20, y + 24), (LEFT - 20, y), (LEFT, y)]


def hexadecimal(color):
    return "#" + "".join(f"{round(part * 255):02x}" for part in color)


def draw(tables):
    places = {row[0]: (LEFT + row[2] * SCALE, TOP + 30 + (300 - row[3]) * 0.72) for row in tables["OPERATORS"]}
    places["oscin_callbacks"] = (LEFT + 400 * SCALE, TOP + 30)
    parts = [box(*places[row[0]], row[0], row[1], hexadecimal(row[4])) for row in tables["OPERATORS"]]
    parts.append(box(*places["oscin_callbacks"], "oscin_callbacks", "textDAT", hexadecimal(tables["GREY"])))
    for source, target in tables["WIRES"]:
        (x1, y1), (x2, y2) = places[source], places[target]
        parts.append(arrow([(x1 + WIDTH, y1 + HEIGHT / 2), (x2, y2 + HEIGHT / 2)], color="#3f7d3f"))
    right, bottom = max(x for x, _ in places.values()) + WIDTH + 24, max(y for _, y in places.values()) + HEIGHT + 24
    y_of = {name: place[1] + HEIGHT / 2 for name, place in places.items()}
    worker_x = 12
    outside = [
        box(worker_x, y_of["oscout"] - 28, "the worker", "a process of its own", "#222222"),
        arrow([(places["oscin"][0] + WIDTH, y_of["oscin"]), (places["oscin_callbacks"][0], y_of["oscin"])]),
        arrow([(places["oscout"][0], y_of["oscout"] - 12), (worker_x + WIDTH, y_of["oscout"] - 12)]),
        f'<text x="{worker_x + WIDTH / 2}" y="{y_of["oscout"] + 50}" font-size="12" fill="#444">commands: port 9460</text>',
        f'<text x="{worker_x + WIDTH / 2}" y="{y_of["oscout"] + 67}" font-size="12" fill="#444">reports: 9461 (oscin)</text>',
        f'<text x="{worker_x + WIDTH / 2}" y="{y_of["oscout"] + 84}" font-size="12" fill="#444">numbers: 9462 (numbers_in)</text>',
        box(worker_x, y_of["in1"] - 4, "button", "constantCHOP", FAMILY["CHOP"]),
        f'<text x="{worker_x + WIDTH / 2}" y="{y_of["in1"] + 69}" font-size="12" fill="#444">worker/trigger/logo</text>',
        arrow(
            [(worker_x + WIDTH, y_of["in1"] + 24), (LEFT - 20, y_of["in1"] + 24), (LEFT - 20, y_of["in1"]), (LEFT, y_of["in1"])],
            color="#3f7d3f",
        ),
    ]
    frame = (
        f'<rect x="{LEFT - 36}" y="{TOP}" width="{right - LEFT + 36}" height="{bottom - TOP}" rx="10" fill="#f4f4f2" stroke="#999"/>'
        f'<text x="{LEFT - 22}" y="{TOP - 12}" text-anchor="start" font-weight="bold" font-size="17" fill="#222">'
        "ImageWorker (baseCOMP) as build.py makes it</text>"
    )
    tip = '<path d="M0 0 L6 3 L0 6 z" fill="#444"/>'
    head = f'<defs><marker id="head" orient="auto" markerWidth="8" markerHeight="8" refX="6" refY="3">{tip}</marker></defs>'
    style = 'font-family="Helvetica, Arial, sans-serif" font-size="14" text-anchor="middle"'
    width, height = right + 14, bottom + 14
    body = "\n".join([head, frame, *parts, *outside])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" {style}>'
        f'\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def picture():
    """The picture's text."""
    before = sys.modules.get("td")
    sys.modules["td"] = types.ModuleType("td")  # build.py imports it; nothing of it is called here
    try:
        source = (TD / "build.py").read_text(encoding="utf-8")
        tables = {"__spec__": "imported", "__name__": "build"}
        exec(compile(source, "build.py", "exec"), tables)
    finally:
        sys.modules.pop("td")
        if before is not None:
            sys.modules["td"] = before
    return draw(tables)


if __name__ == "__main__":
    (TD / "network.svg").write_text(picture(), encoding="utf-8")
