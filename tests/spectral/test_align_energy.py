"""Energies laid on each other: no count lost, errors of the size that counting allows, drift and de-scan undone."""

from __future__ import annotations

import doctest
import sys
import threading

import numpy as np
import pytest

from esteemcore import events, simulate, spectral
from esteemcore._core.provenance import digest
from esteemcore.errors import CalibrationError, CancelledError, ParameterError
from esteemcore.events import SparseSI

ENERGY = np.arange(-15.0, 45.0, 0.25)
SHAPE = (20, 24)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]] - np.array([[[9.5]], [[11.5]]])


def peaks(place_ev: np.ndarray, counts: float, width_ev: float = 0.5, floor: float = 1e-4) -> np.ndarray:
    """Expected counts of Gaussian peaks at places (...), on a thin floor."""
    peak = np.exp(-((ENERGY - np.asarray(place_ev)[..., None]) ** 2) / (2 * width_ev**2))
    return counts * (peak / (width_ev / 0.25 * np.sqrt(2 * np.pi)) + floor)


def edges(place_ev: np.ndarray, counts: float, height: np.ndarray) -> np.ndarray:
    """Expected counts of steps on a falling background, the step of a height of its own."""
    away = ENERGY - np.asarray(place_ev)[..., None]
    return counts * ((1 + ENERGY / 60) ** -2 + np.asarray(height)[..., None] / (1 + np.exp(-away / 0.4)))


def relative(found: spectral.EnergyAlignment, place_ev: np.ndarray) -> np.ndarray:
    """Error of the shifts in channels, less its mean."""
    error = found.shifts + place_ev / 0.25
    return error - error.mean()


@pytest.mark.parametrize("counts", [50, 500, 20000])
def test_errors_are_those_that_counting_allows(counts) -> None:
    """For a Gaussian of N counts and standard deviation w no unbiased estimate is better than w / sqrt(N)."""
    rng = np.random.default_rng(1)
    place = 0.03 * Y - 0.02 * X + rng.normal(0, 0.2, SHAPE)
    found = spectral.align_energy(rng.poisson(peaks(place, counts)), ENERGY)
    bound = 0.5 / 0.25 / np.sqrt(counts)
    assert found.measured.all()
    assert bound * 0.9 < relative(found, place).std() < bound * 1.12
    pull = relative(found, place) / found.uncertainty
    assert 0.9 < pull.std() < 1.1
    assert abs(found.shifts.mean()) < 0.05
    assert found.offsets == pytest.approx(0, abs=1e-9)


def test_without_noise_shifts_are_exact_to_a_hundredth_of_a_channel() -> None:
    place = np.linspace(-2, 2, 480).reshape(SHAPE)
    found = spectral.align_energy(peaks(place, 1000.0), ENERGY, at_ev=0.0)
    np.testing.assert_allclose(0.25 * found.shifts, -place, atol=0.0025)
    inside = np.abs(ENERGY) < 4
    moved = found.data.reshape(-1, len(ENERGY))[:, inside]
    np.testing.assert_allclose(moved @ ENERGY[inside] / moved.sum(axis=1), 0, atol=0.002)


@pytest.mark.parametrize("sparse", [False, True])
def test_no_count_is_lost_and_poisson_counts_stay_poisson_counts(sparse) -> None:
    rng = np.random.default_rng(2)
    place = rng.uniform(-0.5, 0.5, (60, 80))
    counts = rng.poisson(peaks(place, 60)).astype(np.uint16)
    found = spectral.align_energy(SparseSI.from_dense(counts) if sparse else counts, ENERGY)
    assert isinstance(found.data, SparseSI) is sparse
    data = found.data.to_dense() if sparse else found.data
    assert data.dtype == np.uint16
    assert data.sum() + found.outside == counts.sum()
    np.testing.assert_array_equal(data[..., 20:-20].sum(axis=-1) <= counts.sum(axis=-1), True)
    at_peak = data[..., 52:69].astype(float).reshape(4800, 17)  # the shifts are fitted: one degree of freedom less
    assert at_peak.var(axis=0).sum() / at_peak.mean(axis=0).sum() == pytest.approx(1 - 1 / 17, abs=0.07)


