"""The aperture and the phase that the probe-forming lens adds inside it, by Krivanek's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

Aberrations = Mapping[str, Any]
"""Coefficients in nm by Krivanek's name: ``{"C10": nm, "C12": (nm, rad), "C30": nm, ...}``; C10 = -defocus."""

_NAME = re.compile(r"C([1-7])([0-8])")


def parse_aberrations(aberrations: Aberrations | None) -> NDArray[np.float64]:
    """Return aberrations as a table with one row per coefficient that is not zero.

    Parameters
    ----------
    aberrations : mapping, optional
        ``{"C10": nm, "C12": (nm, rad), "C30": nm}``. Coefficients with a direction (second digit not 0) take a pair
        (magnitude in nm, azimuth in rad); a bare number means azimuth 0.

    Returns
    -------
    ndarray, shape (n, 4)
        Columns: order n, multiplicity m, magnitude in nm, azimuth in rad.

    Raises
    ------
    ParameterError
        If a name is not Krivanek's (Cnm with n + m odd, m <= n + 1) or a value is not finite.
    """
    if aberrations is not None and not isinstance(aberrations, Mapping):
        raise ParameterError(f'aberrations are {aberrations!r}; expected a mapping such as {{"C10": -12.0}} in nm')
    rows = []
    for name, value in (aberrations or {}).items():
        match = _NAME.fullmatch(str(name))
        n, m = (int(match[1]), int(match[2])) if match else (0, 0)
        if not match or m > n + 1 or (n + m) % 2 == 0:
            raise ParameterError(f"aberration {name!r} is not one of Krivanek's names such as C10, C12, C21, C30")
        magnitude, azimuth = value if isinstance(value, (tuple, list, np.ndarray)) and len(value) == 2 else (value, 0.0)
        magnitude = checks.finite(f"aberration {name}", magnitude, "nm")
        azimuth = checks.finite(f"azimuth of aberration {name}", azimuth, "rad")
        if magnitude:
            rows.append((float(n), float(m), magnitude, azimuth))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def aberration_phase(
    k_row: ArrayLike, k_column: ArrayLike, wavelength: float, aberrations: Aberrations | None
) -> NDArray[np.float64]:
    r"""Return chi, the phase by which the lens delays the wave, in rad; the wave is multiplied by exp(-i chi).

    .. math::
        \chi(k, \phi) = \frac{2\pi}{\lambda} \sum_{nm} \frac{(\lambda k)^{n+1}}{n+1} C_{nm} \cos m(\phi - \phi_{nm})

    Parameters
    ----------
    k_row, k_column : array_like
        Spatial frequencies in 1/nm along detector rows and columns; they broadcast. The azimuth runs from columns (+x)
        towards rows (+y).
    wavelength : float
        Electron wavelength in nm.
    aberrations : mapping, optional
        See `parse_aberrations`.

    References
    ----------
    O. L. Krivanek, N. Dellby, A. R. Lupini, Ultramicroscopy 78 (1999) 1.
    """
    wavelength = checks.positive("wavelength", wavelength, "nm")
    k_row, k_column = np.broadcast_arrays(np.asarray(k_row, np.float64), np.asarray(k_column, np.float64))
    theta = wavelength * np.hypot(k_row, k_column)
    azimuth = np.arctan2(k_row, k_column)
    chi = np.zeros(theta.shape)
    for n, m, magnitude, direction in parse_aberrations(aberrations):
        chi += magnitude * theta ** (n + 1) / (n + 1) * np.cos(m * (azimuth - direction))
    return 2 * np.pi / wavelength * chi


def aperture_edge(k: ArrayLike, radius: float, width: float) -> NDArray[np.float64]:
    """Return the transmission of a round aperture whose edge falls linearly over one sampling interval.

    Parameters
    ----------
    k : array_like
        Distance from the axis.
    radius : float
        Radius of the aperture, in the unit of ``k``.
    width : float
        Width of the edge, e.g. the sampling interval, so that a pixel on the edge counts by the part inside; 0 gives
        a sharp edge.
    """
    k = np.asarray(k, np.float64)
    radius, width = checks.not_negative("radius", radius), checks.not_negative("width", width)
    if width == 0:
        return (k <= radius).astype(np.float64)
    return np.clip((radius - k) / width + 0.5, 0.0, 1.0)
