"""Relative thickness: Poisson's law of inelastic scattering, its standard error, and a simulated specimen."""

from __future__ import annotations

import dataclasses
import threading

import h5py
import numpy as np
import pytest

from esteemcore import simulate, spectral
from esteemcore._core.provenance import digest
from esteemcore.errors import CalibrationError, CancelledError, ParameterError
from esteemcore.events import SparseSI

ENERGY = np.arange(-10.0, 200.0)


def draw(thickness, electrons, spectra, seed=0):
    """Draw losses electron by electron: a Poisson number of events, each with an exponential loss above 8 eV."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(thickness, (spectra, electrons))
    loss = np.where(n, 8.0 * n + rng.gamma(np.maximum(n, 1), 6.0), rng.normal(0, 1, n.shape))
    channel = np.rint(loss).astype(int) + 10
    return np.stack([np.bincount(row[row < 210], minlength=210) for row in channel])


@pytest.mark.parametrize("thickness", [0.1, 0.7, 2.0])
def test_thickness_and_standard_error_are_those_of_electrons_that_scatter_by_poissons_law(thickness) -> None:
    found = spectral.relative_thickness(draw(thickness, 1500, 1200), ENERGY, (-5, 6))
    pulls = (found.data - thickness) / found.sigma
    assert abs(pulls.mean()) < 0.12
    assert pulls.std() == pytest.approx(1, abs=0.07)
    assert found.data.mean() == pytest.approx(thickness, rel=0.01)


def test_the_window_is_found_between_the_peak_and_the_plasmon() -> None:
    counts = draw(0.7, 3000, 50)
    found = spectral.relative_thickness(counts, ENERGY)
    low, high = found.zero_loss
    assert low == -high
    assert 3 < high < 9
    np.testing.assert_allclose(found.data, spectral.relative_thickness(counts, ENERGY, (-5, 6)).data, atol=0.01)


def test_gain_and_readout_of_a_camera_are_in_the_standard_error() -> None:
    noisy = 4.0 * draw(0.7, 3000, 800) + np.random.default_rng(1).normal(0, 5.0, (800, 210))
    found = spectral.relative_thickness(noisy, ENERGY, (-5, 6), gain=4.0, readout_sigma=5.0)
    assert found.data.std() == pytest.approx(found.sigma.mean(), rel=0.07)
    blind = spectral.relative_thickness(noisy, ENERGY, (-5, 6))
    assert found.data.std() > 1.5 * blind.sigma.mean()


def test_a_simulated_needle_has_the_thickness_that_it_was_made_of() -> None:
    specimen = simulate.composition("needle")
    camera = simulate.EelsCamera(channels=1024, ev_per_channel=0.5, offset_ev=-20.0)
    sampler = simulate.EelsSampler(specimen, camera, background=(0.0, 2.3), seed=1)
    places = specimen.at(np.column_stack([np.linspace(-30, 30, 40), np.zeros(40)]))
    inside = places.thickness_nm.sum(axis=1) > 5
    truth = (places.thickness_nm / sampler.mean_free_path_nm).sum(axis=1)
    found = spectral.relative_thickness(sampler.spectra(places, 1e5), camera.energy_ev, (-4, 4))
    assert inside.sum() > 10
    assert np.ptp(truth[inside]) > 0.02
    np.testing.assert_allclose(found.data[inside], truth[inside], atol=0.02)
    assert np.abs(found.data[inside] - truth[inside]).mean() < 0.01


def test_dense_sparse_and_lazy_spectra_give_the_same(tmp_path) -> None:
    counts = draw(0.7, 300, 20).reshape(4, 5, 210).astype(np.uint16)
    dense = spectral.relative_thickness(counts, ENERGY)
    with h5py.File(tmp_path / "eels.h5", "w") as file:
        for data in (SparseSI.from_dense(counts), file.create_dataset("eels", data=counts)):
            other = spectral.relative_thickness(data, ENERGY)
            np.testing.assert_allclose(other.data, dense.data, rtol=1e-12)
            np.testing.assert_allclose(other.sigma, dense.sigma, rtol=1e-12)
            assert other.zero_loss == dense.zero_loss
    assert dense.data.shape == (4, 5)


def test_places_without_zero_loss_are_not_known() -> None:
    counts = draw(0.7, 300, 3)
    counts[1] = 0
    found = spectral.relative_thickness(counts, ENERGY, (-5, 6))
    assert np.isnan(found.data).tolist() == np.isnan(found.sigma).tolist() == [False, True, False]
    assert dataclasses.asdict(found.provenance)["function"] == "spectral.relative_thickness"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"energy_ev": ENERGY + 300}, CalibrationError, "zero loss within 5 eV of 0"),
        ({"energy_ev": ENERGY[:-1]}, CalibrationError, "210 channels"),
        ({"zero_loss": (-20, 500)}, ParameterError, "holds all channels"),
        ({"zero_loss": (400, 500)}, ParameterError, "holds no channel"),
        ({"si": np.full(210, np.nan)}, ParameterError, "NaN"),
        ({"gain": 0}, ParameterError, "gain"),
    ],
)
def test_wrong_input_is_told(change, error, words) -> None:
    with pytest.raises(error, match=words):
        spectral.relative_thickness(**{"si": draw(0.5, 100, 1)[0], "energy_ev": ENERGY, **change})


class Lazy:
    """An array that is read in slices, and tells how often."""

    def __init__(self, data):
        self.data, self.shape, self.dtype, self.reads = data, data.shape, data.dtype, 0

    def __getitem__(self, place):
        self.reads += 1
        return self.data[place]


def test_it_tells_its_progress_and_stops_before_the_next_row() -> None:
    counts = draw(0.5, 500, 24).reshape(6, 4, 210)
    told: list[float] = []
    found = spectral.relative_thickness(Lazy(counts), ENERGY, progress=told.append)
    np.testing.assert_array_equal(found.data, spectral.relative_thickness(counts, ENERGY).data)
    assert np.all(np.diff(told) > 0)
    assert told[-1] == 1
    stop, lazy = threading.Event(), Lazy(counts)
    stop.set()
    with pytest.raises(CancelledError):
        spectral.relative_thickness(lazy, ENERGY, cancel=stop)
    assert lazy.reads == 0
    stop.clear()
    with pytest.raises(CancelledError):
        spectral.relative_thickness(lazy, ENERGY, progress=lambda done: stop.set() if done else None, cancel=stop)
    assert lazy.reads <= 2


def test_the_provenance_knows_the_spectra() -> None:
    counts = draw(0.5, 500, 2)
    assert spectral.relative_thickness(counts, ENERGY).provenance.input_digest == digest(counts)
    sparse = spectral.relative_thickness(SparseSI.from_dense(counts[None]), ENERGY)
    assert sparse.provenance.input_digest not in (None, digest(counts))
    light = spectral.convert_axis(counts, np.arange(1.0, 211.0), "nm", "eV")
    assert light.provenance.input_digest == digest(counts)
