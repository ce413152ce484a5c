"""The page of a real worker in a real browser. One worker and one browser for all tests; they build on each other's jobs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import threading
import time

import pytest

from tests.web.serving import AXE, ROOT, chromium, worker
from worker.client import Client
from worker.protocol import osc
from worker.protocol.messages import Job

LONG_MS = 30_000


class Sender:
    """A client, in a thread with a loop of its own: playwright has one in this."""

    def __init__(self, port):
        self._port = port

    def jobs(self, *jobs, wait=True):
        """Sends jobs, each an operation, its parameters and an id, and waits until they have ended."""
        failed = []

        def run():
            try:
                asyncio.run(self._send(jobs, wait))
            except Exception as error:  # noqa: BLE001 - it is raised in the thread of the test
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]

    async def _send(self, jobs, wait):
        async with Client(port=self._port, name="stage") as client:
            sent = [await client.submit(operation, params, id=job_id) for operation, params, job_id in jobs]
            for job in sent if wait else ():
                await job.final()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    for name in ("smarties.png", "coins.png"):
        shutil.copy(ROOT / "tests/data" / name, folder)
    with worker(folder) as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def sender(served):
    return Sender(served.port)


@pytest.fixture
def page(browser, served):
    """The page, as somebody sees it who has just opened it. Whatever it complains about fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark")
    opened = context.new_page()
    opened.set_default_timeout(LONG_MS)
    complaints = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda message: complaints.append(message.text) if "Content Security Policy" in message.text else None)
    opened.goto(served.url)
    opened.wait_for_selector(".status.Ready, .status.Processing")
    yield opened
    context.close()
    assert complaints == []


def until(page, expression, arg=None):
    """Waits until this is true in the page. Not `wait_for_function`, which evaluates texts: the page's policy forbids that."""
    deadline = time.monotonic() + LONG_MS / 1000
    while not page.evaluate(expression, arg):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def row(page, job_id):
    return page.locator(".row", has=page.get_by_text(job_id, exact=True))


def test_a_job_over_osc_appears(page, sender):
    """It is there without a reload, becomes ready, and its picture shows; a click shows it large."""
    sender.jobs(("find_circles", {"image": "smarties.png", "overlay": "found.png"}, "sweets"))
    ready = row(page, "sweets")
    ready.get_by_text("Ready").wait_for()
    until(page, "[...document.querySelectorAll('.row img')].some((image) => image.complete && image.naturalWidth > 100)")
    ready.click()
    page.locator(".detail").get_by_text("14 items").wait_for()
    page.locator(".look").first.click()
    until(page, "(document.querySelector('dialog.large img') || {}).naturalWidth === 413")
    page.keyboard.press("Escape")
    page.locator("dialog.large").wait_for(state="detached")


def test_a_failure_says_why(page, sender):
    """The sentence and the hint are there, and another try is one key away."""
    sender.jobs(("find_circles", {"image": "smartie.png"}, "typo"))
    row(page, "typo").click()
    why = page.locator(".detail .why")
    assert "There is no file smartie.png" in why.inner_text()
    assert "Did you mean smarties.png?" in why.inner_text()
    page.keyboard.press("r")
    page.locator(".said").get_by_text("1 job sent again.").wait_for()
    until(page, "[...document.querySelectorAll('.row .id')].filter((id) => id.textContent.startsWith('typo~')).length === 1")


