"""The phase of the lens: its known terms, its symmetries; the aperture: its area."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore import optics
from esteemcore.errors import ParameterError

WAVELENGTH = 0.0025
NAMES = [(n, m) for n in range(1, 8) for m in range(n + 2) if (n + m) % 2]


def phase(k: float, azimuth: float, aberrations: dict) -> float:
    """Return chi at a frequency and at an azimuth from columns towards rows."""
    return float(optics.aberration_phase(k * np.sin(azimuth), k * np.cos(azimuth), WAVELENGTH, aberrations))


def test_no_aberration_no_phase() -> None:
    k = np.linspace(-10, 10, 5)
    for none in (None, {}, {"C10": 0.0, "C12": (0.0, 1.0)}):
        chi = optics.aberration_phase(k[:, None], k[None], WAVELENGTH, none)
        assert chi.shape == (5, 5)
        assert not chi.any()


@given(k_row=st.floats(-20, 20), k_column=st.floats(-20, 20), c10=st.floats(-100, 100), c30=st.floats(-1e6, 1e6))
def test_defocus_and_spherical_aberration(k_row, k_column, c10, c30) -> None:
    k2 = k_row**2 + k_column**2
    chi = optics.aberration_phase(k_row, k_column, WAVELENGTH, {"C10": c10})
    assert chi == pytest.approx(np.pi * WAVELENGTH * c10 * k2, rel=1e-12, abs=1e-9)
    chi = optics.aberration_phase(k_row, k_column, WAVELENGTH, {"C10": c10, "C30": c30})
    expected = np.pi * WAVELENGTH * c10 * k2 + np.pi / 2 * WAVELENGTH**3 * c30 * k2**2
    assert chi == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_scherzer_defocus_balances_spherical_aberration() -> None:
    """With C10 = -(C30 lambda)^(1/2), chi falls to -pi/2 and returns to zero at k = 2^(1/2) (C30 lambda^3)^(-1/4)."""
    c30 = 1.2e6
    scherzer = {"C10": -np.sqrt(c30 * WAVELENGTH), "C30": c30}
    k = (c30 * WAVELENGTH**3) ** -0.25
    assert phase(k, 0.3, scherzer) == pytest.approx(-np.pi / 2)
    assert phase(np.sqrt(2) * k, 2.0, scherzer) == pytest.approx(0, abs=1e-9)
    assert min(phase(q, 0, scherzer) for q in np.linspace(0, 1.4 * k, 200)) >= -np.pi / 2 - 1e-9


@pytest.mark.parametrize(("n", "m"), NAMES)
@given(azimuth=st.floats(-4, 4), direction=st.floats(-4, 4), k=st.floats(0.1, 10))
def test_symmetry_of_every_term(n, m, azimuth, direction, k) -> None:
    name = f"C{n}{m}"
    top = 2 * np.pi / WAVELENGTH * 5.0 * (WAVELENGTH * k) ** (n + 1) / (n + 1)
    chi = phase(k, azimuth, {name: (5.0, direction)})
    assert phase(k, direction, {name: (5.0, direction)}) == pytest.approx(top)  # largest along its direction
    assert chi == pytest.approx(top * np.cos(m * (azimuth - direction)), abs=1e-9 * top)
    if m:
        assert phase(k, azimuth + 2 * np.pi / m, {name: (5.0, direction)}) == pytest.approx(chi, abs=1e-9 * top)
        assert phase(k, azimuth + np.pi / m, {name: (5.0, direction)}) == pytest.approx(-chi, abs=1e-9 * top)
    assert phase(2 * k, azimuth, {name: (5.0, direction)}) == pytest.approx(2 ** (n + 1) * chi, abs=1e-8 * top)


def test_two_fold_astigmatism_is_two_defoci() -> None:
    """C12 along the columns focuses columns and rows at C10 + C12 and C10 - C12."""
    aberrations = {"C10": -30.0, "C12": (12.0, 0.0)}
    assert phase(8, 0, aberrations) == pytest.approx(np.pi * WAVELENGTH * (-30 + 12) * 64)
    assert phase(8, np.pi / 2, aberrations) == pytest.approx(np.pi * WAVELENGTH * (-30 - 12) * 64)
    turned = {"C10": -30.0, "C12": (12.0, np.pi / 2)}
    assert phase(8, np.pi / 2, turned) == pytest.approx(phase(8, 0, aberrations))


def test_coma_is_odd_and_points_along_its_direction() -> None:
    k = np.linspace(-9, 9, 7)
    chi = optics.aberration_phase(k[:, None], k[None], WAVELENGTH, {"C21": (500.0, np.pi / 2)})
    np.testing.assert_allclose(chi, -chi[::-1, ::-1], atol=1e-12)
    expected = 2 * np.pi / 3 * WAVELENGTH**2 * 500 * (k[:, None] ** 2 + k[None] ** 2) * k[:, None]
    np.testing.assert_allclose(chi, expected, atol=1e-10)


def test_terms_add_up(rng) -> None:
    k_row, k_column = rng.normal(0, 5, (2, 40))
    one, two = {"C23": (300.0, 0.4)}, {"C34": (2e4, -1.0), "C30": 1e5}
    a, b, both = (optics.aberration_phase(k_row, k_column, WAVELENGTH, c) for c in (one, two, one | two))
    np.testing.assert_allclose(both, a + b, rtol=1e-12)


def test_parsing() -> None:
    table = optics.parse_aberrations({"C10": -5, "C12": (3, 0.5), "C21": np.array([4.0, 1.0]), "C23": 2, "C30": 0})
    np.testing.assert_array_equal(table, [[1, 0, -5, 0], [1, 2, 3, 0.5], [2, 1, 4, 1], [2, 3, 2, 0]])
    assert optics.parse_aberrations(None).shape == (0, 4)


def test_all_names_of_krivanek_are_known_and_no_others() -> None:
    for n in range(10):
        for m in range(10):
            if (n, m) in NAMES:
                assert tuple(optics.parse_aberrations({f"C{n}{m}": 1.0})[0, :2]) == (n, m)
            else:
                with pytest.raises(ParameterError, match=f"aberration 'C{n}{m}' is not one of Krivanek's names"):
                    optics.parse_aberrations({f"C{n}{m}": 1.0})


@pytest.mark.parametrize("name", ["defocus", "c10", "C1", "A1", "C100", " C10", "C10\n", "", 10])
def test_other_names_are_refused_in_words(name) -> None:
    with pytest.raises(ParameterError, match="is not one of Krivanek's names such as C10, C12, C21, C30"):
        optics.parse_aberrations({name: 1.0})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "aberration C12 is nan; expected a finite number in nm"),
        ("5 nm", "aberration C12 is '5 nm'; expected a number in nm"),
        (None, "aberration C12 is None"),
        ((1.0, 2.0, 3.0), "aberration C12 is"),
        ((1.0, float("inf")), "azimuth of aberration C12 is inf; expected a finite number in rad"),
        ((1.0, None), "azimuth of aberration C12 is None"),
    ],
)
def test_values_that_are_none(value, message) -> None:
    with pytest.raises(ParameterError, match=message):
        optics.parse_aberrations({"C12": value})


def test_a_wavelength_that_is_none() -> None:
    with pytest.raises(ParameterError, match="wavelength is 0 nm; expected more than zero"):
        optics.aberration_phase(1.0, 1.0, 0.0, {"C10": 1.0})


@given(radius=st.floats(1, 10), width=st.floats(0.01, 1.9))
def test_the_soft_edge_keeps_radius_and_area(radius, width) -> None:
    k = (np.arange(200_000) + 0.5) * (12 / 200_000)
    step = 12 / 200_000
    transmission = optics.aperture_edge(k, radius, width)
    assert transmission.sum() * step == pytest.approx(radius, abs=1e-4)
    area = (2 * np.pi * k * transmission).sum() * step
    assert area == pytest.approx(np.pi * (radius**2 + width**2 / 12), abs=1e-3)
    assert (np.diff(transmission) <= 0).all()
    assert optics.aperture_edge(radius, radius, width) == pytest.approx(0.5)
    inside, outside = radius - 0.501 * width, radius + 0.501 * width
    np.testing.assert_array_equal(optics.aperture_edge([inside, outside], radius, width), [1.0, 0.0])


def test_a_sharp_edge_includes_the_radius() -> None:
    np.testing.assert_array_equal(optics.aperture_edge([0, 3, np.nextafter(3, 4)], 3, 0), [1.0, 1.0, 0.0])


def test_impossible_apertures() -> None:
    with pytest.raises(ParameterError, match="radius is -1"):
        optics.aperture_edge([0.0], -1, 0.1)
    with pytest.raises(ParameterError, match=r"width is -0\.1"):
        optics.aperture_edge([0.0], 1, -0.1)
