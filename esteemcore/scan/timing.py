"""When the visits of a scan happen, and frames of consecutive visits."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.scan.pattern import ScanPattern


def visit_times(
    pattern: ScanPattern, dwell_s: float, settle_s: float = 0.0, flyback_s: float = 0.0
) -> NDArray[np.float64]:
    """Return when the dwell of each visit begins, in s after the start of the frame.

    The beam is moved, waits ``settle_s``, and dwells, at each visit; at the end of each line of the pattern
    (``pattern.line_starts``) it flies back. The last visit ends at ``times[-1] + dwell_s``; the frame ends after one
    more flyback if the pattern has lines, and the overhead, see `Exposure`.

    Parameters
    ----------
    pattern : ScanPattern
        The scan.
    dwell_s : float
        Dwell time per visit, in s.
    settle_s : float
        Wait before each dwell until the beam stands still, in s.
    flyback_s : float
        Time of one return of the beam at the end of a line, in s.

    Returns
    -------
    ndarray of float64, shape (n,)
        Start times in the order of the visits.

    Examples
    --------
    >>> from esteemcore import scan
    >>> visit_times(scan.raster((2, 2)), dwell_s=1.0, flyback_s=0.5).tolist()
    [0.0, 1.0, 2.5, 3.5]
    """
    dwell_s = checks.positive("dwell_s", dwell_s, "s")
    settle_s = checks.not_negative("settle_s", settle_s, "s")
    flyback_s = checks.not_negative("flyback_s", flyback_s, "s")
    visit = np.arange(len(pattern))
    flybacks = np.searchsorted(pattern.line_starts[1:], visit, side="right")
    return visit * (dwell_s + settle_s) + settle_s + flybacks * flyback_s


def time_frames(
    pattern: ScanPattern, values: ArrayLike, n_frames: int
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Cut a scan into frames of consecutive visits, to see what changed while it was recorded.

    Parameters
    ----------
    pattern : ScanPattern
        The scan; with `shuffled` every frame is a uniform random sample of the area.
    values : array_like, shape (n, ...)
        What was measured at each visit, in the order of the visits.
    n_frames : int
        Number of frames, at most the number of visits. Their numbers of visits differ by at most one.

    Returns
    -------
    frames : ndarray, shape (n_frames, y, x, ...)
        The values in the dtype of ``values``; 0 where the frame has no visit, so that the sum of the frames is the
        image.
    masks : ndarray of bool, shape (n_frames, y, x)
        True where the frame has a visit.

    Raises
    ------
    ParameterError
        If there is not one value per visit, or a position is visited twice within one frame.

    References
    ----------
    A. Zobelli et al., Ultramicroscopy 212 (2020) 112912.

    Examples
    --------
    >>> from esteemcore import scan
    >>> frames, masks = time_frames(scan.shuffled((8, 8)), np.ones(64), n_frames=4)
    >>> masks.sum(axis=(1, 2)).tolist()
    [16, 16, 16, 16]
    """
    array = np.asarray(values)
    n = len(pattern)
    if array.ndim < 1 or array.shape[0] != n:
        raise ParameterError(
            f"values have shape {array.shape}, but the pattern has {n} visits; give one value per visit"
        )
    n_frames = checks.integer("n_frames", n_frames, minimum=1, maximum=n)
    edges = np.arange(n_frames + 1) * n // n_frames
    frame = np.repeat(np.arange(n_frames), np.diff(edges))
    n_positions = pattern.shape[0] * pattern.shape[1]
    masks = np.zeros((n_frames, n_positions), dtype=np.bool_)
    masks[frame, pattern.order] = True
    if np.count_nonzero(masks) != n:
        twice = int(n - np.count_nonzero(masks))
        raise ParameterError(
            f"{twice} visits return to a position within the same frame; take more frames, or average with scan.regrid"
        )
    frames = np.zeros((n_frames, n_positions, *array.shape[1:]), dtype=array.dtype)
    frames[frame, pattern.order] = array
    return frames.reshape(n_frames, *pattern.shape, *array.shape[1:]), masks.reshape(n_frames, *pattern.shape)
