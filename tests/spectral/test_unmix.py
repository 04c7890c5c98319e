"""The door to unmixing: one normalisation, masks, every kind of data, and errors that say what to do."""

from __future__ import annotations

import doctest
import importlib
import threading

import numpy as np
import pytest
from known_spectra import phases, rates, regions

from esteemcore import spectral
from esteemcore.errors import CancelledError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral.methods import METHODS

QUICK = {name: entry for name, entry in METHODS.items() if name != "blu"}
"""All methods but the one whose chains take seconds; test_blu.py has its laws."""


def mixture(rng, shape=(24, 20), n=3, channels=60, counts=1e4):
    """Return data without noise, with pure pixels of every phase, the spectra and the abundances."""
    spectra = phases(rng, n, channels)
    share = regions(rng, shape, n) ** 3
    share[0, :n] = np.eye(n)
    amounts = counts * np.linspace(0.5, 1.5, shape[0])[:, None, None] * share / share.sum(axis=-1, keepdims=True)
    return amounts @ spectra, spectra, np.moveaxis(amounts, -1, 0)


def test_scale_sign_and_order_are_fixed(rng) -> None:
    data, _, _ = mixture(rng)
    for method in QUICK:
        result = spectral.unmix(data, 3, method=method, noise="gaussian")
        np.testing.assert_allclose(np.abs(result.spectra).sum(axis=1), 1, rtol=1e-9, err_msg=method)
        peak = result.spectra[np.arange(3), np.abs(result.spectra).argmax(axis=1)]
        assert (peak > 0).all(), method
        assert (np.diff(np.abs(result.abundances).sum(axis=(1, 2))) <= 0).all(), method
        assert result.method == method


def test_the_same_seed_gives_the_same_result(rng) -> None:
    counts = rng.poisson(rates(rng, 400, shape=(16, 16), channels=64))
    for method in QUICK:
        one, two = (spectral.unmix(counts, 3, method=method, seed=3) for _ in range(2))
        np.testing.assert_array_equal(one.spectra, two.spectra, err_msg=method)
        np.testing.assert_array_equal(one.abundances, two.abundances, err_msg=method)


def test_pixels_outside_the_mask_take_no_part_and_the_mask_is_not_transposed(rng) -> None:
    data, _, _ = mixture(rng)
    mask = rng.random(data.shape[:2]) < 0.8
    mask[0, :3] = True
    spoiled = np.where(mask[..., None], data, np.nan)
    for method in QUICK:
        found, clean = (spectral.unmix(si, 3, method=method, mask=mask, noise="gaussian") for si in (spoiled, data))
        np.testing.assert_array_equal(found.spectra, clean.spectra, err_msg=method)
        assert (np.isnan(found.abundances) == ~mask).all(), method
        assert (np.isnan(found.residual) == ~mask).all(), method
    with pytest.raises(ParameterError, match=r"mask has shape \(20, 24\); expected \(24, 20\)"):
        spectral.unmix(data, 3, mask=mask.T)


def test_sparse_and_dense_counts_give_the_same_and_lazy_ones_nearly(rng) -> None:
    import dask.array as da

    counts = rng.poisson(rates(rng, 2000, shape=(16, 14), channels=40))
    for method, entry in QUICK.items():
        dense = spectral.unmix(counts, 3, method=method)
        sparse = spectral.unmix(SparseSI.from_dense(counts), 3, method=method)
        np.testing.assert_allclose(sparse.spectra, dense.spectra, rtol=1e-4, atol=1e-6, err_msg=method)
        lazy = da.from_array(counts, chunks=(5, -1, -1))
        if entry.lazy:
            found = spectral.unmix(lazy, 3, method=method)
            assert np.abs(found.spectra - dense.spectra).max() < 0.02 * dense.spectra.max(), method
        else:
            with pytest.raises(ParameterError, match="in memory"):
                spectral.unmix(lazy, 3, method=method)


@pytest.mark.parametrize("method", ["nmf", "mcr"])
def test_lazy_counts_that_are_sparse_give_what_events_give(rng, method) -> None:
    import dask.array as da

    counts = rng.poisson(rates(rng, 5, shape=(24, 20), channels=150))
    lazy = spectral.unmix(da.from_array(counts, chunks=(5, -1, -1)), 3, method=method)
    events = spectral.unmix(SparseSI.from_dense(counts), 3, method=method)
    np.testing.assert_allclose(lazy.spectra, events.spectra)
    np.testing.assert_allclose(lazy.abundances, events.abundances)


