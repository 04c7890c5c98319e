"""Axes of light: photons are conserved, densities follow the analytic Jacobian, variances are those of counts."""

from __future__ import annotations

import threading

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy import constants

from esteemcore import spectral
from esteemcore.errors import CalibrationError, CancelledError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral import windows

NM = np.arange(300.0, 900.0, 0.5)
HC = constants.h * constants.c / constants.e * 1e9


def counts(found):
    return found.data * np.diff(found.edges)


def test_known_lines_are_where_spectroscopy_has_them() -> None:
    light = np.array([632.816, 632.817])  # helium-neon laser, vacuum: 1.95925 eV, 15802.4 per cm
    assert spectral.convert_axis([1.0, 1.0], light, "nm", "eV").axis[1] == pytest.approx(1.95924, abs=1e-5)
    assert spectral.convert_axis([1.0, 1.0], light, "nm", "cm^-1").axis[1] == pytest.approx(15802.4, abs=0.1)
    assert spectral.convert_axis([1.0, 1.0], [1.0, 1.1], "eV", "cm^-1").axis[0] == pytest.approx(8065.544, abs=1e-3)
    air = spectral.convert_axis([1.0, 1.0], light / 1.00028, "nm", "eV", refractive_index=1.00028)
    assert air.axis[1] == pytest.approx(HC / 632.816, rel=1e-12)


def test_densities_follow_the_jacobian_and_variances_its_square() -> None:
    band = 500 * np.exp(-((NM - 550) ** 2) / (2 * 40**2)) + 3
    found = spectral.convert_axis(band * 0.5, NM, "nm", "eV")
    jacobian = (NM**2 / HC)[::-1]
    np.testing.assert_allclose(found.axis, HC / NM[::-1], rtol=1e-12)
    np.testing.assert_allclose(found.data, band[::-1] * jacobian, rtol=1e-5)
    np.testing.assert_allclose(found.variance, (band * 0.5 / 0.5**2)[::-1] * jacobian**2, rtol=1e-5)
    # a Gaussian over wavelength has its maximum over energy at a longer wavelength
    assert HC / found.axis[found.data.argmax()] == pytest.approx(275 + np.sqrt(275**2 + 2 * 40**2), abs=0.6)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=30),
    st.lists(st.floats(0.1, 30), min_size=29, max_size=29),
    st.sampled_from(["nm", "eV", "cm^-1"]),
    st.sampled_from(["nm", "eV", "cm^-1"]),
    st.booleans(),
    st.booleans(),
)
def test_counts_are_conserved(values, steps, unit, to, evenly, falling) -> None:
    axis = 40 + np.cumsum([0.0, *steps[: len(values) - 1]])
    axis = axis[::-1] if falling else axis
    found = spectral.convert_axis(values, axis, unit, to, evenly=evenly)
    assert counts(found).sum() == pytest.approx(sum(values), rel=1e-9)
    assert (np.diff(found.axis) > 0).all()
    assert (np.diff(found.edges) > 0).all()
    assert ((found.edges[:-1] < found.axis) & (found.axis < found.edges[1:])).all()
    if evenly:
        np.testing.assert_allclose(np.diff(found.edges), np.ptp(found.edges) / len(values), rtol=1e-6)


@pytest.mark.parametrize("to", ["eV", "cm^-1"])
def test_there_and_back_is_where_it_began(to) -> None:
    values = np.random.default_rng(0).poisson(20, (2, 3, len(NM)))
    there = spectral.convert_axis(values, NM, "nm", to)
    back = spectral.convert_axis(counts(there), there.axis, to, "nm")
    np.testing.assert_allclose(back.axis, NM, rtol=1e-12)
    np.testing.assert_allclose(counts(back), values, atol=1e-9)


@pytest.mark.parametrize("evenly", [False, True])
def test_variances_are_those_of_repeated_counts(evenly) -> None:
    wavelength = np.arange(400.0, 800, 10)
    drawn = 2.0 * np.random.default_rng(0).poisson(30, (8000, 40)) + np.random.default_rng(1).normal(0, 3, (8000, 40))
    found = spectral.convert_axis(drawn, wavelength, "nm", "eV", evenly=evenly, gain=2.0, readout_sigma=3.0)
    np.testing.assert_allclose(found.data.var(axis=0), found.variance.mean(axis=0), rtol=0.08)


def test_a_variance_that_is_given_is_taken_and_sparse_spectra_too() -> None:
    values = np.random.default_rng(0).poisson(0.2, (3, 4, 50)).astype(np.uint16)
    dense = spectral.convert_axis(values, NM[:50], "nm", "eV", variance=2.0 * values)
    sparse = spectral.convert_axis(SparseSI.from_dense(values), NM[:50], "nm", "eV")
    np.testing.assert_array_equal(dense.data, sparse.data)
    np.testing.assert_allclose(dense.variance, 2 * sparse.variance)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"unit": "um"}, ParameterError, "unit"),
        ({"to": "keV"}, ParameterError, "to is 'keV'"),
        ({"axis": NM[:3]}, CalibrationError, "4 channels"),
        ({"axis": [0.0, 1, 2, 3]}, CalibrationError, "above zero"),
        ({"axis": [4.0, 4, 5, 6]}, CalibrationError, "rise or fall"),
        ({"si": [1, 2, np.nan, 4]}, ParameterError, "NaN"),
        ({"si": np.ma.masked_greater([1, 2, 3, 4], 3)}, ParameterError, "masked array"),
        ({"variance": [1.0]}, ParameterError, "variance has shape"),
        ({"variance": [1.0, 1, 1, -1]}, ParameterError, "below zero"),
        ({"refractive_index": 0}, ParameterError, "refractive_index"),
    ],
)
def test_wrong_input_is_told(change, error, words) -> None:
    with pytest.raises(error, match=words):
        spectral.convert_axis(**{"si": [1, 2, 3, 4], "axis": NM[:4], "unit": "nm", "to": "eV", **change})


def test_parts_of_an_image_are_converted_one_by_one_until_it_is_stopped(rng, monkeypatch) -> None:
    values = rng.poisson(5.0, (4, 5, 60))
    whole = spectral.convert_axis(values, NM[:60], "nm", "eV", evenly=True)
    monkeypatch.setattr(windows, "PART_BYTES", 3 * 60 * 8)
    done: list[float] = []
    parts = spectral.convert_axis(values, NM[:60], "nm", "eV", evenly=True, progress=done.append)
    np.testing.assert_allclose(parts.data, whole.data, rtol=1e-12)
    np.testing.assert_allclose(parts.variance, whole.variance, rtol=1e-12)
    np.testing.assert_allclose(done, np.arange(8) / 7)
    stop = threading.Event()
    with pytest.raises(CancelledError):
        spectral.convert_axis(values, NM[:60], "nm", "eV", progress=lambda _: stop.set(), cancel=stop)
