"""Factors of counts: a likelihood that never falls, the same answer as others have, and the noise that it leaves."""

from __future__ import annotations

import importlib
import tracemalloc

import numpy as np
import pytest
import scipy.sparse
from known_spectra import angles, phases, rates, regions
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from esteemcore import spectral
from esteemcore.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.lowrank import RowBlocks
from esteemcore.spectral.methods._line_width import deblurred, line_width
from esteemcore.spectral.methods._nmf_kernels import (
    quotients,
    shares_of_counts,
    stepped,
    sum_of_logarithms,
    taken_by_prior,
)
from esteemcore.spectral.methods._poisson_factors import LEAST_SOURCE, maximise
from esteemcore.spectral.methods._sieve import TRUNCATE, Sieve


def share_error(found, truth) -> float:
    """Return the RMS error of the shares of the components in pixels, shapes (n, pixels), matched by likeness."""
    from scipy.optimize import linear_sum_assignment

    f, t = (np.maximum(a, 0) / np.maximum(np.maximum(a, 0).sum(axis=0), 1e-12) for a in (found, truth))
    distance = np.square(t[:, None] - f[None]).sum(axis=-1)
    return float(np.sqrt(np.mean((f[linear_sum_assignment(distance)[1]] - t) ** 2)))


def start(rng, counts, n):
    total = np.asarray(counts.sum(axis=1)).reshape(-1, 1)
    lines = rng.uniform(0.5, 1.5, (counts.shape[1], n))
    return np.repeat(total / n + 0.1, n, axis=1), lines / lines.sum(axis=0)


def divergence(counts, model) -> float:
    """Return the Kullback-Leibler divergence of counts (dense) from their model."""
    return float(scipy.special.kl_div(counts, np.maximum(model, 1e-300)).sum())


@pytest.mark.parametrize("n", [1, 3, 4, 6])
def test_the_kernel_shares_counts_as_numpy_does(rng, n) -> None:
    counts = rng.poisson(rates(rng, 40, shape=(6, 7), channels=50)).reshape(42, 50).astype(float)
    rows = scipy.sparse.csr_array(counts)
    abundances, spectra = rng.random((42, n)), rng.random((50, n))
    by_pixel, by_channel = np.empty_like(abundances), np.empty_like(spectra)
    given = (rows.indptr, rows.indices, rows.data, abundances, spectra, by_pixel, by_channel)
    model = abundances @ spectra.T
    assert shares_of_counts(*given, True) == pytest.approx((counts * np.log(model)).sum())
    ratio = counts / model
    for _ in range(2):
        np.testing.assert_allclose(by_pixel, abundances * (ratio @ spectra))
        np.testing.assert_allclose(by_channel, spectra * (ratio.T @ abundances))
        assert shares_of_counts(*given, False) == 0
    assert by_pixel.sum() == pytest.approx(counts.sum())


def test_steps_of_maps_are_those_of_numpy(rng) -> None:
    sources, ratio, reach = rng.random((30, 3)), rng.random((30, 3)) * 2, rng.random((30, 3)) + 0.5
    sources[:3], ratio[5] = 0, 0
    made = ratio.copy()
    taken_by_prior(sources, made, reach, 0.2, 0.01)
    expected = sources * ratio / reach
    taken = np.maximum(expected - 0.2 / reach, np.minimum(expected, 0.01))
    np.testing.assert_allclose(made, np.divide(taken, sources, out=np.zeros_like(taken), where=sources > 0))
    assert sum_of_logarithms(sources, 0.01) == pytest.approx(np.log(np.maximum(sources, 0.01)).sum())
    quotients(taken, sources, made)
    np.testing.assert_allclose(made, np.divide(taken, sources, out=np.zeros_like(taken), where=sources > 0))
    out = np.empty_like(ratio)
    stepped(sources, ratio, 1.0, out)
    np.testing.assert_allclose(out, sources * ratio)
    near = 1 + 1e-4 * rng.standard_normal(ratio.shape)
    stepped(sources, near, 6.0, out)
    np.testing.assert_allclose(out, sources * near**6, rtol=1e-5)
    stepped(sources, 1e3 * ratio, 6.0, out)
    assert (out >= 0).all()