def test_what_is_left_is_noise_where_the_model_is_right_and_more_where_a_component_is_missing(rng) -> None:
    truth = rates(rng, 4000, shape=(24, 24), channels=80)
    counts = rng.poisson(truth)
    camera = 3 * counts + rng.normal(0, 2, counts.shape)
    for data, options in (
        (counts, {}),
        (SparseSI.from_dense(counts), {}),
        (camera, {"noise": "poisson", "gain": 3, "readout_sigma": 2}),
        (camera, {}),
    ):
        right, short = (spectral.unmix(data, n, method="spa", **options) for n in (3, 2))
        assert np.sqrt(np.mean(right.residual**2)) == pytest.approx(1, abs=0.06), options
        assert np.sqrt(np.mean(short.residual**2)) > 1.2, options
        assert right.residual_spectrum == pytest.approx(1, abs=0.15 if right.noise == "poisson" else 0.2), options
        assert short.residual_spectrum.max() > 1.5, options


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("lazy", [False, True])
def test_exact_mixtures_of_fewer_spectra_are_refused_in_any_precision(rng, dtype, lazy) -> None:
    import dask.array as da

    data = ((rng.random((20, 20, 2)) @ rng.random((2, 50))) / 7).astype(dtype)
    with pytest.raises(ParameterError, match="mixtures of 2 spectra at most"):
        spectral.unmix(da.from_array(data, chunks=(7, -1, -1)) if lazy else data, 3, method="spa")


def test_data_without_noise_are_explained_to_a_small_part_of_the_noise_that_is_assumed_at_least(rng) -> None:
    data, spectra, _ = mixture(rng)
    result = spectral.unmix(data, 3, method="spa", known=spectra)
    assert result.noise == "estimated"
    assert result.residual.max() < 1e-3


def test_the_residual_is_that_of_the_reconstruction(rng) -> None:
    data = rng.normal(5, 1, (6, 7, 30)).clip(0.1)
    result = spectral.unmix(data, 2, method="spa", noise="gaussian")
    left = data - result.reconstruct()
    np.testing.assert_allclose(result.residual, np.sqrt(np.square(left).mean(axis=2)), rtol=1e-9)
    np.testing.assert_allclose(result.residual_spectrum, np.sqrt(np.square(left).mean(axis=(0, 1))), rtol=1e-9)
    np.testing.assert_array_equal(result.reconstruct([3, 5]), result.reconstruct()[..., [3, 5]])


def test_whole_numbers_that_scatter_more_than_counts_are_not_taken_for_counts(rng) -> None:
    counts = rng.poisson(rates(rng, 4000, shape=(16, 16), channels=80))
    assert spectral.unmix(counts, 3).noise == "poisson"
    assert spectral.unmix(np.rint(5.3 * counts), 3).noise == "estimated"
    assert spectral.unmix(5 * counts + rng.integers(0, 2, counts.shape), 3).noise == "estimated"


@pytest.mark.parametrize("channels", [3, 5, 12])
def test_counts_of_few_channels_are_counts(rng, channels) -> None:
    """Components are half of the channels at most, and take as much noise of permuted counts as of these."""
    rate = rng.dirichlet([0.3, 0.3], (24, 24)) @ rng.gamma(1.0, size=(2, channels))
    for size in (1.0, 30.0, 1000.0):
        assert spectral.unmix(rng.poisson(size * rate), 2).noise == "poisson"
    if channels > 3:
        assert spectral.unmix(np.rint(2.3 * rng.poisson(30 * rate)), 2).noise == "estimated"


def test_few_counts_are_smoothed_unless_the_user_says_otherwise(rng) -> None:
    few, many = (rng.poisson(rates(rng, counts, shape=(24, 24), channels=50)) for counts in (10, 40))
    assert spectral.unmix(few, 2).smoothing_px == 1
    assert spectral.unmix(many, 2).smoothing_px == 0
    assert spectral.unmix(few, 2, smoothing_px=0).smoothing_px == 0
    assert spectral.unmix(few, 2, noise="gaussian").smoothing_px == 0


def test_smoothing_stays_inside_the_mask(rng) -> None:
    """The second phase fills the masked part only: nothing of it comes over the rim."""
    spectra = phases(rng, 2, 50)
    mask = np.zeros((20, 20), bool)
    mask[:, :10] = True
    amounts = np.stack([np.where(mask, 10.0, 0), np.where(mask, 0, 1000.0)], axis=-1)
    result = spectral.unmix(amounts @ spectra, 2, method="spa", mask=mask, known=spectra, smoothing_px=2)
    np.testing.assert_allclose(result.abundances[0][mask], 10, rtol=1e-6)
    np.testing.assert_allclose(result.abundances[1][mask], 0, atol=1e-6)


