"""`key=value` on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

HELP = "key=@file reads the value from a text file; @@ at the beginning stands for one @."


def parse_pairs(arguments: Sequence[str]) -> dict[str, str]:
    """The parameters of a job.

    >>> parse_pairs(["image=a=b.png", "max_items=3"])
    {'image': 'a=b.png', 'max_items': '3'}

    Raises:
        click.UsageError: one is not `key=value`, or comes twice.
    """
    pairs: dict[str, str] = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        key = key.strip()
        if not sign or not key:
            raise click.UsageError(f"{argument!r} is not key=value, such as count=500.")
        if key in pairs:
            raise click.UsageError(f"{key} was given twice.")
        pairs[key] = _value(key, value)
    return pairs


def _value(key: str, value: str) -> str:
    if value.startswith("@@"):
        return value[1:]
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{key}: the file {value[1:]} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{key}: the file {value[1:]} is not UTF-8 text.") from None