def test_sparse_and_dense_spectra_are_measured_alike() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(peaks(0.05 * Y, 100, floor=1e-3)).astype(np.uint16)
    dense, sparse = (spectral.align_energy(si, ENERGY) for si in (counts, SparseSI.from_dense(counts)))
    np.testing.assert_allclose(dense.shifts, sparse.shifts)
    np.testing.assert_allclose(dense.coverage, sparse.coverage)
    assert dense.data.sum() == sparse.data.count.sum()
    again = spectral.align_energy(SparseSI.from_dense(counts), ENERGY)
    np.testing.assert_array_equal(again.data.count, sparse.data.count)
    other = spectral.align_energy(SparseSI.from_dense(counts), ENERGY, seed=1)
    assert not np.array_equal(other.data.to_dense(), sparse.data.to_dense())
    assert other.data.count.sum() + other.outside == counts.sum()


@pytest.mark.parametrize("sharing", ["random", "linear"])
def test_a_shift_moves_the_centre_by_as_much(sharing) -> None:
    counts = np.zeros((1, 1, 40), np.int64)
    counts[0, 0, 18:21] = 30000, 50000, 20000
    spectra = counts if sharing == "random" else counts.astype(float)
    target = np.zeros(40)
    target[[21, 22, 23]] = 3, 5, 2
    found = spectral.align_energy(spectra, reference=target, window=(17, 27), sharing=sharing, offset_channels=3.3)
    centre = found.data[0, 0] @ np.arange(40) / found.data.sum()
    assert centre - counts[0, 0] @ np.arange(40) / 1e5 == pytest.approx(float(found.shifts[0, 0]), abs=0.01)
    assert found.shifts[0, 0] == pytest.approx(3.0, abs=0.02)


def test_edges_are_aligned_whatever_their_height_and_background() -> None:
    rng = np.random.default_rng(4)
    place = 10 + 0.05 * Y + rng.normal(0, 0.3, SHAPE)
    expected = edges(place, 4000, rng.uniform(0.3, 1.0, SHAPE)) * rng.uniform(0.7, 1.4, (*SHAPE, 1))
    found = spectral.align_energy(rng.poisson(expected), ENERGY, (4, 16), feature="edge")
    assert found.measured.all()
    error = relative(found, place)
    assert error.std() < 0.35
    assert 0.85 < (error / found.uncertainty).std() < 1.3
    peak_like = spectral.align_energy(rng.poisson(expected), ENERGY, (4, 16))  # no background of its own
    assert relative(peak_like, place).std() > 1.2 * error.std()


def test_the_plane_of_the_de_scan_is_found_beside_spikes_and_holes() -> None:
    rng = np.random.default_rng(5)
    place = 0.04 * Y - 0.07 * X
    counts = rng.poisson(peaks(place, 40))
    counts[3:6, 4:9] = 0  # holes
    counts[rng.random(SHAPE) < 0.03] = rng.poisson(peaks(np.array(2.0), 4000))  # spectra that lie elsewhere
    found = spectral.align_energy(counts, ENERGY, model="plane")
    np.testing.assert_allclose(found.descan, [-0.16, 0.28], atol=0.015)
    np.testing.assert_allclose(relative(found, place), 0, atol=0.15)
    assert not found.measured[3:6, 4:9].any()
    assert np.isinf(found.uncertainty[3:6, 4:9]).all()
    each = spectral.align_energy(counts, ENERGY)
    np.testing.assert_allclose(each.shifts[3:6, 4:9], found.shifts[3:6, 4:9], atol=0.1)


def test_pooled_pixels_tell_what_single_ones_cannot() -> None:
    rng = np.random.default_rng(6)
    place = 0.05 * Y - 0.03 * X
    counts = SparseSI.from_dense(rng.poisson(peaks(place, 1.0)).astype(np.uint8))
    found = spectral.align_energy(counts, ENERGY, model="plane", pool_px=5, reach_channels=10)
    np.testing.assert_allclose(found.descan, [-0.2, 0.12], atol=0.05)
    assert np.abs(relative(found, place)).max() < 0.6
    assert found.shifts.shape == SHAPE


