"""What is called sure is sure: spikes, no noise, smoothed noise, values of a gain and fine layers deceive no one."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
import scipy.sparse
from known_spectra import rates
from scipy.ndimage import gaussian_filter

from esteemcore import spectral
from esteemcore.errors import CancelledError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral import _rank_levels, _rank_tests


@pytest.fixture
def spectrum():
    spectrum = np.random.default_rng(5).gamma(0.5, size=60)
    return spectrum / spectrum.sum()


@pytest.mark.parametrize("sigma", [None, 1.0])
@pytest.mark.parametrize("spikes", [(15,), (50,), (1e3,), (1e5,), (30, 80, 500, 4e3)])
def test_spikes_are_no_components(rng, spectrum, sigma, spikes) -> None:
    noise = np.sqrt(spectrum) if sigma is None else 1.0
    data = 100 * rng.gamma(2, size=(24, 24, 1)) * spectrum + noise * rng.standard_normal((24, 24, 60))
    for k, spike in enumerate(spikes):
        data[3 + 5 * k, 4 + 2 * k, 10 + 3 * k] += spike * np.broadcast_to(noise, 60)[10 + 3 * k]
    result = spectral.estimate_rank(data, noise="gaussian", sigma=sigma)
    assert (result.n, result.at_least) == (1, 1), result.reason


@pytest.mark.parametrize("spike", [20, 100, 5_000])
def test_a_spike_in_counts_is_no_component(rng, spike) -> None:
    counts = rng.poisson(rates(rng, 50, 2, (32, 32), 100))
    counts[5, 7, 60] += spike
    result = spectral.estimate_rank(counts)
    assert (result.n, result.noise) == (2, "poisson"), result.reason
    assert ("spikes" in result.reason) == (spike > 20)


def test_a_phase_of_a_few_pixels_is_a_component(rng) -> None:
    rate = rates(rng, 200, 1, (32, 32), 100)
    rate[10:12, 20:22] = 200 * np.roll(rate[0, 0], 40) / rate[0, 0].sum()
    assert spectral.estimate_rank(rng.poisson(rate)).n == 2
    camera = rate + 0.7 * rng.standard_normal(rate.shape)
    assert spectral.estimate_rank(camera, noise="gaussian", sigma=0.7).n == 2


def no_noise(name):
    rng = np.random.default_rng(1)
    if name == "constant":
        return np.full((12, 12, 20), 1.5)
    exact = rng.random((20, 20, 2)) @ rng.random((2, 50))
    if name == "two phases":
        return exact
    measured = 100 * exact + rng.standard_normal(exact.shape)
    return spectral.pca(measured, 5, "gaussian").reconstruct().astype(name)


@pytest.mark.parametrize("name", ["constant", "two phases", "f4", "f8"])
def test_without_noise_nothing_is_told(name) -> None:
    result = spectral.estimate_rank(no_noise(name))
    assert (result.n, result.at_least) == (None, 0)
    assert "no noise to compare with" in result.reason


@pytest.mark.parametrize("blur", [(0.5, 0.5, 0), (0, 0, 0.5), (1, 1, 0), (0, 0, 1), (2, 2, 0), (0, 0, 2), (1, 1, 1)])
@pytest.mark.parametrize("n", [1, 2])
def test_noise_that_neighbours_share_makes_no_components(rng, blur, n) -> None:
    counts = rng.poisson(rates(rng, 2e4, n, (32, 32), 60)).astype(float)
    result = spectral.estimate_rank(gaussian_filter(counts, blur))
    assert result.n in (n, None), result.reason
    assert result.at_least <= n
    if max(blur) == 2:
        assert result.at_least == 0
        assert "not smoothed" in result.reason


@pytest.mark.parametrize("per_pixel", [1, 40])
@pytest.mark.parametrize("kind", [np.asarray, SparseSI.from_dense])
def test_whole_numbers_of_a_gain_are_no_single_counts(rng, spectrum, per_pixel, kind) -> None:
    counts = rng.poisson(rng.gamma(2, size=(32, 32, 1)) * per_pixel / 2 * spectrum)
    single, double = spectral.estimate_rank(kind(counts)), spectral.estimate_rank(kind(2 * counts))
    assert single.n == double.n == 1
    np.testing.assert_allclose(double.curve, single.curve)
    refused = spectral.estimate_rank(kind(2 * counts), noise="poisson")
    assert (refused.n, refused.at_least) == (None, 0)
    assert "give gain" in refused.reason
    odd = kind(np.rint(2.3 * counts).astype(int))
    assert spectral.estimate_rank(odd, gain=2.3).n == 1
    assert spectral.estimate_rank(odd).at_least <= 1


@pytest.mark.parametrize("per_pixel", [2, 20, 200])
def test_counts_are_known_by_their_scatter(per_pixel) -> None:
    """Components of few events in few channels take much of their noise, which must not make them anything else."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        spectrum = rng.gamma(0.3, size=40)
        counts = rng.poisson(per_pixel * rng.gamma(2, size=(24, 24, 1)) * spectrum / spectrum.sum())
        result = spectral.estimate_rank(counts)
        assert (result.n, result.noise) == (1, "poisson"), result.reason


