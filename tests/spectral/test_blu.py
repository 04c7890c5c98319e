"""Posterior of spectra and maps: exact where it is known, and intervals that hold the truth as often as they say."""

from __future__ import annotations

import importlib
import itertools

import numpy as np
import pytest
import scipy.sparse
import scipy.special
import scipy.stats

from esteemcore import spectral
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral.methods._abundance_prior import CONCENTRATION, RANGE, AbundancePrior
from esteemcore.spectral.methods._blu_kernels import SINGLE, deal_again, deal_to_components, deal_to_sources
from esteemcore.spectral.methods._convergence import effective_draws, split_r_hat
from esteemcore.spectral.methods._gaussian_chain import GaussianChain, positive_normal
from esteemcore.spectral.methods._gaussian_kernels import between, draw_abundances, log_mass
from esteemcore.spectral.methods._poisson_chain import PoissonChain, _neighbours
from esteemcore.spectral.methods._sieve import Sieve


def specimen(rng, shape=(16, 16), channels=48, counts=40, shared=0.0):
    """Return spectra (3, energy) and abundances (3, y, x): layers with soft rims and a thickness that changes.

    The lines of the first spectrum are shared by the second one in so many parts.
    """
    channel = np.arange(channels)
    at = (np.arange(6) * channels / 6.0 + rng.uniform(2, channels / 6 - 2, 6)).reshape(2, 3).T
    peaks = np.exp(-0.5 * ((channel - at[..., None]) / 1.5) ** 2).sum(axis=1)
    peaks[1] += shared * peaks[0]
    level = np.exp(-channel / 20.0)
    spectra = 0.75 * peaks / peaks.sum(axis=1, keepdims=True) + 0.25 * level / level.sum()
    thickness = np.linspace(0.7, 1.3, shape[1])
    y = np.arange(shape[0])[:, None] + 0.2 * np.arange(shape[1])
    ends = 1 / (1 + np.exp((y - np.array([5.0, 11.0])[:, None, None]) / 0.4))
    share = np.stack([ends[0], ends[1] - ends[0] * ends[1], 1 - ends[1]])
    return spectra, counts * thickness * share / share.sum(axis=0)


@pytest.fixture
def one_round(monkeypatch) -> None:
    """Do not go on until the chains agree."""
    monkeypatch.setattr(importlib.import_module("esteemcore.spectral.methods.blu"), "ROUNDS", 1)


def draws_of(chain, number, value):
    found = []
    for _ in range(number):
        chain.sweep()
        found.append(value(chain).copy())
    return np.array(found)


@pytest.mark.parametrize("largest", [3, 10 * SINGLE])
def test_counts_are_dealt_by_their_rates(rng, largest) -> None:
    counts = rng.integers(0, largest, (5, 7))
    rows = scipy.sparse.csr_array(counts)
    abundances, spectra = rng.random((5, 3)), rng.random((7, 3))
    share = abundances[:, None] * spectra / (abundances @ spectra.T)[..., None]
    expected = counts[..., None] * share
    by_pixel, by_channel = np.empty((5, 3)), np.empty((7, 3))
    total = np.zeros((5, 3))
    trials = 1000
    for _ in range(trials):
        deal_to_components(rng, rows.indptr, rows.indices, rows.data, abundances, spectra, by_pixel, by_channel)
        np.testing.assert_array_equal(by_pixel.sum(axis=1), counts.sum(axis=1))
        np.testing.assert_array_equal(by_channel.sum(axis=1), counts.sum(axis=0))
        np.testing.assert_array_equal(by_channel.sum(axis=0), by_pixel.sum(axis=0))
        total += by_pixel
    error = np.sqrt((expected * (1 - share)).sum(axis=1) / trials)
    assert (np.abs(total / trials - expected.sum(axis=1)) < 4.5 * error + 1e-9).all()


def test_counts_of_a_blurred_map_are_dealt_to_their_sources(rng) -> None:
    mask = rng.random((7, 8)) < 0.8
    sieve = Sieve(mask, 0.8)
    number = int(mask.sum())
    counts, sources = rng.integers(0, 4, (number, 2)).astype(float), rng.random((number, 2))
    total, one = np.zeros((number, 2)), np.empty((number, 2))
    for _ in range(2000):
        deal_to_sources(rng, counts, *_neighbours(sieve), sources, one)
        assert one.sum() == counts.sum()
        total += one
    expected = sources * sieve.of_maps(counts / sieve.of_maps(sources))
    np.testing.assert_allclose(total / 2000, expected, atol=5 * np.sqrt(expected.max() / 2000))


