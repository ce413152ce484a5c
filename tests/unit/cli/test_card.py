"""The card: what somebody in the venue must know, and nothing that they must not."""

from __future__ import annotations

import ipaddress
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.ports import free_port
from tests.wire.running import HoldingExecutor, Peer, running
from worker.cli import card_pages, cli
from worker.cli.card import addresses_here, card_of
from worker.cli.card_pages import Card, Section, as_html, as_pdf
from worker.config import Config
from worker.protocol.messages import Set

HERE = [("eth0", "192.168.0.20"), ("wlan0", "10.0.0.5"), ("eth0", "fd00::2")]
PRESETS = {"logo": {"operation": "find_circles", "image": "logo.png"}}


def text_of(card):
    return re.sub(r"<[^>]+>", "|", as_html(card))


def test_a_worker_for_this_computer_only():
    """It says so, and names no address that does not work."""
    text = text_of(card_of(Config(), HERE, {}, running=False))
    assert "Only programs on this computer reach the worker." in text
    assert "192.168.0.20" not in text
    assert "|Network Address||127.0.0.1|" in text
    assert "There are none." in text


def test_a_worker_for_all():
    """Every address of this computer, who is let in, the ports as they are set, and what firewalls must let through."""
    config = Config(host="0.0.0.0", port=9470, text_port=9471, number_port=9472, allow=(ipaddress.ip_network("192.168.0.0/24"),))
    text = text_of(card_of(config, HERE, PRESETS, running=True))
    for address in ("127.0.0.1", "192.168.0.20", "10.0.0.5", "fd00::2"):
        assert f"|{address}|" in text
    assert "Let in: this computer and computers of 192.168.0.0/24." in text
    assert "|Network Address||192.168.0.20, or 127.0.0.1 on the same computer|" in text
    assert "UDP 9470 at the worker, and UDP 9471 and 9472 at TouchDesigner" in text
    assert "td-image-worker watch --port 9470" in text
    assert "|logo||find_circles image=logo.png||/worker/trigger/logo 1|" in text
    assert "As the running worker has them." in text


def test_a_worker_at_one_address():
    """Then 127.0.0.1 does not lead to it."""
    text = text_of(card_of(Config(host="192.168.0.20", token="0123456789abcdef"), HERE, {}, running=False))
    assert "|Network Address||192.168.0.20|" in text
    assert "127.0.0.1" not in text
    assert "any computer whose hello has the token" in text


def test_no_token():
    """A page hangs on a wall."""
    assert "0123456789abcdef" not in as_html(card_of(Config(host="0.0.0.0", token="0123456789abcdef"), HERE, {}, running=False))


def test_the_page_and_its_code():
    """A code for phones only if they can reach the page."""
    pytest.importorskip("segno", reason="install the extra [test]: segno")
    pytest.importorskip("tornado", reason="install the extra [test]: tornado")
    opened = card_of(Config(host="0.0.0.0", http=("0.0.0.0", 9463)), HERE, {}, running=False)
    assert opened.link == "http://192.168.0.20:9463"
    assert 'aria-label="QR code: http://192.168.0.20:9463"' in as_html(opened)
    closed = card_of(Config(host="0.0.0.0", http=("127.0.0.1", 9463)), HERE, {}, running=False)
    assert closed.link == ""
    assert "http://127.0.0.1:9463" in as_html(closed)
    assert "<svg" not in as_html(closed)


def test_names_are_text():
    """What comes from a preset cannot be more than text, and does not push the rest off the page."""
    presets = {f"<script>{number}": {"operation": "noop", "x": "&" * 500} for number in range(50)}
    page = as_html(card_of(Config(), [], presets, running=True))
    assert "<script" not in page
    assert "&lt;script&gt;0" in page
    assert "38 more are not listed." in page
    assert page.count("&amp;") < 12 * 100


def test_the_page_loads_nothing():
    """It works without a connection to the world."""
    page = as_html(card_of(Config(host="0.0.0.0"), HERE, PRESETS, running=True))
    assert not re.search(r"\b(?:src|href|url|import)\b\s*[=(]", page)


def test_addresses_of_this_computer():
    """Those that lead somewhere; IPv4 first."""
    found = [ipaddress.ip_address(address) for _, address in addresses_here()]
    assert not any(address.is_loopback or address.is_link_local for address in found)
    assert [address.version for address in found] == sorted(address.version for address in found)


def test_pdf(tmp_path):
    """One page, and a count of the letters that its fonts do not have."""
    pytest.importorskip("fpdf", reason="install the extra [test]: fpdf2")
    card = card_of(Config(host="0.0.0.0"), HERE, {"größe": {"operation": "noop"}, "円": {"operation": "noop"}}, running=True)
    assert as_pdf(card, tmp_path / "c.pdf") == 2  # in the name, and in the trigger
    data = (tmp_path / "c.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"/Count 1" in data


def test_odd_sections_in_a_pdf(tmp_path):
    """One that stands alone in its row, an empty one, and a long one."""
    pytest.importorskip("fpdf", reason="install the extra [test]: fpdf2")
    sections = (Section("alone", (("a", "b"),)), Section("wide", code="x" * 400, wide=True), Section("empty"))
    assert as_pdf(Card("t", "s", sections), tmp_path / "c.pdf") == 0


def test_without_the_extra(tmp_path, monkeypatch):
    """The HTML page is there, and a sentence says what the PDF needs."""
    monkeypatch.setitem(sys.modules, "fpdf", None)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["card", "--port", str(free_port()), "--pdf", "c.pdf"])
    assert done.exit_code == 2
    assert "A PDF needs the package fpdf2." in done.output
    assert card_pages.HINT in done.output
    assert Path("worker-card.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_pdf_in_the_place_of_the_page(tmp_path):
    """Nobody could open HTML under the name of a PDF."""
    result = CliRunner().invoke(cli, ["card", str(tmp_path / "venue.PDF")])
    assert result.exit_code == 2
    assert "Give the PDF with --pdf" in result.stderr
    assert not [*tmp_path.iterdir()]


def test_where_it_cannot_be_written(tmp_path):
    """One sentence."""
    done = CliRunner().invoke(cli, ["card", str(tmp_path / "no" / "c.html"), "--port", str(free_port())])
    assert done.exit_code == 2
    assert "cannot be written: No such file or directory" in done.output


def test_presets_of_the_worker_that_runs(tmp_path):
    """It is asked, over UDP."""
    peer = Peer()
    try:
        with running(HoldingExecutor(), peer) as service:
            peer.send(Set("logo", "operation", "noop"))
            done = CliRunner().invoke(cli, ["card", str(tmp_path / "c.html"), "--port", str(service.address[1])])
    finally:
        peer.close()
    assert done.exit_code == 0
    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "/worker/trigger/logo 1" in page
    assert "As the running worker has them." in page
