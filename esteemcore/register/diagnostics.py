"""What a registration did, as arrays for pictures."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, ndimage

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.register.alignment import Alignment


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
    """Arrays that show drift, jitter and misfit of a registered series.

    Attributes
    ----------
    drift : ndarray of float64, shape (n, 2)
        Mean displacement (dy, dx) of each frame in px.
    jitter : ndarray of float64, shape (n, y, 2)
        Mean displacement of each row without the straight line through those of its frame, in px.
    jitter_rms : ndarray of float64, shape (n, 2)
        Root mean square of `jitter` in each frame, in px.
    jitter_power : ndarray of float64, shape (y // 2 + 1, 2)
        Mean power spectrum of `jitter` over the accepted frames, in px² per frequency; mains hum is a sharp peak.
    frequency : ndarray of float64, shape (y // 2 + 1,)
        Cycles per line. Divide by the time of a line for Hz.
    misfit : ndarray of float64, shape (n,)
        Root mean square of frame minus mean, the mean sampled where the frame was taken and scaled to it, over that of
        the frame itself: 1 if the mean explains nothing. NaN where frame and mean do not overlap.
    line_misfit : ndarray of float64, shape (n, y)
        The same for each row.
    """

    drift: NDArray[np.float64]
    jitter: NDArray[np.float64]
    jitter_rms: NDArray[np.float64]
    jitter_power: NDArray[np.float64]
    frequency: NDArray[np.float64]
    misfit: NDArray[np.float64]
    line_misfit: NDArray[np.float64]


def diagnose(alignment: Alignment, series: ArrayLike, *, masks: ArrayLike | None = None) -> Diagnosis:
    """Return drift, jitter and misfit of a registered series as arrays.

    Parameters
    ----------
    alignment : Alignment
    series : array_like, shape (n, y, x)
        The images that were registered.
    masks : array_like of bool, shape (n, y, x) or (y, x), optional
        True where a sample was measured.

    Raises
    ------
    ParameterError
        If the series is not the one of the alignment.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.mgrid[:48, :48]
    >>> series = [np.exp(-((y + k - 20) ** 2 + (x - 28) ** 2) / 50) for k in range(3)]
    >>> np.round(register.diagnose(register.align(series), series).drift[:, 0], 1).tolist()
    [-1.0, 0.0, 1.0]
    """
    data = np.asarray(series)
    n, (ny, nx) = len(alignment), alignment.shape
    if data.shape != (n, ny, nx) or data.dtype.kind not in "biuf":
        raise ParameterError(f"series has shape {data.shape} and dtype {data.dtype}; expected numbers, {(n, ny, nx)}")
    known = np.broadcast_to(True, data.shape)
    if masks is not None:
        known = np.asarray(masks)
        known = checks.boolean_mask(
            "masks", np.broadcast_to(known, data.shape) if known.ndim == 2 else known, data.shape
        )
    field = alignment.field.astype(np.float64)
    rows = field if field.ndim == 3 else field.mean(axis=2)
    time = np.arange(ny) - (ny - 1) / 2
    slope = np.einsum("i,kia->ka", time, rows) / float((time**2).sum())
    jitter = rows - rows.mean(axis=1, keepdims=True) - slope[:, None] * time[:, None]
    power = np.abs(fft.rfft(jitter, axis=1)) ** 2 / ny
    chosen = alignment.accepted if alignment.accepted.any() else np.ones(n, np.bool_)
    lines = np.full((2, n, ny), np.nan)
    total = np.full((2, n), np.nan)
    row, column = np.mgrid[:ny, :nx].astype(np.float64)
    for k in range(n):
        moved = np.broadcast_to(field[k] if field.ndim == 4 else field[k][:, None], (ny, nx, 2))
        at = [row + moved[..., 0], column + moved[..., 1]]
        mean = ndimage.map_coordinates(alignment.mean, at, order=1, mode="constant", cval=np.nan)
        frame = data[k].astype(np.float64)
        both = np.isfinite(mean) & np.isfinite(frame) & known[k]
        if both.sum() < 3:
            continue
        m, f = mean[both] - mean[both].mean(), frame[both] - frame[both].mean()
        gain = float(m @ f) / max(float(m @ m), 1e-300)
        squares = np.zeros((2, ny, nx))
        squares[0][both], squares[1][both] = (f - gain * m) ** 2, f**2
        lines[:, k] = squares.sum(axis=2)
        total[:, k] = squares.sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        misfit, line_misfit = np.sqrt(total[0] / total[1]), np.sqrt(lines[0] / lines[1])
    return Diagnosis(
        drift=rows.mean(axis=1),
        jitter=jitter,
        jitter_rms=np.sqrt((jitter**2).mean(axis=1)),
        jitter_power=power[chosen].mean(axis=0),
        frequency=fft.rfftfreq(ny),
        misfit=misfit,
        line_misfit=line_misfit,
    )