def test_known_spectra_come_first_and_stay(rng) -> None:
    data, spectra, amounts = mixture(rng)
    for method in (name for name, entry in QUICK.items() if entry.known):
        for given in ([2], [2, 0], [2, 0, 1]):
            result = spectral.unmix(data, 3, method=method, known=7 * spectra[given], noise="gaussian")
            np.testing.assert_allclose(result.spectra[: len(given)], spectra[given], rtol=1e-9, err_msg=method)
        np.testing.assert_allclose(result.abundances, amounts[[2, 0, 1]], atol=1e-3 * amounts.max(), err_msg=method)
    for method in (name for name, entry in QUICK.items() if not entry.known):
        with pytest.raises(ParameterError, match="cannot take known"):
            spectral.unmix(data, 3, method=method, known=spectra[:1])


def test_known_spectra_that_the_data_do_not_hold_get_nothing_and_spoil_nothing(rng) -> None:
    """One has lines where there is no count at all, the other one between those of the phases."""
    channels = np.arange(60)
    share = regions(rng, (24, 24), 2)
    share[0, :2] = np.eye(2)
    lines = np.exp(-((channels - np.array([[12], [30]])) ** 2) / 8) + 0.02 * (channels < 50)
    counts = rng.poisson(300 * share @ (lines / lines.sum(axis=1, keepdims=True)))
    absent = np.stack([channels == 55, np.exp(-((channels - 42) ** 2) / 4)]).astype(float)
    for method in (name for name, entry in QUICK.items() if entry.known):
        result = spectral.unmix(counts, 4, method=method, known=absent)
        assert np.isfinite(result.spectra).all(), method
        np.testing.assert_allclose(result.abundances.sum(), counts.sum(), rtol=0.02, err_msg=method)
        assert result.abundances[0].sum() < 1e-6 * counts.sum(), method
        assert result.abundances[1].sum() < 0.03 * counts.sum(), method
        assert np.sqrt(np.mean(result.residual**2)) < 1.1, method