def split_exactly(counts, spectra, concentration):
    """Return all ways to share the counts of a pixel out to two components, and their probabilities, unnormalised."""
    channel = np.repeat(np.arange(len(counts)), counts)
    ways = np.array(list(itertools.product((0, 1), repeat=len(channel))))
    first = (ways == 0).sum(axis=1)
    split = np.stack([first, len(channel) - first], axis=1)
    size = sum(concentration)
    chance = spectra[channel, ways].prod(axis=1) * np.prod(
        [scipy.special.poch(a, number) for a, number in zip(concentration, split.T, strict=True)], axis=0
    )
    return split, chance / scipy.special.poch(size, len(channel))


def test_counts_are_dealt_again_as_often_as_each_split_is_probable(rng) -> None:
    counts, concentration = np.array([[2, 0, 1, 2], [0, 1, 0, 0]]), np.array([0.2, 0.6])
    rows, spectra = scipy.sparse.csr_array(counts), rng.random((4, 2))
    by_pixel, by_channel = np.array([[5.0, 0.0], [1.0, 0.0]]), np.empty((4, 2))
    label = np.zeros(6, np.int16)
    seen = np.zeros(6)
    trials = 20_000
    for _ in range(trials):
        deal_again(
            rng, rows.indptr, rows.indices, rows.data, label, concentration, spectra, by_pixel, by_channel
        )  # fmt: skip
        seen[int(by_pixel[0, 0])] += 1
    np.testing.assert_array_equal(by_pixel.sum(axis=1), counts.sum(axis=1))
    np.testing.assert_array_equal(by_channel.sum(axis=1), counts.sum(axis=0))
    np.testing.assert_array_equal(by_channel.sum(axis=0), by_pixel.sum(axis=0))
    split, chance = split_exactly(counts[0], spectra, concentration)
    expected = np.bincount(split[:, 0], chance) / chance.sum()
    np.testing.assert_allclose(seen / trials, expected, atol=0.03)


def test_what_is_learnt_of_a_few_pixels_is_what_quadrature_gives(rng) -> None:
    """With known spectra, all splits of the counts and a grid of the concentrations give the posterior exactly."""
    spectra = np.array([[0.6, 0.1], [0.3, 0.3], [0.1, 0.6]])
    counts = np.array([[3, 1, 0], [0, 1, 3], [2, 0, 1], [0, 0, 2]])
    grid = np.exp(np.log(CONCENTRATION) + RANGE * np.linspace(-4, 4, 25))
    weight = np.exp(-0.5 * np.linspace(-4, 4, 25) ** 2)
    total, share, concentrations = 0.0, np.zeros(4), np.zeros(2)
    for (u, a), (v, b) in itertools.product(zip(weight, grid, strict=True), repeat=2):
        ways = [split_exactly(row, spectra, (a, b)) for row in counts]
        each = u * v * np.prod([chance.sum() for _, chance in ways])
        total += each
        concentrations += each * np.log([a, b])
        share += each * np.array(
            [chance @ ((a + split[:, 0]) / (a + b + split.sum(axis=1))) / chance.sum() for split, chance in ways]
        )
    chain = PoissonChain(
        scipy.sparse.csr_array(counts), np.ones((4, 2)), spectra.copy(), Sieve(np.ones((2, 2), bool), fixed=2), rng
    )
    found = draws_of(
        chain,
        4000,
        lambda c: np.append(c.abundances[:, 0] / c.abundances.sum(axis=1), np.log(c._prior.concentration)),
    )
    expected = np.append(share, concentrations) / total
    error = found.std(axis=0) / np.sqrt([effective_draws(column[None, :, None])[0] for column in found.T])
    assert (np.abs(found.mean(axis=0) - expected) < 4.5 * error).all()
    assert error[:4].max() < 0.03


