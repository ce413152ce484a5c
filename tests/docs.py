"""Makes the parts of the documentation that the program knows best: operations in `protocol.md`, settings in `docs/settings.md`, the steps
of `filter` in `docs/filter.md`; and sorts the operations in the README.

python -m tests.docs            # says whether it is up to date
python -m tests.docs --write    # rewrites it
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from worker.catalog.fields import Field, fields_of
from worker.catalog.filtering import STEPS
from worker.catalog.params import JobOptions
from worker.catalog.rows import OperationInfo
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.settings import Declared, by_group

PROTOCOL = Path(__file__).parents[1] / "protocol.md"
BEGIN = "<!-- operations: rewritten by `python -m tests.docs --write` -->\n"
END = "<!-- end of operations -->\n"

SETTINGS = PROTOCOL.parent / "docs" / "settings.md"
BEGIN_SETTINGS = "<!-- settings: rewritten by `python -m tests.docs --write` -->\n"
END_SETTINGS = "<!-- end of settings -->\n"

README = PROTOCOL.parent / "README.md"
BEGIN_OVERVIEW = "<!-- overview: the rows are written by hand, and sorted by `python -m tests.docs --write` -->\n"
END_OVERVIEW = "<!-- end of overview -->\n"

#: What an artist wants to do, and the families of operations that do it, in the order in which they are listed.
GROUPS = {
    "Find things": ("circles", "ellipses", "outlines", "faces"),
    "Read codes and text": ("markers", "reading"),
    "Match pictures": ("features", "matching"),
    "Colours": ("colors",),
    "Measure and compare": ("measuring", "comparing"),
    "Cameras and motion": ("calibration", "pose", "motion"),
    "Change pictures": ("filtering", "geometry", "compositing", "convert"),
    "Live": ("track",),
    "Video": ("video",),
    "Find settings": ("tuning",),
    "Files": ("text", "copying", "drawing"),
    "The worker itself": ("noop",),
}
OTHERS = "Others"

STEPS_PAGE = PROTOCOL.parent / "docs" / "filter.md"
BEGIN_STEPS = "<!-- steps: rewritten by `python -m tests.docs --write` -->\n"
END_STEPS = "<!-- end of steps -->\n"


def operations() -> Iterator[str]:
    """All operations as Markdown, line by line."""
    for row in CATALOG.values():
        yield f"### {row.name}"
        yield ""
        yield _head(row)
        yield ""
        fields = row.parameters
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


def settings() -> Iterator[str]:
    """All settings as Markdown, line by line."""
    for group, members in by_group(Config).items():
        yield from ("", f"## {group}", "", "| option, variable | value | default | |", "|---|---|---|---|")
        yield from map(_setting, members)
    yield ""


def _setting(one: Declared) -> str:
    value = " or ".join(f"`{word}`" for word in one.choices) or ("true or false" if one.is_flag else _unit(one))
    default = one.default_text or ("false" if one.is_flag else "none")
    return f"| `{one.option}`<br>`{one.variable}` | {value} | {default} | {one.setting.help} |"


def _unit(one: Declared) -> str:
    return f"{one.setting.unit}, {one.range}" if one.range else one.setting.unit


def rewritten_settings(text: str) -> str:
    """The page of settings as the declarations have them."""
    before, rest = text.split(BEGIN_SETTINGS)
    _, after = rest.split(END_SETTINGS)
    return before + BEGIN_SETTINGS + "\n".join(settings()) + END_SETTINGS + after


def steps() -> Iterator[str]:
    """All steps of `filter` as Markdown, line by line."""
    yield from ("", "| step | does | values |", "|---|---|---|")
    for step in STEPS.values():
        values = "; ".join(
            f"{one.name}: {one.expected}" + ("" if one.default is None else f", default {one.default:g}") for one in step.arguments
        )
        yield f"| `{step.usage}` | {step.help} | {values} |"
    yield ""


def rewritten_steps(text: str) -> str:
    """The page of steps as their table has them."""
    before, rest = text.split(BEGIN_STEPS)
    _, after = rest.split(END_STEPS)
    return before + BEGIN_STEPS + "\n".join(steps()) + END_STEPS + after


def grouped(rows: Iterable[OperationInfo]) -> dict[str, list[OperationInfo]]:
    """The operations by group, in the order of the groups; those of a family that no group names are the last."""
    of_family = {family: group for group, families in GROUPS.items() for family in families}
    found: dict[str, list[OperationInfo]] = {group: [] for group in (*GROUPS, OTHERS)}
    for row in rows:
        found[of_family.get(row.family, OTHERS)].append(row)
    return {group: members for group, members in found.items() if members}


def overview(text: str) -> Iterator[str]:
    """The operations as tables, a table for each group. What somebody wrote about one by hand stays; the others get their summary.

    Args:
        text: the tables as they are.
    """
    by_hand = {found[1]: found[0] for found in re.finditer(r"^\| `(\w+)` \|.*\|$", text, re.MULTILINE)}
    for group, members in grouped(row for row in CATALOG.values() if not row.probe).items():
        yield from ("", f"### {group}", "", "| operation | does | for example |", "|---|---|---|")
        yield from (by_hand.get(row.name, f"| `{row.name}` | {row.summary} | |") for row in members)
    yield from ("", "")


def rewritten_overview(text: str) -> str:
    """The README with the operations group by group."""
    before, rest = text.split(BEGIN_OVERVIEW)
    inside, after = rest.split(END_OVERVIEW)
    return before + BEGIN_OVERVIEW + "\n".join(overview(inside)) + END_OVERVIEW + after


def main(arguments: list[str]) -> int:
    wrong = 0
    for path, rewrite in (
        (PROTOCOL, rewritten),
        (SETTINGS, rewritten_settings),
        (STEPS_PAGE, rewritten_steps),
        (README, rewritten_overview),
    ):
        text = path.read_text(encoding="utf-8")
        wanted = rewrite(text)
        if arguments == ["--write"]:
            path.write_text(wanted, encoding="utf-8", newline="\n")
            continue
        print(f"{path.name} is", "up to date." if text == wanted else "not up to date: python -m tests.docs --write")
        wrong |= text != wanted
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