@pytest.mark.parametrize("model", ["pixel", "plane", "frame"])
def test_steps_of_the_drift_tube_and_drift_are_undone(model) -> None:
    rng = np.random.default_rng(7)
    steps = np.array([0.0, 30.0, -20.0, 44.0])  # channels, known
    drift = np.array([0.0, 0.7, 1.9, -1.2])  # channels, not known
    descan = 0.0 if model == "frame" else 0.02 * Y
    place = 0.25 * (-steps[:, None, None] - drift[:, None, None] + 0 * Y) + descan
    counts = rng.poisson(peaks(place, 200))
    found = spectral.align_energy(counts, ENERGY, offset_channels=steps, model=model, reach_channels=12)
    assert found.shifts.shape == (4, *SHAPE)
    moved = found.shifts.mean(axis=(1, 2))
    np.testing.assert_allclose(moved - moved[0], steps + drift, atol=0.06)
    np.testing.assert_allclose(found.offsets, moved, atol=0.05)
    total = found.data.sum(axis=(0, 1, 2)).astype(float)
    spread = np.sqrt(total @ (ENERGY - total @ ENERGY / total.sum()) ** 2 / total.sum())
    single = counts[0].reshape(-1, len(ENERGY)).sum(axis=0)
    once = np.sqrt(single @ (ENERGY - single @ ENERGY / single.sum()) ** 2 / single.sum())
    assert spread < once + 0.12
    assert found.coverage.min() < 1
    assert found.coverage[100:140].min() == pytest.approx(1)
    assert found.data.sum() + found.outside == counts.sum()


def test_simulated_spectra_with_plasmons_and_readout_noise() -> None:
    """Thickness changes what follows the zero loss, not where it is found."""
    specimen = simulate.composition("needle")
    camera = simulate.EelsCamera(240, 0.25, -15.0, readout_sigma=3.0, gain=4.0)
    sampler = simulate.EelsSampler(specimen, camera, seed=3)
    offset = np.random.default_rng(8).uniform(-1.5, 1.5, 200)
    places = np.stack([np.full(200, 30.0), np.linspace(20, 900, 200)], axis=1)
    spectra = sampler.spectra(specimen.at(places), electrons=2e4, offset_ev=offset).reshape(10, 20, 240)
    found = spectral.align_energy(spectra, camera.energy_ev, at_ev=0.0, gain=4.0, readout_sigma=3.0)
    error = 0.25 * found.shifts.ravel() + offset
    assert found.measured.all()
    assert error.std() < 0.02
    assert abs(error.mean()) < 0.1  # the highest point of a peak with a tail lies beside its mean
    assert spectra.sum() == pytest.approx(float(found.data.sum()) + found.outside)


def test_a_reference_from_elsewhere_keeps_its_place() -> None:
    rng = np.random.default_rng(9)
    counts = rng.poisson(peaks(np.full(SHAPE, 1.3), 300))
    target = peaks(np.array(0.0), 1.0)
    found = spectral.align_energy(counts, ENERGY, reference=target)
    assert found.shifts.mean() == pytest.approx(-5.2, abs=0.03)
    np.testing.assert_array_equal(found.reference, target)
    at = spectral.align_energy(counts, ENERGY, reference=target, at_ev=2.0)
    assert at.shifts.mean() == pytest.approx(2.8, abs=0.03)


def test_results_carry_their_making_and_do_not_touch_the_input() -> None:
    counts = np.random.default_rng(10).poisson(peaks(np.zeros(SHAPE), 100)).astype(np.uint8)
    kept = counts.copy()
    seen: list[float] = []
    found = spectral.align_energy(counts, ENERGY, progress=seen.append)
    np.testing.assert_array_equal(counts, kept)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert found.provenance.function == "spectral.align_energy"
    assert found.provenance.seed == 0
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        spectral.align_energy(counts, ENERGY, cancel=stop)