def test_abundances_of_a_known_spectrum_are_gamma_distributed(rng, monkeypatch) -> None:
    """With one spectrum, given, shape and rate of the posterior are those of the prior plus counts and exposure."""
    monkeypatch.setattr(AbundancePrior, "thickness", (0.7, 0.2))
    spectrum = rng.random((9, 1))
    counts = rng.poisson(3.0, (6, 9))
    chain = PoissonChain(
        scipy.sparse.csr_array(counts), np.full((6, 1), 5.0), spectrum, Sieve(np.ones((2, 3), bool), fixed=1), rng
    )
    found = draws_of(chain, 3000, lambda c: c.abundances[:, 0])
    for drawn, total in zip(found.T, counts.sum(axis=1), strict=True):
        assert scipy.stats.kstest(drawn, scipy.stats.gamma(0.7 + total, scale=1 / 1.2).cdf).pvalue > 1e-4


def test_a_single_spectrum_is_dirichlet_distributed(rng) -> None:
    counts = rng.poisson(np.linspace(0, 4, 12), (10, 12))
    chain = PoissonChain(
        scipy.sparse.csr_array(counts), np.ones((10, 1)), np.ones((12, 1)), Sieve(np.ones((1, 10), bool)), rng
    )
    found = draws_of(chain, 3000, lambda c: c.spectra[:, 0])
    np.testing.assert_allclose(found.sum(axis=1), 1)
    shape = 0.5 + counts.sum(axis=0)
    for j, drawn in enumerate(found.T):
        assert scipy.stats.kstest(drawn, scipy.stats.beta(shape[j], shape.sum() - shape[j]).cdf).pvalue > 1e-4


@pytest.mark.parametrize("concentration", [(0.08, 0.15), (6.0, 3.0)], ids=["grains", "mixtures"])
def test_whether_pixels_are_pure_or_mixed_is_learnt(rng, concentration) -> None:
    prior = AbundancePrior(8.0, 2, rng)
    counts = rng.poisson(rng.gamma(4.0, 10.0, (3000, 1)) * rng.dirichlet(concentration, 3000)).astype(float)
    found = []
    for _ in range(400):
        prior.learn(counts)
        found.append([*prior.thickness, *prior.concentration])
    assert np.mean(found[200:], axis=0) == pytest.approx([4, 0.1, *concentration], rel=0.15)


def test_normal_distributions_are_cut_at_zero(rng) -> None:
    for mean in (-15.0, -2.0, 0.3, 6.0):
        drawn = positive_normal(rng, np.full(4000, mean), 1.5)
        assert drawn.min() >= 0
        assert scipy.stats.kstest(drawn, scipy.stats.truncnorm(-mean / 1.5, np.inf, mean, 1.5).cdf).pvalue > 1e-4


def test_normal_distributions_between_bounds_are_those_of_scipy(rng) -> None:
    for low, high in ((-9.0, 0.5), (-0.3, 0.2), (0.1, 3.0), (0.8, 0.9), (2.0, 40.0), (6.0, np.inf), (7.0, 7.01)):
        for a, b in ((low, high), (-high, -low)):
            exact = scipy.stats.norm.logsf(low) + np.log1p(
                -np.exp(scipy.stats.norm.logsf(high) - scipy.stats.norm.logsf(low))
            )
            assert log_mass(a, b) == pytest.approx(exact + 0.5 * np.log(2 * np.pi), abs=2e-3)
            drawn = np.array([between(rng, a, b) for _ in range(1500)])
            assert scipy.stats.kstest(drawn, scipy.stats.truncnorm(a, b).cdf).pvalue > 1e-4