def test_a_refusal_says_why(page, served):
    """A job that is refused has no row. Why stands below its packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(osc.encode(Job("", "draw_circle")), ("127.0.0.1", served.port))
        page.keyboard.press("4")
        page.locator(".packets .error").get_by_text("did you mean draw_circles?").wait_for()


def test_the_form_submits(page, served):
    """An operation is tried, its picture shows, and the same job can be copied as OSC and for TouchDesigner."""
    page.goto(f"{served.url}#run")
    page.reload()
    page.get_by_label("Find an operation").fill("find_circles")
    page.locator(".operations button").first.click()
    page.get_by_label("image", exact=False).first.fill("coins.png")
    page.locator("#field-overlay").fill("tries/coins.png")
    page.get_by_role("button", name="Try it").click()
    page.locator(".outcome .word.ready").wait_for()
    until(page, "(document.querySelector('.outcome img') || {}).naturalWidth > 100")
    assert (served.folder / "tries/coins.png").is_file()
    assert page.get_by_label("OSC message").input_value() == '/worker/job "" find_circles image coins.png overlay tries/coins.png'
    line = page.get_by_label("In TouchDesigner").input_value()
    sent = []
    out = type("Op", (), {"sendOSC": lambda _, *arguments, **options: sent.append((arguments, options))})()
    exec(line, {"op": lambda _: out})
    assert sent == [
        (("/worker/job", ["", "find_circles", "image", "coins.png", "overlay", "tries/coins.png"]), {"asBundle": False}),
    ]


def test_a_bad_value_is_said_at_the_form(page, served):
    """What the worker refuses is a sentence beside the form."""
    page.goto(f"{served.url}#run")
    page.reload()
    page.get_by_label("Find an operation").fill("find_circles")
    page.locator(".operations button").first.click()
    page.locator("#field-image").fill("coins.png")
    page.locator("#field-overlay").fill("../outside.png")
    page.get_by_role("button", name="Try it").click()
    page.locator(".outcome .word.failed, .outcome .why").first.wait_for()
    assert not (served.folder.parent / "outside.png").exists()


def test_a_preset_is_kept_and_pressed(page, served):
    """From a form to a button."""
    page.goto(f"{served.url}#run")
    page.reload()
    page.get_by_label("Find an operation").fill("draw_circles")
    page.locator(".operations button").first.click()
    page.locator("#field-output").fill("drawn{n}.png")
    page.locator("#field-count").fill("2")
    page.get_by_label("Keep as a preset").fill("dots")
    page.get_by_role("button", name="Keep", exact=True).click()
    page.get_by_text("Kept as the preset dots.").wait_for()
    page.get_by_role("button", name="Presets").click()
    page.locator(".press", has_text="dots").click()
    page.get_by_text("ready after").wait_for()
    assert (served.folder / "drawn1.png").is_file()


def test_many_jobs(page, sender):
    """Of a thousand jobs only those in view are drawn, and one of them is found by its id."""
    sender.jobs(*(("noop", {}, f"many-{number}") for number in range(1000)))
    until(page, "Number(document.querySelector('.chips button span').textContent.replace(',', '')) >= 1000")
    assert page.locator(".row").count() < 40
    page.keyboard.press("/")
    page.keyboard.type("many-500")
    row(page, "many-500").wait_for()
    assert page.locator(".row").count() == 1
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.locator("main.part-presets").wait_for()


def test_keys(page):
    """The list is used without a mouse."""
    page.locator(".list").focus()
    page.keyboard.press("ArrowDown")
    first = page.locator(".row.chosen .id").inner_text()
    page.keyboard.press("End")
    until(page, "(first) => { const row = document.querySelector('.row.chosen .id'); return row && row.textContent !== first; }", arg=first)
    page.keyboard.press("Home")
    until(page, "(first) => (document.querySelector('.row.chosen .id') || {}).textContent === first", arg=first)
    page.keyboard.press("Escape")
    page.locator(".detail.nothing").wait_for(state="attached")


def test_cancel(page, sender):
    """The page ends a job of any client."""
    sender.jobs(("draw_circles", {"output": "long{n}.png", "count": 20_000}, "long"), wait=False)
    row(page, "long").click()
    page.locator(".detail").get_by_role("button", name="Cancel").click()
    row(page, "long").locator(".word.cancelled").wait_for()


def test_export(page, served, browser):
    """The list as JSON has the same jobs; as CSV it has a line for each."""
    answer = page.request.get(f"{served.url}api/jobs.json")
    jobs = json.loads(answer.text())
    assert {"sweets", "typo", "many-7"} <= {job["job_id"] for job in jobs}
    lines = page.request.get(f"{served.url}api/jobs.csv").text().splitlines()
    assert lines[0].startswith("client,job_id,operation,state")
    assert len(lines) == len(jobs) + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(browser, served, scheme):
    """Axe finds nothing on any part of the page, with a job chosen, light and dark."""
    assert AXE.is_file() or pytest.skip(f"there is no axe-core: npm install --prefix {AXE.parents[2].relative_to(ROOT)}")
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme=scheme)
    opened = context.new_page()
    opened.goto(served.url)
    found = []
    for part in ("jobs", "run", "presets", "clients", "log"):
        opened.locator(".parts button", has_text=part.title()).click()
        opened.locator(f"main.part-{part}").wait_for()
        if part == "jobs":
            opened.locator(".row.failed").first.click()
            opened.locator(".detail .why").wait_for()
        opened.evaluate(AXE.read_text(encoding="utf-8"))
        result = opened.evaluate("axe.run(document, {})" if scheme == "light" else "axe.run(document, {runOnly: ['color-contrast']})")
        found += [(part, one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in result["violations"]]
    context.close()
    assert found == []


def test_phone(browser, served):
    """Nothing is wider than a phone."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    opened = context.new_page()
    opened.goto(served.url)
    opened.locator(".row").first.wait_for()
    for part in ("Run", "Presets", "Clients", "Log", "Jobs"):
        opened.locator(".parts button", has_text=part).click()
        assert opened.evaluate("document.documentElement.scrollWidth") <= 390, part
    context.close()


def test_the_connection_is_cut_and_comes_back(browser, tmp_path):
    """The page says that what it shows is old, and goes on by itself when the worker is back."""
    context = browser.new_context()
    opened = context.new_page()
    opened.set_default_timeout(LONG_MS)
    with contextlib.ExitStack() as stack:
        with worker(tmp_path) as first:
            opened.goto(first.url)
            opened.wait_for_selector(".status.Ready")
            place = f"127.0.0.1:{first.http_port}"
        opened.locator(".banner").get_by_text("No connection to the worker.").wait_for()
        again = stack.enter_context(worker(tmp_path, http=place))
        opened.wait_for_selector(".status.Ready")
        opened.locator(".banner").wait_for(state="detached")
        Sender(again.port).jobs(("noop", {}, "after"))
        row(opened, "after").get_by_text("Ready").wait_for()
    context.close()
