"""Operations as plain functions, for programs that import them: no job, no file, keywords in place of a params value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from worker.catalog.fields import fields_of
from worker.catalog.params import Params, Value
from worker.catalog.parse import parse_pairs
from worker.errors import ArgumentError
from worker.operations.shapes import Found, anything_goes
from worker.words import did_you_mean

R_co = TypeVar("R_co", covariant=True)


class TakesKeywords(Protocol[R_co]):
    """A function of pictures, and of a params value or keywords."""

    __name__: str

    def __call__(self, *given: Any, **keywords: Value) -> R_co: ...


def takes_keywords(
    params: type[Params], check: Callable[[Any], None] = anything_goes
) -> Callable[[Callable[..., R_co]], TakesKeywords[R_co]]:
    """Lets a function whose last argument is a params value take keywords, too.

    Names, ranges and defaults are those of the params class. Parameters that are paths belong to jobs, so they are no keywords. Rows and
    pictures that such a call returns are read-only. A picture that may be None may be left out.

    >>> from worker.operations.convert import convert
    >>> convert(np.zeros((480, 640), np.uint8), width=320).shape
    (240, 320)

    Args:
        params: the class of the last argument.
        check: as in `worker.operations.shapes`; a call with keywords is checked first.
    """
    fields = fields_of(params)
    keywords_of = {field.name: field for field in fields if not field.role}
    paths = [(field.name, "-") for field in fields if field.role and field.required]

    def decorate(function: Callable[..., R_co]) -> TakesKeywords[R_co]:
        name = function.__name__
        pictures = list(inspect.signature(function).parameters.values())[:-1]

        @functools.wraps(function)
        def call(*given: Any, **keywords: Value) -> R_co:
            if given and isinstance(given[-1], params):
                return function(*given, **keywords)
            for key in keywords:
                if key not in keywords_of:
                    known = f"known are {', '.join(keywords_of) or 'none'}."
                    raise ArgumentError(f"{name} has no keyword {key!r}; {did_you_mean(key, keywords_of, known)}")
            values, _ = parse_pairs(name, params, [*paths, *keywords.items()])
            check(values)
            left_out = [None for picture in pictures[len(given) :] if str(picture.annotation).endswith("| None")]
            result: R_co = _as_value(function(*given, *left_out, values))
            return result

        call.__signature__ = _signature(pictures, keywords_of)  # type: ignore[attr-defined]
        return call

    return decorate


def _as_value(result: Any) -> Any:
    """The result, with all its arrays read-only."""
    if isinstance(result, np.ndarray):
        return _read_only(result)
    if isinstance(result, Found):
        images = {name: _read_only(image) for name, image in result.images.items()}
        return replace(result, rows=_read_only(result.rows), images=images)
    return result


def _read_only(array: Any) -> Any:
    """Another view of the same numbers, so that an array of the caller's own stays as it is."""
    view = array.view()
    view.flags.writeable = False
    return view


def _signature(pictures: list[inspect.Parameter], keywords: dict[str, Any]) -> inspect.Signature:
    """What `help` shows: the pictures, then the keywords with their defaults."""
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty if field.required else field.default)
        for name, field in keywords.items()
    ]
    return inspect.Signature([*pictures, *named])