def test_abundances_of_values_are_drawn_from_their_posterior(rng) -> None:
    """Draws of the prior, weighted by the likelihood, give the posterior of a pixel: sets of components and amounts."""
    spectra, sigma, rate = rng.random((6, 3)), 0.5, 0.5
    data = spectra @ [1.2, 0.5, 0.0] + rng.normal(0, sigma, 6)
    often, concentration = np.array([0.2, 0.4, 0.4]), np.array([0.2, 0.4, 1.0])
    masks = np.array([m for m in itertools.product((0, 1), repeat=3) if sum(m)])
    size = masks.sum(axis=1)
    chance = often[size - 1] / scipy.special.comb(3, size)
    which = rng.choice(7, 300_000, p=chance)
    share = rng.standard_gamma(concentration, (len(which), 3)) * masks[which]
    prior = share / share.sum(axis=1, keepdims=True) * rng.exponential(1 / rate, (len(which), 1))
    weight = np.exp(-0.5 * np.square(data - prior @ spectra.T).sum(axis=1) / sigma**2)
    weight /= weight.sum()
    pixels = 4000
    found = np.ones((pixels, 3))
    sets = np.append(0.0, np.log(often / scipy.special.comb(3, np.arange(1, 4))))
    products, gram = np.tile(data @ spectra, (pixels, 1)), spectra.T @ spectra
    for _ in range(150):
        draw_abundances(rng, products, gram, sigma**2, rate, sets, concentration, found)
    for of_prior, of_chain in (
        (prior, found),
        (prior**2, found**2),
        ((masks[which][:, None] == masks).all(axis=2), ((found > 0)[:, None] == masks).all(axis=2)),
    ):
        exact = weight @ of_prior
        error = np.sqrt((weight**2 + weight / pixels) @ np.square(of_prior - exact))
        assert (np.abs(of_chain.mean(axis=0) - exact) < 4.5 * error + 1e-9).all()


def test_how_many_components_pixels_have_and_how_they_share_is_learnt(rng) -> None:
    often, concentration = np.array([0.6, 0.3, 0.1]), np.array([0.25, 0.5, 0.9])
    has = rng.random((6000, 3)).argsort(axis=1) < rng.choice([1, 2, 3], (6000, 1), p=often)
    share = rng.standard_gamma(concentration, (6000, 3)) * has
    chain = GaussianChain(np.ones((6000, 4)), 24000.0, share, np.ones((4, 3)), np.ones(4), 0, rng)
    sets, learnt = [], []
    for _ in range(300):
        sets.append(np.exp(chain._sets()[1:]) * scipy.special.comb(3, np.arange(1, 4)))
        chain._learn()
        learnt.append(chain.concentration)
    np.testing.assert_allclose(np.mean(sets, axis=0), often, atol=0.03)
    np.testing.assert_allclose(np.mean(learnt[100:], axis=0), concentration, rtol=0.15)


def test_values_with_a_known_spectrum_have_their_least_squares_error(rng) -> None:
    spectrum, amounts, sigma = rng.random((50, 1)), rng.uniform(125, 250, (200, 1)), 0.3
    spectrum /= spectrum.sum()
    data = amounts @ spectrum.T + rng.normal(0, sigma, (200, 50))
    chain = GaussianChain(data, float((data**2).sum()), amounts.copy(), spectrum.copy(), np.ones(50), 1, rng)
    found = draws_of(chain, 500, lambda c: c.abundances[:, 0])[50:]
    size = float((spectrum**2).sum())
    np.testing.assert_allclose(found.std(axis=0).mean(), sigma / np.sqrt(size), rtol=0.05)
    np.testing.assert_allclose(found.mean(axis=0), (data @ spectrum)[:, 0] / size, atol=5 * sigma / np.sqrt(size))
    assert chain.variance == pytest.approx(sigma**2, rel=0.1)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_spectra_of_values_keep_unit_sum_and_a_component_without_pixels_its_spectrum(rng, weight, monkeypatch) -> None:
    channel = np.linspace(1.0, weight, 20)
    spectra = rng.random((20, 3))
    spectra /= spectra.sum(axis=0)
    amounts = np.column_stack([50 * rng.dirichlet([0.3, 0.3], 100), np.zeros(100)])
    data = channel * (amounts @ spectra.T + rng.normal(0, 0.2, (100, 20)))
    chain = GaussianChain(data, float((data**2).sum()), amounts, 7 * channel[:, None] * spectra, channel, 0, rng)
    np.testing.assert_allclose(chain.abundances, 7 * amounts)  # the product is what it was
    chain.abundances /= 7
    for _ in range(20):
        chain.sweep()
        np.testing.assert_allclose((chain.spectra / channel[:, None]).sum(axis=0), 1)
    before = chain.spectra.copy()
    chain.abundances[:, 2] = 0
    monkeypatch.setattr(importlib.import_module(GaussianChain.__module__), "draw_abundances", lambda *args: None)
    chain.sweep()
    np.testing.assert_allclose(chain.spectra[:, 2], before[:, 2])
    assert not np.allclose(chain.spectra[:, 0], before[:, 0])
    assert np.isfinite(chain.abundances).all()


