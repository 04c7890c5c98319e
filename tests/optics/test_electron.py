"""Wavelength and interaction parameter against published values and against other ways to the same number."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy import constants

from esteemcore import optics
from esteemcore.errors import ParameterError

PUBLISHED_PM = {60: 4.8661, 80: 4.1757, 100: 3.7014, 200: 2.5079, 300: 1.9687, 1000: 0.8719}
"""Electron wavelengths, e.g. D. B. Williams, C. B. Carter, Transmission Electron Microscopy, table 1.2."""

PUBLISHED_SIGMA = {100: 0.92440e-3, 200: 0.72884e-3, 300: 0.65262e-3}
"""Interaction parameters in rad / (V Å), E. J. Kirkland, Advanced Computing in Electron Microscopy, table 5.1."""


@pytest.mark.parametrize(("energy_kev", "wavelength_pm"), PUBLISHED_PM.items())
def test_published_wavelengths(energy_kev, wavelength_pm) -> None:
    assert 1e3 * optics.wavelength_nm(energy_kev) == pytest.approx(wavelength_pm, abs=6e-5)


@pytest.mark.parametrize(("energy_kev", "sigma"), PUBLISHED_SIGMA.items())
def test_published_interaction_parameters(energy_kev, sigma) -> None:
    per_volt_angstrom = optics.interaction_parameter(energy_kev) / 10
    assert per_volt_angstrom == pytest.approx(sigma, abs=1.5e-8)


@given(energy_kev=st.floats(0.1, 5000))
def test_both_follow_from_the_speed_of_the_electron(energy_kev) -> None:
    gamma = 1 + energy_kev * 1e3 * constants.e / (constants.m_e * constants.c**2)
    speed = constants.c * np.sqrt((gamma - 1) * (gamma + 1)) / gamma
    wavelength_m = constants.h / (gamma * constants.m_e * speed)
    sigma_per_volt_m = constants.e / (constants.hbar * speed)
    assert optics.wavelength_nm(energy_kev) == pytest.approx(wavelength_m * 1e9, rel=1e-9)
    assert optics.interaction_parameter(energy_kev) == pytest.approx(sigma_per_volt_m * 1e-9, rel=1e-9)


def test_slow_electrons_follow_newton() -> None:
    newton = constants.h / np.sqrt(2 * constants.m_e * constants.e * 1.0) * 1e9
    assert optics.wavelength_nm(1e-3) == pytest.approx(newton, rel=1e-5)


@pytest.mark.parametrize("function", [optics.wavelength_nm, optics.interaction_parameter])
@pytest.mark.parametrize("energy", [0, -200, float("nan"), float("inf"), "high", None])
def test_energies_that_are_none(function, energy) -> None:
    with pytest.raises(ParameterError, match="energy_kev is"):
        function(energy)
