"""A card as a page: HTML that needs nothing else, or PDF with the extra `[card]`. Both are made of the same sections."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker import extras
from worker.errors import Unavailable

HINT = f"Install the extra: {extras.install('card')}. Or print the HTML page from a browser."


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a card.

    Attributes:
        rows: a table without headings; the first cell of each row says what it is.
        code: lines to paste.
        note: a sentence below.
        wide: it takes the whole width.
    """

    title: str
    rows: tuple[tuple[str, ...], ...] = ()
    code: str = ""
    note: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """What stands on a card.

    Attributes:
        link: where the worker's page is, for a code that phones read; "" if they cannot reach it.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]
    link: str = ""


_STYLE = """
@page { size: A4; margin: 11mm }
* { box-sizing: border-box }
body { font: 9.5pt/1.35 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; color: #111; background: #fff;
       margin: 0 auto; max-width: 188mm }
header { display: flex; justify-content: space-between; align-items: flex-start; border-bottom: 1.5pt solid #111; margin-bottom: 3mm }
h1 { font-size: 17pt; margin: 0 }
header p { margin: .5mm 0 2mm; color: #444 }
header svg { width: 24mm; height: 24mm }
main { display: grid; grid-template-columns: 1fr 1fr; gap: 2.5mm 6mm }
section { break-inside: avoid; min-width: 0 }
section.wide { grid-column: 1 / -1 }
h2 { font-size: 10.5pt; margin: 0 0 .8mm; border-bottom: .5pt solid #999 }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 600; white-space: nowrap; padding-right: 3mm; vertical-align: top }
td { padding-right: 2mm; vertical-align: top; overflow-wrap: anywhere }
tr + tr > * { border-top: .4pt solid #ddd }
pre { font: 8pt/1.35 ui-monospace, Consolas, Menlo, monospace; background: #f3f3f3; border: .5pt solid #ccc; margin: 0; padding: 1.5mm 2mm;
      white-space: pre-wrap; overflow-wrap: anywhere }
.note { margin: .8mm 0 0; color: #444; font-size: 8.5pt }
@media screen { body { padding: 8mm } }
@media screen and (max-width: 640px) { main { grid-template-columns: 1fr } }
"""


def as_html(card: Card) -> str:
    """One page that loads nothing."""
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        f'<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(card.title)}</title>',
        f"<style>{_STYLE}</style></head>",
        f"<body><header><div><h1>{html.escape(card.title)}</h1><p>{html.escape(card.subtitle)}</p></div>{_code_as_svg(card.link)}</header>",
        "<main>",
        *(_section_as_html(section) for section in card.sections),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section_as_html(section: Section) -> str:
    rows = "".join(
        f"<tr><th>{html.escape(row[0])}</th>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row[1:])}</tr>" for row in section.rows
    )
    table = f"<table>{rows}</table>" if rows else ""
    code = f"<pre>{html.escape(section.code)}</pre>" if section.code else ""
    note = f'<p class="note">{html.escape(section.note)}</p>' if section.note else ""
    kind = ' class="wide"' if section.wide else ""
    return f"<section{kind}><h2>{html.escape(section.title)}</h2>{table}{code}{note}</section>"


def _code_as_svg(link: str) -> str:
    """A QR code of the link, if there is one and the extra is installed."""
    code = _qr(link)
    if code is None:
        return ""
    svg: str = code.svg_inline(border=1, omitsize=True)
    label = html.escape(f"QR code: {link}", quote=True)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def _qr(link: str) -> Any:
    try:
        import segno
    except ImportError:
        return None
    return segno.make(link, micro=False) if link else None


# ------------------------------------------------------------------------------------------------------------------- PDF

_MARGIN_MM = 11.0
_GAP_MM = 6.0
#: The fonts that every reader of PDF has know these letters only.
_LETTERS = "cp1252"


def as_pdf(card: Card, path: Path) -> int:
    """Writes one A4 page. Returns how many letters its fonts do not have; they are shown as a question mark.

    Raises:
        Unavailable: the extra is not installed.
        OSError: the file cannot be written.
    """
    try:
        from fpdf import FPDF
    except ImportError:
        raise Unavailable("A PDF needs the package fpdf2.", HINT) from None
    pdf: Any = FPDF(format="A4")
    pdf.set_auto_page_break(auto=False)
    pdf.set_margin(_MARGIN_MM)
    pdf.set_title(card.title)
    pdf.core_fonts_encoding = _LETTERS
    pdf.add_page()
    missing = sum(letter.encode(_LETTERS, "ignore") == b"" for letter in _all_text(card))
    y = _pdf_head(pdf, card)
    columns: list[Section] = []
    for section in card.sections:
        if section.wide:
            y = _pdf_row(pdf, columns, y)
            columns = []
            y = _pdf_row(pdf, [section], y)
        else:
            columns.append(section)
            if len(columns) == 2:
                y = _pdf_row(pdf, columns, y)
                columns = []
    _pdf_row(pdf, columns, y)
    path.write_bytes(bytes(pdf.output()))
    return missing


def _all_text(card: Card) -> str:
    parts = [card.title, card.subtitle]
    for section in card.sections:
        parts += [section.title, section.code, section.note, *(cell for row in section.rows for cell in row)]
    return "".join(parts)


def _shown(text: str) -> str:
    return text.encode(_LETTERS, "replace").decode(_LETTERS)


def _pdf_head(pdf: Any, card: Card) -> float:
    pdf.set_font("Helvetica", "B", 17)
    pdf.cell(0, 8, _shown(card.title), new_x="LMARGIN", new_y="NEXT")
    pdf.set_font("Helvetica", "", 9.5)
    pdf.set_text_color(70)
    pdf.cell(0, 5, _shown(card.subtitle), new_x="LMARGIN", new_y="NEXT")
    pdf.set_text_color(0)
    y: float = pdf.get_y()
    if (code := _qr(card.link)) is not None:
        picture = io.BytesIO()
        code.save(picture, kind="png", scale=8, border=1)
        pdf.image(picture, x=pdf.w - _MARGIN_MM - 22, y=_MARGIN_MM - 2, w=22)
        y = max(y, _MARGIN_MM + 20)
    pdf.line(_MARGIN_MM, y + 1, pdf.w - _MARGIN_MM, y + 1)
    return y + 3


def _pdf_row(pdf: Any, sections: Sequence[Section], y: float) -> float:
    """Sections side by side; returns where the next ones begin."""
    if not sections:
        return y
    whole = pdf.w - 2 * _MARGIN_MM
    width = whole if sections[0].wide or len(sections) == 1 else (whole - _GAP_MM) / 2
    ends = [_pdf_section(pdf, section, _MARGIN_MM + place * (width + _GAP_MM), y, width) for place, section in enumerate(sections)]
    return max(ends) + 2.5


def _pdf_section(pdf: Any, section: Section, x: float, y: float, width: float) -> float:
    pdf.set_xy(x, y)
    pdf.set_font("Helvetica", "B", 10.5)
    pdf.cell(width, 5, _shown(section.title), border="B", new_x="LEFT", new_y="NEXT")
    at = pdf.get_y() + 0.8
    first = min(0.42 * width, max((pdf.get_string_width(_shown(row[0])) for row in section.rows), default=0.0) + 3)
    for row in section.rows:
        at = _pdf_cells(pdf, row, (x, at), first, width)
    if section.code:
        pdf.set_xy(x, at)
        pdf.set_font("Courier", "", 7.5)
        pdf.set_fill_color(243)
        pdf.multi_cell(width, 3.6, _shown(section.code), border=1, fill=True, align="L", padding=1, new_x="LEFT", new_y="NEXT")
        at = pdf.get_y()
    if section.note:
        pdf.set_xy(x, at + 0.5)
        pdf.set_font("Helvetica", "", 8.5)
        pdf.set_text_color(70)
        pdf.multi_cell(width, 3.8, _shown(section.note), align="L", new_x="LEFT", new_y="NEXT")
        pdf.set_text_color(0)
        at = pdf.get_y()
    return float(at)


def _pdf_cells(pdf: Any, row: Sequence[str], place_of_row: tuple[float, float], first: float, width: float) -> float:
    """One row of a table; returns where the next one begins."""
    x, y = place_of_row
    rest = (width - first) / max(1, len(row) - 1)
    ends = []
    for place, cell in enumerate(row):
        pdf.set_font("Helvetica", "B" if place == 0 else "", 9)
        pdf.set_xy(x + (first + (place - 1) * rest if place else 0), y)
        pdf.multi_cell(first if place == 0 else rest, 4.2, _shown(cell), align="L", new_x="LEFT", new_y="NEXT")
        ends.append(pdf.get_y())
    return float(max(ends)) + 0.3