def test_a_known_spectrum_may_have_no_sum(rng, one_round) -> None:
    """A difference of spectra, whose amounts are those of its own scale."""
    channel = np.arange(40)
    known = np.sin(2 * np.pi * channel / 40)[None]
    other = np.exp(-channel / 15.0)
    share = rng.choice([0.0, 1.0], (10, 10, 1)) * rng.uniform(0.5, 1, (10, 10, 1))
    data = 300 * share * known[0] + 200 * (1 - share) * other + rng.normal(0, 1, (10, 10, 40))
    found = spectral.unmix(data, 2, method="blu", noise="gaussian", known=known)
    truth = 300 * share[..., 0] * np.abs(known).sum()
    assert np.corrcoef(np.abs(found.abundances[0]).ravel(), truth.ravel())[0, 1] > 0.99
    assert np.abs(found.abundances[0]).mean() == pytest.approx(truth.mean(), rel=0.05)


def test_more_components_than_the_values_have_end_and_are_told(rng, one_round) -> None:
    share = np.linspace(0, 1, 8)[None, :, None] * np.ones((8, 1, 1))
    spectra = rng.gamma(0.5, size=(2, 40))
    data = share * spectra[0] + (1 - share) * spectra[1] + rng.normal(0, 0.1, (8, 8, 40))
    found = spectral.unmix(data, 4, method="blu", noise="gaussian")
    assert np.isfinite(found.spectra).all()
    assert np.isfinite(found.abundances).all()


def test_nothing_lies_between_equal_bounds(rng) -> None:
    assert between(rng, 2.0, 2.0) == 2.0
    assert between(rng, 0.3, 0.3) == 0.3
    assert np.isnan(between(rng, np.nan, 1.0))


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside, errors, widths = [], [], []
    for seed, shared in enumerate((0.0, 0.7)):
        rng = np.random.default_rng(seed)
        spectra, truth = specimen(rng, shared=shared)
        counts = rng.poisson(np.tensordot(np.moveaxis(truth, 0, -1), spectra, 1))
        found = spectral.unmix(SparseSI.from_dense(counts), 3, method="blu", smoothing_px=0)
        order = _like(found.spectra, spectra)
        for value, sigma, right in (
            (found.spectra[order], found.uncertainty.spectra[order], spectra),
            (found.abundances[order], found.uncertainty.abundances[order], truth),
        ):
            inside.append(np.mean(np.abs(value - right) < 2 * sigma))
            errors.append(np.square(value - right).sum() / np.square(right).sum())
            widths.append(np.square(sigma).sum() / np.square(right).sum())
        assert any("chains of" in note for note in found.notes)
    assert 0.90 < np.mean(inside[::2]) < 0.99
    assert 0.90 < np.mean(inside[1::2]) < 0.99
    ratio = np.sqrt(np.array(widths).reshape(2, 2).sum(axis=0) / np.array(errors).reshape(2, 2).sum(axis=0))
    assert ((ratio > 0.75) & (ratio < 1.4)).all()


@pytest.mark.parametrize("given", [True, False], ids=["known", "unknown"])
def test_intervals_of_values_with_gaussian_noise_hold_the_truth(given) -> None:
    rng = np.random.default_rng(5)
    spectra, truth = specimen(rng, counts=1000)
    data = np.tensordot(np.moveaxis(truth, 0, -1), spectra, 1)
    noisy = data + rng.normal(0, 0.1 * data.max(), data.shape)
    known = spectra if given else None
    found = spectral.unmix(noisy, 3, method="blu", noise="gaussian", known=known)
    order = _like(found.spectra, spectra)
    inside = np.abs(found.abundances[order] - truth) < 2 * found.uncertainty.abundances[order]
    assert 0.9 < inside.mean() < 0.995
    if not given:
        inside = np.abs(found.spectra[order] - spectra) < 2 * found.uncertainty.spectra[order]
        assert 0.88 < inside.mean() < 0.995
        assert not any("do not agree" in note for note in found.notes)
    assert any("no counts" in note for note in found.notes)


