"""Which row belongs to which column, so that the sum of the costs is least."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
#: For each row its column, or -1.
Choice = list[int]


def assign(costs: Costs, alone: float) -> Choice:
    """The assignment of least total cost, in which a row may also stay alone.

    Rows and columns fall into groups that share no allowed pair; each group is solved by itself. In most frames nearly every group is
    one row and one column, which costs nothing. Larger ones are solved by shortest augmenting paths.

    Args:
        costs: (N, M); infinite (or NaN) where a pair is not allowed.
        alone: what it costs that a row gets no column.

    Returns:
        N columns, one for each row. No column is there twice; -1 = the row stays alone. Ties go to the column that comes first.

    Source: R. Jonker and A. Volgenant, "A Shortest Augmenting Path Algorithm for Dense and Sparse Linear Assignment Problems", Computing 38
    (1987); the form for rectangular matrices is D. F. Crouse's, IEEE Trans. Aerospace and Electronic Systems 52 (2016).

    >>> assign(np.array([[1.0, 2.0], [1.0, 4.0]]), alone=9.0)
    [1, 0]
    >>> assign(np.array([[1.0, np.inf], [2.0, np.inf]]), alone=9.0)
    [0, -1]
    """
    chosen = [-1] * len(costs)
    allowed = costs < alone
    for row, column in _alone_together(allowed):
        chosen[row] = column
        allowed[row, column] = False
    for rows, columns in _groups(allowed):
        inner = costs[np.ix_(rows, columns)]
        inner = np.where(inner < alone, inner, np.inf)
        for row, place in zip(rows, _shortest_paths(inner, alone), strict=True):
            if place < len(columns):
                chosen[row] = columns[place]
    return chosen


def _alone_together(allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of a row and a column of which neither may be with any other."""
    rows, columns = np.nonzero(allowed)
    only = (allowed.sum(axis=1)[rows] == 1) & (allowed.sum(axis=0)[columns] == 1)
    return list(zip(rows[only].tolist(), columns[only].tolist(), strict=True))


def _groups(allowed: NDArray[np.bool_]) -> list[tuple[list[int], list[int]]]:
    """Rows and columns that are connected by allowed pairs, each list in order."""
    groups: list[tuple[list[int], list[int]]] = []
    of_row: dict[int, list[int]] = {}
    of_column: dict[int, list[int]] = {}
    for row, column in np.argwhere(allowed).tolist():
        of_row.setdefault(row, []).append(column)
        of_column.setdefault(column, []).append(row)
    seen: set[int] = set()
    for first in of_row:
        if first in seen:
            continue
        seen.add(first)
        rows: list[int] = []
        columns: set[int] = set()
        waiting = [first]
        while waiting:
            row = waiting.pop()
            rows.append(row)
            for column in of_row[row]:
                if column in columns:
                    continue
                columns.add(column)
                others = [other for other in of_column[column] if other not in seen]
                seen.update(others)
                waiting += others
        groups.append((sorted(rows), sorted(columns)))
    return groups


def _shortest_paths(costs: Costs, alone: float) -> list[int]:
    """The column of each row; column M + k is the place in which row k stays alone."""
    count, width = costs.shape
    whole = np.full((count, width + count), np.inf)
    whole[:, :width] = costs
    whole[np.arange(count), width + np.arange(count)] = alone
    of_row, of_column = [-1] * count, np.full(width + count, -1)
    # Most rows may simply have what costs them least; paths are searched for those that cannot.
    price_row, price_column = whole.min(axis=1), np.zeros(width + count)
    for row, column in enumerate(whole.argmin(axis=1).tolist()):
        if of_column[column] < 0:
            of_row[row], of_column[column] = column, row
    for start in [row for row in range(count) if of_row[row] < 0]:
        length = np.full(width + count, np.inf)  # of the shortest path from `start` to each column
        before = np.full(width + count, -1)  # the row from which that path comes
        done = np.zeros(width + count, bool)
        visited, row, least = [start], start, 0.0
        while True:
            through = least + whole[row] - price_row[row] - price_column
            better = ~done & (through < length)
            length[better], before[better] = through[better], row
            column = int(np.where(done, np.inf, length).argmin())
            least = float(length[column])
            done[column] = True
            if of_column[column] < 0:
                break
            row = int(of_column[column])
            visited.append(row)
        price_row[start] += least
        for other in visited[1:]:
            price_row[other] += least - length[of_row[other]]
        price_column[done] -= least - length[done]
        while True:  # the path is turned over, from its end
            row = int(before[column])
            of_column[column] = row
            of_row[row], column = column, of_row[row]
            if row == start:
                break
    return of_row