def test_the_example_of_the_function_runs() -> None:
    result = doctest.testmod(sys.modules[spectral.align_energy.__module__])
    assert result.attempted
    assert not result.failed


def test_true_is_a_count() -> None:
    counts = np.random.default_rng(0).random((4, 5, 240)) < peaks(np.linspace(-1, 1, 20).reshape(4, 5), 3.0)
    found = spectral.align_energy(counts, ENERGY, pool_px=2)
    again = spectral.align_energy(counts.astype(np.uint8), ENERGY, pool_px=2)
    np.testing.assert_array_equal(found.data, again.data)
    assert found.data.sum() + found.outside == counts.sum()


def test_of_a_lazy_series_one_frame_is_read_at_a_time() -> None:
    """The last frame holds counts that the type of the series cannot hold after they were moved together."""
    counts = np.random.default_rng(3).poisson(peaks(np.zeros((3, 4, 5)), 300)).astype(np.uint8)
    counts[2, 0, 0, 55:65] = 255
    read = []

    class Series:
        shape, dtype = counts.shape, counts.dtype

        def __getitem__(self, place):
            read.append(counts[place].size)
            return counts[place]

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("the whole series was read")

    found, dense = spectral.align_energy(Series(), ENERGY), spectral.align_energy(counts, ENERGY)
    np.testing.assert_array_equal(found.data, dense.data)
    assert found.data.dtype == dense.data.dtype == np.uint16
    assert found.data[:2].max() < 256
    assert max(read) == counts[0].size
    assert (found.provenance.input_digest, dense.provenance.input_digest) == (None, digest(counts))


def test_values_that_need_a_wider_type_get_one() -> None:
    counts = np.full((2, 2, 40), 200, np.uint8)
    counts[..., 18:22] = 255
    found = spectral.align_energy(counts, window=(12, 28), reference=np.roll(counts[0, 0], 1).astype(float))
    assert found.data.dtype == np.uint16
    assert found.data.sum() + found.outside == counts.sum(dtype=int)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"si": np.ones(40)}, ParameterError, "spectrum image"),
        ({"si": np.ones((2, 2, 240), complex)}, ParameterError, "real numbers"),
        ({"si": np.zeros((2, 2, 240))}, ParameterError, "no counts"),
        ({"si": np.full((2, 2, 240), np.nan)}, ParameterError, "NaN"),
        ({"energy_ev": ENERGY[:-1]}, CalibrationError, "energy axis"),
        ({"window": (60, 70)}, ParameterError, "the window 60 to 70"),
        ({"window": (0, 0.3)}, ParameterError, "needs 3"),
        ({"feature": "edge"}, ParameterError, "window of the edge"),
        ({"feature": "step"}, ParameterError, "feature"),
        ({"model": "line"}, ParameterError, "model"),
        ({"reference": np.ones(7)}, ParameterError, r"reference has shape \(7,\)"),
        ({"reference": np.zeros(240)}, ParameterError, "not all of them"),
        ({"offset_channels": [1.0, 2.0]}, ParameterError, "each of the 1 frames"),
        ({"offset_channels": np.nan}, ParameterError, "offset_channels"),
        ({"reach_channels": 0}, ParameterError, "reach_channels"),
        ({"pool_px": 0}, ParameterError, "pool_px"),
        ({"at_ev": 99.0}, ParameterError, "beside the axis"),
        ({"sharing": "whole"}, ParameterError, "sharing"),
        ({"sharing": "random"}, ParameterError, "whole counts"),
        ({"gain": 0}, ParameterError, "gain"),
        ({"readout_sigma": -1}, ParameterError, "readout_sigma"),
        (
            {"window": (20, 30), "si": (peaks(np.zeros((2, 2)), 10) > 1).astype(int)},
            ParameterError,
            "no counts in the window",
        ),
        ({"si": events.SparseSI.from_dense(np.ones((2, 2, 240), int)), "sharing": "linear"}, ParameterError, "sparse"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(change, error, words) -> None:
    with pytest.raises(error, match=words):
        spectral.align_energy(**({"si": peaks(np.zeros((2, 3)), 100), "energy_ev": ENERGY} | change))
