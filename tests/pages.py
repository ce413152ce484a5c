"""Makes the pictures of docs/page.md: a real worker does real jobs, and a real browser shows its page. Run as `python -m tests.pages`.

Needs Chromium and `pip install playwright`. Look at what it made.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.web.serving import ROOT, chromium, worker
from worker.client import Client

FOLDER = ROOT / "docs/page"
PHOTOGRAPHS = ("smarties.png", "coins.png", "graf1.jpg", "graf3.jpg", "box.png", "box_in_scene.png", "astronaut.jpg", "board.jpg")
DESK, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 780}
#: How long the short jobs go on before the first picture, so that the plots have something to show.
BEFORE_S = 75.0


async def _short_jobs(port: int, until: float) -> None:
    """What a show sends: many small searches, in waves."""
    async with Client(port=port, name="stage") as client:
        number = 0
        while time.monotonic() < until:
            wave = [
                await client.submit(
                    "find_circles", {"image": PHOTOGRAPHS[number % 2], "overlay": f"found/cue-{number:03}.png"}, id=f"cue-{number:03}"
                )
                for number in range(number, number + 4)
            ]
            number += 4
            for job in wave:
                await job.final()
            await asyncio.sleep(0.4 + (number % 12) / 8)


async def _show(port: int) -> None:
    async with Client(port=port, name="touchdesigner") as client:
        await client.set_preset("logo", {"operation": "find_circles", "image": "smarties.png", "overlay": "logo.png"})
        await client.set_preset("wall", {"operation": "find_features", "image": "graf1.jpg", "overlay": "wall.png", "max_items": 300})
        await client.set_preset(
            "match", {"operation": "find_object", "image": "box_in_scene.png", "reference": "box.png", "overlay": "match.png"}
        )
        await client.submit("find_features", {"image": "graf1.jpg", "overlay": "wall-left.png", "max_items": 400}, id="wall-left")
        await client.submit("find_object", {"image": "box_in_scene.png", "reference": "box.png", "overlay": "object.png"}, id="object")
        await client.submit("find_circles", {"image": "smartis.png", "overlay": "sweets.png"}, id="sweets-typo")
        done = await client.submit("find_circles", {"image": "smarties.png", "overlay": "sweets.png"}, id="sweets")
        await done.final()
        await client.submit("draw_circles", {"output": "stage/{n}.png", "count": 6000}, id="stage-loop")
        for number in range(3):
            await client.submit(
                "find_features", {"image": "graf3.jpg", "overlay": f"later-{number}.png", "priority": 2}, id=f"archive-{number}"
            )
        await asyncio.sleep(2.0)


def _in_thread(work):
    thread = threading.Thread(target=lambda: asyncio.run(work))
    thread.start()
    return thread


def main() -> int:
    """Makes all pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        show = Path(folder) / "show"
        show.mkdir()
        for name in PHOTOGRAPHS:
            shutil.copy(ROOT / "tests/data" / name, show)
        with worker(show) as served:
            waves = _in_thread(_short_jobs(served.port, time.monotonic() + BEFORE_S))
            waves.join()
            _in_thread(_show(served.port)).join()
            _pictures(browser, served)
    return 0


def _pictures(browser, served) -> None:
    def opened(viewport, scheme):
        context = browser.new_context(viewport=viewport, color_scheme=scheme, device_scale_factor=1)
        page = context.new_page()
        page.goto(served.url)
        page.locator(".row").first.wait_for()
        return page

    def part(page, name):
        page.locator(".parts button", has_text=name).click()
        page.wait_for_timeout(600)

    def take(page, name):
        page.mouse.move(2, 715)
        page.evaluate("document.activeElement && document.activeElement.blur()")
        page.wait_for_timeout(1500)
        page.screenshot(path=FOLDER / f"{name}.png")
        print(f"{name}.png", (FOLDER / f"{name}.png").stat().st_size, "bytes")

    def choose(page, job):
        page.get_by_label("Find jobs").fill(job)
        page.locator(".row").first.click()
        page.get_by_label("Find jobs").fill("")

    dark = opened(DESK, "dark")
    dark.locator(".row img").nth(5).wait_for(timeout=120_000)  # the first ones wait for their process
    take(dark, "jobs")
    choose(dark, "object")
    dark.locator(".look img").first.wait_for()
    take(dark, "job")
    light = opened(DESK, "light")
    choose(light, "sweets-typo")
    light.locator(".detail .why").wait_for()
    take(light, "failed")
    part(light, "Run")
    light.get_by_label("Find an operation").fill("find_circles")
    light.locator(".operations button").first.click()
    light.locator("#field-image").fill("coins.png")
    light.locator("#field-overlay").fill("tries/coins.png")
    light.get_by_role("button", name="Try it").click()
    light.locator(".outcome img").wait_for(timeout=120_000)
    take(light, "run")
    part(dark, "Presets")
    dark.locator(".press", has_text="logo").click()
    dark.get_by_text("ready after").wait_for(timeout=120_000)
    take(dark, "presets")
    part(dark, "Clients")
    take(dark, "clients")
    part(dark, "Log")
    take(dark, "log")
    phone = opened(PHONE, "dark")
    take(phone, "phone")


if __name__ == "__main__":
    sys.exit(main())
