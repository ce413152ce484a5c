from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from worker.tracking.assignment import assign

ALONE = 5.0
COSTS = st.tuples(st.integers(0, 5), st.integers(0, 5)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.one_of(st.integers(-3, 7).map(float), st.just(np.inf), st.just(np.nan)))
)


def total(costs, chosen):
    """What a choice costs; a pair that costs as much as staying alone, or more, is none."""
    return sum(ALONE if column < 0 else costs[row, column] for row, column in enumerate(chosen))


def every(costs):
    """Every choice that there is."""
    count, width = costs.shape
    for chosen in itertools.product(range(-1, width), repeat=count):
        columns = [column for column in chosen if column >= 0]
        if len({*columns}) == len(columns) and all(column < 0 or costs[row, column] < ALONE for row, column in enumerate(chosen)):
            yield chosen


@given(COSTS)
def test_least(costs):
    """No other choice costs less, no column is given twice, and no pair is taken that is not allowed."""
    chosen = assign(costs, ALONE)
    assert tuple(chosen) in {*every(costs)}
    assert total(costs, chosen) == pytest.approx(min(total(costs, other) for other in every(costs)))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_large(seed):
    """Of 60 by 80 no exchange of two columns, and no free column, makes it cheaper."""
    costs = np.random.default_rng(seed).uniform(0, 1, (60, 80))
    chosen = assign(costs, ALONE)
    assert len({*chosen}) == 60
    paid = costs[range(60), chosen]
    exchanged = costs[:, chosen]  # row, the column of another row
    assert ((exchanged + exchanged.T) >= paid[:, None] + paid[None, :] - 1e-9).all()
    free = [column for column in range(80) if column not in chosen]
    assert (costs[:, free] >= paid[:, None] - 1e-9).all()