@pytest.mark.parametrize(("pixels", "channels"), [(1.0, 2.3), (2.5, 9.0), (0.1, 0.1)])
def test_blurs_are_gaussians(rng, pixels, channels) -> None:
    sieve = Sieve(np.ones((7, 12), bool), pixels, channels)
    maps, spectra = rng.random((84, 4)), rng.random((20, 2))
    expected = gaussian_filter(maps.reshape(7, 12, 4), (pixels, pixels, 0), mode="constant", truncate=TRUNCATE)
    np.testing.assert_allclose(sieve.of_maps(maps), expected.reshape(84, 4))
    expected = gaussian_filter1d(spectra, channels, axis=0, mode="constant", truncate=TRUNCATE)
    np.testing.assert_allclose(sieve.of_spectra(spectra), expected)


@pytest.mark.parametrize(("pixels", "channels", "fixed"), [(0.0, 0.0, 0), (1.0, 0.0, 0), (0.0, 2.0, 1), (1.3, 1.5, 1)])
def test_the_likelihood_never_falls(rng, pixels, channels, fixed) -> None:
    mask = rng.random((14, 15)) < 0.9
    counts = scipy.sparse.csr_array(rng.poisson(rates(rng, 20, shape=(14, 15), channels=60))[mask].astype(float))
    sources, lines = start(rng, counts, 3)
    fit = maximise(counts, sources, lines, Sieve(mask, pixels, channels, fixed), iterations=150, tolerance=0)
    model = fit.abundances @ fit.spectra.T
    dense = counts.toarray()
    by_hand = float((dense * np.log(np.where(dense > 0, model, 1))).sum() - fit.abundances.sum())
    assert fit.likelihood[-1] == pytest.approx(by_hand, rel=1e-9)
    assert (np.diff(fit.likelihood) >= -1e-10 * abs(by_hand)).all()
    assert fit.likelihood[-1] > fit.likelihood[0] + 50
    np.testing.assert_allclose(fit.spectra.sum(axis=0), 1)
    np.testing.assert_allclose(fit.spectra[:, :fixed], lines[:, :fixed])
    assert fit.abundances.min() >= 0


@pytest.mark.parametrize(("pixels", "prior"), [(0.0, 0.5), (1.0, 0.04)])
def test_likelihood_times_prior_never_falls(rng, pixels, prior) -> None:
    counts = scipy.sparse.csr_array(rng.poisson(rates(rng, 20, shape=(14, 15), channels=60)).reshape(210, 60) * 1.0)
    sources, lines = start(rng, counts, 3)
    fit = maximise(
        counts, sources, lines, Sieve(np.ones((14, 15), bool), pixels), iterations=150, tolerance=0, prior=prior
    )
    model, dense = fit.abundances @ fit.spectra.T, counts.toarray()
    by_hand = (dense * np.log(np.where(dense > 0, model, 1))).sum() - fit.abundances.sum()
    by_hand -= prior * np.log(np.maximum(fit.sources, LEAST_SOURCE)).sum()
    assert fit.likelihood[-1] == pytest.approx(by_hand, rel=1e-9)
    assert (np.diff(fit.likelihood) >= -1e-10 * abs(by_hand)).all()


def test_the_mode_of_a_single_rate_is_that_of_its_gamma_distribution() -> None:
    """Counts x, one spectrum: the posterior of each abundance is Gamma(x + 1/2, 1), whose mode is x - 1/2."""
    counts = np.array([[3.0, 4.0], [10.0, 2.0], [0.0, 1.0], [0.0, 0.0]])
    fit = maximise(
        scipy.sparse.csr_array(counts), np.full((4, 1), 5.0), np.full((2, 1), 0.5), Sieve(np.ones((2, 2), bool)),
        iterations=200, tolerance=0, prior=0.5,
    )  # fmt: skip
    np.testing.assert_allclose(fit.abundances[:3, 0], [6.5, 11.5, 0.5], rtol=1e-6)
    assert fit.abundances[3, 0] <= LEAST_SOURCE


