"""Makes the part of `protocol.md` that the catalogue knows best.

python -m tests.docs            # says whether it is up to date
python -m tests.docs --write    # rewrites it
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from worker.catalog.fields import Field, fields_of
from worker.catalog.params import JobOptions
from worker.catalog.table import CATALOG, OperationInfo

PROTOCOL = Path(__file__).parents[1] / "protocol.md"
BEGIN = "<!-- operations: rewritten by `python -m tests.docs --write` -->\n"
END = "<!-- end of operations -->\n"


def operations() -> Iterator[str]:
    """All operations as Markdown, line by line."""
    for row in CATALOG.values():
        yield f"### {row.name}"
        yield ""
        yield _head(row)
        yield ""
        fields = fields_of(row.params)
        if fields:
            yield "| key | takes | default | |"
            yield "|---|---|---|---|"
            yield from map(_line, fields)
            yield ""


def options() -> tuple[str, ...]:
    """The names of the keys that every job may carry."""
    return tuple(field.name for field in fields_of(JobOptions))


def _head(row: OperationInfo) -> str:
    if not row.kind:
        return row.summary
    return f"{row.summary} Result `{row.kind}` with the fields " + " ".join(f"`{name}`" for name in row.fields) + "."


def _line(field: Field) -> str:
    takes = "text" if field.type == "str" and not field.choices else field.expected
    unit = f" ({field.unit})" if field.unit else ""
    default = "needed" if field.required else f"`{_shown(field.default)}`" if field.default != "" else ""
    return f"| `{field.name}` | {takes}{unit} | {default} | {field.description} |"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def rewritten(text: str) -> str:
    """The document with its operations as the catalogue has them."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n".join(operations()) + END + after


def main(arguments: list[str]) -> int:
    text = PROTOCOL.read_text(encoding="utf-8")
    wanted = rewritten(text)
    if arguments == ["--write"]:
        PROTOCOL.write_text(wanted, encoding="utf-8", newline="\n")
        return 0
    print(f"{PROTOCOL.name} is", "up to date." if text == wanted else "not up to date: python -m tests.docs --write")
    return int(text != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
