"""Principal components of spectra, weighted so that the noise is the same in every pixel and channel."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore.lowrank.operators import CentredSparse, RowBlocks, is_sparse, real_matrix, scaled, sum_of_squares, sums
from esteemcore.lowrank.svd import truncated_svd

NOISE = ("gaussian", "poisson")


@dataclasses.dataclass(frozen=True, slots=True)
class Components:
    """Scores and loadings, in the units of the data.

    Attributes
    ----------
    scores : ndarray, shape (n, r)
        Contribution of each component to each pixel.
    loadings : ndarray, shape (r, channels)
        Spectrum of each component.
    mean : ndarray, shape (channels,)
        What was subtracted before the decomposition; zeros unless it was asked for.
    singular_values : ndarray, shape (r,)
        Of the weighted matrix, falling; ``singular_values**2 / n`` is the variance along a component in units of the
        noise where the weights are right.
    row_weights, column_weights : ndarray, shapes (n,) and (channels,)
        What the matrix was multiplied by for the decomposition.
    sum_of_squares : float
        Of the whole weighted matrix: ``singular_values**2 / sum_of_squares`` are the shares of the components.
    """

    scores: NDArray[Any]
    loadings: NDArray[Any]
    mean: NDArray[Any]
    singular_values: NDArray[Any]
    row_weights: NDArray[Any]
    column_weights: NDArray[Any]
    sum_of_squares: float

    def reconstruct(self, channels: slice = slice(None)) -> NDArray[Any]:
        """Return ``mean + scores @ loadings`` of all or some channels, shape (n, channels)."""
        data: NDArray[Any] = self.scores @ self.loadings[:, channels] + self.mean[channels]
        return data


def noise_weights(
    matrix: Any, *, gain: float = 1.0, readout_sigma: float = 0.0, least_counts: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights of pixels and channels that make the noise of counts as equal as such weights can.

    The variance of entry (i, j) is taken as ``gain * mean_ij + readout_sigma**2`` with
    ``mean_ij = (mean of row i) (mean of column j) / (mean of all)``. Without readout noise ``1 / sqrt(mean_ij)`` is a
    product of a row's and a column's weight, and Keenan and Kotula's scaling is exact. With it the rows' weights become
    1 as the readout noise dominates.

    Parameters
    ----------
    matrix : array_like, scipy.sparse matrix or `RowBlocks`, shape (n, channels)
        Counts; negative means are taken as zero.
    gain : float
        Variance per mean: counts of the camera per electron.
    readout_sigma : float
        Standard deviation of the noise that does not depend on the signal, in the units of `matrix`.
    least_counts : float
        Counts added to the sum of each pixel and of each channel, though no more than their mean, before the weights
        are made. A pixel with one event has not a known rate of one: without this, a few stray events in the vacuum
        make components of their own. 10 suits sparse events and changes nothing where counts are many.

    Returns
    -------
    row : ndarray of float64, shape (n,)
        Weight of each pixel.
    column : ndarray of float64, shape (channels,)
        Weight of each channel. ``row[:, None] * matrix * column`` has noise of variance about 1.

    References
    ----------
    M. R. Keenan, P. G. Kotula, Surface and Interface Analysis 36, 203 (2004).
    """
    array = real_matrix(matrix)
    gain = checks.positive("gain", gain)
    floor = checks.not_negative("readout_sigma", readout_sigma) ** 2
    least_counts = checks.not_negative("least_counts", least_counts)
    rows, columns, _ = sums(array)
    by_row, by_column = np.maximum(rows / array.shape[1], 0), np.maximum(columns / array.shape[0], 0)
    total = float(by_column.mean())
    if total == 0 and floor == 0:
        return np.ones(len(by_row)), np.ones(len(by_column))
    least = 1e-3 * total  # an empty pixel or channel says nothing: it must not weigh infinitely
    by_row = by_row + min(least_counts / array.shape[1], total)
    by_column = by_column + min(least_counts / array.shape[0], total)
    column = 1 / np.sqrt(gain * np.maximum(by_column, least) + floor)
    row = np.sqrt((gain * total + floor) / (gain * np.maximum(by_row, least) + floor))
    return row, column


def pca(
    matrix: Any,
    n_components: int,
    *,
    noise: str = "gaussian",
    gain: float = 1.0,
    readout_sigma: float = 0.0,
    least_counts: float = 0.0,
    center: bool = False,
    method: str = "auto",
    seed: int = 0,
) -> Components:
    """Return the leading principal components of spectra.

    Parameters
    ----------
    matrix : array_like, scipy.sparse matrix or `RowBlocks`, shape (n, channels)
        One spectrum per row. float32 stays float32, everything else becomes float64. A sparse matrix stays sparse, also
        when the mean is subtracted; blocks are read in ``2`` passes for the weights and the mean and ``6`` for the
        decomposition.
    n_components : int
        Components asked for; no more than ``min(n, channels)`` come back.
    noise : {"gaussian", "poisson"}
        ``"gaussian"``: the noise is the same everywhere, no weights. ``"poisson"``: counts, weighted by
        `noise_weights` for the decomposition and scaled back.
    gain, readout_sigma, least_counts : float
        Noise of the counts, see `noise_weights`; used with ``noise="poisson"``.
    center : bool
        Subtract the mean spectrum first.
    method, seed
        See `truncated_svd`.

    Returns
    -------
    Components

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import lowrank
    >>> spectra = np.random.default_rng(0).poisson(np.outer(np.linspace(5, 50, 40), np.linspace(2, 1, 30)))
    >>> lowrank.pca(spectra, 2, noise="poisson").reconstruct().shape
    (40, 30)
    """
    array = real_matrix(matrix)
    checks.choice("noise", noise, NOISE)
    row, column = np.ones(array.shape[0]), np.ones(array.shape[1])
    if noise == "poisson":
        row, column = noise_weights(array, gain=gain, readout_sigma=readout_sigma, least_counts=least_counts)
    dtype = np.dtype(np.float32 if array.dtype == np.float32 else np.float64)
    mean = np.zeros(array.shape[1], dtype)
    if center:
        mean = (sums(array).columns / array.shape[0]).astype(dtype)
    row, column = row.astype(dtype), column.astype(dtype)
    weighted = _weighted(array, row, column, mean, center)
    u, s, vt = truncated_svd(weighted, n_components, method=method, seed=seed)
    return Components((u * s) / row[:, None], vt / column, mean, s, row, column, sum_of_squares(weighted))


def _weighted(array: Any, row: NDArray[Any], column: NDArray[Any], mean: NDArray[Any], center: bool) -> Any:
    """Return ``row[:, None] * (array - mean) * column`` as the kind of matrix that it was."""
    if not center:
        return scaled(array, row, column)
    if isinstance(array, RowBlocks):
        return array.weighted(row, column, mean)
    if is_sparse(array):
        return CentredSparse(scaled(array, row, column), row, mean * column)
    return scaled(array.astype(row.dtype, copy=False) - mean, row, column)
