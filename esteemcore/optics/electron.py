"""Relativistic electrons: wavelength and interaction parameter."""

from __future__ import annotations

import math

from scipy import constants

from esteemcore._core import checks

REST_ENERGY_EV: float = constants.m_e * constants.c**2 / constants.e


def wavelength_nm(energy_kev: float) -> float:
    r"""Return the de Broglie wavelength of a beam electron in nm.

    .. math:: \lambda = h / \sqrt{2 m_0 e E (1 + e E / 2 m_0 c^2)}

    Parameters
    ----------
    energy_kev : float
        Beam energy in keV.

    Examples
    --------
    >>> round(wavelength_nm(200), 6)
    0.002508
    """
    energy_ev = 1e3 * checks.positive("energy_kev", energy_kev, "keV")
    momentum_c_ev = math.sqrt(energy_ev * (energy_ev + 2 * REST_ENERGY_EV))
    return float(constants.h * constants.c / constants.e) / momentum_c_ev * 1e9


def interaction_parameter(energy_kev: float) -> float:
    r"""Return sigma, the phase per projected potential, in rad / (V nm).

    .. math:: \sigma = 2 \pi m e \lambda / h^2, \quad m = \gamma m_0

    Parameters
    ----------
    energy_kev : float
        Beam energy in keV.

    References
    ----------
    E. J. Kirkland, Advanced Computing in Electron Microscopy, eq. 5.6.

    Examples
    --------
    >>> round(interaction_parameter(200), 6)
    0.007288
    """
    energy_ev = 1e3 * checks.positive("energy_kev", energy_kev, "keV")
    wavelength = wavelength_nm(energy_kev)
    return 2 * math.pi / (wavelength * energy_ev) * (REST_ENERGY_EV + energy_ev) / (2 * REST_ENERGY_EV + energy_ev)
