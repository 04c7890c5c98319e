"""Alternating least squares: each half is optimal at the end, and each constraint holds."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import angles
from scipy.optimize import nnls
from test_unmix import mixture

from esteemcore import spectral
from esteemcore.errors import ParameterError
from esteemcore.spectral.methods.mcr import single_peaked


def test_at_the_end_both_halves_are_the_least_squares_given_the_other(rng) -> None:
    data, _, _ = mixture(rng, (10, 9), channels=30, counts=2000)
    noisy = data + rng.normal(0, 4, data.shape)
    found = spectral.unmix(noisy, 3, method="mcr", noise="gaussian")
    rows, amounts = noisy.reshape(-1, 30), found.abundances.reshape(3, -1).T
    left = np.square(rows - amounts @ found.spectra).sum()
    by_pixel = sum(nnls(found.spectra.T, row)[1] ** 2 for row in rows)
    by_channel = sum(nnls(amounts, column)[1] ** 2 for column in rows.T)
    assert (found.spectra >= 0).all()
    assert left == pytest.approx(by_pixel, rel=1e-8)
    assert left == pytest.approx(by_channel, rel=1e-4)
    noise_alone = 16 * (rows.size - 3 * (len(rows) + 30))
    assert left == pytest.approx(noise_alone, rel=0.05)


def test_it_explains_more_than_the_purest_pixels_and_moves_away_from_them_little(rng) -> None:
    data, spectra, _ = mixture(rng, counts=3e4)
    counts = rng.poisson(data)
    start, end = (spectral.unmix(counts, 3, method=method) for method in ("spa", "mcr"))
    assert np.sum(end.residual**2) < np.sum(start.residual**2)
    assert angles(end.spectra, spectra).mean() < 4


def test_single_peaked_spectra_rise_and_fall(rng) -> None:
    energy = np.arange(60.0)
    bands = np.array([np.exp(-(((energy - at) / width) ** 2)) for at, width in ((15, 6), (30, 9), (44, 5))])
    amounts = rng.dirichlet([0.4] * 3, (14, 14)) * 200
    noisy = amounts @ bands + rng.normal(0, 3, (14, 14, 60))
    free, shaped = (spectral.unmix(noisy, 3, method="mcr", noise="gaussian", unimodal=u) for u in (False, True))
    for spectrum in shaped.spectra:
        peak = spectrum.argmax()
        assert (np.diff(spectrum[: peak + 1]) >= -1e-12).all()
        assert (np.diff(spectrum[peak:]) <= 1e-12).all()
    assert not all((np.diff(s[: s.argmax() + 1]) >= -1e-12).all() for s in free.spectra)
    assert angles(shaped.spectra, bands).mean() < angles(free.spectra, bands).mean() + 0.5
    with pytest.raises(ParameterError, match=r"cannot take unimodal; these can: 'mcr'"):
        spectral.unmix(noisy, 3, method="spa", unimodal=True)


def test_a_single_peak_stays_what_it_is_and_the_nearest_one_is_found(rng) -> None:
    peak = np.array([0.0, 1, 3, 7, 5, 2, 0])
    np.testing.assert_allclose(single_peaked(peak), peak)
    np.testing.assert_allclose(single_peaked(np.array([0.0, 3, 1, 7, 2, 4, 0])), [0, 2, 2, 7, 3, 3, 0])