def test_known_spectra_have_no_error_and_masked_pixels_no_value(rng, one_round) -> None:
    spectra, truth = specimen(rng)
    counts = rng.poisson(np.tensordot(np.moveaxis(truth, 0, -1), spectra, 1))
    mask = np.ones(counts.shape[:2], bool)
    mask[:5, 3:9] = False
    found = spectral.unmix(SparseSI.from_dense(counts), 3, method="blu", known=spectra[:2], mask=mask)
    np.testing.assert_allclose(found.spectra[:2], spectra[:2])
    np.testing.assert_allclose(found.uncertainty.spectra[:2], 0, atol=1e-7)
    assert found.uncertainty.spectra[2].max() > 1e-4
    assert (np.isnan(found.uncertainty.abundances) == ~mask).all()
    assert np.nansum(found.abundances) == pytest.approx(counts[mask].sum(), rel=0.02)


def test_the_same_seed_gives_the_same_posterior_and_dense_counts_that_of_sparse_ones(rng, one_round) -> None:
    spectra, truth = specimen(rng, shape=(10, 10), channels=36)
    counts = rng.poisson(np.tensordot(np.moveaxis(truth, 0, -1), spectra, 1))
    first = spectral.unmix(SparseSI.from_dense(counts), 2, method="blu", seed=3)
    second = spectral.unmix(counts, 2, method="blu", seed=3)
    np.testing.assert_allclose(first.spectra, second.spectra, atol=2e-2 * first.spectra.max())
    again = spectral.unmix(counts, 2, method="blu", seed=3)
    np.testing.assert_array_equal(again.abundances, second.abundances)


def test_chains_that_disagree_are_told(rng, one_round) -> None:
    """Two components of one phase: nothing says how to divide it."""
    counts = rng.poisson(np.tile(8 * np.exp(-np.arange(20) / 8.0), (8, 8, 1)))
    found = spectral.unmix(counts, 2, method="blu", smoothing_px=0)
    alone = spectral.unmix(counts, 1, method="blu", smoothing_px=0)
    doubtful = any("do not agree" in note for note in found.notes)
    wide = found.uncertainty.spectra.max() > 3 * alone.uncertainty.spectra.max()
    assert doubtful or wide
    assert not any("do not agree" in note for note in alone.notes)


def test_lazy_images_and_sums_to_one_are_refused(rng) -> None:
    import dask.array as da

    counts = rng.poisson(1.0, (5, 5, 20))
    with pytest.raises(ParameterError, match="in memory"):
        spectral.unmix(da.from_array(counts), 2, method="blu")
    with pytest.raises(ParameterError, match="sum_to_one"):
        spectral.unmix(counts, 2, method="blu", sum_to_one=True)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (0.4 * (np.arange(90).reshape(3, 3, 10) % 7), {"noise": "poisson"}, "no whole numbers"),
        (
            np.arange(90).reshape(3, 3, 10) % 7,
            {"noise": "poisson", "known": np.linspace(-1, 1, 10)[None]},
            "below zero",
        ),
        (np.arange(90.0).reshape(3, 3, 10), {"noise": "gaussian", "smoothing_px": 2}, "give smoothing_px=0"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(data, options, message) -> None:
    with pytest.raises(ParameterError, match=message):
        spectral.unmix(data, 2, method="blu", **options)


def test_effective_draws_of_a_correlated_series(rng) -> None:
    for rho in (0.0, 0.5, 0.9):
        chains = np.empty((2, 8000, 1))
        chains[:, 0] = rng.standard_normal((2, 1))
        for t in range(1, 8000):
            chains[:, t] = rho * chains[:, t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal((2, 1))
        assert effective_draws(chains)[0] == pytest.approx(16000 * (1 - rho) / (1 + rho), rel=0.2)
        assert split_r_hat(chains)[0] == pytest.approx(1, abs=0.01)


def test_chains_apart_and_chains_that_drift_have_a_scale_reduction(rng) -> None:
    chains = rng.standard_normal((2, 500, 3))
    chains[1, :, 1] += 2
    chains[:, :, 2] += np.linspace(0, 4, 500)
    found = split_r_hat(chains)
    assert found[0] < 1.02
    assert min(found[1:]) > 1.2


def _like(found, truth) -> np.ndarray:
    from scipy.optimize import linear_sum_assignment

    f, t = (s / np.linalg.norm(s, axis=1, keepdims=True) for s in (found, truth))
    return linear_sum_assignment(-(t @ f.T))[1]
