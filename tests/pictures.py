"""Pictures for tests: any small picture, as a Hypothesis strategy."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def any_picture(draw, largest=64):
    """A picture of 1x1 to 64x64 pixels, grey, BGR or BGRA, 8 or 16 bits: noise, a plain colour, or blocks."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    shape = draw(st.sampled_from(((height, width), (height, width, 3), (height, width, 4))))
    kind = draw(st.sampled_from((np.uint8, np.uint16)))
    white = np.iinfo(kind).max
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    content = draw(st.sampled_from(("noise", "plain", "blocks", "extremes")))
    if content == "plain":
        return np.full(shape, draw(st.integers(0, white)), kind)
    if content == "blocks":
        small = random.integers(0, white, ((height + 7) // 8, (width + 7) // 8, *shape[2:]), kind, endpoint=True)
        return np.ascontiguousarray(small.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
    if content == "extremes":
        return random.integers(0, 1, shape, kind, endpoint=True) * kind(white)
    return random.integers(0, white, shape, kind, endpoint=True)
