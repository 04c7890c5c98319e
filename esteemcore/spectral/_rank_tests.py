"""How many singular values stand above what noise alone makes: of counts, and of noise of equal variance."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import lowrank
from esteemcore.lowrank.operators import is_sparse, sums

LEAST_COUNTS = 10.0
"""As in `esteemcore.spectral.pca`."""

PERMUTATIONS = 4
"""Data sets without components, other than the mean, that are made for comparison."""

KEPT = 0.8
"""Share of the events that find a direction; the others test it."""

SPLITS = 3
"""Random splits; the median of their scores counts."""

MARGIN = 1.01
"""A singular value counts above this many times the largest of noise, as estimated noise is not quite white."""

EVENTS = 4_000_000
"""More events than this are not permuted one by one: the same Poisson means are drawn anew."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scree:
    """Singular values of one matrix beside those of noise.

    Attributes
    ----------
    values : ndarray, shape (r,)
        Singular values of the weighted data, all of them, falling.
    noise : ndarray, shape (r,)
        Of noise with the same mean spectrum and pixel sums, mean over the repeats.
    edge : float
        Largest singular value that noise made in any repeat.
    scores : ndarray, shape (k,)
        How many standard deviations of its noise each leading component has in events that did not help to find it;
        empty where there is no such test.
    shape : tuple of int
        Rows and columns.
    """

    values: NDArray[np.float64]
    noise: NDArray[np.float64]
    edge: float
    scores: NDArray[np.float64]
    shape: tuple[int, int]


def singular_values(matrix: Any) -> NDArray[np.float64]:
    """Return all singular values, falling, from the eigenvalues of the smaller Gram matrix."""
    values: NDArray[np.float64] = np.sqrt(np.maximum(np.linalg.eigvalsh(_gram(matrix))[::-1], 0))
    return values


