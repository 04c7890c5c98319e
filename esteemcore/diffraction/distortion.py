"""The elliptical distortion of a detector as a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

if TYPE_CHECKING:
    from esteemcore.diffraction.ellipse import Ellipse


def distortion_matrix(value: ArrayLike | Ellipse | None) -> NDArray[np.float64]:
    """Return a distortion (row, column), shape (2, 2), that is not far from none; that of an ellipse is its matrix."""
    if value is None:
        return np.eye(2)
    from esteemcore.diffraction.ellipse import Ellipse  # fitted to disks, which are found with what is here

    if isinstance(value, Ellipse):
        return value.matrix
    given = checks.array("distortion", value)
    if given.shape != (2, 2) or given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise ParameterError(
            f"distortion has shape {given.shape}; expected two by two finite numbers, see Ellipse.matrix"
        )
    matrix = np.ascontiguousarray(given, np.float64)
    singular = np.linalg.svd(matrix, compute_uv=False)
    if singular[0] > 2 or singular[1] < 0.5:
        raise ParameterError(
            f"distortion stretches by {singular[1]:.3g} to {singular[0]:.3g}; expected 0.5 to 2, see Ellipse.matrix"
        )
    return matrix


def ellipse_matrix(ratio: float, angle_deg: float) -> NDArray[np.float64]:
    """Return the distortion (row, column) that makes ellipses of circles, (2, 2); their area is kept.

    Parameters
    ----------
    ratio : float
        Long over short axis.
    angle_deg : float
        Direction of the long axis from +x (columns) towards +y (rows) in degrees.
    """
    c, s = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turn = np.array([[s, c], [c, -s]])
    return np.asarray(turn @ np.diag([ratio**0.5, ratio**-0.5]) @ turn.T)
