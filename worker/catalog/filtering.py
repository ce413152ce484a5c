"""The parameters of the operation that filters, and the table of its steps."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, ImageIn, Params, Quality
from worker.errors import ArgumentError
from worker.words import did_you_mean

#: How many steps one job may have.
MOST_STEPS = 32


class Argument(msgspec.Struct, frozen=True):
    """One value of a step.

    Attributes:
        name: as help and errors call it.
        minimum, maximum: of a number.
        default: if it may be left out.
        words: what may stand in place of a number.
        whole: only whole numbers; odd: only odd ones.
        numeric: whether it may be a number at all.
    """

    name: str
    minimum: float = 0
    maximum: float = 255
    default: float | str | None = None
    words: tuple[str, ...] = ()
    whole: bool = False
    odd: bool = False
    numeric: bool = True

    @property
    def expected(self) -> str:
        """What it may be, as the middle of a sentence."""
        words = " or ".join(self.words)
        if not self.numeric:
            return words
        noun = "an odd number" if self.odd else "a whole number" if self.whole else "a number"
        numbers = f"{noun} from {self.minimum:g} to {self.maximum:g}"
        return f"{numbers}, or {words}" if words else numbers

    def parsed(self, step: str, word: str) -> float | str:
        """The value that a word stands for.

        Raises:
            ArgumentError: it is none of those that are allowed.
        """
        if word in self.words:
            return word
        try:
            number = float(word) if self.numeric else float("nan")
        except ValueError:
            number = float("nan")
        fits = (
            self.minimum <= number <= self.maximum and not ((self.whole or self.odd) and number % 1) and not (self.odd and not number % 2)
        )
        if not fits:
            raise ArgumentError(f"filter: {self.name} of {step} must be {self.expected}; got {word[:40]!r}.")
        return number


class Step(msgspec.Struct, frozen=True):
    """One kind of step: its name, its values, and what it does."""

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()

    @property
    def usage(self) -> str:
        """How it is written; what stands in brackets may be left out.

        >>> STEPS["levels"].usage
        'levels black white [gamma]'
        """
        words = (argument.name if argument.default is None else f"[{argument.name}]" for argument in self.arguments)
        return " ".join((self.name, *words))


_RADIUS = Argument("radius", 1, 25, whole=True)
_FACTOR = Argument("factor", 0, 10)

_ALL = (
    # colours
    Step("gray", "only brightness"),
    Step(
        "channel", "one channel as grey", (Argument("name", words=("red", "green", "blue", "hue", "saturation", "value"), numeric=False),)
    ),
    Step("invert", "the negative"),
    Step("brightness", "adds to every value", (Argument("amount", -255, 255),)),
    Step("contrast", "moves values away from the middle; below 1 towards it", (_FACTOR,)),
    Step("gamma", "above 1 brightens dark parts, below 1 darkens them", (Argument("gamma", 0.1, 10),)),
    Step(
        "levels",
        "black and white become the ends of the range",
        (Argument("black", 0, 254), Argument("white", 1, 255), Argument("gamma", 0.1, 10, 1.0)),
    ),
    Step("stretch", "as levels, so that this share of the pixels is cut at each end", (Argument("percent", 0, 49, 1.0),)),
    Step("equalize", "every brightness is equally frequent; 8 bits"),
    Step(
        "clahe",
        "local contrast, with a limit (CLAHE)",
        (Argument("limit", 1, 40, 2.0), Argument("tiles", 1, 64, 8.0, whole=True)),
    ),
    Step("saturation", "0 is grey, 1 as it was", (_FACTOR,)),
    Step("hue", "turns the colours round the circle", (Argument("degrees", -360, 360),)),
    Step("posterize", "few values in each channel", (Argument("values", 2, 256, whole=True),)),
    Step("solarize", "the negative of what is brighter", (Argument("above", 0, 255, 128.0),)),
    Step("sepia", "the brown of old photographs"),
    # sharp and soft
    Step("blur", "Gaussian blur; radius is the standard deviation in pixels", (Argument("radius", 0, 200),)),
    Step("box", "mean of a square", (Argument("size", 1, 501, whole=True),)),
    Step("median", "removes specks; 16 bits: size 3 or 5 only", (Argument("size", 3, 99, 3.0, odd=True),)),
    Step(
        "bilateral",
        "softens flat parts and keeps edges; difference is the least that counts as an edge",
        (Argument("size", 3, 25, 9.0, odd=True), Argument("difference", 1, 255, 50.0)),
    ),
    Step("sharpen", "unsharp mask", (Argument("amount", 0, 10, 1.0), Argument("radius", 0.3, 50, 2.0))),
    Step("pixelate", "squares of one colour", (Argument("size", 1, 1024, whole=True),)),
    # edges
    Step(
        "edges",
        "white lines on black (Canny); below low nothing, from high on always",
        (Argument("low", 0, 2000), Argument("high", 0, 2000)),
    ),
    Step("sobel", "strength of the change of brightness"),
    Step("laplace", "second derivative of brightness", (Argument("size", 1, 31, 3.0, odd=True),)),
    Step("emboss", "as pressed into paper, with light from the top left"),
    # black and white
    Step("threshold", "white above a value, otherwise black; otsu finds the value", (Argument("value", 0, 255, words=("otsu",)),)),
    Step(
        "adaptive",
        "white if brighter than its surroundings less an offset; 8 bits",
        (Argument("size", 3, 501, 31.0, odd=True), Argument("offset", -255, 255, 5.0)),
    ),
    # bright shapes
    Step("dilate", "bright parts grow by a radius in pixels", (_RADIUS,)),
    Step("erode", "bright parts shrink", (_RADIUS,)),
    Step("open", "removes small bright parts", (_RADIUS,)),
    Step("close", "closes small dark gaps", (_RADIUS,)),
)
#: All kinds of steps by name: help, errors and `docs/filter.md` are made from this table.
STEPS = {step.name: step for step in _ALL}


def parsed_steps(text: str) -> tuple[tuple[str, tuple[float | str, ...]], ...]:
    """The steps that a text asks for: names and their values. Semicolons stand between steps, spaces or commas between values.

    Raises:
        ArgumentError: a step is unknown, has too few or too many values, or one out of its range.

    >>> parsed_steps("gray; blur 5; threshold otsu")
    (('gray', ()), ('blur', (5.0,)), ('threshold', ('otsu',)))
    """
    steps = [words for part in re.split(r"[;\n]", text) if (words := re.findall(r"[^\s,]+", part))]
    if not 1 <= len(steps) <= MOST_STEPS:
        raise ArgumentError(f"filter: steps must hold 1 to {MOST_STEPS} steps, such as 'gray; blur 5'; got {len(steps)}.")
    return tuple((name.lower(), _values(name.lower(), words)) for name, *words in steps)


def _values(name: str, words: list[str]) -> tuple[float | str, ...]:
    if name not in STEPS:
        known = f"known are {', '.join(STEPS)}."
        raise ArgumentError(f"filter has no step {name[:40]!r}; {did_you_mean(name, STEPS, known)}", "docs/filter.md lists all steps.")
    step = STEPS[name]
    least = sum(argument.default is None for argument in step.arguments)
    if not least <= len(words) <= len(step.arguments):
        raise _wrong_number(step, words, least)
    given = [argument.parsed(name, word) for argument, word in zip(step.arguments, words, strict=False)]
    return (*given, *(argument.default for argument in step.arguments[len(given) :] if argument.default is not None))


def _wrong_number(step: Step, words: list[str], least: int) -> ArgumentError:
    """Why a step with so many values cannot be meant."""
    got = f"got {' '.join([step.name, *words])[:60]!r}"
    following = next((place for place, word in enumerate(words) if word.lower() in STEPS), None)
    if following is not None:
        parted = f"{' '.join([step.name, *words[:following]])}; {' '.join(words[following:])}"[:60]
        return ArgumentError(f"filter: a semicolon stands between two steps, as in {parted!r}; {got}.")
    if not step.arguments:
        return ArgumentError(f"filter: {step.name} takes no values; {got}.")
    if len(words) < least:
        missing = step.arguments[len(words)]
        return ArgumentError(f"filter: {step.name} needs {missing.name}, {missing.expected}; it is written {step.usage!r}; {got}.")
    most = f"{len(step.arguments)} value{'s' * (len(step.arguments) > 1)}"
    return ArgumentError(f"filter: {step.name} takes {most} at most; it is written {step.usage!r}; {got}.")


class FilterSteps(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write; {name} and {n} stand for the input's name and number")
    ]
    steps: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="steps with semicolons between them; values count from 0 to 255 also for 16 bits; alpha stays. Steps: "
            + "; ".join(step.usage for step in _ALL),
        ),
    ]
    quality: Quality = 90