def leading_vectors(matrix: Any, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return left and right singular vectors in columns, and the singular values, of the first `k` components."""
    values, vectors = np.linalg.eigh(_gram(matrix))
    values, vectors = np.sqrt(np.maximum(values[::-1][:k], 0)), vectors[:, ::-1][:, :k]
    wide = matrix.shape[0] < matrix.shape[1]
    others = (matrix.T if wide else matrix) @ vectors / np.maximum(values, 1e-12 * max(values[0], 1e-300))
    return (vectors, others, values) if wide else (others, vectors, values)


def _gram(matrix: Any) -> NDArray[np.float64]:
    """Return the product of a matrix and its transpose, the smaller one, dense."""
    gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
    dense: NDArray[np.float64] = gram.toarray() if is_sparse(gram) else gram
    return dense


def weighted_counts(matrix: Any) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    """Return counts with the weights of `esteemcore.lowrank.noise_weights`, and the weights."""
    row, column = lowrank.noise_weights(matrix, least_counts=LEAST_COUNTS)
    return scaled(matrix, row, column), row, column


def scaled(matrix: Any, row: NDArray[np.float64], column: NDArray[np.float64]) -> Any:
    """Return ``row[:, None] * matrix * column``."""
    if not is_sparse(matrix):
        return matrix * column * row[:, None]
    result = matrix.copy()
    result.data = result.data * np.repeat(row, np.diff(result.indptr)) * column[result.indices]
    return result


def scree_of_counts(matrix: Any, n_scores: int, rng: np.random.Generator) -> Scree:
    """Return the scree of counts against that of counts whose channels were permuted among all events."""
    values = singular_values(weighted_counts(matrix)[0])
    null = np.array([singular_values(weighted_counts(without_components(matrix, rng))[0]) for _ in range(PERMUTATIONS)])
    scores = np.median([held_out_scores(matrix, n_scores, rng) for _ in range(SPLITS)], axis=0)
    return Scree(values, null.mean(axis=0), float(null[:, 1].max()), scores, matrix.shape)


def without_components(matrix: Any, rng: np.random.Generator) -> Any:
    """Return counts with the same sums of pixels and of channels, and nothing else in common with the data."""
    rows, columns, _ = sums(matrix)
    total = rows.sum()
    if total > EVENTS:
        return rng.poisson(np.outer(rows, columns / total)).astype(np.float64)
    row = np.repeat(np.arange(len(rows)), np.round(rows).astype(np.int64))
    column = rng.permutation(np.repeat(np.arange(len(columns)), np.round(columns).astype(np.int64)))
    if not is_sparse(matrix):
        place = row * len(columns) + column
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


def dispersion(matrix: NDArray[np.float64], n_components: int) -> float:
    """Return the variance that is left by a few components over that of counts of the same mean."""
    weighted, row, column = weighted_counts(matrix)
    squares = singular_values(weighted) ** 2
    n, m = matrix.shape
    k = min(n_components, min(n, m) // 4)
    expected = float(row**2 @ matrix @ column**2) * (1 - k / n) * (1 - k / m)
    return float(squares[k:].sum()) / expected if expected > 0 else np.inf


def equalised(matrix: NDArray[np.float64], n_components: int) -> NDArray[np.float64]:
    """Return the data with the rows and columns scaled so that what the components leave has variance 1 in each."""
    row, column = noise_scales(matrix, n_components)
    return matrix * column * row[:, None]


def noise_scales(
    matrix: NDArray[np.float64], n_components: int, rounds: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what rows and columns are multiplied by, so that what the components leave has variance 1 in each.

    The variance of the noise is taken as the product of a pixel's and a channel's, both estimated in turns from the
    residual of `n_components` components. Leverages correct for what the components fitted of the noise.
    """
    k = min(n_components, min(matrix.shape) // 4)
    row, column = np.ones(len(matrix)), np.ones(matrix.shape[1])
    for _ in range(rounds):
        weighted = matrix * column * row[:, None]
        if k:
            u, v, values = leading_vectors(weighted, k)
            left = (weighted - (u * values) @ v.T) ** 2
            left /= np.maximum(1 - (u**2).sum(axis=1), 0.1)[:, None] * np.maximum(1 - (v**2).sum(axis=1), 0.1)
        else:
            left = weighted**2
        total = left.mean()
        if total == 0:
            break
        column = column / np.sqrt(np.maximum(left.mean(axis=0), 1e-3 * total))
        row = row / np.sqrt(np.maximum(left.mean(axis=1) / total, 1e-3))
    return row, column


def scree_of_unknown(matrix: NDArray[np.float64], most: int, rng: np.random.Generator) -> Scree:
    """Return the scree of data whose noise is estimated from the data, beside that of noise of variance 1.

    Each component that stands out is taken out of the estimate of the noise, until none does that had not before.
    """
    null = scree_of_white(rng.standard_normal(matrix.shape), rng)
    taken, values = 0, null.values
    while True:
        values = singular_values(equalised(matrix, taken))
        found = standing_out(values, MARGIN * null.edge)
        if found <= taken or taken >= most:
            return dataclasses.replace(null, values=values)
        taken = min(found, most)


def standing_out(values: NDArray[np.float64], edge: float) -> int:
    """Return how many leading values lie above the edge."""
    below = np.flatnonzero(values <= edge)
    return int(below[0]) if below.size else len(values)


def scree_of_white(matrix: NDArray[np.float64], rng: np.random.Generator) -> Scree:
    """Return the scree of data with noise of variance 1 against that of such noise alone."""
    noise = [singular_values(rng.standard_normal(matrix.shape)) for _ in range(PERMUTATIONS)]
    edge = max(max(values[0] for values in noise), white_edge(*matrix.shape))
    return Scree(singular_values(matrix), np.mean(noise, axis=0), float(edge), np.empty(0), matrix.shape)


def white_edge(n: int, m: int) -> float:
    """Return a singular value that noise of variance 1 passes once in thousands of cases (Tracy-Widom law)."""
    root = np.sqrt(max(n - 1, 1)) + np.sqrt(m)
    width = root * (1 / np.sqrt(max(n - 1, 1)) + 1 / np.sqrt(m)) ** (1 / 3)
    return float(np.sqrt(root**2 + 4 * width))
