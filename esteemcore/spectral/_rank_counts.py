"""How many components counts hold: more than permuted events have, and present in events held back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank.operators import is_sparse, scaled, sums
from esteemcore.spectral._rank_tests import (
    Scree,
    Step,
    leading_vectors,
    shared_by_rows,
    singular_values,
    weighted_counts,
)

PERMUTATIONS = 4
"""Data sets without components, other than the mean, that are made for comparison."""

KEPT = 0.8
"""Share of the events that find a direction; the others test it."""

SPLITS = 3
"""Random splits; the median of their scores counts."""

SURE, DOUBTFUL = 4.5, 3.0
"""Standard deviations from which a component in held-out events is taken as there, and as perhaps there."""

EVENTS = 4_000_000
"""More events than this are not permuted one by one: the same Poisson means are drawn anew."""


def scree_of_counts(matrix: Any, most: int, rng: np.random.Generator, step: Step) -> Scree:
    """Return the scree of counts against that of counts whose channels were permuted among all events.

    Parameters
    ----------
    matrix : ndarray or scipy.sparse.csr_array of float64, shape (n, m)
        Whole counts.
    most : int
        One component more than this is looked for.
    rng : numpy.random.Generator
    step : callable
        Called after each of `STEPS` parts of the work, so that it can be stopped.
    """
    if min(matrix.shape) < 2:
        one = singular_values(weighted_counts(matrix)[0])
        doubt = f"{matrix.shape[0]} pixels and {matrix.shape[1]} channels; at least 2 of each are needed"
        return Scree(one, one, float(one[0]), np.empty(0), matrix.shape, 0, doubt, False)
    null = []
    for _ in range(PERMUTATIONS):
        null.append(singular_values(weighted_counts(without_components(matrix, rng))[0]))
        step()
    edge = float(max(values[1] for values in null))

    def examined(counts: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = singular_values(weighted_counts(counts)[0])
        splits = []
        for _ in range(SPLITS):
            splits.append(held_out_scores(counts, most + 1, rng))
            step()
        return values, np.median(splits, axis=0)

    def passing(values: NDArray[np.float64], scores: NDArray[np.float64], least: float) -> int:
        there = (scores > least) & (values[: len(scores)] > edge)
        return int(there.argmin()) if not there.all() else len(there)

    values, scores = examined(matrix)
    kept, alone = shared_by_rows(
        matrix,
        passing(values, scores, DOUBTFUL),
        lambda counts, k: leading_vectors(weighted_counts(counts)[0], k)[0],
        lambda counts: passing(*examined(counts), DOUBTFUL),
    )
    if alone:
        values, scores = examined(kept)
    found = passing(values, scores, SURE)
    doubt = ""
    if found < min(most, len(scores)) and scores[found] > DOUBTFUL:
        doubt = f"another one is on the verge ({scores[found]:.1f} standard deviations)"
    return Scree(values, np.mean(null, axis=0), edge, scores, kept.shape, found, doubt, True, alone)


def without_components(matrix: Any, rng: np.random.Generator) -> Any:
    """Return counts with the same sums of pixels and of channels, and nothing else in common with the data.

    Dense counts become dense, compressed rows compressed rows. Where the events are many the sums are kept on average.
    """
    rows, columns, _ = sums(matrix)
    total = rows.sum()
    if total > EVENTS and not is_sparse(matrix):
        return rng.poisson(np.outer(rows, columns / total)).astype(np.float64)
    row = np.repeat(np.arange(len(rows), dtype=np.int32), np.round(rows).astype(np.int64))
    column = rng.permutation(np.repeat(np.arange(len(columns), dtype=np.int32), np.round(columns).astype(np.int64)))
    if not is_sparse(matrix):
        place = row.astype(np.int64) * len(columns) + column
        return np.bincount(place, minlength=len(rows) * len(columns)).reshape(matrix.shape).astype(np.float64)
    import scipy.sparse

    return scipy.sparse.coo_array((np.ones(len(row)), (row, column)), shape=matrix.shape).tocsr()


def held_out_scores(matrix: Any, n_scores: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how strongly the components of most events are present in the others, which are independent of them."""
    found = matrix.copy()
    if is_sparse(matrix):
        found.data = rng.binomial(matrix.data.astype(np.int64), KEPT).astype(np.float64)
    else:
        found = rng.binomial(matrix.astype(np.int64), KEPT).astype(np.float64)
    rest = matrix - found
    weighted, row, column = weighted_counts(found)
    u, v, _ = leading_vectors(weighted, n_scores)
    strength = np.einsum("ik,ik->k", u, scaled(rest, row, column) @ v)
    variance = np.einsum("ik,ik->k", u**2, scaled(rest, row**2, column**2) @ v**2)
    scores: NDArray[np.float64] = strength / np.sqrt(np.maximum(variance, 1e-12))
    return scores
