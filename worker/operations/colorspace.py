"""Colours as eyes see them: sRGB, CIELAB and OKLab, and how different two colours are.

sRGB values are 0 to 1, coded as in a file. Arrays are `(..., 3)`.

Sources: IEC 61966-2-1 (sRGB, D65 white); CIE 15 (CIELAB); B. Ottosson, A perceptual color space for image processing, 2020 (OKLab);
G. Sharma, W. Wu, E. N. Dalal, The CIEDE2000 color-difference formula, Color Research and Application 30, 2005.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.errors import ArgumentError

Colors = NDArray[np.float64]

_RGB_TO_XYZ = np.array(
    [[0.4123907992659595, 0.357584339383878, 0.1804807884018343],
     [0.21263900587151036, 0.715168678767756, 0.07219231536073371],
     [0.01933081871559185, 0.11919477979462599, 0.9505321522496606]]
)  # fmt: skip
_WHITE = _RGB_TO_XYZ.sum(axis=1)
_RGB_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929],
     [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_LMS_TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468],
     [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
_LMS_FROM_OKLAB = np.linalg.inv(_LMS_TO_OKLAB)
_RGB_FROM_LMS = np.linalg.inv(_RGB_TO_LMS)
_25_TO_7 = 25.0**7


def linear(srgb: Any) -> Colors:
    """Light, from the coded values of a file."""
    srgb = np.asarray(srgb, np.float64)
    return np.asarray(np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0.04045) + 0.055) / 1.055) ** 2.4))


def coded(light: Any) -> Colors:
    """The inverse of `linear`; what lies outside of sRGB is cut off."""
    light = np.clip(light, 0, 1)
    return np.asarray(np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055))


def oklab(srgb: Any) -> Colors:
    """OKLab: lightness 0 to 1, then green to red and blue to yellow.

    If the light on a surface changes by a factor, all three change by its cube root.

    >>> np.round(oklab([1.0, 1.0, 1.0]), 4).tolist()
    [1.0, 0.0, 0.0]
    """
    return np.asarray(np.cbrt(linear(srgb) @ _RGB_TO_LMS.T) @ _LMS_TO_OKLAB.T)


def from_oklab(lab: Any) -> Colors:
    """The sRGB of OKLab values; what lies outside of sRGB is cut off."""
    return coded((np.asarray(lab) @ _LMS_FROM_OKLAB.T) ** 3 @ _RGB_FROM_LMS.T)


def cielab(srgb: Any) -> Colors:
    """CIELAB for D65: L 0 to 100, a green to red, b blue to yellow.

    >>> np.round(cielab([1.0, 0.0, 0.0]), 1).tolist()
    [53.2, 80.1, 67.2]
    """
    scaled = linear(srgb) @ _RGB_TO_XYZ.T / _WHITE
    x, y, z = np.moveaxis(np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: Any, second: Any) -> Colors:
    """How different two CIELAB colours look; 1 to 2 is just seen. Shapes `(..., 3)`, broadcast; the equations' numbers are the paper's."""
    (l1, a1, b1), (l2, a2, b2) = (np.moveaxis(np.asarray(lab, np.float64), -1, 0) for lab in (first, second))
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2  # (2), (3)
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + _25_TO_7))  # 1 + G of (4)
    chroma1, chroma2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)  # (5), (6)
    hue1, hue2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))  # (7)
    is_grey = chroma1 * chroma2 == 0
    turn = np.where(is_grey, 0, (hue2 - hue1 + 180) % 360 - 180)  # (10)
    by_hue = 2 * np.sqrt(chroma1 * chroma2) * np.sin(np.radians(turn / 2))  # (11)
    lightness, chroma = (l1 + l2) / 2, (chroma1 + chroma2) / 2  # (12), (13)
    total = hue1 + hue2
    away = np.where(total < 360, total + 360, total - 360)
    hue = np.where(is_grey, total, np.where(np.abs(hue1 - hue2) > 180, away, total) / 2)  # (14)
    cosines = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.20, 4, -63))
    by_angle = 1 + sum(weight * np.cos(np.radians(times * hue + shift)) for weight, times, shift in cosines)  # (15)
    rotation = 30 * np.exp(-(((hue - 275) / 25) ** 2))  # (16)
    crossed = -2 * np.sqrt(chroma**7 / (chroma**7 + _25_TO_7)) * np.sin(np.radians(2 * rotation))  # (17), (21)
    scaled_l = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2))  # (8), (18)
    scaled_c = (chroma2 - chroma1) / (1 + 0.045 * chroma)  # (9), (19)
    scaled_h = by_hue / (1 + 0.015 * chroma * by_angle)  # (20)
    return np.asarray(np.sqrt(np.maximum(scaled_l**2 + scaled_c**2 + scaled_h**2 + crossed * scaled_c * scaled_h, 0)))  # (22)


def hexadecimal(srgb: Any) -> str:
    """A colour as #rrggbb.

    >>> hexadecimal([1.0, 0.5, 0.0])
    '#ff8000'
    """
    return "#" + "".join(f"{int(value * 255 + 0.5):02x}" for value in np.clip(srgb, 0, 1))


def parse_color(text: str) -> Colors:
    """The sRGB of #rrggbb, `(3,)`."""
    return np.array([int(text[index : index + 2], 16) / 255 for index in (1, 3, 5)])


def parse_colors(text: str, key: str) -> Colors:
    """The sRGB of several colours in a text, `(N, 3)`; spaces, commas and semicolons stand between them.

    Raises:
        ArgumentError: a word is no colour.

    >>> parse_colors("#ff0000, #000000", "palette").tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    words = re.findall(r"[^\s,;]+", text)
    for word in words:
        if not re.fullmatch("#[0-9a-fA-F]{6}", word):
            raise ArgumentError(f"{key} must hold colours as #rrggbb; got {word[:40]!r}.")
    return np.array([parse_color(word) for word in words]).reshape(-1, 3)
