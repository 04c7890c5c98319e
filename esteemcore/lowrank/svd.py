"""Truncated singular value decomposition of dense matrices, exact or randomised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

OVERSAMPLING = 10
"""Directions that the randomised method follows beside those asked for (Halko et al., section 4.2)."""

SMALL = 200
"""A matrix whose shorter side is no longer than this is decomposed exactly by ``method="auto"``."""


def truncated_svd(
    matrix: ArrayLike, n_components: int, *, method: str = "auto", power: int = 2, seed: int = 0
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return the leading singular vectors and values, ``matrix ≈ U @ diag(s) @ Vt``.

    Parameters
    ----------
    matrix : array_like, shape (n, m)
        Finite real numbers; float32 stays float32, everything else becomes float64.
    n_components : int
        Components asked for, at least 1; no more than ``min(n, m)`` come back.
    method : {"auto", "exact", "randomized"}
        ``"auto"`` is exact where the shorter side is at most 200 or not much longer than what is asked for, and
        randomised above: that costs about ``6 (n_components + 10) n m`` operations instead of ``n m min(n, m)``.
    power : int
        Power iterations of the randomised method; each sharpens components that noise nearly reaches.
    seed : int
        Seed of the randomised method. The same seed gives the same result.

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
    array = np.asarray(matrix)
    if array.ndim != 2 or not array.size or array.dtype.kind not in "biuf":
        raise ParameterError(
            f"the matrix has shape {array.shape} and dtype {array.dtype}; expected real numbers (rows, columns)"
        )
    array = array if array.dtype == np.float32 else array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ParameterError("the matrix holds NaN or infinite values; replace or leave out the pixels that do")
    shorter = min(array.shape)
    r = min(checks.integer("n_components", n_components, minimum=1), shorter)
    checks.integer("power", power, minimum=0)
    if checks.choice("method", method, ("auto", "exact", "randomized")) == "auto":
        method = "exact" if shorter <= max(SMALL, 2 * (r + OVERSAMPLING)) else "randomized"
    if method == "exact":
        u, s, vt = np.linalg.svd(array, full_matrices=False)
    else:
        u, s, vt = _randomised(array, min(r + OVERSAMPLING, shorter), power, seed)
    u, s, vt = u[:, :r], s[:r], vt[:r]
    sign = np.where(vt[np.arange(r), np.abs(vt).argmax(axis=1)] < 0, -1, 1).astype(vt.dtype)
    return u * sign, s, vt * sign[:, None]


def _randomised(array: NDArray[Any], k: int, power: int, seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Decompose the projection on a basis of the range of ``(A A^T)^power A Omega``."""
    omega = np.random.default_rng(seed).standard_normal((array.shape[1], k), dtype=array.dtype.type)
    basis = np.linalg.qr(array @ omega)[0]
    for _ in range(power):
        basis = np.linalg.qr(array.T @ basis)[0]
        basis = np.linalg.qr(array @ basis)[0]
    u, s, vt = np.linalg.svd(basis.T @ array, full_matrices=False)
    return basis @ u, s, vt