@pytest.mark.parametrize("seed", range(2))
def test_spectra_that_share_lines_do_not_drift_into_each_other(seed) -> None:
    """One phase has the lines of the other and one more: any part of the first may be taken from the second."""
    rng = np.random.default_rng(seed)
    energy = np.arange(120.0)
    line = [np.exp(-(((energy - at) / 3) ** 2)) for at in (30, 60, 90)]
    spectra = np.array([line[0] + 0.2 * line[1], line[0] + line[1], line[2] + 0.5 * line[0]]) + 0.02
    spectra /= spectra.sum(axis=1, keepdims=True)
    shares = regions(rng, (40, 40), 3) ** 2
    counts = SparseSI.from_dense(rng.poisson(50 * shares @ spectra))
    found = spectral.unmix(counts, 3, method="nmf")
    assert angles(found.spectra, spectra).max() < 5
    np.testing.assert_allclose(found.abundances.sum(axis=0), counts.to_dense().sum(axis=-1), rtol=1e-9, atol=1e-9)


def test_the_maximum_is_that_of_scikit_learn(rng) -> None:
    from sklearn.decomposition import NMF

    counts = rng.poisson(rates(rng, 400, n=2, shape=(8, 8), channels=30)).reshape(64, 30).astype(float)
    rows = scipy.sparse.csr_array(counts)
    sources, lines = start(rng, rows, 2)
    ours = maximise(rows, sources, lines, Sieve(np.ones((8, 8), bool)), iterations=20_000, tolerance=1e-7)
    peer = NMF(2, init="custom", solver="mu", beta_loss="kullback-leibler", max_iter=20_000, tol=1e-10)
    theirs = peer.fit_transform(counts, W=sources.copy(), H=lines.T.copy())
    assert ours.converged
    reached = divergence(counts, ours.abundances @ ours.spectra.T)
    assert reached <= divergence(counts, theirs @ peer.components_) + 1e-3
    found, expected = ours.abundances @ ours.spectra.T, theirs @ peer.components_
    assert np.abs(found - expected).max() < 0.01 * expected.max()


