"""Backgrounds: exact without noise, unbiased with it, and variances that are those of repeated measurements."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from esteemcore import spectral
from esteemcore._core.provenance import digest
from esteemcore.errors import CalibrationError, CancelledError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral import windows

ENERGY = np.arange(300.0, 700.0, 2.0)
FIT, SIGNAL = (320.0, 480.0), (500.0, 560.0)


def power(amplitude, exponent):
    return amplitude * (ENERGY / 400) ** -exponent


CURVES = {
    "power_law": power(50, 3.2),
    "double_power_law": power(30, 2.0) + power(30, 4.5),
    "linear": 80 - 0.05 * ENERGY,
    "polynomial": 80 - 0.05 * ENERGY + 1e-4 * (ENERGY - 500) ** 2,
    "constant": np.full(200, 7.0),
}


@pytest.mark.parametrize("model", ["power_law", "linear", "polynomial", "constant"])
def test_a_background_of_the_model_is_taken_off_exactly(model) -> None:
    found = spectral.remove_background(np.tile(CURVES[model], (2, 3, 1)), ENERGY, FIT, model)
    assert found.signal.shape == (2, 3, 200)
    np.testing.assert_allclose(found.signal, 0, atol=1e-6 * CURVES[model].max())
    assert not found.background[..., ENERGY < 320].any()
    mapped = spectral.edge_map(np.tile(CURVES[model], (2, 3, 1)), ENERGY, SIGNAL, FIT, model)
    np.testing.assert_allclose(mapped.data, 0, atol=1e-4)


def test_two_power_laws_follow_a_background_that_one_cannot() -> None:
    rng = np.random.default_rng(0)
    share = rng.uniform(0, 1, (400, 1))
    spectra = 1e4 * (share * power(1, 2.0) + (1 - share) * power(1, 4.5))
    double = spectral.edge_map(spectra, ENERGY, SIGNAL, FIT, "double_power_law").data
    single = spectral.edge_map(spectra, ENERGY, SIGNAL, FIT, "power_law").data
    assert np.abs(double).mean() < 0.35 * np.abs(single).mean()


@pytest.mark.parametrize("model", ["power_law", "double_power_law", "linear", "polynomial", "constant"])
@pytest.mark.parametrize("level", [0.1, 1.0, 40.0])
def test_maps_are_unbiased_and_their_variance_is_true(model, level) -> None:
    rng = np.random.default_rng(3)
    background = level * CURVES["power_law" if "power" in model else model] / 50
    edge = np.where(ENERGY >= 500, 0.4 * level, 0.0)
    counts = rng.poisson(background + edge, (3000, 200))
    found = spectral.edge_map(counts, ENERGY, SIGNAL, FIT, model)
    truth = edge[(ENERGY >= 500) & (ENERGY < 560)].sum()
    spread = found.data.std()
    if level > 0.1 or model != "double_power_law":  # exponents of the image need some counts in each spectrum
        assert abs(np.median(found.data) - truth) < 0.25 * spread
    assert found.variance.mean() == pytest.approx(found.data.var(), rel=0.15 if level > 0.1 else 0.25)
    if level > 1 or model in ("linear", "constant"):
        assert found.data.mean() == pytest.approx(truth, abs=5 * spread / np.sqrt(3000) + 0.03 * spread)


def test_variance_with_gain_and_readout_noise() -> None:
    rng = np.random.default_rng(4)
    truth = power(100, 3.0)
    data = 8.0 * rng.poisson(truth, (3000, 200)) + 3.0 * rng.standard_normal((3000, 200))
    found = spectral.edge_map(data, ENERGY, SIGNAL, FIT, gain=8.0, readout_sigma=3.0)
    assert found.variance.mean() == pytest.approx(found.data.var(), rel=0.12)
    assert found.data.mean() == pytest.approx(0, abs=5 * found.data.std() / np.sqrt(3000))
    channel = spectral.remove_background(data, ENERGY, FIT, gain=8.0, readout_sigma=3.0)
    assert channel.variance[:, 130].mean() == pytest.approx(channel.signal[:, 130].var(), rel=0.12)


def test_the_fit_beats_the_logarithm_of_few_counts() -> None:
    rng = np.random.default_rng(5)
    counts = rng.poisson(power(2.0, 3.0), (2000, 200))
    exponents = spectral.remove_background(counts, ENERGY, FIT).parameters[:, 1]
    inside = (ENERGY >= 320) & (ENERGY < 480)
    with np.errstate(divide="ignore"):
        logs = np.where(counts[:, inside] > 0, np.log(counts[:, inside]), np.nan)
    x = np.log(ENERGY[inside])
    naive = [-np.polyfit(x[np.isfinite(row)], row[np.isfinite(row)], 1)[0] for row in logs]
    assert abs(np.mean(exponents) - 3.0) < 0.15
    assert abs(np.mean(naive) - 3.0) > 0.5


def test_sparse_and_dense_maps_are_the_same(rng) -> None:
    counts = rng.poisson(CURVES["linear"] / 20, (5, 6, 200))
    windows = [(320.0, 480.0), (580.0, 690.0)]
    dense = spectral.edge_map(counts, ENERGY, SIGNAL, windows, "linear")
    sparse = spectral.edge_map(SparseSI.from_dense(counts), ENERGY, SIGNAL, windows, "linear")
    np.testing.assert_array_equal(sparse.data, dense.data)
    np.testing.assert_array_equal(sparse.variance, dense.variance)


def test_without_a_background_window_a_map_is_the_sum(rng) -> None:
    counts = rng.poisson(3.0, (4, 5, 200))
    found = spectral.edge_map(counts, ENERGY, SIGNAL)
    np.testing.assert_array_equal(found.data, counts[..., (ENERGY >= 500) & (ENERGY < 560)].sum(axis=-1))
    assert found.variance.mean() == pytest.approx(found.data.mean())
    np.testing.assert_allclose(found.variance, found.data, rtol=0.02)
    np.testing.assert_allclose(found.sigma, np.sqrt(found.data), rtol=0.01)
    assert spectral.edge_map(counts[0, 0], ENERGY, SIGNAL).variance == pytest.approx(found.data[0, 0])


def test_no_place_is_free_of_noise(rng) -> None:
    """Few counts, most places have none: the mean of the variance is that of the counts, and none is zero."""
    counts = rng.poisson(0.01, (60, 60, 200))
    found = spectral.edge_map(counts, ENERGY, SIGNAL)
    assert (found.data == 0).mean() > 0.5
    assert found.variance.min() > 0
    assert found.variance.mean() == pytest.approx(found.data.mean()) == pytest.approx(found.data.var(), rel=0.1)


def test_the_variance_within_the_window_is_less_what_the_fit_follows() -> None:
    rng = np.random.default_rng(7)
    found = spectral.remove_background(rng.poisson(power(20, 3.0), (4000, 200)), ENERGY, (400.0, 410.0))
    inside = (ENERGY >= 400) & (ENERGY < 410)
    np.testing.assert_allclose(found.variance.mean(axis=0)[inside], found.signal.var(axis=0)[inside], rtol=0.12)


def test_lazy_spectra_are_read_in_parts(rng, monkeypatch) -> None:
    counts = rng.poisson(5.0, (12, 6, 200)).astype(np.uint8)
    read = []

    class Lazy:
        shape, dtype = counts.shape, counts.dtype

        def __getitem__(self, place):
            read.append(counts[place].size)
            return counts[place]

    monkeypatch.setattr(windows, "BLOCK_BYTES", 3_000)
    beside = [(302.0, 310.0), (680.0, 696.0)]
    lazy = spectral.edge_map(Lazy(), ENERGY, SIGNAL, beside, "linear")
    np.testing.assert_array_equal(lazy.data, spectral.edge_map(counts, ENERGY, SIGNAL, beside, "linear").data)
    assert len(read) == 1 + 6
    assert max(read) <= 3_000
    assert lazy.provenance.input_digest is None


def test_the_provenance_knows_the_spectra_and_their_axis(rng) -> None:
    counts = rng.poisson(5.0, (2, 200))
    for found in (spectral.edge_map(counts, ENERGY, SIGNAL, FIT), spectral.remove_background(counts, ENERGY, FIT)):
        assert found.provenance.input_digest == digest(counts)
        assert found.provenance.parameters["energy_ev"]["digest"] == digest(ENERGY)


def test_empty_spectra_have_an_empty_map_with_a_variance() -> None:
    found = spectral.edge_map(np.zeros((3, 200)), ENERGY, SIGNAL, FIT)
    assert not found.data.any()
    assert (np.isfinite(found.variance) & (found.variance > 0)).all()
    assert not spectral.remove_background(np.zeros(200), ENERGY, FIT).background.any()


def test_snr_grows_as_the_root_of_the_dose() -> None:
    rng = np.random.default_rng(6)
    rate = power(5, 3.0) + np.where(ENERGY >= 500, 2.0, 0)
    one, hundred = (spectral.edge_map(rng.poisson(n * rate, (500, 200)), ENERGY, SIGNAL, FIT).snr for n in (4, 400))
    assert hundred / one == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: spectral.remove_background(np.ones(200), ENERGY, (480, 320)), ParameterError, "rise"),
        (lambda: spectral.remove_background(np.ones(200), ENERGY, (10, 20)), ParameterError, "holds no channel"),
        (lambda: spectral.remove_background(np.ones(200), ENERGY, (320, 323)), ParameterError, "at least 3"),
        (
            lambda: spectral.edge_map(np.ones(200), ENERGY, (10, 20)),
            ParameterError,
            "the signal window 10 to 20 holds no",
        ),
        (
            lambda: spectral.edge_map(np.ones(200), ENERGY, SIGNAL, (10, 20)),
            ParameterError,
            "the background window 10 to",
        ),
        (lambda: spectral.remove_background(np.ones(200), ENERGY[:-1], FIT), CalibrationError, "200 channels"),
        (lambda: spectral.remove_background(np.ones(200), ENERGY[::-1], FIT), CalibrationError, "rise"),
        (lambda: spectral.remove_background(np.ones(200), ENERGY - 400, (-80, -20)), ParameterError, "above zero"),
        (lambda: spectral.remove_background(np.full(200, np.nan), ENERGY, FIT), ParameterError, "NaN"),
        (lambda: spectral.remove_background(np.ones(200), ENERGY, FIT, "spline"), ParameterError, "model"),
        (lambda: spectral.remove_background(np.ones(200), ENERGY, FIT, gain=0), ParameterError, "gain"),
        (lambda: spectral.remove_background("abc", ENERGY, FIT), ParameterError, "real numbers"),
        (
            lambda: spectral.edge_map(np.ma.masked_less(np.ones((2, 200)), [[2], [0]]), ENERGY, SIGNAL, FIT),
            ParameterError,
            "masked array",
        ),
        (lambda: spectral.edge_map(np.ones(200), ENERGY, (800, 900), FIT), ParameterError, "signal window"),
        (lambda: spectral.edge_map(np.ones(200), ENERGY, (470, 520), FIT), ParameterError, "share channels"),
        (lambda: spectral.edge_map(np.ones(200), ENERGY, SIGNAL, model="cubic"), ParameterError, "model"),
        (
            lambda: spectral.remove_background(np.where(ENERGY == 640, np.inf, 1.0), ENERGY, FIT),
            ParameterError,
            "infinite",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, message) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("model", ["power_law", "double_power_law", "linear", None])
def test_a_map_tells_its_progress_and_can_be_stopped(rng, model) -> None:
    energy = np.linspace(400, 600, 100)
    counts = rng.poisson(1e3 * (energy / 400) ** -3.0, (4, 5, 100))
    background = None if model is None else (410, 490)
    done: list[float] = []
    stop = threading.Event()
    told = spectral.edge_map(counts, energy, (500, 550), background, model or "power_law", progress=done.append)
    assert np.all(np.diff(done) > 0)
    assert done[-1] == 1
    np.testing.assert_array_equal(
        told.data, spectral.edge_map(counts, energy, (500, 550), background, model or "power_law").data
    )
    with pytest.raises(CancelledError):
        spectral.edge_map(
            counts, energy, (500, 550), background, model or "power_law", progress=lambda _: stop.set(), cancel=stop
        )
    with pytest.raises(CancelledError):
        spectral.remove_background(counts, energy, (410, 490), model or "power_law", cancel=stop)


@pytest.mark.parametrize("model", CURVES)
def test_spectra_that_are_fitted_in_parts_are_those_that_are_fitted_at_once(rng, model, monkeypatch) -> None:
    counts = rng.poisson(CURVES[model] / 40, (3, 7, 200))
    counts[0, 0] = 0
    before = (
        spectral.remove_background(counts, ENERGY, FIT, model),
        spectral.edge_map(counts, ENERGY, SIGNAL, FIT, model),
    )
    monkeypatch.setattr(windows, "PART_BYTES", 4 * 200 * 8)
    done: list[float] = []
    after = (
        spectral.remove_background(counts, ENERGY, FIT, model, progress=done.append),
        spectral.edge_map(counts, ENERGY, SIGNAL, FIT, model),
    )
    assert len(windows.parts_of(21, 200)) == 6
    assert len(done) > 6
    assert np.all(np.diff(done) > 0)
    assert done[-1] == 1
    for name in ("signal", "background", "variance", "parameters"):
        np.testing.assert_allclose(getattr(after[0], name), getattr(before[0], name), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(after[1].data, before[1].data, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(after[1].variance, before[1].variance, rtol=1e-6)


def test_the_masked_values_of_an_array_without_a_mask_are_none(rng) -> None:
    counts = rng.poisson(5.0, (2, 200))
    found = spectral.edge_map(np.ma.MaskedArray(counts), ENERGY, SIGNAL)
    np.testing.assert_array_equal(found.data, spectral.edge_map(counts, ENERGY, SIGNAL).data)
    assert type(found.data) is np.ndarray