def test_shares_sum_to_one_where_they_are_asked_to(rng) -> None:
    data, _, _ = mixture(rng)
    for method, entry in QUICK.items():
        if entry.sum_to_one:
            result = spectral.unmix(data, 3, method=method, sum_to_one=True, noise="gaussian")
            np.testing.assert_allclose(result.abundances.sum(axis=0), 1, rtol=1e-9, err_msg=method)
            assert (result.abundances >= 0).all(), method
        else:
            with pytest.raises(ParameterError, match="cannot take sum_to_one"):
                spectral.unmix(data, 3, method=method, sum_to_one=True)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((3, 3, 5)), {}, "zero"),
        (np.ones((3, 3)), {}, r"shape \(3, 3\)"),
        (np.full((3, 3, 5), -1.0), {"noise": "poisson"}, "down to -1"),
        (np.full((3, 3, 5), -1.0), {"gain": 2.0}, "down to -1"),
        (np.full((3, 3, 5), np.nan), {}, "NaN"),
        (np.ones((1, 1, 5)), {"n_components": 2}, "no more than 1"),
        (np.ones((9, 9, 5)), {"n_components": 6}, "no more than 5"),
        (np.ones((9, 9, 5)), {"n_components": 2, "method": "spa"}, "mixtures of 1 spectra at most"),
        (np.ones((3, 3, 5)), {"n_components": 0}, "n_components"),
        (np.ones((3, 3, 5)), {"mask": np.zeros((3, 3), bool)}, "False everywhere"),
        (np.ones((3, 3, 5)), {"noise": "shot"}, "noise"),
        (np.ones((3, 3, 5)), {"method": "magic"}, "expected one of 'auto'"),
        (np.ones((3, 3, 5)), {"known": np.ones((1, 6))}, r"known has shape \(1, 6\); expected \(k, 5\)"),
        (np.ones((3, 3, 5)), {"known": np.ones((2, 5))}, "known holds 2"),
        (np.ones((3, 3, 5)), {"known": np.zeros((1, 5))}, "zeros"),
        (np.ones((3, 3, 5)), {"smoothing_px": -1}, "smoothing_px"),
        (np.ones((3, 3, 5)), {"restarts": 0}, "restarts"),
        (np.ones((3, 3, 5)), {"gain": 0}, "gain"),
        (np.ones((3, 3, 5)), {"seed": -1}, "seed"),
        (np.full((3, 3, 5), 1e60), {}, "scale them first"),
        (np.random.default_rng(0).random((2, 2, 5)), {"n_components": 3, "method": "kmeans"}, "too few for 3 clusters"),
        (np.random.default_rng(0).random((2, 2, 5)), {"n_components": 3, "method": "gmm"}, "too few for 3 clusters"),
        (np.random.default_rng(0).random((5, 5, 3)), {"n_components": 3, "method": "ica"}, "hold 1 independent ones"),
        (
            (np.random.default_rng(0).random((10, 10, 50)) < 0.002) * 1,
            {"n_components": 2, "method": "ica"},
            "too noisy",
        ),
    ],
)
def test_what_cannot_be_unmixed_is_refused_in_words(data, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        spectral.unmix(data, **{"n_components": 1, **options})


@pytest.mark.parametrize("spectrum", [np.arange(1.0, 6), np.array([0.5, 1.2, 3.3]), np.array([2.5])])
def test_one_pixel_is_its_own_component(spectrum) -> None:
    for method in QUICK:
        result = spectral.unmix(spectrum[None, None], 1, method=method, smoothing_px=0)
        np.testing.assert_allclose(result.spectra[0], spectrum / spectrum.sum(), rtol=1e-6, err_msg=method)
        np.testing.assert_allclose(result.abundances[0, 0, 0], spectrum.sum(), rtol=1e-6, err_msg=method)


def test_work_reports_its_progress_and_stops_when_asked(rng) -> None:
    data, _, _ = mixture(rng)
    cancel = threading.Event()
    cancel.set()
    for method in QUICK:
        seen: list[float] = []
        spectral.unmix(data, 3, method=method, noise="gaussian", progress=seen.append)
        assert seen == sorted(seen), method
        assert seen[-1] == 1, method
        with pytest.raises(CancelledError):
            spectral.unmix(data, 3, method=method, noise="gaussian", cancel=cancel)


class Lazy:
    """An image that is read in slices, tells how often, and sets an event at some read."""

    chunks = (4, 16, 40)

    def __init__(self, data, cancel, after):
        self.data, self.shape, self.dtype, self.reads = data, data.shape, data.dtype, 0
        self.cancel, self.after = cancel, after

    def __getitem__(self, place):
        self.reads += 1
        if self.reads == self.after:
            self.cancel.set()
        return self.data[place]


@pytest.mark.parametrize("after", [1, 3, 9, 18])
def test_of_a_lazy_image_no_block_is_read_after_a_wish_to_stop(rng, monkeypatch, after) -> None:
    monkeypatch.setattr("esteemcore.lowrank.operators.BLOCK_BYTES", 4 * 16 * 40 * 8)
    counts = rng.poisson(rates(rng, 2000, shape=(16, 16), channels=40))
    cancel = threading.Event()
    image = Lazy(counts, cancel, after)
    with pytest.raises(CancelledError):
        spectral.unmix(image, 3, method="spa", cancel=cancel)
    assert image.reads == after
    image = Lazy(counts, cancel, 0)
    with pytest.raises(CancelledError):
        spectral.unmix(image, 3, method="spa", cancel=cancel)
    assert image.reads == 0


def test_masked_values_are_refused_and_arrays_that_mask_nothing_are_arrays(rng) -> None:
    data, _, _ = mixture(rng)
    bad = np.zeros(data.shape, bool)
    bad[3, 4] = True
    with pytest.raises(ParameterError, match="give its data, and mask="):
        spectral.unmix(np.ma.array(data, mask=bad), 3, method="spa")
    plain, clean = (spectral.unmix(si, 3, method="spa") for si in (np.ma.array(data), data))
    np.testing.assert_array_equal(plain.spectra, clean.spectra)


@pytest.mark.parametrize("module", ["unmix", "pca", "rank"])
def test_the_examples_of_the_docstrings_run(module) -> None:
    result = doctest.testmod(importlib.import_module(f"esteemcore.spectral.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("unit", [2, 10])
def test_counts_in_units_of_their_own_are_unmixed_as_counts(rng, unit) -> None:
    """A camera that writes 10 for an electron: dense or as events, the same as the counts themselves."""
    share = rng.dirichlet([0.3, 0.3], size=(20, 20))
    spectra = rng.dirichlet(np.full(60, 0.3), 2)
    counts = rng.poisson(40 * share @ spectra)
    plain = spectral.unmix(counts, 2)
    for data in (unit * counts, SparseSI.from_dense((unit * counts).astype(np.uint16))):
        found = spectral.unmix(data, 2)
        assert (found.noise, found.method, found.smoothing_px) == (plain.noise, plain.method, plain.smoothing_px)
        np.testing.assert_allclose(found.spectra, plain.spectra, atol=1e-4)
        np.testing.assert_allclose(found.abundances, unit * plain.abundances, rtol=1e-2, atol=0.1 * unit)
        assert np.nanmean(found.residual) == pytest.approx(np.nanmean(plain.residual), rel=1e-2)