def test_without_blurs_the_sums_of_counts_are_kept(rng) -> None:
    counts = rng.poisson(rates(rng, 60, shape=(10, 10), channels=40)).reshape(100, 40).astype(float)
    rows = scipy.sparse.csr_array(counts)
    fit = maximise(rows, *start(rng, rows, 3), Sieve(np.ones((10, 10), bool)), iterations=3000, tolerance=1e-6)
    # stationary in the scale of each pixel and, together with the spectra, of each channel
    np.testing.assert_allclose(fit.abundances.sum(axis=1), counts.sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose((fit.abundances @ fit.spectra.T).sum(axis=0), counts.sum(axis=0), rtol=5e-3)


def test_blurs_are_their_own_transposes_and_stay_within_the_mask(rng) -> None:
    mask = rng.random((12, 13)) < 0.7
    sieve = Sieve(mask, 1.2, 2.0, fixed=1)
    a, b = rng.random((2, int(mask.sum()), 2))
    assert (sieve.of_maps(a) * b).sum() == pytest.approx((a * sieve.of_maps(b)).sum())
    u, v = rng.random((2, 40, 3))
    assert (sieve.of_spectra(u) * v).sum() == pytest.approx((u * sieve.of_spectra(v)).sum())
    np.testing.assert_array_equal(sieve.of_spectra(u)[:, 0], u[:, 0])
    assert sieve.of_maps(a).shape == a.shape


def test_dense_sparse_and_lazy_counts_have_the_same_factors(rng) -> None:
    import dask.array as da

    counts = rng.poisson(rates(rng, 100, shape=(24, 24), channels=80)).astype(np.uint16)
    dense = spectral.unmix(counts, 3, method="nmf")
    for other in (SparseSI.from_dense(counts), da.from_array(counts, chunks=(5, -1, -1))):
        found = spectral.unmix(other, 3, method="nmf")
        np.testing.assert_allclose(found.spectra, dense.spectra, atol=1e-4 * dense.spectra.max())
        np.testing.assert_allclose(found.abundances, dense.abundances, atol=1e-3 * dense.abundances.max())


@pytest.mark.parametrize("counts_per_pixel", [8, 25])
def test_phases_are_found_in_few_counts(counts_per_pixel) -> None:
    """Near what counts leave uncertain even where it is known which phase each count is of."""
    ratios = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        spectra, shares = phases(rng, 3, 200), regions(rng, (40, 40), 3)
        truth = counts_per_pixel * shares
        counts = SparseSI.from_dense(rng.poisson(truth @ spectra))
        found = spectral.unmix(counts, 3, method="nmf", smoothing_px=1.0)
        floor = np.degrees(1 / np.sqrt(truth.sum(axis=(0, 1)) * np.square(spectra).sum(axis=1)))
        ratios.append(angles(found.spectra, spectra).mean() / floor.mean())
        assert share_error(found.abundances.reshape(3, -1), truth.reshape(-1, 3).T) < 0.2
        assert found.residual.mean() == pytest.approx(1, abs=0.1)
    assert np.median(ratios) < 2.6


def test_masked_pixels_take_no_part(rng) -> None:
    counts = rng.poisson(rates(rng, 30, shape=(20, 30), channels=60))
    mask = np.ones((20, 30), bool)
    mask[:7, 20:] = False
    spoiled = counts.copy()
    spoiled[~mask, 5] += 1000
    clean, other = (spectral.unmix(SparseSI.from_dense(c), 3, method="nmf", mask=mask) for c in (counts, spoiled))
    np.testing.assert_array_equal(clean.spectra, other.spectra)
    assert (np.isnan(other.abundances) == ~mask).all()


def test_known_spectra_are_kept_and_help(rng) -> None:
    spectra, shares = phases(rng, 3, 150), regions(rng, (30, 30), 3)
    counts = SparseSI.from_dense(rng.poisson(15 * shares @ spectra))
    found = spectral.unmix(counts, 3, method="nmf", known=7.0 * spectra[:2])
    np.testing.assert_allclose(found.spectra[:2], spectra[:2], rtol=1e-9)
    alone = spectral.unmix(counts, 3, method="nmf")
    assert angles(found.spectra[2:], spectra[2:]).mean() < angles(alone.spectra, spectra).max() + 0.5
    every = spectral.unmix(counts, 3, method="nmf", known=spectra, smoothing_px=0)
    # all spectra given: each pixel by itself is at its maximum of likelihood
    dense, amounts = counts.to_dense().reshape(900, 150), every.abundances.reshape(3, -1).T
    slope = (dense / np.maximum(amounts @ spectra, 1e-12)) @ spectra.T - 1
    assert np.abs(slope[amounts > 0.5]).mean() < 0.02
    with pytest.raises(ParameterError, match="below zero"):
        spectral.unmix(counts, 3, method="nmf", known=-spectra[:1])


def test_smoothing_lowers_the_error_of_maps(rng) -> None:
    spectra, shares = phases(rng, 3, 150), regions(rng, (40, 40), 3)
    counts = SparseSI.from_dense(rng.poisson(6 * shares @ spectra))
    truth = shares.reshape(-1, 3).T
    error = [
        share_error(spectral.unmix(counts, 3, method="nmf", smoothing_px=px).abundances.reshape(3, -1), truth)
        for px in (0, 1.0)
    ]
    assert error[1] < 0.6 * error[0]


def test_the_width_of_lines_is_found_from_counts() -> None:
    from scipy.ndimage import gaussian_filter1d

    chosen: dict[float, list[float]] = {0.0: [], 3.0: []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sharp = rng.gamma(0.05, size=(400, 3))
        for width, found in chosen.items():
            rate = 3000 * (gaussian_filter1d(sharp, width, axis=0) if width else sharp) / sharp.sum(axis=0) + 0.2
            counts = rng.poisson(rate).astype(float)
            found.append(line_width(counts, counts.sum(axis=1), 0, rng))
    assert max(chosen[0.0]) == 0
    assert min(chosen[3.0]) >= 1.4
    assert max(chosen[3.0]) <= 4


def test_the_width_is_not_smaller_than_the_counts_ask_for() -> None:
    """Of widths that predict nearly as well the largest one is taken: fewer counts never make it much smaller."""
    rng = np.random.default_rng(7)
    rate = gaussian_filter1d(rng.gamma(0.05, size=(400, 2)), 3.0, axis=0) + 1e-3
    widths = [
        line_width(counts, counts.sum(axis=1), 0, rng)
        for counts in (rng.poisson(total * rate / rate.sum(axis=0)).astype(float) for total in (500, 5000, 50_000))
    ]
    assert min(widths[:2]) >= widths[2] > 0
    order = np.asfortranarray(rate)
    np.testing.assert_allclose(deblurred(order, 2.0), deblurred(rate, 2.0))


def test_smooth_spectra_need_fewer_counts() -> None:
    """Lines as broad as the detector makes them are found better than channel by channel."""
    from scipy.ndimage import gaussian_filter1d

    rng = np.random.default_rng(3)
    spectra = gaussian_filter1d(rng.gamma(0.05, size=(3, 400)), 3.0, axis=1) + 1e-3
    spectra /= spectra.sum(axis=1, keepdims=True)
    shares = np.eye(3)[regions(rng, (40, 40), 3).argmax(axis=-1)]
    counts = SparseSI.from_dense(rng.poisson(5 * shares @ spectra))
    found = spectral.unmix(counts, 3, method="nmf")
    rows = scipy.sparse.csr_array(counts.to_dense().reshape(1600, 400).astype(float))
    plain = maximise(
        rows, found.abundances.reshape(3, -1).T + 0.1, found.spectra.T, Sieve(np.ones((40, 40), bool), 1.0),
        iterations=300, tolerance=0.1,
    )  # fmt: skip
    assert angles(found.spectra, spectra).mean() < 0.7 * angles(plain.spectra.T, spectra).mean()
    assert any("smooth by" in note for note in found.notes)


def test_counts_in_units_of_a_gain_are_the_same_counts(rng) -> None:
    counts = rng.poisson(rates(rng, 200, shape=(16, 16), channels=50))
    one = spectral.unmix(counts, 3, method="nmf", noise="poisson", smoothing_px=0)
    other = spectral.unmix(2.5 * counts, 3, method="nmf", noise="poisson", gain=2.5, smoothing_px=0)
    np.testing.assert_allclose(other.spectra, one.spectra, atol=1e-3 * one.spectra.max())
    np.testing.assert_allclose(other.abundances, 2.5 * one.abundances, atol=1e-2 * other.abundances.max())


def test_least_squares_factors_of_data_without_noise_are_exact(rng) -> None:
    spectra, shares = phases(rng, 3, 120), regions(rng, (30, 30), 3)
    shares[0, 0], shares[0, 1], shares[0, 2] = np.eye(3)
    data = 1000.0 * shares @ spectra
    found = spectral.unmix(data, 3, method="nmf", noise="gaussian")
    assert angles(found.spectra, spectra).max() < 0.1
    np.testing.assert_allclose(found.reconstruct(), data, atol=1e-3 * data.max())


def test_least_squares_factors_reach_what_scikit_learn_reaches(rng) -> None:
    from sklearn.decomposition import NMF

    data = rates(rng, 5000, shape=(20, 20), channels=60)
    data = np.maximum(data + rng.normal(0, 0.02 * data.max(), data.shape), 0)
    found = spectral.unmix(data, 3, method="nmf", noise="gaussian")
    assert min(found.spectra.min(), found.abundances.min()) >= 0
    ours = np.linalg.norm(data - found.reconstruct())
    flat = data.reshape(400, 60)
    best = min(NMF(3, init="random", random_state=s, max_iter=2000).fit(flat).reconstruction_err_ for s in range(3))
    assert ours < 1.002 * best


def test_counts_in_part_are_noted_and_whole_ones_of_a_gain_are_not(rng) -> None:
    counts = rng.poisson(rates(rng, 40, shape=(12, 12), channels=40))
    rounded = np.round(2.5 * counts)
    for data, gain, noted in (
        (counts, 1, False),
        (0.4 * counts, 1, True),
        (0.4 * counts, 0.4, False),
        (rounded, 2.5, False),
    ):
        notes = spectral.unmix(data, 2, method="nmf", noise="poisson", gain=gain).notes
        assert any("no whole numbers" in note for note in notes) == noted, gain


def test_lazy_counts_are_held_once_and_no_more_than_memory_allows(rng, monkeypatch) -> None:
    import dask.array as da

    counts = rng.poisson(0.5, (24, 12, 200))
    lazy = RowBlocks(counts.astype("u1"))
    module = importlib.import_module("esteemcore.spectral.methods.nmf")
    with monkeypatch.context() as small:
        small.setattr("esteemcore.lowrank.operators.BLOCK_BYTES", 8 * 12 * 200)
        module._in_memory(lazy)
        tracemalloc.start()
        rows = module._in_memory(lazy)
        kept, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    np.testing.assert_array_equal(rows.toarray().reshape(counts.shape), counts)
    assert kept >= 12 * rows.nnz
    assert peak < 1.5 * kept
    monkeypatch.setattr(module, "MOST_HELD", 1000)
    image = da.from_array(counts.astype("u1"), chunks=(12, -1, -1))
    with pytest.raises(ParameterError, match="use method='spa'"):
        spectral.unmix(image, 2, method="nmf")
    monkeypatch.setattr(importlib.import_module("esteemcore.spectral.unmix"), "MOST_HELD", 1000)
    assert spectral.unmix(image, 2).method == "spa"


def test_noise_below_zero_is_no_counts_but_can_be_factorised(rng) -> None:
    data = rates(rng, 5000, shape=(20, 20), channels=60)
    noisy = data + rng.normal(0, 0.02 * data.max(), data.shape) - 0.01 * data.max() * (np.arange(60) > 50)
    assert noisy.min() < 0
    found = spectral.unmix(noisy, 3, method="nmf", noise="gaussian")
    assert found.spectra.min() >= 0
    truth = data.reshape(400, 60)
    error = np.linalg.norm(found.reconstruct().reshape(400, 60)[:, :50] - truth[:, :50]) / np.linalg.norm(truth[:, :50])
    assert error < 0.05


def test_the_same_seed_gives_the_same_factors(rng) -> None:
    counts = SparseSI.from_dense(rng.poisson(rates(rng, 10, shape=(20, 20), channels=60)))
    first, second = (spectral.unmix(counts, 2, method="nmf", seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.abundances, second.abundances)


@pytest.mark.parametrize(("name", "angle", "error"), [("eds_tip_5cpp", 4.8, 0.10), ("eds_tip_50cpp", 1.8, 0.10)])
def test_marks_on_the_shared_sets(shared_data, name, angle, error) -> None:
    path = shared_data / "spectral" / f"{name}.npz"
    with np.load(path) as z:
        shape = tuple(int(n) for n in z["shape"])
        si = SparseSI(shape, np.uint16, z["indptr"].astype(np.int64), z["indices"].astype(np.uint32), z["data"])
        spectra, truth, inside = z["W"].astype(float), z["H"].astype(float), z["inside"].ravel()
    found = spectral.unmix(si, 3, method="nmf")
    assert angles(found.spectra, spectra).mean() < angle
    assert share_error(found.abundances.reshape(3, -1)[:, inside], truth[:, inside]) < error
