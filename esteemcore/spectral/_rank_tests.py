"""Singular values, weights and noise of a matrix: what all tests for components share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import lowrank
from esteemcore.lowrank.operators import BLOCK_BYTES, is_sparse, scaled

LEAST_COUNTS = 10.0
"""As in `esteemcore.spectral.pca`."""

LEAST_VARIANCE = 1e-3
"""No row or column is taken to have less noise than this share of the variance of the median one."""

SOLE = 0.1
"""A row with this share of a component is left out for a trial: the component may be its alone, such as a spike."""

WELL_FILLED = 0.08
"""Share of entries that are not zero from which products of dense blocks are quicker than those of compressed rows."""

Step = Callable[[], None]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scree:
    """Singular values of one matrix beside those of noise, and how many components they show.

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
    found : int
        Components above noise.
    doubt : str
        Why `found` is not the number of components: nothing where it is.
    sure : bool
        Whether there are `found` components at least in spite of the doubt.
    alone : int
        Rows that were left out because each held a component that no other row has.
    """

    values: NDArray[np.float64]
    noise: NDArray[np.float64]
    edge: float
    scores: NDArray[np.float64]
    shape: tuple[int, int]
    found: int = 0
    doubt: str = ""
    sure: bool = True
    alone: int = 0


def singular_values(matrix: Any) -> NDArray[np.float64]:
    """Return all singular values, falling, from the eigenvalues of the smaller Gram matrix."""
    values: NDArray[np.float64] = np.sqrt(np.maximum(np.linalg.eigvalsh(_gram(matrix))[::-1], 0))
    return values


def leading_vectors(matrix: Any, k: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return left and right singular vectors in columns, and the singular values, of the first `k` components."""
    values, vectors = np.linalg.eigh(_gram(matrix))
    values, vectors = np.sqrt(np.maximum(values[::-1][:k], 0)), vectors[:, ::-1][:, :k]
    wide = matrix.shape[0] < matrix.shape[1]
    others = (matrix.T if wide else matrix) @ vectors / np.maximum(values, 1e-12 * max(values.max(initial=0), 1e-300))
    return (vectors, others, values) if wide else (others, vectors, values)


def _gram(matrix: Any) -> NDArray[np.float64]:
    """Return the product of a matrix and its transpose, the smaller one, dense.

    Compressed rows that are well filled are multiplied as dense blocks of rows, which is quicker then.
    """
    n, m = matrix.shape
    if is_sparse(matrix) and m <= n and matrix.nnz > WELL_FILLED * n * m:
        total = np.zeros((m, m))
        rows = max(1, BLOCK_BYTES // (8 * m))
        for low in range(0, n, rows):
            block = matrix[low : low + rows].toarray()
            total += block.T @ block
        return total
    gram = matrix.T @ matrix if m <= n else matrix @ matrix.T
    dense: NDArray[np.float64] = gram.toarray() if is_sparse(gram) else gram
    return dense


def weighted_counts(matrix: Any) -> tuple[Any, NDArray[np.float64], NDArray[np.float64]]:
    """Return counts with the weights of `esteemcore.lowrank.noise_weights`, and the weights."""
    row, column = lowrank.noise_weights(matrix, least_counts=LEAST_COUNTS)
    return scaled(matrix, row, column), row, column


def dispersion(matrix: NDArray[np.float64], n_components: int) -> float:
    """Return the variance that is left by a few components, half of all at most, over that of counts of equal mean."""
    weighted, row, column = weighted_counts(matrix)
    squares = singular_values(weighted) ** 2
    n, m = matrix.shape
    k = min(n_components, min(n, m) // 2)
    expected = float(row**2 @ matrix @ column**2) * (1 - k / n) * (1 - k / m)
    return float(squares[k:].sum()) / expected if expected > 0 else np.inf


def noise_scales(
    matrix: NDArray[np.float64], n_components: int, rounds: int = 4
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what rows and columns are multiplied by, so that what the components leave has variance 1 in each.

    The variance of the noise is taken as the product of a pixel's and a channel's, both estimated in turns from the
    residual of `n_components` components. Leverages correct for what the components fitted of the noise. In the first
    round nothing is taken for a component: every row and column then has the same mean square, so that no single entry,
    however large, is larger than the root of the number of rows, and components are what rows have in common.
    """
    k = min(n_components, min(matrix.shape) // 4)
    row, column = np.ones(len(matrix)), np.ones(matrix.shape[1])
    for turn in range(rounds + (k > 0)):
        weighted = matrix * column * row[:, None]
        if k and turn:
            u, v, values = leading_vectors(weighted, k)
            left = (weighted - (u * values) @ v.T) ** 2
            left /= np.maximum(1 - (u**2).sum(axis=1), 0.1)[:, None] * np.maximum(1 - (v**2).sum(axis=1), 0.1)
        else:
            left = weighted**2
        if not left.any():
            break
        of_column = _equalising(left.mean(axis=0))
        column = column * of_column
        row = row * _equalising(left @ of_column**2 / matrix.shape[1])
    return row, column


def _equalising(variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what makes variances 1, those that are hardly any aside; a few that are huge tell nothing of the rest."""
    some = variance[variance > 0]
    typical = float(np.median(variance)) or float(np.median(some))
    factors: NDArray[np.float64] = 1 / np.sqrt(np.maximum(variance, LEAST_VARIANCE * typical))
    return factors


def standing_out(values: NDArray[np.float64], edge: float) -> int:
    """Return how many leading values lie above the edge."""
    below = np.flatnonzero(values <= edge)
    return int(below[0]) if below.size else len(values)


def shared_by_rows(
    matrix: Any, found: int, vectors: Callable[[Any, int], NDArray[np.float64]], count: Callable[[Any], int]
) -> tuple[Any, int]:
    """Return the matrix without the rows that hold a component alone, and how many rows they were.

    What stands in one row only may be a spike as well as a phase; both rules of noise and of held-out events take it
    for a component. So components must be there still when the row that holds most of each is left out.

    Parameters
    ----------
    matrix : ndarray or scipy.sparse.csr_array, shape (n, m)
    found : int
        Components in it.
    vectors : callable
        Of a matrix and a number: left singular vectors (n, number) of its leading components.
    count : callable
        Of a matrix: how many components it has.
    """
    whole = matrix.shape[0]
    while found:
        shares = vectors(matrix, found) ** 2
        most = shares.argmax(axis=0)
        suspects = np.unique(most[shares[most, np.arange(shares.shape[1])] > SOLE])
        if not suspects.size or matrix.shape[0] - suspects.size < 4:
            break
        kept = np.ones(matrix.shape[0], np.bool_)
        kept[suspects] = False
        rest = matrix[np.flatnonzero(kept)]
        left = count(rest)
        if left >= found:
            break
        matrix, found = rest, left
    return matrix, whole - matrix.shape[0]
