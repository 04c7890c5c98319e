"""Truncated singular value decomposition of dense, sparse and block-wise read matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.lowrank.operators import CentredSparse, RowBlocks, is_sparse, real_matrix, times, transposed_times

OVERSAMPLING = 10
"""Directions that the randomised method follows beside those asked for (Halko et al., section 4.2)."""

SMALL = 200
"""A matrix whose shorter side is no longer than this is decomposed exactly by ``method="auto"``."""


def truncated_svd(
    matrix: Any, n_components: int, *, method: str = "auto", power: int = 2, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the leading singular vectors and values, ``matrix ≈ U @ diag(s) @ Vt``.

    Parameters
    ----------
    matrix : array_like, scipy.sparse matrix or `RowBlocks`, shape (n, m)
        Finite real numbers; float32 stays float32, everything else becomes float64. Sparse matrices are never made
        dense, blocks are read once per product with the matrix.
    n_components : int
        Components asked for, at least 1; no more than ``min(n, m)`` come back.
    method : {"auto", "exact", "randomized", "lanczos"}
        ``"auto"`` is exact where the shorter side of a dense matrix is at most 200 or not much longer than what is
        asked for, and randomised above: that costs about ``6 (n_components + 10) n m`` operations instead of
        ``n m min(n, m)``. A sparse matrix is decomposed by Lanczos iterations (ARPACK), blocks by the randomised
        method, which needs ``2 power + 2`` passes. ``"exact"`` is for dense matrices only.
    power : int
        Power iterations of the randomised method; each sharpens components that noise nearly reaches.
    seed : int
        Seed of the randomised method and of the first Lanczos vector. The same seed gives the same result.

    Returns
    -------
    u : ndarray, shape (n, r)
        Left singular vectors, in columns. In each component the entry of `vt` that is largest in magnitude is positive.
    s : ndarray, shape (r,)
        Singular values, falling.
    vt : ndarray, shape (r, m)
        Right singular vectors, in rows.

    Raises
    ------
    ParameterError
        If the matrix is not a two-dimensional array of finite real numbers.

    References
    ----------
    N. Halko, P. G. Martinsson, J. A. Tropp, SIAM Review 53, 217 (2011), algorithms 4.4 and 5.1.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import lowrank
    >>> u, s, vt = lowrank.truncated_svd(np.outer([1.0, 2.0], [3.0, 0.0, 4.0]), 1)
    >>> round(float(s[0]), 6)
    11.18034
    """
    array = real_matrix(matrix)
    blocks = isinstance(array, (RowBlocks, CentredSparse))
    if not blocks:
        array = array if array.dtype == np.float32 else array.astype(np.float64)
        if not np.isfinite(array.data if is_sparse(array) else array).all():
            raise ParameterError("the matrix holds NaN or infinite values; replace or leave out the pixels that do")
    dense = not blocks and not is_sparse(array)
    shorter = min(array.shape)
    r = min(checks.integer("n_components", n_components, minimum=1), shorter)
    checks.integer("power", power, minimum=0)
    if checks.choice("method", method, ("auto", "exact", "randomized", "lanczos")) == "auto":
        small = shorter <= max(SMALL, 2 * (r + OVERSAMPLING))
        method = ("exact" if small else "randomized") if dense else "randomized" if blocks else "lanczos"
    if method == "exact" and not dense:
        raise ParameterError("method is 'exact', which is for dense matrices; use 'lanczos', 'randomized' or 'auto'")
    if method == "lanczos" and (r >= shorter - 1 or _is_zero(array)):
        method = "randomized"  # with all directions followed, that is exact; Lanczos needs some to be left over
        power = 0 if r + OVERSAMPLING >= shorter else power
    if method == "exact":
        u, s, vt = np.linalg.svd(array, full_matrices=False)
    elif method == "lanczos":
        u, s, vt = _lanczos(array, r, seed)
    else:
        u, s, vt = _randomised(array, min(r + OVERSAMPLING, shorter), power, seed)
    u, s, vt = u[:, :r], s[:r], vt[:r]
    sign = np.where(vt[np.arange(r), np.abs(vt).argmax(axis=1)] < 0, -1, 1).astype(vt.dtype)
    return u * sign, s, vt * sign[:, None]


def _randomised(array: Any, k: int, power: int, seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Decompose the projection on a basis of the range of ``(A A^T)^power A Omega``."""
    omega = np.random.default_rng(seed).standard_normal((array.shape[1], k), dtype=array.dtype.type)
    sample = times(array, omega)
    if not np.isfinite(sample).all():
        raise ParameterError("the data hold NaN or infinite values; replace or leave out the pixels that do")
    basis = np.linalg.qr(sample)[0]
    for _ in range(power):
        basis = np.linalg.qr(transposed_times(array, basis))[0]
        basis = np.linalg.qr(times(array, basis))[0]
    u, s, vt = np.linalg.svd(transposed_times(array, basis).T, full_matrices=False)
    return basis @ u, s, vt


def _lanczos(array: Any, r: int, seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Decompose by implicitly restarted Lanczos iterations on the smaller of ``A^T A`` and ``A A^T``."""
    from scipy.sparse.linalg import LinearOperator, svds

    if isinstance(array, (RowBlocks, CentredSparse)):
        array = LinearOperator(
            array.shape,
            dtype=array.dtype,
            matvec=lambda v, a=array: a.times(v.reshape(-1, 1)).ravel(),
            rmatvec=lambda v, a=array: a.transposed_times(v.reshape(-1, 1)).ravel(),
            matmat=array.times,
            rmatmat=array.transposed_times,
        )
    start = np.random.default_rng(seed).standard_normal(min(array.shape)).astype(array.dtype)
    u, s, vt = svds(array, k=r, v0=start)
    order = np.argsort(-s)
    return u[:, order], s[order], vt[order]


def _is_zero(array: Any) -> bool:
    """Return whether a matrix that is in memory holds nothing but zeros, which Lanczos cannot start from."""
    if isinstance(array, (RowBlocks, CentredSparse)):
        return not transposed_times(array, np.ones((array.shape[0], 1), array.dtype)).any()
    return not (array.data if is_sparse(array) else array).any()