def test_readout_noise_is_estimated(rng) -> None:
    data = np.rint(3 * rng.poisson(rates(rng, 3_000, 2, (32, 32), 100)) + 4 * rng.standard_normal((32, 32, 100)))
    result = spectral.estimate_rank(data, gain=3.0, readout_sigma=4.0)
    assert (result.n, result.noise) == (2, "estimated")
    with pytest.raises(ParameterError, match="no multiples of 3"):
        spectral.estimate_rank(np.full((8, 8, 20), 3.5), noise="poisson", gain=3.0)


class Lazy:
    """An array that is read in slices."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype

    def __getitem__(self, place):
        return self.data[place]


@pytest.mark.parametrize("kind", [np.asarray, Lazy, SparseSI.from_dense])
def test_layers_finer_than_the_bins_are_seen(rng, monkeypatch, kind) -> None:
    """The image is taken for too large to be looked at whole: single pixels are, at random."""
    monkeypatch.setattr(_rank_levels, "MATRIX_ENTRIES", 60_000)
    monkeypatch.setattr(_rank_levels, "EVENTS", 20_000)
    spectra = rng.gamma(0.3, size=(2, 40))
    layers = np.arange(64)[:, None] % 2 == [1, 0]
    rate = layers @ (20 * spectra / spectra.sum(axis=1, keepdims=True))
    result = spectral.estimate_rank(kind(rng.poisson(np.repeat(rate[:, None], 64, axis=1))))
    assert (result.n, result.bins) == (2, (1, 1)), result.reason
    assert "chosen at random" in result.reason


def test_values_that_have_no_squares_are_refused() -> None:
    with pytest.raises(ParameterError, match="values up to 1e"):
        spectral.estimate_rank(np.full((8, 8, 20), -1e300))


@pytest.mark.parametrize("camera", [False, True])
def test_it_stops_within_a_level(rng, camera) -> None:
    """Events are permuted and split many times; the wish to stop is heard between them."""
    data = rng.poisson(rates(rng, 20, 2, (16, 16), 60)) + 0.5 * camera
    steps: list[float] = []
    spectral.estimate_rank(data, progress=steps.append)
    levels = len(_rank_levels.levels_of(spectral.rank.spectra_of(data)))
    assert len(steps) > 5 * levels
    for after in range(0, len(steps) - 2, 3):
        stop, told = threading.Event(), []

        def wish(done, stop=stop, told=told, after=after) -> None:
            told.append(done)
            if len(told) > after:
                stop.set()

        with pytest.raises(CancelledError):
            spectral.estimate_rank(data, progress=wish, cancel=stop)
        assert len(told) == after + 1


@pytest.mark.parametrize("filled", [0.01, 0.3])
@pytest.mark.parametrize("shape", [(300, 40), (40, 300)])
def test_singular_values_of_compressed_rows_are_those_of_the_matrix(monkeypatch, filled, shape) -> None:
    """However they are multiplied: as compressed rows, or as dense blocks of rows where these are well filled."""
    monkeypatch.setattr(_rank_tests, "BLOCK_BYTES", 8 * 40 * 7)
    rows = scipy.sparse.random_array(shape, density=filled, format="csr", rng=np.random.default_rng(0))
    expected = np.linalg.svd(rows.toarray(), compute_uv=False)
    np.testing.assert_allclose(_rank_tests.singular_values(rows), expected, atol=1e-6 * expected[0])


@pytest.mark.parametrize("counts", [100, 3000])
def test_whole_numbers_that_were_denoised_before_they_were_rounded_tell_nothing(rng, counts) -> None:
    """What rounding leaves of small smooth values looks like dozens of components."""
    measured = rng.poisson(rates(rng, counts, shape=(26, 26), channels=100))
    rounded = np.maximum(np.rint(spectral.pca(measured, 3).reconstruct()), 0)
    found = spectral.estimate_rank(rounded)
    assert (found.n, found.at_least) == (None, 0)
    assert "scatter by no more than rounding does" in found.reason
    assert spectral.estimate_rank(measured).n == 3
    if counts >= 500:  # of a gain below one, rounded too, there is more than rounding
        assert spectral.estimate_rank(np.rint(0.3 * measured)).n == 3


@pytest.mark.parametrize("shape", [(1, 1, 80), (5, 5, 1)])
@pytest.mark.parametrize("counts", [True, False])
def test_of_one_pixel_or_one_channel_nothing_can_be_told(rng, shape, counts) -> None:
    data = rng.poisson(8, shape) if counts else 50 + rng.standard_normal(shape)
    found = spectral.estimate_rank(data)
    assert (found.n, found.at_least) == (None, 0)
    assert re.search(r"cannot be told: \d+ pixels and \d+ channels; at least \d+ of each are needed", found.reason)
