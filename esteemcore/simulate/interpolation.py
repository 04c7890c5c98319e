"""Values between the points of a grid over one cell of a crystal."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.simulate.sampler import scan_to_specimen


def interpolate_cell(
    image: ArrayLike, positions_nm: ArrayLike, spacing_nm: float | tuple[float, float]
) -> NDArray[np.float64]:
    """Return a periodic image at any positions, linearly between its points: as `FrameSampler` sees its bank.

    Parameters
    ----------
    image : array_like, shape (y, x)
        One cell; sample (0, 0) lies at the origin, and the cell repeats after its last row and column.
    positions_nm : array_like, shape (n, 2)
        Positions (row, column) in the frame of the specimen in nm.
    spacing_nm : float or tuple of float
        Distance of the samples along rows and columns in nm.

    Returns
    -------
    ndarray of float64, shape (n,)

    Examples
    --------
    >>> interpolate_cell([[0.0, 1.0], [2.0, 3.0]], [[0.0, 0.05], [0.1, -0.1]], spacing_nm=0.1).tolist()
    [0.5, 3.0]
    """
    values = np.asarray(image, np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ParameterError(f"the image has shape {values.shape}; expected (y, x), one cell")
    row, column = spacing_nm if isinstance(spacing_nm, tuple) else (spacing_nm, spacing_nm)
    spacing = checks.positive("spacing_nm", row, "nm"), checks.positive("spacing_nm", column, "nm")
    at = scan_to_specimen(positions_nm) / spacing
    found: NDArray[np.float64] = ndimage.map_coordinates(values, at.T, order=1, mode="grid-wrap")
    return found
